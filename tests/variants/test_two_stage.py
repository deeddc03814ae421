"""The two-stage VAE: one bound of both stages, who hears what, and where samples come from."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.backend import device
from minivae.batch import Batch
from minivae.data import load
from minivae.evaluation import Estimate, log_likelihoods
from minivae.nn import Adam, Linear
from minivae.parts import GaussianFixed
from minivae.training import Recipe, fit, load_run
from minivae.vae import VAE, Encoder
from minivae.variants import TwoStage, TwoStageConfig, VAEConfig

RNG = np.random.default_rng(0)
X, B = 3, 5
DATA = RNG.standard_normal((B, X))


def linear_vae(pixels, latents, std, seed):
    """Linear encoder and decoder, the noise given; q is wide, or its weights would have no variance"""
    rng = np.random.default_rng(seed)
    encoder = Encoder(*(Linear(n, m, rng=rng) for n, m in ((pixels, 4), (4, latents), (4, latents))))
    for p in encoder.parameters().values():
        p.value *= 0.3
    return VAE(encoder, Linear(latents, pixels, rng=rng), GaussianFixed(std), pixels=pixels, latents=latents,
               device=device("cpu"), dtype=np.float64)


def small(first_steps=2, **options):
    found = TwoStageConfig(VAEConfig(X, (4,), 2, "tanh", "gaussian_shared"), (6,)).build(
        dtype=np.float64, first_steps=first_steps, **options)
    for network in found.networks.values():
        steady = {id(p) for name, p in network.arena.parameters.items() if "likelihood" in name}
        for p in network.arena.parameters.values():
            if id(p) not in steady:
                p.value[...] += 0.3 * RNG.standard_normal(p.value.shape)
    return found


def state(model):
    return {name: network.arena.value.tobytes() for name, network in model.networks.items()}


# ── the bound ─────────────────────────────────────────────────────────────────────────────────


def test_both_stages_together_are_a_model_of_x_whose_log_p_is_known():
    """z = a + V u + s ε, x = b + W z + t ε: x ~ N(b + a W, t² I + Wᵀ (s² I + Vᵀ V) W)"""
    model = TwoStage(linear_vae(X, 2, 0.8, 1), linear_vae(2, 2, 0.6, 2), first_steps=0)
    (W, b), (V, a) = ((vae.decoder.W.value, vae.decoder.b.value) for vae in (model.first, model.second))
    rng = np.random.default_rng(1)                     # the same wherever this test stands among the others
    b[...], a[...] = rng.standard_normal(X), rng.standard_normal(2)
    C = 0.64 * np.eye(X) + W.T @ (0.36 * np.eye(2) + V.T @ V) @ W
    offset = DATA - b - a @ W
    exact = -0.5 * (np.einsum("bi,ij,bj->b", offset, np.linalg.inv(C), offset) + np.linalg.slogdet(2 * np.pi * C)[1])
    weights = np.exp(model.log_weights(DATA, np.random.default_rng(0), 100_000) - exact)          # of mean 1
    error = weights.std(axis=0) / np.sqrt(len(weights))
    assert (np.abs(weights.mean(axis=0) - 1.0) < 5 * error).all()
    assert error.max() < 0.1
    many = np.tile(DATA, (400, 1))
    bounds = [Estimate.of(log_likelihoods(model, many, samples=K).reshape(400, B).mean(axis=1)) for K in (1, 5)]
    elbo = Estimate.of(np.concatenate([model.elbo(many, np.random.default_rng(s), samples=3) for s in range(3)]))
    assert elbo.mean < bounds[1].mean < exact.mean()
    assert abs(elbo.mean - bounds[0].mean) < 5 * (elbo.standard_error + bounds[0].standard_error)


def test_a_second_stage_that_is_n01_gives_the_first_bound():
    """p₂(z) = N(0, I) exactly, where q(u|z) is its prior and z = σ ε with σ = 1: the total is the first's own bound."""
    first, second = linear_vae(X, 2, 0.8, 1), linear_vae(2, 2, 1.0, 2)
    for p in second.parameters().values():
        p.value[...] = 0.0
    model = TwoStage(first, second, first_steps=0)
    many = np.repeat(DATA, 20_000, axis=0)
    together, alone = (bound.elbo(many, np.random.default_rng(0)).reshape(B, -1) for bound in (model, first))
    error = (together - alone).std(axis=1) / np.sqrt(20_000)
    assert (np.abs((together - alone).mean(axis=1)) < 5 * error).all()


# ── who hears what ────────────────────────────────────────────────────────────────────────────


def test_the_first_learns_first_and_then_never_again():
    model, rng = small(), np.random.default_rng(0)
    for step in range(4):
        before, terms = state(model), model.train_step(DATA, rng)
        assert {name for name, value in state(model).items() if value != before[name]} == {
            "first" if step < 2 else "second"}
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))


def test_the_second_climbs_its_own_bound_on_the_codes():
    model = small(first_steps=0)
    before = model.networks["second"].moment()
    model.train_step(DATA, np.random.default_rng(3))
    eps, eps_u = np.random.default_rng(3).standard_normal((2, B, 2))
    ours, z = model.second.arena.grad.copy(), model.codes(x=DATA, eps=eps)[0]
    units = model.second.likelihood
    np.testing.assert_allclose(units.shift.value, z.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(units.scale.value, z.std(axis=0), rtol=1e-5)
    model.second.optimizer.steps, shift, scale = 0, units.shift.value.copy(), units.scale.value.copy()
    model.networks["second"].go_back(before)
    units.shift.value[...], units.scale.value[...] = shift, scale
    model.second.arena.zero_grad()
    model.second.objective(model.second, x=z, eps=eps_u[None], weight=1.0 / B, step=0)
    np.testing.assert_allclose(ours, model.second.arena.grad, rtol=1e-10, atol=1e-14)
    assert np.abs(ours).max() > 1e-3


def test_threads_and_a_stop_between_the_stages_change_nothing(tmp_path):
    images = load("digits").train[:60]
    size = TwoStageConfig(VAEConfig(784, (16,), 3, likelihood="gaussian_shared"), (8, 8))

    def trained(epochs, threads=1, **how):
        model = size.build(images=images, first_steps=4, optimizers=(Adam(2e-3), None))
        return model, fit(model, images, valid=images, epochs=epochs, batch_size=20, progress=False, threads=threads,
                          **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]
    assert trained(3, threads=2)[1][-1]["train_elbo"] == pytest.approx(history[-1]["train_elbo"], rel=1e-5)


# ── samples ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("best", [False, True])
def test_a_run_that_is_loaded_says_what_it_said_when_it_was_trained(best, tmp_path):
    """The bound of both: a model that did not know its steps would give the first one's."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((240, 1, 1)) * np.arange(6.0).reshape(2, 3) + 0.1 * rng.standard_normal((240, 2, 3))
    np.savez(tmp_path / "mine.npz", train=images[:200], test=images[200:])
    recipe = Recipe(data=str(tmp_path / "mine.npz"), model="two_stage", likelihood="gaussian_shared", hidden=(8,),
                    latents=2, second_hidden=(8,), epochs=6, first_epochs=2, batch_size=20, lr=1e-2)
    dataset = load(recipe.data)
    model, history = recipe.train(dataset, device("cpu"), run=tmp_path / "run", progress=False)
    again, _, _ = load_run(tmp_path / "run", device("cpu"), best=best)
    assert max(history, key=lambda record: record["valid_elbo"])["epoch"] > 2, "the best epoch is one of both"
    assert all(network.optimizer.steps > 0 for network in again.networks.values())
    x = recipe.test(dataset).x
    both, alone = (m.elbo(x, np.random.default_rng(0)) for m in (again, again.first))
    assert np.abs(both - alone).max() > 0.01
    if not best:
        np.testing.assert_allclose(both, model.elbo(x, np.random.default_rng(0)), rtol=1e-6)


def test_codes_are_drawn_with_the_mean_and_the_covariance_of_the_second_stage():
    model = TwoStage(linear_vae(X, 2, 0.8, 1), linear_vae(2, 2, 0.6, 2), first_steps=0)
    V, a = model.second.decoder.W.value, model.second.decoder.b.value
    a[...] = 1.0, -2.0
    z, n = model.sample_codes(200_000, np.random.default_rng(0)), 200_000
    C = 0.36 * np.eye(2) + V.T @ V
    assert (np.abs(z.mean(axis=0) - a) < 5 * np.sqrt(np.diag(C) / n)).all()
    assert (np.abs(np.cov(z.T) - C) < 5 * np.sqrt((np.outer(np.diag(C), np.diag(C)) + C**2) / n)).all()
    assert model.sample(3, np.random.default_rng(0)).shape == (3, X)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="second: got a VAE of 3 numbers, expected 2, the latents of the first"):
        TwoStage(linear_vae(X, 2, 1.0, 0), linear_vae(3, 2, 1.0, 0), first_steps=1)
    with pytest.raises(ValueError, match=r"got shape \(5, 4\)"):
        small().check(Batch(x=np.ones((5, 4))))
