"""Gaussian pixels that know their neighbours: what a decoder leaves unexplained has edges and shades."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import distributions as D
from minivae.backend import Array, Generator, Pullback
from minivae.ops import split, tanh
from minivae.parts.likelihoods import Likelihood

BOUND = 6.0                # of log d: σ between e⁻⁶ and e⁶, or a pixel that never changes would be infinitely sure


class StructuredGaussian(Likelihood):
    """x ~ N(mean, (L Lᵀ)⁻¹), L = A D sparse: a diagonal, and a coefficient for each of four earlier neighbours.

    The decoder's outputs are [mean, log of the diagonal, four coefficients of every pixel], the last two before they
    are bounded: what a pixel says counts at most once for a neighbour, or draws run away sooner.

    shape   (height, width) of an image
    Dorta et al. 2018.
    """

    outputs_per_pixel = 6
    density = True

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        parts, pull_parts = self._parts(outputs)
        nll, pull_nll = D.sparse_gaussian_nll(*parts, x=x, shape=self.shape)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull_parts(*pull_nll(dnll))

        return nll, pullback

    def _parts(self, outputs: Array) -> tuple[tuple[Array, Array, Array], Pullback]:
        """mean (B, X), logdiag = c tanh(output / c) (B, X) with c = BOUND, below = tanh(output) (B, 4, X)"""
        X = self.shape[0] * self.shape[1]
        (mean, raw, coefficients), pull_split = split(outputs, sizes=(X, X, 4 * X))
        (bounded, pull_logdiag), (below, pull_below) = tanh(raw / BOUND), tanh(coefficients)

        def pullback(dmean: Array, dlogdiag: Array, dbelow: Array) -> Array:
            return pull_split(dmean, pull_logdiag(dlogdiag), pull_below(dbelow.reshape(below.shape)))     # c · 1 / c

        return (mean, BOUND * bounded, below.reshape(-1, 4, X)), pullback

    def mean(self, outputs: Array) -> Array:
        return outputs[:, :self.shape[0] * self.shape[1]]

    def sample(self, outputs: Array, rng: Generator) -> Array:
        return D.sparse_gaussian_sample(*self._parts(outputs)[0], rng=rng, shape=self.shape)

    def sample_alone(self, outputs: Array, rng: Generator, draws: int = 100) -> Array:
        """Every pixel by itself, with the variance that it has in p(x|z): what the neighbours make is missing   (B, X)

        The diagonal of Λ⁻¹ is a solve for each pixel; the mean square of so many draws is near enough to look at.
        """
        mean, squares = self.mean(outputs), 0.0
        for _ in range(draws):
            squares = squares + np.square(self.sample(outputs, rng) - mean)
        return mean + np.sqrt(squares / draws) * rng.standard_normal(mean.shape, dtype=mean.dtype)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        """Every pixel by itself, at its own mean and variance: the off-diagonals start at zero, whatever z is."""
        logdiag = -0.5 * np.log(images.var(axis=0).clip(1e-3, None))
        raw, X = BOUND * np.arctanh(logdiag / BOUND), images.shape[1]
        spread = np.concatenate([np.full(2 * X, images.std()), np.zeros(4 * X)])
        return np.concatenate([images.mean(axis=0), raw, np.zeros(4 * X)]), spread
