"""The map of the models: no model is missing, every link leads to it, and README's table, the book's page and its
picture are the one that the package has."""

import re
import shlex
import sys
from typing import get_args, get_type_hints

import pytest
import tyro
from conftest import ROOT
from PIL import Image

from minivae.cli.train import Train
from minivae.parts import POSTERIORS, PRIORS
from minivae.training.model_map import CELL, TERMS, UNCHANGED, plain, rows, table
from minivae.training.models import MODELS
from minivae.training.recipe import OBJECTIVES, Recipe

sys.path.insert(0, str(ROOT / "chapters" / "book"))
import model_map

README = model_map.README.read_text(encoding="utf-8")
ROWS = rows(table())
CHAPTERS = {path.name: int(path.name[2:4]) for path in (ROOT / "chapters").glob("ch*.py")}
CHANGE_NO_MODEL = {16, 17, 18, 19, 33}                # README says so


def recipe(row):
    """What its options make of a run; of a model without options, the plain VAE's."""
    return tyro.cli(Train, args=shlex.split(row.options)).recipe


def test_every_model_and_every_file_of_variants_has_a_row():
    recipes = [recipe(row) for row in ROWS]
    for field, values in (("model", MODELS), ("posterior", POSTERIORS), ("prior", PRIORS), ("objective", OBJECTIVES),
                          ("network", get_args(get_type_hints(Recipe)["network"]))):
        assert {getattr(r, field) for r in recipes} == set(values), field
    assert all(any(getattr(r, field) for r in recipes) for field in ("warm_up", "free_bits", "capacity"))
    assert any(r.beta != 1.0 for r in recipes)
    variants = {f"minivae/variants/{path.name}" for path in (ROOT / "minivae" / "variants").glob("*.py")}
    assert variants - {"minivae/variants/__init__.py"} <= {file for row in ROWS for file in row.files}


def test_every_chapter_that_changes_a_model_is_named():
    named = {CHAPTERS[name] for name in re.findall(r"\(chapters/(ch\w+\.py)\)", model_map.section(README))}
    assert named == {number for number in CHAPTERS.values() if number >= 7} - CHANGE_NO_MODEL


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.called)
def test_a_row_is_whole_and_its_links_lead_somewhere(row):
    assert row.files
    assert row.chapter or row.called == "convolutional VAE", "which has none of its own"
    for link in re.findall(r"\]\(([^)]+)\)", " ".join(row)):
        assert (ROOT / link).is_file(), link
    cells = [getattr(row, term) for term in TERMS]
    assert all(cells)
    assert set(cells) != {UNCHANGED}, "it changes something"
    assert (UNCHANGED in cells) or row is ROWS[0] or row.called in (
        "CVAE", "M2", "infinite VAE", "M2 of sentences")
    assert all(cell.count("`") % 2 == 0 for cell in row)


def test_no_two_rows_are_one():
    assert len({row.called for row in ROWS}) == len(ROWS)
    assert ROWS[0].called == "VAE"
    with pytest.raises(TypeError):
        rows(table().replace("| · | · |", "| · |"))


def test_the_page_sets_the_formulas_and_leads_to_pages_of_the_book():
    page = model_map.page(README)
    assert page.startswith("# A map of the models\n")
    assert r"| $N(\mu , L L^{T})$ |" in page
    assert r"$(1/K) \textstyle\sum _{k} q(z\mid u_{k})$" in page
    assert r"\gamma  \vert \operatorname{KL}  - C(t)\vert $" in page
    assert "`--prior vamp`" in page
    assert "[**VampPrior**](ch24_vampprior.py)" in page
    assert "[vamp_prior](api/parts.md#vamp_prior)" in page
    assert "[vae](api/vae.md)" in page
    assert "chapters/" not in page
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(table) == len(ROWS) + 1, "the head, and a row for each"
    assert {len(CELL.split(line)) for line in table} == {len(ROWS[0]) + 2}, "no bar of a formula parts a cell"


def test_the_picture_has_every_model_below_every_term_that_it_changes():
    fig = model_map.drawn(ROWS)
    said = [text.get_text() for text in fig.axes[0].texts]
    for row in ROWS[1:]:
        changed = sum(getattr(row, term) != UNCHANGED for term in TERMS)
        assert said.count(f"{row.called}  {row.chapter}".rstrip()) == changed


def test_the_picture_that_is_stored_was_drawn_from_this_table():
    with Image.open(model_map.PICTURE) as picture:
        assert picture.info["Comment"] == model_map.mark(ROWS), "python chapters/book/model_map.py draws it anew"

    def changed(*words):
        return model_map.mark(rows(table().replace(*words))) != model_map.mark(ROWS)

    assert changed("| `nll + β KL` |", "| · |")
    assert not changed("--beta 4`", "--beta 5`"), "it shows no options"


def test_readme_has_this_table():
    """Both ways: another table in README would be replaced, and nothing else."""
    assert model_map.written(README) == README, "python chapters/book/model_map.py writes it"
    assert model_map.written(README.replace("| `nll + β KL` |", "| · |")) == README


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.called)
def test_a_console_sees_no_marks(row):
    for cell in row:
        assert not re.search(r"[`*\\]|\]\(", plain(cell)), cell
    assert plain("`a` `b\\|c`, [**M2**](x/y.py)") == "a b|c, M2"


def test_every_link_and_picture_of_readme_leads_somewhere():
    links = re.findall(r'\]\(([^)#]+)\)|src="([^"]+)"', README)
    assert len(links) > 60
    for link in map("".join, links):
        assert link.startswith("http") or (ROOT / link).exists(), link
