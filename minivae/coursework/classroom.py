"""Grade a class: one submission after the other, each kept when it is known, and none stops the others."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.grade import grade
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.report import Report, line
from minivae.coursework.submission import SubmissionError, handed_in


def named(paths: Iterable[Path]) -> dict[str, Path]:
    """name -> path: the last part of each path, or as many parts as tell it from the others, in the names' order.

    Raises AssignmentError if one is not there, or is named twice.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]
    for path in absolute:
        if not os.path.lexists(path):
            raise AssignmentError(f"{path}: no such file or folder")
    if len(set(absolute)) < len(absolute):
        raise AssignmentError(f"{Counter(absolute).most_common(1)[0][0]} is named twice")
    parts = dict.fromkeys(absolute, 1)
    while twice := {name for name, count in Counter(map(_tail, parts, parts.values())).items() if count > 1}:
        parts = {path: count + (_tail(path, count) in twice) for path, count in parts.items()}
    found = {line(_tail(path, count)): path for path, count in parts.items()}
    if len(found) < len(absolute):
        raise AssignmentError("two submissions have names that look the same when they are printed: rename one")
    return dict(sorted(found.items()))


def _tail(path: Path, count: int) -> str:
    return "/".join(path.parts[-count:])


def to_grade(submissions: Mapping[str, Path], book: Gradebook, assignment: Assignment, starter: Path, seed: int, *,
             resume: bool, only: Sequence[str] = ()) -> dict[str, tuple[Path, str]]:
    """name -> (path, mark) of what is left to do: everything; with `resume`, what is not kept or has changed since.

    only   these alone, and whatever is kept of them
    Raises AssignmentError if nobody has such a name, or if results are kept and neither `resume` nor `only` is said.
    """
    strange = [name for name in only if name not in submissions]
    if strange:
        raise AssignmentError(f"--only {strange[0]}: there is no such submission, but {', '.join(submissions)}")
    kept = book.read()
    if kept and not resume and not only:
        raise AssignmentError(f"{book.folder} holds the results of {len(kept)} submissions: --resume keeps them and "
                              "grades what is missing or has changed, --only NAME grades one again, another --out "
                              "begins anew")
    marks = {name: mark(path, assignment, starter, seed) for name, path in submissions.items()}
    done = {name for name, report in kept.items() if report.mark == marks.get(name) and not report.error}
    return {name: (path, marks[name]) for name, path in submissions.items()
            if (name in only if only else name not in done)}


def mark(path: Path, assignment: Assignment, starter: Path, seed: int) -> str:
    """What a grade depends on, as a number: the same mark, the same grade."""
    try:
        contents, remarks = handed_in(path, assignment.submitted)
    except (SubmissionError, OSError) as error:
        contents, remarks = {}, [str(error)]
    found = hashlib.sha256(json.dumps([seed, remarks]).encode())
    for file, content in sorted(contents.items()):
        found.update(b"%s\0%d\0%s" % (file.encode(), len(content), content))
    for folder in (assignment.folder, starter):
        for file_path in sorted(folder.rglob("*")):
            if file_path.is_file() and "__pycache__" not in file_path.parts:
                found.update(file_path.relative_to(folder).as_posix().encode() + b"\0" + file_path.read_bytes())
    return found.hexdigest()


def grade_class(left: Mapping[str, tuple[Path, str]], book: Gradebook, assignment: Assignment, starter: Path,
                seed: int, after: Callable[[Report], None] = lambda report: None) -> None:
    """Grade what is left, and keep each report when it is known.

    What fails without the student being to blame is kept as a report with an error and no points: the next run with
    `resume` tries it again.
    """
    for name, (path, its_mark) in left.items():
        try:
            report = grade(path, assignment, starter, seed=seed)
        except Exception as error:                     # whatever it is, the others are graded all the same
            report = Report(name, assignment.name, seed, error=f"{type(error).__name__}: {error}")
        report.submission, report.mark = name, its_mark
        book.save(report)
        after(report)
