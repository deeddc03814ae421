"""Batch normalisation: told per network and pass, kept by checkpoints; batches apart and mixed."""

import numpy as np
import pytest

from minivae import ops
from minivae.backend import device
from minivae.evaluation import evaluate
from minivae.nn import SGD, Activation, Apart, Arena, BatchNorm, Linear, Mixed, Model, Sequential, Workers
from minivae.ops import tanh
from minivae.parallel import Processes
from minivae.parts import Bernoulli
from minivae.training import fit
from minivae.vae import VAE, Encoder


def test_a_normalised_batch_has_mean_0_and_variance_1():
    x = 3.0 + 5.0 * np.random.default_rng(0).standard_normal((7, 4, 4, 2))
    (mean, var), _ = ops.batch_moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(var, x.var(axis=(0, 1, 2)), rtol=1e-13)
    y, _ = ops.normalise(x, mean, var, np.ones(2), np.zeros(2), eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0.0, atol=1e-13)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1.0, rtol=1e-12)


def test_an_image_does_not_know_its_batch_but_as_it_learns():
    norm, x = BatchNorm(2), np.random.default_rng(0).standard_normal((6, 2))
    model = Sequential(norm)
    before = norm.running_mean.value.copy()
    assert np.array_equal(norm(x)[0][:1], norm(x[:1])[0])
    assert np.array_equal(norm.running_mean.value, before)
    y, _ = model.learning()(x)
    np.testing.assert_allclose(y.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(norm.running_mean.value, 0.1 * x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.value, 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-12)


def test_a_batch_of_one_leaves_everything_finite():
    norm = BatchNorm(2)
    y, pull = norm.learning()(np.array([[3.0, -1.0]]))
    assert np.array_equal(y, np.zeros((1, 2)))
    assert np.array_equal(pull(np.ones((1, 2))), np.zeros((1, 2))), "it cannot move: it is its own mean"
    assert np.isfinite(norm.running_var.value).all()


def test_a_network_as_it_learns_is_of_the_same_parameters():
    rng = np.random.default_rng(0)
    plain = Sequential(Linear(2, 3, rng=rng), Activation(tanh))
    assert plain.learning() is plain
    norm = Sequential(Linear(2, 3, rng=rng), Sequential(BatchNorm(3)))
    learning = norm.learning()
    assert learning is not norm
    assert learning.layers[0] is norm.layers[0]
    ours, theirs = norm.parameters(), learning.parameters()
    assert ours.keys() == theirs.keys()
    assert all(theirs[name] is p for name, p in ours.items())
    assert learning.learning().layers[1].layers[0].__class__ is learning.layers[1].layers[0].__class__


def test_a_momentum_that_is_none():
    for wrong in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"momentum: got .*, expected a number in \(0, 1\]"):
            BatchNorm(2, momentum=wrong)


# ── batches of two kinds ──────────────────────────────────────────────────────────────────────


def judge():
    rng = np.random.default_rng(0)
    return Sequential(Linear(2, 3, rng=rng), BatchNorm(3), Activation(tanh), Linear(3, 1, rng=rng))


def two_kinds():
    rng = np.random.default_rng(1)
    return rng.standard_normal((5, 2)), 2.0 + rng.standard_normal((4, 2))


def test_apart_no_batch_hears_of_the_other_and_mixed_it_does():
    real, made = two_kinds()
    f = judge().learning()
    (a, b), pull = Apart(f)(real, made)
    assert np.array_equal(Apart(f)(real, made + 1.0)[0][0], a)
    assert np.array_equal(f(made)[0], b)
    assert np.array_equal(pull(np.ones((5, 1)), np.zeros((4, 1)))[1], np.zeros((4, 2)))
    (c, d), pull = Mixed(f)(real, made)
    assert np.array_equal(np.concatenate([c, d]), f(np.concatenate([real, made]))[0])
    assert np.abs(Mixed(f)(real, made * [1.0, -1.0])[0][0] - c).max() > 0.01
    assert np.abs(pull(np.ones((5, 1)), np.zeros((4, 1)))[1]).max() > 1e-6


def test_outside_of_learning_apart_and_mixed_are_the_same():
    real, made = two_kinds()
    f = judge()
    for one, other in zip(Apart(f)(real, made)[0], Mixed(f)(real, made)[0]):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("how", [Apart, Mixed])
def test_a_pass_that_is_not_heard_leaves_the_gradients_alone(how):
    f = judge()
    arena = Arena(f.parameters(), device("cpu"), float)
    (a, b), pull = how(f.learning())(*two_kinds())
    arena.zero_grad()
    dx, dmade = pull(np.ones_like(a), np.ones_like(b), need_dp=False)
    assert (dx.shape, dmade.shape) == ((5, 2), (4, 2))
    assert not arena.grad.any()
    pull(np.ones_like(a), np.ones_like(b), need_dx=False)
    assert arena.grad.any()


class Judging(Model):
    """Its judge learns by batches of either kind apart, and hears the same images again by the running averages."""

    def __init__(self, dtype=np.float64):
        self.judge = judge()
        self.learns(judge=self.judge.parameters("judge."), optimizers={"judge": SGD(0.1)}, device=device("cpu"),
                    dtype=dtype)

    def train_step(self, batch, rng):
        def share(model, rows):
            (a, b), pull = Apart(model.judge)(batch[rows], batch[rows] + 1.0)
            again, pull_again = self.judge(batch[rows])
            each = np.full_like(a, 1.0 / len(batch))
            pull(-each, each)
            pull_again(each)
            return each[:, 0] @ (b - a)[:, 0], each[:, 0] @ again[:, 0]

        return dict(zip(("game", "again"), self.workers.step(share, len(batch))))


def test_the_caller_says_network_by_network_and_pass_by_pass():
    model, (x, _) = Judging(), two_kinds()
    f, _ = model.judge.learning(), model.judge.layers[1]
    before = model.networks["judge"].moment()
    game = f(x + 1.0)[0].mean() - f(x)[0].mean()
    model.networks["judge"].go_back(before)
    f(x)                                                # what the step's two passes tell the running averages
    f(x + 1.0)
    again = model.judge(x)[0].mean()
    model.networks["judge"].go_back(before)
    found = model.train_step(x, np.random.default_rng(0))
    assert float(found["game"]) == pytest.approx(game, abs=1e-12)
    assert float(found["again"]) == pytest.approx(again, abs=1e-12)


# ── in training ───────────────────────────────────────────────────────────────────────────────


def with_norm(optimizer=None, dtype=np.float64):
    """A VAE whose encoder and decoder both normalise."""
    rng = np.random.default_rng(0)
    trunk = Sequential(Linear(6, 5, rng=rng), BatchNorm(5), Activation(tanh))
    decoder = Sequential(Linear(2, 5, rng=rng), BatchNorm(5), Activation(tanh), Linear(5, 6, rng=rng))
    return VAE(Encoder(trunk, Linear(5, 2, rng=rng), Linear(5, 2, rng=rng)), decoder, Bernoulli(), pixels=6, latents=2,
               device=device("cpu"), dtype=dtype, optimizer=optimizer)


def test_training_moves_the_running_moments_and_a_checkpoint_keeps_them(tmp_path):
    x = np.random.default_rng(0).random((40, 6))
    model = with_norm()
    fit(model, x, epochs=3, batch_size=8, run=tmp_path / "run", progress=False)
    running = {name: a for name, a in model.arena.arrays().items() if "running" in name}
    assert len(running) == 4
    assert all(not np.allclose(a, 0.0) and not np.allclose(a, 1.0) for a in running.values())
    again = with_norm()
    fit(again, x, epochs=4, batch_size=8, run=tmp_path / "run", resume=True, progress=False)
    whole = with_norm()
    fit(whole, x, epochs=4, batch_size=8, progress=False)
    assert np.array_equal(again.arena.value, whole.arena.value)
    a, b = (evaluate(m, x) for m in (again, whole))
    assert a == b


def test_a_batch_that_is_normalised_is_not_cut():
    x, rng = np.random.default_rng(0).random((12, 6)), np.random.default_rng(1)
    model = with_norm()
    model.workers = Workers(model, rows_each=1)
    model.workers.hire(3)
    model.train_step(x, rng)
    assert len(model.workers.copies) == 1

    class Two(Processes):
        size = 2

    model.workers.processes = Two()
    with pytest.raises(ValueError, match=r"batch normalisation and .* look at the whole batch"):
        model.train_step(x, rng)
