"""Patches: what every place of an output sees of the images, as one row; and products of such rows with one matrix.

All patches of a batch hold its pixels many times over, more than a cache does: to write them, to read them and to keep
them for the pullback would take as long as the products.  So they are made of some images at a time, used while they
are near, and made again when they are asked for again; only where they are few they are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from minivae.backend import Array, array_module
from minivae.ops.dense import Cotangents
from minivae.ops.products import by_rows, over_rows

NEAR = 2**19               # numbers that a core's cache nearly holds; on a GPU all patches are made at once

Taps = tuple[tuple[int, int], ...]                     # what is seen: (down, right) of each, from pixel (s·i, s·j)


@cache
def window(k: int, first: int) -> Taps:
    """k×k neighbours, from (first, first)"""
    return tuple((first + t, first + u) for t in range(k) for u in range(k))


class Patches:
    """The patch of place (i, j) = [x[s·i + downₙ, s·j + rightₙ] for all taps n]; outside of the image x is zero

    Iterated over, as often as one likes, it gives (some, rows): a slice of the B images, and (some·H'·W', n·C).  Rows
    are to be used before the next ones are asked for: these take their place.

    beside   how many numbers each row is multiplied to, which shall be near as well
    """

    def __init__(self, x: Array, *, taps: Taps, size: Sequence[int], stride: int = 1, beside: int = 0) -> None:
        self.x, self.taps, self.stride = x, taps, stride
        self.shape, self.columns = (len(x), *size), len(taps) * x.shape[3]
        numbers = math.prod(self.shape) * (self.columns + beside)
        parts = max(1, -(-numbers // NEAR)) if array_module(x) is np else 1
        self.step = max(1, -(-len(x) // parts))
        alone = taps == ((0, 0),) and x.shape[:3] == self.shape                # then a pixel is its own patch
        few = next(self._made([slice(0, len(x))])) if parts == 1 and not alone else None
        self.kept = x.reshape(-1, self.columns) if alone else few

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        B, places = self.shape[0], math.prod(self.shape[1:])
        lots = [slice(start, min(start + self.step, B)) for start in range(0, B, self.step)]
        if self.kept is None:
            return zip(lots, self._made(lots))
        return ((some, self.kept[some.start * places:some.stop * places]) for some in lots)

    def _made(self, lots: Sequence[slice]) -> Iterator[Array]:
        """The rows of some images after the others', in the same memory."""
        images, windows = _windows(self.x, self.step, self.taps, self.shape[1:], self.stride)
        rows = np.empty_like(self.x, shape=(self.step, *self.shape[1:], self.columns), order="C")
        copies, end = list[tuple[Array, Array]](), 0
        for seen in windows:
            start, end = end, end + math.prod(seen.shape[3:])
            copies.append((_runs(rows[..., start:end].reshape(seen.shape)), _runs(seen)))
        for some in lots:
            n = some.stop - some.start
            images[:n] = self.x[some]
            for room, seen in copies:
                room[:n] = seen[:n]
            yield rows[:n].reshape(-1, self.columns)


def correlate(seen: Patches, W: Array, b: Array | None = None) -> Array:
    """y[i, j] = Σₙ x[s·i + downₙ, s·j + rightₙ] W[n] + b        (n, C, F) (F,) -> (B, H', W', F);  b may be None, 0"""
    kernel = W.reshape(-1, W.shape[-1])
    y = np.empty_like(kernel, shape=(*seen.shape, kernel.shape[1]))
    everywhere = None if b is None else np.broadcast_to(b, y.shape[1:]).copy()        # NumPy adds long runs sooner
    for some, rows in seen:
        by_rows(rows, kernel, out=y[some].reshape(len(rows), -1))
        if everywhere is not None:
            y[some] += everywhere
    return y


def heard_by_weights(dy: Array, seen: Patches) -> Array:
    """Of the same: ∂y[i, j]/∂W[n] = x[s·i + downₙ, s·j + rightₙ], for all images and places        -> (n·C, F)"""
    F = dy.shape[3]
    products = (over_rows(rows, dy[some].reshape(len(rows), F)) for some, rows in seen)
    return sum(products, np.zeros_like(dy, shape=(seen.columns, F)))


def heard_by_bias(dy: Array) -> Array:
    """b was broadcast over images and pixels        (B, H, W, F) -> (F,)        (with ones: quicker than a sum)"""
    *size, F = dy.shape
    N = math.prod(size)
    return np.ones_like(dy, shape=N) @ dy.reshape(N, F)


def heard_by_all(dy: Array, x: Array, W: Array, *, taps: Taps, need_dx: bool, need_dp: bool) -> Cotangents:
    """dx, dW and db of `correlate(Patches(x, taps), W) + b`, stride 1

    Whoever sees a pixel at (down, right) lies at (−down, −right) of it: its patch of dy is what all of these say.
    """
    n, (C, F) = len(taps), W.shape[-2:]
    kernel = W.reshape(n, C, F)[::-1].transpose(0, 2, 1)
    dx, dkernel = heard_by_both(dy, x, kernel, taps=_opposite(taps), need_dx=need_dx, need_dp=need_dp)
    if dkernel is None:
        return dx, None, None
    return dx, dkernel[::-1].transpose(0, 2, 1).reshape(W.shape), heard_by_bias(dy)


def heard_by_both(dy: Array, x: Array, kernel: Array, *, taps: Taps, stride: int = 1, need_dx: bool,
                  need_dp: bool) -> tuple[Array | None, Array | None]:
    """dx and dkernel, where all that a pixel of x was multiplied to by the kernel lies in one patch of dy

    dx is that patch times the kernel, and dkernel adds up its products with x: patches are made once for both.
    """
    C, dx, products = x.shape[3], np.empty_like(x, order="C") if need_dx else None, list[Array]()
    matrix = kernel.reshape(kernel.size // C, C)
    for some, rows in Patches(dy, taps=taps, size=x.shape[1:3], stride=stride, beside=C):
        if dx is not None:
            by_rows(rows, matrix, out=dx[some].reshape(len(rows), C))
        if need_dp:
            products.append(over_rows(rows, x[some].reshape(len(rows), C)))
    return dx, sum(products, np.zeros_like(matrix)).reshape(kernel.shape) if need_dp else None


def _windows(x: Array, n: int, taps: Taps, size: Sequence[int], stride: int) -> tuple[Array, list[Array]]:
    """Room for n images like x in a frame of zeros; and views of both, (n, H', W', rows, columns·C) for every rectangle
    of taps.
    """
    (_, H, W, C), s, (downs, rights) = x.shape, stride, zip(*taps)
    up, left = max(0, -min(downs)), max(0, -min(rights))
    below, beyond = (max(0, s * (places - 1) + max(steps) + 1 - length)
                     for places, steps, length in zip(size, (downs, rights), (H, W)))
    framed = np.zeros_like(x, shape=(n, up + H + below, left + W + beyond, C), order="C")
    image, row, pixel, channel = framed.strides
    return framed[:, up:up + H, left:left + W], [array_module(x).lib.stride_tricks.as_strided(
        framed[:, up + down:, left + right:], (n, *size, rows, columns * C),
        (image, s * row, s * pixel, row, channel)) for down, right, rows, columns in _rectangles(taps)]


def _runs(a: Array) -> Array:
    """Its last axis as one item, which NumPy copies as a whole: sooner than number by number."""
    return a.view(f"V{a.shape[-1] * a.itemsize}")[..., 0] if array_module(a) is np else a


@cache
def _opposite(taps: Taps) -> Taps:
    return tuple((-down, -right) for down, right in reversed(taps))


@cache
def _rectangles(taps: Taps) -> list[tuple[int, int, int, int]]:
    """The same taps in the same order: (down, right, rows, columns) of as few rectangles as hold them"""
    runs = list[tuple[int, int, int]]()
    for down, right in taps:
        if runs and (runs[-1][0], sum(runs[-1][1:])) == (down, right):        # the next of its row
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((down, right, 1))
    found = list[tuple[int, int, int, int]]()
    for down, right, n in runs:
        if found and (found[-1][0] + found[-1][2], found[-1][1], found[-1][3]) == (down, right, n):
            found[-1] = (*found[-1][:2], found[-1][2] + 1, n)                 # the next row of a rectangle
        else:
            found.append((down, right, 1, n))
    return found
