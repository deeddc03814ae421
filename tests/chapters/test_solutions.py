"""The exercises of the chapters are solved, each once, under its own words; what a solution claims it computes."""

import ast
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "chapters" / "book"))
import solutions

CHAPTERS = {path.name[:4]: path for path in sorted((ROOT / "chapters").glob("ch*.py"))}
SOLVED = {path.stem: path for path in sorted(solutions.FOLDER.glob("*.py"))}
BOOK = os.environ.get("MINIVAE_BOOK")                 # built just now: every solution has run there, with --quick


def squeezed(text):
    return " ".join(text.split())


def read(path):
    return path.read_text(encoding="utf-8")


def test_every_chapter_is_solved():
    assert SOLVED.keys() == CHAPTERS.keys()


@pytest.mark.parametrize("name", SOLVED)
def test_every_exercise_is_solved_once_under_its_own_words(name):
    asked = {number: squeezed(words) for number, words in solutions.exercises(read(CHAPTERS[name])).items()}
    quoted = {number: squeezed(words) for number, (words, _) in solutions.solutions(read(SOLVED[name])).items()}
    assert list(asked) == ["1", "2", "3"]
    assert quoted == asked
    assert list(quoted) == sorted(quoted)


@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_says_and_computes(name):
    """In text cells that the book can fold away, and code that compares what the text claims with what comes out."""
    text = read(SOLVED[name])
    number = int(name[2:])
    says = ast.get_docstring(ast.parse(text))
    assert says.startswith(f"Solutions of chapter {number} · ")
    assert f"python -m chapters.solutions.{name}" in says
    title = re.search(r"^Chapter (.*?)\.?$", ast.get_docstring(ast.parse(read(CHAPTERS[name]))).splitlines()[0])[1]
    assert title in says
    assert solutions.cells(text)[0] == f"{solutions.TEXT}# # Solutions of chapter {number}\n\n"
    for quoted, answer in solutions.solutions(text).values():
        cells = solutions.cells(answer)
        prose = [cell for cell in cells if cell.startswith("# %% [markdown]")]
        code = [cell for cell in cells if not cell.startswith("# %% [markdown]")]
        assert prose
        assert any("assert " in cell for cell in code), quoted
        assert any("print(" in cell for cell in code), quoted
        for cell in prose:
            assert all(not line or line.startswith("#") for line in cell.splitlines())
            assert not re.search(r"^# #", cell, re.MULTILINE), "a heading would open a section in what is folded away"
            assert cell.count("$") % 2 == 0, "a formula that never ends"


@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_runs(name, tmp_path, monkeypatch, capsys):
    """After `.ci/run` has built the book, only every fifth: of the others the page is read."""
    if BOOK and int(name[2:]) % 5 != 1:
        page = (Path(BOOK) / f"{CHAPTERS[name].stem}.html").read_text(encoding="utf-8")
        shown = re.findall(r'<details class="solution">(.*?)</details>', page, re.DOTALL)
        assert len(shown) == 3
        assert all("cell_output" in solution for solution in shown)
        return
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path)])
    runpy.run_path(str(SOLVED[name]), run_name="__main__")
    said = capsys.readouterr().out
    assert said.count("\n") >= 3
    assert not re.search(r"\bnan\b", said)
    assert sorted(re.findall(r"^picture: (.*)$", said, re.M)) == sorted(map(str, tmp_path.rglob("*.png")))


CHAPTER = '''"""Chapter 1."""

# %% [markdown]
# # 1 · One

# %%
print(1)

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Why
#    one?
# 2. *Derive this.*  Two.
'''
SOLUTION = '''"""Solutions."""

# %% [markdown]
# # Solutions of chapter 1

# %%
import numpy

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Why
# > one?
#
# Because.

# %%
print(2)

# %% [markdown]
# ## Exercise 2
#
# > *Derive this.*  Two.

# %%
print(3)
'''


def test_a_solution_stands_folded_away_below_its_exercise():
    page = [cell.partition("\n")[2].strip() for cell in solutions.cells(solutions.solved(CHAPTER, SOLUTION))]
    unfold, fold = '# <details class="solution"><summary>Solution of exercise {}</summary>', "# </details>"
    assert page == ["# # 1 · One", "print(1)",
                    "# ## Exercises\n#\n# 1. *Change this.*  Why\n#    one?",
                    unfold.format(1), "import numpy", "# Because.", "print(2)", fold,
                    "# 2. *Derive this.*  Two.", unfold.format(2), "print(3)", fold]
    assert solutions.exercises(CHAPTER) == {"1": "*Change this.*  Why\n   one?", "2": "*Derive this.*  Two."}
    assert solutions.solutions(SOLUTION)["1"][0] == "*Change this.*  Why\none?"


def test_a_chapter_without_solutions_stays_as_it_is():
    assert solutions.solved(CHAPTER, "") == CHAPTER


def test_an_exercise_that_is_solved_twice_is_refused():
    with pytest.raises(ValueError, match="exercise 1 is solved twice"):
        solutions.solutions(SOLUTION + SOLUTION.partition("import numpy\n\n")[2])
