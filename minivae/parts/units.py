"""Data in units of their own: frames of 0 … 255, a table whose columns lie between 1e-3 and 1e6.

Networks and likelihoods want numbers near 1.  So x = shift + scale · x′, column by column, the model explains x′, and
by the change of variables its density of x is

    log p(x|z) = log p′(x′|z) − Σⱼ log scaleⱼ .

Whoever asks the model sees x alone: samples, reconstructions and bounds are in the data's own units.  (Of a likelihood
that gives masses, not a density, the mass of x is that of x′.)   Shapes: x (B, X), shift and scale (X,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback, to_numpy
from minivae.nn import Parameter
from minivae.parts.likelihoods import Likelihood

LEAST, MOST = 1e-3, 30.0               # the spread, and the size, of numbers that networks can be fed as they are


class InUnits(Likelihood):
    """A likelihood of x = shift + scale · x′, given one of x′.

    shift and scale are parameters whose gradient stays zero: no optimizer moves them, every checkpoint keeps them.
    Raises ValueError unless every scale is a finite number > 0.
    """

    def __init__(self, inner: Likelihood, shift: np.ndarray, scale: np.ndarray) -> None:
        fine = np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()
        if shift.shape != scale.shape or not fine:
            raise ValueError(f"scale: got shape {scale.shape} with numbers from {scale.min():g} to {scale.max():g}, "
                             f"expected finite numbers > 0 in the shape of shift, {shift.shape}")
        self.inner, self.shift, self.scale = inner, Parameter(shift), Parameter(scale)
        self.outputs_per_pixel, self.density = inner.outputs_per_pixel, inner.density

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pullback = self.inner(outputs, x=self.scaled(x))
        return (nll + np.log(self.scale.value).sum() if self.density else nll), pullback

    def scaled(self, x: Array) -> Array:
        return (x - self.shift.value) / self.scale.value

    def mean(self, outputs: Array) -> Array:
        return self.shift.value + self.scale.value * self.inner.mean(outputs)

    def sample(self, outputs: Array, rng: Generator) -> Array:
        return self.shift.value + self.scale.value * self.inner.sample(outputs, rng)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.inner.start((images - self.shift.value) / self.scale.value)

    def check(self, x: Array, name: str = "x") -> None:
        shift, scale = self.shift.value, self.scale.value
        if isinstance(x, np.ndarray):                  # training asks before it takes the data to the device
            shift, scale = to_numpy(shift), to_numpy(scale)
        self.inner.check((x - shift) / scale, name)


def units_of(images: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """shift and scale (X,) for images (N, X).

    how   "unit": one shift and one scale for all pixels, so that the data fill [0, 1]: pictures of 0 … 255
          "standard": of every column its mean and its standard deviation (1, where it is constant): tables
    Raises ValueError for another name.
    """
    wide = images.astype(np.float64)
    if how == "unit":
        low, high = wide.min(), wide.max()
        return np.full(images.shape[1], low), np.full(images.shape[1], high - low if high > low else 1.0)
    if how == "standard":
        std = wide.std(axis=0)
        return wide.mean(axis=0), np.where(std > 1e-12 * np.abs(wide).max(axis=0), std, 1.0)
    raise ValueError(f"scale: got {how!r}, expected unit or standard")


def check_scale(images: np.ndarray, p_x: Likelihood) -> None:
    """Raise ValueError, saying what to do, if networks can not be fed these numbers under a density p_x."""
    x = p_x.scaled(images).astype(np.float64)
    if not p_x.density or not np.isfinite(x).all():
        return
    size, spread = np.abs(x).max(), x.std(axis=0)
    if size > MOST or spread.max() < LEAST:
        columns = spread[spread > 0]
        uneven = len(columns) > 1 and columns.max() > 30.0 * np.median(columns)
        advice = "standard (each column by its own mean and spread)" if uneven or size <= MOST else \
            "unit (all by one shift and scale into [0, 1]) or --scale standard (each column by its own)"
        raise ValueError(f"images: numbers lie in [{x.min():g}, {x.max():g}] and spread by {spread.min():.2g} to "
                         f"{spread.max():.2g}, column by column, where networks want about 1: try --scale {advice}; "
                         "samples, reconstructions and bounds stay in your units")
