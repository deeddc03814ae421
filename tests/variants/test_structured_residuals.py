"""Structured residuals: a VAE with independent pixels when nothing is below the diagonal; who learns when; PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minivae.data import load
from minivae.nn import Adam
from minivae.parts import StructuredGaussian
from minivae.training import fit
from minivae.variants import StructuredVAEConfig, VAEConfig

H, W, Z, B = 2, 3, 2, 4
RNG = np.random.default_rng(0)
IMAGES, EPS = RNG.standard_normal((B, H * W)), RNG.standard_normal((2, B, Z))


def small(moved=0.3, **options):
    model = StructuredVAEConfig(H, W, (3,), Z, "tanh").build(dtype=np.float64, **options)
    for i, network in enumerate(model.networks.values()):
        network.arena.value[...] += moved * np.random.default_rng(i).standard_normal(network.arena.value.shape)
    return model


def state(model):
    return {name: network.arena.value.tobytes() for name, network in model.networks.items()}


def test_with_nothing_below_the_diagonal_it_is_a_vae_with_a_variance_for_every_pixel():
    model = small()
    model.networks["below"].arena.value[...] = 0.0
    plain = VAEConfig(H * W, (3,), Z, "tanh", "gaussian_pixel").build(dtype=np.float64)
    plain.encoder, z = model.encoder, RNG.standard_normal((7, Z))
    outputs, x = model.decoder(z)[0], RNG.standard_normal((7, H * W))
    mean, logdiag, _ = model.likelihood._parts(outputs)[0]
    np.testing.assert_allclose(model.likelihood(outputs, x=x)[0],
                               plain.likelihood(np.hstack([mean, -2.0 * logdiag]), x=x)[0], rtol=1e-12)


def test_it_starts_at_every_pixel_s_mean_and_variance_and_without_neighbours():
    images = load("digits").train[:200]
    model = StructuredVAEConfig(28, 28, (8,), Z).build(images=images, dtype=np.float64)
    for p in (model.decoder.mean, model.decoder.diagonal):
        p.layers[-1].parameters()["W"].value[...] = 0.0
    mean, logdiag, below = model.likelihood._parts(model.decoder(RNG.standard_normal((3, Z)))[0])[0]
    np.testing.assert_allclose(mean, np.tile(images.mean(axis=0), (3, 1)), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.exp(-2.0 * logdiag), np.tile(images.var(axis=0).clip(1e-3), (3, 1)), rtol=1e-5)
    assert not below.any()


def test_networks_learn_in_turn():
    model, rng, moved = small(diagonal_steps=2, fixed_steps=2), np.random.default_rng(0), []
    for _ in range(6):
        before, terms = state(model), model.train_step(IMAGES, rng)
        moved.append({name for name, value in state(model).items() if value != before[name]})
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
    assert moved == [{"vae", "diagonal"}] * 2 + [{"diagonal", "below"}] * 2 + [{"vae", "diagonal", "below"}] * 2


def test_the_precision_is_bounded():
    """A pixel that never changes makes nobody infinitely sure."""
    p_x = StructuredGaussian((1, 2))
    outputs = np.zeros((1, 12))
    outputs[0, 2:4] = 1e6, -1e6
    nll, pull = p_x(outputs, x=np.zeros((1, 2)))
    assert np.isfinite(nll).all()
    assert np.isfinite(pull(np.ones(1))).all()
    np.testing.assert_allclose(p_x._parts(outputs)[0][1], [[6.0, -6.0]])


def test_draws_are_correlated_as_the_factor_says():
    p_x, n = StructuredGaussian((1, 2)), 100_000
    outputs = np.zeros((n, 12))
    outputs[:, 5] = -np.arctanh(0.9)                                            # the second pixel hears the first
    x = p_x.sample(outputs, np.random.default_rng(0))
    C = np.linalg.inv(np.array([[1.0, 0.0], [-0.9, 1.0]]) @ np.array([[1.0, -0.9], [0.0, 1.0]]))
    np.testing.assert_allclose(np.cov(x.T), C, atol=0.05)
    assert np.corrcoef(x.T)[0, 1] > 0.6


def test_it_explains_what_independent_pixels_cannot():
    """Images of one smooth random shade each: a variance for every pixel pays for each; neighbours pay once."""
    rng = np.random.default_rng(0)
    shade = rng.standard_normal((300, 6, 6)).cumsum(axis=1).cumsum(axis=2) / 6
    x = (shade + 0.05 * rng.standard_normal(shade.shape)).reshape(300, 36).astype(np.float32)
    plain = VAEConfig(36, (16,), 1, "tanh", "gaussian_pixel").build(images=x, optimizer=Adam(5e-3))
    model = StructuredVAEConfig(6, 6, (16,), 1, "tanh").build(
        images=x, diagonal_steps=60, fixed_steps=60,
        optimizers={name: Adam(5e-3) for name in ("vae", "diagonal", "below")})
    elbo = [fit(m, x, epochs=40, batch_size=50, progress=False, threads=1)[-1]["train_elbo"] for m in (plain, model)]
    assert elbo[1] > elbo[0] + 5.0


def test_a_stop_changes_nothing(tmp_path):
    x = load("digits").train[:60]

    def trained(epochs, **how):
        model = StructuredVAEConfig(28, 28, (8,), 2).build(images=x, diagonal_steps=3, fixed_steps=3)
        return model, fit(model, x, valid=x, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="height: got 0, expected at least 1"):
        StructuredVAEConfig(0, 3)
    with pytest.raises(ValueError, match="latents: got 0, expected a whole number of at least 1"):
        StructuredVAEConfig(2, 3, latents=0)
    with pytest.raises(ValueError, match=r"images: got shape \(2, 5\), expected \(N, 6\)"):
        StructuredVAEConfig(2, 3).build(images=np.zeros((2, 5)))


@pytest.mark.peers
def test_pytorch_finds_the_same_terms_and_gradients():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
    model = small()
    theirs = {name: torch.tensor(p.value, requires_grad=True) for name, p in model.parameters().items()}

    def dense(name, h):
        return h @ theirs[f"{name}.W"] + theirs[f"{name}.b"]

    def network(name, z):
        return dense(f"decoder.{name}.2", torch.tanh(dense(f"decoder.{name}.0", z)))

    x, eps = torch.tensor(IMAGES), torch.tensor(EPS)
    h = torch.tanh(dense("encoder.trunk.0", x))
    q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
    nlls = []
    for noise in eps:
        z = q.mean + q.stddev * noise
        mean, logdiag = network("mean", z), 6.0 * torch.tanh(network("diagonal", z) / 6.0)
        below, rows = torch.tanh(network("below", z)).reshape(B, 4, H * W), []
        for i in range(H * W):
            entries = [torch.zeros(B, dtype=x.dtype)] * (H * W)
            entries[i] = torch.ones(B, dtype=x.dtype)
            for k, (down, right) in enumerate(((0, -1), (-1, -1), (-1, 0), (-1, 1))):
                r, c = i // W + down, i % W + right
                if r >= 0 and 0 <= c < W:
                    entries[r * W + c] = below[:, k, i]
            rows.append(torch.stack(entries, 1))
        L = torch.stack(rows, 1) * logdiag.exp()[:, None]
        nlls.append(-MultivariateNormal(mean, precision_matrix=L @ L.mT).log_prob(x))
    nll = torch.stack(nlls).mean(0)
    kl = kl_divergence(q, Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1))
    weights = RNG.standard_normal((2, B))
    ((torch.tensor(weights[0]) * nll) + torch.tensor(weights[1]) * kl).sum().backward()
    (ours_nll, ours_kl), pullback = model.elbo_terms(x=IMAGES, eps=EPS)
    for network_ in model.networks.values():
        network_.arena.zero_grad()
    pullback(*weights)
    np.testing.assert_allclose(ours_nll, nll.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(ours_kl, kl.detach().numpy(), rtol=1e-10)
    for name, p in model.parameters().items():
        np.testing.assert_allclose(p.grad, theirs[name].grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)
