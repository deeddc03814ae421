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
from minivae.parallel import spare_team

STEPS = 8                  # that one thread goes while another makes the products of those before


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
    Raises ValueError if the shapes do not fit, or for no step at all.
    """
    _check(x, h, c, W, U, b, mask)
    (T, B, I), H, idle = x.shape, h.shape[1], None if mask is None else ~mask[:, :, None]
    at_once = STEPS if spare_team().threads > 1 else T
    blocks = [slice(t, min(t + at_once, T)) for t in range(0, T, at_once)]
    gates, states, cells, shown = _forwards(x, h, c, W, U, b, idle, blocks)
    loops = compiled(gates, cells, shown)
    find_slopes, heard = (_slopes, _heard) if loops is None else (loops.lstm_slopes, loops.lstm_heard)

    def pullback(dh_all: Array, dc_last: Array, need_dx: bool = True) -> tuple[Any, ...]:
        slopes = np.empty_like(gates, shape=(6, T, B, H))
        da = slopes[1:-1]                             # in the place of four of them
        back = U.swapaxes(1, 2).copy()                # transposed views are slower in products of few rows
        dWU, db, parts = np.zeros_like(W, shape=(4, I + H, H)), np.zeros_like(b), np.zeros_like(gates[:, 0])
        dh, dc = np.empty_like(shown[0]), dc_last

        def add_weights(block: slice) -> None:
            _add_weights(dWU, np.concatenate([x[block], states[block]], axis=2), da[:, block])
            db[...] += da[:, block].sum(axis=1 if b.ndim == 3 else (1, 2))

        def slopes_of(block: slice) -> None:
            find_slopes(slopes, gates, cells, shown, block)
            if idle is not None:                      # a step that was none: no gate was heard, and c goes on
                np.copyto(slopes[1:, block], 0.0, where=idle[block])
                np.copyto(slopes[0, block], 1.0, where=idle[block])

        finds: list[Callable[[], None]] = [partial(slopes_of, block) for block in reversed(blocks)]
        if loops is None:                             # compiled, they take less than to fetch them from another core
            finds[1:] = [spare_team().aside(find) for find in finds[1:]]
        added = []
        for block, find in zip(reversed(blocks), finds):
            find()
            for t in reversed(range(block.start, block.stop)):
                heard(t, slopes, parts, dh_all[t], dh, dc)
                dc = slopes[0, t]
                np.matmul(da[:, t], back, out=parts)
                if idle is not None:                  # and h goes on
                    parts[:1] += dh * idle[t]
            added.append(spare_team().aside(partial(add_weights, block)))
        dx = _all_heard(da.reshape(4, T * B, H), W).reshape(x.shape) if need_dx else None
        for wait in added:
            wait()
        return dx, parts.sum(axis=0), dc.copy(), dWU[:, :I], dWU[:, I:], db

    return (states[1:], cells[T].copy()), pullback


def _slopes(slopes: Array, gates: Array, cells: Array, shown: Array, block: slice) -> None:
    """What every step of a block multiplies a gradient by, before any gradient is known, into slopes[:, block]

        ∂c_t/∂c_t−1 = f,   ∂c/∂a_i = g σ'(a_i),   ∂c/∂a_f = c_t−1 σ'(a_f),   ∂h/∂a_o = tanh c_t σ'(a_o),
        ∂c/∂a_g = i tanh'(a_g),   ∂h/∂c = o tanh'(c_t),        σ' = σ − σ²,   tanh' = 1 − tanh²

    a, what a gate hears
    """
    (i, f, o, g), show, d = gates[:, block], shown[block], slopes[:, block]
    np.multiply(gates[:, block], gates[:, block], out=d[1:5])
    np.subtract(gates[:3, block], d[1:4], out=d[1:4])
    np.subtract(1.0, d[4], out=d[4])
    for slope, other in zip(d[1:5], (g, cells[block], show, i)):
        slope *= other
    np.multiply(show, show, out=d[5])
    np.subtract(1.0, d[5], out=d[5])
    d[5] *= o
    d[0] = f


def _heard(t: int, slopes: Array, parts: Array, dh_t: Array, dh: Array, dc: Array) -> None:
    """At one step, where the partial derivatives were: dc_t−1, what the four gates hear, and all of dc_t.

    h_t was heard by four gates of the step after it, whose parts add, and by whoever asked for it.
    """
    parts.sum(axis=0, out=dh)
    dh += dh_t
    d = slopes[:, t]
    d[3::2] *= dh                                     # of o, and of c_t through h_t
    d[5] += dc
    d[:3] *= d[5]                                     # of c_t−1, i and f
    d[4] *= d[5]                                      # of g


def _add_weights(dWU: Array, xh: Array, da: Array) -> None:
    """Of all steps of a block together: each gate's weights hear xᵀ da and hᵀ da, xh (n, B, I + H), da (4, n, B, H)"""
    rows = xh.reshape(-1, xh.shape[-1])
    for gate, da_k in zip(dWU, da):
        product = np.empty_like(gate)
        by_rows(rows.T, da_k.reshape(len(rows), -1), out=product)
        gate += product


def _all_heard(da: Array, W: Array) -> Array:
    """dx = Σ daₖ Wₖᵀ: four gates heard it        (4, N, H) (4, I, H) -> (N, I)"""
    parts = np.empty_like(da, shape=(4, da.shape[1], W.shape[1]))
    for da_k, W_k, part in zip(da, W, parts):
        by_rows(da_k, W_k.T.copy(), out=part)         # turned: quicker than as it lies
    return parts.sum(axis=0)


def _forwards(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, idle: Array | None,
              blocks: list[slice]) -> tuple[Array, ...]:
    """The gates of every step (4, T, B, H); h and c before the first step and after each (T + 1, B, H); tanh c_t"""
    (T, B, I), H = x.shape, h.shape[1]
    half = np.full_like(W, 0.5, shape=(4, 1, 1))      # σ(a) = ½ + ½ tanh ½a: with ½ in the weights, one tanh serves all
    half[3] = 1.0
    gates, room = np.empty_like(W, shape=(4, T, B, H)), np.empty_like(W, shape=(4, B, H))
    states, cells, shown = (np.empty_like(W, shape=(n, B, H)) for n in (T + 1, T + 1, T))
    states[0], cells[0] = h, c
    W_half, U_half, b_half = W * half, U * half, (b.reshape(4, -1, H) * half)[:, None]
    loops = compiled(gates, cells)
    write = _written_at if loops is None else loops.lstm_written_at

    def hear(block: slice) -> None:                   # x W of all its steps is one product
        for W_k, gate in zip(W_half, gates):
            by_rows(x[block].reshape(-1, I), W_k, out=gate[block].reshape(-1, H))
        gates[:, block] += b_half

    ahead = [spare_team().aside(partial(hear, block)) for block in blocks[1:]]
    heard: list[Callable[[], None]] = [partial(hear, blocks[0]), *ahead]
    for block, wait in zip(blocks, heard):
        wait()
        for t in range(block.start, block.stop):
            heard_now = gates[:, t]
            heard_now += np.matmul(states[t], U_half, out=room)
            np.tanh(heard_now, out=heard_now)
            write(t, gates, cells)
            np.multiply(gates[2, t], np.tanh(cells[t + 1], out=shown[t]), out=states[t + 1])
            if idle is not None:
                np.copyto(states[t + 1], states[t], where=idle[t])
                np.copyto(cells[t + 1], cells[t], where=idle[t])
    return gates, states, cells, shown


def _written_at(t: int, gates: Array, cells: Array) -> None:
    """c_t into cells[t + 1]; the first three gates become σ, of tanh ½a."""
    i, f, _, g = gates[:, t]
    gates[:3, t] *= 0.5
    gates[:3, t] += 0.5
    np.multiply(f, cells[t], out=cells[t + 1])
    cells[t + 1] += i * g


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
