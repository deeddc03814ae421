"""Gradescope's container: /autograder as it is laid out there, set up from package indexes, no repository in sight."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import autograder
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.verify import mutants, solution

NAMES = sorted(path.parent.name for path in ASSIGNMENTS.glob("*/assignment.toml"))
SEED = 7
INSIDE = Path(__file__).with_name("container.sh")


def hand_ins(assignment, folder):
    """The solution, one planted mistake, and the starter."""
    solution(assignment, folder / "solution")
    shutil.copytree(folder / "solution", folder / "mutant")
    mutant = mutants(assignment)[0]
    file = folder / "mutant" / mutant.file
    file.write_text(mutant.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
    with zipfile.ZipFile(folder / "autograder.zip") as archive:
        for name in archive.namelist():
            if name.startswith("starter/"):
                archive.extract(name, folder)
    return mutant


@pytest.mark.parametrize("name", NAMES)
def test_the_autograder_holds_what_it_needs(name, tmp_path):
    autograder(Assignment.read(ASSIGNMENTS / name, SEED), tmp_path / "autograder.zip", SEED)
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
        assert archive.getinfo("setup.sh").external_attr >> 16 & 0o111
    assert {"setup.sh", "run_autograder", "seed", "assignment/hidden.py", "starter/answers.bin",
            "solution/pyproject.toml", "solution/minivae/__init__.py", "solution/chapters/ch01_gradient.py"} <= names
    assert not [name for name in names if name.endswith(".pyc")]
    assert not [name for name in names if "solutions" in Path(name).parts], "the chapters' exercises stay exercises"
    if shutil.which("bash"):
        for script in ("setup.sh", "run_autograder"):
            subprocess.run(["bash", "-n", tmp_path / script], check=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only Linux's root can lay out a container")
@pytest.mark.parametrize("name", NAMES)
def test_as_gradescope_runs_it(name, tmp_path):
    assignment = Assignment.read(ASSIGNMENTS / name, SEED)
    autograder(assignment, tmp_path / "autograder.zip", SEED)
    mutant = hand_ins(assignment, tmp_path)
    hidden = {str(folder) for folder in (ROOT, Path(sys.prefix), Path(sys.base_prefix)) if folder != Path("/usr")}
    run = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", INSIDE, tmp_path, *sorted(hidden)],
                         env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}, capture_output=True,
                         encoding="utf-8", check=False, timeout=900)
    if run.returncode == 77:
        pytest.skip(f"no container can be laid out here: {run.stderr[-300:]}")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    found = {kind: json.loads((tmp_path / "results" / f"{kind}.json").read_text(encoding="utf-8"))
             for kind in ("solution", "starter", "mutant")}
    points = {kind: sum(test["score"] for test in results["tests"]) for kind, results in found.items()}
    print(name, points, found["solution"]["extra_data"])
    assert sum(test["max_score"] for test in found["solution"]["tests"]) == points["solution"] == assignment.points
    assert points["starter"] == 0
    assert 0 < points["mutant"] < assignment.points
    of_its_task = [test["score"] for test in found["mutant"]["tests"] if test["number"] == mutant.task]
    assert sum(of_its_task) == mutant.points, "none, but for what it keeps"
