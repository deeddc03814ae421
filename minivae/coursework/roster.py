"""Who handed in what: the names that Moodle and Canvas give to the files and folders of a class.

    Moodle   Anna Muster_12345_assignsubmission_file_/ops.py          a folder for each student
    Canvas   musteranna_LATE_12345_67890_ops-1.py                     all files of the class in one folder
    others   anna.zip, anna/, anna.py                                 the name is the student's
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minivae.coursework.assignment import AssignmentError
from minivae.coursework.report import line

LMS = {"Moodle": re.compile(r"(?P<student>[^/]+)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?.*"),
       "Canvas": re.compile(r"(?P<student>[^_/]+)_(?:LATE_)?(?P<id>\d+)_\d+_.+")}


@dataclass(frozen=True)
class Submission:
    """What one student handed in."""

    name: str
    """as it is called in the results"""
    paths: Sequence[Path]
    student: str = ""
    id: str = ""
    lms: str = ""
    """Moodle or Canvas, and the student's number there"""


def submissions_of(paths: Iterable[Path]) -> list[Submission]:
    """One for each student: of the paths that Moodle or Canvas named, those with the same number belong together.

    Other names are the last part of the path, or as many parts as tell it from the others.
    Raises AssignmentError if a path is not there, or is named twice.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]
    for path in absolute:
        if not os.path.lexists(path):
            raise AssignmentError(f"{path}: no such file or folder")
    if len(set(absolute)) < len(absolute):
        raise AssignmentError(f"{Counter(absolute).most_common(1)[0][0]} is named twice")
    known: dict[tuple[str, str, str], list[Path]] = {}
    others: list[Path] = []
    for path in sorted(absolute):
        lms = next((name for name, pattern in LMS.items() if pattern.fullmatch(path.name)), "")
        who = LMS[lms].fullmatch(path.name) if lms else None
        (known.setdefault((line(who["student"]), who["id"], lms), []) if who else others).append(path)
    found = [Submission(f"{who[0]}_{who[1]}", together, *who) for who, together in known.items()]
    found += [Submission(name, [path], _without_ending(name)) for name, path in _names(others).items()]
    if len({submission.name for submission in found}) < len(found):
        raise AssignmentError("two submissions have names that look the same when they are printed: rename one")
    return sorted(found, key=lambda submission: submission.name)


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    parts = dict.fromkeys(paths, 1)
    while twice := {name for name, count in Counter(map(_tail, parts, parts.values())).items() if count > 1}:
        parts = {path: count + (_tail(path, count) in twice) for path, count in parts.items()}
    found = {line(_tail(path, count)): path for path, count in parts.items()}
    if len(found) < len(paths):
        raise AssignmentError("two submissions have names that look the same when they are printed: rename one")
    return found


def _tail(path: Path, count: int) -> str:
    return "/".join(path.parts[-count:])


def _without_ending(name: str) -> str:
    return re.sub(r"\.(zip|tar|tar\.gz|tgz|py)$", "", name)
