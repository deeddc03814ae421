"""Run the tests of an assignment on somebody's code, and give the points."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minivae.coursework.assignment import Assignment, tasks_in
from minivae.coursework.looks import looks_of
from minivae.coursework.report import Report, Result, kept, plain
from minivae.coursework.student import JudgeError, Limits, Student, StudentError
from minivae.coursework.submission import HandedIn, handed_in
from minivae.coursework.testing import FormError, Test, collect, compare, replay
from minivae.coursework.under import Parts, functions_under, laid_under, outer
from minivae.coursework.wire import WireError
from minivae.coursework.working_tree import laid_out

WAITING = "not run: the grader was stopped before it came to this test"
NOBODYS = range(1_900_000_000, 2_100_000_000)          # users that no system hands out, see systemd's UIDS-GIDS


@dataclass(frozen=True)
class Patience:
    """How long a submission is waited for, in seconds: code that computes what it should takes a hundredth of it."""

    request: float = 10.0
    """for one answer"""
    hangs: int = 3
    """so often, and then"""
    short: float = 2.0
    """for one answer"""
    test: float = 30.0
    """for all the answers of a test"""
    submission: float = 240.0
    """for all tests; those that are left then are not run"""


def grade(submission: Path, assignment: Assignment, starter: Path, *, seed: int, tasks: Sequence[str] = (),
          after: Callable[[Report], None] = lambda report: None, limits: Limits | None = None,
          patience: Patience | None = None) -> Report:
    """All tests on one submission.  The same submission and seed give the same report, but for its time.

    tasks   only the tests of these; of all, if none is named
    after   called after every test, so that what was found is kept whatever comes
    Raises JudgeError if the student's process cannot be started: then nobody loses points.
    """
    theirs = handed_in([submission], assignment.submitted, starter)
    return judge(submission.name, theirs, assignment, starter, seed=seed, tasks=tasks, after=after, limits=limits,
                 patience=patience)


def judge(name: str, theirs: HandedIn, assignment: Assignment, starter: Path, *, seed: int, tasks: Sequence[str] = (),
          after: Callable[[Report], None] = lambda report: None, limits: Limits | None = None,
          patience: Patience | None = None) -> Report:
    """The same, of what has been read already."""
    limits, patience = limits or Limits(user=free_user()), patience or Patience()
    tests = [test for test in assignment.tests if not tasks or test.task in tasks]
    begun, hung = time.perf_counter(), 0
    report = Report(name, assignment.name, seed, waiting=[result(test, WAITING) for test in tests],
                    remarks=[*theirs.remarks])
    if theirs.error:
        report.remarks.append(theirs.error)
        report.results, report.waiting = [result(test, f"nothing to test: {theirs.error}") for test in tests], []
        return report

    def text(file: str) -> str:
        return _text(theirs.contents.get(file), starter / file)

    looks, laid = looks_of(assignment.tasks, text), dict[frozenset[str], Path]()
    with ExitStack() as trees:
        for test in tests:
            want = assignment.wanted(test, seed)
            if time.perf_counter() - begun < patience.submission:
                timeout = patience.request if hung < patience.hangs else patience.short
                under = frozenset[str]() if test.joined else functions_under(assignment.tasks, test.task)
                if under not in laid or not kept("no file is written", report.walls):  # as the test before may leave it
                    files = theirs.contents | laid_under(under, text)
                    laid[under] = trees.enter_context(laid_out(starter, files, limits.user))
                with Student(laid[under], limits, timeout=timeout, budget=patience.test, parts=Parts(under)) as student:
                    found = run(test, student, want, seed, looks)
                report.walls, hung = student.walls, hung + student.hung
                if student.hung and hung == patience.hangs:
                    report.remarks.append(f"{hung} tests were stopped: from here on an answer is waited for "
                                          f"{patience.short:g} s, no longer for {patience.request:g}")
            else:
                found = result(test, f"not run: the tests before it took {patience.submission:g} s, all the time there "
                               "is")
            report.add(found, time.perf_counter() - begun)
            after(report)
    return report


def _text(content: bytes | None, starters: Path) -> str:
    return (starters.read_bytes() if content is None else content).decode(errors="replace")


def run(test: Test, student: Student, want: dict[str, Any], seed: int,
        looks: Mapping[str, str] | None = None) -> Result:
    """One test in a process that is there already.

    looks   task -> what its text says of it (looks.py): if it asked for a derivative, that is the result
    """
    student.begin()
    try:
        with np.errstate(all="ignore"):                # of numbers as large as anybody likes
            says = compare(test.run(student, seed), want, test.tolerance)
    except (StudentError, FormError) as error:
        says = str(error)
    except WireError as error:                         # handed back what is larger than the test meant it to be
        says = f"what the code returned cannot be handed on: {error}"
    except Exception as error:                         # the test took apart what it got, and that was something else
        says = _form(student.last) + f" ({type(error).__name__}: {error})"
    if student.pulled and looks and test.task in looks:
        says = looks[test.task]
    if says and test.joined:
        says = f"on your own parts (what is wrong in an earlier task shows here too): {says}"
    return result(test, says or "", student.printed())


def _form(last: Any) -> str:
    """Of an answer that a test could not take apart."""
    if last is None:
        return "nothing was returned where something is asked for: is a `return` missing?"
    if isinstance(last, (np.ndarray, float, int)):
        return "one array or number was returned where several things are asked for: a value and its pullback, say"
    return "the code returned something of another form than asked for"


def result(test: Test, says: str, printed: str = "") -> Result:
    """All of the points, or none."""
    points = 0.0 if says else test.points
    return Result(test.name, test.task, test.title, points, test.points, test.hidden, plain(says), plain(printed))


def free_user(taken: Collection[int | None] = ()) -> int | None:
    """If this process is root: the number of a user that nobody is, nor in `taken`, to run a submission as.  Else None.

    Raises JudgeError if there is none, in a container that has no users but root.
    """
    if sys.platform == "win32" or os.getuid() != 0:
        return None
    busy = {None, *taken}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):                        # it has ended meanwhile
            busy.add(path.stat().st_uid)
    try:
        inside, _, count = (int(n) for n in Path("/proc/self/uid_map").read_text(encoding="utf-8").split()[:3])
    except (OSError, ValueError):
        inside, count = 0, 65_536
    known = NOBODYS if inside + count > NOBODYS[-1] else range(50_000, min(60_000, inside + count))
    free = [user for user in random.SystemRandom().sample(known, min(len(known), 100)) if user not in busy]
    if not free:
        raise JudgeError("this is root, and there is no other user here that a submission could run as: grade as one "
                         "who is not root")
    return free[0]


# ── what students run ─────────────────────────────────────────────────────────────────────────


def visible_tests(folder: Path) -> list[Test]:
    """The tests that came with a starter tree."""
    return collect(folder / "visible.py")


def check(folder: Path, tasks: Sequence[str] = (), *, seed: int = 1,
          after: Callable[[Result], None] = lambda result: None) -> Report:
    """The visible tests on the code in this folder, against what was recorded of the solution."""
    wants = replay((folder / "answers.bin").read_bytes())
    report, student, looks, all_tasks = Report(str(folder), "", seed), None, _looks_in(folder), tasks_in(folder)
    for test in visible_tests(folder):
        if tasks and not any(test.task == task or test.task.startswith(f"{task}.") for task in tasks):
            continue
        if student is None or not student.alive:
            student = Student(folder, Limits(seconds=300))
        wrong, under = {result.task for result in report.results if result.says}, functions_under(all_tasks, test.task)
        failed = {task.id for task in all_tasks if task.id in wrong and {*map(outer, task.write)} & under}
        found = run(test, student, wants[test.name], seed, looks)
        report.add(_resting_on(found, failed), 0.0)
        after(report.results[-1])
    if student is not None:
        student.close()
    return report


def _resting_on(found: Result, failed: set[str]) -> Result:
    """Here a task runs on the student's own earlier ones: one that fails may be the cause."""
    if not found.says or not failed or f"Task {found.task}:" in found.says or f"; {found.task}:" in found.says:
        return found
    says = f"(It may rest on what fails above, {', '.join(sorted(failed))}: mend that first."
    return replace(found, says=f"{found.says}\n{says}  When it is graded, right parts stand under it.)")


def check_one(folder: Path, name: str) -> str | None:
    """What is wrong with one test, or None: for plain pytest."""
    tests = [test for test in visible_tests(folder) if test.name == name]
    with Student(folder) as student:
        want = replay((folder / "answers.bin").read_bytes())[name]
        return run(tests[0], student, want, 1, _looks_in(folder)).says or None


def _looks_in(folder: Path) -> dict[str, str]:
    return looks_of(tasks_in(folder), lambda file: _text(None, folder / file))
