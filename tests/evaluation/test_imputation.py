"""Missing pixels: where the posterior is exact, the chain draws from p(missing | observed)."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.backend import device
from minivae.evaluation import Estimate, impute
from minivae.nn import Linear
from minivae.parts import FullCovariance, GaussianFixed
from minivae.vae import VAE
from minivae.variants import ConvVAEConfig, DeepLatentConfig, VAEConfig

X, Z, STD = 5, 2, 0.6
W = np.random.default_rng(0).standard_normal((Z, X))
CENTRE = np.array([0.5, -1.0, 2.0, 0.0, 1.0])


def linear_gaussian(dtype=np.float64):
    """x = z W + centre + σ ε, with q(z|x) = p(z|x) = N((x − centre) Wᵀ S/σ², S), S⁻¹ = I + W Wᵀ/σ²"""
    S = np.linalg.inv(np.eye(Z) + W @ W.T / STD**2)
    L, to_mean = np.linalg.cholesky(S), W.T @ S / STD**2
    vae = VAE(Linear(X, Z + 3, rng=np.random.default_rng(0)), Linear(Z, X, rng=np.random.default_rng(0)),
              GaussianFixed(STD), posterior=FullCovariance(Z), pixels=X, latents=Z, device=device("cpu"), dtype=dtype)
    raw = np.array([*np.log(np.diag(L)), L[1, 0]])
    vae.arena.load({"decoder.W": W, "decoder.b": CENTRE,
                    "encoder.W": np.concatenate([to_mean, np.zeros((X, 3))], axis=1),
                    "encoder.b": np.concatenate([-CENTRE @ to_mean, raw])})
    return vae


def conditional(x, missing):
    """Mean and covariance of p(x_missing | x_observed) for N(centre, WᵀW + σ² I)"""
    C = W.T @ W + STD**2 * np.eye(X)
    gain = C[np.ix_(missing, ~missing)] @ np.linalg.inv(C[np.ix_(~missing, ~missing)])
    mean = CENTRE[missing] + gain @ (x - CENTRE)[~missing]
    return mean, C[np.ix_(missing, missing)] - gain @ C[np.ix_(~missing, missing)]


MISSING = np.array([True, False, True, False, False])
IMAGE = np.array([9.0, 0.3, 9.0, -1.2, 2.0])             # the 9s are not to be looked at


def test_the_toy_s_posterior_is_exact():
    """Else the tests below would judge something else: all importance weights of an image are p(x)."""
    x = np.random.default_rng(1).standard_normal((3, X))
    weights = linear_gaussian().log_weights(x, np.random.default_rng(2), 4)
    np.testing.assert_allclose(weights, np.tile(weights[:1], (4, 1)), rtol=1e-10)


@pytest.mark.parametrize("start", [None, np.full(X, 30.0)], ids=["from the model", "from far away"])
def test_chains_end_at_the_conditional_mean(start):
    """20,000 chains of 60 steps: E[x|ξ] averages to the exact conditional mean, within 5 standard errors."""
    n = 20_000
    filled = impute(linear_gaussian(), np.tile(IMAGE, (n, 1)), MISSING, steps=60, start=start)
    mean, covariance = conditional(IMAGE, MISSING)
    for i, j in enumerate(np.flatnonzero(MISSING)):
        found = Estimate.of(filled[:, j])
        assert abs(found.mean - mean[i]) < 5 * found.standard_error < 0.05
        noise_free = covariance[i, i] - STD**2              # Var of E[x|ξ]: the pixel's own noise is averaged out
        assert filled[:, j].var() == pytest.approx(noise_free, rel=0.1)
    assert np.abs(mean - CENTRE[MISSING]).max() > 0.5, "or the observed pixels would not matter"


def test_the_first_step_still_knows_where_it_started():
    """Else the test above could not fail."""
    mean, _ = conditional(IMAGE, MISSING)
    first = impute(linear_gaussian(), np.tile(IMAGE, (500, 1)), MISSING, steps=1, start=np.full(X, 30.0))
    assert np.abs(first[:, MISSING].mean(axis=0) - mean).max() > 5.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", [
    VAEConfig(6, (5,), 2).build(), DeepLatentConfig(6, (5,), (2, 2)).build(),
    DeepLatentConfig(6, (5,), (2, 2), posterior="diagonal").build(),
    VAEConfig(6, (5,), 2, likelihood="logistic_pixel").build(),
    ConvVAEConfig(4, 4, filters=(2, 3), dense=4, latents=2).build(),
], ids=["vae", "rank one", "diagonal", "logistic", "convolutional"])
def test_observed_pixels_come_back_bit_for_bit(model, dtype):
    rng, shape = np.random.default_rng(3), (50, model.pixels)
    x, missing = (rng.integers(0, 256, shape) / 255.0).astype(dtype), rng.random(shape) < 0.5
    hidden = np.where(missing, np.nan, x).astype(dtype)
    before = hidden.copy()
    filled = impute(model, hidden, missing, steps=4)
    assert np.array_equal(hidden, before, equal_nan=True), "the caller's array"
    assert filled.dtype == dtype
    assert np.array_equal(filled[~missing], x[~missing])
    assert np.isfinite(filled).all()
    assert ((filled >= 0) & (filled <= 1)).all()


def test_nothing_missing_is_nothing_changed_and_everything_missing_is_a_sample():
    model, x = linear_gaussian(), np.random.default_rng(4).standard_normal((20_000, X))
    assert np.array_equal(impute(model, x, np.zeros(X, bool), steps=2), x)
    filled = impute(model, x, np.ones(X, bool), steps=2)
    error = 5 * np.sqrt(np.diag(W.T @ W) / len(x))
    assert (np.abs(filled.mean(axis=0) - CENTRE) < error).all()


def test_the_same_seed_gives_the_same_images_and_another_others():
    model, x = linear_gaussian(), np.tile(IMAGE, (4, 1))
    one, two, other = (impute(model, x, MISSING, steps=3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert (one[:, MISSING] != other[:, MISSING]).all()
    assert (one[0] != one[1])[MISSING].all(), "each image has noise of its own"


def test_recorded_steps_are_those_of_shorter_chains():
    model, x = linear_gaussian(), np.tile(IMAGE, (3, 1))
    both = impute(model, x, MISSING, steps=7, record=(2, 7), start=np.zeros(X))
    assert both.shape == (2, 3, X)
    for images, steps in zip(both, (2, 7)):
        assert (images[:, ~MISSING] == IMAGE[~MISSING]).all()
        assert not np.array_equal(images, both[0]) or steps == 2
    assert np.array_equal(both[0], impute(model, x, MISSING, steps=7, record=(2,), start=np.zeros(X))[0])


X2 = np.zeros((2, X))


@pytest.mark.parametrize(("how", "error", "said"), [
    ({"model": 3}, TypeError, "model: got int, expected a VAE"),
    ({"x": X2[0]}, ValueError, r"x: got float64 of shape \(5,\), expected floats of shape \(N, 5\)"),
    ({"x": X2.astype(int)}, ValueError, "x: got int64 of shape"),
    ({"x": X2[:0]}, ValueError, "with N at least 1"),
    ({"x": np.full((2, X), np.nan)}, ValueError, "x, filled with start: holds NaN"),
    ({"missing": MISSING[:4]}, ValueError,
     r"missing: got bool of shape \(4,\), expected bool of shape \(2, 5\) or \(5,\)"),
    ({"missing": 1.0 * MISSING}, ValueError, "missing: got float64"),
    ({"steps": 0}, ValueError, "steps: got 0, expected at least 1"),
    ({"seed": -1}, ValueError, "seed: got -1, expected at least 0"),
    ({"record": (1, 9)}, ValueError, r"record: got \(1, 9\), expected steps from 1 to 3"),
    ({"record": (0,)}, ValueError, r"record: got \(0,\)"),
    ({"start": np.zeros(3)}, ValueError, r"start: got shape \(3,\), expected \(2, 5\), \(5,\) or \(\)"),
])
def test_bad_input_is_explained(how, error, said):
    right = {"model": linear_gaussian(), "x": X2, "missing": MISSING, "steps": 3}
    with pytest.raises(error, match=said):
        impute(**right | how)
