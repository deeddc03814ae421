"""VAE/GAN: who hears what, to the last zero; what it is without a game; the best discriminator; PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from two_threads import train_alike

from minivae import ops
from minivae.backend import device
from minivae.data import load
from minivae.distributions import gaussian_nll_fixed
from minivae.nn import Activation, Adam, Arena, Linear, RMSProp, mlp
from minivae.training import fit
from minivae.variants import ConvVAEConfig, VAEConfig, VAEGANConfig
from minivae.variants.vae_gan import EVEN, Discriminator

X, Z, B = 4, 2, 5
RNG = np.random.default_rng(0)
IMAGES, EPS = 1.0 * (RNG.random((B, X)) < 0.5), RNG.standard_normal((2, B, Z))
NAMES = ("encoder", "decoder", "discriminator")
either_network = pytest.mark.parametrize("conv", [False, True], ids=["mlp", "conv"])


def small(likelihood="bernoulli", conv=False, **options):
    sizes = (ConvVAEConfig(2, 2, filters=(3,), dense=3, latents=Z, likelihood=likelihood) if conv
             else VAEConfig(X, (3,), Z, "tanh", likelihood))
    model = VAEGANConfig(sizes, features=3).build(dtype=np.float64, **options)
    for i, network in enumerate(model.networks.values()):
        network.arena.value[...] += 0.3 * np.random.default_rng(i).standard_normal(network.arena.value.shape)
    model.game.value[...] = EVEN
    return model


def gradients(model):
    return {name: network.arena.grad.copy() for name, network in model.networks.items()}


def played(model):
    for network in model.networks.values():
        network.arena.zero_grad()
    return model._play(x=IMAGES, eps=EPS[0], eps_p=EPS[1])


@either_network
@pytest.mark.parametrize("name", NAMES)
def test_each_network_hears_its_own_loss_and_the_others_hear_nothing(name, conv):
    model = small(conv=conv)
    _, heard = played(model)
    heard[name](np.ones(B))
    found = gradients(model)
    assert found.pop(name).any()
    assert all(not grad.any() for grad in found.values()), "exactly zero"


@either_network
def test_the_discriminator_never_hears_likeness(conv):
    """Whatever the features say of reconstructions: its gradient is that of the game alone, twice called or once."""
    model = small(conv=conv)
    _, heard = played(model)
    heard["discriminator"](np.ones(B))
    alone = gradients(model)["discriminator"]
    _, heard = played(model)
    for name in NAMES:
        heard[name](np.ones(B))
    np.testing.assert_array_equal(gradients(model)["discriminator"], alone)


def test_the_encoder_hears_no_game():
    """Another head is another game, and the same features: the encoder's gradient is the same."""
    found = []
    for head in (1.0, -5.0):
        model = small()
        model.discriminator.head.W.value[...] *= head
        _, heard = played(model)
        heard["encoder"](np.ones(B))
        found.append(gradients(model)["encoder"])
    np.testing.assert_array_equal(*found)


def test_where_the_features_are_the_pixels_and_nobody_plays_it_is_a_gaussian_vae():
    model = small("gaussian_fixed")
    model.discriminator.trunk, model.discriminator.head = Activation(ops.leaky_relu, slope=1.0), Linear(X, 1, rng=RNG)
    model.discriminator.head.W.value[...] = 0.0
    loss, _ = model.loss(of="encoder", x=IMAGES, eps=EPS[0], eps_p=EPS[1])
    (nll, kl), _ = model.elbo_terms(x=IMAGES, eps=EPS[:1])
    np.testing.assert_allclose(loss, nll + kl - gaussian_nll_fixed(IMAGES, x=IMAGES)[0], rtol=1e-12)
    game, _ = model.loss(of="discriminator", x=IMAGES, eps=EPS[0], eps_p=EPS[1])
    np.testing.assert_allclose(game, EVEN, rtol=1e-12)


def test_the_best_discriminator_is_p_over_p_plus_q():
    """Of N(0, 1) and N(1, 1): D(x) = 1 / (1 + exp(x − ½))        (Goodfellow et al. 2014, proposition 1)"""
    rng = np.random.default_rng(0)
    judge = Discriminator(mlp(1, 16, rng=rng, activation="tanh", last=True), Linear(16, 1, rng=rng))
    arena, optimizer = Arena(judge.parameters(), device("cpu"), np.float64), Adam(1e-2)
    for _ in range(400):
        arena.zero_grad()
        for x, sign in ((rng.standard_normal((500, 1)), -1.0), (1.0 + rng.standard_normal((500, 1)), 1.0)):
            (features, logit), pull = judge(x)
            _, pull_loss = ops.softplus(sign * logit)
            pull(0.0 * features, sign * pull_loss(np.full(500, 1 / 500)), need_dx=False)
        optimizer.step(arena)
    x = np.linspace(-1.5, 2.5, 9)[:, None]
    np.testing.assert_allclose(1 / (1 + np.exp(-judge(x)[0][1])), 1 / (1 + np.exp(x[:, 0] - 0.5)), atol=0.06)


def test_who_is_ahead_is_paused():
    model = small(margin=0.5)
    for loss, awake in ((EVEN, NAMES), (EVEN - 1.0, NAMES[:2]), (EVEN + 1.0, ("encoder", "discriminator"))):
        model.game.value[...] = loss
        before = {name: network.arena.value.copy() for name, network in model.networks.items()}
        terms = model.train_step(IMAGES, np.random.default_rng(0))
        moved = {name for name, network in model.networks.items()
                 if not np.array_equal(np.delete(network.arena.value, -1), np.delete(before[name], -1))}
        assert moved == set(awake)
        assert model.game.value == pytest.approx(terms["game"])
    free = small()
    free.game.value[...] = 0.0
    assert free._awake() == list(NAMES), "without a margin nobody waits"


def test_a_step_reports_a_true_bound():
    model = small()
    terms = model.train_step(IMAGES, np.random.default_rng(0))
    assert set(terms) == {"elbo", "nll", "kl", "likeness", "game", "fooled"}
    assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))


@pytest.mark.parametrize("sizes", [VAEConfig(784, (8,), Z), ConvVAEConfig(filters=(2, 3), dense=5, latents=Z)],
                         ids=["mlp", "conv"])
@pytest.mark.parametrize("margin", [None, 0.2])
def test_a_stop_changes_nothing(margin, sizes, tmp_path):
    x = load("digits").train[:60]

    def trained(epochs, **how):
        model = VAEGANConfig(sizes, features=6).build(images=x, margin=margin)
        return model, fit(model, x, valid=x, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    for name, network in whole.networks.items():
        np.testing.assert_array_equal(resumed.networks[name].arena.value, network.arena.value)
    assert [r["train_game"] for r in again] == [r["train_game"] for r in history]


@either_network
def test_threads_share_a_batch(conv):
    train_alike(lambda: small(conv=conv, margin=0.1), 1.0 * (RNG.random((64, X)) < 0.5))


def test_its_discriminator_is_convolutional_where_its_vae_is():
    model = small(conv=True)
    found = [type(layer).__name__ for layer in model.discriminator.trunk.layers]
    assert found == ["Reshape", "Conv2d", "Activation", "Reshape", "Linear", "Activation"]
    assert {layer.op for layer in model.discriminator.trunk.layers if isinstance(layer, Activation)} == {ops.leaky_relu}
    vae = ConvVAEConfig(2, 2, filters=(3,), dense=3, latents=Z).build(seed=4)
    sizes = VAEGANConfig(ConvVAEConfig(2, 2, filters=(3,), dense=3, latents=Z)).build(seed=4)
    for name, p in vae.parameters().items():
        np.testing.assert_array_equal(p.value, sizes.parameters()[name].value, err_msg="the VAE of its size")


def test_its_optimizers_are_rmsprop_unless_told_otherwise():
    model = small(optimizers={"decoder": Adam()})
    assert [type(network.optimizer) for network in model.networks.values()] == [RMSProp, Adam, RMSProp]


def test_bad_input_is_named():
    for options, said in (({"gamma": -1.0}, "gamma: got -1.0, expected at least 0"),
                          ({"margin": 0.0}, "margin: got 0.0, expected a number > 0, or None")):
        with pytest.raises(ValueError, match=said):
            small(**options)
    with pytest.raises(ValueError, match="likelihood: got 'gaussian_pixel', expected bernoulli or gaussian_fixed"):
        VAEGANConfig(VAEConfig(X, likelihood="gaussian_pixel"))
    with pytest.raises(ValueError, match="features: got 0, expected at least 1"):
        VAEGANConfig(VAEConfig(X), features=0)


@pytest.mark.peers
@either_network
def test_pytorch_finds_the_same_losses_and_gradients(conv):
    """A graph for each player, others' parameters detached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Independent, Normal, kl_divergence
    import torch.nn.functional as F
    model = small(conv=conv, gamma=0.7)
    weight = RNG.standard_normal(B)
    for of in NAMES:
        p = {name: torch.tensor(q.value, requires_grad=name.startswith(of)) for name, q in model.parameters().items()
             if name != "game"}

        def dense(name, h, p=p):
            return h @ p[f"{name}.W"] + p[f"{name}.b"]

        def planes(name, h, convolve, p=p):             # of whole images: a 2×2 picture becomes 1×1, or the reverse
            return convolve(h, p[f"{name}.W"].permute(3, 2, 0, 1), p[f"{name}.b"], stride=2, padding=1)

        def halved(part, x, act):
            h = act(planes(f"{part}.1", x.reshape(-1, 1, 2, 2), F.conv2d))
            return act(dense(f"{part}.4", h.flatten(1)))

        def decoded(z):
            if not conv:
                return torch.sigmoid(dense("decoder.2", torch.tanh(dense("decoder.0", z))))
            h = F.relu(dense("decoder.2", F.relu(dense("decoder.0", z))))
            return torch.sigmoid(planes("decoder.5", h.reshape(-1, 3, 1, 1), F.conv_transpose2d).flatten(1))

        def seen(image):
            f = (halved("discriminator.trunk", image, F.leaky_relu) if conv else F.leaky_relu(
                dense("discriminator.trunk.2", F.leaky_relu(dense("discriminator.trunk.0", image)))))
            return f, dense("discriminator.head", f)[:, 0]

        x, (eps, eps_p) = torch.tensor(IMAGES), torch.tensor(EPS)
        h = halved("encoder.trunk", x, F.relu) if conv else torch.tanh(dense("encoder.trunk.0", x))
        q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
        made = [decoded(z) for z in (q.mean + q.stddev * eps, eps_p)]
        (f, a), (f_again, a_again), (_, a_dreamt) = map(seen, (x, *made))
        likeness = 0.5 * (f - f_again).square().sum(1)
        kl = kl_divergence(q, Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1))
        losses = {"encoder": kl + likeness,
                  "decoder": 0.7 * likeness - F.logsigmoid(a_again) - F.logsigmoid(a_dreamt),
                  "discriminator": -F.logsigmoid(a) - F.logsigmoid(-a_again) - F.logsigmoid(-a_dreamt)}
        (torch.tensor(weight) @ losses[of]).backward()
        loss, pullback = model.loss(of=of, x=IMAGES, eps=EPS[0], eps_p=EPS[1])
        model.networks[of].arena.zero_grad()
        pullback(weight)
        np.testing.assert_allclose(loss, losses[of].detach().numpy(), rtol=1e-10)
        for name, q in model.networks[of].arena.parameters.items():
            if name != "game":
                np.testing.assert_allclose(q.grad, p[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
