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
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def points(self) -> float:
        return sum(result.points for result in self.results)

    @property
    def most(self) -> float:
        return sum(result.most for result in self.results)


def table(reports: Sequence[Report]) -> str:
    """For a person: what passed, and what the first difference is."""
    lines: list[str] = []
    for report in reports:
        lines += [f"{report.submission}", *(f"  note: {remark}" for remark in report.remarks)]
        for r in report.results:
            mark = "ok  " if r.passed else "FAIL"
            lines.append(f"  {mark} {r.points:4g}/{r.most:<4g} {r.task:<5} {r.title}{'  (hidden)' if r.hidden else ''}")
            lines += [f"{'':18}{line}" for line in r.says.splitlines()]
        lines.append(f"  {report.points:g} of {report.most:g} points\n")
    return "\n".join(lines)


def gradescope(report: Report) -> str:
    """results.json, as https://gradescope-autograders.readthedocs.io/en/latest/specs/ has it."""
    tests = [{
        "number": r.task, "name": f"{r.task} {r.title}", "score": r.points, "max_score": r.most,
        "status": "passed" if r.passed else "failed", "visibility": "after_published" if r.hidden else "visible",
        "output": r.says + (f"\n\nprinted:\n{r.printed}" if r.printed and not r.hidden else ""),
    } for r in report.results]
    return json.dumps({"tests": tests, "output": "\n".join(report.remarks), "stdout_visibility": "hidden",
                       "execution_time": round(report.seconds, 2)}, indent=1)


def as_csv(reports: Sequence[Report]) -> str:
    """A line for each submission, a column for each test."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [r.name for r in reports[0].results] if reports else []
    writer.writerow(["submission", "points", "of", *names])
    for report in reports:
        writer.writerow([report.submission, f"{report.points:g}", f"{report.most:g}",
                         *(f"{r.points:g}" for r in report.results)])
    return text.getvalue()


def as_json(reports: Sequence[Report]) -> str:
    """Everything."""
    def plain(report: Report) -> dict[str, Any]:
        return vars(report) | {"points": report.points, "of": report.most,
                               "results": [vars(r) | {"passed": r.passed} for r in report.results]}

    return json.dumps([plain(report) for report in reports], indent=1)


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
