"""Grade a class: several submissions at once, each kept when it is known, and none stops the others."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.grade import free_user, judge
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.report import Report
from minivae.coursework.roster import Submission
from minivae.coursework.student import Limits
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


def grade_class(left: Mapping[str, Work], book: Gradebook, assignment: Assignment, starter: Path, seed: int, *,
                jobs: int = 1, after: Callable[[Report], None] = lambda report: None) -> None:
    """Grade what is left, so many at once, and keep each report when it is known.

    What fails without the student being to blame is kept as a report with an error and no points: the next run with
    `resume` tries it again.
    """
    court = Court(assignment, starter, seed)
    jobs = min(jobs, len(left))
    for report in side_by_side(left, court, jobs) if jobs > 1 else (court.judge(*item) for item in users(left)):
        work = left[report.submission]
        who = work.submission
        report.mark, report.student, report.id, report.lms = work.mark, who.student, who.id, who.lms
        book.save(report)
        after(report)


def users(left: Mapping[str, Work]) -> Iterator[tuple[str, HandedIn, int | None]]:
    """What each is judged by: (name, what was handed in, a user that is nobody and no other submission's)."""
    taken: set[int | None] = set()
    for name, work in left.items():
        taken.add(user := free_user(taken))
        yield name, work.theirs, user


@dataclass
class Court:
    """Whoever judges: this process, or a worker."""

    assignment: Assignment
    starter: Path
    seed: int

    def judge(self, name: str, theirs: HandedIn, user: int | None) -> Report:
        """A report, whatever happens."""
        try:
            return judge(name, theirs, self.assignment, self.starter, seed=self.seed, limits=Limits(user=user))
        except Exception as error:                     # whatever it is, the others are graded all the same
            return Report(name, self.assignment.name, self.seed, error=f"{type(error).__name__}: {error}")


# ── workers ───────────────────────────────────────────────────────────────────────────────────


def side_by_side(left: Mapping[str, Work], court: Court, jobs: int) -> Iterator[Report]:
    """Reports in the order in which they are known, by so many processes."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin,
                               (court.assignment.folder, court.starter, court.seed, tempfile.gettempdir()))
    try:
        waiting = {pool.submit(_judge, *item): item[0] for item in users(left)}
        for future in as_completed(waiting):
            try:
                yield future.result()
            except Exception as error:                 # a worker has died
                name = waiting[future]
                yield Report(name, court.assignment.name, court.seed, error=f"{type(error).__name__}: {error}")
    finally:
        pool.shutdown(cancel_futures=True)


_court: Court | None = None
_stopped = False


def _begin(folder: Path, starter: Path, seed: int, temporary: str) -> None:
    """In a worker: read the assignment, and end when the parent does, if only by being killed.

    temporary   where its temporary files go: the parent clears them away
    """
    global _court
    tempfile.tempdir = temporary
    _court = Court(Assignment.read(folder, seed), starter, seed)
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _stop(number: int, frame: object) -> None:
    """Ctrl-C: what is begun is cleared away, and what already waits in the pool's line is not begun."""
    global _stopped
    if not _stopped:                                   # a second one would disturb the clearing away
        _stopped = True
        raise KeyboardInterrupt


def _judge(name: str, theirs: HandedIn, user: int | None) -> Report:
    if _stopped or _court is None:
        raise KeyboardInterrupt
    return _court.judge(name, theirs, user)
