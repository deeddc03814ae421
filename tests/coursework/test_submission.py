"""What students really hand in is found, and what is not found is said."""

import gzip
import io
import json
import tarfile
import zipfile
import zlib

import pytest
from tiny import FILE, RIGHT, tiny

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import main
from minivae.coursework.entries import ARCHIVE, SubmissionError, entries, in_tar
from minivae.coursework.gradebook import Gradebook
from minivae.coursework.handing_in import to_hand_in
from minivae.coursework.roster import submissions_of
from minivae.coursework.submission import handed_in

FILES = {"minivae/ops.py", "chapters/ch01.py"}
OPS = "minivae/ops.py"


@pytest.fixture
def tree(tmp_path):
    """A starter."""
    for file in (*FILES, "minivae/__init__.py"):
        (tmp_path / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / file).write_text("# starter\n", encoding="utf-8")
    return tmp_path / "tree"


def zipped(*files):
    """The bytes of a zip."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return found.getvalue()


def tarred(*files, mode="w:gz"):
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode=mode) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return found.getvalue()


def given(tree, path, *files):
    """What is taken of a folder with these files; or of one file, if `path` is a name."""
    folder = tree.parent / "in"
    for name, content in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return handed_in([folder / path], FILES, tree)


CODE = b"x = 1\n"
NOTEBOOK = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# no"]},
                                 {"cell_type": "code", "source": ["%matplotlib inline\n", "if 1:\n", "  %pwd\n"]},
                                 {"cell_type": "code", "source": "y = 2"}]}).encode()
CELLS = b"# %matplotlib inline\nif 1:\n  pass\n\n\ny = 2"
FOUND = {                              # what lies in the folder -> what is taken of it, and what is said
    "at its place": (OPS, CODE, CODE, None),
    "below a folder": ("home/a1/minivae/ops.py", CODE, CODE, "taken from home/a1/minivae/ops.py"),
    "alone": ("ops.py", CODE, CODE, "taken from ops.py"),
    "downloaded twice": ("ops (1).py", CODE, CODE, r"taken from ops (1).py"),
    "handed in twice": ("ops-2.py", CODE, CODE, "taken from ops-2.py"),
    "copied on Windows": ("ops - Copy (2).py", CODE, CODE, "taken from ops - Copy (2).py"),
    "with a capital": ("Ops.py", CODE, CODE, "taken from Ops.py"),
    "all in capitals": ("MINIVAE/OPS.PY", CODE, CODE, "taken from MINIVAE/OPS.PY"),
    "as text": ("ops.py.txt", CODE, CODE, "taken from ops.py.txt"),
    "from Canvas": ("doejane_LATE_123_456_ops-1.py", CODE, CODE, "taken from doejane_LATE_123_456_ops-1.py"),
    "a zip in a folder": ("a1.zip", zipped((OPS, CODE)), CODE, "taken from a1.zip/minivae/ops.py"),
    "a zip in a zip": ("a.zip", zipped(("b.zip", zipped((OPS, CODE)))), CODE, "taken from a.zip/b.zip/minivae/ops.py"),
    "a tar.gz": ("a1.tar.gz", tarred((OPS, CODE)), CODE, "taken from a1.tar.gz/minivae/ops.py"),
    "a tgz": ("a1.tgz", tarred(("ops.py", CODE)), CODE, "taken from a1.tgz/ops.py"),
    "a tar": ("a1.tar", tarred((OPS, CODE), mode="w"), CODE, "taken from a1.tar/minivae/ops.py"),
    "a BOM": (OPS, b"\xef\xbb\xbf" + CODE, CODE, None),
    "from Windows": (OPS, b"x = 1\r\ny = 2\r\n", b"x = 1\ny = 2\n", None),
    "UTF-16": (OPS, "x = 'é'\n".encode("utf-16"), "x = 'é'\n".encode(), "UTF-16: save it as UTF-8"),
    "a notebook saved as .py": (OPS, NOTEBOOK, CELLS, "is a notebook: its code"),
    "a notebook": ("ops.ipynb", NOTEBOOK, CELLS, "lines that only a notebook understands"),
    "a notebook's export": (OPS, b"get_ipython().system('ls')\nx = 1\n", b"# get_ipython().system('ls')\nx = 1\n",
                            "are left out"),
    "a remainder on a line of its own": (OPS, b"x = (3\n  % 2)\n", b"x = (3\n  % 2)\n", None),
}


@pytest.mark.parametrize("name", FOUND)
def test_files_are_found_as_people_hand_them_in(name, tree):
    place, content, taken, says = FOUND[name]
    for path in (".", place.partition("/")[0]):         # in a folder; and the thing itself
        theirs = given(tree, path, (place, content))
        assert theirs.contents == {OPS: taken}
        about = [remark for remark in theirs.remarks if "ch01" not in remark]
        if path == ".":
            assert bool(about) == (says is not None), about
            assert says is None or says in about[0]
    assert "chapters/ch01.py was not handed in: the starter's stands in for it" in theirs.remarks


LOST = {
    "another name": ("operations.py", CODE, "what was handed in: operations.py"),
    "a paper": ("solution.pdf", b"%PDF", "what was handed in: solution.pdf"),
    "another archive": ("a1.rar", b"Rar!", "a1.rar: is packed in a way that is not read: use an ordinary zip"),
    "a broken zip": ("a1.zip", zipped((OPS, CODE))[-60:], "a1.zip: not a zip that can be read"),
    "a broken tar": ("a1.tar.gz", b"\x1f\x8bno", "a1.tar.gz: not a tar that can be read"),
    "zips in zips in zips in zips": ("a.zip", zipped(("b.zip", zipped(("c.zip", zipped(("d.zip", zipped(
        (OPS, CODE)))))))), "minivae/ops.py was not handed in"),
    "Latin letters": (OPS, "x = 'é'".encode("latin-1"), "minivae/ops.py is no text in UTF-8"),
    "half a notebook": (OPS, NOTEBOOK[:50], "is neither Python nor a notebook that can be read"),
    "a folder of its name": ("minivae/ops.py/readme.txt", b"", "minivae/ops.py was not handed in"),
    "out of the archive": ("a.tar", tarred(("../minivae/ops.py", CODE), mode="w"), "minivae/ops.py was not handed in"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_cannot_be_taken_is_said(name, tree):
    place, content, says = LOST[name]
    theirs = given(tree, ".", (place, content))
    assert theirs.contents == {}
    assert says in " | ".join(theirs.remarks)


@pytest.mark.parametrize(("text", "says"), [
    (b"x = 1\ndef f(:\n", "line 2: invalid syntax: def f(:"),
    (b"'a docstring'\nimport math\nfrom __future__ import annotations\n", "line 3: from __future__"),
    (b"-" * 300_000 + b"1", "it cannot be read by Python"), (b"def f():\nreturn 1\n", "line 2: expected an indented"),
])
def test_what_is_no_python_is_said_with_its_line(text, says, tree):
    assert f"minivae/ops.py, {says}" in " ".join(given(tree, ".", (OPS, text)).remarks)


def test_what_a_compiler_would_die_of_does_not_end_the_judge(tree):
    deep = b"[a for a in b " + b"for a in b " * 30_000 + b"]"           # compile() of it ends Python 3.11 to 3.13
    assert given(tree, ".", (OPS, deep)).contents == {OPS: deep}


def test_the_file_at_its_place_is_the_best_and_the_others_are_named(tree):
    theirs = given(tree, ".", ("home/minivae/ops.py", b"# home"), ("ops.py", b"# alone"), (OPS, b"# right"))
    assert theirs.contents == {OPS: b"# right"}
    assert "minivae/ops.py: taken from minivae/ops.py; left out: home/minivae/ops.py, ops.py" in theirs.remarks


def test_of_two_downloads_the_later_one_is_taken(tree):
    theirs = given(tree, ".", ("ops (1).py", b"# 1"), ("ops (2).py", b"# 2"))
    assert theirs.contents == {OPS: b"# 2"}


def test_what_a_file_imports_is_taken_along_and_what_nobody_imports_is_not(tree):
    theirs = given(tree, ".", (OPS, b"def f():\n    from tools import g\nfrom .more import h\n"),
                   ("tools.py", b"import deep.er\n"), ("minivae/more.py", b"import tools\n"),
                   ("deep/er.py", b"x = 1\n"), ("secret.py", b"x = 1\n"))
    assert sorted(theirs.contents) == ["deep/er.py", "minivae/more.py", OPS, "tools.py"]
    assert "tools.py is taken along: minivae/ops.py, line 2 imports it" in theirs.remarks
    assert not [remark for remark in theirs.remarks if "there is no" in remark]
    assert "there is no tools" in " ".join(given(tree, OPS).remarks)


def test_a_file_may_import_what_another_one_of_the_student_has(tree):
    theirs = given(tree, ".", (OPS, b"from ch01 import mine\n"), ("ch01.py", b"def mine():\n    pass\n"))
    assert not [remark for remark in theirs.remarks if "there is no" in remark]


def test_the_starter_handed_in_unchanged_is_said(tree):
    assert "nothing was changed" in " ".join(handed_in([tree], FILES, tree).remarks)


def test_virtual_environments_and_hidden_folders_are_passed_by(tree):
    folder = tree.parent / "in"
    for place in ("venv/lib/minivae", ".git/minivae"):
        (folder / place).mkdir(parents=True)
        (folder / place / "ops.py").write_text("#", encoding="utf-8")
    (folder / "venv" / "pyvenv.cfg").touch()
    for i in range(11_000):
        (folder / "venv" / "lib" / str(i)).touch()
    assert handed_in([folder], FILES, tree).contents == {}


@pytest.mark.parametrize("name", ["minivae/ops.py", "a1/minivae/ops.py", "a1\\minivae\\ops.py", "ops.py"])
def test_a_zip_is_read_as_people_make_them(tree, name):
    content = zipped(("__MACOSX/minivae/ops.py", "#"), (name, "x = 'é'"))
    assert given(tree, "s.zip", ("s.zip", content)).contents == {OPS: "x = 'é'".encode()}


def test_an_archive_that_grows_without_end_is_not_unpacked():
    packing = zlib.compressobj(9, wbits=31)
    bomb = packing.compress(bytes(10 * ARCHIVE)) + packing.flush()
    with pytest.raises(SubmissionError, match="an archive of more than"):
        in_tar(bomb)
    with pytest.raises(SubmissionError, match="not a tar that can be read"):
        in_tar(gzip.compress(b"x" * 1000))


def test_a_zip_of_zips_is_opened_so_far_and_no_further(tmp_path):
    (tmp_path / "s.zip").write_bytes(zipped(*((f"{i}.zip", zipped(("ops.py", CODE))) for i in range(50))))
    found, _ = entries(tmp_path / "s.zip")
    assert len([entry for entry in found if entry.name == "ops.py"]) == 9              # and the outermost


# ── whose it is ───────────────────────────────────────────────────────────────────────────────


def test_what_moodle_and_canvas_name_belongs_to_a_student(tmp_path):
    for place in ("Anna Muster_12345_assignsubmission_file_/ops.py", "doejane_LATE_77_801_ops-1.py",
                  "doejane_77_800_nll.py", "Anna Muster_12345_assignsubmission_onlinetext_/a.html", "ben.tar.gz",
                  "c/ops.py", "d/ops.py"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    paths = [path for path in tmp_path.iterdir() if path.name not in "cd"]
    found = submissions_of([*paths, tmp_path / "c" / "ops.py", tmp_path / "d" / "ops.py"])
    assert [(s.name, s.student, s.id, len(s.paths)) for s in found] == [
        ("Anna Muster_12345", "Anna Muster", "12345", 2), ("ben.tar.gz", "ben", "", 1), ("c/ops.py", "c/ops", "", 1),
        ("d/ops.py", "d/ops", "", 1), ("doejane_77", "doejane", "77", 2)]


def test_files_of_one_student_are_graded_together_and_the_notes_are_in_the_table(tmp_path):
    assignment = tiny(tmp_path / "tiny")
    folder = tmp_path / "in"
    folder.mkdir()
    text = "from tools import by\n" + RIGHT.replace("(2 * h)", "by(h)")
    (folder / "doejane_77_800_ch01_gradient-1.py").write_text(text, encoding="utf-8")
    (folder / "doejane_77_801_tools.py").write_text("def by(h):\n    return 2 * h\n", encoding="utf-8")
    (folder / "roe_78_802_report.pdf").write_bytes(b"%PDF")
    assert main(["course", "grade", *map(str, folder.iterdir()), "--assignment", str(assignment), "--seed", "s",
                 "--out", str(tmp_path / "out")]) == 0
    reports = Gradebook(tmp_path / "out").read()
    assert {name: (report.points, report.id) for name, report in reports.items()} == {
        "doejane_77": (3.0, "77"), "roe_78": (0.0, "78")}
    table = (tmp_path / "out" / "gradebook.csv").read_text(encoding="utf-8")
    assert "ch01_gradient.py was not handed in" in table
    assert "what was handed in: report.pdf" in table


# ── before it is handed in ────────────────────────────────────────────────────────────────────


def test_check_says_what_to_hand_in_and_what_will_be_lost(tmp_path, capsys):
    starter(Assignment.read(tiny(tmp_path / "tiny")), tmp_path / "work")
    (tmp_path / "work" / "chapters" / FILE).write_text("import tools\n" + RIGHT, encoding="utf-8")
    (tmp_path / "work" / "tools.py").write_text("# mine\n", encoding="utf-8")
    (tmp_path / "work" / "unused.py").write_text("# mine\n", encoding="utf-8")
    assert main(["course", "check", "--folder", str(tmp_path / "work")]) == 0
    assert "\nhand in: chapters/ch01_gradient.py, tools.py\n" in capsys.readouterr().out
    (tmp_path / "work" / "minivae" / "__main__.py").write_text("# changed\n", encoding="utf-8")
    (tmp_path / "work" / "chapters" / FILE).write_bytes(b"\xff")
    _, lost = to_hand_in(tmp_path / "work", ["chapters/ch01_gradient.py"])
    assert [line.partition(":")[0] for line in lost] == [
        "chapters/ch01_gradient.py is no text in UTF-8",
        "minivae/__main__.py is not as it was handed out.  It is not handed in"]


def test_a_starter_that_is_whole_loses_nothing(tmp_path):
    starter(Assignment.read(tiny(tmp_path / "tiny")), tmp_path / "work")
    assert to_hand_in(tmp_path / "work", ["chapters/ch01_gradient.py"]) == (["chapters/ch01_gradient.py"], [])
