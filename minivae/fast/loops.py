"""Loops that Numba compiles: each formula reads every number once, or again while it is near.  Their results are those
of NumPy, bit by bit.

So no `fastmath`, which would let the compiler reorder or merge operations: what is gained is the memory that is not
read and written again.  `error_model="numpy"`: a division may give ∞; else each is watched, and none is vectorised.
exp and log stay NumPy's, which are vectorised; the wheels' are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from minivae.backend import Array


def loop(formula: Callable[..., None]) -> Any:
    """Compiled when it is first called, for the dtypes it is called with; other threads may run meanwhile."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(formula)
    except RuntimeError:                              # neither beside this file nor at home may anything be kept
        return njit(nogil=True, error_model="numpy")(formula)


@loop
def _adam(value, grad, m, s, beta1, beta2, eps, rate):                         # type: ignore[no-untyped-def]
    for i in range(value.size):
        m[i] = m[i] * beta1 + grad[i]
        s[i] = s[i] * beta2 + grad[i] * grad[i]
        value[i] -= m[i] / (np.sqrt(s[i]) + eps) * rate


@loop
def _relu_pullback(y, dy, dx):                                                 # type: ignore[no-untyped-def]
    one, zero = y.dtype.type(1.0), y.dtype.type(0.0)
    for i in range(y.size):
        dx[i] = dy[i] * (one if y[i] > zero else zero)


@loop
def _tanh_pullback(y, dy, dx):                                                 # type: ignore[no-untyped-def]
    one = y.dtype.type(1.0)
    for i in range(y.size):
        dx[i] = (one - y[i] * y[i]) * dy[i]


@loop
def _bernoulli_nll_pullback(e, logits, x, dnll, dlogits):                      # type: ignore[no-untyped-def]
    one, half = e.dtype.type(1.0), e.dtype.type(0.5)
    for b in range(e.shape[0]):
        for i in range(e.shape[1]):
            mean = np.copysign(one / e[b, i] - half, logits[b, i]) + half
            dlogits[b, i] = (mean - x[b, i]) * dnll[b]


@loop
def _lstm_written_at(t, gates, cells):                                         # type: ignore[no-untyped-def]
    half = cells.dtype.type(0.5)
    for k in range(3):
        gate = gates[k, t].reshape(-1)
        for n in range(gate.size):
            gate[n] = gate[n] * half + half
    past, cell, i, f, g = (cells[t].reshape(-1), cells[t + 1].reshape(-1), gates[0, t].reshape(-1),
                           gates[1, t].reshape(-1), gates[3, t].reshape(-1))
    for n in range(cell.size):
        cell[n] = f[n] * past[n] + i[n] * g[n]


@loop
def _lstm_slopes(slopes, gates, cells, shown, start, stop):                    # type: ignore[no-untyped-def]
    one = slopes.dtype.type(1.0)
    for t in range(start, stop):
        past, show = cells[t].reshape(-1), shown[t].reshape(-1)
        i, f, o, g = (gates[0, t].reshape(-1), gates[1, t].reshape(-1), gates[2, t].reshape(-1),
                      gates[3, t].reshape(-1))
        slopes[0, t] = gates[1, t]
        for k, gate, other in ((1, i, g), (2, f, past), (3, o, show)):
            d = slopes[k, t].reshape(-1)
            for n in range(d.size):
                d[n] = (gate[n] - gate[n] * gate[n]) * other[n]
        for k, gate, other in ((4, g, i), (5, show, o)):
            d = slopes[k, t].reshape(-1)
            for n in range(d.size):
                d[n] = (one - gate[n] * gate[n]) * other[n]


@loop
def _lstm_heard(t, slopes, parts, dh_t, dh, dc):                               # type: ignore[no-untyped-def]
    i, f, o, g = parts[0].reshape(-1), parts[1].reshape(-1), parts[2].reshape(-1), parts[3].reshape(-1)
    dh_t, dh, dc, d_o, d_c = (dh_t.reshape(-1), dh.reshape(-1), dc.reshape(-1), slopes[3, t].reshape(-1),
                              slopes[5, t].reshape(-1))
    for n in range(dh.size):
        dh[n] = i[n] + f[n] + o[n] + g[n] + dh_t[n]
        d_o[n] *= dh[n]
        d_c[n] = d_c[n] * dh[n] + dc[n]
    for k in (0, 1, 2, 4):
        d = slopes[k, t].reshape(-1)
        for n in range(d.size):
            d[n] *= d_c[n]


def adam(value: Array, grad: Array, m: Array, s: Array, *, beta1: float, beta2: float, eps: float, rate: float) -> None:
    """θ, m and s of `nn.Adam`, in place; eps is its ε / c₂, rate its lr c₁ / c₂        one pass, plain ten"""
    T = value.dtype.type
    _adam(value, grad, m, s, T(beta1), T(beta2), T(eps), T(rate))


def relu_pullback(y: Array, dy: Array) -> Array:
    """dy where y > 0, else 0        one pass, plain two"""
    dx = np.empty_like(y)
    _relu_pullback(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
    return dx


def tanh_pullback(y: Array, dy: Array) -> Array:
    """(1 − y²) dy        one pass, plain three"""
    dx = np.empty_like(y)
    _tanh_pullback(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
    return dx


def bernoulli_nll_pullback(e: Array, logits: Array, x: Array, dnll: Array) -> Array:
    """(sigmoid(a) − x) dnll, where e = 1 + e^−|a|        one pass, plain six"""
    dlogits = np.empty_like(e)
    _bernoulli_nll_pullback(e, logits, x, dnll, dlogits)
    return dlogits


def lstm_written_at(t: int, gates: Array, cells: Array) -> None:
    """`ops.recurrent._written_at`        once over a step's memory, plain five times"""
    _lstm_written_at(t, gates, cells)


def lstm_slopes(slopes: Array, gates: Array, cells: Array, shown: Array, block: slice) -> None:
    """`ops.recurrent._slopes`        once over a step's memory after the other, plain eleven times over all"""
    _lstm_slopes(slopes, gates, cells, shown, block.start, block.stop)


def lstm_heard(t: int, slopes: Array, parts: Array, dh_t: Array, dh: Array, dc: Array) -> None:
    """`ops.recurrent._heard`        once over a step's memory, plain six times"""
    _lstm_heard(t, slopes, parts, np.ascontiguousarray(dh_t), dh, np.ascontiguousarray(dc))


def compile_all() -> None:
    """Compile every loop for both dtypes, or read it from the disk.  Raises whatever Numba raises."""
    for dtype in (np.float32, np.float64):
        a = np.ones((1, 1), dtype)
        adam(a[0].copy(), a[0], a[0].copy(), a[0].copy(), beta1=0.9, beta2=0.999, eps=1e-8, rate=1e-3)
        relu_pullback(a, a), tanh_pullback(a, a), bernoulli_nll_pullback(a, a, a, a[0])
        gates, cells, one = np.ones((4, 1, 1, 1), dtype), np.ones((2, 1, 1), dtype), np.ones((1, 1), dtype)
        lstm_written_at(0, gates, cells)
        slopes = np.ones((6, 1, 1, 1), dtype)
        lstm_slopes(slopes, gates, cells[:1], cells[1:], slice(0, 1))
        lstm_heard(0, slopes, gates[:, 0], one, one.copy(), one)
