"""Layers of images: convolutions, batch normalisation, and the way between rows of pixels and images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minivae import conv
from minivae.arena import Parameter
from minivae.backend import Array, Generator
from minivae.layers import Initialiser, Layer, glorot
from minivae.ops import Pullback


class Conv2d(Layer):
    """y = conv2d(x, W) + b        (B, H, W, channels) -> (B, H', W', filters)

    rng and init draw W, of which an output hears k·k·channels inputs; b starts at zero.
    Raises ValueError for a size below 1.
    """

    def __init__(self, channels: int, filters: int, *, kernel: int, stride: int = 1, padding: int = 0, rng: Generator,
                 init: Initialiser = glorot) -> None:
        _at_least_one(channels=channels, filters=filters, kernel=kernel, stride=stride)
        self.W = Parameter(init(kernel * kernel * channels, filters, rng).reshape(kernel, kernel, channels, filters))
        self.b = Parameter(np.zeros(filters))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = conv.conv2d(x, self.W.value, self.b.value, stride=self.stride, padding=self.padding)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx, out=(self.W.room(), self.b.room()))
            self.W.add(dW)
            self.b.add(db)
            return dx

        return y, pullback


class ConvTranspose2d(Layer):
    """y = conv_transpose2d(x, W) + b        (B, H', W', filters) -> (B, H, W, channels)

    rng and init draw W, of which an output hears k·k·filters / stride² inputs; b starts at zero.
    Raises ValueError for a size below 1.
    """

    def __init__(self, filters: int, channels: int, *, kernel: int, stride: int = 1, padding: int = 0, extra: int = 0,
                 rng: Generator, init: Initialiser = glorot) -> None:
        _at_least_one(filters=filters, channels=channels, kernel=kernel, stride=stride)
        drawn = init(kernel * kernel * filters, channels, rng) * stride            # a stride²-th of the inputs each
        self.W = Parameter(drawn.reshape(kernel, kernel, filters, channels).transpose(0, 1, 3, 2))
        self.b = Parameter(np.zeros(channels))
        self.stride, self.padding, self.extra = stride, padding, extra

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = conv.conv_transpose2d(x, self.W.value, self.b.value, stride=self.stride, padding=self.padding,
                                        extra=self.extra)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx, out=(self.W.room(), self.b.room()))
            self.W.add(dW)
            self.b.add(db)
            return dx

        return y, pullback


class BatchNorm(Layer):
    """y = gain · (x − mean) / √(var + ε) + shift, channel by channel        (B, …, C) -> (B, …, C)

    Inside `learning(model)` mean and var are those of the batch, and the running moments follow them:
    running ← running + momentum · (batch's − running).  Everywhere else the running moments are used, so that what a
    model says of one image does not depend on the others.   Ioffe and Szegedy 2015, algorithms 1 and 2.

    The running moments are parameters whose gradient stays zero: no optimizer moves them, every checkpoint keeps them.
    """

    def __init__(self, channels: int, *, momentum: float = 0.1) -> None:
        _at_least_one(channels=channels)
        self.gain, self.shift = Parameter(np.ones(channels)), Parameter(np.zeros(channels))
        self.running_mean, self.running_var = Parameter(np.zeros(channels)), Parameter(np.ones(channels))
        self.momentum, self.learning = momentum, False

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        if not self.learning:
            y, pull = conv.normalise(x, self.running_mean.value, self.running_var.value, self.gain.value,
                                     self.shift.value)
            pull_moments = None
        else:
            (mean, var), pull_moments = conv.batch_moments(x)
            y, pull = conv.normalise(x, mean, var, self.gain.value, self.shift.value)
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


class Reshape(Layer):
    """y = x in another shape, row by row        (B, …) -> (B, *shape): pixels to an image (28, 28, 1), and back (784,)

    Raises ValueError (when called) if the sizes differ.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        if math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ValueError(f"Reshape: x has shape {x.shape}, expected (B, …) with {math.prod(self.shape)} "
                             f"numbers a row, for {self.shape}")
        before = x.shape

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            return dy.reshape(before)

        return x.reshape(len(x), *self.shape), pullback


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: got {size}, expected at least 1")
