"""Grades as Canvas and Moodle take them in, for those students whose submissions they named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from minivae.coursework.assignment import Assignment
from minivae.coursework.report import Report, cell, line, outcome


def canvas(reports: Sequence[Report], assignment: Assignment) -> str:
    """Grades > Import: rows are found by ID; the last column is named as the assignment is named in Canvas."""
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"{assignment.name} {assignment.title}"]
    return _table([head, *([cell(report.student), report.id, "", "", "", _points(report)] for report in reports)])


def moodle(reports: Sequence[Report], assignment: Assignment) -> str:
    """Assignment > Upload grading worksheet: rows are found by Identifier, the number in the folder's name."""
    head = ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    says = ["; ".join([outcome(report), *map(line, report.remarks)]) for report in reports]
    return _table([head, *([f"Participant {report.id}", cell(report.student), _points(report), f"{assignment.most:g}",
                            "-", cell(text)] for report, text in zip(reports, says))])


def _points(report: Report) -> str:
    return "" if report.error else f"{report.points:g}"


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
