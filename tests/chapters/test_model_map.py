"""The map of the models: no model is missing, every link leads to it, and page and picture are README's table."""

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
from minivae.training.models import MODELS
from minivae.training.recipe import OBJECTIVES, Recipe

sys.path.insert(0, str(ROOT / "chapters" / "book"))
import model_map

README = model_map.README.read_text(encoding="utf-8")
ROWS = model_map.models(README)
CHAPTERS = {path.name: int(path.name[2:4]) for path in (ROOT / "chapters").glob("ch*.py")}
CHANGE_NO_MODEL = {16, 17, 18, 19}                    # README says so


def files(row):
    return re.findall(r"\]\((minivae/[\w/]+\.py)\)", row.place)


def recipe(row):
    """What its options make of a run; of a model without options, the plain VAE's."""
    options = re.search(r"`(--[^`]+)`$", row.place)
    return tyro.cli(Train, args=shlex.split(options[1]) if options else []).recipe


def test_every_model_and_every_file_of_variants_has_a_row():
    recipes = [recipe(row) for row in ROWS]
    for field, values in (("model", MODELS), ("posterior", POSTERIORS), ("prior", PRIORS), ("objective", OBJECTIVES),
                          ("network", get_args(get_type_hints(Recipe)["network"]))):
        assert {getattr(r, field) for r in recipes} == set(values), field
    assert all(any(getattr(r, field) for r in recipes) for field in ("warm_up", "free_bits", "capacity"))
    assert any(r.beta != 1.0 for r in recipes)
    variants = {f"minivae/variants/{path.name}" for path in (ROOT / "minivae" / "variants").glob("*.py")}
    assert variants - {"minivae/variants/__init__.py"} <= {file for row in ROWS for file in files(row)}


def test_every_chapter_that_changes_a_model_is_named():
    named = {CHAPTERS[name] for name in re.findall(r"\(chapters/(ch\w+\.py)\)", model_map.section(README))}
    assert named == {number for number in CHAPTERS.values() if number >= 7} - CHANGE_NO_MODEL


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.called)
def test_a_row_is_whole_and_its_links_lead_somewhere(row):
    assert files(row)
    assert row.chapter or row.called == "convolutional VAE", "which has none of its own"
    for link in re.findall(r"\]\(([^)]+)\)", " ".join(row)):
        assert (ROOT / link).is_file(), link
    cells = [getattr(row, term) for term in model_map.TERMS]
    assert all(cells)
    assert set(cells) != {model_map.UNCHANGED}, "it changes something"
    assert (model_map.UNCHANGED in cells) or row is ROWS[0] or row.called in (
        "CVAE", "M2", "infinite VAE", "M2 of sentences")
    assert all(cell.count("`") % 2 == 0 for cell in row)


def test_no_two_rows_are_one():
    assert len({row.called for row in ROWS}) == len(ROWS)
    assert ROWS[0].called == "VAE"
    with pytest.raises(TypeError):
        model_map.models(README.replace("| · | · |", "| · |"))


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
    assert {len(model_map.CELL.split(line)) for line in table} == {len(ROWS[0]) + 2}, "no bar of a formula parts a cell"


def test_the_picture_has_every_model_below_every_term_that_it_changes():
    fig = model_map.drawn(ROWS)
    said = [text.get_text() for text in fig.axes[0].texts]
    for row in ROWS[1:]:
        changed = sum(getattr(row, term) != model_map.UNCHANGED for term in model_map.TERMS)
        assert said.count(f"{row.called}  {row.chapter}".rstrip()) == changed


def test_the_picture_that_is_stored_was_drawn_from_this_table():
    with Image.open(model_map.PICTURE) as picture:
        assert picture.info["Comment"] == model_map.mark(README), "python chapters/book/model_map.py draws it anew"
    assert model_map.mark(README.replace("| `nll + β KL` |", "| · |")) != model_map.mark(README)
    assert model_map.mark(README.replace("--beta 4`", "--beta 5`")) == model_map.mark(README), "it shows no options"


def test_every_link_and_picture_of_readme_leads_somewhere():
    links = re.findall(r'\]\(([^)#]+)\)|src="([^"]+)"', README)
    assert len(links) > 60
    for link in map("".join, links):
        assert link.startswith("http") or (ROOT / link).exists(), link
