"""minivae compare: the numbers are those of the runs, differences are paired, and what cannot be paired is told."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minivae import plots
from minivae.backend import device
from minivae.cli import judged, main
from minivae.cli.compare import as_markdown, as_text, differing
from minivae.data import load
from minivae.evaluation import Estimate, active_units, log_likelihoods, sample_quality, terms_by_image
from minivae.training import Recipe, load_run, read_recipe

BEFORE = Path(__file__).parent.parent / "runs" / "before" / "digits"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs on a user's own small images: one, wider, gaussian, binarized, of other images, of more of the same."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    train, test = rng.random((160, 4, 3)), rng.random((60, 4, 3))
    np.savez(folder / "mine.npz", train=train, test=test)
    np.savez(folder / "larger.npz", train=rng.random((60, 5, 5)), test=rng.random((30, 5, 5)))
    np.savez(folder / "others.npz", train=train, test=test[::-1])
    for name, data, options in [
            ("one", "mine", {}), ("wider", "mine", {"hidden": (16,), "epochs": 3}),
            ("gaussian", "mine", {"likelihood": "gaussian_shared"}), ("binarized", "mine", {"binarize": True}),
            ("large", "larger", {}), ("reversed", "others", {}), ("elsewhere/one", "mine", {"seed": 1})]:
        train_on(folder / f"{data}.npz", folder / name, **options)
    return folder


def train_on(data, run, **options):
    recipe = Recipe(**{"data": str(data), "hidden": (8,), "latents": 2, "batch_size": 50, "epochs": 1} | options)
    recipe.train(load(recipe.data), device("cpu"), run=run, progress=False)


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that are not about the picture: it takes longer than all else."""
    monkeypatch.setattr(plots, "save", lambda fig, path: path)


def compare(place, *runs, out, options=()):
    return main(["compare", *(str(place / run) for run in runs), "--out", str(out), "--device", "cpu", *options])


def rows(text):
    """what -> cells, of the printed table, whose columns may stand below each other"""
    found = {}
    for line in text.splitlines():
        what, *cells = re.split(r"\s{2,}", line.strip())
        found.setdefault(what, []).extend(cells)
    return found


def test_the_table_says_what_the_runs_say(place, tmp_path, capsys, undrawn):
    assert compare(place, "one", "wider", out=tmp_path / "c", options=["--samples", "7", "--seed", "3"]) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    table = rows(out)
    assert out.split()[:2] == ["one", "wider"]
    assert table["hidden"] == ["8", "16"]
    assert table["epochs"] == ["1", "3"]
    assert table["test images"] == ["60", "60"]
    assert not {"likelihood", "latents", "lr", "seed", "beta"} & table.keys(), "options in which they do not differ"
    for i, name in enumerate(("one", "wider")):
        model, dataset, recipe = load_run(place / name, device("cpu"))
        x = recipe.test(dataset)
        nll, kl = terms_by_image(model, x, seed=3)
        assert table["ELBO"][i] == str(Estimate.of(-(nll + kl)))
        assert table["KL"][i] == str(Estimate.of(kl))
        assert table["NLL, 7 samples"][i] == str(Estimate.of(-log_likelihoods(model, x, samples=7, seed=3)))
        assert table["parameters"][i] == f"{model.arena.value.size:,}"
        assert table["active units"][i] == f"{active_units(model, x).sum()} of 2"
    assert "Fréchet" not in out, "for images of 4×3 there is none"


def test_differences_are_paired(place, tmp_path, capsys, undrawn):
    """Mean and standard error of the differences, image by image: not of the two means."""
    assert compare(place, "one", "wider", out=tmp_path / "c") == 0
    elbos = []
    for name in ("one", "wider"):
        model, dataset, recipe = load_run(place / name, device("cpu"))
        elbos.append(-sum(terms_by_image(model, recipe.test(dataset))))
    d = elbos[1] - elbos[0]
    expected = f"{d.mean():+.2f} ± {d.std(ddof=1) / np.sqrt(60):.2f}"
    assert rows(capsys.readouterr()[0])["… less that of one"] == [expected]
    apart = np.sqrt(sum(elbo.var(ddof=1) / 60 for elbo in elbos))
    assert d.std(ddof=1) / np.sqrt(60) != pytest.approx(apart, rel=0.01)


@pytest.mark.parametrize(("other", "why"), [
    ("gaussian", r"their p\(x\|z\) are of different kinds \(gaussian: a density of real numbers; bernoulli: black and"),
    ("binarized", r"drawn black and white for the one, grey for the other: binarize"),
    ("large", r"their test images are others \(\S+larger.npz, 30 of 5×5; \S+mine.npz, 60 of 4×3\)"),
    ("reversed", r"their test images are others \(\S+others.npz, 60 of 4×3; \S+mine.npz, 60 of 4×3\)"),
])
def test_what_cannot_be_paired_is_told_and_the_rest_shown(place, other, why, tmp_path, capsys):
    assert compare(place, "one", "wider", other, out=tmp_path / "c") == 0
    out, _ = capsys.readouterr()
    first, last = rows(out)["… less that of one"]
    assert "±" in first
    assert last == "not paired"
    said = " ".join(out.split())
    assert re.search(f"{other} cannot be paired with one, nor its nats compared: .*{why}", said)
    assert "wider cannot be paired" not in said
    assert (tmp_path / "c" / "comparison.png").exists()


def test_the_files_hold_the_same_table_and_never_overwrite(place, tmp_path, capsys):
    for name in ("c", "c-2"):
        assert compare(place, "one", "elsewhere/one", out=tmp_path / "c") == 0
        out, _ = capsys.readouterr()
        assert {path.name for path in (tmp_path / name).iterdir()} == {"comparison.png", "comparison.md"}
        assert str(tmp_path / name) in out
    page = (tmp_path / "c" / "comparison.md").read_text(encoding="utf-8")
    assert f"|  | {place / 'one'} | {place / 'elsewhere' / 'one'} |" in page, "of equal names the whole path is told"
    assert "| --- | --: | --: |" in page
    assert re.search(r"^\| ELBO \| (\S+ ± \S+) \| ", page, re.M)[1] == rows(out)["ELBO"][0]
    assert "| seed | 0 | 1 |" in page
    assert r"| −log p(x\|z) |" in page


def test_the_default_folder(place, tmp_path, capsys, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(place / "one"), str(place / "wider"), "--device", "cpu"]) == 0
    assert (tmp_path / "out" / "compare" / "comparison.md").exists()
    capsys.readouterr()


def test_some_images_and_the_best_epochs(place, tmp_path, capsys, undrawn):
    assert compare(place, "one", "wider", out=tmp_path / "c", options=["--images", "20", "--best"]) == 0
    table = rows(capsys.readouterr()[0])
    assert table["test images"] == ["20", "20"]
    assert table["epochs"][0] == "1 of 1"
    assert re.fullmatch("[123] of 3", table["epochs"][1])


def test_on_a_device(place, tmp_path, capsys, cupy_standin, undrawn):
    """A host array among a device's would raise."""
    runs = [str(place / name) for name in ("one", "wider")]
    assert main(["compare", *runs, "--out", str(tmp_path / "c"), "--device", "cuda", "--samples", "3"]) == 0
    assert "±" in rows(capsys.readouterr()[0])["… less that of one"][0]


@pytest.mark.parametrize(("arguments", "said"), [
    ("", "runs: got 0, expected at least 2 run folders"),
    ("HERE/one", "runs: got 1, expected at least 2 run folders (of one, `minivae evaluate RUN` tells)"),
    ("HERE/one HERE/none", "none is not a run folder: cannot read"),
    ("HERE HERE/one", "is not a run folder"),
    ("HERE/one HERE/elsewhere/../one", "is named twice"),
    ("HERE/one HERE/wider --images 0", "images: got 0, expected at least 1"),
    ("HERE/one HERE/wider --samples -1", "samples: got -1, expected at least 0"),
])
def test_wrong_input_is_explained_and_writes_nothing(place, arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments.replace("HERE", str(place)).split(), "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("minivae: ")
    assert said in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_options_that_decide_nothing_are_left_blank():
    """An mlp has no filters; both have a hidden, of which the conv makes no use."""
    runs = [SimpleNamespace(recipe=Recipe(**options)) for options in (
        {}, {"network": "conv", "filters": (8, 16)}, {"prior": "mixture", "components": 3, "binarize": True})]
    assert dict(differing(runs)) == {
        "network": ["mlp", "conv", "mlp"], "hidden": ["400", "", "400"], "filters": ["", "8 16", ""],
        "dense": ["", "256", ""], "activation": ["relu", "", "relu"], "prior": ["standard", "standard", "mixture"],
        "components": ["", "", "3"], "binarize": ["no", "no", "yes"]}


def test_what_a_plain_vae_has_is_not_told_beside_models_that_cannot_choose():
    runs = [SimpleNamespace(recipe=Recipe(**options)) for options in (
        {}, {"model": "m2"}, {"model": "gmvae", "components": 5})]
    told = dict(differing(runs))
    assert told["labels"] == ["", "100", ""]
    assert told["components"] == ["", "", "5"]
    assert not {"network", "posterior", "prior", "objective", "scale", "beta"} & told.keys()
    vamp = SimpleNamespace(recipe=Recipe(prior="vamp"))
    assert dict(differing([*runs, vamp]))["prior"] == ["standard", "", "", "vamp"]


@pytest.mark.parametrize(("runs", "lines"), [(2, 2), (7, 1)])
def test_of_few_runs_more_is_pictured(runs, lines, place, tmp_path, capsys, undrawn, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "side_by_side", drawn.extend)
    for i in range(runs):
        shutil.copytree(place / "one", tmp_path / str(i))
    assert compare(tmp_path, *map(str, range(runs)), out=tmp_path / "c") == 0
    for i, (name, shape, samples, data, again, x) in enumerate(drawn):
        assert (name, shape) == (str(i), (4, 3))
        assert len(samples) == len(data) == 20 * lines
        assert len(again) == len(x) == 8 * lines
        assert np.isin(x, load(str(place / "mine.npz")).test).all()
    capsys.readouterr()


# Digits

def test_digits_have_a_frechet_distance(tmp_path, capsys, undrawn):
    """Of 1,000 samples, drawn by the seed, and all test images; and the scale of it."""
    for name in ("a", "b"):
        shutil.copytree(BEFORE, tmp_path / name)
    digits = load("digits")
    replace(read_recipe(tmp_path / "b"), epochs=3).train(digits, device("cpu"), run=tmp_path / "b", resume=True,
                                                         progress=False)
    assert compare(tmp_path, "a", "b", out=tmp_path / "c", options=["--images", "100"]) == 0
    out, _ = capsys.readouterr()
    table, said = rows(out), " ".join(out.split())
    assert table["epochs"] == ["2", "3"]
    model = load_run(tmp_path / "a", device("cpu"))[0]
    quality = sample_quality(model.sample(1000, np.random.default_rng(0)), digits.test)
    assert table["Fréchet distance"][0] == f"{quality.frechet:.2f}"
    assert table["precision"][0] == f"{quality.precision:.2f}"
    assert table["recall"][0] == f"{quality.recall:.2f}"
    real = re.search(r"As many training images in place of samples: ([\d.]+), ([\d.]+), ([\d.]+)\.", said)
    assert float(real[1]) < 0.1 * quality.frechet
    assert float(real[2]) > 0.8
    assert "this is not FID" in said


@pytest.mark.parametrize(("values", "likelihood", "expected"), [
    (2, "bernoulli", {0.0, 1.0}), (2, "gaussian_shared", None), (256, "bernoulli", None)])
def test_of_black_and_white_data_pixels_are_drawn(values, likelihood, expected, tmp_path, monkeypatch):
    """Grey means would be held against a model whose data are black and white; a Gaussian's stay within [0, 1]."""
    rng, seen = np.random.default_rng(0), []
    np.savez(tmp_path / "d.npz", train=rng.integers(0, values, (40, 28, 28), np.uint8),
             test=rng.integers(0, values, (9, 28, 28), np.uint8))
    train_on(tmp_path / "d.npz", tmp_path / "a", likelihood=likelihood, lr=0.1)
    monkeypatch.setattr(judged, "sample_quality", lambda x, real: seen.append((x, real)) or sample_quality(x, real))
    model, dataset, _ = load_run(tmp_path / "a", device("cpu"))
    quality = judged._quality(model, dataset, np.random.default_rng(0))
    (x, real), = seen
    assert quality.images == len(x) == 9
    assert real is dataset.test
    assert 0.0 <= x.min() <= x.max() <= 1.0
    assert (set(np.unique(x)) == expected) if expected else len(np.unique(x)) > 100


# The table

def test_columns_stand_under_their_names():
    lines = as_text(["short", "a longer name"], [("what", ["1", "2"]), ("longer", ["", "100 ± 2"])])
    assert lines == ["        short  a longer name",
                     "what        1              2",
                     "longer               100 ± 2"]
    many = as_text([c * 15 for c in "abcdefg"], [("what", list("1234567")), ("some", ["", "", "", "", "", "", "5"])])
    assert [line.split() for line in many] == [[c * 15 for c in "abcdef"], ["what", *"123456"], ["some"], [],
                                               ["g" * 15], ["what", "7"], ["some", "5"]]
    assert max(map(len, many)) <= 120
    assert len(as_text(["a" * 50] * 4, [])) == 1, "two to four runs stand beside each other, whatever their names are"
    assert as_markdown(["a", "b"], [("p(x|z)", ["1", "2"])]) == [
        "|  | a | b |", "| --- | --: | --: |", r"| p(x\|z) | 1 | 2 |"]


def test_every_model_of_images_stands_beside_the_others(tmp_path, undrawn, capsys):
    """A column each; of M2, whose codes depend on the label, no active units; a setting is shown for whom it is one."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", train=rng.random((160, 4, 3)), train_labels=np.arange(160) % 2,
             test=rng.random((60, 4, 3)), test_labels=np.arange(60) % 2)
    models = {"vae": {}, "two_stage": {"second_hidden": (8,)}, "m2": {"labels": 10}, "m1m2": {"labels": 20},
              "gmvae": {"components": 3, "vae_epochs": 0},
              "infinite": {"components": 5, "first_epochs": 0},
              "structured": {"likelihood": "gaussian_pixel"}}
    for name, options in models.items():
        train_on(tmp_path / "mine.npz", tmp_path / name, model=name, **options)
    assert compare(tmp_path, *models, out=tmp_path / "out") == 0
    found = rows(capsys.readouterr().out)
    assert found["model"] == list(models)
    assert found["labels"] == ["10", "20"]
    assert found["components"] == ["3", "5"]
    assert len(found["active units"]) == 5
    assert len(found["ELBO"]) == 7


def test_a_model_of_something_else_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "mine.npz", train=np.ones((60, 4, 4)), test=np.zeros((20, 4, 4)))
    for name in ("vae", "cvae"):
        train_on(tmp_path / "mine.npz", tmp_path / name, model=name)
    assert compare(tmp_path, "vae", "cvae", out=tmp_path / "out") == 2
    assert "cvae: a run of model cvae, which explains no whole images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
