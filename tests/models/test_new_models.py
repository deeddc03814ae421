"""A new model costs one file: three of them, trained, interrupted, resumed, evaluated and checked like the VAE."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conditional import ConditionalVAE
from conftest import ROOT
from sequences import SequenceVAE
from two_players import TwoPlayers

from minivae.backend import device
from minivae.batch import Batch
from minivae.data import load
from minivae.evaluation import evaluate, importance_weighted_bound, log_likelihoods
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Momentum
from minivae.parallel import Team
from minivae.runs import BEST, CheckpointError, NotFiniteError, load_parameters
from minivae.training import Interrupted, fit, loop
from minivae.variants import CVAEGANConfig, M2Config, VAEConfig, VAEGANConfig

CPU = device("cpu")
HERE = Path(__file__).parent


def digits(n=300):
    part = load("digits").part("train")[:n]
    return part.but(x=(part.x > 0.5).astype(np.float32))


def sequences(n=200, T=6):
    """Sine waves of one to six steps; what is padded is a number that would be noticed."""
    rng = np.random.default_rng(0)
    lengths, phase = rng.integers(1, T + 1, n), rng.uniform(0, 6, n)
    x = np.sin(np.arange(T) + phase[:, None]).astype(np.float32)[:, :, None]
    mask = np.arange(T) < lengths[:, None]
    return Batch(x=np.where(mask[:, :, None], x, np.float32(1e6)), mask=mask)


def conditional(dtype=np.float32):
    return ConditionalVAE(784, 16, 2, 10, device=CPU, dtype=dtype)


def two_players(dtype=np.float32):
    return TwoPlayers(784, 16, 2, device=CPU, dtype=dtype, optimizers={"vae": Adam(2e-3), "critic": Momentum(1e-2)})


def padded(dtype=np.float32):
    return SequenceVAE(6, 1, 16, 2, device=CPU, dtype=dtype, optimizers={"vae": Adam(1e-2)})


def vae_gan():
    return VAEGANConfig(VAEConfig(784, (8,), 2), features=6).build(margin=0.2)


def cvae_gan():
    return CVAEGANConfig(M2Config(784, 10, (8,), 2), features=6).build()


MODELS = [(conditional, digits), (two_players, digits), (padded, sequences)]
every_model = pytest.mark.parametrize(("build", "data"), MODELS, ids=["conditional", "two players", "sequences"])


LAST = {"cvae": r"decoder\.2\.b", "vae": r"decoder\.2\.b", "critic": r"critic\.2\.b"}


def state(model):
    """All that a run goes on from: values and moments of every network."""
    return {f"{key}/{name}": array.tobytes() for key, network in model.networks.items()
            for name, array in network.arrays().items()}


@pytest.mark.parametrize("name", ["conditional", "two_players", "sequences"])
def test_a_model_is_less_than_eighty_lines(name):
    assert len((HERE / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80


@every_model
def test_it_learns_and_is_evaluated_as_a_vae_is(build, data):
    model, examples = build(), data()
    before = evaluate(model, examples)
    history = fit(model, examples[50:], valid=examples[:50], epochs=12, batch_size=20, progress=False)
    after = evaluate(model, examples)
    assert after.elbo.mean > before.elbo.mean + 5 * before.elbo.standard_error
    assert history[-1]["valid_elbo"] > history[0]["valid_elbo"]
    assert history[-1]["train_elbo"] == pytest.approx(-(history[-1]["train_nll"] + history[-1]["train_kl"]), rel=1e-5)


@every_model
def test_interrupted_and_resumed_it_is_as_if_never_interrupted(build, data, tmp_path, monkeypatch):
    """Ctrl-C at every step of the second epoch, one after another: the run goes on bit for bit."""
    examples, how = data(70), {"batch_size": 15, "epochs": 3, "progress": False, "seed": 4}
    whole = build()
    records = fit(whole, examples[10:], valid=examples[:10], run=tmp_path / "whole", **how)
    for stop in (5, 6, 7):
        interrupt_at(stop, monkeypatch)
        with pytest.raises(Interrupted, match=f"stopped after step {stop}"):
            fit(build(), examples[10:], valid=examples[:10], run=tmp_path / str(stop), **how)
        monkeypatch.undo()
        again = build()
        resumed = fit(again, examples[10:], valid=examples[:10], run=tmp_path / str(stop), resume=True, **how)
        assert state(again) == state(whole)
        assert [r | {"seconds": 0} for r in resumed] == [r | {"seconds": 0} for r in records]
        best = [build(), build()]
        for model, run in zip(best, ("whole", str(stop))):
            load_parameters(tmp_path / run / BEST, model)
        assert state(best[0]) == state(best[1])


def interrupt_at(step, monkeypatch):
    run = loop._Epoch.run

    def pressed(self, position, bar, ctrl_c):
        take, self.every = self.model.train_step, 1

        def counted(batch, rng):
            terms = take(batch, rng)
            ctrl_c.pressed = position.step + 1 == step
            return terms

        self.model.train_step = counted
        try:
            run(self, position, bar, ctrl_c)
        finally:
            self.model.train_step = take

    monkeypatch.setattr(loop._Epoch, "run", pressed)


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {here!r})
import test_new_models as t
model, data = t.{build}(), t.{data}
taken, step = 0, model.train_step
def counted(batch, rng):
    global taken
    terms = step(batch, rng)
    taken += 1
    if taken == {kill}:
        os.kill(os.getpid(), signal.SIGKILL)
    return terms
model.train_step = counted
t.fit(model, data, run={run!r}, epochs=3, batch_size=15, progress=False, seed=4)
"""


@pytest.mark.parametrize("build", [two_players, vae_gan, cvae_gan], ids=lambda build: build.__name__)
def test_several_networks_killed_at_any_step_resume_from_the_last_epoch_bit_for_bit(build, tmp_path):
    """SIGKILL, after a random step of the second or the last of three epochs."""
    kill = int(np.random.default_rng().integers(6, 15))
    data, how = digits(70), {"batch_size": 15, "epochs": 3, "progress": False, "seed": 4}
    data = data.but(labels=load("digits").train_labels[:70]) if build is cvae_gan else data
    whole = build()
    fit(whole, data, **how)
    given = "digits(70)" + ".but(labels=t.load('digits').train_labels[:70])" * (build is cvae_gan)
    script = SCRIPT.format(here=str(HERE), kill=kill, run=str(tmp_path / "run"), build=build.__name__, data=given)
    paths = f"import sys; sys.path[:0] = {[str(ROOT / 'tests'), str(HERE)]!r}\n"
    killed = subprocess.run([sys.executable, "-c", paths + script], cwd=ROOT, check=False, capture_output=True,
                            text=True, encoding="utf-8")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = build()
    fit(again, data, run=tmp_path / "run", resume=True, **how)
    assert state(again) == state(whole), f"killed at step {kill}"


@every_model
def test_threads_share_its_batches(build, data):
    found = []
    for threads in (1, 3):
        model = build(np.float64)
        examples = data(90).on(CPU, np.float64)
        model.workers.rows_each, model.workers.team = 1, Team(threads)
        for i in range(3):
            model.train_step(examples, np.random.default_rng(i))
        found.append(np.concatenate([network.arena.value for network in model.networks.values()]))
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


@every_model
def test_a_nan_is_blamed_wherever_it_is(build, data):
    """In whichever network: the guard goes back, and says which parameter."""
    for key in build().networks:
        model = build()
        network = model.networks[key]

        def spoil(step, network=network):
            if step == 3:
                network.arena.value[-1] = np.nan
            return 1e-3

        network.optimizer.lr = spoil
        with pytest.raises(NotFiniteError, match=rf"step 4: parameter {LAST[key]}"):
            fit(model, data(60), epochs=5, batch_size=10, progress=False)
        assert all(np.isfinite(n.arena.value).all() for n in model.networks.values()), "the last good state"


# ── gradients ─────────────────────────────────────────────────────────────────────────────────


def drawn(model):
    for network in model.networks.values():
        network.arena.value[...] += 0.3 * np.random.default_rng(1).standard_normal(network.arena.value.shape)
    return model


def test_gradients_of_the_conditional_vae():
    model = drawn(ConditionalVAE(4, 3, 2, 3, device=CPU, dtype=np.float64))
    rng = np.random.default_rng(0)
    gradcheck(model.bound, parameters=model.arena.parameters, x=1.0 * (rng.random((5, 4)) < 0.5),
              y=np.array([0, 2, 1, 1, 0]), eps=rng.standard_normal((5, 2)))


def test_gradients_of_sequences_of_which_one_is_empty():
    model = drawn(SequenceVAE(4, 2, 3, 2, device=CPU, dtype=np.float64))
    rng, mask = np.random.default_rng(0), np.arange(4) < np.array([4, 1, 0])[:, None]
    gradcheck(model.bound, parameters=model.arena.parameters, x=rng.standard_normal((3, 4, 2)), mask=mask,
              eps=rng.standard_normal((3, 2)))


def test_what_is_padded_changes_nothing():
    model, data = padded(np.float64), sequences(20).on(CPU, np.float64)
    eps = np.random.default_rng(0).standard_normal((20, 2))
    found = []
    for value in (0.0, np.nan):
        x = np.where(data.mask[:, :, None], data.x, value)
        model.arena.zero_grad()
        (nll, kl), pullback = model.bound(x=x, mask=data.mask, eps=eps)
        pullback(np.ones(20), np.ones(20))
        found.append([nll, kl, model.arena.grad.copy()])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def players():
    """A small pair in float64, and its data."""
    model = drawn(TwoPlayers(4, 3, 2, device=CPU, dtype=np.float64))
    rng = np.random.default_rng(0)
    return model, {"x": rng.random((5, 4)), "eps": rng.standard_normal((5, 2))}


def test_the_vae_hears_its_own_losses_and_the_critic_hears_nothing_of_them():
    model, data = players()

    def heard(**data):
        (nll, kl, fool, _), pullback = model.losses(**data)
        return (nll, kl, fool), lambda dnll, dkl, dfool: pullback(dnll, dkl, dfool, np.zeros_like(dnll))

    gradcheck(heard, parameters=model.networks["vae"].arena.parameters, **data)
    model.networks["critic"].arena.zero_grad()
    heard(**data)[1](*np.ones((3, 5)))
    assert not model.networks["critic"].arena.grad.any(), "exactly zero: the path is stopped"


def test_the_critic_hears_its_own_loss_and_the_vae_hears_nothing_of_it():
    model, data = players()

    def heard(**data):
        losses, pullback = model.losses(**data)
        return losses[3], lambda dcritic: pullback(*3 * [np.zeros_like(dcritic)], dcritic)

    gradcheck(heard, parameters=model.networks["critic"].arena.parameters, **data)
    model.networks["vae"].arena.zero_grad()
    heard(**data)[1](np.ones(5))
    assert not model.networks["vae"].arena.grad.any(), "exactly zero: the path is stopped"


# ── what is refused ───────────────────────────────────────────────────────────────────────────


def test_data_that_lack_what_a_model_needs_are_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match=r"ConditionalVAE needs y \(labels or conditions\), and the data have only x: "
                                         "choose a data set that has them"):
        fit(conditional(), digits().x, epochs=1, run=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"SequenceVAE needs mask \(which entries count\)"):
        evaluate(padded(), sequences().x)
    with pytest.raises(ValueError, match="y: got int64 up to 11, expected whole numbers below 10"):
        fit(conditional(), digits().but(y=digits().y + 2), epochs=1, progress=False)


def test_a_checkpoint_of_another_kind_of_model_is_refused_and_nothing_changes(tmp_path):
    data, how = digits(30), {"batch_size": 10, "epochs": 1, "progress": False}
    fit(two_players(), data, run=tmp_path / "run", **how)
    for other in (conditional(), TwoPlayers(784, 16, 2, device=CPU)):
        before = state(other)
        with pytest.raises(CheckpointError, match=r"holds another model: it has the networks \['critic', 'vae'\], "
                                                  r"expected \['cvae'\]|was made with Momentum, this run uses Adam"):
            fit(other, data, run=tmp_path / "run", resume=True, **how)
        assert state(other) == before


def test_the_conditional_bound_rises_with_draws_and_samples_by_label():
    model, data = conditional(), digits(60)
    fit(model, data, epochs=2, batch_size=20, progress=False)
    elbo, one, many = evaluate(model, data, samples=20), *(importance_weighted_bound(model, data, samples=k, seed=1)
                                                           for k in (1, 50))
    assert abs(one.mean - elbo.elbo.mean) < 4 * one.standard_error
    assert many.mean > one.mean
    assert log_likelihoods(model, data, samples=3).shape == (60,)
    assert model.sample(np.arange(10), np.random.default_rng(0)).shape == (10, 784)
