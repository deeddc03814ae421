"""Bounds are what they are called: in nats, with their errors, below log p(x), and equal to it where q is exact."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import traced_memory

from minivae import evaluation
from minivae.backend import device
from minivae.data import load
from minivae.evaluation import Estimate, active_units, bounds, evaluate, importance_weighted_bound, latent_variances
from minivae.nn import Adam, Linear
from minivae.parallel import Team
from minivae.parts import GaussianFixed
from minivae.training import fit
from minivae.vae import VAE, Encoder
from minivae.variants import VAEConfig


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    """A small VAE after four epochs."""
    model = VAEConfig(784, (64,), 4).build(optimizer=Adam(3e-3))
    fit(model, digits.train[:1000], epochs=4, batch_size=50, progress=False)
    return model


def linear_gaussian(X=7, Z=3, sigma=0.4):
    """x = mean + z W + σ noise with orthogonal rows of W, and a VAE whose q(z|x) is the exact posterior."""
    rng = np.random.default_rng(5)
    W = np.linalg.qr(rng.standard_normal((X, Z)))[0].T * np.array([[2.0], [1.0], [0.5]])
    mean, variance = rng.standard_normal(X), sigma**2 / ((W**2).sum(axis=1) + sigma**2)
    vae = VAE(Encoder(Linear(X, X, rng=rng), Linear(X, Z, rng=rng), Linear(X, Z, rng=rng)), Linear(Z, X, rng=rng),
              GaussianFixed(sigma), pixels=X, latents=Z, device=device("cpu"), dtype=np.float64)
    vae.arena.load({"encoder.trunk.W": np.eye(X), "encoder.trunk.b": -mean,
                    "encoder.mean.W": W.T * variance / sigma**2, "encoder.mean.b": np.zeros(Z),
                    "encoder.logvar.W": np.zeros((X, Z)), "encoder.logvar.b": np.log(variance),
                    "decoder.W": W, "decoder.b": mean})
    x = mean + rng.standard_normal((40, Z)) @ W + sigma * rng.standard_normal((40, X))
    covariance = W.T @ W + sigma**2 * np.eye(X)
    offset = x - mean
    log_p = -0.5 * ((offset @ np.linalg.inv(covariance) * offset).sum(axis=1)
                    + np.linalg.slogdet(2 * np.pi * covariance)[1])
    return vae, x, log_p


def test_an_estimate_is_a_mean_and_its_standard_error():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    estimate = Estimate.of(values)
    assert estimate.mean == 4.0
    assert estimate.standard_error == pytest.approx(np.sqrt(((values - 4) ** 2).sum() / 3 / 4))
    assert str(Estimate(-100.126, 0.249)) == "-100.13 ± 0.25"
    assert np.isnan(Estimate.of(np.ones(1)).standard_error)


@pytest.mark.parametrize("samples", [1, 3])
def test_evaluate_is_the_mean_of_the_terms(trained, digits, samples):
    x = digits.test[:50]
    scores = evaluate(trained, x, samples=samples, seed=7)
    nll, kl = (term.astype(np.float64) for term in trained.terms(x, np.random.default_rng(7), samples))
    for found, direct in ((scores.nll, nll), (scores.kl, kl), (scores.elbo, -(nll + kl))):
        assert found.mean == pytest.approx(direct.mean(), rel=1e-6)
        assert found.standard_error == pytest.approx(direct.std(ddof=1) / np.sqrt(50), rel=1e-5)
    assert scores.elbo.mean == pytest.approx(-(scores.nll.mean + scores.kl.mean))
    assert scores.elbo.mean < 0 < scores.kl.mean
    assert scores.images == 50
    assert str(scores).startswith(f"ELBO {scores.elbo} nats")


def test_the_weighted_bound_is_log_p_where_q_is_the_posterior():
    """All weights are then equal to p(x), whatever z: any error in a term or in log K shows."""
    vae, x, log_p = linear_gaussian()
    for samples in (1, 7, 100, 250):
        bound = importance_weighted_bound(vae, x, samples=samples)
        assert bound.mean == pytest.approx(log_p.mean(), abs=1e-9)
        assert bound.standard_error == pytest.approx(log_p.std(ddof=1) / np.sqrt(40), abs=1e-9)


@pytest.mark.parametrize("rows", [1, 99, 300, 10**6])
def test_chunks_change_nothing(monkeypatch, rows):
    monkeypatch.setitem(evaluation.ROWS, "cpu", rows)
    vae, x, log_p = linear_gaussian()
    assert importance_weighted_bound(vae, x, samples=250).mean == pytest.approx(log_p.mean(), abs=1e-9)
    np.testing.assert_allclose(latent_variances(vae, x), vae.encode(x)[0].var(axis=0), rtol=1e-12)
    parts = [slice(start, start + rows) for start in range(0, len(x), rows)]     # each has random numbers of its own
    elbos = [vae.elbo(x[part], np.random.default_rng([0, i])) for i, part in enumerate(parts)]
    assert evaluate(vae, x).elbo.mean == pytest.approx(np.concatenate(elbos).mean(), abs=1e-9)


def test_unequal_weights_over_unequal_chunks(monkeypatch):
    """log (1/K) Σ w of 1,001 known weights that arrive in chunks of 334, 334 and 333."""
    monkeypatch.setitem(bounds.DRAWS, "cpu", 400)
    log_w = np.random.default_rng(0).standard_normal((1001, 2)) * 5 - 800     # exp of them is 0 in float64
    sent = iter([chunk[:, image:image + 1] for image in range(2) for chunk in np.split(log_w, (334, 668))])
    model = SimpleNamespace(device=device("cpu"), dtype=np.float64, check=lambda x: None,
                            log_weights=lambda x, rng, samples: next(sent))
    bound = importance_weighted_bound(model, np.zeros((2, 3)), samples=1001)
    expected = np.log(np.exp(log_w + 800).mean(axis=0)) - 800
    assert bound.mean == pytest.approx(expected.mean(), rel=1e-12)


def test_the_weighted_bound_rises_with_k_from_the_elbo(trained, digits):
    """Burda et al. 2015, theorem 1; and a bound that came out above 0 nats would be a probability above 1."""
    x = digits.test[:100]
    elbo = evaluate(trained, x, samples=20).elbo
    one, ten, many = (importance_weighted_bound(trained, x, samples=k, seed=1) for k in (1, 10, 300))
    error = 4.0                                       # of the noise: both means are over the same images
    assert one.mean == pytest.approx(elbo.mean, abs=error)
    assert one.mean < ten.mean < many.mean < 0
    assert many.mean > elbo.mean
    assert many.mean == pytest.approx(importance_weighted_bound(trained, x, samples=300, seed=2).mean, abs=error)


def test_the_same_seed_gives_the_same_number(trained, digits):
    a, b, c = (importance_weighted_bound(trained, digits.test[:20], samples=5, seed=seed) for seed in (0, 0, 1))
    assert a == b
    assert a.mean != c.mean


def test_memory_does_not_grow_with_samples_or_images(trained, digits):
    def peak(images, samples):
        with traced_memory() as most:
            importance_weighted_bound(trained, digits.test[:images], samples=samples)
            return most()

    few = peak(40, 200)
    assert peak(40, 2000) < 1.2 * few
    assert peak(400, 200) < 1.2 * few


def test_active_units_are_those_the_encoder_moves():
    model = VAEConfig(6, (6,), 4, activation="tanh").build(dtype=np.float64)
    W, b = (model.arena.parameters[f"encoder.mean.{name}"].value for name in "Wb")
    W[:, [1, 2]] = 0.0
    b[2] = 5.0                                        # constant, however large: it says nothing about x
    x = np.random.default_rng(0).random((200, 6))
    assert active_units(model, x, threshold=1e-6).tolist() == [True, False, False, True]
    variances = latent_variances(model, x)
    assert active_units(model, x, threshold=variances[0]).tolist() == [False, False, False, variances[3] > variances[0]]


def test_active_units_use_the_mean_not_a_draw():
    """With q = N(0, I) for every x, draws vary by 1 and the means not at all."""
    model = VAEConfig(6, (6,), 3).build()
    for name in ("mean.W", "mean.b", "logvar.W", "logvar.b"):
        model.arena.parameters[f"encoder.{name}"].value[...] = 0.0
    assert not active_units(model, np.random.default_rng(0).random((50, 6), dtype=np.float32)).any()


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_are_taken_by_whoever_is_free_and_told_in_their_order(monkeypatch, trained, digits, threads):
    monkeypatch.setattr(bounds, "ROWS", {"cpu": 10})
    monkeypatch.setattr(bounds, "team_on", lambda device: Team(threads))
    taken, all_taken = [], threading.Event()

    def first_of_each(part, rng):
        taken.append(part.x[0])
        if len(taken) == 12:
            all_taken.set()
        if threads > 1 and (part.x[0] == digits.test[0]).all():      # the first part waits until the others have begun
            assert all_taken.wait(timeout=60)
        return part.x[0]

    found = evaluation.over_parts(trained, digits.test[:115], first_of_each)
    assert len(taken) == 12
    assert np.array_equal(found, digits.test[:115:10])


def test_after_an_error_no_thread_goes_on(monkeypatch, trained, digits):
    monkeypatch.setattr(bounds, "ROWS", {"cpu": 1})
    monkeypatch.setattr(bounds, "team_on", lambda device: Team(2))
    taken = []

    def third_fails(part, rng):
        taken.append(part)
        if len(taken) >= 3:
            raise ZeroDivisionError("the third")

    with pytest.raises(ZeroDivisionError, match="the third"):
        evaluation.over_parts(trained, digits.test[:500], third_fails)
    assert len(taken) <= 4                                           # the other thread was at one already
