"""A recurrent op: the long short-term memory over a batch of sequences of different lengths.

Time comes first.  Shapes: T steps, B sequences, I inputs, H units, and 4 for the gates i, f, o and g; the laws are
those of ops.  The four lie one after the other, each without gaps, for every step asks for one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minivae.backend import Array, Pullback
from minivae.fast import compiled
from minivae.ops.products import by_rows
from minivae.parallel import shared_out, shares, spare_team

STEPS = 8                  # that one thread goes while another makes the products of others
ROWS = 16                  # sequences that are worth a thread
ALL = slice(None)


def lstm(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, *,
         mask: Array | None = None) -> tuple[tuple[Array, Array], Pullback]:
    """A memory c that is kept, erased and written to, and what is shown of it, h, at every step        t = 1 … T

        [i, f, o, g]  =  [σ, σ, σ, tanh]( x_t W + h_t−1 U + b )          input, forget and output gate; what to write
        c_t  =  f ⊙ c_t−1 + i ⊙ g,        h_t  =  o ⊙ tanh c_t

    x (T, B, I), h and c (B, H) before the first step, W (4, I, H), U (4, H, H) -> h_1 … h_T (T, B, H), and c_T (B, H)

    b       (4, H); or (4, B, H), a row for each sequence: so a condition y, as y V + b, enters the gates at every step
    mask    (T, B) bool, False where a sequence has no such step: then both states are copied.  None: all have
    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    What no step waits for, x W and the weights' gradients, is made aside, some steps at a time, if a thread is spare.
    Compiled, the steps themselves are shared out by rows: there no thread waits for the interpreter.
    Raises ValueError if the shapes do not fit, or for no step at all.
    """
    _check(x, h, c, W, U, b, mask)
    (T, B, I), H, spare = x.shape, h.shape[1], spare_team().threads
    idle = None if mask is None else ~mask[:, :, None]
    blocks = [slice(t, min(t + STEPS, T)) for t in range(0, T, STEPS)] if spare > 1 else [slice(0, T)]
    lots = _lots(B, spare)
    gates, states, cells, shown = _forwards(x, h, c, W, U, b, idle, blocks, lots)

    def pullback(dh_all: Array, dc_last: Array, need_dx: bool = True) -> tuple[Any, ...]:
        slopes, parts = np.empty_like(gates, shape=(6, T, B, H)), np.zeros_like(gates[:, 0])
        da, back = slopes[1:-1], U.swapaxes(1, 2).copy()          # turned: quicker, for few rows, than as it lies
        xh = np.concatenate([x, states[:-1]], axis=2)
        dWU, db, dx = np.zeros_like(W, shape=(4, I + H, H)), np.zeros_like(b), np.empty_like(x, shape=(4, T * B, I))

        def weights(block: slice, some: slice = ALL) -> None:
            _add_weights(dWU[some], xh[block], da[some, block])
            db[some] += da[some, block].sum(axis=1 if b.ndim == 3 else (1, 2))

        def inputs(some: slice = ALL) -> None:
            for da_k, W_k, dx_k in zip(da[some], W[some], dx[some] if need_dx else ()):
                by_rows(da_k.reshape(T * B, H), W_k.T.copy(), out=dx_k)          # turned: quicker than as it lies

        _backwards(blocks, lots, slopes, parts, (gates, cells, shown, idle), dh_all, dc_last, back, weights, inputs)
        return (dx.sum(axis=0).reshape(x.shape) if need_dx else None, parts.sum(axis=0), slopes[0, 0].copy(),
                dWU[:, :I], dWU[:, I:], db)

    return (states[1:], cells[T].copy()), pullback


def _backwards(blocks: list[slice], lots: int, slopes: Array, parts: Array, past: tuple[Any, ...], dh_all: Array,
               dc: Array, U: Array, weights: Callable[..., None], inputs: Callable[..., None]) -> None:
    """What the gates hear at every step, and what hears them: weights(block, some of the gates) and inputs(some)."""
    gates, cells, shown, idle = past

    def then(some: slice) -> None:
        for block in reversed(blocks):
            weights(block, some)
        inputs(some)

    if loops := compiled(gates, dh_all, dc):
        loops.lstm_heard(shares(dc.shape[0], lots), slopes, parts, gates, cells, shown, dh_all, dc, U, idle)
        shared_out(then, 4)
        return
    shared_out(lambda steps: _slopes(slopes, gates, cells, shown, idle, steps), len(shown))
    added = []
    for block in reversed(blocks):
        dc = _heard(block, lots, slopes, parts, dh_all, dc, U, idle)
        added.append(spare_team().aside(partial(weights, block)))
    inputs()
    for wait in added:
        wait()


def _lots(B: int, threads: int) -> int:
    """Among how many threads the rows are shared out, as many to each: a product of 16 takes hardly less for fewer."""
    return max((n for n in range(2, threads + 1) if B % n == 0 and B // n >= ROWS), default=1)


def _by_lots(gates: Array, lots: int) -> Array:
    """(4, B, H) -> (4, lots, B / lots, H)"""
    return gates.reshape(4, lots, gates.shape[1] // lots, gates.shape[2])


def _slopes(slopes: Array, gates: Array, cells: Array, shown: Array, idle: Array | None, steps: slice) -> None:
    """What every step multiplies a gradient by, before any gradient is known

        ∂c_t/∂c_t−1 = f,   ∂c/∂a_i = g σ'(a_i),   ∂c/∂a_f = c_t−1 σ'(a_f),   ∂h/∂a_o = tanh c_t σ'(a_o),
        ∂c/∂a_g = i tanh'(a_g),   ∂h/∂c = o tanh'(c_t),        σ' = σ − σ²,   tanh' = 1 − tanh²

    a, what a gate hears.  A step that was none: no gate was heard, and c goes on.
    """
    (i, f, o, g), show, d = gates[:, steps], shown[steps], slopes[:, steps]
    np.multiply(gates[:, steps], gates[:, steps], out=d[1:5])
    np.subtract(gates[:3, steps], d[1:4], out=d[1:4])
    np.subtract(1.0, d[4], out=d[4])
    for slope, other in zip(d[1:5], (g, cells[steps], show, i)):
        slope *= other
    np.multiply(show, show, out=d[5])
    np.subtract(1.0, d[5], out=d[5])
    d[5] *= o
    d[0] = f
    if idle is not None:
        np.copyto(d[1:], 0.0, where=idle[steps])
        np.copyto(d[0], 1.0, where=idle[steps])


def _heard(block: slice, lots: int, slopes: Array, parts: Array, dh_all: Array, dc: Array, U: Array,
           idle: Array | None) -> Array:
    """At each step of a block, the last one first, where the slopes were: dc_t−1, what the four gates hear, and all of
    dc_t.  Returns dc before the block.

    h_t was heard by four gates of the step after it, whose parts add, and by whoever asked for it.
    """
    dh, by_lots = np.empty_like(parts[0]), _by_lots(parts, lots)
    for t in reversed(range(block.start, block.stop)):
        parts.sum(axis=0, out=dh)
        dh += dh_all[t]
        d = slopes[:, t]
        d[3::2] *= dh                                 # of o, and of c_t through h_t
        d[5] += dc
        d[:3] *= d[5]                                 # of c_t−1, i and f
        d[4] *= d[5]                                  # of g
        dc = d[0]
        np.matmul(_by_lots(d[1:5], lots), U[:, None], out=by_lots)
        if idle is not None:                          # h goes on
            parts[:1] += dh * idle[t]
    return dc


def _add_weights(dWU: Array, xh: Array, da: Array) -> None:
    """Of all steps of a block together: the weights of gates hear xᵀ da and hᵀ da, xh (n, B, I + H), da (·, n, B, H)"""
    rows = xh.reshape(-1, xh.shape[-1])
    for gate, da_k in zip(dWU, da):
        product = np.empty_like(gate)
        by_rows(rows.T, da_k.reshape(len(rows), -1), out=product)
        gate += product


def _forwards(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, idle: Array | None,
              blocks: list[slice], lots: int) -> tuple[Array, ...]:
    """The gates of every step (4, T, B, H); h and c before the first step and after each (T + 1, B, H); tanh c_t"""
    (T, B, I), H = x.shape, h.shape[1]
    half = np.full_like(W, 0.5, shape=(4, 1, 1))      # σ(a) = ½ + ½ tanh ½a: with ½ in the weights, one tanh serves all
    half[3] = 1.0
    gates = np.empty_like(W, shape=(4, T, B, H))
    states, cells, shown = (np.empty_like(W, shape=(n, B, H)) for n in (T + 1, T + 1, T))
    states[0], cells[0] = h, c
    W_half, U_half, b_half = W * half, U * half, (b.reshape(4, -1, H) * half)[:, None]

    def hear(block: slice, some: slice = ALL) -> None:            # x W of all its steps is one product
        for W_k, gate in zip(W_half[some], gates[some]):
            by_rows(x[block].reshape(-1, I), W_k, out=gate[block].reshape(-1, H))
        gates[some, block] += b_half[some]

    def hear_all(some: slice) -> None:
        for block in blocks:
            hear(block, some)

    if loops := compiled(gates, cells):
        shared_out(hear_all, 4)
        loops.lstm_go(shares(B, lots), gates, states, cells, shown, U_half, idle)
    else:
        hear(blocks[0])
        heard = [None, *(spare_team().aside(partial(hear, block)) for block in blocks[1:])]
        for block, wait in zip(blocks, heard):
            if wait:
                wait()
            _go(block, lots, gates, states, cells, shown, U_half, idle)
    return gates, states, cells, shown


def _go(block: slice, lots: int, gates: Array, states: Array, cells: Array, shown: Array, U: Array,
        idle: Array | None) -> None:
    """The steps of a block, one after the other: c_t and h_t; and the gates, where what they heard of x was."""
    room = np.empty_like(gates[:, 0])
    by_lots = _by_lots(room, lots)
    for t in range(block.start, block.stop):
        heard = gates[:, t]
        np.matmul(states[t].reshape(by_lots.shape[1:]), U[:, None], out=by_lots)
        heard += room
        i, f, o, g = np.tanh(heard, out=heard)
        heard[:3] *= 0.5
        heard[:3] += 0.5
        np.multiply(f, cells[t], out=cells[t + 1])
        cells[t + 1] += i * g
        np.multiply(o, np.tanh(cells[t + 1], out=shown[t]), out=states[t + 1])
        if idle is not None:
            np.copyto(states[t + 1], states[t], where=idle[t])
            np.copyto(cells[t + 1], cells[t], where=idle[t])


def _check(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, mask: Array | None) -> None:
    """Raise ValueError, naming it, for an argument whose shape does not fit."""
    if x.ndim != 3 or len(x) == 0 or (W.ndim == 3 and x.shape[2] != W.shape[1]):
        raise ValueError(f"lstm: x has shape {x.shape}, expected (T, B, {W.shape[1] if W.ndim == 3 else 'I'}), "
                         "T at least 1")
    (T, B, I), H = x.shape, h.shape[-1] if h.ndim else 0
    expected: list[tuple[str, Array | None, list[tuple[int, ...]]]] = [
        ("h", h, [(B, H)]), ("c", c, [(B, H)]), ("W", W, [(4, I, H)]), ("U", U, [(4, H, H)]),
        ("b", b, [(4, H), (4, B, H)]), ("mask", mask, [(T, B)])]
    for name, array, fits in expected:
        if array is not None and array.shape not in fits:
            raise ValueError(f"lstm: {name} has shape {array.shape}, expected {' or '.join(map(str, fits))}")
