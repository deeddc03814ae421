"""A recurrent layer: sequences of different lengths, with a condition that every step hears."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.nn.layers import Layer, glorot
from minivae.nn.parameter import Parameter


class LSTM(Layer):
    """ops.lstm over x (T, B, inputs) from the states h and c (B, units) -> h of every step (T, B, units), the last c

    mask       (T, B) bool, False where a sequence has no such step
    y          (B, condition): y V is added to what the gates of every step hear (a conditional LSTM: Xu et al. 2017)
    condition  numbers of y; 0: it hears none

    The pullback returns (dx, dh, dc).  At first the forget gate is open, at b = 1 (Jozefowicz et al. 2015): so what is
    remembered, and a gradient, come far.
    Raises ValueError for a size below 1, a condition below 0, or a y where there is none, or none where there is.
    """

    def __init__(self, inputs: int, units: int, *, rng: Generator, condition: int = 0) -> None:
        at_least_one(inputs=inputs, units=units)
        if condition < 0:
            raise ValueError(f"condition: got {condition}, expected at least 0")
        self.inputs, self.units, self.condition = inputs, units, condition
        self.W = Parameter(np.stack([glorot(inputs, units, rng) for _ in range(4)]))
        self.U = Parameter(np.stack([glorot(units, units, rng) for _ in range(4)]))
        self.b = Parameter(np.outer([0.0, 1.0, 0.0, 0.0], np.ones(units)))
        if condition:
            self.V = Parameter(np.stack([glorot(condition, units, rng) for _ in range(4)]))

    def __call__(self, x: Array, h: Array, c: Array, *, mask: Array | None = None,
                 y: Array | None = None) -> tuple[tuple[Array, Array], Pullback]:
        if (y is None) != (self.condition == 0):
            raise ValueError(f"y: got {'none' if y is None else y.shape}, expected "
                             f"{f'(B, {self.condition})' if self.condition else 'none'}")
        b = self.b.value if y is None else self.b.value[:, None] + y @ self.V.value
        states, pull = ops.lstm(x, h, c, self.W.value, self.U.value, b, mask=mask)

        def pullback(dh_all: Array, dc_last: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Any, ...]:
            dx, dh, dc, dW, dU, db = pull(dh_all, dc_last, need_dx=need_dx)
            if need_dp:
                self.W.add(dW)
                self.U.add(dU)
                self.b.add(db if y is None else db.sum(axis=1))
                if y is not None:
                    self.V.add(y.T @ db)
            return dx, dh, dc

        return states, pullback

    def start(self, like: Array) -> tuple[Array, Array]:
        """h and c of sequences that have not begun: zeros        like (…, B, inputs) -> (B, units) (B, units)"""
        zeros = np.zeros_like(like, shape=(like.shape[-2], self.units))
        return zeros, zeros
