"""8-bit pixels: the mass that a logistic gives to each grey level."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae import distributions as D
from minivae.backend import Array, Generator, Pullback
from minivae.nn import Parameter
from minivae.ops import softplus
from minivae.parts.likelihoods import Likelihood, halves


class Logistic(Likelihood):
    """x ∈ {0, 1/255, …, 1}, with the mass that a logistic of mean μ and scale s gives to each level's bin."""

    low, high = 0.0, 1.0

    def locate(self, outputs: Array) -> tuple[Array, ...]:
        """μ (B, X) and log s (B, X) or (), of these outputs"""
        raise NotImplementedError

    def mean(self, outputs: Array) -> Array:
        """E[clip(x, 0, 1)] = ∫₀¹ P(x > t) dt = s (softplus(μ/s) − softplus((μ − 1)/s)), within half a level of E[x]"""
        mean, scale = self.locate(outputs)[0], np.exp(self.locate(outputs)[1])
        return scale * (softplus(mean / scale)[0] - softplus((mean - 1.0) / scale)[0])

    def sample(self, outputs: Array, rng: Generator) -> Array:
        """μ + s log(u/(1 − u)), rounded to the nearest level"""
        mean, logscale = self.locate(outputs)
        u = np.maximum(rng.random(mean.shape, dtype=mean.dtype), np.finfo(mean.dtype).tiny)      # it may be 0
        x = mean + np.exp(logscale) * (np.log(u) - np.log1p(-u))
        return np.rint(255.0 * np.clip(x, 0.0, 1.0)) / 255.0

    def check(self, x: Array, name: str = "x") -> None:
        super().check(x, name)
        off = np.abs(np.rint(255.0 * x) - 255.0 * x).max() / 255.0
        if off > 1e-4:
            raise ValueError(f"{name}: pixels lie up to {off:.2g} off the grey levels k/255, and {type(self).__name__} "
                             "knows no others; round them, np.rint(255 * x) / 255, or choose a Gaussian")


class LogisticShared(Logistic):
    """A logistic about the outputs, with one learned log s for all pixels."""

    def __init__(self) -> None:
        self.logscale = Parameter(0.0)

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.discretized_logistic_nll_shared(outputs, self.logscale.value, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            doutputs, dlogscale = pull(dnll)
            if need_dp:
                self.logscale.grad += dlogscale
            return doutputs

        return nll, pullback

    def locate(self, outputs: Array) -> tuple[Array, Array]:
        return outputs, self.logscale.value

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        self.logscale.value[...] = _logscale(max(images.var(axis=0).mean(), 1e-3))
        return super().start(images)


class LogisticPixel(Logistic):
    """A logistic whose mean and log s both come from the decoder: its outputs are [mean, logscale]."""

    outputs_per_pixel = 2

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        (mean, logscale), pull_split = halves(outputs)
        nll, pull_nll = D.discretized_logistic_nll(mean, logscale, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull_split(*pull_nll(dnll))

        return nll, pullback

    def locate(self, outputs: Array) -> tuple[Array, ...]:
        return halves(outputs)[0]

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        return np.concatenate([images.mean(axis=0), _logscale(images.var(axis=0).clip(1e-3, None))]), images.std()


def _logscale(variance: Any) -> Any:
    return 0.5 * np.log(variance * 3.0 / math.pi**2)             # a logistic's variance is ⅓ π² s²
