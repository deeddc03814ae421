"""Gaussians of images in which a pixel depends on its neighbours: a sparse Cholesky factor of the precision.

    p(x) = N(μ, Λ⁻¹),   Λ = L Lᵀ,   L = A D: A unit lower triangular in raster order, D diagonal

Row i of A has a one, and a number for each of four earlier neighbours of pixel i: left, upper left, up, upper right.  A
neighbour outside of the image has none.  d_jj = exp(logdiag_j) > 0 is the diagonal of L.  So with r = x − μ

    −log p(x)  =  ½ X log 2π − Σ log d_jj + ½ ‖w‖²,        w = D u,   u = Aᵀ r

costs a few passes over the image; the determinant is a sum, and a draw a solve, y with Aᵀ y = ε / d, from the last
pixel to the first.  Given all later pixels, pixel j has the mean −Σᵢ a_ij rᵢ and the standard deviation 1 / d_jj: the
numbers of A are coefficients of a regression, in no units.  (Dorta et al. 2018 let a network say L_ij =
a_ij d_jj itself; then whoever is sure of itself divides what it is told by anything.  A and D apart are the modified
Cholesky decomposition: Pourahmadi 1999.)

(Λ is sparse: far pixels are independent *given all others*.  Λ⁻¹ is not: they may well be correlated.)

Shapes: B images of height × width = X pixels; `below` (B, 4, X) are A's off-diagonals, in the order of NEIGHBOURS.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivae.backend import Array, Generator, Pullback, alike_rows
from minivae.distributions.gaussian import LOG_2PI

NEIGHBOURS = ((0, -1), (-1, -1), (-1, 0), (-1, 1))     # (down, right), from pixel i: the earlier ones


def sparse_gaussian_nll(mean: Array, logdiag: Array, below: Array, *, x: Array,
                        shape: tuple[int, int]) -> tuple[Array, Pullback]:
    """−log N(x; μ, (A D² Aᵀ)⁻¹)        (B, X) (B, X) (B, 4, X) -> (B,)

    With du = dnll · d² u:   dr = A du, so ∂/∂μ = −dr;   ∂/∂a_ij = r_i du_j;   ∂/∂logdiag_j = (w_j² − 1) dnll.
    Raises ValueError for arrays that do not fit the shape.
    """
    _check(mean, below, shape, logdiag=logdiag, x=x)
    diag, r = np.exp(logdiag).reshape(-1, *shape), (x - mean).reshape(-1, *shape)
    a, u = below.reshape(-1, 4, *shape), r.copy()
    for k, here, there in _pairs(shape):
        u[there] += a[:, k][here] * r[here]
    w = diag * u

    def pullback(dnll: Array) -> tuple[Array, Array, Array]:
        du = dnll[:, None, None] * diag * w
        dr, da = du.copy(), np.zeros_like(a)
        for k, here, there in _pairs(shape):
            dr[here] += a[:, k][here] * du[there]
            da[:, k][here] = r[here] * du[there]
        dlogdiag = dnll[:, None, None] * (w * w - 1.0)
        return -dr.reshape(mean.shape), dlogdiag.reshape(mean.shape), da.reshape(below.shape)

    nll = 0.5 * (w * w).sum(axis=(1, 2)) - logdiag.sum(axis=1) + 0.5 * mean.shape[1] * LOG_2PI
    return nll, pullback


def sparse_gaussian_sample(mean: Array, logdiag: Array, below: Array, *, rng: Generator,
                           shape: tuple[int, int]) -> Array:
    """x = μ + y with Aᵀ y = ε / d: one draw for each row        (B, X) (B, X) (B, 4, X) -> (B, X)

    Aᵀ is upper triangular: the last pixel first, and each then tells its four earlier neighbours.  A loop over pixels,
    all images at once.
    """
    _check(mean, below, shape, logdiag=logdiag)
    height, width = shape
    y = (rng.standard_normal(mean.shape, dtype=mean.dtype) * np.exp(-logdiag)).reshape(-1, *shape)
    a = below.reshape(-1, 4, *shape)
    for row in reversed(range(height)):
        for column in reversed(range(width)):
            for k, (down, right) in enumerate(NEIGHBOURS):
                if row + down >= 0 and 0 <= column + right < width:
                    y[:, row + down, column + right] -= a[:, k, row, column] * y[:, row, column]
    return mean + y.reshape(mean.shape)


def precision_factor(logdiag: Array, below: Array, *, shape: tuple[int, int]) -> Array:
    """L = A D, written out: to look at, and to check        (X,) (4, X) -> (X, X)"""
    X = len(logdiag)
    A, number = np.zeros_like(logdiag, shape=(X, X)), np.arange(X).reshape(shape)
    A[number.ravel(), number.ravel()] = 1.0
    for k, here, there in _pairs(shape):
        i, j = number[here[1:]].ravel(), number[there[1:]].ravel()
        A[i, j] = below[k, i]
    return A * np.exp(logdiag)


def _pairs(shape: tuple[int, int]) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """For each kind of neighbour: the pixels that have one, and these neighbours, as slices of (B, height, width)"""
    height, width = shape
    for k, (down, right) in enumerate(NEIGHBOURS):
        here = slice(-down, height), slice(max(-right, 0), width - max(right, 0))
        there = slice(0, height + down), slice(max(right, 0), width + min(right, 0))
        yield k, (slice(None), *here), (slice(None), *there)


def _check(mean: Array, below: Array, shape: tuple[int, int], **others: Array) -> None:
    alike_rows(mean=mean, **others)
    if mean.shape[1] != shape[0] * shape[1]:
        raise ValueError(f"mean: got shape {mean.shape}, expected (B, {shape[0] * shape[1]}) for images of "
                         f"{shape[0]}×{shape[1]}")
    if below.shape != (len(mean), 4, mean.shape[1]):
        raise ValueError(f"below: got shape {below.shape}, expected ({len(mean)}, 4, {mean.shape[1]})")
