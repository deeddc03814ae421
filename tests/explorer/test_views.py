"""Other models on the page: what is decoded there is what the model says, given what was given."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_explorer import unpacked

from minivae.backend import device
from minivae.cli import main
from minivae.data import load
from minivae.explorer.views import VIEWS
from minivae.ops import concat
from minivae.runs import CHECKPOINT, load_parameters
from minivae.training import read_recipe
from minivae.training.models import MODELS

OPTIONS = {
    "m2": ("--labels", "21"), "m1m2": ("--labels", "21", "--m1-latents", "3", "--first-epochs", "1"),
    "cvae": ("--given", "label", "--baseline-epochs", "1"), "gmvae": ("--components", "4", "--vae-epochs", "1"),
    "two_stage": ("--likelihood", "gaussian_shared", "--first-epochs", "1"),
    "infinite": ("--components", "3", "--first-epochs", "1", "--concentration", "2"),
    "structured": ("--likelihood", "gaussian_pixel", "--first-epochs", "1", "--fixed-epochs", "0"),
    "vae_gan": ("--features", "8"), "cvae_gan": ("--features", "8"),
}
Z = np.random.default_rng(1).standard_normal((7, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("data") / "mine.npz", np.random.default_rng(0)
    np.savez(path, train=rng.random((160, 4, 4)), train_labels=np.arange(160) % 3, test=rng.random((60, 4, 4)),
             test_labels=np.arange(60) % 3)
    return path


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """trained(name, *options): a run folder, made once"""
    made = {}

    def train(name, *options):
        if (name, options) not in made:
            run = tmp_path_factory.mktemp("runs") / name
            assert main(["train", "--model", name, "--data", str(data), "--hidden", "8", "--latents", "2", "--epochs",
                         "2", "--batch-size", "50", "--device", "cpu", "--out", str(run), *options]) == 0
            made[name, options] = run
        return made[name, options]

    return train


def model_and_view(run, given=0):
    recipe = read_recipe(run)
    dataset = load(recipe.data)
    model = recipe.build(dataset, device("cpu"))
    load_parameters(run / CHECKPOINT, model)
    return model, VIEWS[recipe.model](model, recipe, dataset, given), dataset


def test_every_model_has_a_view_or_a_reason():
    assert MODELS.keys() - VIEWS.keys() == {"vae", "vq_vae", "m2_text", "mvae"}, "codes are numbers, or words; sounds"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_becomes_a_page(name, trained, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["explore", str(trained(name, *OPTIONS[name])), "-o", str(out)]) == 0
    assert re.search(r"page.html, \d+ kB\n", capsys.readouterr().out)
    spec, _ = unpacked(out.read_text(encoding="utf-8"))
    assert (spec["shape"], spec["latents"]) == ([4, 4], 2)


@pytest.mark.parametrize("name", ["m2", "m1m2", "cvae_gan"])
def test_a_class(name, trained):
    model, shown, dataset = model_and_view(trained(name, *OPTIONS[name]), 2)
    np.testing.assert_allclose(shown.vae.decode(Z), model.decode(Z, np.full(7, 2)), rtol=1e-5)
    np.testing.assert_array_equal(shown.of, dataset.test_labels == 2)
    x = dataset.test[:5].astype(np.float32)
    np.testing.assert_allclose(shown.vae.encode(x), model.encode(x, np.full(5, 2)), rtol=1e-5)
    assert shown.says == "class 2"


@pytest.mark.parametrize("given", ["label", "quadrants"])
def test_an_answer(given, trained):
    options = ("--given", given, "--baseline-epochs", "1")
    model, shown, dataset = model_and_view(trained("cvae", *options), 1)
    x = np.eye(3, dtype=np.float32)[[1]] if given == "label" else dataset.test[1:2, [8, 9, 12, 13]].astype(np.float32)
    guess, told = model._guess(x)
    answers = model.likelihood.mean(guess + model.decoder(concat(Z, np.repeat(told, 7, axis=0))[0])[0])
    images = shown.vae.decode(Z)
    assert images.shape == (7, 16)
    if given == "quadrants":
        near_x = np.repeat(1.0 / (1.0 + np.exp(8.0 - 16.0 * x)), 7, axis=0)
        np.testing.assert_allclose(images[:, [8, 9, 12, 13]], near_x, rtol=1e-4)
        images = np.delete(images, [8, 9, 12, 13], axis=1)
        assert not shown.of.any()
    np.testing.assert_allclose(images, answers, rtol=1e-5)
    mean, _ = model.prior(told)[0]
    np.testing.assert_allclose(shown.vae.prior.mixture()[1], mean, rtol=1e-6)


def test_clusters(trained):
    model, shown, dataset = model_and_view(trained("gmvae", *OPTIONS["gmvae"]))
    rest = np.zeros((7, model.sizes[1]), np.float32)
    np.testing.assert_allclose(shown.vae.decode(Z), model.decode(np.hstack([Z, rest])), rtol=1e-5)
    np.testing.assert_allclose(shown.vae.prior.mixture()[1], model.given_w(rest[:1])[0][0][0], rtol=1e-6)
    x = dataset.test[:5].astype(np.float32)
    np.testing.assert_allclose(shown.vae.encode(x)[0], model.encode(x)[0][:, :2], rtol=1e-6)


def test_codes_under_the_second_stage(trained):
    model, shown, _ = model_and_view(trained("two_stage", *OPTIONS["two_stage"]))
    np.testing.assert_allclose(shown.vae.decode(Z), model.decode(Z), rtol=1e-5)
    theirs, ours = (sample(20_000, np.random.default_rng(0)) for sample in (model.sample_codes, shown.vae.prior.sample))
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.2 * theirs.std())
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.15)


def test_a_component(trained):
    model, shown, _ = model_and_view(trained("infinite", *OPTIONS["infinite"]))
    assert shown.vae is model.mixture()[0][0]
    assert shown.of is None or shown.of.shape == (60,)


@pytest.mark.parametrize(("name", "options"), [
    ("structured", ()), ("vae_gan", ()), ("vae_gan", ("--network", "conv", "--filters", "3", "--dense", "4"))])
def test_the_mean_without_residuals_or_discriminator(name, options, trained):
    model, shown, _ = model_and_view(trained(name, *OPTIONS[name], *options))
    np.testing.assert_allclose(shown.vae.decode(Z), model.decode(Z), rtol=1e-5)


@pytest.mark.parametrize(("name", "given", "says"), [
    ("m2", "3", "given: got 3, expected a class from 0 to 2"),
    ("cvae", "-1", "given: got -1, expected a class from 0 to 2"),
    ("infinite", "9", "given: got 9, expected a component from 0 to")])
def test_what_is_not_there_cannot_be_given(name, given, says, trained, tmp_path, capsys):
    run = trained(name, *OPTIONS[name])
    assert main(["explore", str(run), "--given", given, "-o", str(tmp_path / "page.html")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
