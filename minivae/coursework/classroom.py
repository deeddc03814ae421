"""Grade a class: one submission after the other, each kept when it is known, and none stops the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.grade import judge
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.report import Report
from minivae.coursework.roster import Submission
from minivae.coursework.submission import HandedIn, handed_in


@dataclass(frozen=True)
class Work:
    """A submission that is to be graded."""

    submission: Submission
    theirs: HandedIn
    mark: str


def to_grade(submissions: Sequence[Submission], book: Gradebook, assignment: Assignment, starter: Path, seed: int, *,
             resume: bool, only: Sequence[str] = ()) -> dict[str, Work]:
    """What is left to do, by name: everything; with `resume`, what is not kept or has changed since.

    only   these alone, and whatever is kept of them
    Raises AssignmentError if nobody has such a name, or if results are kept and neither `resume` nor `only` is said.
    """
    names = [submission.name for submission in submissions]
    strange = [name for name in only if name not in names]
    if strange:
        raise AssignmentError(f"--only {strange[0]}: there is no such submission, but {', '.join(names)}")
    kept = book.read()
    if kept and not resume and not only:
        raise AssignmentError(f"{book.folder} holds the results of {len(kept)} submissions: --resume keeps them and "
                              "grades what is missing or has changed, --only NAME grades one again, another --out "
                              "begins anew")
    left = {}
    for submission in submissions:
        theirs = handed_in(submission.paths, assignment.submitted, starter)
        its_mark, old = mark(theirs, assignment, starter, seed), kept.get(submission.name)
        done = old is not None and old.mark == its_mark and not old.error
        if submission.name in only if only else not done:
            left[submission.name] = Work(submission, theirs, its_mark)
    return left


def mark(theirs: HandedIn, assignment: Assignment, starter: Path, seed: int) -> str:
    """What a grade depends on, as a number: the same mark, the same grade."""
    found = hashlib.sha256(json.dumps([seed, theirs.remarks, theirs.error]).encode())
    for file, content in sorted(theirs.contents.items()):
        found.update(b"%s\0%d\0%s" % (file.encode(), len(content), content))
    for folder in (assignment.folder, starter):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def grade_class(left: Mapping[str, Work], book: Gradebook, assignment: Assignment, starter: Path,
                seed: int, after: Callable[[Report], None] = lambda report: None) -> None:
    """Grade what is left, and keep each report when it is known.

    What fails without the student being to blame is kept as a report with an error and no points: the next run with
    `resume` tries it again.
    """
    for name, work in left.items():
        try:
            report = judge(name, work.theirs, assignment, starter, seed=seed)
        except Exception as error:                     # whatever it is, the others are graded all the same
            report = Report(name, assignment.name, seed, error=f"{type(error).__name__}: {error}")
        report.mark, report.student, report.id = work.mark, work.submission.student, work.submission.id
        book.save(report)
        after(report)
