"""Convolutions that see a part of their window: those of autoregressive models, which must not see what comes later.

A masked convolution (van den Oord et al. 2016) is one whose kernel is zero at some places.  Here these places are left
out instead: `taps` lists the others, as (down, right) from the pixel that is computed, and each has its own matrix in
W (n, C, F).  Nothing is multiplied by zero, and no zero must be kept zero.   Images are (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minivae.backend import Array, Pullback
from minivae.ops.dense import Cotangents, Matmul

Taps = Sequence[tuple[int, int]]                       # (down, right)


def masked_conv2d(x: Array, W: Array, b: Array, *, taps: Taps) -> tuple[Array, Pullback]:
    """y[i, j] = Σₙ x[i + downₙ, j + rightₙ] W[n] + b        (B, H, W, C) (n, C, F) (F,) -> (B, H, W, F)

    Outside of the image x is zero.
    Raises ValueError if the shapes do not fit.
    """
    if W.ndim != 3 or len(W) != len(taps):
        raise ValueError(f"masked_conv2d: W has shape {W.shape}, expected ({len(taps)}, C, F) for {len(taps)} taps")
    n, C, F = W.shape
    if x.ndim != 4 or x.shape[3] != C:
        raise ValueError(f"masked_conv2d: x has shape {x.shape}, expected (B, H, W, {C}) for W of shape {W.shape}")
    if b.shape != (F,):
        raise ValueError(f"masked_conv2d: b has shape {b.shape}, expected ({F},) for W of shape {W.shape}")
    seen = np.zeros_like(x, shape=(*x.shape[:3], n, C))               # what each pixel sees, tap by tap
    for k, here, there in _pairs(taps, x.shape[1:3]):
        seen[..., k, :][here] = x[there]
    seen, kernel = seen.reshape(-1, n * C), W.reshape(n * C, F)

    def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True, matmul: Matmul = np.matmul) -> Cotangents:
        rows = dy.reshape(len(seen), F)
        dx = _told(rows @ kernel.T, taps, x) if need_dx else None
        if not need_dp:
            return dx, None, None
        return dx, matmul(seen.T, rows).reshape(W.shape), rows.sum(axis=0)       # b was broadcast over all pixels

    y = seen @ kernel
    y += b
    return y.reshape(*x.shape[:3], F), pullback


def _told(dseen: Array, taps: Taps, x: Array) -> Array:
    """What is known of each pixel, by all who saw it: derivatives add        (B·H·W, n·C) -> (B, H, W, C)"""
    dx, dseen = np.zeros_like(x), dseen.reshape(*x.shape[:3], len(taps), -1)
    for k, here, there in _pairs(taps, x.shape[1:3]):
        dx[there] += dseen[..., k, :][here]
    return dx


def _pairs(taps: Taps, size: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """(number of a tap, the pixels that have one there, where it lies), the last two as slices of (B, H, W)"""
    for k, steps in enumerate(taps):
        here = tuple(slice(max(0, -step), max(0, length - max(0, step))) for step, length in zip(steps, size))
        there = tuple(slice(max(0, step), max(0, length + min(0, step))) for step, length in zip(steps, size))
        yield k, (slice(None), *here), (slice(None), *there)
