"""The infinite VAE: one component is a VAE, the mixture's bound, whose images are whose, and what PyTorch says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minivae.backend import device
from minivae.batch import Batch
from minivae.data import load
from minivae.evaluation import components_found, log_likelihoods
from minivae.nn import Adam, Layer, Linear
from minivae.parts import GaussianFixed
from minivae.training import fit
from minivae.vae import VAE, Encoder
from minivae.variants import InfiniteVAE, InfiniteVAEConfig, VAEConfig, crp_sweep
from minivae.variants.probabilistic_pca import as_vae, log_p, probabilistic_pca

X, Z, B, N = 4, 2, 5, 12
RNG = np.random.default_rng(0)
IMAGES, EPS = 1.0 * (RNG.random((B, X)) < 0.5), RNG.standard_normal((3, B, Z))
INDEX = np.array([3, 0, 7, 11, 5])


def small(components=3, seats=(0, 0, 0, 2, 2, -1, -1, -1, -1, -1, -1, -1), first_steps=0, **options):
    """Some images have a component; all parameters moved away from where they are born, each VAE's its own way."""
    model = InfiniteVAEConfig(VAEConfig(X, (3,), Z, "tanh"), components, **options).build(
        examples=N, dtype=np.float64, first_steps=first_steps)
    for i, vae in enumerate((model.base, *model.vaes)):
        vae.arena.value[...] += 0.5 * np.random.default_rng(i).standard_normal(vae.arena.value.shape)
    model.seats.value[...] = seats
    return model


def batch(index=INDEX, x=IMAGES):
    return Batch(x=x, index=np.asarray(index))


# ── the bound ─────────────────────────────────────────────────────────────────────────────────


def test_with_one_component_and_no_new_ones_it_is_a_vae():
    model = small(seats=[1] * N, concentration=1e-300)
    alone, rngs = model.vaes[1], [np.random.default_rng(3) for _ in range(4)]
    for ours, theirs in zip(model.terms(IMAGES, rngs[0], 2), alone.terms(IMAGES, rngs[1], 2)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.log_weights(IMAGES, rngs[2], 4), alone.log_weights(IMAGES, rngs[3], 4), atol=1e-12)
    rngs = [np.random.default_rng(4) for _ in range(2)]
    np.testing.assert_array_equal(model.sample(6, rngs[0]).shape, (6, X))
    np.testing.assert_allclose(model.responsibilities(IMAGES), 1.0)


def test_the_bound_is_that_of_the_mixture_and_its_terms_are_its_parts():
    model = small()
    weights = np.array([3, 2, 1.0]) / 6.0
    each = [-sum(vae.elbo_terms(x=IMAGES, eps=EPS)[0]) for vae in (model.vaes[0], model.vaes[2], model.base)]
    bound, _ = model.mixture_bound(x=IMAGES, eps=EPS)
    np.testing.assert_allclose(bound, np.log(weights @ np.exp(each)), rtol=0, atol=1e-12)
    nll, kl = model.terms(IMAGES, np.random.default_rng(1), 3)
    eps = np.random.default_rng(1).standard_normal((3, B, Z))
    np.testing.assert_allclose(-(nll + kl), model.mixture_bound(x=IMAGES, eps=eps)[0], rtol=0, atol=1e-12)
    each = [vae.elbo_terms(x=IMAGES, eps=eps)[0] for vae in (model.vaes[0], model.vaes[2], model.base)]
    r = weights[:, None] * np.exp([-nll - kl for nll, kl in each])
    r /= r.sum(axis=0)
    np.testing.assert_allclose(nll, sum(r_c * nll_c for r_c, (nll_c, _) in zip(r, each)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(kl, sum(r_c * kl_c for r_c, (_, kl_c) in zip(r, each))
                               + (r * np.log(r / weights[:, None])).sum(axis=0), rtol=0, atol=1e-12)


def test_its_weights_average_to_p_of_x_of_the_mixture():
    """Linear components, whose density is known: log p(x) = log Σ π_c N(x; …)."""
    rng = np.random.default_rng(0)
    known = [probabilistic_pca(rng.standard_normal((50, X)) * (1.0 + np.arange(X)) + 3.0 * i, 2) for i in range(3)]
    base, *vaes = (as_vae(*parameters) for parameters in known)
    model = InfiniteVAE(base, vaes, images=8, concentration=0.5)
    model.seats.value[...] = [0, 0, 0, 0, 1, 1, -1, -1]
    x = rng.standard_normal((7, X)) + 3.0
    densities = np.exp([log_p(x, *parameters) for parameters in known])
    exact = np.log(np.array([0.5, 4.0, 2.0]) / 6.5 @ densities)
    np.testing.assert_allclose(log_likelihoods(model, x, samples=5), exact, rtol=0, atol=1e-8)


def test_the_draw_of_a_component_is_on_average_the_responsibility():
    """So one step on the component that was drawn climbs, on average, the mixture's bound."""
    model = small(draws=1)
    eps, drawn = RNG.standard_normal((1, B, Z)), np.zeros((B, 4))
    bounds = model._bounds(IMAGES, eps)
    assert np.isneginf(bounds[:, 1]).all()
    np.testing.assert_allclose(bounds[:, 3], -sum(model.base.monte_carlo_terms(x=IMAGES, eps=eps)[0]), atol=1e-12)
    joint = np.exp(bounds) * np.array([3, 0, 2, 1])
    rng, tries = np.random.default_rng(5), 4000
    for b in range(B):                                               # one guest at a time, who had no seat
        for _ in range(tries):
            seats, opened = crp_sweep(bounds[[b]], model.seats.value.astype(int), guests=np.array([9]),
                                      concentration=1.0, gumbel=rng.gumbel(size=(1, 4)))
            drawn[b, 3 if opened else seats[9]] += 1 / tries
    r = joint / joint.sum(axis=1, keepdims=True)
    assert (np.abs(drawn - r) < 5 * np.sqrt(r * (1 - r) / tries) + 1e-9).all()


def test_noise_opens_nothing():
    """With ε of its own, a component that explains an image as well as the base does would lose it by luck."""
    model = small(seats=[0] * N, draws=1)
    model.vaes[0].arena.value[...] = model.base.arena.value
    bounds = model._bounds(IMAGES, RNG.standard_normal((1, B, Z)))
    assert np.array_equal(bounds[:, 0], bounds[:, 3])
    lost, rng = 0, np.random.default_rng(0)
    for _ in range(2000):
        _, opened = crp_sweep(bounds, np.zeros(N, int), guests=INDEX, concentration=0.01,
                              gumbel=rng.gumbel(size=(B, 4)))
        lost += len(opened)
    assert lost / (2000 * B) < 3 * 0.01 / (N - 1)                   # as often as the prior says, 1 in 1,100


# ── who hears what ────────────────────────────────────────────────────────────────────────────


def state(model):
    return {name: network.arena.value.tobytes() for name, network in model.networks.items()}


def test_the_base_learns_first_and_then_those_who_have_images():
    model, rng = small(seats=[-1] * N, first_steps=2), np.random.default_rng(0)
    for step in range(5):
        before, terms = state(model), model.train_step(batch(), rng)
        moved = {name for name, value in state(model).items() if value != before[name]}
        if step < 2:
            assert moved == {"base"}
            assert terms["components"] == 0.0
        else:
            own = {str(c) for c in np.unique(model.seats.value[INDEX]).astype(int)}
            assert own <= moved - {"seats"}                           # and those that were opened, and lost again
            assert "base" not in moved
            assert terms["components"] == model.components > 0
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
    assert set(np.flatnonzero(model.seats.value >= 0)) == set(INDEX)


def test_each_component_steps_up_the_elbo_of_its_own_images():
    model = small(components=2, seats=[0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1], concentration=1e-300)
    before = [vae.network.moment() for vae in model.vaes]
    terms = model.train_step(batch(), np.random.default_rng(2))
    ours = [vae.arena.grad.copy() for vae in model.vaes]
    eps = np.random.default_rng(2).standard_normal((6, B, Z))[:1]
    seats, elbo = model.seats.value[INDEX].astype(int), 0.0
    for c, vae in enumerate(model.vaes):
        vae.network.go_back(before[c])
        vae.arena.zero_grad()
        own = seats == c
        if own.any():
            elbo += vae.objective(vae, x=IMAGES[own], eps=eps[:, own], weight=1.0 / B, step=0)[0]
            elbo += own.sum() / B * np.log(model.sizes[c] / N)
            np.testing.assert_allclose(ours[c], vae.arena.grad, rtol=0, atol=1e-14)
    assert terms["elbo"] == pytest.approx(elbo, abs=1e-12)


def test_what_is_new_is_a_copy_of_the_base_with_nothing_remembered():
    model = small(components=2, seats=[0] * N, concentration=1.0, draws=1)
    for vae in model.vaes:                                            # nothing but a new one can explain anything
        vae.decoder.layers[-1].b.value[...] = np.where(IMAGES[0] > 0.5, -40.0, 40.0)
    model.vaes[1].optimizer.steps = 77
    x = np.tile(IMAGES[:1], (B, 1))
    model.train_step(batch(x=x), np.random.default_rng(0))
    assert model.seats.value[INDEX].tolist() == [1] * B
    assert model.vaes[1].optimizer.steps == 1
    assert 0 < np.abs(model.vaes[1].arena.value - model.base.arena.value).max() < 2e-3      # one step of Adam
    assert model.components == 2


# ── as many as there are ──────────────────────────────────────────────────────────────────────


def lines(seed):
    """100 points along each of three lines in six dimensions, apart from each other and at right angles."""
    rng, q = np.random.default_rng(seed), np.linalg.qr(np.random.default_rng(9).standard_normal((6, 6)))[0]
    kind = np.arange(300) % 3
    x = q[kind] + rng.standard_normal((300, 1)) * q[3 + kind] + 0.15 * rng.standard_normal((300, 6))
    return x.astype(np.float32), kind


class Same(Layer):
    """y = x"""

    def __call__(self, x):
        return x, lambda dy, need_dx=True, need_dp=True: dy


def linear(seed):
    """A VAE that is a line: one latent, linear networks."""
    rng = np.random.default_rng(seed)
    return VAE(Encoder(Same(), Linear(6, 1, rng=rng), Linear(6, 1, rng=rng)), Linear(1, 6, rng=rng),
               GaussianFixed(0.2), pixels=6, latents=1, device=device("cpu"), optimizer=Adam(0.05))


def found_among(concentration, seed):
    x, kind = lines(seed)
    model = InfiniteVAE(linear(seed), [linear(seed) for _ in range(8)], images=300, concentration=concentration,
                        draws=3, first_steps=30)
    fit(model, Batch(x=x, index=np.arange(300)), epochs=60, batch_size=50, progress=False, seed=seed)
    return components_found(model, Batch(x=x, y=kind))


def test_three_lines_are_found():
    """Not by every seed: one guest at a time cannot part what has grown together, nor join what has been parted."""
    found = [found_among(0.1, seed) for seed in range(3)]
    assert sum(row.purity > 0.99 for row in found) >= 2
    assert sorted(np.count_nonzero(row.sizes > 5) for row in found)[1] in (3, 4)
    assert str(found[0]).startswith("components: ")


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [0.1, 1.0])
def test_three_lines_are_found_by_most_seeds(concentration):
    found = [found_among(concentration, seed) for seed in range(12)]
    assert sum(row.purity > 0.99 for row in found) >= 9
    assert np.median([np.count_nonzero(row.sizes > 5) for row in found]) in (3, 3.5, 4)


# ── resume, threads ───────────────────────────────────────────────────────────────────────────


def test_a_stop_changes_nothing_and_threads_hardly_anything(tmp_path):
    x = load("digits").train[:80]

    def trained(epochs, threads=1, **how):
        model = InfiniteVAEConfig(VAEConfig(784, (16,), 2), 4).build(
            examples=80, images=x, first_steps=4, optimizer=lambda: Adam(2e-3))
        history = fit(model, Batch(x=x, index=np.arange(80)), valid=x, epochs=epochs, batch_size=20, progress=False,
                      threads=threads, **how)
        return model, history

    whole, history = trained(4)
    trained(2, run=tmp_path / "run")
    resumed, again = trained(4, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]
    assert history[0]["train_components"] == 0.0 < history[-1]["train_components"]
    assert trained(4, threads=2)[1][-1]["train_elbo"] == pytest.approx(history[-1]["train_elbo"], rel=1e-3)


# ── what is to be seen ────────────────────────────────────────────────────────────────────────


def test_features_and_codes_are_those_of_the_components():
    model = small()
    r, features = model.responsibilities(IMAGES), model.features(IMAGES)
    assert features.shape == (B, 2 * (1 + Z))
    np.testing.assert_allclose(r.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(features[:, :2], r)
    means = [model.vaes[c].encode(IMAGES)[0] for c in (0, 2)]         # the largest first
    np.testing.assert_allclose(features[:, 2:4], r[:, :1] * means[0])
    best = r.argmax(axis=1)
    np.testing.assert_allclose(model.encode(IMAGES)[0], np.where(best[:, None] == 0, *means))
    assert model.reconstruct(IMAGES, np.random.default_rng(0)).shape == (B, X)
    assert model.sample_clusters(3, np.random.default_rng(0)).shape == (6, X)


def test_samples_come_from_the_components_as_often_as_they_weigh():
    model = small(seats=[0] * 6 + [2] * 3 + [-1] * 3, concentration=3.0)
    for value, vae in zip((9.0, 3.0, -9.0), (model.vaes[0], model.vaes[2], model.base)):
        vae.decoder.layers[-1].W.value[...], vae.decoder.layers[-1].b.value[...] = 0.0, value
    drawn = model.sample(3000, np.random.default_rng(0))[:, 0]
    for p, share in ((1 / (1 + np.exp(-9.0)), 0.5), (1 / (1 + np.exp(-3.0)), 0.25), (1 / (1 + np.exp(9.0)), 0.25)):
        assert abs(np.isclose(drawn, p).mean() - share) < 0.05
    first = np.isclose(drawn, 1 / (1 + np.exp(-9.0)))
    assert 0.4 < first[:1000].mean() < 0.6                           # not one component after another


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="concentration: got 0, expected a number > 0"):
        small(concentration=0)
    with pytest.raises(ValueError, match="vaes: got 0, expected at least 1"):
        small(components=0)
    other = VAEConfig(X, (4,), Z).build(dtype=np.float64)
    with pytest.raises(ValueError, match="vaes: number 0 has 72 parameters, expected 56, as many as the base"):
        InfiniteVAE(small().base, [other], images=N)
    with pytest.raises(ValueError, match="to learn, an InfiniteVAE needs index, and the data have only x"):
        small().train_step(Batch(x=IMAGES), RNG)
    with pytest.raises(ValueError, match=r"images: got an index of 0 … 12, expected 0 … 11"):
        small().check(batch(index=[0, 1, 2, 3, 12]), "images")
    assert components_found(small(), IMAGES).purity is None


# ── an independent judge ──────────────────────────────────────────────────────────────────────


@pytest.mark.peers
def test_pytorch_finds_the_same_bound_and_gradients():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
    model, x, eps = small(), torch.tensor(IMAGES), torch.tensor(EPS)
    in_use = {"0": 3.0, "2": 2.0, "base": 1.0}
    theirs = {name: {key: torch.tensor(p.value, requires_grad=True) for key, p in
                     model.networks[name].arena.parameters.items()} for name in in_use}

    def elbo(p):
        def dense(name, h):
            return h @ p[f"{name}.W"] + p[f"{name}.b"]
        h = torch.tanh(dense("encoder.trunk.0", x))
        q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
        z = q.mean + q.stddev * eps
        logits = dense("decoder.2", torch.tanh(dense("decoder.0", z)))
        prior = Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1)
        return Independent(Bernoulli(logits=logits), 1).log_prob(x).mean(0) - kl_divergence(q, prior)

    joint = [np.log(weight / 6.0) + elbo(theirs[name]) for name, weight in in_use.items()]
    bound = torch.logsumexp(torch.stack(joint), 0)
    dbound = RNG.standard_normal(B)
    (bound * torch.tensor(dbound)).sum().backward()
    ours, pullback = model.mixture_bound(x=IMAGES, eps=EPS)
    for name in in_use:
        model.networks[name].arena.zero_grad()
    pullback(dbound)
    np.testing.assert_allclose(ours, bound.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name in in_use:
        for key, p in model.networks[name].arena.parameters.items():
            np.testing.assert_allclose(p.grad, theirs[name][key].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=key)
