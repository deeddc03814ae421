"""A class of sixty on one evening: killed in the middle, it goes on, and the gradebook is the same to the last byte."""

import csv
import itertools
import os
import shutil
import time
import zipfile

import numpy as np
import pytest
from conftest import running

from minivae.coursework.assignment import Assignment
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.verify import mutants, solution

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="judged on Linux and macOS")]
STUDENTS = 60


def hand_in(assignment, folder):
    """Sixty students, each with up to three of the planted mistakes, as folders of Moodle, zips in them, and worse."""
    planted, rng = mutants(assignment), np.random.default_rng(0)
    for number in range(STUDENTS):
        place = folder / f"Student {number:02}_{1000 + number}_assignsubmission_file_"
        solution(assignment, place)
        for mutant in rng.choice(np.array(planted, dtype=object), number % 4, replace=False):
            file = place / mutant.file
            text = file.read_text(encoding="utf-8")
            if text.count(mutant.old) == 1:            # not where another mistake stands already
                file.write_text(mutant.apply(text), encoding="utf-8")
        if number % 3 == 1:
            _zip(place)
    paths = sorted(folder.iterdir())
    shutil.rmtree(paths[7])
    paths[7].mkdir()                                   # nothing was handed in
    (paths[11] / "minivae").rename(paths[11] / "copy of minivae")
    (paths[22] / "a1.zip").write_bytes((paths[22] / "a1.zip").read_bytes()[:-100])
    dense = paths[33] / "minivae" / "ops" / "dense.py"
    dense.write_text(dense.read_text(encoding="utf-8") + "\nimport os\nos._exit(0)\n", encoding="utf-8")
    return paths


def _zip(place):
    files = [path for path in place.rglob("*") if path.is_file()]
    with zipfile.ZipFile(place / "a1.zip", "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(place))
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def test_a_class_of_sixty_killed_in_the_middle_gets_the_same_grades(tmp_path):
    assignment = Assignment.read(ASSIGNMENTS / "a1")
    paths = hand_in(assignment, tmp_path / "in")
    command = ("-m", "minivae", "course", "grade", *paths, "--assignment", "a1", "--seed", "secret", "--jobs", "2")

    killed = tmp_path / "killed"
    with running(*command, "--out", killed, stdout=None) as grader:
        while len(list(killed.glob("reports/*.json"))) < STUDENTS // 2:
            assert grader.poll() is None
            time.sleep(0.1)
        grader.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in killed.glob("reports/*.json")}
    assert STUDENTS // 2 <= len(kept) < STUDENTS
    for options, out in ((["--resume"], killed), ([], tmp_path / "whole")):
        begun = time.monotonic()
        with running(*command, "--out", out, *options) as grader:
            said, errors = grader.communicate()
        assert grader.returncode == 0, errors[-2000:]
        print(f"{said.count(' points: ')} submissions in {time.monotonic() - begun:.0f} s, two at once")
    for name, written in kept.items():
        assert (killed / "reports" / name).stat().st_mtime_ns == written, "what was graded is not graded again"
    whole = tmp_path / "whole"
    for name in ("gradebook.csv", "moodle.csv", "summary.md", "table.txt", "proofs.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    _is_a_class((whole / "gradebook.csv").read_text(encoding="utf-8"), assignment)


def _is_a_class(text, assignment):
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["id"] for row in rows] == [str(1000 + number) for number in range(STUDENTS)]
    points = [float(row["points"]) for row in rows]
    assert [i for i in range(0, STUDENTS, 4) if points[i] != assignment.points] == [], "all that is right"
    assert sum(point < assignment.points for point in points) >= STUDENTS // 2
    assert points[7] == 0
    assert "was not handed in" in rows[7]["notes"]
    assert "taken from copy of minivae" in rows[11]["notes"]
    assert "a1.zip: not a zip that can be read" in rows[22]["notes"]
    for i, row in itertools.product(range(STUDENTS), ["notes"]):
        assert points[i] or rows[i][row], "no silent zero"
