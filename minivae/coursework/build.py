"""Build what is handed out: a starter tree without the answers, and the autograder with them.

The solutions of the chapters' exercises are in neither.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from minivae.coursework.assignment import SOLUTIONS, Assignment, AssignmentError
from minivae.coursework.cut import CutError, blank, find, leaks, offering, only, statements, without
from minivae.coursework.handing_in import MANIFEST, manifest
from minivae.coursework.testing import made, record

ROOT = Path(__file__).parents[2]                       # of the repository: chapters/ and minivae/ lie in it
STUDENTS_NEED = ("__init__", "assignment", "cli", "diagnose", "grade", "report", "submission", "testing",
                 "nursery", "sandbox", "seccomp", "student", "student_process", "things", "watch", "wire", "worlds",
                 "entries", "handing_in", "imports", "source", "working_tree",
                 "cut", "evaluations", "looks", "parts", "purity", "under", "budget", "confined", "counted", "meter")
VISIBLE_SEED = 1                                       # of the visible tests: everybody's are the same


def starter(assignment: Assignment, out: Path, root: Path = ROOT) -> None:
    """Write the starter tree into an empty folder.  Raises AssignmentError if an answer can be read in it."""
    blanks, texts = assignment.blanks(), made(assignment.folder, assignment.seed, "starter")
    answers: set[str] = set()
    for entry in assignment.files:
        file, _, names = entry.partition(":")
        source = texts[file] if file in texts else (root / file).read_text(encoding="utf-8")
        try:
            source = only(source, names.split(",")) if names else source
            for name, says in blanks.get(file, []):
                answers |= set(statements(find(ast.parse(source), name)))
                source = blank(source, name, says)
            source = without(source, set(assignment.left_out)) if file.endswith(".py") else source
        except CutError as error:
            raise AssignmentError(f"{file}: {error}") from error
        target = out / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source, encoding="utf-8")
    _packages(out, root)
    _refuse_leaks(assignment, out, answers)
    tools = out / "minivae" / "coursework"
    tools.mkdir(parents=True)
    for name in STUDENTS_NEED:
        shutil.copy(root / "minivae" / "coursework" / f"{name}.py", tools)
    shutil.copy(root / "minivae" / "console.py", out / "minivae")
    _engine(out / "minivae" / "gradcheck", root)
    for name in ("assignment.toml", "handout.md", "visible.py"):
        shutil.copy(assignment.folder / name, out)
    (out / "answers.bin").write_bytes(record(assignment.visible, VISIBLE_SEED, assignment.hints))
    for name, text in EXTRAS.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text.replace("NAME", assignment.name), encoding="utf-8")
    (out / MANIFEST).write_text(manifest(out), encoding="utf-8")


def _packages(out: Path, root: Path) -> None:
    """The __init__.py of every folder that is handed out: it offers what of the folder is there."""
    for folder in {path.parent for path in (out / "minivae").glob("*/*.py")}:
        if not (folder / "__init__.py").exists():
            there = {f"minivae.{folder.name}.{path.stem}" for path in folder.glob("*.py")}
            source = (root / "minivae" / folder.name / "__init__.py").read_text(encoding="utf-8")
            (folder / "__init__.py").write_text(offering(source, there), encoding="utf-8")


def _engine(folder: Path, root: Path) -> None:
    """What names mistakes lies in minivae.gradcheck; where an assignment comes without that, it comes alone."""
    folder.mkdir(exist_ok=True)
    shutil.copy(root / "minivae" / "gradcheck" / "mistakes.py", folder)
    if not (folder / "__init__.py").exists():
        says = '"""Of the gradient checker, only what names a mistake."""\n'
        (folder / "__init__.py").write_text(says, encoding="utf-8")


def _refuse_leaks(assignment: Assignment, out: Path, answers: set[str]) -> None:
    for path in sorted(out.rglob("*.py")):
        found = leaks(path.read_text(encoding="utf-8"), answers)
        if found:
            raise AssignmentError(f"{path.relative_to(out)} tells an answer: {found[0]!r}.  Blank that function too "
                                  "(also_blank), or leave its file out")


EXTRAS = {
    "minivae/__main__.py": '"""python -m minivae course check"""\n\nfrom minivae.coursework.cli import main\n\n'
                           'raise SystemExit(main())\n',
    "test_assignment.py": '''"""The same tests for plain pytest: python -m pytest"""

from pathlib import Path

import pytest

from minivae.coursework.grade import check_one, visible_tests

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", [test.name for test in visible_tests(HERE)])
def test_task(name):
    says = check_one(HERE, name)
    assert says is None, says
''',
    "pyproject.toml": '''[project]
name = "minivae"
version = "0"
description = "minivae, assignment NAME"
requires-python = ">=3.11"
dependencies = ["numpy>=1.26", "threadpoolctl>=3.7", "tqdm>=4.66", "pytest"]

[project.scripts]
minivae = "minivae.coursework.cli:main"

[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[tool.setuptools.packages.find]
include = ["minivae*"]
''',
}


def autograder(assignment: Assignment, out: Path, seed: int, root: Path = ROOT) -> None:
    """Write autograder.zip in Gradescope's layout: setup.sh, run_autograder, the solution, all tests and the seed."""
    files = {f"assignment/{path.name}": path.read_bytes() for path in sorted(assignment.folder.iterdir())
             if path.is_file()}
    for path in _package(root):
        files[f"solution/{path.relative_to(root)}"] = path.read_bytes()
    files |= {"setup.sh": SETUP.encode(), "seed": str(seed).encode(),
              "run_autograder": RUN.encode()}
    with tempfile.TemporaryDirectory() as folder:
        starter(assignment, Path(folder), root)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                files[f"starter/{path.relative_to(folder)}"] = path.read_bytes()
    write_zip(out, files)


def _package(root: Path) -> Iterator[Path]:
    """The sources of the library, and of the chapters, whose pieces may be tasks."""
    for folder in ("minivae", "chapters"):
        yield from (path for path in sorted((root / folder).rglob("*"))
                    if path.is_file() and path.suffix in (".py", ".toml", ".md", ".gz", ".txt")
                    and not {"__pycache__", SOLUTIONS} & set(path.relative_to(root).parts))
    yield from (root / name for name in ("pyproject.toml", "README.md", "LICENSE") if (root / name).exists())


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """A zip with the same bytes for the same files, whole or not at all."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    part.replace(path)


SETUP = """#!/usr/bin/env bash
# Once, as root, when the container is made.  Its own python3 may be too old: then a newer one comes from the system's
# package index.  The solution is installed where it lies, so that its chapters are found beside it.
set -euo pipefail

fits() { "$1" -c 'import ensurepip, sys; raise SystemExit(sys.version_info < (3, 11))' > /dev/null 2>&1; }

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        for python in $(type -ap "$name"); do
            if fits "$python"; then echo "$python"; return; fi
        done
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    for version in 3.13 3.12 3.11; do
        apt-get install -y --no-install-recommends "python$version" "python$version-venv" && break
    done
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo "setup.sh: no Python 3.11 or newer here, nor in the system's package index: choose a newer Ubuntu" >&2
    exit 1
fi
"$python" -m venv /autograder/venv
/autograder/venv/bin/python -m pip install --editable /autograder/source/solution
chmod -R go-rwx /autograder/source
"""
RUN = """#!/usr/bin/env bash
cd /autograder/source
exec /autograder/venv/bin/python -m minivae course gradescope /autograder/submission --assignment assignment \\
    --starter starter --seed @seed --out /autograder/results/results.json
"""
