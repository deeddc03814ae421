"""AIS says log p(x) where it is known, whatever q is; HMC leaves its density alone; both bounds enclose the truth."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import traced_memory
from test_evaluation import linear_gaussian

from minivae import evaluation
from minivae.evaluation import (
    AIS,
    Estimate,
    annealed_importance_sampling,
    bidirectional,
    bounds,
    importance_weighted_bound,
)
from minivae.evaluation.ais import Chains, hmc, integrate, schedule
from minivae.parallel import Team
from minivae.parts import StandardNormal
from minivae.variants import VAEConfig

SHAPE = np.array([[2.0, 0.6], [0.6, 0.5]])             # precision of a correlated Gaussian likelihood in z


def gaussian(z):
    """log p(x|z) = −½ (z − m)ᵀ A (z − m)"""
    offset = z - np.array([1.0, -0.5])
    return -0.5 * np.einsum("ri,ij,rj->r", offset, SHAPE, offset), -offset @ SHAPE


NORMAL = StandardNormal(2)


def ring(z):
    """Not Gaussian: mass near the unit circle."""
    r = np.sqrt((z * z).sum(axis=1))
    return -4.0 * (r - 1.0) ** 2, (-8.0 * (r - 1.0) / r)[:, None] * z


@pytest.mark.parametrize(("likelihood", "beta"), [(gaussian, 1.0), (gaussian, 0.3), (ring, 1.0)])
def test_hmc_leaves_its_density_as_it_is(likelihood, beta):
    """From many chains: means of z, z² and z₁z₂ against sums over a grid, within 5 standard errors."""
    rng, n = np.random.default_rng(0), 4000
    chains = Chains.at(rng.standard_normal((n, 2)), likelihood, NORMAL)
    for _ in range(60):
        chains, accepted = hmc(chains, likelihood, beta=beta, step=0.35, leapfrog=8, rng=rng)
    assert 0.5 < accepted.mean() <= 1.0
    line = np.linspace(-5, 5, 401)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_f = Chains.at(grid + 1e-9, likelihood, NORMAL).log_density(beta)
    p = np.exp(log_f - log_f.max())
    p /= p.sum()
    for statistic in (lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z[:, 0] ** 2, lambda z: z[:, 0] * z[:, 1]):
        found = statistic(chains.z)
        assert abs(found.mean() - (p * statistic(grid)).sum()) < 5 * found.std() / np.sqrt(n)


def test_the_leapfrog_runs_backwards():
    rng = np.random.default_rng(1)
    start, momentum = Chains.at(rng.standard_normal((5, 2)), ring, NORMAL), rng.standard_normal((5, 2))
    there, later = integrate(start, momentum, ring, beta=1.0, step=0.1, leapfrog=7)
    back, first = integrate(there, -later, ring, beta=1.0, step=0.1, leapfrog=7)
    np.testing.assert_allclose(back.z, start.z, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(-first, momentum, rtol=1e-10, atol=1e-12)


def test_the_leapfrog_keeps_volume():
    """det of the Jacobian of (z, p) → (z', p') is 1, by finite differences."""
    def move(state):
        chains, p = integrate(Chains.at(state[:, :2], ring, NORMAL), state[:, 2:], ring, beta=1.0, step=0.2, leapfrog=5)
        return np.concatenate([chains.z, p], axis=1)

    start, h = np.array([[0.3, -0.8, 0.5, 0.2]]), 1e-6
    jacobian = np.concatenate([(move(start + h * e) - move(start - h * e)) / (2 * h) for e in np.eye(4)])
    assert np.linalg.det(jacobian) == pytest.approx(1.0, abs=1e-7)


def test_the_energy_errs_by_the_square_of_the_step():
    """Over the same time: half the step, a quarter of the error."""
    rng = np.random.default_rng(2)
    start, momentum = Chains.at(rng.standard_normal((200, 2)), gaussian, NORMAL), rng.standard_normal((200, 2))

    def error(step, leapfrog):
        chains, p = integrate(start, momentum, gaussian, beta=1.0, step=step, leapfrog=leapfrog)
        before = start.log_density(1.0) - 0.5 * (momentum**2).sum(axis=1)
        return np.abs(chains.log_density(1.0) - 0.5 * (p**2).sum(axis=1) - before).mean()

    assert error(0.1, 10) / error(0.05, 20) == pytest.approx(4.0, rel=0.15)


def test_the_schedule_rises_from_0_to_1():
    betas = schedule(50)
    assert len(betas) == 51
    assert betas[0] == 0.0
    assert betas[-1] == 1.0
    assert (np.diff(betas) > 0).all()
    assert np.array_equal(schedule(1), [0.0, 1.0])


@pytest.fixture(scope="module")
def exact():
    """A VAE whose log p(x) is known, its images, the truth, and what AIS says."""
    vae, x, log_p = linear_gaussian()
    return vae, x, log_p, annealed_importance_sampling(vae, x, chains=16, temperatures=300)


def test_ais_says_log_p_within_its_standard_error(exact):
    _, x, log_p, found = exact
    error = Estimate.of(found.log_p - log_p)
    assert abs(error.mean) < 4 * error.standard_error + 0.01           # a logarithm of a mean is a little low
    assert error.standard_error < 0.05, "or it would say nothing"
    assert (found.effective > 1.0).all()
    assert (found.effective <= 16.0).all()
    assert found.log_p.shape == (len(x),)
    assert str(found).startswith(f"log p(x) {found.estimate} nats, 40 images")


def test_it_does_not_care_about_q(exact):
    """The same encoder spoiled: importance weighting falls short of the truth, AIS gives the same numbers."""
    vae, x, log_p, found = exact
    bias = vae.encoder.logvar.b.value
    right = bias.copy()
    try:
        bias -= 4.0                                    # a q far too narrow
        again = annealed_importance_sampling(vae, x, chains=16, temperatures=300)
        weighted = importance_weighted_bound(vae, x, samples=100)
    finally:
        bias[...] = right
    assert np.array_equal(again.log_p, found.log_p)
    assert weighted.mean < log_p.mean() - 1.0


def test_importance_weighting_agrees_where_q_is_right(exact):
    vae, x, log_p, _ = exact
    assert importance_weighted_bound(vae, x, samples=5000).mean == pytest.approx(log_p.mean(), abs=1e-6)


def test_pilots_keep_acceptance_near_65_percent(exact):
    assert 0.5 < exact[-1].acceptance.mean() < 0.8
    assert (exact[-1].steps > 0).all()


def test_without_steps_between_it_is_importance_sampling_from_the_prior():
    """T = 1: w = p(x|z), z ~ p(z)."""
    vae, x, _ = linear_gaussian()
    found = annealed_importance_sampling(vae, x[:5], chains=50, temperatures=1, seed=3)
    z = np.random.default_rng([3, 0]).standard_normal((250, vae.latents))
    nll = vae.likelihood(vae.decoder(z)[0], x=np.tile(x[:5], (50, 1)))[0]
    expected = np.log(np.exp(-nll.reshape(50, 5)).mean(axis=0))
    np.testing.assert_allclose(found.log_p, expected, rtol=1e-10)


def test_both_bounds_enclose_the_truth_on_images_of_the_model(exact):
    vae = exact[0]
    lower, upper, gap = bidirectional(vae, images=60, chains=16, temperatures=300)
    assert lower.mean - 0.01 <= upper.mean
    assert gap.mean == pytest.approx(upper.mean - lower.mean)
    assert 0.0 - 3 * gap.standard_error < gap.mean < 0.3
    _, _, wide = bidirectional(vae, images=60, chains=2, temperatures=5)
    assert wide.mean > gap.mean + 0.1, "fewer steps, a wider gap"


@pytest.fixture
def model():
    return VAEConfig(6, (5,), 2, "tanh").build(dtype=np.float64)


X = 1.0 * (np.random.default_rng(5).random((30, 6)) < 0.5)


def test_the_same_whatever_the_number_of_threads_and_nothing_is_learned(model, monkeypatch):
    model.arena.grad[...] = 7.0
    monkeypatch.setitem(evaluation.ROWS, "cpu", 40)
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(bounds, "team_on", lambda device, n=threads: Team(n))
        found.append(annealed_importance_sampling(model, X, chains=4, temperatures=6, leapfrog=3))
    assert np.array_equal(found[0].log_p, found[1].log_p)
    assert np.array_equal(found[0].acceptance, found[1].acceptance)
    assert (model.arena.grad == 7.0).all()


def test_float32_stays_float32():
    vae = VAEConfig(6, (5,), 2).build()
    found = annealed_importance_sampling(vae, X.astype(np.float32), chains=3, temperatures=4)
    assert isinstance(found, AIS)
    assert np.isfinite(found.log_p).all()


def test_memory_does_not_grow_with_temperatures_or_images(model):
    def peak(images, temperatures):
        with traced_memory() as most:
            annealed_importance_sampling(model, np.tile(X, (images, 1)), chains=4, temperatures=temperatures,
                                         leapfrog=2)
            return most()

    few = peak(10, 5)
    assert peak(10, 60) < 1.3 * few
    assert peak(40, 5) < 3.0 * few


@pytest.mark.parametrize(("how", "error", "said"), [
    ({"chains": 0}, ValueError, "chains: got 0, expected a whole number of at least 1"),
    ({"temperatures": 0}, ValueError, "temperatures: got 0"),
    ({"leapfrog": 1.5}, ValueError, "leapfrog: got 1.5"),
    ({"x": X[:, :5]}, ValueError, r"x: got shape \(30, 5\)"),
    ({"x": 2.0 * X}, ValueError, "rescale them or choose a Gaussian"),
    ({"x": X.astype(int)}, TypeError, "expected a float array"),
])
def test_bad_input_is_explained(model, how, error, said):
    with pytest.raises(error, match=said):
        annealed_importance_sampling(model, **({"x": X} | how))
