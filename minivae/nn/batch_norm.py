"""Batch normalisation, and batches that go through a network together, or each by itself."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from minivae import ops
from minivae.backend import Array, Pullback, at_least_one
from minivae.nn.layers import Layer
from minivae.nn.parameter import Parameter


class BatchNorm(Layer):
    """y = gain · (x − mean) / √(var + ε) + shift, channel by channel        (B, …, C) -> (B, …, C)

    mean and var are running averages of the moments of all batches it has learned from: what it says of one image does
    not depend on the others.  Who trains it asks `learning()`, which goes by the batch (`BatchNormOfBatch`); in a
    training step of a `Model` the workers do.   Ioffe and Szegedy 2015, algorithm 2.

    The running averages are parameters whose gradient stays zero: no optimizer moves them, every checkpoint keeps them.

    momentum   how far they follow a batch: running ← running + momentum · (batch's − running)
    """

    def __init__(self, channels: int, *, momentum: float = 0.1) -> None:
        at_least_one(channels=channels)
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum: got {momentum}, expected a number in (0, 1]")
        self.gain, self.shift = Parameter(np.ones(channels)), Parameter(np.zeros(channels))
        self.running_mean, self.running_var = Parameter(np.zeros(channels)), Parameter(np.ones(channels))
        self.momentum = momentum

    def learning(self) -> BatchNormOfBatch:
        return BatchNormOfBatch(self)

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = ops.normalise(x, self.running_mean.value, self.running_var.value, self.gain.value, self.shift.value)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            dx, _, _, dgain, dshift = pull(dy)
            if need_dp:
                self.gain.add(dgain)
                self.shift.add(dshift)
            return dx

        return y, pullback


class BatchNormOfBatch(BatchNorm):
    """A BatchNorm as it learns: by the moments of the batch, which its running averages follow.

    Every image is heard through them by every other: so the rows of a batch cannot be shared out among threads that do
    not wait for each other in every layer, and a training step takes one thread (BLAS has its own).
    var is the biased one, over all N = B · … numbers of a channel; its running average that of N/(N − 1) var.
    Ioffe and Szegedy 2015, algorithm 1.

    norm   whose parameters these are
    """

    def __init__(self, norm: BatchNorm) -> None:
        vars(self).update(vars(norm))

    def learning(self) -> BatchNormOfBatch:
        return self

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        (mean, var), pull_moments = ops.batch_moments(x)
        y, pull = ops.normalise(x, mean, var, self.gain.value, self.shift.value)
        N = x.size // x.shape[-1]
        self.running_mean.value += self.momentum * (mean - self.running_mean.value)
        self.running_var.value += self.momentum * (N / max(N - 1, 1) * var - self.running_var.value)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            dx, dmean, dvar, dgain, dshift = pull(dy)
            if need_dp:
                self.gain.add(dgain)
                self.shift.add(dshift)
            return dx + pull_moments(dmean, dvar)     # x is used twice

        return y, pullback


class Apart(Layer):
    """y₁ = f(x₁), y₂ = f(x₂), …: each batch by itself, by its own moments        (B₁, …) (B₂, …) -> as f, of each"""

    def __init__(self, f: Layer) -> None:
        self.f = f

    def __call__(self, *batches: Array) -> tuple[tuple[Array, ...], Pullback]:
        ys, pulls = zip(*(self.f(x) for x in batches))

        def pullback(*dys: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Array | None, ...]:
            return tuple(pull(dy, need_dx=need_dx, need_dp=need_dp) for pull, dy in zip(pulls, dys))

        return ys, pullback


class Mixed(Layer):
    """[y₁; y₂; …] = f([x₁; x₂; …]): all batches as one, by the moments of them all        (B₁, …) (B₂, …) -> of each"""

    def __init__(self, f: Layer) -> None:
        self.f = f

    def __call__(self, *batches: Array) -> tuple[tuple[Array, ...], Pullback]:
        ends = accumulate(map(len, batches))
        each = [slice(end - len(x), end) for end, x in zip(ends, batches)]
        y, pull = self.f(np.concatenate(batches))

        def pullback(*dys: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Array, ...] | None:
            dx = pull(np.concatenate(dys), need_dx=need_dx, need_dp=need_dp)
            return tuple(dx[rows] for rows in each) if need_dx else None

        return tuple(y[rows] for rows in each), pullback
