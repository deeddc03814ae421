"""Optimizers go downhill, refuse bad arguments by name, and schedules have the values they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minivae.backend import device
from minivae.nn import (
    SGD,
    AdaGrad,
    Adam,
    Arena,
    Momentum,
    MovingAverage,
    Optimizer,
    Parameter,
    RMSProp,
    clip_norm,
    cosine,
    stepwise,
    warmup,
)

SCALES = np.array([1.0, 3.0, 0.3])


def arena(value=(3.0, -2.0, 1.0), dtype=np.float64):
    return Arena({"p": Parameter(np.array(value))}, device("cpu"), dtype)


def walk(optimizer, where, steps):
    """Down ½ Σ scale θ²; its values on the way."""
    losses = []
    for _ in range(steps):
        losses.append(0.5 * float((SCALES * where.value**2).sum()))
        where.grad[...] = SCALES * where.value
        optimizer.step(where)
    return losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [
    SGD(0.1), Momentum(0.05), AdaGrad(0.5), Adam(0.1), RMSProp(cosine(0.1, steps=300)), SGD(0.1, max_norm=1.0),
    Adam(cosine(0.2, steps=300)),
], ids=["SGD", "Momentum", "AdaGrad", "Adam", "RMSProp cosine", "SGD clipped", "Adam cosine"])
def test_they_reduce_a_quadratic(optimizer, dtype):
    where, optimizer = arena(dtype=dtype), type(optimizer)(optimizer.lr, max_norm=optimizer.max_norm)
    losses = walk(optimizer, where, 300)
    assert losses[-1] < 1e-3 * losses[0]
    assert where.value.dtype == dtype
    assert optimizer.steps == 300


def test_first_steps_by_hand():
    g = np.array([2.0, -4.0, 0.5])
    after = {}
    for name, optimizer in {"SGD": SGD(0.1), "Momentum": Momentum(0.1, beta=0.5), "AdaGrad": AdaGrad(0.1, eps=0.0),
                            "Adam": Adam(0.1, eps=0.0), "RMSProp": RMSProp(0.1, rho=0.5, eps=0.0)}.items():
        where = arena((0.0, 0.0, 0.0))
        for _ in range(2):
            where.grad[...] = g
            optimizer.step(where)
        after[name] = where.value
    close = np.testing.assert_allclose
    close(after["SGD"], -0.1 * 2.0 * g)
    close(after["Momentum"], -0.1 * (1.0 + 1.5) * g)
    close(after["AdaGrad"], -0.1 * (1.0 + 1.0 / math.sqrt(2.0)) * np.sign(g))
    close(after["RMSProp"], -0.1 * (1.0 / math.sqrt(0.5) + 1.0 / math.sqrt(0.75)) * np.sign(g))
    close(after["Adam"], -0.1 * 2.0 * np.sign(g))      # the corrections make constant gradients unit steps


def test_a_moving_average_by_hand():
    where, optimizer = arena((4.0, 0.0, 1.0)), MovingAverage(0.75)
    for g in ([0.0, 8.0, 1.0], [4.0, 0.0, 1.0]):
        where.grad[...] = g
        optimizer.step(where)
    np.testing.assert_allclose(where.value, [0.75**2 * 4.0 + 0.25 * 4.0, 0.75 * 0.25 * 8.0, 1.0])
    with pytest.raises(ValueError, match=r"decay: got 1.0, expected a number in \[0, 1\)"):
        MovingAverage(1.0)


def test_a_gradient_of_zero_moves_nothing_and_divides_by_nothing():
    for optimizer in (SGD(), Momentum(), AdaGrad(), RMSProp(), Adam(), Adam(max_norm=1.0)):
        where = arena()
        optimizer.step(where)
        assert np.array_equal(where.value, [3.0, -2.0, 1.0])


def test_fading_moments_become_zero_before_they_are_denormal():
    where, optimizer = arena(dtype=np.float32), Adam()
    where.grad[...] = 1e-3
    optimizer.step(where)
    where.grad[...] = 0.0
    for _ in range(1000):
        optimizer.step(where)
    m = optimizer.arrays()["gradients"]
    assert ((m == 0.0) | (np.abs(m) > np.finfo(np.float32).tiny)).all()


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("optimizer", [SGD, Momentum, AdaGrad, RMSProp, Adam])
def test_a_learning_rate_that_is_no_positive_number_is_refused(optimizer, lr):
    with pytest.raises(ValueError, match=r"^lr: got .*expected a finite number > 0"):
        optimizer(lr)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: SGD(max_norm=0.0), "max_norm: got 0"),
    (lambda: Adam(max_norm=math.nan), "max_norm: got nan"),
    (lambda: Momentum(beta=1.0), "beta: got 1"),
    (lambda: Adam(beta1=-0.1), "beta1: got -0.1"),
    (lambda: Adam(beta2=1.5), "beta2: got 1.5"),
])
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_state_that_does_not_fit_is_refused():
    where, adam = arena(), Adam()
    walk(adam, where, 1)
    assert adam.arrays().keys() == {"gradients", "squares"}
    with pytest.raises(ValueError, match="Momentum needs"):
        Momentum().load(adam.arrays(), 1, where)
    with pytest.raises(ValueError, match=r"optimizer gradients: got shape \(2,\), expected \(3,\)"):
        Adam().load({"gradients": np.zeros(2), "squares": np.zeros(2)}, 1, where)
    assert Adam().arrays() == {}
    Adam().load({}, 0, where)                          # saved before the first step


def test_an_optimizer_must_say_how_it_moves():
    with pytest.raises(NotImplementedError, match="Optimizer must define update"):
        Optimizer().step(arena())


def test_clip_norm():
    grad = np.array([3.0, 4.0])
    assert clip_norm(grad, 1.0) == 5.0
    np.testing.assert_allclose(grad, [0.6, 0.8], rtol=1e-11)
    short, zero = np.array([0.3, 0.4]), np.zeros(2)
    assert clip_norm(short, 1.0) == 0.5
    assert np.array_equal(short, [0.3, 0.4])
    assert clip_norm(zero, 1.0) == 0.0
    assert np.array_equal(zero, [0.0, 0.0])


def test_a_step_with_max_norm_is_at_most_that_long():
    where = arena((300.0, 400.0, 0.0))
    where.grad[...] = where.value
    SGD(0.1, max_norm=2.0).step(where)
    np.testing.assert_allclose(where.value, np.array([300.0, 400.0, 0.0]) - 0.1 * np.array([1.2, 1.6, 0.0]))


def test_schedules():
    def values(schedule, steps):
        return [schedule(i) for i in steps]

    assert values(warmup(1.0, steps=4), range(6)) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert values(cosine(2.0, steps=10), [0, 5, 10, 99]) == pytest.approx([2.0, 1.0, 0.0, 0.0])
    assert values(cosine(2.0, steps=10, final=1.0), [0, 5, 10]) == pytest.approx([2.0, 1.5, 1.0])
    assert values(stepwise(1.0, every=3, factor=0.5), range(7)) == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


def test_a_schedule_is_asked_for_step_0_first():
    asked = []
    optimizer = SGD(lambda step: asked.append(step) or 0.5)
    where = arena()
    walk(optimizer, where, 3)
    assert asked == [0, 1, 2]
    np.testing.assert_allclose(where.value, np.array([3.0, -2.0, 1.0]) * (1.0 - 0.5 * SCALES) ** 3)
