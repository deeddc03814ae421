"""What a student hands in: the files asked for, what they import, and only as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from minivae.coursework.entries import Entry, SubmissionError, entries
from minivae.coursework.imports import imports, module_file, not_there
from minivae.coursework.source import LARGEST, complaint, source

HELPERS = 10                           # files of the student's own that are taken along
CANVAS = re.compile(r"[^_/]+_(?:LATE_)?\d+_\d+_")                          # before a file's name: who, and which try
COPIES = re.compile(r"^(?:copy of |kopie von )|(?: ?\(\d+\)| - (?:copy|kopie)(?: \(\d+\))?|-\d+| copy(?: \d+)?)$")


@dataclass
class HandedIn:
    """What of a submission is graded."""

    contents: dict[str, bytes] = field(default_factory=dict)
    """file of the tree -> its text"""
    remarks: list[str] = field(default_factory=list)
    """what the student should know about it"""
    error: str = ""
    """why nothing of it could be read"""


def handed_in(paths: Sequence[Path], files: Iterable[str], tree: Path) -> HandedIn:
    """These files, wherever they lie (at their place, below a folder, in an archive, alone), and what they import.

    paths   one folder, archive or file; or several files that make one submission
    tree    the starter, which stands in for what is missing
    """
    found, theirs = list[Entry](), HandedIn()
    for path in paths:
        try:
            there, remarks = entries(path)
        except SubmissionError as error:
            return HandedIn(error=f"{path.name}: {error}")
        found += there if path.is_dir() else [replace(one, path=CANVAS.sub("", one.path, count=1)) for one in there]
        theirs.remarks += remarks
    for file in sorted(files):
        _take(file, found, theirs)
    if theirs.contents:
        _take_helpers(found, theirs, tree)
        _compare(theirs, files, tree)
    elif found:
        names = sorted({entry.name for entry in found})
        theirs.remarks.append(f"what was handed in: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}")
    theirs.remarks += [f"{file}, {says}: nothing in it can be used" for file, content in sorted(theirs.contents.items())
                       if (says := complaint(content, file))]
    theirs.remarks += not_there(theirs.contents, tree)
    return theirs


def _take(file: str, found: list[Entry], theirs: HandedIn) -> None:
    """The best entry for a file, and a remark if it is not where and what was asked for."""
    wanted = PurePosixPath(file).name
    fits = sorted((entry for entry in found if _same_name(entry.name, wanted)), key=lambda entry: _fit(entry, file))
    if not fits:
        theirs.remarks.append(f"{file} was not handed in: the starter's stands in for it")
        return
    best = fits[0].path
    try:
        theirs.contents[file], changed = source(fits[0].read(LARGEST + 1), best)
    except SubmissionError as error:
        theirs.remarks.append(f"{best} {error}: the starter's stands in for it")
        return
    if best != file or len(fits) > 1 or changed:
        others = f"; left out: {', '.join(entry.path for entry in fits[1:4])}" if len(fits) > 1 else ""
        theirs.remarks.append(f"{file}: taken from {best}{changed}{others}")


def _fit(entry: Entry, file: str) -> tuple[int, int, int, str]:
    """The smaller, the better: at its place, of its very name, with a name as programs change it; the later copy."""
    path, name = f"/{entry.path}", PurePosixPath(file).name
    likeness = 0 if path.endswith(f"/{file}") else 1 if entry.name == name else 2
    copy = re.search(r"(\d+)\)?\.", entry.name)
    return likeness, -int(copy[1][:9]) if likeness == 2 and copy else 0, len(entry.path), entry.path


def _same_name(name: str, wanted: str) -> bool:
    """Whether a file is meant to be that one: "Ops.py", "ops (1).py", "ops.py.txt", "doejane_12_345_ops-1.py"."""
    if name == wanted:
        return True
    stem, low = wanted.removesuffix(".py").lower(), CANVAS.sub("", name, count=1).lower()
    ending = next((end for end in (".py.txt", ".py", ".ipynb", ".txt") if low.endswith(end)), None)
    return ending is not None and stem in (found := low.removesuffix(ending), COPIES.sub("", found))


def _take_helpers(found: list[Entry], theirs: HandedIn, tree: Path) -> None:
    """Files of the student's own that the files import, and what these import in turn."""
    waiting = [(file, wanted) for file in theirs.contents for wanted in imports(file, theirs.contents[file])]
    most = len(theirs.contents) + HELPERS
    for file, wanted in waiting:                       # it grows while it is read
        for module in (wanted.module, f"{wanted.module}.{wanted.name}"):
            helper = f"{module.replace('.', '/')}.py"
            fits = [entry for entry in found if f"/{entry.path}".endswith(f"/{helper}")] or \
                [entry for entry in found if _same_name(entry.name, helper)]
            known = helper in theirs.contents or module_file(module, tree) is not None or len(helper) > 200
            if not fits or known or len(theirs.contents) >= most:
                continue
            best = min(fits, key=lambda entry: (len(entry.path), entry.path))
            try:
                theirs.contents[helper], _ = source(best.read(LARGEST + 1), helper)
            except SubmissionError as error:
                theirs.remarks.append(f"{best.path} {error}: it is left out")
                continue
            theirs.remarks.append(f"{helper} is taken along: {file}, line {wanted.line} imports it")
            waiting += [(helper, further) for further in imports(helper, theirs.contents[helper])]


def _compare(theirs: HandedIn, files: Iterable[str], tree: Path) -> None:
    """Say so if nothing in it is the student's."""
    if all((tree / file).is_file() and (tree / file).read_bytes() == theirs.contents.get(file, b"")
           for file in files if file in theirs.contents):
        theirs.remarks.append("nothing was changed: these are the files as they were handed out")
