"""A file that imports what is not there is told so, with the line, before it is run."""

import pytest
from conftest import ROOT
from tiny import RIGHT, hand_in, tiny

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS, main
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.imports import not_there
from minivae.coursework.verify import solution

NAMES = sorted(path.parent.name for path in ASSIGNMENTS.glob("*/assignment.toml"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imports")
    starter(Assignment.read(ASSIGNMENTS / "a1"), folder)
    return folder


@pytest.mark.parametrize(("text", "what"), [
    ("import scipy", "scipy"), ("import numpy as np\nimport scipy.special as s", "scipy.special"),
    ("from minivae.fast import twin", "minivae.fast.twin"), ("from minivae import plots", "minivae.plots"),
    ("from minivae.ops import linear, kernels", "minivae.ops.kernels"),
    ("from . import kernels", "minivae.ops.kernels"),
    ("from .kernels import fused", "minivae.ops.kernels.fused"), ("def f():\n    import torch", "torch"),
    ("from minivae.ops.softmax import no_such_name", "minivae.ops.softmax.no_such_name"),
    ("import minivae.variants", "minivae.variants"),
])
def test_what_is_not_there_is_named_with_its_line(tree, text, what):
    note, = not_there({"minivae/ops/dense.py": text.encode()}, tree)
    assert note.startswith(f"minivae/ops/dense.py, line {text.count(chr(10)) + 1}: ")
    assert f"there is no {what} in the assignment" in note


@pytest.mark.parametrize("text", [
    "import numpy.linalg\nfrom numpy import exp", "from __future__ import annotations\nimport math, os.path",
    "from minivae import ops\nfrom minivae.ops import linear\nimport minivae.ops.dense as d", "from . import softmax",
    "from .softmax import *", "from ..backend import Array", "import ch01_gradient",
    "try:\n    import scipy\nexcept ImportError:\n    scipy = None", "if False:\n    import torch", "import (", "\0",
])
def test_what_is_there_is_not(tree, text):
    assert not_there({"minivae/ops/dense.py": text.encode()}, tree) == []


@pytest.mark.parametrize("name", NAMES)
def test_neither_starter_nor_solution_imports_what_is_not_there(name, tmp_path):
    assignment = Assignment.read(ASSIGNMENTS / name)
    starter(assignment, tmp_path / "starter")
    solution(assignment, tmp_path / "solution")
    for folder in ("starter", "solution"):
        contents = {file: (tmp_path / folder / file).read_bytes() for file in assignment.submitted}
        assert not_there(contents, tmp_path / "starter") == []


def test_the_librarys_own_files_are_no_hand_in_and_the_grader_says_which_line(tree):
    contents = {file: (ROOT / file).read_bytes() for file in ("minivae/ops/dense.py", "chapters/ch01_gradient.py")}
    notes = "\n".join(not_there(contents, tree))
    assert "from minivae.fast import twin: there is no minivae.fast.twin in the assignment" in notes
    assert "chapters/ch01_gradient.py, line" in notes


def test_the_solution_that_is_written_gets_all_points(tmp_path, capsys):
    folder = tiny(tmp_path / "tiny")
    out = tmp_path / "right"
    assert main(["course", "solution", str(folder), "--out", str(out)]) == 0
    assert str(out / "chapters" / "ch01_gradient.py") in capsys.readouterr().out
    assert main(["course", "solution", str(folder), "--out", str(out)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    wrong, = hand_in(tmp_path / "in", wrong="import scipy\n" + RIGHT)
    assert main(["course", "grade", str(out), str(wrong), "--assignment", str(folder), "--seed", "s", "--out",
                 str(tmp_path / "grades")]) == 0
    reports = Gradebook(tmp_path / "grades").read()
    assert [(report.points, report.most) for report in reports.values()] == [(3, 3), (0, 3)]
    assert any("line 1: import scipy: there is no scipy" in remark for remark in reports["wrong"].remarks)
