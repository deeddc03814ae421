"""Batch normalisation, and the switch of all layers that learn from a whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Array, Pullback, at_least_one
from minivae.nn.layers import Layer
from minivae.nn.parameter import Parameter


class BatchNorm(Layer):
    """y = gain · (x − mean) / √(var + ε) + shift, channel by channel        (B, …, C) -> (B, …, C)

    Inside `learning(model)` mean and var are those of the batch, and the running moments follow them:
    running ← running + momentum · (batch's − running).  Everywhere else the running moments are used, so that what a
    model says of one image does not depend on the others.   Ioffe and Szegedy 2015, algorithms 1 and 2.

    The running moments are parameters whose gradient stays zero: no optimizer moves them, every checkpoint keeps them.
    """

    def __init__(self, channels: int, *, momentum: float = 0.1) -> None:
        at_least_one(channels=channels)
        self.gain, self.shift = Parameter(np.ones(channels)), Parameter(np.zeros(channels))
        self.running_mean, self.running_var = Parameter(np.zeros(channels)), Parameter(np.ones(channels))
        self.momentum, self.learning = momentum, False

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        if not self.learning:
            y, pull = ops.normalise(x, self.running_mean.value, self.running_var.value, self.gain.value,
                                     self.shift.value)
            pull_moments = None
        else:
            (mean, var), pull_moments = ops.batch_moments(x)
            y, pull = ops.normalise(x, mean, var, self.gain.value, self.shift.value)
            self.running_mean.value += self.momentum * (mean - self.running_mean.value)
            self.running_var.value += self.momentum * (var - self.running_var.value)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            dx, dmean, dvar, dgain, dshift = pull(dy)
            if need_dp:
                self.gain.add(dgain)
                self.shift.add(dshift)
            return dx if pull_moments is None else dx + pull_moments(dmean, dvar)     # x is used twice

        return y, pullback


@contextmanager
def learning(model: Layer) -> Iterator[None]:
    """Inside, the model's layers that learn from whole batches (BatchNorm, GaussianOptimal) do so, and remember."""
    layers = batch_learners(model)
    for layer in layers:
        layer.learning = True
    try:
        yield
    finally:
        for layer in layers:
            layer.learning = False


def batch_learners(model: Layer) -> list[Any]:
    """Every layer at or below this one that looks at a whole batch while it learns: those with a switch `learning`."""
    return [layer for layer in model.below() if hasattr(layer, "learning")]
