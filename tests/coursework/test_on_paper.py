"""Points that a person gives for proofs are added, and what somebody wrote into the table is never lost."""

import csv
import re

import pytest
from tiny import RIGHT, WRONG, hand_in, tiny

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.cli import ASSIGNMENTS, main
from minivae.coursework.on_paper import Person, merged, read, results

WITH_PROOFS = '\n[[written]]\nid = "P1"\ntitle = "the error"\npoints = 3\n' \
              '\n[[written]]\nid = "P2"\ntitle = "the step"\npoints = 2\n'
PEOPLE = [Person("anna.zip", "Anna", "7"), Person("ben.zip", "Ben", "8"), Person("benni.zip", "Ben", "9")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny(tmp_path_factory.mktemp("paper") / "tiny")
    with (folder / "assignment.toml").open("a", encoding="utf-8") as file:
        file.write(WITH_PROOFS)
    return folder


@pytest.fixture(scope="module")
def assignment(folder):
    return Assignment.read(folder)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_points_by_hand_are_added_and_kept(folder, tmp_path, capsys):
    submissions, out = hand_in(tmp_path / "in", anna=RIGHT, ben=WRONG), tmp_path / "out"
    command = ["course", "grade", *map(str, submissions), "--assignment", str(folder), "--seed", "s", "--jobs", "1",
               "--out", str(out)]
    assert main(command) == 0
    found = rows(out / "gradebook.csv")
    assert [(row["points"], row["of"], row["P1"]) for row in found] == [("3", "3", ""), ("0", "3", "")]
    assert [row["submission"] for row in rows(out / "proofs.csv")] == ["anna", "ben"]
    (tmp_path / "by hand.csv").write_text("student;P1;P2;comment;tutor\nben;2,5;2;no remainder;Zoe\n", encoding="utf-8")
    assert main([*command, "--resume", "--manual", str(tmp_path / "by hand.csv")]) == 0
    assert [(row["points"], row["of"], row["P1"], row["P2"]) for row in rows(out / "gradebook.csv")] == [
        ("3", "3", "", ""), ("4.5", "8", "2.5", "2")]
    assert "## P1 the error\n\nno remainder" in (out / "feedback" / "ben.md").read_text(encoding="utf-8")
    text = (out / "proofs.csv").read_text(encoding="utf-8").replace("anna,anna,,,,", "anna,anna,,3,0,")
    (out / "proofs.csv").write_text(text, encoding="utf-8")             # filled in where it lies
    assert main([*command, "--resume"]) == 0
    assert [row["points"] for row in rows(out / "gradebook.csv")] == ["6", "4.5"]
    assert rows(out / "proofs.csv")[1]["tutor"] == "Zoe"
    (tmp_path / "by hand.csv").write_text("submission,P1\nben,4\n", encoding="utf-8")
    before = (out / "proofs.csv").read_bytes()
    assert main([*command, "--resume", "--manual", str(tmp_path / "by hand.csv")]) == 2
    assert "P1 of ben: got '4', expected points from 0 to 3" in capsys.readouterr().err
    assert (out / "proofs.csv").read_bytes() == before


def test_a_table_is_wrong_before_anything_is_graded(folder, tmp_path, capsys):
    submissions = hand_in(tmp_path / "in", anna=RIGHT)
    (tmp_path / "by hand.csv").write_text("submission,P1\nbert,1\n", encoding="utf-8")
    assert main(["course", "grade", *map(str, submissions), "--assignment", str(folder), "--seed", "s", "--out",
                 str(tmp_path / "out"), "--manual", str(tmp_path / "by hand.csv")]) == 2
    assert "no submission, or more than one, is meant by the row bert" in capsys.readouterr().err
    assert not list((tmp_path / "out" / "reports").iterdir())


@pytest.mark.parametrize("text", ["submission,P1,P2\nanna.zip,1,2\n", "id;P1;P2\r\n7;1;2\r\n",
                                  "\ufeffstudent\tP1\tP2\nAnna\t1\t2\n"])
def test_tables_are_read_as_spreadsheets_save_them(text, tmp_path, assignment):
    (tmp_path / "table.csv").write_bytes(text.encode())
    row = merged([], read(tmp_path / "table.csv"), PEOPLE, assignment)[0]
    assert [(result.task, result.points) for result in results(row, assignment)] == [("P1", 1.0), ("P2", 2.0)]


@pytest.mark.parametrize(("text", "says"), [
    ("student,P1\nBen,1\n", "more than one, is meant by the row Ben"), ("name,P1\nAnna,1\n", "columns is called"),
    ("id,P1\n7,x\n", "got 'x', expected points"), ("id,P1\n7,-1\n", "got '-1'"), ("id,P1\n7,nan\n", "got 'nan'"),
])
def test_what_fits_nobody_is_an_error(text, says, tmp_path, assignment):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(AssignmentError, match=re.escape(says)):
        merged([], read(tmp_path / "table.csv"), PEOPLE, assignment)


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(ASSIGNMENTS.glob("*/assignment.toml"))])
def test_the_handout_has_a_rubric_for_all_points_on_paper(name):
    assignment = Assignment.read(ASSIGNMENTS / name)
    text = (ASSIGNMENTS / name / "handout.md").read_text(encoding="utf-8")
    parts = re.split(r"\*\*(P\d)\*\* \((\d+) points\)", text)
    found = {parts[i]: (float(parts[i + 1]), parts[i + 2]) for i in range(1, len(parts), 3)}
    assert [(task.id, task.points) for task in assignment.written] == [(of, points) for of, (points, _) in
                                                                      found.items()]
    for points, rubric in found.values():
        assert sum(map(float, re.findall(r"^\| (\d+) \|", rubric, re.MULTILINE))) == points
    total = sum(task.points for task in assignment.written)
    if total:
        assert f"## On paper ({total:g} points)" in text
        assert re.search(rf"{total:g} (points more )?for what you prove\s+on paper", text)


def test_three_assignments_have_proofs():
    assert sum(bool(Assignment.read(path.parent).written) for path in ASSIGNMENTS.glob("*/assignment.toml")) >= 3
