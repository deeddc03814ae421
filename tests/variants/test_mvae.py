"""The MVAE's model of a source: a density, a bound that is exact where it can be, a decoder asked in silence."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from two_threads import train_alike

from minivae.batch import Batch
from minivae.distributions import complex_gaussian_nll
from minivae.training import fit
from minivae.variants import SourceVAEConfig
from minivae.variants.mvae import QUIET

X, C, Z, B = 5, 3, 2, 4
RNG = np.random.default_rng(0)
POWER, EPS = RNG.gamma(0.5, 1.0, (B, X)), RNG.standard_normal((B, Z))
WHO = np.eye(C)[[0, 2, 1, 1]]


def small(dtype=np.float64, **options):
    model = SourceVAEConfig(X, C, (6,), Z, "tanh").build(dtype=dtype, **options)
    model.arena.value[...] += 0.3 * np.random.default_rng(1).standard_normal(model.arena.value.shape)
    return model


def batch(rows=40, dtype=np.float64):
    rng = np.random.default_rng(2)
    return Batch(x=rng.gamma(0.5, 1.0, (rows, X)).astype(dtype), y=np.arange(rows) % C)


# ── the density ───────────────────────────────────────────────────────────────────────────────────


def test_the_density_integrates_to_one_over_the_complex_plane():
    logvar, line = np.array([[-0.4]]), np.linspace(-6.0, 6.0, 401)
    a, b = np.meshgrid(line, line)
    power = (a**2 + b**2).reshape(-1, 1)
    nll, _ = complex_gaussian_nll(np.broadcast_to(logvar, power.shape), power=power)
    assert np.exp(-nll).sum() * (line[1] - line[0]) ** 2 == pytest.approx(1.0, abs=1e-9)


def test_the_density_is_that_of_two_real_gaussians():
    s = RNG.standard_normal((B, X)) + 1j * RNG.standard_normal((B, X))
    logvar = RNG.standard_normal((B, X))
    half = 0.5 * np.exp(logvar)
    parts = [0.5 * part**2 / half + 0.5 * np.log(2.0 * math.pi * half) for part in (s.real, s.imag)]
    nll, _ = complex_gaussian_nll(logvar, power=np.abs(s) ** 2)
    np.testing.assert_allclose(nll, sum(parts).sum(axis=1), rtol=1e-12)


def test_the_variance_is_the_mean_power():
    """… of draws; and the best log-variance of many frames is the logarithm of their mean power."""
    rng = np.random.default_rng(3)
    s = np.sqrt(0.5 * 0.7) * (rng.standard_normal(200_000) + 1j * rng.standard_normal(200_000))
    power = (np.abs(s) ** 2)[:, None]
    assert power.mean() == pytest.approx(0.7, rel=0.01)
    for logvar in np.log(power.mean()) + np.array([0.0, -0.1, 0.1]):
        _, pullback = complex_gaussian_nll(np.full_like(power, logvar), power=power)
        slope = pullback(np.ones(len(power))).mean()
        assert slope == pytest.approx(1.0 - np.exp(-(logvar - np.log(power.mean()))), abs=1e-9)


# ── the model ─────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_quieter_than_a_microphone():
    model = small()
    model.decoder.layers[-1].b.value[...] = -1e3
    logvar, _ = model.logvar(EPS, WHO)
    np.testing.assert_allclose(np.exp(logvar), QUIET)


def test_an_untrained_model_says_the_average():
    powers = np.random.default_rng(4).gamma(0.5, 1.0, (500, X)) * np.array([1e-3, 0.1, 1.0, 5.0, 20.0])
    model = SourceVAEConfig(X, C, (6,), Z).build(powers=powers, dtype=np.float64)
    model.decoder.layers[-1].W.value[...] = 0.0
    np.testing.assert_allclose(np.exp(model.logvar(EPS, WHO)[0]), np.broadcast_to(powers.mean(axis=0), (B, X)))


def test_the_bound_is_log_p_where_z_says_nothing():
    """A decoder that does not hear z, an encoder that says N(0, I): log p(s|c) is the density itself."""
    model = small()
    model.decoder.layers[0].W.value[:Z] = 0.0
    for head in (model.encoder.mean, model.encoder.logvar):
        head.W.value[...] = head.b.value[...] = 0.0
    (nll, kl), _ = model.elbo_terms(power=POWER, c=WHO, eps=EPS)
    logvar, _ = model.logvar(np.zeros((B, Z)), WHO)
    np.testing.assert_allclose(nll, complex_gaussian_nll(logvar, power=POWER)[0])
    np.testing.assert_array_equal(kl, 0.0)
    data = Batch(x=POWER, y=WHO.argmax(axis=1))
    np.testing.assert_allclose(model.log_weights(data, np.random.default_rng(0), 3), np.tile(-nll, (3, 1)))


def test_more_draws_make_a_better_bound():
    model, data = small(), batch()
    bounds = []
    for samples in (1, 5, 500):
        weights = model.log_weights(data, np.random.default_rng(0), samples)
        bounds.append((np.log(np.exp(weights - weights.max(axis=0)).mean(axis=0)) + weights.max(axis=0)).mean())
    nll, kl = model.terms(data, np.random.default_rng(1), 200)
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[2] > -(nll + kl).mean()


def test_a_gradient_of_z_moves_no_parameter():
    """need_dp=False: exactly zero, and the same gradient as with it."""
    model, d = small(), RNG.standard_normal((B, X))
    model.arena.zero_grad()
    _, pullback = model.logvar(EPS, WHO)
    quiet = pullback(d, need_dp=False)
    assert not model.arena.grad.any()
    for one, other in zip(quiet, pullback(d)):
        np.testing.assert_array_equal(one, other)
    assert model.arena.grad.any()


def test_each_speaker_is_drawn_in_turn_or_one_alone():
    model = small()
    one, turns = model.sample(6, np.random.default_rng(0), 2), model.sample(6, np.random.default_rng(0))
    assert turns.shape == (6, X)
    np.testing.assert_array_equal(one[2::3], turns[2::3])
    assert not np.array_equal(one[0], turns[0])
    assert model.reconstruct(batch(), np.random.default_rng(0)).shape == (40, X)


def test_a_float32_step_stays_float32():
    model = small(dtype=np.float32)
    told = model.train_step(batch(dtype=np.float32), np.random.default_rng(0))
    assert set(told) == {"elbo", "nll", "kl"}
    assert {np.asarray(value).dtype for value in told.values()} == {np.dtype(np.float32)}
    assert model.sample(3, np.random.default_rng(0)).dtype == np.float32


def test_a_stop_changes_nothing(tmp_path):
    def trained(epochs, **how):
        model, data = small(dtype=np.float32), batch(60, np.float32)
        fit(model, data, valid=data, epochs=epochs, batch_size=20, progress=False, threads=1, **how)
        return model

    whole = trained(3)
    trained(1, run=tmp_path / "run")
    resumed = trained(3, run=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.arena.value, whole.arena.value)


def test_threads_share_a_batch():
    train_alike(small, batch(64))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="speakers: got 0, expected a whole number of at least 1"):
        SourceVAEConfig(X, 0)
    with pytest.raises(ValueError, match=r"hidden: got \(\), expected at least one size"):
        SourceVAEConfig(X, C, ())
    with pytest.raises(ValueError, match=r"powers: got shape \(4, 3\), expected \(N, 5\)"):
        SourceVAEConfig(X, C).build(powers=POWER[:, :3])
    model, data = small(), batch()
    with pytest.raises(ValueError, match="speaker: got 3, expected 0 … 2"):
        model.sample(2, np.random.default_rng(0), 3)
    for wrong, said in (({"x": data.x[:, :2]}, r"data\.x: got float64 \(40, 2\), expected floats \(N, 5\)"),
                        ({"x": -data.x}, r"data\.x: holds numbers below 0"),
                        ({"x": data.x * np.nan}, r"data\.x: holds numbers below 0, NaN or infinity"),
                        ({"y": data.y + 1}, r"data\.y: got int64 \(40,\) from 1 to 3, expected speakers")):
        with pytest.raises(ValueError, match=said):
            model.check(data.but(**wrong), "data")
    with pytest.raises(ValueError, match="SourceVAE needs y"):
        model.check(data.x)


@pytest.mark.peers
def test_pytorch_finds_the_same_bound_and_gradients():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Independent, Normal, kl_divergence
    model, weight = small(), RNG.standard_normal((2, B))
    p = {name: torch.tensor(np.array(q.value), requires_grad=True) for name, q in model.parameters().items()}

    def dense(name, h):
        return h @ p[f"{name}.W"] + p[f"{name}.b"]

    power, c = torch.tensor(POWER), torch.tensor(WHO)
    h = torch.tanh(dense("encoder.trunk.0", torch.cat([0.25 * torch.log(power + QUIET) + 1.0, c], 1)))
    q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
    z = q.mean + q.stddev * torch.tensor(EPS)
    raw = dense("decoder.2", torch.tanh(dense("decoder.0", torch.cat([z, c], 1))))
    variance = QUIET * torch.exp(torch.nn.functional.softplus(raw))
    amplitude = torch.sqrt(power)                      # of any phase: real, say
    half = Normal(0.0, torch.sqrt(0.5 * variance))
    nll = -(half.log_prob(amplitude) + half.log_prob(torch.zeros_like(amplitude))).sum(1)
    kl = kl_divergence(q, Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1))
    (torch.tensor(weight[0]) @ nll + torch.tensor(weight[1]) @ kl).backward()
    (ours, kl_ours), pullback = model.elbo_terms(power=POWER, c=WHO, eps=EPS)
    model.arena.zero_grad()
    pullback(*weight)
    np.testing.assert_allclose(ours, nll.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(kl_ours, kl.detach().numpy(), rtol=1e-10)
    for name, ours in model.parameters().items():
        np.testing.assert_allclose(ours.grad, p[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
