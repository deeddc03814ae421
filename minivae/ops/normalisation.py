"""Normalising the channels of images, or the columns of rows: moments of a batch, and what is done with them.

The laws are those of ops.  Shapes: B images (or rows), C channels; moments (C,).
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback


def batch_moments(x: Array) -> tuple[tuple[Array, Array], Pullback]:
    """mean and var of each channel, over images and pixels        (B, …, C) -> (C,) (C,)"""
    axes = tuple(range(x.ndim - 1))
    N = x.size // x.shape[-1]
    mean = x.mean(axis=axes)
    offset = x - mean

    def pullback(dmean: Array, dvar: Array) -> Array:      # ∂mean/∂x = 1/N,   ∂var/∂x = 2 (x − mean)/N
        return (dmean + 2.0 * offset * dvar) / N

    return (mean, (offset * offset).mean(axis=axes)), pullback


def normalise(x: Array, mean: Array, var: Array, gain: Array, shift: Array, *,
              eps: float = 1e-5) -> tuple[Array, Pullback]:
    """y = gain · (x − mean) / √(var + ε) + shift        (B, …, C) and four of (C,) -> (B, …, C)

    With the moments of this batch it is batch normalisation, with those of the past its evaluation.
    Ioffe and Szegedy 2015, algorithm 1.  Raises ValueError if a shape is not (C,).
    """
    for name, array in (("mean", mean), ("var", var), ("gain", gain), ("shift", shift)):
        if array.shape != x.shape[-1:]:
            raise ValueError(f"normalise: {name} has shape {array.shape}, expected {x.shape[-1:]}")
    axes = tuple(range(x.ndim - 1))
    scale = 1.0 / np.sqrt(var + eps)
    unit = (x - mean) * scale

    def pullback(dy: Array) -> tuple[Array, Array, Array, Array, Array]:
        dshift = dy.sum(axis=axes)
        dgain = (dy * unit).sum(axis=axes)
        dmean = -gain * scale * dshift                     # ∂y/∂mean = −gain/√(var + ε)
        dvar = -0.5 * gain * scale * scale * dgain         # ∂y/∂var = −½ gain (x − mean)/√(var + ε)³
        return dy * (gain * scale), dmean, dvar, dgain, dshift

    return unit * gain + shift, pullback
