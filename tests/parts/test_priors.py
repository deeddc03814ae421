"""Priors: their densities integrate to one, their draws are theirs, and what is told of a model is right with them."""

import numpy as np
import pytest

from minivae.backend import device
from minivae.data import load
from minivae.distributions import gaussian_log_prob, gaussian_mixture_log_prob, standard_normal_log_prob
from minivae.evaluation import annealed_importance_sampling, bidirectional, diagnose, evaluate, log_likelihoods
from minivae.nn import Linear
from minivae.parts import (
    IWAE,
    DiagonalGaussian,
    DReG,
    FullCovariance,
    GaussianFixed,
    GaussianMixture,
    PlanarFlow,
    StandardNormal,
    closed_form_kl,
)
from minivae.training import Recipe, fit
from minivae.vae import VAE, Encoder
from minivae.variants import VAEConfig


def mixture(latents=2, components=3, seed=0):
    """Uneven weights, means and spreads."""
    rng = np.random.default_rng(seed)
    prior = GaussianMixture(latents, components, rng=rng)
    prior.logits.value[...] = rng.standard_normal(components)
    prior.logvar.value[...] = 0.7 * rng.standard_normal((components, latents)) - 0.5
    return prior


def grid(low=-8.0, high=8.0, n=801):
    line = np.linspace(low, high, n)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), (line[1] - line[0]) ** 2


@pytest.mark.parametrize("prior", [StandardNormal(2), mixture()], ids=["standard", "mixture"])
def test_its_density_integrates_to_one_and_its_draws_have_its_moments(prior):
    z, cell = grid()
    p = np.exp(prior.log_prob(z)[0]) * cell
    assert p.sum() == pytest.approx(1.0, abs=1e-9)
    mean, variance = prior.moments()
    np.testing.assert_allclose((p[:, None] * z).sum(axis=0), mean, atol=1e-8)
    np.testing.assert_allclose((p[:, None] * (z - mean) ** 2).sum(axis=0), variance, rtol=1e-8)
    n = 40_000
    drawn = prior.sample(n, np.random.default_rng(1), dtype=np.float64)
    assert drawn.shape == (n, 2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * np.sqrt(variance / n)).all()
    errors = ((drawn - mean) ** 2).std(axis=0) / np.sqrt(n)
    assert (np.abs(((drawn - mean) ** 2).mean(axis=0) - variance) < 5 * errors).all()


def test_components_are_drawn_by_their_weights():
    prior = GaussianMixture(1, 3, rng=np.random.default_rng(0))
    prior.logits.value[...] = np.log([0.5, 0.2, 0.3])
    prior.mean.value[...], prior.logvar.value[...] = [[-10.0], [0.0], [10.0]], -4.0
    drawn = prior.sample(20_000, np.random.default_rng(2))
    assert drawn.dtype == np.float32
    shares = [(np.abs(drawn - m) < 3).mean() for m in (-10, 0, 10)]
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=5 * 0.5 / np.sqrt(20_000))


def test_one_component_is_a_gaussian_and_equal_ones_count_as_one():
    """A misplaced −log K inside the sum would show here."""
    rng = np.random.default_rng(0)
    z, mean, logvar = rng.standard_normal((7, 3)), rng.standard_normal((1, 3)), rng.standard_normal((1, 3))
    alone = gaussian_log_prob(z, np.repeat(mean, 7, axis=0), np.repeat(logvar, 7, axis=0))[0]
    for K in (1, 5):
        many = gaussian_mixture_log_prob(z, np.zeros(K), np.repeat(mean, K, axis=0), np.repeat(logvar, K, axis=0))[0]
        np.testing.assert_allclose(many, alone, rtol=1e-12)
    order = np.array([2, 0, 1])
    logits, means, logvars = rng.standard_normal(3), *rng.standard_normal((2, 3, 3))
    np.testing.assert_allclose(gaussian_mixture_log_prob(z, logits, means, logvars)[0],
                               gaussian_mixture_log_prob(z, logits[order], means[order], logvars[order])[0], rtol=1e-12)


def test_far_out_the_mixture_is_its_nearest_component_and_float32_stays():
    prior = mixture()
    z = np.array([[1e4, -1e4]])
    assert np.isfinite(prior.log_prob(z)[0]).all()
    small = [p.value.astype(np.float32) for p in (prior.logits, prior.mean, prior.logvar)]
    log_p, pullback = gaussian_mixture_log_prob(np.float32([[0.3, 4.0]]), *small)
    assert {log_p.dtype, *(d.dtype for d in pullback(log_p))} == {np.dtype(np.float32)}


# ── which KL ─────────────────────────────────────────────────────────────────────────────────


def test_which_kl_is_used_is_told_by_the_pair():
    assert closed_form_kl(DiagonalGaussian(2), StandardNormal(2)) is not None
    assert closed_form_kl(FullCovariance(2), StandardNormal(2)) is not None
    assert closed_form_kl(PlanarFlow(2), StandardNormal(2)) is None
    assert closed_form_kl(DiagonalGaussian(2), mixture()) is None


def linear_gaussian(prior):
    """x = z W + σ ε with one posterior for every x: the terms of the bound can be integrated on a grid."""
    rng = np.random.default_rng(4)
    vae = VAE(Encoder(Linear(3, 3, rng=rng), Linear(3, 2, rng=rng), Linear(3, 2, rng=rng)), Linear(2, 3, rng=rng),
              GaussianFixed(0.7), prior=prior, pixels=3, latents=2, device=device("cpu"), dtype=np.float64)
    for name in ("encoder.mean.W", "encoder.logvar.W"):
        vae.arena.parameters[name].value[...] = 0.0
    vae.arena.parameters["encoder.logvar.b"].value[...] = np.log(4.0)       # wide: it proposes z all over the prior
    return vae, rng.standard_normal((4, 3))


@pytest.mark.parametrize("make", [lambda: StandardNormal(2), mixture], ids=["standard", "mixture"])
def test_log_p_by_importance_sampling_and_by_annealing_is_the_integral(make):
    """log ∫ p(x|z) p(z) dz over a grid, against both estimates, within five standard errors of their noise."""
    vae, x = linear_gaussian(make())
    z, cell = grid(-7, 7, 501)
    log_p = vae.prior.log_prob(z)[0]
    decoded = vae.decoder(z)[0]
    truth = np.array([np.log((np.exp(log_p - vae.likelihood(decoded, x=np.tile(row, (len(z), 1)))[0])).sum() * cell)
                      for row in x])
    weighted = np.array([log_likelihoods(vae, x, samples=4000, seed=s) for s in range(8)])
    assert (np.abs(weighted.mean(axis=0) - truth) < 5 * weighted.std(axis=0) / np.sqrt(8) + 1e-3).all()
    annealed = np.array([annealed_importance_sampling(vae, x, chains=50, temperatures=60, seed=seed).log_p
                         for seed in range(8)])
    assert (np.abs(annealed.mean(axis=0) - truth) < 5 * annealed.std(axis=0) / np.sqrt(8) + 1e-2).all()


def test_the_gap_of_bidirectional_annealing_closes_with_a_mixture():
    vae, _ = linear_gaussian(mixture())
    lower, upper, gap = bidirectional(vae, images=40, chains=20, temperatures=80)
    assert abs(gap.mean) < 0.1 + 5 * gap.standard_error
    assert lower.mean < upper.mean + 5 * gap.standard_error


def test_a_mixture_of_one_standard_component_gives_the_same_bound_up_to_noise():
    """The KL by draws instead of in closed form: equal within five of its standard errors."""
    prior = GaussianMixture(2, 1, rng=np.random.default_rng(0))
    prior.mean.value[...], prior.logvar.value[...] = 0.0, 0.0
    (one, x), (two, _) = linear_gaussian(StandardNormal(2)), linear_gaussian(prior)
    closed = evaluate(one, np.repeat(x, 500, axis=0), samples=1)
    drawn = evaluate(two, np.repeat(x, 500, axis=0), samples=1)
    noise = np.sqrt(closed.kl.standard_error**2 + drawn.kl.standard_error**2)
    assert abs(closed.kl.mean - drawn.kl.mean) < 5 * noise
    assert closed.nll.mean == pytest.approx(drawn.nll.mean, rel=1e-12), "the same noise, the same draws"


@pytest.mark.parametrize("objective", [IWAE(), DReG()], ids=["iwae", "dreg"])
def test_importance_weighted_steps_teach_the_prior(objective):
    """Their gradient into the prior's parameters is that of the bound: by finite differences of the same draws."""
    vae, x = linear_gaussian(mixture())
    eps = np.random.default_rng(3).standard_normal((6, 4, 2))
    vae.arena.zero_grad()
    objective(vae, x=x, eps=eps, weight=0.25, step=0)
    found = vae.prior.mean.grad.copy()

    def loss():
        nll, kl = vae.monte_carlo_terms(x=x, eps=eps)[0]
        return -0.25 * np.log(np.exp(-(nll + kl).reshape(6, 4)).mean(axis=0)).sum()

    h = 1e-6
    for index in np.ndindex(found.shape):
        here = vae.prior.mean.value[index]
        ends = []
        for step in (h, -h):
            vae.prior.mean.value[index] = here + step
            ends.append(loss())
        vae.prior.mean.value[index] = here
        assert found[index] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6, abs=1e-9)


# ── as users meet it ─────────────────────────────────────────────────────────────────────────


def test_training_moves_the_components_and_beats_the_standard_normal_on_what_has_two_heaps():
    """Codes of two kinds of images gather in two places; N(0, I) would have them in one."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 600)
    ink = np.where(kind[:, None], [0.9] * 6 + [0.1] * 6, [0.1] * 6 + [0.9] * 6)
    x = (rng.random((600, 12)) < ink).astype(np.float32)
    bounds = {}
    for name in ("standard", "mixture"):
        vae = VAEConfig(12, (16,), 1, "tanh", prior=name, components=2).build(seed=0, images=x)
        before = vae.prior.sample(5, np.random.default_rng(0))
        fit(vae, x, epochs=30, batch_size=30, progress=False)
        bounds[name] = evaluate(vae, x, samples=20)
        assert (name == "standard") == np.array_equal(before, vae.prior.sample(5, np.random.default_rng(0)))
    assert bounds["mixture"].elbo.mean > bounds["standard"].elbo.mean - 0.02


def test_the_command_line_has_it_and_what_a_mixture_cannot_is_said(tmp_path):
    recipe = Recipe(prior="mixture", components=4, hidden=(8,), latents=2)
    model = recipe.build(load("digits"), device("cpu"))
    assert isinstance(model.prior, GaussianMixture)
    assert model.prior.mean.value.shape == (4, 2)
    assert {name for name in model.arena.parameters if name.startswith("prior")} == {
        "prior.logits", "prior.mean", "prior.logvar"}
    assert "20 images: KL" in str(diagnose(model, load("digits").test[:20]))
    with pytest.raises(ValueError, match="free bits need a diagonal posterior and the standard normal prior"):
        model.elbo_terms_by_latent(x=load("digits").test[:2], eps=np.zeros((1, 2, 2), np.float32))
    with pytest.raises(ValueError, match="prior: got 'mixture'; free_bits"):
        Recipe(prior="mixture", free_bits=0.1)
    with pytest.raises(ValueError, match="prior: got one of 3 latents, expected 2"):
        linear_gaussian(StandardNormal(3))
    with pytest.raises(ValueError, match="components: got 0, expected at least 1"):
        GaussianMixture(2, 0, rng=np.random.default_rng(0))


def test_the_standard_normal_costs_no_parameter():
    assert not any(name.startswith("prior") for name in VAEConfig(4, (3,), 2).build().arena.parameters)
    assert standard_normal_log_prob(np.zeros((1, 2)))[0] == StandardNormal(2).log_prob(np.zeros((1, 2)))[0]
