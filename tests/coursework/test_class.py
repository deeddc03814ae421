"""A class is graded whole: none stops the others, what is known is kept, and a run that was stopped goes on."""

import csv
import json
import os
import signal
import tempfile
import time
import zipfile

import pytest
from conftest import running
from tiny import FILE, RIGHT, WRONG, hand_in, tiny

from minivae.coursework import classroom
from minivae.coursework import grade as grading
from minivae.coursework.cli import main, number
from minivae.coursework.gradebook import Gradebook, file_name
from minivae.coursework.roster import Submission
from minivae.coursework.submission import HandedIn

TOO_MUCH = "import numpy as np\ndef central_difference(f, w, i, h):\n    return np.zeros(3 * 10 ** 6)\n"


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("class") / "tiny")


def grade(assignment, out, submissions, *more):
    return main(["course", "grade", *map(str, submissions), "--assignment", str(assignment), "--seed", "secret",
                 "--jobs", "1", "--out", str(out), *more])


def gradebook(out):
    with (out / "gradebook.csv").open(encoding="utf-8", newline="") as file:
        return {row["submission"]: row["points"] for row in csv.DictReader(file)}


def test_strange_submissions_do_not_stop_the_others(assignment, tmp_path, capsys):
    submissions = hand_in(tmp_path / "in", anna=RIGHT, ben=TOO_MUCH, dora=WRONG)
    (tmp_path / "in" / "cleo" / FILE).mkdir(parents=True)              # a folder of the file's name
    (tmp_path / "in" / "emil.zip").write_bytes(b"PK no zip")
    submissions += [tmp_path / "in" / "cleo", tmp_path / "in" / "emil.zip"]
    assert grade(assignment, tmp_path / "out", submissions) == 0
    assert gradebook(tmp_path / "out") == {"anna": "3", "ben": "0", "cleo": "0", "dora": "0", "emil.zip": "0"}
    says = {name: report.remarks + [r.says for r in report.results]
            for name, report in Gradebook(tmp_path / "out").read().items()}
    assert "what the code returned cannot be handed on: too large to cross" in says["ben"][1]
    assert "chapters/ch01_gradient.py was not handed in" in says["cleo"][0]
    assert "5 of 5 graded" in capsys.readouterr().out


def test_what_nobody_is_to_blame_for_costs_no_points_and_is_tried_again(assignment, tmp_path, monkeypatch, capsys):
    submissions, real = hand_in(tmp_path / "in", anna=RIGHT, ben=RIGHT), classroom.judge

    def fails(name, *arguments, **options):
        if name == "anna":
            raise OSError("no space left on the device")
        return real(name, *arguments, **options)

    monkeypatch.setattr(classroom, "judge", fails)
    assert grade(assignment, tmp_path / "out", submissions) == 1
    assert gradebook(tmp_path / "out") == {"anna": "", "ben": "3"}
    assert "NOT GRADED (OSError: no space left on the device): anna" in capsys.readouterr().out
    monkeypatch.setattr(classroom, "judge", real)
    assert grade(assignment, tmp_path / "out", submissions, "--resume") == 0
    assert gradebook(tmp_path / "out") == {"anna": "3", "ben": "3"}


def test_a_run_that_was_stopped_goes_on_where_it_was(assignment, tmp_path, monkeypatch):
    submissions, real, seen = hand_in(tmp_path / "in", anna=RIGHT, ben=WRONG, cleo=RIGHT), classroom.judge, []

    def stops(name, *arguments, **options):
        seen.append(name)
        if name == "cleo" and len(seen) == 3:
            raise KeyboardInterrupt
        return real(name, *arguments, **options)

    monkeypatch.setattr(classroom, "judge", stops)
    assert grade(assignment, tmp_path / "out", submissions) == 130
    assert gradebook(tmp_path / "out") == {"anna": "3", "ben": "0"}
    assert grade(assignment, tmp_path / "out", submissions, "--resume") == 0
    assert seen == ["anna", "ben", "cleo", "cleo"]
    assert grade(assignment, tmp_path / "whole", submissions) == 0
    assert (tmp_path / "out" / "gradebook.csv").read_bytes() == (tmp_path / "whole" / "gradebook.csv").read_bytes()


def test_results_are_never_overwritten_unasked(assignment, tmp_path, capsys):
    submissions = hand_in(tmp_path / "in", anna=RIGHT, ben=RIGHT)
    assert grade(assignment, tmp_path / "out", submissions) == 0
    kept = (tmp_path / "out" / "reports" / "anna.json").read_bytes()
    assert grade(assignment, tmp_path / "out", submissions) == 2
    assert "holds the results of 2 submissions: --resume keeps them" in capsys.readouterr().err
    assert (tmp_path / "out" / "reports" / "anna.json").read_bytes() == kept


def test_what_has_changed_is_graded_again_and_so_is_what_is_named(assignment, tmp_path, monkeypatch):
    submissions, real, seen = hand_in(tmp_path / "in", anna=RIGHT, ben=RIGHT), classroom.judge, []
    monkeypatch.setattr(classroom, "judge", lambda name, *a, **o: seen.append(name) or real(name, *a, **o))
    assert grade(assignment, tmp_path / "out", submissions) == 0
    (submissions[1] / FILE).write_text(WRONG, encoding="utf-8")
    assert grade(assignment, tmp_path / "out", submissions, "--resume") == 0
    assert gradebook(tmp_path / "out") == {"anna": "3", "ben": "0"}
    assert grade(assignment, tmp_path / "out", submissions, "--only", "anna") == 0
    assert seen == ["anna", "ben", "ben", "anna"]
    assert grade(assignment, tmp_path / "out", submissions, "--only", "zoe") == 2


def test_a_grade_needs_a_secret(assignment, tmp_path, capsys):
    submissions = hand_in(tmp_path / "in", anna=RIGHT)
    for command in (["grade"], ["gradescope", "--out", str(tmp_path / "results.json")]):
        assert main(["course", *command, str(submissions[0]), "--assignment", str(assignment)]) == 2
        assert "--seed SECRET is missing" in capsys.readouterr().err


def test_what_build_drew_is_what_grades(assignment, tmp_path):
    assert main(["course", "build", str(assignment), "--out", str(tmp_path / "dist")]) == 0
    seed = tmp_path / "dist" / "seed"
    with zipfile.ZipFile(tmp_path / "dist" / "autograder.zip") as archive:
        assert archive.read("seed").decode() == str(number(f"@{seed}"))
    assert os.name != "posix" or seed.stat().st_mode & 0o077 == 0
    submissions = hand_in(tmp_path / "in", anna=RIGHT)
    assert grade(assignment, tmp_path / "out", submissions, "--seed", f"@{seed}") == 0
    assert gradebook(tmp_path / "out") == {"anna": "3"}


def test_only_their_owner_can_read_the_results(assignment, tmp_path):
    submissions = hand_in(tmp_path / "in", anna=RIGHT)
    assert grade(assignment, tmp_path / "out", submissions) == 0
    assert main(["course", "gradescope", str(submissions[0]), "--assignment", str(assignment), "--seed", "secret",
                 "--out", str(tmp_path / "results.json")]) == 0
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["tests"][1]["score"] == 2.0
    if os.name == "posix":
        for path in [tmp_path / "results.json", *(tmp_path / "out").rglob("*.*")]:
            assert path.stat().st_mode & 0o077 == 0, path
        assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_a_reports_file_has_a_name_of_its_own_that_cannot_harm():
    names = ["a b", "a_b", "a/b", "A_b", "..", "ä", "a" * 300, "=1+1", "anna.zip"]
    assert len({file_name(name).lower() for name in names}) == len(names)
    assert file_name("anna.zip") == "anna.zip"
    assert all("/" not in file_name(name) and not file_name(name).startswith(".") for name in names)


def test_a_report_that_cannot_be_read_is_an_error_that_says_so(assignment, tmp_path, capsys):
    submissions = hand_in(tmp_path / "in", anna=RIGHT)
    assert grade(assignment, tmp_path / "out", submissions) == 0
    (tmp_path / "out" / "reports" / "anna.json").write_text("{", encoding="utf-8")
    assert grade(assignment, tmp_path / "out", submissions, "--resume") == 2
    assert "delete it, and its submission is graded again" in capsys.readouterr().err


def test_several_at_once_give_the_same(assignment, tmp_path):
    submissions = hand_in(tmp_path / "in", anna=RIGHT, ben=WRONG, cleo="import os\nos._exit(1)\n", dora=TOO_MUCH)
    assert grade(assignment, tmp_path / "one", submissions) == 0
    assert grade(assignment, tmp_path / "two", submissions, "--jobs", "2") == 0
    assert gradebook(tmp_path / "two") == {"anna": "3", "ben": "0", "cleo": "0", "dora": "0"}
    for name in ("gradebook.csv", "table.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files go."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)     # what was read of it before
    return tmp_path / "tmp"


def dies(*arguments):
    """What a worker begins with, and what it has made by then is left."""
    classroom._begin(*arguments)                       # in a worker nobody has patched it
    tempfile.mkdtemp(prefix="minivae-work-")
    os._exit(1)


def test_a_worker_that_dies_is_nobodys_fault_and_leaves_nothing_behind(assignment, tmp_path, monkeypatch, scratch):
    submissions = hand_in(tmp_path / "in", anna=RIGHT, ben=WRONG)
    with monkeypatch.context() as patch:
        patch.setattr(classroom, "_begin", dies)
        assert grade(assignment, tmp_path / "out", submissions, "--jobs", "2") == 1
    assert gradebook(tmp_path / "out") == {"anna": "", "ben": ""}
    assert list(scratch.iterdir()) == []
    assert grade(assignment, tmp_path / "out", submissions, "--jobs", "2", "--resume") == 0
    assert gradebook(tmp_path / "out") == {"anna": "3", "ben": "0"}


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can be somebody else")
def test_no_submission_runs_as_another_ones_user(monkeypatch):
    monkeypatch.setattr(grading, "NOBODYS", range(50_000, 50_020))
    left = dict.fromkeys(map(str, range(20)), classroom.Work(Submission("", []), HandedIn(), ""))
    assert len({user for _, _, user in classroom.users(left)}) == 20


def test_ctrl_c_in_the_midst_of_making_a_tree_leaves_nothing_behind(assignment, tmp_path, monkeypatch, scratch):
    def stopped(*arguments, **options):
        tempfile.mkdtemp(prefix="minivae-work-")
        raise KeyboardInterrupt

    monkeypatch.setattr(classroom, "judge", stopped)
    assert grade(assignment, tmp_path / "out", hand_in(tmp_path / "in", anna=RIGHT)) == 130
    assert list(scratch.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent to a process group")
def test_ctrl_c_keeps_what_is_known_and_leaves_nothing_behind(assignment, tmp_path):
    slow = "import time\n" + RIGHT.replace("    up, down", "    time.sleep(6)\n    up, down")
    submissions = hand_in(tmp_path / "in", anna=RIGHT, **{f"slow{i}": slow for i in range(8)})
    (tmp_path / "tmp").mkdir()
    unclosed = "ignore::ResourceWarning"               # a file that is being opened just then has no `with` yet
    with running("-W", unclosed, "-m", "minivae", "course", "grade", *submissions, "--assignment", assignment, "--seed",
                 "s", "--jobs", "2", "--out", tmp_path / "out", stdout=None, start_new_session=True,
                 env=os.environ | {"TMPDIR": str(tmp_path / "tmp")}) as grader:
        while not (tmp_path / "out" / "reports" / "anna.json").exists():
            assert grader.poll() is None
            time.sleep(0.05)
        os.killpg(grader.pid, signal.SIGINT)
        said = grader.communicate()[1]
    assert grader.returncode == 130, said
    assert "Traceback" not in said
    assert gradebook(tmp_path / "out")["anna"] == "3"
    assert len(gradebook(tmp_path / "out")) < 5, "what waits in the pool's line is not begun"
    assert list((tmp_path / "tmp").iterdir()) == []
