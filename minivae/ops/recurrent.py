"""A recurrent op: the long short-term memory over a batch of sequences of different lengths.

Time comes first.  Shapes: T steps, B sequences, I inputs, H units; the laws are those of ops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Pullback
from minivae.ops.dense import Matmul


def lstm(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, *,
         mask: Array | None = None) -> tuple[tuple[Array, Array], Pullback]:
    """A memory c that is kept, erased and written to, and what is shown of it, h, at every step        t = 1 … T

        [i, f, o, g]  =  [σ, σ, σ, tanh]( x_t W + h_t−1 U + b )          input, forget and output gate; what to write
        c_t  =  f ⊙ c_t−1 + i ⊙ g,        h_t  =  o ⊙ tanh c_t

    x (T, B, I), h and c (B, H) before the first step, W (I, 4H), U (H, 4H) -> h_1 … h_T (T, B, H), and c_T (B, H)

    b       (4H,); or (B, 4H), a row for each sequence: so a condition y, as y V + b, enters the gates at every step
    mask    (T, B) bool, False where a sequence has no such step: then both states are copied.  None: all have
    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    Raises ValueError if the shapes do not fit, or for no step at all.
    """
    _check(x, h, c, W, U, b, mask)
    (T, B, I), H, idle = x.shape, h.shape[1], None if mask is None else ~mask[:, :, None]
    gates, states, cells, shown = _forwards(x, h, c, W, U, b, idle)
    is_sigmoid, is_tanh = np.ones_like(b, shape=4 * H), np.zeros_like(b, shape=4 * H)
    is_sigmoid[3 * H:], is_tanh[3 * H:] = 0.0, 1.0
    back = U.T.copy()                  # a transposed view is half as slow again in products of few rows

    def pullback(dh_all: Array, dc: Array, need_dx: bool = True, matmul: Matmul = np.matmul) -> tuple[Any, ...]:
        da, slope = np.empty_like(gates), np.empty_like(gates[0])
        dh, dc = np.zeros_like(h), dc.copy()
        for t in reversed(range(T)):
            dh += dh_all[t]
            if idle is not None:                      # a step that was none: what comes goes on, to the step before
                past_h, past_c = dh * idle[t], dc * idle[t]
                dh -= past_h
                dc -= past_c
            (i, f, o, g), (da_i, da_f, da_o, da_g) = _four(gates[t]), _four(da[t])
            through = shown[t] * shown[t]             # ∂h/∂c = o (1 − tanh² c)
            np.subtract(1.0, through, out=through)
            through *= o
            through *= dh
            dc += through
            np.multiply(dc, g, out=da_i)
            np.multiply(dc, cells[t], out=da_f)
            np.multiply(dh, shown[t], out=da_o)
            np.multiply(dc, i, out=da_g)
            np.subtract(is_sigmoid, gates[t], out=slope)             # σ' = σ (1 − σ),   tanh' = 1 + tanh (0 − tanh)
            slope *= gates[t]
            slope += is_tanh
            da[t] *= slope
            dc *= f                                   # ∂c_t/∂c_t−1 = f
            np.matmul(da[t], back, out=dh)
            if idle is not None:
                dh += past_h
                dc += past_c
        flat = da.reshape(T * B, 4 * H)               # one product of all steps
        dx = (flat @ W.T).reshape(x.shape) if need_dx else None
        dW, dU = matmul(x.reshape(T * B, I).T, flat), matmul(states[:-1].reshape(T * B, H).T, flat)
        return dx, dh, dc, dW, dU, flat.sum(axis=0) if b.ndim == 1 else da.sum(axis=0)

    return (states[1:], cells[T].copy()), pullback


def _forwards(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, idle: Array | None) -> tuple[Array, ...]:
    """The gates of every step (T, B, 4H); h and c before the first step and after each (T + 1, B, H); tanh c_t"""
    (T, B, _), H = x.shape, h.shape[1]
    # σ(a) = ½ + ½ tanh ½a: with ½ in the weights, one tanh serves all four gates
    half, shift = np.full_like(b, 0.5, shape=4 * H), np.full_like(b, 0.5, shape=4 * H)
    half[3 * H:], shift[3 * H:] = 1.0, 0.0
    gates = (x.reshape(T * B, -1) @ (W * half)).reshape(T, B, 4 * H)              # x W of all steps is one product
    gates += b * half
    states, cells = np.empty_like(x, shape=(T + 1, B, H)), np.empty_like(x, shape=(T + 1, B, H))
    states[0], cells[0], shown = h, c, np.empty_like(x, shape=(T, B, H))
    U_half, room = U * half, np.empty_like(gates[0])
    for t in range(T):
        a = gates[t]
        a += np.matmul(states[t], U_half, out=room)
        np.tanh(a, out=a)
        a *= half
        a += shift
        i, f, o, g = _four(a)
        np.multiply(f, cells[t], out=cells[t + 1])
        cells[t + 1] += np.multiply(i, g, out=room[:, :H])
        np.multiply(o, np.tanh(cells[t + 1], out=shown[t]), out=states[t + 1])
        if idle is not None:
            np.copyto(states[t + 1], states[t], where=idle[t])
            np.copyto(cells[t + 1], cells[t], where=idle[t])
    return gates, states, cells, shown


def _four(a: Array) -> tuple[Array, ...]:
    """i, f, o, g: views        (B, 4H) -> (B, H) each"""
    H = a.shape[1] // 4
    return a[:, :H], a[:, H:2 * H], a[:, 2 * H:3 * H], a[:, 3 * H:]


def _check(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, mask: Array | None) -> None:
    """Raise ValueError, naming it, for an argument whose shape does not fit."""
    H = U.shape[0]
    if x.ndim != 3 or len(x) == 0 or x.shape[2:] != W.shape[:1]:
        raise ValueError(f"lstm: x has shape {x.shape}, expected (T, B, {W.shape[0]}), T at least 1")
    T, B = x.shape[:2]
    for name, array, fits in (("h", h, [(B, H)]), ("c", c, [(B, H)]), ("W", W, [(x.shape[2], 4 * H)]),
                              ("U", U, [(H, 4 * H)]), ("b", b, [(4 * H,), (B, 4 * H)]),
                              *([] if mask is None else [("mask", mask, [(T, B)])])):
        if array.shape not in fits:
            raise ValueError(f"lstm: {name} has shape {array.shape}, expected {' or '.join(map(str, fits))}")
