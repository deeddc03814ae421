"""What comes out of a class: feedback without answers, tables that systems take, what the next lecture answers."""

import csv
import io
import re

import pytest
from tiny import tiny

from minivae.coursework import feedback, lms, summary
from minivae.coursework.assignment import Assignment
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.report import Report, Result, as_csv


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    return Assignment.read(tiny(tmp_path_factory.mktemp("gradebook") / "tiny"))


def report(name, says=("", ""), **more):
    results = [Result(f"t{i}", "1.1", f"title {i}", 0.0 if text else 1.0 + i, 1.0 + i, i == 1, text, "printed secret")
               for i, text in enumerate(says)]
    return Report(name, "tiny", 3, results, [], **more)


CLASS = [report("anna", student="Anna", id="7", lms="Moodle"),
         report("ben", ("dx: its sign is wrong", "dx: its sign is wrong"), student="=2+3", id="8", lms="Canvas"),
         report("cleo", ("", "y: 3 of its 12 entries are wrong; the worst is [0, 1]: 2.5, should be 3.25")),
         report("dora", ("y: 4 of its 12 entries are wrong; the worst is [2, 2]: 1, should be 2",) * 2),
         Report("emil", "tiny", 3, error="OSError: no space")]


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_gradebook_has_points_by_task_and_nothing_that_a_spreadsheet_would_compute():
    found = rows(as_csv(CLASS, ["1.1"]))
    assert [row["points"] for row in found] == ["3", "0", "1", "0", ""]
    assert [row["1.1"] for row in found] == ["3", "0", "1", "0", ""]
    assert [row["id"] for row in found] == ["7", "8", "", "", ""]
    assert found[1]["student"] == "'=2+3"
    assert "NOT GRADED: OSError" in found[4]["notes"]


def test_canvas_and_moodle_get_their_columns(assignment):
    row, = rows(lms.canvas(CLASS[1:2], assignment))
    assert list(row) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "tiny A difference"]
    assert (row["ID"], row["Student"], row["tiny A difference"]) == ("8", "'=2+3", "0")
    row, = rows(lms.moodle(CLASS[:1], assignment))
    assert (row["Identifier"], row["Full name"]) == ("Participant 7", "Anna")
    assert (row["Grade"], row["Maximum Grade"]) == ("3", "3")


def test_feedback_says_what_was_seen_and_asks(assignment):
    text = feedback.page(CLASS[1], assignment)
    assert text.startswith("# A difference\n\n=2+3: **0 of 3 points**")
    assert "| 1.1 | a central difference | 0 | 3 |" in text
    assert "    dx: its sign is wrong" in text
    assert "Follow each minus of the formula" in text
    assert text.count("printed secret") == 1, "what hidden tests print is shown to nobody"
    assert "a case that you have not seen" in text
    assert "think" not in feedback.page(CLASS[0], assignment)
    assert "not graded yet" in feedback.page(CLASS[4], assignment)


def test_text_of_students_is_no_markup_in_their_feedback(assignment):
    text = feedback.page(report("x", ("a\n# b\x1b[2J", ""), remarks=["<b>*x* taken"]), assignment)
    assert "\n# b" not in text
    assert "\\<b\\>\\*x\\* taken" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("says", "about"), [
    ("not implemented yet: Task 2", "Not written"), ("a finite difference, not a derivation: …", "quotient"),
    ("pullback writes into dy", "copy"), ("dW: it is the transpose of the right one", "indices"),
    ("db: it has shape (4, 3), should be (3,): the sum over the batch (axis 0) is missing", "index"),
    ("dx: the factor σ is missing", "chain rule"), ("dx: the term from the KL is missing", "Follow each"),
    ("y: 3 of its 12 entries are NaN or infinite", "large"), ("y: 3 of its 12 entries are wrong", "smallest case"),
    ("passes: 9,000 bytes are read and written: 9,000 in the textbook, at most 6,750", "only to be read once"),
    ("passes: 320 bytes are float64: none should be", "without a dtype"),
    ("step.py, line 3: import os is not there when the passes of this file are counted", "NumPy's array functions"),
    ("dx: it is half the right one", "½"), ("ZeroDivisionError: division", "the line that is named"),
])
def test_a_mistake_has_its_question(says, about):
    assert about in feedback.think(says)


def test_the_summary_counts_students_by_mistake_whatever_their_numbers(assignment):
    found = dict(summary.mistakes(CLASS))
    assert found[("1.1", "dx: its sign is wrong")] == 1, "once for a student, in however many tests"
    assert found[("1.1", "y: … of its … entries are wrong")] == 2
    text = summary.page(CLASS, assignment)
    assert "| 1.1 | a central difference | 1 | 1 | 2 | 1.0 of 3 |" in text
    assert text.index("- 2 × y: … of its … entries are wrong") < text.index("- 1 × dx: its sign is wrong")
    assert "4 submissions; median 0.5" in text
    assert "1 could not be graded" in text


def test_everything_is_written_and_the_picture_too(assignment, tmp_path):
    book = Gradebook(tmp_path / "book")
    for one in CLASS:
        book.save(one)
    assert book.write_tables(assignment) == sorted(CLASS, key=lambda one: one.submission)
    names = {path.relative_to(book.folder).as_posix() for path in book.folder.rglob("*.*")}
    assert {"gradebook.csv", "canvas.csv", "moodle.csv", "summary.md", "summary.png", "table.txt", "results.json",
            "feedback/anna.md", "feedback/emil.md"} <= names
    assert (book.folder / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_a_class_of_nobody_has_a_summary_too(assignment, tmp_path):
    assert "0 submissions" in summary.page([], assignment)
    summary.picture([], assignment, tmp_path / "summary.png")


def test_no_question_holds_a_formula_of_a_solution():
    """What to think about is the same for all assignments: it can hold no answer to one."""
    names = {target.rpartition(".")[2] for folder in ASSIGNMENTS.glob("*/assignment.toml")
             for task in Assignment.read(folder.parent).tasks for target in task.write} - {"pullback"}
    text = " ".join(question for _, question in feedback.THINK)
    assert not [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)]
