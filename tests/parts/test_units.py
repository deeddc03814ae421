"""Data in units of their own: the model is told x, and says x; its density is that of x."""

import numpy as np
import pytest
from scipy import stats

from minivae.backend import device
from minivae.batch import Batch
from minivae.cli import main
from minivae.data import load
from minivae.evaluation import evaluate
from minivae.parts import LIKELIHOODS, GaussianFixed, InUnits, LogisticShared, check_scale, units_of
from minivae.runs import read_history
from minivae.training import Recipe, fit, load_run
from minivae.variants import VAEConfig


@pytest.fixture
def table(tmp_path):
    """42 columns with scales from 1e-3 to 1e6, one of them constant, which depend on two hidden numbers."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 42))
    x = (hidden + 0.3 * rng.standard_normal((400, 42)) + 2.0) * 10 ** np.linspace(-3, 6, 42)
    x[:, 7] = 3.0
    path = tmp_path / "table.npz"
    np.savez(path, x=x)
    return path


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "frames.npz"
    np.savez(path, x=np.rint(255 * (rng.random((300, 8, 8)) * np.linspace(0.2, 1, 8))))
    return path


def test_the_density_is_that_of_x_by_the_change_of_variables():
    rng = np.random.default_rng(1)
    shift, scale = np.array([5.0, -200.0, 0.0]), np.array([1e-3, 40.0, 1e5])
    outputs, x = rng.standard_normal((6, 3)), shift + scale * rng.standard_normal((6, 3))
    nll = InUnits(GaussianFixed(0.4), shift, scale)(outputs, x=x)[0]
    expected = -stats.norm(shift + scale * outputs, 0.4 * scale).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(nll, expected, rtol=1e-12)


def test_in_its_own_units_the_density_integrates_to_one():
    p = InUnits(GaussianFixed(0.5), np.array([100.0]), np.array([20.0]))
    x = np.linspace(-200, 400, 20_001)[:, None]
    mass = np.exp(-p(np.zeros_like(x) + 0.3, x=x)[0]).sum() * (x[1, 0] - x[0, 0])
    assert mass == pytest.approx(1.0, abs=1e-9)


def test_a_mass_stays_a_mass():
    """Of grey levels 0 … 255 the probabilities add up to one, whatever the levels are called."""
    p = InUnits(LogisticShared(), np.zeros(1), np.full(1, 255.0))
    levels = np.arange(256.0)[:, None]
    assert np.exp(-p(np.full((256, 1), 0.4), x=levels)[0]).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_means_and_draws_come_back_in_the_datas_units(name):
    inner, rng = LIKELIHOODS[name](), np.random.default_rng(0)
    shift, scale = np.full(3, 50.0), np.array([1.0, 10.0, 100.0])
    p, outputs = InUnits(inner, shift, scale), rng.standard_normal((4, 3 * inner.outputs_per_pixel))
    np.testing.assert_allclose(p.mean(outputs), shift + scale * inner.mean(outputs), rtol=1e-12)
    np.testing.assert_allclose(p.sample(outputs, np.random.default_rng(5)),
                               shift + scale * inner.sample(outputs, np.random.default_rng(5)), rtol=1e-12)


def test_units_are_read_off_the_data_and_constant_columns_survive():
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(500) * 1e6 + 3e6, np.full(500, 7.0), rng.random(500) * 1e-3], axis=1)
    shift, scale = units_of(x, "standard")
    np.testing.assert_allclose(shift, x.mean(axis=0))
    np.testing.assert_allclose(scale, [x[:, 0].std(), 1.0, x[:, 2].std()])
    assert units_of(np.array([[0.0, 255.0], [10.0, 20.0]]), "unit")[1].tolist() == [255.0, 255.0]
    assert units_of(np.full((3, 2), 4.0), "unit")[1].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="scale: got 'half', expected unit or standard"):
        units_of(x, "half")


@pytest.mark.parametrize(("data", "likelihood"), [
    *(("table", name) for name in ("gaussian_fixed", "gaussian_shared", "gaussian_optimal", "gaussian_pixel")),
    ("frames", "gaussian_shared")])
def test_what_would_overflow_is_refused_and_what_is_said_to_type_works(data, likelihood, request, tmp_path, capsys):
    path = request.getfixturevalue(data)
    small = ["train", "--data", str(path), "--hidden", "16", "--latents", "2", "--epochs", "3", "--device", "cpu",
             "--likelihood", likelihood, "--batch-size", "40"]
    assert main([*small, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    scale = "standard" if data == "table" else "unit"
    assert f"where networks want about 1: try --scale {scale}" in said
    assert not (tmp_path / "run").exists()
    assert main([*small, "--scale", scale, "--out", str(tmp_path / "run")]) == 0
    history = read_history(tmp_path / "run")
    assert history[-1]["train_elbo"] > history[0]["train_elbo"]


def test_the_run_keeps_its_units_and_everything_is_told_in_them(table, tmp_path, capsys):
    run = tmp_path / "run"
    how = ["--hidden", "32", "--latents", "4",
           "--epochs", "60", "--batch-size", "40", "--likelihood", "gaussian_shared",
           "--lr", "0.003"]
    assert main(["train", "--data", str(table), "--scale", "standard", "--device", "cpu", "--out", str(run), *how]) == 0
    model, dataset, recipe = load_run(run, device("cpu"))
    x = recipe.test(dataset).x
    scale = units_of(recipe.split(dataset)[0].x, "standard")[1]
    np.testing.assert_allclose(model.likelihood.scale.value, scale, rtol=1e-5)
    spread = x.std(axis=0)
    drawn, seen = model.sample(500, np.random.default_rng(0)), model.reconstruct(x, np.random.default_rng(0))
    moving = np.arange(42) != 7
    assert (np.abs(drawn.mean(axis=0) - x.mean(axis=0))[moving] < spread[moving]).all()
    assert np.abs(drawn[:, 7] - 3.0).max() < 0.5
    error = (((seen - x)[:, moving] / spread[moving]) ** 2).mean(axis=0)
    assert error.mean() < 0.5, "it has learned what the columns share"
    # a density of these numbers: compared with independent normals in the same units
    normal = stats.norm(dataset.train.mean(axis=0)[moving], dataset.train.std(axis=0)[moving])
    assert evaluate(model, x, samples=20).elbo.mean > normal.logpdf(x[:, moving]).sum(axis=1).mean()


def test_the_bound_of_scaled_data_is_that_of_the_same_data_scaled_by_hand(frames):
    """Less log 255 for every pixel: the same network, the same noise."""
    dataset = load(frames)
    bounds = []
    for images, scale in ((dataset.train, "unit"), (dataset.train / np.float32(255), "none")):
        recipe = Recipe(hidden=(8,), latents=2, likelihood="gaussian_shared", scale=scale)
        model = recipe.vae((8, 8)).build(seed=0, images=images)
        bounds.append(evaluate(model, images, samples=3).elbo.mean)
    assert bounds[0] == pytest.approx(bounds[1] - 64 * np.log(dataset.train.max()), rel=1e-4)


@pytest.mark.parametrize(("x", "says"), [
    (np.linspace(0, 255, 100).reshape(20, 5), r"lie in \[0, 255\].*try --scale unit .* or --scale standard"),
    (np.linspace(0, 1e-5, 100).reshape(20, 5), "try --scale standard"),
    (np.linspace(0, 1, 100).reshape(20, 5) * [1, 1, 1, 1, 1e4], "try --scale standard"),
])
def test_what_is_wrong_with_data_is_said(x, says):
    with pytest.raises(ValueError, match=says):
        check_scale(x, GaussianFixed())
    check_scale(x, InUnits(GaussianFixed(), *units_of(x, "standard")))
    check_scale(x, LIKELIHOODS["bernoulli"]())            # its support says what is wrong


def test_bad_units_are_refused():
    with pytest.raises(ValueError, match="expected finite numbers > 0"):
        InUnits(GaussianFixed(), np.zeros(2), np.array([1.0, 0.0]))


def test_units_go_to_the_gpu_with_the_model_and_data_may_still_be_on_the_host(cupy_standin):
    rows = np.random.default_rng(0).normal(5.0, 2.0, (40, 6)).astype(np.float32)
    model = VAEConfig(6, (4,), 2, likelihood="gaussian_shared", scale="standard").build(on=device("cuda"), images=rows)
    history = fit(model, Batch(x=rows), epochs=1, batch_size=20, progress=False)
    assert np.isfinite(history[-1]["train_elbo"])
    with pytest.raises(ValueError, match="x: "):
        model.check(Batch(x=np.full((3, 6), np.nan, np.float32)), "x")
