"""The MVAE: no step of climbing falls, nobody's parameters are touched, gradients through the decoder are right."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.distributions import complex_gaussian_nll
from minivae.gradcheck import gradcheck
from minivae.separation import Voice, beginnings, demix, mvae, separate
from minivae.variants import SourceVAEConfig

F, N, C, Z, J = 6, 50, 3, 2, 2


def model_of(dtype=np.float32, seed=0):
    model = SourceVAEConfig(F, C, (8,), Z, "softplus").build(dtype=dtype)
    model.arena.value[...] = 1.5 * np.random.default_rng(seed).standard_normal(model.arena.value.shape)
    return model


def noise(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2.0)


def mixed(model, rng, speakers=(0, 2), frames=N):
    """What the model says these speakers say, mixed in a room of its own; their images at microphone 1."""
    sources = []
    for speaker in speakers:
        z = rng.standard_normal((frames, Z)).astype(model.dtype)
        variance = np.exp(model.logvar(z, model.told(np.full(frames, speaker)))[0].astype(float)).T
        sources.append(np.sqrt(variance) * noise(rng, F, frames))
    A = noise(rng, F, len(speakers), len(speakers)) + 1.5 * np.eye(len(speakers))
    return demix(A, np.stack(sources)), A[:, 0, :].T[:, :, None] * np.stack(sources)


def power_of(rng):
    return rng.gamma(0.5, 1.0, (F, N))


@pytest.mark.parametrize("speaker", [None, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_learning_never_falls(speaker, dtype):
    rng = np.random.default_rng(1)
    power = power_of(rng)
    voice, told = Voice(model_of(dtype), power, speaker=speaker), []
    for _ in range(40):
        told.append((np.log(voice.variance) + power / voice.variance).sum())
        voice.learn(power)
    assert (np.diff(told) <= 1e-9 * np.abs(told[0])).all()
    assert told[-1] < told[0] - 1.0
    assert voice.speaker.sum() == pytest.approx(1.0)
    if speaker is not None:
        np.testing.assert_array_equal(voice.speaker, np.eye(C)[speaker])


@pytest.mark.parametrize("speakers", [(0, 2), (None, None), (2, 0, 1)])
def test_no_step_of_the_mvae_ever_falls(speakers):
    model, rng, told = model_of(), np.random.default_rng(2), []
    x, _ = mixed(model, rng, [who if who is not None else 1 for who in speakers])
    voices = [Voice(model, np.abs(channel) ** 2, speaker=who) for channel, who in zip(x, speakers)]
    separate(x, voices, sweeps=12, watch=lambda step, objective: told.append(objective))
    assert len(told) == 12 * 2 * len(speakers)
    assert (np.diff(told) >= -1e-9 * np.abs(told[-1])).all()
    assert told[-1] > told[0]


def test_nobody_s_parameters_are_touched():
    """Values bit for bit, and gradients exactly zero, as they were."""
    model, rng = model_of(), np.random.default_rng(3)
    x, _ = mixed(model, rng)
    model.arena.zero_grad()
    before = model.arena.value.copy()
    mvae(x, model, starts=beginnings(x, rng=rng, tries=1), sweeps=3)
    np.testing.assert_array_equal(model.arena.value, before)
    assert not model.arena.grad.any()


def test_the_gradients_of_z_and_of_who_speaks():
    """Of Σ log v + |y|²/v, through the decoder and the softmax, by finite differences."""
    model, rng = model_of(np.float64), np.random.default_rng(4)
    power = power_of(rng)[:, :4]
    voice = Voice(model, power)

    def surprise(z, a):
        logvar, pull_decoded = voice._decoded(z, a)
        nll, pull_nll = complex_gaussian_nll(logvar, power=power.T)
        return nll, lambda dnll: pull_decoded(pull_nll(dnll))

    assert gradcheck(surprise, rng.standard_normal((4, Z)), rng.standard_normal(C)).passed


def test_the_gain_is_where_nothing_is_better():
    rng = np.random.default_rng(5)
    power = power_of(rng)
    voice = Voice(model_of(), power, speaker=0)
    sigma = voice.variance / voice.gain
    surprise = [(np.log(g * sigma) + power / (g * sigma)).sum() for g in voice.gain * np.array([1.0, 0.99, 1.01])]
    assert surprise[0] < min(surprise[1:])


def test_a_louder_mixture_is_the_same_mixture():
    rng = np.random.default_rng(6)
    power = power_of(rng)
    one, other = Voice(model_of(np.float64), power), Voice(model_of(np.float64), 100.0 * power)
    for _ in range(5):
        one.learn(power)
        other.learn(100.0 * power)
    np.testing.assert_allclose(other.variance, 100.0 * one.variance, rtol=1e-6)


def test_it_separates_what_its_model_says():
    model, rng = model_of(), np.random.default_rng(7)
    x, images = mixed(model, rng, frames=300)
    found, voices = mvae(x, model, starts=beginnings(x, rng=rng), speakers=(2, 0), sweeps=60)
    errors = [(np.abs(found.sources[list(order)] - images) ** 2).sum() / (np.abs(images) ** 2).sum()
              for order in ((0, 1), (1, 0))]           # who is who only a trained encoder tells
    assert min(errors) < 0.05
    assert sorted(int(np.argmax(voice.speaker)) for voice in voices) == [0, 2]
    np.testing.assert_allclose(found.sources.sum(axis=0), x[0], atol=1e-9)


def test_the_best_of_its_beginnings_is_kept():
    """… by the objective: turning the speakers changes nothing but what rounding makes of it."""
    model, rng = model_of(), np.random.default_rng(8)
    x, _ = mixed(model, rng)
    starts = beginnings(x, rng=rng, tries=1)
    one, other = (mvae(x, model, starts=starts, speakers=who, sweeps=5)[0] for who in ((0, 2), (2, 0)))
    alone = [mvae(x, model, starts=[W], speakers=(0, 2), sweeps=5)[0].objective[-1] for W in starts]
    assert one.objective[-1] == max(alone)
    assert one.objective[-1] == pytest.approx(other.objective[-1], rel=1e-6)


def test_bad_input_is_named():
    model, rng = model_of(), np.random.default_rng(9)
    x, _ = mixed(model, rng)
    with pytest.raises(ValueError, match="speaker: got 3, expected 0 … 2"):
        Voice(model, power_of(rng), speaker=3)
    with pytest.raises(ValueError, match="speakers: got 3, expected 2, as many as channels"):
        mvae(x, model, starts=beginnings(x, rng=rng, tries=1), speakers=(0, 1, 2))
    with pytest.raises(ValueError, match="x: one of its channels is silent"):
        mvae(x * 0.0, model, starts=[])
    with pytest.raises(ValueError, match="tries: got 0, expected at least 1"):
        beginnings(x, rng=rng, tries=0)
