"""What came of a class, in a folder that only its owner can read.

    reports/NAME.json    one for each submission, written when it is known: all that was found
    feedback/NAME.md     one for each student: what was seen, what to think about
    gradebook.csv        a line for each submission: student, number, points, points by task, notes
    proofs.csv           what a person gives points for, where the assignment has such (on_paper.py)
    canvas.csv           the points as Canvas takes them in; and moodle.csv, if that named the submissions
    summary.md, .png     the class: points by task, which mistakes, how many
    table.txt            everything that was said, for a person
    results.json         everything, for programs

Every file is written whole or not at all, so whatever ends the run, what was graded stays; and the tables are made of
the reports alone, so a run that was stopped and went on gives the same as one that was not.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from minivae.coursework import feedback, lms, on_paper
from minivae.coursework import report as r
from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.on_paper import Person, Row
from minivae.coursework.report import Report


class Gradebook:
    """The folder of a class's results."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder, folder / "reports"
        self.reports.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def save(self, report: Report) -> None:
        """Keep what is known of one submission."""
        r.write(self.reports / f"{file_name(report.submission)}.json", r.as_json([report]))

    def read(self) -> dict[str, Report]:
        """All that is kept, by the submissions' names.  Raises AssignmentError if a file cannot be read."""
        found: dict[str, Report] = {}
        for path in sorted(self.reports.glob("*.json")):
            try:
                report, = r.from_json(path.read_text(encoding="utf-8"))
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise AssignmentError(f"{path}: no report that can be read ({type(error).__name__}: {error}): delete "
                                      "it, and its submission is graded again") from error
            found[report.submission] = report
        return dict(sorted(found.items()))

    def take_in(self, people: Sequence[Person], assignment: Assignment, manual: Path | None = None) -> list[Row]:
        """Keep in proofs.csv what a person gave points for, with a row for each of these people; returns the rows.

        manual   a table of such points, to be added
        Raises AssignmentError if one of the tables cannot be read, or fits nobody; then nothing is changed.
        """
        if manual is not None and not assignment.written:
            raise AssignmentError(f"--manual {manual}: nothing of {assignment.name} is graded by hand")
        path = self.folder / "proofs.csv"
        more = on_paper.read(manual) if manual is not None else []
        rows = on_paper.merged(on_paper.read(path) if path.exists() else [], more, people, assignment)
        if assignment.written:
            r.write(path, on_paper.table(rows, assignment))
        return rows

    def write_tables(self, assignment: Assignment) -> list[Report]:
        """Make all the rest of what is kept, with the points that a person gave; returns it."""
        from minivae.coursework import summary  # and matplotlib, which the workers do not need

        reports = list(self.read().values())
        people = [Person(report.submission, report.student, report.id) for report in reports]
        on_paper.give(reports, self.take_in(people, assignment), assignment)
        for report in reports:
            r.write(self.folder / "feedback" / f"{file_name(report.submission)}.md", feedback.page(report, assignment))
        r.write(self.folder / "gradebook.csv", r.as_csv(reports, [task.id for task in assignment.asked]))
        for name, table in (("Canvas", lms.canvas), ("Moodle", lms.moodle)):
            if theirs := [report for report in reports if report.lms == name]:
                r.write(self.folder / f"{name.lower()}.csv", table(theirs, assignment))
        r.write(self.folder / "summary.md", summary.page(reports, assignment))
        summary.picture(reports, assignment, self.folder / "summary.png")
        r.write(self.folder / "table.txt", r.table(reports))
        r.write(self.folder / "results.json", r.as_json(reports))
        return reports


def file_name(name: str) -> str:
    """A name for a file, another one for every submission: letters and digits stay, the rest cannot harm."""
    safe = re.sub(r"[^\w.@+-]", "_", name, flags=re.ASCII).lstrip(".")[:80]
    return safe if safe == name and name == name.lower() else f"{safe}-{zlib.crc32(json.dumps(name).encode()):08x}"
