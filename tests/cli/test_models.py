"""minivae models and train --help: every model is listed, and what is said of it is what the map has."""

from typing import get_args, get_type_hints

import pytest

from minivae.cli import main
from minivae.cli.models import called
from minivae.training.model_map import TERMS, UNCHANGED, plain, rows, table
from minivae.training.models import MODELS
from minivae.training.recipe import Recipe

ROWS = rows(table())


def test_all_of_them_a_line_each(capsys):
    assert main(["models"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:len(TERMS)] == list(TERMS)
    for row, line in zip(ROWS, lines):
        assert line.startswith(row.called)
        assert line.endswith(row.options)
        marks = line.removeprefix(row.called).split()[:len(TERMS)]
        assert marks == ["x" if row is not ROWS[0] and getattr(row, term) != UNCHANGED else "." for term in TERMS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.called)
def test_one_of_them_term_by_term(row, capsys):
    assert main(["models", row.called]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(row.called)
    assert row.options in lines[0]
    said = dict(line[2:].split(maxsplit=1) for line in lines[1:] if not line.startswith("  as the VAE"))
    for term in TERMS:
        if getattr(row, term) != UNCHANGED:
            assert said[term] == plain(getattr(row, term))
        else:
            assert term not in said
            assert term in next(line for line in lines if line.startswith("  as the VAE"))


@pytest.mark.parametrize(("name", "found"), [
    ("two_stage", ["two-stage VAE"]), ("vampPRIOR", ["VampPrior"]), ("vamp", ["VampPrior"]), ("M1+M2", ["M1+M2"]),
    ("m1m2", ["M1+M2"]), ("full", ["full covariance"]), ("iwae", ["IWAE"]), ("vae", ["VAE"]),
    ("gaussian_shared", ["learned noise", "two-stage VAE"])])
def test_a_name_may_be_the_map_s_or_an_option_s(name, found):
    assert [row.called for row in called(name, ROWS)] == found


@pytest.mark.parametrize(("name", "hint"), [("vampprio", "did you mean 'vampprior'? "), ("a horse", "")])
def test_a_name_that_is_none_is_told(name, hint, capsys):
    assert main(["models", name]) == 2
    assert capsys.readouterr().err == f"minivae: names: got {name!r}: {hint}`minivae models` lists them\n"


def test_train_tells_each_model_in_a_line(capsys):
    """Its choices are those of MODELS, and none is without its line."""
    assert set(get_args(get_type_hints(Recipe)["model"])) == MODELS.keys()
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", "").split())
    for name, kind in MODELS.items():
        assert f"{name}: {kind.says}" in said
        assert kind.says
