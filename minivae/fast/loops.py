"""Loops that Numba compiles: each formula reads every number once, or again while it is near.  Their results are those
of NumPy, bit by bit.

So no `fastmath`, which would let the compiler reorder or merge operations: what is gained is the memory that is not
read and written again.  `error_model="numpy"`: a division may give ∞; else each is watched, and none is vectorised.
tanh stays NumPy's, which is vectorised (the wheels' is not), and so do products: `inner` calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from minivae.backend import Array
from minivae.fast.inner import inner, matmul, unary, within
from minivae.parallel import shared_out


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
    one, zero = e.dtype.type(1.0), e.dtype.type(0.0)
    for b in range(e.shape[0]):
        for i in range(e.shape[1]):
            mean = abs((one if logits[b, i] < zero else zero) - one / e[b, i])
            dlogits[b, i] = (mean - x[b, i]) * dnll[b]


@loop
def _lstm_go(tanh, product, first, last, gates, states, cells, shown, U, idle):          # type: ignore[no-untyped-def]
    half, heard = cells.dtype.type(0.5), np.empty((4, last - first, cells.shape[2]), cells.dtype)
    for t in range(len(shown)):
        matmul(product, states[t, first:last], U, heard)
        for k in range(4):
            gate, more = gates[k, t, first:last].reshape(-1), heard[k].reshape(-1)
            for n in range(gate.size):
                gate[n] += more[n]
            unary(tanh, gate, gate)
            if k < 3:
                for n in range(gate.size):
                    gate[n] = gate[n] * half + half
        i, f, o, g = (gates[0, t, first:last].reshape(-1), gates[1, t, first:last].reshape(-1),
                      gates[2, t, first:last].reshape(-1), gates[3, t, first:last].reshape(-1))
        past, cell, show, state = (cells[t, first:last].reshape(-1), cells[t + 1, first:last].reshape(-1),
                                   shown[t, first:last].reshape(-1), states[t + 1, first:last].reshape(-1))
        for n in range(cell.size):
            cell[n] = f[n] * past[n] + i[n] * g[n]
        unary(tanh, cell, show)
        for n in range(cell.size):
            state[n] = o[n] * show[n]
        for row in range(first, min(last, idle.shape[1])):
            if idle[t, row]:
                states[t + 1, row], cells[t + 1, row] = states[t, row], cells[t, row]


@within
def _lstm_slopes(t, first, last, slopes, gates, cells, shown, idle):           # type: ignore[no-untyped-def]
    one = slopes.dtype.type(1.0)
    past, show = cells[t, first:last].reshape(-1), shown[t, first:last].reshape(-1)
    i, f, o, g = (gates[0, t, first:last].reshape(-1), gates[1, t, first:last].reshape(-1),
                  gates[2, t, first:last].reshape(-1), gates[3, t, first:last].reshape(-1))
    slopes[0, t, first:last] = gates[1, t, first:last]
    for k, gate, other in ((1, i, g), (2, f, past), (3, o, show)):
        d = slopes[k, t, first:last].reshape(-1)
        for n in range(d.size):
            d[n] = (gate[n] - gate[n] * gate[n]) * other[n]
    for k, gate, other in ((4, g, i), (5, show, o)):
        d = slopes[k, t, first:last].reshape(-1)
        for n in range(d.size):
            d[n] = (one - gate[n] * gate[n]) * other[n]
    for row in range(first, min(last, idle.shape[1])):
        if idle[t, row]:
            slopes[:, t, row] = 0.0
            slopes[0, t, row] = 1.0


@loop
def _lstm_heard(product, first, last, slopes, parts, gates, cells, shown, dh_all, dc, U, idle):      # type: ignore
    i, f, o, g = (parts[0, first:last].reshape(-1), parts[1, first:last].reshape(-1),
                  parts[2, first:last].reshape(-1), parts[3, first:last].reshape(-1))
    dh, past = np.empty_like(i), dc[first:last].reshape(-1)
    for t in range(len(shown) - 1, -1, -1):
        _lstm_slopes(t, first, last, slopes, gates, cells, shown, idle)
        dh_t, d_o, d_c = (dh_all[t, first:last].reshape(-1), slopes[3, t, first:last].reshape(-1),
                          slopes[5, t, first:last].reshape(-1))
        for n in range(dh.size):
            dh[n] = i[n] + f[n] + o[n] + g[n] + dh_t[n]
            d_o[n] *= dh[n]
            d_c[n] = d_c[n] * dh[n] + past[n]
        for k in (0, 1, 2, 4):
            d = slopes[k, t, first:last].reshape(-1)
            for n in range(d.size):
                d[n] *= d_c[n]
        past = slopes[0, t, first:last].reshape(-1)
        matmul(product, slopes[1:5, t, first:last], U, parts[:, first:last])
        for row in range(first, min(last, idle.shape[1])):
            if idle[t, row]:
                parts[0, row] += dh.reshape(last - first, -1)[row - first]


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


def lstm_go(lots: list[slice], gates: Array, states: Array, cells: Array, shown: Array, U: Array,
            idle: Array | None) -> None:
    """`ops.recurrent._go`, of all blocks        each lot by a thread, which does not wait for the interpreter"""
    tanh, product, rows = inner(np.tanh, U.dtype), inner(np.matmul, U.dtype), _rows(idle)
    _each(lots, lambda first, last: _lstm_go(tanh, product, first, last, gates, states, cells, shown, U, rows))


def lstm_heard(lots: list[slice], slopes: Array, parts: Array, gates: Array, cells: Array, shown: Array, dh_all: Array,
               dc: Array, U: Array, idle: Array | None) -> None:
    """`ops.recurrent._slopes` and `_heard`, of all blocks        likewise; the slopes are near when they are used"""
    product, rows = inner(np.matmul, U.dtype), _rows(idle)
    _each(lots, lambda first, last: _lstm_heard(product, first, last, slopes, parts, gates, cells, shown, dh_all, dc, U,
                                                rows))


def _each(lots: list[slice], work: Callable[[int, int], None]) -> None:
    """work(first, last) for the rows of each lot."""
    def of_lots(some: slice) -> None:
        for lot in lots[some]:
            work(lot.start, lot.stop)

    shared_out(of_lots, len(lots))


def _rows(idle: Array | None) -> Array:
    """Which rows are idle at each step        (T, B); for none (0, 0)"""
    return np.empty((0, 0), bool) if idle is None else idle[:, :, 0]


def compile_all() -> None:
    """Compile every loop for both dtypes, or read it from the disk.  Raises whatever Numba raises."""
    for dtype in (np.float32, np.float64):
        a = np.ones((1, 1), dtype)
        adam(a[0].copy(), a[0], a[0].copy(), a[0].copy(), beta1=0.9, beta2=0.999, eps=1e-8, rate=1e-3)
        relu_pullback(a, a), tanh_pullback(a, a), bernoulli_nll_pullback(a, a, a, a[0])
        gates, slopes, U = np.ones((4, 1, 1, 1), dtype), np.ones((6, 1, 1, 1), dtype), np.ones((4, 1, 1), dtype)
        states, cells, shown, all_of_it = *(np.ones((n, 1, 1), dtype) for n in (2, 2, 1)), slice(0, 1)
        lstm_go([all_of_it], gates, states, cells, shown, U, None)
        lstm_heard([all_of_it], slopes, U.copy(), gates, cells, shown, shown, a, U, None)
