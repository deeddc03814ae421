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

NEAR = 2**19               # numbers that a core's cache nearly holds; on a GPU all patches are made at once

Taps = tuple[tuple[int, int], ...]                     # what is seen: (down, right) of each, from pixel (s·i, s·j)


@cache
def window(k: int, first: int) -> Taps:
    """k×k neighbours, from (first, first)"""
    return tuple((first + t, first + u) for t in range(k) for u in range(k))


class Patches:
    """The patch of place (i, j) = [x[s·i + downₙ, s·j + rightₙ] for all taps n]; outside of the image x is zero

    Iterated over, as often as one likes, it gives (some, rows): a slice of the B images, and (some·H'·W', n·C).
    """

    def __init__(self, x: Array, *, taps: Taps, size: Sequence[int], stride: int = 1) -> None:
        B, C, xp = len(x), x.shape[3], array_module(x)
        self.shape, self.columns = (B, *size), len(taps) * C
        alone = taps == ((0, 0),) and x.shape[:3] == self.shape                # then a pixel is its own patch
        self.windows = [x] if alone else _windows(x, taps, size, stride)
        parts = 1 if alone or xp is not np else -(-math.prod(self.shape) * self.columns // NEAR)
        self.step = max(1, -(-B // max(1, parts)))
        self.kept = self._rows(slice(0, B)) if parts <= 1 else None

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        for start in range(0, self.shape[0], self.step):
            some = slice(start, start + self.step)
            yield some, self._rows(some) if self.kept is None else self.kept

    def _rows(self, some: slice) -> Array:
        boxes = [windows[some].reshape(-1, math.prod(windows.shape[3:])) for windows in self.windows]
        return boxes[0] if len(boxes) == 1 else np.concatenate(boxes, axis=1)


def correlate(seen: Patches, W: Array) -> Array:
    """y[i, j] = Σₙ x[s·i + downₙ, s·j + rightₙ] W[n]        (n, C, F) -> (B, H', W', F)"""
    kernel = W.reshape(-1, W.shape[-1])
    y = np.empty_like(kernel, shape=(*seen.shape, kernel.shape[1]))
    for some, rows in seen:
        np.matmul(rows, kernel, out=y[some].reshape(len(rows), -1))
    return y


def heard_by_weights(dy: Array, seen: Patches) -> Array:
    """Of the same: ∂y[i, j]/∂W[n] = x[s·i + downₙ, s·j + rightₙ], for all images and places        -> (n·C, F)"""
    F = dy.shape[3]
    products = (rows.T @ dy[some].reshape(len(rows), F) for some, rows in seen)
    return sum(products, np.zeros_like(dy, shape=(seen.columns, F)))


def heard_by_bias(dy: Array) -> Array:
    """b was broadcast over images and pixels        (B, H, W, F) -> (F,)        (with ones: quicker than a sum)"""
    *size, F = dy.shape
    N = math.prod(size)
    return np.ones_like(dy, shape=N) @ dy.reshape(N, F)


def heard_by_all(dy: Array, x: Array, W: Array, *, taps: Taps, need_dx: bool, need_dp: bool) -> Cotangents:
    """dx, dW and db of `correlate(Patches(x, taps), W) + b`, stride 1

    Whoever sees a pixel at (down, right) lies at (−down, −right) of it.  So its patch of dy is what all of these say:
    dx is that times Wᵀ, and dW adds up its products with x.
    """
    n, (C, F) = len(taps), W.shape[-2:]
    kernel = W.reshape(n, C, F)[::-1].transpose(0, 2, 1).reshape(n * F, C)
    dx, products = np.empty_like(x, order="C"), list[Array]()
    for some, rows in Patches(dy, taps=_opposite(taps), size=x.shape[1:3]):
        if need_dx:
            np.matmul(rows, kernel, out=dx[some].reshape(len(rows), C))
        if need_dp:
            products.append(rows.T @ x[some].reshape(len(rows), C))
    if not need_dp:
        return dx if need_dx else None, None, None
    dW = sum(products, np.zeros_like(kernel)).reshape(n, F, C)[::-1].transpose(0, 2, 1).reshape(W.shape)
    return dx if need_dx else None, dW, heard_by_bias(dy)


def _windows(x: Array, taps: Taps, size: Sequence[int], stride: int) -> list[Array]:
    """Views of x in a frame of zeros: (B, H', W', rows, columns·C) for every rectangle of taps."""
    (B, H, W, C), s, (downs, rights) = x.shape, stride, zip(*taps)
    up, left = max(0, -min(downs)), max(0, -min(rights))
    below, beyond = (max(0, s * (n - 1) + max(steps) + 1 - length)
                     for n, steps, length in zip(size, (downs, rights), (H, W)))
    framed = np.zeros_like(x, shape=(B, up + H + below, left + W + beyond, C))
    framed[:, up:up + H, left:left + W] = x
    image, row, pixel, channel = framed.strides
    return [array_module(x).lib.stride_tricks.as_strided(
        framed[:, up + down:, left + right:], (B, *size, rows, columns * C),
        (image, s * row, s * pixel, row, channel)) for down, right, rows, columns in _rectangles(taps)]


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
