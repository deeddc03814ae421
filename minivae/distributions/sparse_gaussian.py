"""Gaussians of images in which a pixel depends on its neighbours: a sparse Cholesky factor of the precision.

    p(x) = N(μ, Λ⁻¹),   Λ = L Lᵀ,   L lower triangular in raster order

Row i of L has five numbers: its diagonal, l_ii = exp(logdiag_i) > 0, and one for each of four earlier neighbours of
pixel i: left, and upper left, up, upper right.  A neighbour outside of the image has none.  So with r = x − μ

    −log p(x)  =  ½ X log 2π − Σ log l_ii + ½ ‖w‖²,        w = Lᵀ r

costs a few passes over the image; the determinant is a sum, and a draw a solve, y with Lᵀ y = ε, from the last pixel to
the first.  (Λ is sparse: far pixels are independent *given all others*.  Λ⁻¹ is not: they may well be correlated.)
Dorta et al. 2018, section 3.

Shapes: B images of height × width = X pixels; `below` (B, 4, X) are the off-diagonals, in the order of NEIGHBOURS.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivae.backend import Array, Generator, Pullback, alike
from minivae.distributions.gaussian import LOG_2PI

NEIGHBOURS = ((0, -1), (-1, -1), (-1, 0), (-1, 1))     # (down, right), from pixel i: the earlier ones


def sparse_gaussian_nll(mean: Array, logdiag: Array, below: Array, *, x: Array,
                        shape: tuple[int, int]) -> tuple[Array, Pullback]:
    """−log N(x; μ, (L Lᵀ)⁻¹)        (B, X) (B, X) (B, 4, X) -> (B,)

    With dw = dnll · w:   dr = L dw, so ∂/∂x = dr and ∂/∂μ = −dr;   ∂/∂L_ij = r_i dw_j;   ∂/∂logdiag_i = l_ii r_i dw_i −
    dnll.   Raises ValueError for arrays that do not fit the shape.
    """
    _check(mean, below, shape, logdiag=logdiag, x=x)
    diag, r = np.exp(logdiag).reshape(-1, *shape), (x - mean).reshape(-1, *shape)
    off = below.reshape(-1, 4, *shape)
    w = diag * r
    for k, here, there in _pairs(shape):
        w[there] += off[:, k][here] * r[here]

    def pullback(dnll: Array) -> tuple[Array, Array, Array]:
        dw = dnll[:, None, None] * w
        dr, doff = diag * dw, np.zeros_like(off)
        for k, here, there in _pairs(shape):
            dr[here] += off[:, k][here] * dw[there]
            doff[:, k][here] = r[here] * dw[there]
        dlogdiag = diag * r * dw - dnll[:, None, None]
        return -dr.reshape(mean.shape), dlogdiag.reshape(mean.shape), doff.reshape(below.shape)

    nll = 0.5 * (w * w).sum(axis=(1, 2)) - logdiag.sum(axis=1) + 0.5 * mean.shape[1] * LOG_2PI
    return nll, pullback


def sparse_gaussian_sample(mean: Array, logdiag: Array, below: Array, *, rng: Generator,
                           shape: tuple[int, int]) -> Array:
    """x = μ + y with Lᵀ y = ε: one draw for each row        (B, X) (B, X) (B, 4, X) -> (B, X)

    Lᵀ is upper triangular: the last pixel first, and each then tells its four earlier neighbours.  A loop over pixels,
    all images at once.
    """
    _check(mean, below, shape, logdiag=logdiag)
    height, width = shape
    rest = rng.standard_normal(mean.shape, dtype=mean.dtype).reshape(-1, *shape)
    y, std, off = np.empty_like(rest), np.exp(-logdiag).reshape(-1, *shape), below.reshape(-1, 4, *shape)
    for row in reversed(range(height)):
        for column in reversed(range(width)):
            y[:, row, column] = now = rest[:, row, column] * std[:, row, column]
            for k, (down, right) in enumerate(NEIGHBOURS):
                if row + down >= 0 and 0 <= column + right < width:
                    rest[:, row + down, column + right] -= off[:, k, row, column] * now
    return mean + y.reshape(mean.shape)


def precision_factor(logdiag: Array, below: Array, *, shape: tuple[int, int]) -> Array:
    """L, written out: to look at, and to check        (X,) (4, X) -> (X, X)"""
    L = np.zeros_like(logdiag, shape=(len(logdiag),) * 2)
    number = np.arange(len(logdiag)).reshape(shape)
    L[number.ravel(), number.ravel()] = np.exp(logdiag)
    for k, here, there in _pairs(shape):
        i, j = number[here[1:]].ravel(), number[there[1:]].ravel()
        L[i, j] = below[k, i]
    return L


def _pairs(shape: tuple[int, int]) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """For each kind of neighbour: the pixels that have one, and these neighbours, as slices of (B, height, width)"""
    height, width = shape
    for k, (down, right) in enumerate(NEIGHBOURS):
        here = slice(-down, height), slice(max(-right, 0), width - max(right, 0))
        there = slice(0, height + down), slice(max(right, 0), width + min(right, 0))
        yield k, (slice(None), *here), (slice(None), *there)


def _check(mean: Array, below: Array, shape: tuple[int, int], **others: Array) -> None:
    alike(mean=mean, **others)
    if mean.shape[1] != shape[0] * shape[1]:
        raise ValueError(f"mean: got shape {mean.shape}, expected (B, {shape[0] * shape[1]}) for images of "
                         f"{shape[0]}×{shape[1]}")
    if below.shape != (len(mean), 4, mean.shape[1]):
        raise ValueError(f"below: got shape {below.shape}, expected ({len(mean)}, 4, {mean.shape[1]})")
