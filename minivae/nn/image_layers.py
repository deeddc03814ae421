"""Layers of images: convolutions, and the way between rows of pixels and images."""

from __future__ import annotations

import math

import numpy as np

from minivae import ops
from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.nn.layers import Initialiser, Layer, glorot
from minivae.nn.parameter import Parameter


class Conv2d(Layer):
    """y = conv2d(x, W) + b        (B, H, W, channels) -> (B, H', W', filters)

    rng and init draw W, of which an output hears k·k·channels inputs; b starts at zero.
    Raises ValueError for a size below 1.
    """

    def __init__(self, channels: int, filters: int, *, kernel: int, stride: int = 1, padding: int = 0, rng: Generator,
                 init: Initialiser = glorot) -> None:
        at_least_one(channels=channels, filters=filters, kernel=kernel, stride=stride)
        self.W = Parameter(init(kernel * kernel * channels, filters, rng).reshape(kernel, kernel, channels, filters))
        self.b = Parameter(np.zeros(filters))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = ops.conv2d(x, self.W.value, self.b.value, stride=self.stride, padding=self.padding)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx)
            self.W.add(dW)
            self.b.add(db)
            return dx

        return y, pullback


class MaskedConv2d(Layer):
    """y = masked_conv2d(x, W) + b        (B, H, W, channels) -> (B, H, W, filters)

    taps   what a pixel sees: (down, right) of each, from itself
    rng and init draw W, of which an output hears len(taps)·channels inputs; b starts at zero.
    Raises ValueError for a size below 1, or no taps.
    """

    def __init__(self, channels: int, filters: int, *, taps: ops.Taps, rng: Generator,
                 init: Initialiser = glorot) -> None:
        at_least_one(channels=channels, filters=filters, taps=len(taps))
        self.W = Parameter(init(len(taps) * channels, filters, rng).reshape(len(taps), channels, filters))
        self.b = Parameter(np.zeros(filters))
        self.taps = tuple(taps)

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = ops.masked_conv2d(x, self.W.value, self.b.value, taps=self.taps)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx)
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
        at_least_one(filters=filters, channels=channels, kernel=kernel, stride=stride)
        drawn = init(kernel * kernel * filters, channels, rng) * stride            # a stride²-th of the inputs each
        self.W = Parameter(drawn.reshape(kernel, kernel, filters, channels).transpose(0, 1, 3, 2))
        self.b = Parameter(np.zeros(channels))
        self.stride, self.padding, self.extra = stride, padding, extra

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = ops.conv_transpose2d(x, self.W.value, self.b.value, stride=self.stride, padding=self.padding,
                                        extra=self.extra)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx)
            self.W.add(dW)
            self.b.add(db)
            return dx

        return y, pullback


class Planes(Layer):
    """y = n images one after the other, as a row: of each pixel its first C channels, then the next C, …

    (B, H, W, n·C) -> (B, n·H·W·C): of a mean and a log-variance for every channel all means, then all log-variances.
    Raises ValueError (when called) unless n divides the channels.
    """

    def __init__(self, n: int) -> None:
        at_least_one(n=n)
        self.n = n

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        B, H, W, channels = x.shape
        if channels % self.n:
            raise ValueError(f"Planes: x has shape {x.shape}, expected channels that are {self.n} times as many")

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            planes = dy.reshape(B, self.n, H, W, channels // self.n)
            return planes.transpose(0, 2, 3, 1, 4).reshape(x.shape)

        planes = x.reshape(B, H, W, self.n, channels // self.n)
        return planes.transpose(0, 3, 1, 2, 4).reshape(B, -1), pullback


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
