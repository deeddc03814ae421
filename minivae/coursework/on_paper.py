"""Points that a person gives: proofs and derivations, read with the handout's rubric and written into a table.

    submission,student,P1,P2,comment
    anna.zip,Anna,3,1.5,the remainder is missing

`proofs.csv` lies beside the results, with a row for each submission.  A cell without a number is not read yet, and
costs nothing.  What somebody wrote into it is never lost: rows and columns that are not ours stay as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.report import Report, Result, cell, line

NAMED = ("submission", "id", "student")               # columns that say whose row it is; the first that fits
Row = dict[str, str]


@dataclass(frozen=True)
class Person:
    """Whose row it may be."""

    submission: str
    student: str
    id: str


def read(path: Path) -> list[Row]:
    """The rows of a table, as spreadsheets save them: commas, semicolons or tabs.  Raises AssignmentError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AssignmentError(f"{path}: no table that can be read ({error}): save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [{str(name).strip(): (value or "").strip() for name, value in row.items() if name is not None}
            for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)]
    if rows and not set(NAMED) & set(rows[0]):
        raise AssignmentError(f"{path}: none of its columns is called {', '.join(NAMED)}, but {', '.join(rows[0])}")
    return rows


def merged(rows: Sequence[Row], more: Sequence[Row], people: Sequence[Person], assignment: Assignment) -> list[Row]:
    """The rows, with what `more` says in addition, and one for each of the people that has none.

    Raises AssignmentError if a row of `more` is nobody's, or a cell is no number of points that there is.
    """
    found = [dict(row) for row in rows]
    of = {whose(row, people) or row.get("submission", ""): row for row in found}
    for row in more:
        name = whose(row, people)
        if not name:
            raise AssignmentError(f"no submission, or more than one, is meant by the row "
                                  f"{', '.join(filter(None, row.values()))}")
        if name not in of:
            found.append(of.setdefault(name, {"submission": name}))
        of[name].update({column: value for column, value in row.items() if value and column not in NAMED})
    for person in people:
        if person.submission not in of:
            found.append(of.setdefault(person.submission, {"submission": cell(person.submission)}))
        of[person.submission].update({"student": cell(line(person.student)), "id": person.id})
    for row in found:
        results(row, assignment)
    return found


def whose(row: Row, people: Sequence[Person]) -> str:
    """The submission that a row means, by the first column that is filled in; empty if none or several fit."""
    column = next((name for name in NAMED if row.get(name)), "submission")
    fits = [person.submission for person in people
            if row.get(column, "").removeprefix("'") == getattr(person, column)]
    return fits[0] if len(fits) == 1 else ""


def results(row: Mapping[str, str], assignment: Assignment) -> list[Result]:
    """What a row gives, for the columns that are read.  Raises AssignmentError."""
    found = []
    for task in assignment.written:
        text = row.get(task.id, "").replace(",", ".")
        if not text:
            continue
        try:
            points = float(text)
        except ValueError:
            points = -1.0
        if not 0.0 <= points <= task.points:
            raise AssignmentError(f"{task.id} of {row.get('submission') or row.get('student')}: got {text!r}, expected "
                                  f"points from 0 to {task.points:g}, or nothing if it is not read yet")
        says = row.get("comment", "") or "read with the rubric of the handout"
        found.append(Result(task.id, task.id, task.title, points, task.points, False,
                            "" if points == task.points else says))
    return found


def give(reports: Sequence[Report], rows: Sequence[Row], assignment: Assignment) -> None:
    """Add the points to the reports."""
    people = [Person(report.submission, report.student, report.id) for report in reports]
    of = {whose(row, people): row for row in rows}
    for report in reports:
        report.written = results(of.get(report.submission, {}), assignment)


def table(rows: Sequence[Row], assignment: Assignment) -> str:
    """The rows as a table again."""
    ours = ["submission", "student", "id", *(task.id for task in assignment.written), "comment"]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys([*ours, *(name for row in rows for name in row)])),
                            lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
