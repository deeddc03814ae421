"""The plan of the course names what there is: chapters in their order, every assignment, out before it is due."""

import re

from conftest import ROOT

from minivae.coursework.assignment import Assignment
from minivae.coursework.cli import ASSIGNMENTS

PLAN = (ASSIGNMENTS / "INSTRUCTORS.md").read_text(encoding="utf-8").partition("## A course of twelve weeks")[2]
ROWS = re.findall(r"^\| \d+ \|.*$", PLAN, re.MULTILINE)
WEEKS = [[cell.strip() for cell in row.strip("|").split("|")] for row in ROWS]


def test_it_has_twelve_weeks_and_their_hours_add_up():
    assert [int(week[0]) for week in WEEKS] == list(range(1, 13))
    own = [int(re.search(r"\((\d+)\)$", week[3])[1]) for week in WEEKS]
    assert all(hours <= 9 for hours in own)
    assert "138 hours" in PLAN
    assert 12 * (3 + 1.5 + 7) == 138


def test_every_chapter_that_it_names_is_there_and_none_is_forgotten():
    there = {int(path.name[2:4]) for path in (ROOT / "chapters").glob("ch*.py")}
    planned = [int(number) for week in WEEKS for number in week[1].split(",")]
    assert sorted(planned) == [number for number in range(1, 26) if number != 19]
    assert "Chapter 19 (many processes) and those from 26 on are for projects" in PLAN
    assert set(planned) <= there


def test_every_assignment_is_handed_out_before_it_is_due():
    for path in ASSIGNMENTS.glob("*/assignment.toml"):
        name = Assignment.read(path.parent).name
        out = [int(week[0]) for week in WEEKS if f"`{name}` out" in week[3]]
        due = [int(week[0]) for week in WEEKS if f"`{name}`" in week[3] and "**due**" in week[3]]
        assert len(out) == len(due) == 1, name
        assert out[0] < due[0]
