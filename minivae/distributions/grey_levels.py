"""Grey levels: 8-bit pixels k/255, k = 0 … 255, between a mass and a density, and what either costs in bits."""

from __future__ import annotations

import math
from typing import Any

from minivae.backend import Array, Generator


def bits_of_mass(nll: Any, *, pixels: int) -> Any:
    """Bits per dimension of −log P(x) in nats: nll / (X log 2).  Bits of 8-bit pixels: 8 is to know nothing."""
    return nll / (pixels * math.log(2.0))


def bits_of_density(nll: Any, *, pixels: int, levels: int = 256) -> Any:
    """The same of −log p(x′) in nats, the density of dequantised pixels x′ in [0, 1): nll / (X log 2) + log₂ levels

    A level is a cell of width 1/256, and its mass is at least exp of the average log density in it, times the width.
    Theis, van den Oord and Bethge 2016.
    """
    return bits_of_mass(nll, pixels=pixels) + math.log2(levels)


def dequantise(x: Array, *, rng: Generator) -> Array:
    """x′ = (255 x + u)/256, u ~ U[0, 1): a grey level k/255 becomes anywhere in its cell, [k, k + 1)/256.  A draw."""
    return (255.0 * x + rng.random(x.shape, dtype=x.dtype)) / 256.0
