"""An LSTM's loops: all its steps, both ways, in one call, with NumPy's own products and tanh in their midst.

Its laws are those of `loops`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivae.backend import Array
from minivae.fast.inner import inner, loop, matmul, unary, within
from minivae.parallel import shared_out


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
