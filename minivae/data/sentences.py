"""Sentences with labels: SST-2, TREC, and a reader's own file, as rows of codes.

SST-2 (Socher et al. 2013): sentences of film reviews, negative or positive.  TREC (Li and Roth 2002): questions, by
what they ask for.  One's own file has a line for each sentence, its label, a tab, and the sentence, in UTF-8:

    spam<TAB>You have won a prize!

All becomes small letters and is cut into words and signs (`words_of`).  The words that are most frequent among the
sentences to learn from are the vocabulary; every other one is UNKNOWN.  A run keeps its vocabulary.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import at_least_one
from minivae.batch import Batch
from minivae.data.dataset import DataError, hold_out
from minivae.data.download import PathLike, fetch
from minivae.parts.sentences import END, PAD, UNKNOWN

SPECIAL = ("⟨pad⟩", "⟨end⟩", "⟨unknown⟩")                # in the places of PAD, END, UNKNOWN
WORDS, LENGTH = 3000, 30                               # of the vocabulary, and of a sentence, unless one asks
WORD = re.compile(r"\.\.\.|[^\W_]+(?:['’-][^\W_]+)*|'[^\W_]+|[^\w\s]|_")
CLASSES = {"sst2": ("negative", "positive"),
           "trec": ("description", "entity", "abbreviation", "human", "location", "number")}
CALLED = {"DESC": 0, "ENTY": 1, "ABBR": 2, "HUM": 3, "LOC": 4, "NUM": 5}               # in TREC's own order
Rows = list[tuple[str, ...]]


def words_of(text: str) -> tuple[str, ...]:
    """Small letters; words, with what an apostrophe or a hyphen joins to them; every other sign by itself."""
    return tuple(WORD.findall(text.lower()))


@dataclass(frozen=True, eq=False)
class Sentences:
    """What models know as a data set, of sentences.

    rows, labels   by part: train, test, and valid, where there is one
    classes        what labels 0, 1, … are called
    vocabulary     the word of every code, first the three that are none
    length         codes of a sentence at most: the end of a longer one is cut off
    """

    name: str
    rows: dict[str, Rows]
    labels: dict[str, np.ndarray]
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    length: int = LENGTH
    image_shape: tuple[int, ...] = ()
    kind: str = "sentences"

    def part(self, name: str) -> Batch:
        """x (N, length), codes; lengths (N,), how many count; y (N,).  Raises ValueError if there is no such part."""
        if name not in self.rows:
            raise ValueError(f"{self.name} has no part {name!r}")
        x = self.codes(self.rows[name])
        return Batch(x=x, lengths=np.count_nonzero(x != PAD, axis=1), y=self.labels[name])

    def codes(self, rows: Iterable[Sequence[str]]) -> np.ndarray:
        """Words as codes, END behind them where there is room        -> (N, length)"""
        rows = list(rows)
        x = np.full((len(rows), self.length), PAD)
        for row, words in zip(x, rows):
            known = [self._code.get(word, UNKNOWN) for word in words] + [END]
            row[:len(known)] = known[:self.length]
        return x

    def text(self, codes: np.ndarray) -> str:
        """Codes as a sentence, words with blanks between"""
        return " ".join(self.vocabulary[code] for code in codes.tolist() if code not in (PAD, END))

    def coded(self, words: int, length: int, vocabulary: Sequence[str] | None = None) -> Sentences:
        """The same with so many words, the most frequent, or with this vocabulary; and sentences of so many codes."""
        at_least_one(words=words, length=length)
        known = tuple(vocabulary) if vocabulary else frequent(self.rows["train"], words)
        return replace(self, vocabulary=known, length=length)

    @cached_property
    def _code(self) -> dict[str, int]:
        return {word: code for code, word in enumerate(self.vocabulary)}

    @property
    def train_labels(self) -> np.ndarray:
        return self.labels["train"]

    @property
    def test_labels(self) -> np.ndarray:
        return self.labels["test"]

    @property
    def valid(self) -> Rows | None:
        return self.rows.get("valid")

    def __str__(self) -> str:
        sizes = " + ".join(f"{len(rows):,} {part}" for part, rows in self.rows.items())
        words = [word for row in self.rows["train"] for word in row]
        known = sum(word in self._code for word in words) / len(words)
        return (f"{self.name}: {sizes} sentences, {len(self.classes)} classes ({', '.join(self.classes)}), "
                f"{len(self.vocabulary) - len(SPECIAL):,} words, {known:.1%} of all that are used; of a sentence at "
                f"most {self.length}")


def frequent(rows: Rows, words: int) -> tuple[str, ...]:
    """The codes that stand for no word, and the words used most often, of equals the one that came first"""
    counted = Counter(word for row in rows for word in row)
    return SPECIAL + tuple(word for word, _ in counted.most_common(words))


def sentences(name: str, parts: dict[str, tuple[Rows, np.ndarray]], classes: tuple[str, ...]) -> Sentences:
    """The data set of these parts, its vocabulary from the training part"""
    rows, labels = {part: both[0] for part, both in parts.items()}, {part: both[1] for part, both in parts.items()}
    return Sentences(name, rows, labels, classes, frequent(rows["train"], WORDS))


def load_sst2(*, folder: PathLike | None = None) -> Sentences:
    """SST-2, looked for and downloaded as `load` does.  Raises DataError if it cannot be had."""
    return load_text("sst2", fetch("sst2", folder=folder))


def load_trec(*, folder: PathLike | None = None) -> Sentences:
    """TREC, looked for and downloaded as `load` does.  Raises DataError if it cannot be had."""
    return load_text("trec", fetch("trec", folder=folder))


def load_text(name: str, paths: list[Path]) -> Sentences:
    """sst2 and trec: the authors' files of `label sentence` lines, or one of gzipped JSON lines of the same."""
    found: dict[str, list[tuple[str, int]]] = {}
    if len(paths) == 1:
        for line in _json_lines(paths[0]):
            part = {"dev": "valid"}.get(line["split"], line["split"])
            text = line["text"].encode("latin-1").decode("utf-8") if name == "sst2" else line["text"]      # é was Ã©
            found.setdefault(part, []).append((text, CALLED.get(line["label"], line["label"])))
    else:
        for part, path in zip(("train", "test", "valid"), paths):
            lines = path.read_text(encoding="latin-1" if name == "trec" else "utf-8").splitlines()
            found[part] = [(text, int(label)) for label, _, text in (line.partition(" ") for line in lines)]
    parts = {part: ([words_of(text) for text, _ in lines], np.array([label for _, label in lines]))
             for part, lines in found.items()}
    return sentences(name, parts, CLASSES[name])


def _json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is not a complete file of gzipped JSON lines ({error}): get it again") from error


def load_own_sentences(path: Path) -> Sentences:
    """A line for each sentence, `label<TAB>text`, in UTF-8; a tenth of them, drawn with a fixed seed, is the test part.

    Raises DataError, with the number of the line, for one without a tab, a label or a word, or not in UTF-8; and for a
    file that is empty, has one class alone, or a class of which the test part leaves none to learn from.
    """
    rows, names = Rows(), list[str]()
    for number, raw in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            label, words = _line(raw, f"{path}, line {number}")
            names.append(label)
            rows.append(words)
    classes = tuple(sorted(set(names)))
    if not rows:
        raise DataError(f"{path} is empty: expected a line for each sentence, its label, a tab, and the text")
    if len(classes) < 2:
        raise DataError(f"{path}: all {len(rows):,} sentences have the label {classes[0]!r}, expected two classes or "
                        "more")
    y = np.array([classes.index(name) for name in names])
    kept, held = hold_out(len(rows), max(1, len(rows) // 10))
    if missing := sorted(set(range(len(classes))) - set(y[kept].tolist())):
        raise DataError(f"{path}: no sentence of {classes[missing[0]]!r} is left to learn from, all "
                        f"{(y == missing[0]).sum()} are test sentences: give it more")
    parts = {part: ([rows[i] for i in some], y[some]) for part, some in (("train", kept), ("test", held))}
    return sentences(path.stem, parts, classes)


def _line(raw: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """Label and words of a line"""
    try:
        line = raw.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from error
    label, tab, text = line.partition("\t")
    if not tab:
        raise DataError(f"{where} has no tab: expected a label, a tab, and the text, got {line[:40]!r}")
    words = words_of(text)
    if not label.strip() or not words:
        raise DataError(f"{where} has no {'label' if words else 'word'}: got {line[:40]!r}")
    return label.strip(), words
