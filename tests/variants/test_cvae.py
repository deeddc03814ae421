"""The conditional VAE: what the maths says of its values, who hears what, and what PyTorch says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minivae.backend import device
from minivae.batch import Batch
from minivae.data import ByLabel, Quadrants, load
from minivae.evaluation import Estimate, conditional_log_likelihood
from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import Adam, Linear
from minivae.parts import GaussianFixed
from minivae.training import fit
from minivae.vae import Encoder
from minivae.variants import CVAE, CVAEConfig

X, Y, Z, B = 3, 2, 2, 5
RNG = np.random.default_rng(0)
GIVEN, WANTED, EPS = RNG.standard_normal((B, X)), 1.0 * (RNG.standard_normal((B, Y)) > 0), RNG.standard_normal((B, Z))


def model(seed=0, **options):
    """A small one, its parameters moved away from where they are born."""
    found = CVAEConfig(X, Y, (4,), Z, "tanh", **options).build(dtype=np.float64, seed=seed)
    for network in found.networks.values():
        network.arena.value[...] += 0.3 * np.random.default_rng(seed + 1).standard_normal(network.arena.value.shape)
    return found


class Straight(Encoder):
    """A Gaussian whose mean is linear, and whose variance is a constant."""

    def __init__(self, inputs, latents, logvar, rng):
        super().__init__(Linear(inputs, 1, rng=rng), Linear(1, latents, rng=rng), Linear(1, latents, rng=rng))
        self.logvar.W.value[...], self.logvar.b.value[...] = 0.0, logvar


def linear_gaussian():
    """y = a₀(x) + A z + C x̃ + d + σ ε,   z ~ N(m(x̃), s²),   x̃ = (x, ŷ₀): one latent, and q set to the posterior"""
    rng, told = np.random.default_rng(3), X + Y
    return CVAE(Linear(X, Y, rng=rng), Straight(told, 1, np.log(0.5), rng), Straight(told + Y, 1, 0.0, rng),
                Linear(1 + told, Y, rng=rng), GaussianFixed(std=0.7), sizes=(X, Y), latents=1, device=device("cpu"),
                dtype=np.float64)


def exact_log_prob(m, x, y):
    """log N(y; a₀ + A m(x̃) + C x̃ + d,  σ² I + s² Aᵀ A)"""
    guess, told = m._guess(x)
    W, b = m.decoder.W.value, m.decoder.b.value
    mean = guess + np.concatenate([m.prior(told)[0][0], told], axis=1) @ W + b
    C = 0.49 * np.eye(Y) + 0.5 * W[:1].T @ W[:1]
    offset = y - mean
    return -0.5 * (np.einsum("bi,ij,bj->b", offset, np.linalg.inv(C), offset)
                   + np.linalg.slogdet(2 * np.pi * C)[1])


def set_q_to_the_posterior(m):
    """1/v = 1/s² + A Aᵀ/σ²;   mean = v (m(x̃)/s² + A (y − a₀ − C x̃ − d)/σ²): linear in (x̃, y), as a₀ = ŷ₀ is in x̃"""
    A, C, d = m.decoder.W.value[:1], m.decoder.W.value[1:], m.decoder.b.value
    v = 1.0 / (2.0 + (A @ A.T).item() / 0.49)
    at = np.eye(X + Y)[:, X:]                                        # told @ at = ŷ₀ = a₀
    p = m.prior
    weights = np.concatenate([2.0 * v * p.trunk.W.value @ p.mean.W.value - v / 0.49 * (at + C) @ A.T, v / 0.49 * A.T])
    bias = 2.0 * v * (p.trunk.b.value @ p.mean.W.value + p.mean.b.value) - v / 0.49 * d @ A.T
    q = m.recognition
    q.trunk.W.value[...], q.trunk.b.value[...] = weights, bias
    q.mean.W.value[...], q.mean.b.value[...], q.logvar.b.value[...] = 1.0, 0.0, np.log(v)


# ── the bound ─────────────────────────────────────────────────────────────────────────────────


def test_at_the_exact_posterior_every_draw_gives_log_p():
    m, y = linear_gaussian(), RNG.standard_normal((B, Y))
    set_q_to_the_posterior(m)
    expected = exact_log_prob(m, GIVEN, y)
    weights = m.log_weights(Batch(x=GIVEN, y=y), np.random.default_rng(0), samples=7)
    np.testing.assert_allclose(weights, np.tile(expected, (7, 1)), rtol=0, atol=1e-10)
    drawn = [m.elbo_terms(x=GIVEN, y=y, eps=np.random.default_rng(i).standard_normal((B, 1)))[0] for i in range(4000)]
    bound = Estimate.of(np.array([-(nll + kl).mean() for nll, kl in drawn]))
    assert abs(bound.mean - expected.mean()) < 5 * bound.standard_error


def test_draws_of_the_prior_estimate_log_p_from_below():
    m, y = linear_gaussian(), RNG.standard_normal((B, Y))
    data, expected = Batch(x=np.tile(GIVEN, (200, 1)), y=np.tile(y, (200, 1))), exact_log_prob(m, GIVEN, y).mean()
    few, many = (conditional_log_likelihood(m, data, samples=S) for S in (1, 200))
    assert few.by_p.mean < many.by_p.mean < expected + 0.01
    assert many.by_p.mean == pytest.approx(expected, abs=0.05)
    assert few.by_q.mean < many.by_q.mean < expected + 0.01


def test_a_decoder_that_says_nothing_is_the_baseline():
    m = model()
    for p in m.decoder.parameters().values():
        p.value[...] = 0.0
    found = conditional_log_likelihood(m, Batch(x=GIVEN, y=WANTED), samples=3)
    assert found.by_p.mean == pytest.approx(found.baseline.mean, abs=1e-12)
    assert np.array_equal(m.predict(GIVEN, np.random.default_rng(0)), m.guess(GIVEN))
    assert "3 draws of p(z|x)" in str(found)


def test_where_q_is_the_prior_the_kl_and_its_gradients_are_zero():
    m, told = model(), X + Y
    p, q = m.prior.parameters(), m.recognition.parameters()
    for name, from_p in p.items():
        q[name].value[...] = np.concatenate([from_p.value, np.zeros((Y, 4))]) if len(q[name].value) > told else (
            from_p.value)
    (_, kl), pullback = m.elbo_terms(x=GIVEN, y=WANTED, eps=EPS)
    pullback(np.zeros(B), np.ones(B))
    assert np.abs(kl).max() < 1e-12
    assert np.abs(m.networks["cvae"].arena.grad).max() < 1e-12


def test_the_kl_is_that_to_the_prior_network():
    """Not that to N(0, I), a common slip: log q(z|x, y) − log p(z|x), averaged over draws, is the kl."""
    m = model()
    (_, kl), _ = m.elbo_terms(x=GIVEN, y=WANTED, eps=EPS)
    batch, rng = Batch(x=GIVEN, y=WANTED), np.random.default_rng(1)
    weights = m.log_weights(batch, rng, 20_000)                      # log p(y|x, z) + log p(z|x) − log q(z|x, y)
    drawn = [m.elbo_terms(x=GIVEN, y=WANTED, eps=rng.standard_normal((B, Z)))[0][0] for _ in range(3000)]
    nll = np.mean(drawn, axis=0)
    error = weights.std(axis=0) / np.sqrt(20_000) + np.std(drawn, axis=0) / np.sqrt(3000)
    assert (np.abs(-weights.mean(axis=0) - nll - kl) < 5 * error).all()
    to_standard_normal = 0.5 * (np.square(m.recognition(np.concatenate([m._guess(GIVEN)[1], WANTED], 1))[0][0])).sum(1)
    assert np.abs(kl - to_standard_normal).min() > 0.01


# ── who hears what ────────────────────────────────────────────────────────────────────────────


def state(m):
    return {name: network.arena.value.tobytes() for name, network in m.networks.items()}


def test_the_baseline_learns_first_and_then_never_again():
    m = model()
    m.baseline_steps = 2
    batch, rng = Batch(x=GIVEN, y=WANTED), np.random.default_rng(0)
    for step in range(4):
        before, terms = state(m), m.train_step(batch, rng)
        moved = {name for name, value in state(m).items() if value != before[name]}
        assert moved == {"baseline" if step < 2 else "cvae"}
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
        assert (terms["kl"] == 0.0) == (step < 2)
    assert not m.networks["baseline"].arena.grad.any()               # the guess is a constant to the others


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_hybrid_weighs_the_two_losses(alpha):
    m = model()
    m.alpha = alpha
    arena, eps = m.networks["cvae"].arena, RNG.standard_normal((2, B, Z))
    parts = []
    for bound, draw in ((m.elbo_terms, eps[0]), (m.prior_nll, eps[1])):
        arena.zero_grad()
        value, pullback = bound(x=GIVEN, y=WANTED, eps=draw)
        pullback(*(np.full(B, 1.0 / B) for _ in (value if isinstance(value, tuple) else (value,))))
        parts.append(arena.grad.copy())
    arena.zero_grad()
    m._step(GIVEN, WANTED, eps, 1.0 / B)
    np.testing.assert_allclose(arena.grad, alpha * parts[0] + (1.0 - alpha) * parts[1], rtol=1e-12, atol=1e-15)
    heard = {name for name, p in arena.parameters.items() if p.grad.any()}
    assert any(name.startswith("recognition") for name in heard) == (alpha > 0.0)
    assert all(any(name.startswith(part) for name in heard) for part in ("prior", "decoder"))


@pytest.mark.parametrize("deaf", ["prior", "recognition"])
def test_a_kl_that_one_of_the_two_gaussians_does_not_hear_is_caught(deaf, monkeypatch):
    m = model()
    network = getattr(m, deaf)
    right = type(network).__call__

    def call(layer, x):
        value, pull = right(layer, x)
        return value, (lambda *d, **need: pull(*(0.0 * each for each in d), **need)) if layer is network else pull

    monkeypatch.setattr(type(network), "__call__", call)
    with pytest.raises(GradientError):
        gradcheck(m.elbo_terms, parameters=m.networks["cvae"].arena.parameters, x=GIVEN, y=WANTED, eps=EPS)


def test_threads_and_a_stop_between_the_two_phases_change_nothing(tmp_path):
    part = load("digits").part("train")[:60]
    asked = Quadrants((28, 28), 2).ask(part.but(x=(part.x > 0.5).astype(np.float32)))
    size = CVAEConfig(392, 392, (16,), 3)

    def trained(epochs, threads=1, **how):
        m = size.build(baseline_steps=4, optimizers={"baseline": Adam(2e-3)})
        return m, fit(m, asked, valid=asked, epochs=epochs, batch_size=20, progress=False, threads=threads, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]
    assert trained(3, threads=2)[1][-1]["train_elbo"] == pytest.approx(history[-1]["train_elbo"], rel=1e-5)


# ── what is given ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("observed", [1, 2, 3])
def test_quadrants_are_taken_apart_and_put_together(observed):
    images = RNG.random((4, 6 * 5)).astype(np.float32)
    asked = Quadrants((6, 5), observed)
    part = asked.ask(Batch(x=images))
    assert (part.x.shape[1], part.y.shape[1]) == asked.sizes
    assert np.array_equal(asked.whole(part.x, part.y), images)
    seen = asked.given.reshape(6, 5)
    assert seen[5, 0]
    assert seen[0, 0] == (observed > 1)
    assert seen[0, 4] == (observed > 2)
    assert not seen[5, 4]


def test_labels_are_told_as_one_hot_rows():
    part = ByLabel(4, 3).ask(Batch(x=np.ones((3, 3), np.float32), y=np.array([0, 3, 1])))
    assert np.array_equal(part.x, np.eye(4)[[0, 3, 1]])
    assert part.x.dtype == np.float32
    assert ByLabel(4, 3).sizes == (4, 3)
    with pytest.raises(ValueError, match=r"y: got labels 0 … 4, expected 0 … 3"):
        ByLabel(4, 3).ask(Batch(x=np.ones((2, 3)), y=np.array([0, 4])))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"alpha: got 1.5, expected a number in \[0, 1\]"):
        model(alpha=1.5)
    with pytest.raises(ValueError, match="observed: got 4, expected 1, 2 or 3"):
        Quadrants((28, 28), 4)
    with pytest.raises(ValueError, match=r"CVAE needs y \(labels or conditions\)"):
        model().check(GIVEN)
    with pytest.raises(ValueError, match=r"images.y: got float64 \(5, 3\), expected floats \(N, 2\)"):
        model().check(Batch(x=GIVEN, y=GIVEN), "images")
    with pytest.raises(ValueError, match="outputs: got 0, expected at least 1"):
        CVAEConfig(3, 0).build()


# ── an independent judge ──────────────────────────────────────────────────────────────────────


@pytest.mark.peers
def test_pytorch_finds_the_same_values_and_gradients():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
    m = model()
    theirs = {name: torch.tensor(p.value, requires_grad=True) for network in m.networks.values()
              for name, p in network.arena.parameters.items()}

    def dense(name, h):
        return h @ theirs[f"{name}.W"] + theirs[f"{name}.b"]

    def gaussian(name, h):
        h = torch.tanh(dense(f"{name}.trunk.0", h))
        return Independent(Normal(dense(f"{name}.mean", h), torch.exp(0.5 * dense(f"{name}.logvar", h))), 1)

    x, y, eps = (torch.tensor(a) for a in (GIVEN, WANTED, EPS))
    logits = dense("baseline.2", torch.tanh(dense("baseline.0", x)))
    first = -Independent(Bernoulli(logits=logits), 1).log_prob(y)
    guess = logits.detach()
    told = torch.cat([x, torch.sigmoid(guess)], 1)
    p, q = gaussian("prior", told), gaussian("recognition", torch.cat([told, y], 1))

    def nll_at(z):
        more = dense("decoder.2", torch.tanh(dense("decoder.0", torch.cat([z, told], 1))))
        return -Independent(Bernoulli(logits=guess + more), 1).log_prob(y)

    nll, kl = nll_at(q.mean + q.stddev * eps), kl_divergence(q, p)
    nll_p = nll_at(p.mean + p.stddev * eps)
    weights = RNG.standard_normal((4, B))
    sum((torch.tensor(w) * term).sum() for w, term in zip(weights, (first, nll, kl, nll_p))).backward()

    (ours_first, pull_first), (terms, pull_terms), (ours_p, pull_p) = (
        m.baseline_nll(x=GIVEN, y=WANTED), m.elbo_terms(x=GIVEN, y=WANTED, eps=EPS),
        m.prior_nll(x=GIVEN, y=WANTED, eps=EPS))
    pull_first(weights[0]); pull_terms(*weights[1:3]); pull_p(weights[3])
    for ours, other in zip((ours_first, *terms, ours_p), (first, nll, kl, nll_p)):
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-10, atol=1e-12)
    for network in m.networks.values():
        for name, parameter in network.arena.parameters.items():
            np.testing.assert_allclose(parameter.grad, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
