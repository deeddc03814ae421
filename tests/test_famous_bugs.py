"""Bugs of published VAEs, each pinned: a check that passes on ours and fails when the bug is put back.

Where they were seen: REFERENCES, section 4.  Several pass a gradient check, because the hand-written
backward agrees with the wrong forward; that is shown too.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from minivae import distributions as D
from minivae import ops
from minivae.backend import device
from minivae.gradcheck import gradcheck
from minivae.nn import SGD, AdaGrad, Adam, Arena, Momentum, Parameter
from minivae.vae import VAE
from minivae.variants import VAEConfig

rng = np.random.default_rng(11)
START = rng.bit_generator.state


@pytest.fixture(autouse=True)
def the_same_numbers_in_any_order():
    rng.bit_generator.state = START


def refused(check, planted) -> None:
    with pytest.raises(AssertionError):
        check(planted)


def binary(*shape):
    return 1.0 * (np.random.default_rng(1).random(shape) < 0.5)


def small(model_class=VAE, likelihood="bernoulli", **options):
    model = VAEConfig(pixels=6, hidden=(5,), latents=2, likelihood=likelihood).build(dtype=np.float64, **options)
    model.__class__ = model_class
    return model


# ── exp(logvar) used as the standard deviation (DeZero's example, numpy-ml's BernoulliVAE) ────


def exp_logvar_as_std(mean, logvar, *, eps):
    noise = np.exp(logvar) * eps                      # should be exp(½ logvar)
    return mean + noise, lambda dz: (dz, noise * dz)  # and this is its right derivative


def check_sampler(sampler):
    """The KL that is reported is the KL of what is sampled."""
    mean, logvar, n = 0.0, -2.0, 100_000
    z = sampler(np.full((n, 1), mean), np.full((n, 1), logvar), eps=rng.standard_normal((n, 1)))[0]
    assert z.var() == pytest.approx(np.exp(logvar), rel=0.03)
    reported = D.gaussian_kl(np.array([[mean]]), np.array([[logvar]]))[0][0]
    of_what_is_sampled = 0.5 * (z.mean() ** 2 + z.var() - np.log(z.var()) - 1.0)
    assert reported == pytest.approx(of_what_is_sampled, abs=0.02)


def test_exp_logvar_as_standard_deviation():
    check_sampler(D.reparameterize)
    refused(check_sampler, exp_logvar_as_std)


def test_finite_differences_do_not_see_it():
    gradcheck(exp_logvar_as_std, *rng.standard_normal((2, 3, 2)), eps=rng.standard_normal((3, 2)))


def test_how_wrong_it_is():
    """At logvar = −2 the reported KL is 0.568 nats, that of the sampled q (variance e⁻⁴) 1.509."""
    def kl(logvar):
        return D.gaussian_kl(np.zeros((1, 1)), np.array([[logvar]]))[0][0]

    assert kl(-2.0) == pytest.approx(0.568, abs=5e-4)
    assert kl(-4.0) == pytest.approx(1.509, abs=5e-4)


# ── a ReLU backward that overwrites the upstream gradient ─────────────────────────────────────


def relu_that_forgets_upstream(x):
    return np.maximum(x, 0.0), lambda dy: 1.0 * (x > 0)


def relu_that_writes_into_upstream(x):
    def pullback(dy):
        dy[x <= 0] = 0.0
        return dy

    return np.maximum(x, 0.0), pullback


def check_relu(relu):
    x, dy = np.array([[-1.0, 2.0, 3.0]]), np.array([[5.0, 7.0, -2.0]])
    given = dy.copy()
    assert np.array_equal(relu(x)[1](dy), [[0.0, 7.0, -2.0]])
    assert np.array_equal(dy, given), "the cotangent belongs to the caller, who may use it twice"


@pytest.mark.parametrize("planted", [relu_that_forgets_upstream, relu_that_writes_into_upstream])
def test_relu_backward_overwrites_the_upstream_gradient(planted):
    check_relu(ops.relu)
    refused(check_relu, planted)


# ── probabilities clipped, so that the loss saturates ─────────────────────────────────────────


def clipped_nll(logits, *, x, tiny=1e-7):
    p = np.clip(special.expit(logits), tiny, 1.0 - tiny)
    inside = (p > tiny) & (p < 1.0 - tiny)
    nll = -(x * np.log(p) + (1.0 - x) * np.log(1.0 - p)).sum(axis=-1)
    return nll, lambda dnll: np.where(inside, p - x, 0.0) * dnll[:, None]


def check_saturation(nll_of):
    """A pixel that is wrong by 40 nats costs 40 nats, and still hears which way to go."""
    nll, pullback = nll_of(np.array([[-40.0], [40.0]]), x=np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(nll, [40.0, 40.0], rtol=1e-12)
    np.testing.assert_allclose(pullback(np.ones(2)), [[-1.0], [1.0]], rtol=1e-12)


def test_probability_clipping_saturates():
    check_saturation(D.bernoulli_nll)
    refused(check_saturation, clipped_nll)


# ── reconstruction as a mean over pixels, beside a summed KL ──────────────────────────────────


def pixel_mean_nll(logits, *, x):
    nll, pull = D.bernoulli_nll(logits, x=x)
    pixels = x.shape[-1]
    return nll / pixels, lambda dnll: pull(dnll / pixels)


def check_pixels_add(nll_of):
    """The same image twice, side by side, is twice as surprising; and probabilities sum to one."""
    logits, x = rng.standard_normal((3, 4)), binary(3, 4)
    once, twice = (nll_of(np.tile(logits, n), x=np.tile(x, n))[0] for n in (1, 2))
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-12)
    images = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)])
    assert np.exp(-nll_of(np.tile(logits[:1, :2], (4, 1)), x=images)[0]).sum() == pytest.approx(1.0)


def test_pixel_mean_reconstruction_against_a_summed_kl():
    """Its hidden weight on the KL is the number of pixels: a β-VAE with β = 784 that nobody chose."""
    check_pixels_add(D.bernoulli_nll)
    refused(check_pixels_add, pixel_mean_nll)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian_fixed", "gaussian_shared", "gaussian_pixel"])
def test_pixels_add_in_every_likelihood(likelihood):
    p_x = small(likelihood=likelihood).likelihood
    outputs, x = rng.standard_normal((3, 4 * p_x.outputs_per_pixel)), binary(3, 4)
    tiled = np.concatenate([np.tile(part, 2) for part in np.split(outputs, p_x.outputs_per_pixel, axis=1)], axis=1)
    np.testing.assert_allclose(p_x(tiled, x=np.tile(x, 2))[0], 2.0 * p_x(outputs, x=x)[0], rtol=1e-12)


# ── a function called elbo that returns its negative ──────────────────────────────────────────


class NegativeELBO(VAE):
    def elbo(self, x, rng, samples=1):
        return -super().elbo(x, rng, samples)

    def train_step(self, x, rng):
        told = super().train_step(x, rng)
        return told | {"elbo": -told["elbo"]}


def check_sign(model):
    """log p(x) of a bit pattern is at most 0, and so is a lower bound of it; training raises it."""
    x = binary(20, 6)
    before = model.elbo(x, np.random.default_rng(0), samples=50).mean()
    told = [model.train_step(x, np.random.default_rng(i))["elbo"] for i in range(100)]
    after = model.elbo(x, np.random.default_rng(0), samples=50).mean()
    assert max(before, after, told[0], told[-1]) <= 0.0
    assert after > before
    assert np.mean(told[-10:]) > np.mean(told[:10])


def test_elbo_is_not_its_negative():
    check_sign(small(optimizer=Adam(0.01)))
    refused(check_sign, small(NegativeELBO, optimizer=Adam(0.01)))


# ── the KL of a β or free-bits objective reported as the ELBO ─────────────────────────────────


class BetaVAE(VAE):
    """Trains on nll + 4 kl, and reports what a β-VAE should: the ELBO."""

    beta = 4.0

    def train_step(self, x, rng):
        eps = rng.standard_normal((self.samples, len(x), self.latents), dtype=x.dtype)
        (nll, kl), pullback = self.elbo_terms(x=x, eps=eps)
        weight = np.full_like(nll, 1.0 / len(x))
        self.arena.zero_grad()
        pullback(weight, self.beta * weight)
        self.optimizer.step(self.arena)
        return self.report(nll, kl)

    def report(self, nll, kl):
        return {"elbo": -(nll + kl).mean(), "nll": nll.mean(), "kl": kl.mean()}


class BetaReportedAsELBO(BetaVAE):
    def report(self, nll, kl):
        return super().report(nll, kl) | {"elbo": -(nll + self.beta * kl).mean()}


class FreeBitsReportedAsELBO(BetaVAE):
    def report(self, nll, kl):
        kl = np.maximum(kl, 1.0 + kl.max())            # "at least λ nats": a floor for training, not a KL
        return super().report(nll, kl)


def check_report(model):
    """Whatever the training objective, what is called "elbo" is E[log p(x|z)] − KL of the model before the step."""
    x = binary(8, 6)
    elbo = model.elbo(x, np.random.default_rng(4)).mean()
    nll, kl = (term.mean() for term in model.terms(x, np.random.default_rng(4)))
    told = model.train_step(x, np.random.default_rng(4))
    assert told["elbo"] == pytest.approx(elbo, rel=1e-12)
    assert told["nll"] == pytest.approx(nll, rel=1e-12)
    assert told["kl"] == pytest.approx(kl, rel=1e-12)
    assert told["elbo"] == pytest.approx(-(told["nll"] + told["kl"]), rel=1e-12)


@pytest.mark.parametrize("planted", [BetaReportedAsELBO, FreeBitsReportedAsELBO])
def test_the_objective_of_beta_or_free_bits_is_not_the_elbo(planted):
    check_report(small())
    check_report(small(BetaVAE))
    refused(check_report, small(planted))


# ── one draw of the noise in the forward pass, another in the backward ────────────────────────


def fresh_noise_backward(mean, logvar, *, eps):
    def pullback(dz):
        again = np.random.default_rng(99).standard_normal(eps.shape)
        return dz, 0.5 * np.exp(0.5 * logvar) * again * dz

    return mean + np.exp(0.5 * logvar) * eps, pullback


def check_noise(sampler):
    gradcheck(sampler, *rng.standard_normal((2, 3, 2)), eps=rng.standard_normal((3, 2)))


def test_the_same_noise_forward_and_backward():
    check_noise(D.reparameterize)
    refused(check_noise, fresh_noise_backward)


# ── importance weights from positive errors ───────────────────────────────────────────────────


class WeightsFromErrors(VAE):
    def log_weights(self, x, rng, samples=1):
        return -super().log_weights(x, rng, samples)   # log w = nll + kl: the worst sample weighs most


def check_weights(model):
    """mean of w = p(x, z)/q(z|x) estimates p(x): against p(x) summed over a grid of z."""
    x = binary(4, 6)
    log_w = model.log_weights(x, np.random.default_rng(0), samples=20_000)
    assert log_w.shape == (20_000, 4)
    grid = np.linspace(-6.0, 6.0, 121)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    log_prior = stats.norm.logpdf(z).sum(axis=1) + 2.0 * np.log(grid[1] - grid[0])
    logits = model.decoder(z)[0]
    log_p = [special.logsumexp(log_prior - D.bernoulli_nll(logits, x=np.tile(one, (len(z), 1)))[0]) for one in x]
    estimate = special.logsumexp(log_w, axis=0) - np.log(len(log_w))
    np.testing.assert_allclose(estimate, log_p, atol=0.03)
    assert (log_w.mean(axis=0) < log_p).all()          # and one sample on average: the ELBO, below it


def test_importance_weights_have_the_right_sign():
    check_weights(small())
    refused(check_weights, small(WeightsFromErrors))


# ── optimizer state that is saved and never loaded ────────────────────────────────────────────


def check_resume(optimizer_class):
    """Ten steps in one go, and five, a save, a load into new objects, five more: the same bits."""
    def gradient(step, value):
        return np.sin(value + step).astype(value.dtype)

    def walk(optimizer, arena, steps):
        for step in steps:
            arena.grad[...] = gradient(step, arena.value)
            optimizer.step(arena)

    def new_arena(value):
        return Arena({"a": Parameter(value)}, device("cpu"), np.float32)

    start = np.linspace(-1.0, 1.0, 5)
    straight, first = new_arena(start), new_arena(start)
    walk(optimizer_class(0.1), straight, range(10))
    saver = optimizer_class(0.1)
    walk(saver, first, range(5))
    weights, moments, steps = first.arrays(), saver.arrays(), saver.steps
    walk(saver, first, range(5, 7))                    # what was saved is a copy: going on does not change it
    second, loader = new_arena(np.zeros(5)), optimizer_class(0.1)
    second.load(weights)
    loader.load(moments, steps, second)
    walk(loader, second, range(5, 10))
    assert loader.steps == 10
    assert np.array_equal(straight.value, second.value)


class AdamNeverLoaded(Adam):
    def load(self, arrays, steps, arena):
        self.steps = steps


class AdamForgetsItsSteps(Adam):
    def load(self, arrays, steps, arena):
        super().load(arrays, steps, arena)
        self.steps = 0


class MomentumSavesAView(Momentum):
    def arrays(self):
        return {name: self.state[name] for name in self.moments}


@pytest.mark.parametrize("optimizer", [SGD, Momentum, AdaGrad, Adam])
def test_an_optimizer_continues_bit_for_bit(optimizer):
    check_resume(optimizer)


@pytest.mark.parametrize("planted", [AdamNeverLoaded, AdamForgetsItsSteps, MomentumSavesAView])
def test_optimizer_state_saved_and_never_loaded(planted):
    with pytest.raises(AssertionError):
        check_resume(planted)
