"""A recurrent op: the long short-term memory over a batch of sequences of different lengths.

Time comes first.  Shapes: T steps, B sequences, I inputs, H units, and 4 for the gates i, f, o and g; the laws are
those of ops.  The four lie one after the other, each without gaps, for every step asks for one at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Pullback
from minivae.fast import compiled


def lstm(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, *,
         mask: Array | None = None) -> tuple[tuple[Array, Array], Pullback]:
    """A memory c that is kept, erased and written to, and what is shown of it, h, at every step        t = 1 … T

        [i, f, o, g]  =  [σ, σ, σ, tanh]( x_t W + h_t−1 U + b )          input, forget and output gate; what to write
        c_t  =  f ⊙ c_t−1 + i ⊙ g,        h_t  =  o ⊙ tanh c_t

    x (T, B, I), h and c (B, H) before the first step, W (4, I, H), U (4, H, H) -> h_1 … h_T (T, B, H), and c_T (B, H)

    b       (4, H); or (4, B, H), a row for each sequence: so a condition y, as y V + b, enters the gates at every step
    mask    (T, B) bool, False where a sequence has no such step: then both states are copied.  None: all have
    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    Raises ValueError if the shapes do not fit, or for no step at all.
    """
    _check(x, h, c, W, U, b, mask)
    (T, B, I), H, idle = x.shape, h.shape[1], None if mask is None else ~mask[:, :, None]
    gates, states, cells, shown = _forwards(x, h, c, W, U, b, idle)
    loops = compiled(gates, cells, shown)

    def pullback(dh_all: Array, dc_last: Array, need_dx: bool = True) -> tuple[Any, ...]:
        heard = _heard_at if loops is None else loops.lstm_heard_at
        back = U.swapaxes(1, 2).copy()                # transposed views are slower in products of few rows
        da, parts = np.empty_like(gates), np.empty_like(gates[:, 0])
        dh = np.zeros_like(shown[0])
        dc = dh + dc_last
        for t in reversed(range(T)):
            dh += dh_all[t]
            if idle is not None:                      # a step that was none: what comes goes on, to the step before
                past_h, past_c = dh * idle[t], dc * idle[t]
                dh -= past_h
                dc -= past_c
            heard(t, gates, cells, shown, dh, dc, da)
            np.matmul(da[:, t], back, out=parts)      # h_t−1 was heard by four gates: they add
            parts.sum(axis=0, out=dh)
            if idle is not None:
                dh += past_h
                dc += past_c
        flat = da.reshape(4, T * B, H)                # all steps together
        dx = (flat @ W.swapaxes(1, 2)).sum(axis=0).reshape(x.shape) if need_dx else None
        dW, dU = x.reshape(T * B, I).T @ flat, states[:-1].reshape(T * B, H).T @ flat
        return dx, dh, dc, dW, dU, flat.sum(axis=1) if b.ndim == 2 else da.sum(axis=1)

    return (states[1:], cells[T].copy()), pullback


def _heard_at(t: int, gates: Array, cells: Array, shown: Array, dh: Array, dc: Array, da: Array) -> None:
    """What the gates hear at a step, before σ and tanh, into da[:, t]; dc becomes that of the step before."""
    (i, f, o, g), (da_i, da_f, da_o, da_g) = gates[:, t], da[:, t]
    through = shown[t] * shown[t]                     # ∂h/∂c = o (1 − tanh² c)
    np.subtract(1.0, through, out=through)
    through *= o
    through *= dh
    dc += through
    np.multiply(dc, g, out=da_i)
    np.multiply(dc, cells[t], out=da_f)
    np.multiply(dh, shown[t], out=da_o)
    np.multiply(dc, i, out=da_g)
    slopes = gates[:, t] * gates[:, t]
    np.subtract(gates[:3, t], slopes[:3], out=slopes[:3])        # σ' = σ − σ²
    np.subtract(1.0, slopes[3], out=slopes[3])                   # tanh' = 1 − tanh²
    da[:, t] *= slopes
    dc *= f                                           # ∂c_t/∂c_t−1 = f


def _forwards(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, idle: Array | None) -> tuple[Array, ...]:
    """The gates of every step (4, T, B, H); h and c before the first step and after each (T + 1, B, H); tanh c_t"""
    (T, B, _), H = x.shape, h.shape[1]
    half = np.full_like(W, 0.5, shape=(4, 1, 1))      # σ(a) = ½ + ½ tanh ½a: with ½ in the weights, one tanh serves all
    half[3] = 1.0
    gates = (x.reshape(T * B, -1) @ (W * half)).reshape(4, T, B, H)               # x W of all steps is one product
    gates += (b.reshape(4, -1, H) * half)[:, None]
    states, cells, shown = (np.empty_like(gates, shape=(n, B, H)) for n in (T + 1, T + 1, T))
    states[0], cells[0] = h, c
    U_half, room = U * half, np.empty_like(gates[:, 0])
    loops = compiled(gates, cells)
    write = _written_at if loops is None else loops.lstm_written_at
    for t in range(T):
        gates[:, t] += np.matmul(states[t], U_half, out=room)
        np.tanh(gates[:, t], out=gates[:, t])
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
