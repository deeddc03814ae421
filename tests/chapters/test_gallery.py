"""The gallery: no model is missing, each is trained as it says, and it runs."""

import re
import sys
from types import SimpleNamespace

import pytest
from conftest import ROOT, python

sys.path.insert(0, str(ROOT / "chapters"))
import gallery

from minivae.training.model_map import rows, table
from minivae.training.models import MODELS

ROWS = rows(table())
ELSEWHERE = {"M1": "a VAE, and a classifier of its codes"}
DIGITS = range(31)                                     # chapters; those after them have data of their own


def test_every_model_of_the_map_is_there_once():
    names = [entry.name for entry in gallery.ENTRIES]
    assert len(names) == len(set(names))
    mapped = {row.called for row in ROWS if int(row.chapter or 0) in DIGITS}
    assert mapped - ELSEWHERE.keys() <= set(names), "name it in ENTRIES of chapters/gallery.py"


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("entry", gallery.ENTRIES, ids=lambda entry: entry.name)
def test_settings_are_those_of_the_model(entry, quick):
    """A recipe refuses what means nothing to its model; what is trained first leaves epochs for what comes after."""
    recipe = entry.recipe(SimpleNamespace(quick=quick, epochs=1 if quick else 20, data="digits", seed=3))
    assert (recipe.seed, recipe.data) == (3, "digits")
    assert recipe.model in MODELS
    if entry.first:
        assert 1 <= getattr(recipe, entry.first[0]) < recipe.epochs
    bernoulli = entry in gallery.ENTRIES[:len(gallery.BLACK_AND_WHITE)]
    assert recipe.binarize == bernoulli


def test_it_draws_all_of_them(tmp_path):
    result = python(ROOT / "chapters" / "gallery.py", "--quick", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    lines = result.stdout.splitlines()
    for entry in gallery.ENTRIES:
        assert any(line.startswith((f"{entry.name}  ", f"{entry.name}, ")) for line in lines), entry.name
    assert re.search(rf"^Seen: {len(gallery.ENTRIES)} models of 300 images in \d+ s", result.stdout, re.M)
    assert " nan" not in result.stdout
    assert f"picture: {tmp_path / 'out' / 'gallery.png'}" in lines
    assert (tmp_path / "out" / "gallery.png").read_bytes().startswith(b"\x89PNG")


def test_some_of_them(tmp_path, capsys):
    gallery.main(["--quick", "--only", "grey levels", "VAE", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert re.search(r"^VAE +-\d", out, re.M)
    assert re.search(r"^grey levels +-\d+\.\d\d ± \d+\.\d\d  +\d", out, re.M), "nats of another kind are not paired"
    assert "Seen: 2 models" in out
    with pytest.raises(SystemExit) as stop:
        gallery.main(["--only", "a GAN"])
    assert stop.value.code == 2
    assert "invalid choice: 'a GAN'" in capsys.readouterr().err


def test_pairs_are_those_of_the_bounds(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(gallery, "numbers", lambda found: seen.extend(found) or [])
    gallery.main(["--quick", "--only", "VAE", "IWAE", "--out", str(tmp_path)])
    (one, _), (other, _) = seen
    monkeypatch.undo()
    (_, line, *_) = gallery.numbers(seen)[1:]
    difference = (other.elbo - one.elbo).mean()
    assert f"{difference:+.2f} ± " in line
    capsys.readouterr()
