"""The model in which everything is known: against SciPy's density, its own maximum, and the VAE's bound."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from minivae.variants.probabilistic_pca import as_vae, log_p, probabilistic_pca


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data(rng):
    return rng.standard_normal((60, 3)) @ rng.standard_normal((3, 6)) + 0.3 * rng.standard_normal((60, 6)) + 1.0


def test_log_p_is_that_of_the_dense_gaussian(data):
    mean, W, sigma = probabilistic_pca(data, 3)
    dense = multivariate_normal(mean, W.T @ W + sigma**2 * np.eye(6))
    np.testing.assert_allclose(log_p(data, mean, W, sigma), dense.logpdf(data), rtol=1e-10)


def test_nothing_nearby_is_more_probable(data, rng):
    mean, W, sigma = probabilistic_pca(data, 3)
    best = log_p(data, mean, W, sigma).mean()
    for _ in range(20):
        other = log_p(data, mean + 0.03 * rng.standard_normal(6), W + 0.03 * rng.standard_normal(W.shape), sigma)
        assert other.mean() < best
    assert log_p(data, mean, W, 1.05 * sigma).mean() < best
    assert log_p(data, mean, W, 0.95 * sigma).mean() < best


def test_as_a_vae_its_bound_is_log_p_on_average_over_the_noise(data):
    mean, W, sigma = probabilistic_pca(data, 3)
    eps = np.sqrt(3) * np.concatenate([np.eye(3), -np.eye(3)])     # mean 0, covariance I: quadratics come out exactly
    (nll, kl), _ = as_vae(mean, W, sigma).elbo_terms(x=data, eps=np.repeat(eps[:, None], 60, axis=1))
    np.testing.assert_allclose(-(nll + kl), log_p(data, mean, W, sigma), rtol=1e-10)


@pytest.mark.parametrize("latents", [0, 6])
def test_there_must_be_something_to_discard(data, latents):
    with pytest.raises(ValueError, match=f"latents: got {latents}, expected 1 to 5 for images of 6 pixels"):
        probabilistic_pca(data, latents)
