"""Run the tests of an assignment on somebody's code, and give the points."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minivae.coursework.assignment import Assignment
from minivae.coursework.report import Report, Result
from minivae.coursework.student import Limits, Student, StudentError
from minivae.coursework.submission import SubmissionError, laid_out
from minivae.coursework.testing import Solution, Test, collect, compare, replay

Wants = Callable[[Test], dict[str, Any]]
USERS = range(200_000, 2_000_000)      # none of a system's own


def grade(submission: Path, assignment: Assignment, starter: Path, *, seed: int,
          after: Callable[[Report], None] = lambda report: None) -> Report:
    """All tests on one submission.  The same submission and seed give the same report, but for its time.

    after   called after every test, so that what was found is kept whatever comes
    """
    begun, report = time.perf_counter(), Report(submission.name, assignment.name, seed)
    user = random.SystemRandom().choice(USERS) if os.getuid() == 0 else None
    limits = Limits(user=user)
    try:
        with laid_out(submission, starter, assignment.submitted, user) as (work, report.remarks):
            for test in assignment.tests:
                report.results.append(_judge(test, work, limits, test.run(Solution(), seed, assignment.hints), seed))
                report.seconds = time.perf_counter() - begun
                after(report)
    except SubmissionError as error:
        report.remarks.append(str(error))
        report.results = [_result(test, f"nothing to test: {error}") for test in assignment.tests]
    report.seconds = time.perf_counter() - begun
    after(report)
    return report


def _judge(test: Test, work: Path, limits: Limits, want: dict[str, Any], seed: int) -> Result:
    """A process for each test: what one does to itself, the next does not see."""
    try:
        student = Student(work, limits)
    except StudentError as error:
        return _result(test, str(error))
    with student:
        return run(test, student, want, seed)


def run(test: Test, student: Student, want: dict[str, Any], seed: int) -> Result:
    """One test in a process that is there already."""
    try:
        says = compare(test.run(student, seed), want)
    except StudentError as error:
        says = str(error)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        # the test took the answer apart, and it was not made of what it should be
        says = f"the code returned something of another form than asked for ({type(error).__name__}: {error})"
    return _result(test, says or "", student.printed())


def _result(test: Test, says: str, printed: str = "") -> Result:
    points = 0.0 if says else test.points
    return Result(test.name, test.task, test.title, points, test.points, test.hidden, says, printed)


# ── what students run ─────────────────────────────────────────────────────────────────────────


def visible_tests(folder: Path) -> list[Test]:
    """The tests that came with a starter tree."""
    return collect(folder / "visible.py")


def check(folder: Path, tasks: Sequence[str] = (), *, seed: int = 1,
          after: Callable[[Result], None] = lambda result: None) -> Report:
    """The visible tests on the code in this folder, against what was recorded of the solution."""
    wants = replay((folder / "answers.bin").read_bytes())
    report, student = Report(str(folder), "", seed), None
    for test in visible_tests(folder):
        if tasks and not any(test.task == task or test.task.startswith(f"{task}.") for task in tasks):
            continue
        try:
            if student is None or not student.alive:
                student = Student(folder, Limits(seconds=300))
            result = run(test, student, wants[test.name], seed)
        except StudentError as error:
            result = _result(test, str(error))
        report.results.append(result)
        after(result)
    if student is not None:
        student.close()
    return report


def check_one(folder: Path, name: str) -> str | None:
    """What is wrong with one test, or None: for plain pytest."""
    tests = [test for test in visible_tests(folder) if test.name == name]
    with Student(folder) as student:
        want = replay((folder / "answers.bin").read_bytes())[name]
        return run(tests[0], student, want, 1).says or None
