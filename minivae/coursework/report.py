"""What came of a submission, and how it is written down: a table, Gradescope's JSON, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """One test."""

    name: str
    task: str
    title: str
    points: float
    most: float
    hidden: bool
    says: str = ""
    """empty if it passed"""
    printed: str = ""

    @property
    def passed(self) -> bool:
        return not self.says


@dataclass
class Report:
    """One submission."""

    submission: str
    assignment: str
    seed: int
    results: list[Result] = field(default_factory=list)
    waiting: list[Result] = field(default_factory=list)
    """what the tests to come count as, should the grader be stopped now"""
    remarks: list[str] = field(default_factory=list)
    walls: list[str] = field(default_factory=list)
    """what the code was shut in by (sandbox.py)"""
    seconds: float = 0.0
    student: str = ""
    id: str = ""
    """of the student, in Moodle or Canvas"""
    lms: str = ""
    """which of them named the submission"""
    error: str = ""
    """why it could not be graded, though the student is not to blame: then there are no points, not even none"""
    mark: str = ""
    """what the grade depends on (classroom.mark): as long as it is the same, so is the grade"""
    written: list[Result] = field(default_factory=list)
    """what a person read, and gave points for"""

    def add(self, result: Result, seconds: float) -> None:
        """One test more is done."""
        self.results.append(result)
        self.waiting, self.seconds = self.waiting[1:], seconds

    @property
    def points(self) -> float:
        return sum(result.points for result in [*self.results, *self.written])

    @property
    def most(self) -> float:
        return sum(result.most for result in self.all)

    @property
    def all(self) -> list[Result]:
        """Whatever there are points for: tests, those to come, what a person read."""
        return [*self.results, *self.waiting, *self.written]


PROMISES = {                           # each is kept if one of these walls stands
    "memory is limited": {"limits"},
    "hidden tests and solution cannot be read": {"own root", "Landlock"},
    "no file is written": {"own root", "Landlock", "seccomp"},
    "no process stays behind": {"own world", "own user", "seccomp"},
    "the judge cannot be signalled or changed": {"own world", "own user", "seccomp"},
    "no network": {"own world", "seccomp"},
}
WALLS = ("limits", "own world", "own root", "own user", "Landlock", "seccomp")


def kept(promise: str, walls: Sequence[str]) -> bool:
    """Whether one of these walls keeps it."""
    return bool(PROMISES[promise] & set(walls))


def standing(walls: Sequence[str]) -> str:
    """Which walls stood, which did not, and what therefore is not promised."""
    missing = [wall for wall in WALLS if wall not in walls]
    broken = [promise for promise in PROMISES if not kept(promise, walls)]
    return (f"walls: {', '.join(walls)}" + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; NOT promised here: {', '.join(broken)}" if broken else ""))


def plain(text: str) -> str:
    """Text that does nothing to the screen or file it is written to: no control characters, no turned direction."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "\ufffd" for c in text)


def line(text: str) -> str:
    """The same, on one line."""
    return " ".join(plain(text).split())


def outcome(report: Report) -> str:
    """In a line: the points, or why there are none."""
    return f"NOT GRADED ({line(report.error)})" if report.error else f"{report.points:g} of {report.most:g} points"


def table(reports: Sequence[Report]) -> str:
    """For a person: what passed, and what the first difference is."""
    lines: list[str] = []
    for report in reports:
        notes = [*report.remarks, *([standing(report.walls)] if report.walls else [])]
        lines += [line(report.submission), *(f"  note: {line(remark)}" for remark in notes)]
        for r in [*report.results, *report.written]:
            mark = "ok  " if r.passed else "FAIL"
            lines.append(f"  {mark} {r.points:4g}/{r.most:<4g} {r.task:<5} {r.title}{'  (hidden)' if r.hidden else ''}")
            lines += [f"{'':18}{part}" for part in r.says.splitlines()]
        lines.append(f"  {outcome(report)}\n")
    return "\n".join(lines)


def gradescope(report: Report) -> str:
    """results.json, as https://gradescope-autograders.readthedocs.io/en/latest/specs/ has it.

    Every test is in it from the beginning, so that the sum of the points is right even if the grader is stopped.
    The walls are in extra_data, which students do not see.
    """
    tests = [{
        "number": r.task, "name": f"{r.task} {r.title}", "score": r.points, "max_score": r.most,
        "status": "passed" if r.passed else "failed", "visibility": "after_published" if r.hidden else "visible",
        "output": r.says + (f"\n\nprinted:\n{r.printed}" if r.printed and not r.hidden else ""),
    } for r in [*report.results, *report.waiting]]
    return json.dumps({"tests": tests, "output": "\n".join(map(line, report.remarks)), "stdout_visibility": "hidden",
                       "execution_time": round(report.seconds, 2),
                       "extra_data": {"walls": standing(report.walls)}}, indent=1)


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def as_csv(reports: Sequence[Report], tasks: Sequence[str]) -> str:
    """A line for each submission, a column for each task; one that could not be graded has no points, not even 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["submission", "student", "id", "points", "of", *tasks, "notes"])
    for report in reports:
        by_task = {task: [r.points for r in report.all if r.task == task] for task in tasks}
        points = {task: f"{sum(given):g}" if given else "" for task, given in by_task.items()}     # "": not read yet
        total = ["", ""] if report.error else [f"{report.points:g}", f"{report.most:g}"]
        notes = "; ".join(map(line, [*report.remarks, *([f"NOT GRADED: {report.error}"] if report.error else [])]))
        writer.writerow([cell(line(report.submission)), cell(line(report.student)), report.id, *total,
                         *("" if report.error else points[task] for task in tasks), cell(notes)])
    return text.getvalue()


def as_json(reports: Sequence[Report]) -> str:
    """Everything."""
    def plain(report: Report) -> dict[str, Any]:
        return vars(report) | {"submission": line(report.submission), "points": report.points, "of": report.most,
                               "remarks": [*map(line, report.remarks)],
                               "results": [vars(r) | {"passed": r.passed} for r in report.results],
                               "written": [vars(r) for r in report.written],
                               "waiting": [vars(r) for r in report.waiting]}

    return json.dumps([plain(report) for report in reports], indent=1)


def from_json(text: str) -> list[Report]:
    """Back from `as_json`.  Raises ValueError, TypeError or KeyError if it is something else."""
    def only(kind: type, entry: dict[str, Any]) -> dict[str, Any]:
        return {name: entry[name] for name in kind.__dataclass_fields__ if name in entry}      # type: ignore[attr-defined]

    reports = [Report(**only(Report, entry)) for entry in json.loads(text)]
    for report in reports:
        report.results = [Result(**only(Result, entry)) for entry in report.results]           # type: ignore[arg-type]
        report.waiting = [Result(**only(Result, entry)) for entry in report.waiting]           # type: ignore[arg-type]
        report.written = [Result(**only(Result, entry)) for entry in report.written]           # type: ignore[arg-type]
    return reports


def write(path: Path, text: str) -> None:
    """Whole or not at all, and for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)
