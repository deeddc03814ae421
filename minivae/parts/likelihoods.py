"""p(x|z): what the decoder's outputs mean, and how surprised they are by an image.

Each is a layer that turns outputs (B, outputs) and images (B, X) into nats (B,), and knows its
mean, how to draw from it, and which images it can explain at all (its support).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import distributions as D
from minivae.backend import Array, Generator, Pullback
from minivae.nn import Layer
from minivae.ops import repeat, split


class Likelihood(Layer):
    """What all likelihoods offer.  `outputs_per_pixel` numbers come out of the decoder for each pixel."""

    outputs_per_pixel = 1
    low, high = -np.inf, np.inf        # the support of one pixel
    density = False                    # whether it gives a density of real numbers, or else the mass of a few values

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        """−log p(x|z) in nats, (B,); the pullback takes `need_dp`, as a layer's does"""
        raise NotImplementedError

    def of_draws(self, outputs: Array, *, x: Array) -> Array:
        """−log p(x|z) for L draws of every image's z, values only        (L·B, outputs) (B, X) -> (L·B,)"""
        return self(outputs, x=repeat(x, samples=len(outputs) // len(x))[0])[0]

    def mean(self, outputs: Array) -> Array:
        """E[x|z], (B, X): the picture to look at"""
        raise NotImplementedError

    def sample(self, outputs: Array, rng: Generator) -> Array:
        """x ~ p(x|z), (B, X)"""
        raise NotImplementedError

    def scaled(self, x: Array) -> Array:
        """The images as the networks see them: as they are, unless they have units of their own (parts.units)."""
        return x

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        """The best that can be said of images (N, X) without a latent: where an untrained model should start.

        Returns the decoder outputs (outputs,) that say it, and how far outputs may sensibly spread about
        them; sets the likelihood's own parameters.
        """
        return images.mean(axis=0), images.std()

    def check(self, x: Array, name: str = "x") -> None:
        """Raise ValueError if an image holds a NaN or lies outside the support.

        Reads every pixel (and waits for the GPU): for a data set before training, not inside a step.
        """
        low, high = float(x.min()), float(x.max())
        if not np.isfinite(low + high):
            raise ValueError(f"{name}: holds NaN or infinite pixels")
        if low < self.low or high > self.high:
            raise ValueError(f"{name}: pixels lie in [{low:g}, {high:g}], but {type(self).__name__} "
                             f"explains [{self.low:g}, {self.high:g}]; rescale them or choose a Gaussian")


class Bernoulli(Likelihood):
    """x ∈ {0, 1}, p(x = 1|z) = sigmoid(logit).  Grey x ∈ [0, 1] is accepted as cross-entropy."""

    low, high = 0.0, 1.0

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.bernoulli_nll(outputs, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull(dnll)

        return nll, pullback

    def of_draws(self, outputs: Array, *, x: Array) -> Array:
        if type(self).__call__ is not Bernoulli.__call__:        # somebody's own version of it
            return super().of_draws(outputs, x=x)
        return D.bernoulli_nll_of_draws(outputs, x=x)

    def mean(self, outputs: Array) -> Array:
        p = np.negative(outputs)                                 # sigmoid(a) = 1 / (1 + e⁻ᵃ), in place
        with np.errstate(over="ignore"):                         # 1 / ∞ = 0 is right
            np.exp(p, out=p)
        p += 1.0
        return np.reciprocal(p, out=p)

    def sample(self, outputs: Array, rng: Generator) -> Array:
        return D.bernoulli_sample(self.mean(outputs), rng=rng)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        p = images.mean(axis=0).astype(np.float64).clip(1e-3, 1.0 - 1e-3)     # what never was ink may be, one day
        return np.log(p) - np.log1p(-p), 1.0


def halves(outputs: Array) -> tuple[tuple[Array, ...], Pullback]:
    """Outputs (B, 2 X) that are two numbers for each pixel -> (B, X) (B, X)"""
    return split(outputs, sizes=(outputs.shape[-1] // 2,) * 2)
