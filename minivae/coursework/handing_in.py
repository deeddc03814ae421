"""What to hand in, said by `check` while there is time: which files, and what of the tree the grader will not take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from minivae.coursework.entries import SubmissionError
from minivae.coursework.imports import imports, module_file
from minivae.coursework.source import complaint, source

MANIFEST = "handed_out.json"           # file of the starter -> what it was


def manifest(tree: Path) -> str:
    """What lies in a tree when it is handed out."""
    files = {path.relative_to(tree).as_posix(): _digest(path) for path in sorted(tree.rglob("*.py"))}
    return json.dumps(files, indent=1) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def to_hand_in(folder: Path, submitted: Iterable[str]) -> tuple[list[str], list[str]]:
    """(files to hand in, what will be lost) of a student's folder: those asked for, and their own that these import."""
    known = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).exists() else {}
    waiting, lost = sorted(submitted), list[str]()
    for file in waiting:                               # it grows while it is read
        try:
            text, changed = source((folder / file).read_bytes(), file)
        except (OSError, SubmissionError) as error:
            lost.append(f"{file} {error if isinstance(error, SubmissionError) else 'is not there'}: the grader will "
                        "take the file that was handed out")
            continue
        lost += [f"{file}{changed}"] if changed else []
        lost += [f"{file}, {says}: nothing in it can be used"] if (says := complaint(text, file)) else []
        for module in (name for one in imports(file, text) for name in (one.module, f"{one.module}.{one.name}")):
            path = module_file(module, folder)
            helper = path.relative_to(folder).as_posix() if path else ""
            if known and helper and helper not in known and helper not in waiting:
                waiting.append(helper)
    for file, digest in known.items():
        if file not in waiting and (not (folder / file).is_file() or _digest(folder / file) != digest):
            lost.append(f"{file} is not as it was handed out.  It is not handed in: the grader has the original")
    return waiting, lost
