"""The vocabulary of a run: with the words that a model has learned, its codes mean the same wherever it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minivae.data import Sentences
from minivae.parallel import processes
from minivae.runs import CHECKPOINT, write_atomically

VOCABULARY = "vocabulary.json"


def keep_vocabulary(dataset: Any, run: Path | None) -> None:
    """Write it into the folder of a run that begins, if these data have one."""
    if run and isinstance(dataset, Sentences) and processes().rank == 0 and not (run / CHECKPOINT).exists():
        write_atomically(run / VOCABULARY, json.dumps(dataset.vocabulary, ensure_ascii=False).encode())


def kept_vocabulary(run: Path | None) -> list[str] | None:
    """That of a run; None if it has none.  Raises ValueError for a file that is no list of words."""
    if run is None or not (run / VOCABULARY).exists():
        return None
    words = json.loads((run / VOCABULARY).read_text(encoding="utf-8"))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{run / VOCABULARY}: expected a list of words")
    return words
