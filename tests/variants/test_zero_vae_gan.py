"""Zero-VAE-GAN: who hears what, to the last zero; a bound that is exact where all is linear; PyTorch."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from two_threads import train_alike

from minivae import ops
from minivae.backend import device
from minivae.batch import Batch
from minivae.nn import Activation, Adam, Linear, RMSProp
from minivae.parts import GaussianFixed
from minivae.training import fit
from minivae.vae import Encoder
from minivae.variants import ZeroVAEGANConfig
from minivae.variants.zero_vae_gan import NETWORKS, Told, ZeroVAEGAN

X, A, C, Z, B = 4, 3, 3, 2, 5
RNG = np.random.default_rng(0)
INPUTS = {"x": RNG.standard_normal((B, X)), "a": RNG.standard_normal((B, A)), "labels": np.arange(B) % C}
EPS = dict(zip(("eps", "eps_p"), RNG.standard_normal((2, B, Z))))


def small(dtype=np.float64, likelihood="gaussian_shared", **options):
    model = ZeroVAEGANConfig(X, A, C, (3,), Z, "tanh", likelihood).build(dtype=dtype, **options)
    for i, network in enumerate(model.networks.values()):
        network.arena.value[...] += 0.3 * np.random.default_rng(i).standard_normal(network.arena.value.shape)
    return model


def batch(rows=B, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return Batch(x=rng.standard_normal((rows, X)).astype(dtype), a=rng.standard_normal((rows, A)).astype(dtype),
                 y=np.arange(rows) % C)


def gradients(model, *names):
    """Of all networks, once the losses of these have been pulled back."""
    for network in model.networks.values():
        network.arena.zero_grad()
    _, heard = model._play(**INPUTS, **EPS)
    for name in names:
        heard[name](np.ones(B))
    return {name: network.arena.grad.copy() for name, network in model.networks.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_hears_its_own_loss_and_the_others_hear_nothing(name):
    model = small()
    found = gradients(model, name)
    together = gradients(model, *NETWORKS)[name]
    assert found[name].any()
    np.testing.assert_array_equal(found.pop(name), together)
    assert all(not grad.any() for grad in found.values()), "exactly zero"


@pytest.mark.parametrize(("name", "deaf_to"), [
    ("encoder", {"game": 9.0, "category": 9.0}), ("discriminator", {"game": 9.0, "category": 9.0}),
    ("categoriser", {"game": 9.0, "category": 9.0}),
])
def test_only_the_generator_hears_the_two_judges(name, deaf_to):
    np.testing.assert_array_equal(gradients(small(), name)[name], gradients(small(**deaf_to), name)[name])


def test_the_categoriser_never_learns_from_what_is_made():
    """Another generator makes other features: what the categoriser hears is the same."""
    one, other = small(), small()
    other.networks["generator"].arena.value[...] *= -2.0
    np.testing.assert_array_equal(*(gradients(model, "categoriser")["categoriser"] for model in (one, other)))


def test_without_the_judges_it_is_a_conditional_vae():
    model = small(game=0.0, category=0.0)
    nll, _ = model.loss(of="generator", **INPUTS, **EPS)
    both, _ = model.loss(of="encoder", **INPUTS, **EPS)
    z, _ = ops.concat(EPS["eps"], INPUTS["a"])
    (mean, logvar), _ = model.encoder(INPUTS["x"], a=INPUTS["a"])
    z = np.concatenate([mean + np.exp(0.5 * logvar) * EPS["eps"], INPUTS["a"]], axis=1)
    made = model.generator.f(z)[0]
    std = np.exp(0.5 * model.likelihood.logvar.value)
    np.testing.assert_allclose(nll, (0.5 * ((INPUTS["x"] - made) / std) ** 2 + np.log(std)
                                     + 0.5 * math.log(2 * math.pi)).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(both - nll, 0.5 * (mean**2 + np.exp(logvar) - logvar - 1).sum(axis=1), rtol=1e-12)


def test_the_bound_is_log_p_where_everything_is_linear_and_the_encoder_exact():
    """x = z w + a V + b + ε: log p(x|a) = log N(x; a V + b, w wᵀ + I), and q(z|x, a) is known."""
    rng = np.random.default_rng(1)
    w, V, b = rng.standard_normal((1, X)), rng.standard_normal((A, X)), rng.standard_normal(X)
    encoder = Encoder(Activation(ops.leaky_relu, slope=1.0), Linear(X + A, 1, rng=rng), Linear(X + A, 1, rng=rng))
    generator, variance = Linear(1 + A, X, rng=rng), 1.0 / (1.0 + (w @ w.T).item())
    model = ZeroVAEGAN(Told(encoder), Told(generator), Told(Linear(X + A, 1, rng=rng)), Linear(X, C, rng=rng),
                       GaussianFixed(), sizes=(X, A, C), latents=1, device=device("cpu"), dtype=np.float64)
    generator.W.value[...], generator.b.value[...] = np.concatenate([w, V]), b
    encoder.mean.W.value[...] = variance * np.concatenate([w.T, -V @ w.T])
    encoder.mean.b.value[...] = -variance * (b @ w.T)
    encoder.logvar.W.value[...], encoder.logvar.b.value[...] = 0.0, math.log(variance)
    one, other = (model.loss(of="encoder", **INPUTS, eps=np.full((B, 1), sign), eps_p=np.full((B, 1), sign))[0]
                  for sign in (1.0, -1.0))
    r, covariance = INPUTS["x"] - INPUTS["a"] @ V - b, w.T @ w + np.eye(X)
    log_p = -0.5 * (np.einsum("bi,ij,bj->b", r, np.linalg.inv(covariance), r) + np.linalg.slogdet(covariance)[1]
                    + X * math.log(2 * math.pi))
    np.testing.assert_allclose(-0.5 * (one + other), log_p, rtol=1e-12)      # a square's mean, of two draws: exact


def test_it_draws_what_its_generator_says():
    """x ~ N(Gen(z, a), σ²): over many draws the mean and spread of a linear one are known."""
    model = small()
    model.generator.f = linear = Linear(Z + A, X, rng=np.random.default_rng(2))
    model.likelihood.logvar.value[...] = math.log(0.49)
    a = np.repeat(INPUTS["a"][:1], 200_000, axis=0)
    x = model.generate(a, np.random.default_rng(0))
    np.testing.assert_allclose(x.mean(axis=0), INPUTS["a"][0] @ linear.W.value[Z:], atol=0.02)
    W = linear.W.value[:Z]
    np.testing.assert_allclose(np.cov(x.T), W.T @ W + 0.49 * np.eye(X), atol=0.03)


def test_a_step_reports_a_true_bound_and_jitter_is_for_training_alone():
    models = [small(jitter=jitter) for jitter in (0.0, 0.5)]
    told = [model.train_step(batch(), np.random.default_rng(0)) for model in models]
    assert set(told[0]) == {"elbo", "nll", "kl", "game", "fooled", "category", "category_made"}
    assert told[0]["elbo"] == pytest.approx(-(told[0]["nll"] + told[0]["kl"]))
    assert told[0]["nll"] != told[1]["nll"]
    one, other = (small(jitter=jitter).terms(batch(), np.random.default_rng(0), 3) for jitter in (0.0, 0.5))
    np.testing.assert_array_equal(one, other)


def test_a_float32_step_stays_float32():
    model = small(dtype=np.float32, jitter=0.5)
    told = model.train_step(batch(dtype=np.float32), np.random.default_rng(0))
    assert {np.asarray(value).dtype for value in told.values()} == {np.dtype(np.float32)}
    assert model.generate(batch(dtype=np.float32).a, np.random.default_rng(0)).dtype == np.float32


def test_a_stop_changes_nothing(tmp_path):
    def trained(epochs, **how):
        model = small(dtype=np.float32, jitter=0.3)
        data = batch(60, np.float32)
        return model, fit(model, data, valid=data, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    for name, network in whole.networks.items():
        np.testing.assert_array_equal(resumed.networks[name].arena.value, network.arena.value)
    assert [r["train_game"] for r in again] == [r["train_game"] for r in history]


def test_threads_share_a_batch():
    train_alike(lambda: small(jitter=0.1), batch(64))


def test_its_optimizers_are_rmsprop_unless_told_otherwise():
    model = small(optimizers={"generator": Adam()})
    assert [type(network.optimizer) for network in model.networks.values()] == [RMSProp, Adam, RMSProp, RMSProp]


def test_bad_input_is_named():
    for name in ("game", "category", "jitter"):
        with pytest.raises(ValueError, match=f"{name}: got -1.0, expected at least 0"):
            small(**{name: -1.0})
    with pytest.raises(ValueError, match="likelihood: got 'bernoulli', expected gaussian_shared or gaussian_fixed"):
        small(likelihood="bernoulli")
    with pytest.raises(ValueError, match="attributes: got 0, expected at least 1"):
        ZeroVAEGANConfig(X, 0, C)
    model, data = small(), batch()
    for wrong, said in (({"x": data.x[:, :2]}, r"data\.x: got float64 \(5, 2\), expected floats \(N, 4\)"),
                        ({"a": np.ones((B, A), int)}, r"data\.a: got int64 \(5, 3\), expected floats \(N, 3\)"),
                        ({"y": data.y + 1}, r"data\.y: got int64 \(5,\) from 1 to 3, expected seen classes"),
                        ({"x": data.x * np.nan}, r"data\.x: holds NaN")):
        with pytest.raises(ValueError, match=said):
            model.check(data.but(**wrong), "data")
    with pytest.raises(ValueError, match="ZeroVAEGAN needs a and y"):
        model.check(data.x)


@pytest.mark.peers
def test_pytorch_finds_the_same_losses_and_gradients():
    """A graph for each player, others' parameters detached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Independent, Normal, kl_divergence
    import torch.nn.functional as F
    model = small(game=0.7, category=0.4)
    weight = RNG.standard_normal(B)
    for of in NETWORKS:
        p = {name: torch.tensor(np.array(q.value), requires_grad=name in model.networks[of].arena.parameters)
             for name, q in model.parameters().items()}

        def dense(name, h, p=p):
            return h @ p[f"{name}.W"] + p[f"{name}.b"]

        def net(name, h, dense=dense):
            return dense(f"{name}.2", torch.tanh(dense(f"{name}.0", h)))

        x, a, labels = (torch.tensor(value) for value in INPUTS.values())
        h = torch.tanh(dense("encoder.f.trunk.0", torch.cat([x, a], 1)))
        q = Independent(Normal(dense("encoder.f.mean", h), torch.exp(0.5 * dense("encoder.f.logvar", h))), 1)
        codes = (q.mean + q.stddev * torch.tensor(EPS["eps"]), torch.tensor(EPS["eps_p"]))
        again, dreamt = (net("generator.f", torch.cat([z, a], 1)) for z in codes)
        nll = -Independent(Normal(again, torch.exp(0.5 * p["likelihood.logvar"])), 1).log_prob(x)
        kl = kl_divergence(q, Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1))
        real, *made = (net("discriminator.f", torch.cat([some, a], 1))[:, 0] for some in (x, again, dreamt))
        known, *taken = (F.cross_entropy(net("categoriser", some), labels, reduction="none")
                         for some in (x, again, dreamt))
        losses = {"encoder": nll + kl,
                  "generator": nll - 0.7 * sum(map(F.logsigmoid, made)) + 0.4 * sum(taken),
                  "discriminator": -F.logsigmoid(real) - sum(F.logsigmoid(-logit) for logit in made),
                  "categoriser": known}
        (torch.tensor(weight) @ losses[of]).backward()
        loss, pullback = model.loss(of=of, **INPUTS, **EPS)
        model.networks[of].arena.zero_grad()
        pullback(weight)
        np.testing.assert_allclose(loss, losses[of].detach().numpy(), rtol=1e-10)
        for name, q in model.networks[of].arena.parameters.items():
            np.testing.assert_allclose(q.grad, p[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
