"""CVAE-GAN: who hears what, to the last zero; what it is without a game; its state; PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import traced_memory
from two_threads import train_alike

from minivae import ops
from minivae.batch import Batch
from minivae.data import load
from minivae.nn import Activation, Adam, Linear, MovingAverage, RMSProp
from minivae.ops import one_hot
from minivae.parts import Centres
from minivae.training import fit
from minivae.variants import CVAEGAN, CVAEGANConfig, M2Config
from minivae.variants.cvae_gan import PLAYERS
from minivae.variants.vae_gan import Discriminator, Seeing

X, C, Z, B = 4, 3, 2, 5
RNG = np.random.default_rng(0)
IMAGES, LABELS, EPS = 1.0 * (RNG.random((B, X)) < 0.5), np.array([0, 2, 1, 1, 0]), RNG.standard_normal((2, B, Z))
DATA = Batch(x=IMAGES, labels=LABELS)
# who hears which term, in the order of the weights; and the two that have none
HEARD = {"kl": {"encoder"}, "pairwise": {"encoder", "generator"}, "centres_d": {"generator"},
         "centres_c": {"generator"}}


def small(likelihood="bernoulli", **options):
    model = CVAEGANConfig(M2Config(X, C, (3,), Z, "tanh", likelihood), features=3).build(dtype=np.float64, **options)
    for i, network in enumerate(model.networks.values()):
        network.arena.value[...] += 0.3 * np.random.default_rng(i).standard_normal(network.arena.value.shape)
    for centres in (model.centres_d, model.centres_c):
        centres.share.value[...] = 0.5
    return model


def heard(model, *players):
    """Each network's gradient after the losses of these players were pulled back."""
    for network in model.networks.values():
        network.arena.zero_grad()
    for name in players:
        model.loss(of=name, x=IMAGES, labels=LABELS, eps=EPS[0], eps_p=EPS[1])[1](np.ones(B))
    return {name: network.arena.grad.copy() for name, network in model.networks.items()}


@pytest.mark.parametrize("name", PLAYERS)
def test_each_player_hears_its_own_loss_and_the_others_hear_nothing(name):
    found = heard(small(), name)
    assert found.pop(name).any()
    assert all(not grad.any() for grad in found.values()), "exactly zero"


def test_the_pairs_are_pulled_back_once_and_both_makers_hear_them(monkeypatch):
    """As a step does it: the same gradients, bit for bit, and half the way through C and D."""
    model, passes, pairwise = small(), [], CVAEGAN._pairwise

    def counted(self, image, **of):
        value, pull = pairwise(self, image, **of)
        return value, lambda d: (passes.append(1), pull(d))[1]

    monkeypatch.setattr(CVAEGAN, "_pairwise", counted)
    alone = heard(model, "encoder", "generator")
    assert len(passes) == 2
    for network in model.networks.values():
        network.arena.zero_grad()
    _, pulls = model._play(x=IMAGES, labels=LABELS, eps=EPS[0], eps_p=EPS[1])
    pulls["encoder and generator"](np.ones(B))
    assert len(passes) == 3
    for name, network in model.networks.items():
        np.testing.assert_array_equal(network.arena.grad, alone[name])


@pytest.mark.parametrize("term", HEARD)
def test_each_term_is_heard_by_those_it_is_for(term):
    """One weight at a time: a term's gradient is exactly zero in every player that is not to hear it."""
    model = small(weights=tuple(float(name == term) for name in HEARD))
    found = heard(model, "encoder", "generator")
    assert {name for name, grad in found.items() if grad.any()} == HEARD[term]


def test_the_generator_never_hears_a_verdict():
    """Other heads are other verdicts on the same features: its gradient, and the encoder's, are the same."""
    one, other = small(), small()
    other.discriminator.head.W.value[...] *= -5.0
    other.classifier.head.W.value[...] *= -5.0
    for name in ("encoder", "generator"):
        np.testing.assert_array_equal(heard(one, name)[name], heard(other, name)[name])
        assert not np.array_equal(heard(one, "discriminator")["discriminator"],
                                  heard(other, "discriminator")["discriminator"])


def test_the_classifier_hears_real_images_alone():
    one, other = small(), small()
    other.networks["generator"].arena.value[...] += 1.0
    np.testing.assert_array_equal(*(heard(model, "classifier")["classifier"] for model in (one, other)))


def test_where_the_features_are_the_pixels_pairs_are_compared_three_times():
    model = small("gaussian_fixed", weights=(1.0, 1.0, 0.0, 0.0))
    as_it_is = Activation(ops.leaky_relu, slope=1.0)
    model.discriminator = Discriminator(as_it_is, Linear(X, 1, rng=RNG))
    model.classifier = Seeing(as_it_is, Linear(X, C, rng=RNG))
    model.centres_d, model.centres_c = Centres(1, X), Centres(C, X)
    loss, _ = model.loss(of="generator", x=IMAGES, labels=LABELS, eps=EPS[0], eps_p=EPS[1])
    mean, logvar = model.encode(IMAGES, LABELS)
    again = model.decode(mean + np.exp(0.5 * logvar) * EPS[0], LABELS)
    np.testing.assert_allclose(loss, 3 * 0.5 * np.square(again - IMAGES).sum(axis=1), rtol=1e-12)


def test_without_a_game_what_it_reports_is_m2_s_bound():
    model, sizes = small(), M2Config(X, C, (3,), Z, "tanh")
    m2 = sizes.build(dtype=float)
    alike = CVAEGANConfig(sizes, 3).build(dtype=float)
    for theirs, ours in zip((m2.encoder, m2.decoder, m2.classifier), (alike.encoder, alike.decoder, alike.classifier)):
        for a, b in zip(theirs.parameters().values(), ours.parameters().values()):
            np.testing.assert_array_equal(a.value, b.value)          # the same seed, the same weights
    rng = np.random.default_rng(0)
    terms = model.train_step(DATA, rng)
    assert set(terms) == set(model.says)
    assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
    again = small()
    (nll, kl), _ = again.labelled_terms(x=IMAGES, labels=LABELS,
                                        eps=np.random.default_rng(0).standard_normal((2, B, Z))[0])
    assert terms["elbo"] == pytest.approx(-(nll + kl).mean(), rel=1e-12)


def test_the_centres_are_the_features_of_the_step_before():
    model = small()
    model.networks["centres"].optimizer = MovingAverage(0.0)
    f_d, f_c = model.discriminator(IMAGES)[0][0], model.classifier.seen(IMAGES)[0][0]
    dreamt = model.decode(np.random.default_rng(0).standard_normal((2, B, Z))[1], LABELS)
    f_d_dreamt, f_c_dreamt = model.discriminator(dreamt)[0][0], model.classifier.seen(dreamt)[0][0]
    model.train_step(DATA, np.random.default_rng(0))
    for centres, labels, features in ((model.centres_d, 0 * LABELS, (f_d, f_d_dreamt)),
                                      (model.centres_c, LABELS, (f_c, f_c_dreamt))):
        for c in np.unique(labels):
            for found, each in zip(centres.centres(), features):
                np.testing.assert_allclose(found[c], each[labels == c].mean(axis=0), rtol=1e-10)


def test_all_move_at_every_step():
    model = small()
    before = {name: network.arena.value.copy() for name, network in model.networks.items()}
    model.train_step(DATA, np.random.default_rng(0))
    assert all((network.arena.value != before[name]).any() for name, network in model.networks.items())


def test_a_stop_changes_nothing(tmp_path):
    digits = load("digits")
    data = Batch(x=digits.train[:60], labels=digits.train_labels[:60])

    def trained(epochs, **how):
        model = CVAEGANConfig(M2Config(784, 10, (8,), Z), features=6).build(images=data.x)
        return model, fit(model, data, valid=data, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert set(whole.networks) == {*PLAYERS, "centres"}
    for name, network in whole.networks.items():
        np.testing.assert_array_equal(resumed.networks[name].arena.value, network.arena.value)
    assert [r["train_centres_c"] for r in again] == [r["train_centres_c"] for r in history]


def test_threads_share_a_batch():
    train_alike(small, Batch(x=1.0 * (RNG.random((64, X)) < 0.5), labels=np.arange(64) % C))


def test_a_step_costs_the_memory_that_is_told():
    model = CVAEGANConfig(M2Config(784, 10, (400,), 20)).build()
    model.workers.hire(1)
    rng = np.random.default_rng(0)
    data = Batch(x=rng.random((64, 784), dtype=np.float32), labels=np.arange(64) % 10)
    model.train_step(data, rng)                        # the optimizers' moments are made
    with traced_memory() as peak:
        model.train_step(data, rng)
        held = peak()
    assert 4e6 < held < 7e6


def test_its_optimizers_are_rmsprop_unless_told_otherwise():
    model = small(optimizers={"generator": Adam()})
    assert [type(network.optimizer) for network in model.networks.values()] == [RMSProp, Adam, RMSProp, RMSProp,
                                                                                MovingAverage]


def test_where_every_image_has_a_label_an_m2_is_the_rival_it_is_measured_against():
    """Its loss is −L(x, y) and a classifier's beside it: no sum over classes, which would add nothing, is made."""
    m2 = M2Config(X, C, (3,), Z, "tanh").build(dtype=float, labelled_share=1.0, label_weight=0.0)
    eps = np.random.default_rng(0).standard_normal((C + 1, B, Z))
    (nll, kl), pullback = m2.labelled_terms(x=IMAGES, labels=LABELS, eps=eps[-1])
    m2.arena.zero_grad()
    pullback(np.full(B, 1 / B), np.full(B, 1 / B))
    alone = m2.arena.grad.copy()
    m2.unlabelled_terms = None
    terms = m2.train_step(Batch(x=IMAGES, labelled=IMAGES, labels=LABELS), np.random.default_rng(0))
    np.testing.assert_allclose(m2.arena.grad, alone, rtol=1e-12, atol=1e-15)
    assert terms["elbo"] == pytest.approx(-(nll + kl).mean(), rel=1e-12)


def test_bad_input_is_named():
    for options, said in (({"weights": (1.0, 1.0, -1.0, 1.0)}, "weights: got .* expected four numbers of at least 0"),
                          ({"weights": (1.0, 1.0)}, "weights: got .* expected four numbers of at least 0"),
                          ({"decay": 1.0}, "decay: got 1.0")):
        with pytest.raises(ValueError, match=said):
            small(**options)
    with pytest.raises(ValueError, match="likelihood: got 'gaussian_pixel', expected bernoulli or gaussian_fixed"):
        CVAEGANConfig(M2Config(X, likelihood="gaussian_pixel"))
    with pytest.raises(ValueError, match=r"class_prior: got .* expected None"):
        CVAEGANConfig(M2Config(X, C, class_prior=(0.5, 0.3, 0.2)))
    with pytest.raises(ValueError, match="features: got 0, expected at least 1"):
        CVAEGANConfig(M2Config(X), features=0)
    for data, said in ((Batch(x=IMAGES), "CVAEGAN needs labels"),
                       (Batch(x=IMAGES, labels=LABELS + 1), r"labels: .* expected whole numbers \(N,\) in 0 … 2"),
                       (Batch(x=IMAGES[:, :3], labels=LABELS), r"x.x: got .* expected floats \(N, 4\)")):
        with pytest.raises(ValueError, match=said):
            small().check(data)


@pytest.mark.peers
def test_pytorch_finds_the_same_losses_and_gradients():
    """A graph for each player, others' parameters and the centres detached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Independent, Normal, kl_divergence
    import torch.nn.functional as F
    model, lambdas = small(weights=(0.7, 1.3, 0.5, 0.9)), (0.7, 1.3, 0.5, 0.9)
    weight = RNG.standard_normal(B)
    for of in PLAYERS:
        p = {key: torch.tensor(q.value, requires_grad=name == of) for name, network in model.networks.items()
             for key, q in network.arena.parameters.items()}

        def dense(name, h, p=p):
            return h @ p[f"{name}.W"] + p[f"{name}.b"]

        x, (eps, eps_p), labels = torch.tensor(IMAGES), torch.tensor(EPS), torch.tensor(LABELS)
        y = F.one_hot(labels, C).double()
        h = torch.tanh(dense("encoder.image", x) + y @ p["encoder.V"])
        q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
        kl = kl_divergence(q, Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1))
        again, dreamt = (torch.sigmoid(dense("generator.2", torch.tanh(dense("generator.0", torch.cat([z, y], 1)))))
                         for z in (q.mean + q.stddev * eps, eps_p))

        def watched(image, dense=dense):
            f = F.leaky_relu(dense("discriminator.trunk.2", F.leaky_relu(dense("discriminator.trunk.0", image))))
            return f, dense("discriminator.head", f)[:, 0]

        def named(image, dense=dense):
            f = torch.tanh(dense("classifier.trunk.0", image))
            return f, dense("classifier.head", f)

        (d, a), (d_again, _), (d_dreamt, a_dreamt) = map(watched, (x, again, dreamt))
        (c, logits), (c_again, _), (c_dreamt, _) = map(named, (x, again, dreamt))
        pairs = 0.5 * sum((one - other).square().sum(1) for one, other in ((x, again), (d, d_again), (c, c_again)))

        def far(f, kind, y, p=p):                      # the tangent of ½‖m − m̃‖² in m̃, at what the centres are
            real, made = (p[f"{kind}.{who}"] / p[f"{kind}.share"][:, None] for who in ("real", "made"))
            centre = made.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(0.5 * (centre - real).square().sum(), centre)
            return y @ (0.5 * (made - real).square().sum(1)) + ((f - y @ made) * (y @ slope)).sum(1)

        one, two, three, four = lambdas
        losses = {"encoder": one * kl + two * pairs, "classifier": F.cross_entropy(logits, labels, reduction="none"),
                  "discriminator": -F.logsigmoid(a) - F.logsigmoid(-a_dreamt),
                  "generator": two * pairs + three * far(d_dreamt, "d", torch.ones_like(y[:, :1]))
                  + four * far(c_dreamt, "c", y)}
        (torch.tensor(weight) @ losses[of]).backward()
        loss, pullback = model.loss(of=of, x=IMAGES, labels=LABELS, eps=EPS[0], eps_p=EPS[1])
        model.networks[of].arena.zero_grad()
        pullback(weight)
        np.testing.assert_allclose(loss, losses[of].detach().numpy(), rtol=1e-10)
        for name, q in model.networks[of].arena.parameters.items():
            np.testing.assert_allclose(q.grad, p[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_class_that_is_told_is_drawn():
    """Trained for a little on two kinds of bars, what is drawn of a class lies with it."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    x = (np.where(one_hot(labels, classes=2, dtype=float)[:, [0, 0, 1, 1]] > 0, 0.9, 0.1) > rng.random((300, 4))) * 1.0
    model = CVAEGANConfig(M2Config(4, 2, (16,), 2), features=16).build(
        images=x, optimizers={name: RMSProp(1e-2) for name in PLAYERS})
    fit(model, Batch(x=x.astype(np.float32), labels=labels), epochs=10, batch_size=30, progress=False, threads=1)
    drawn = model.sample(200, np.random.default_rng(1))
    of_first = drawn[:, :2].sum(axis=1) > drawn[:, 2:].sum(axis=1)
    assert (of_first == (np.arange(200) % 2 == 0)).mean() > 0.9
