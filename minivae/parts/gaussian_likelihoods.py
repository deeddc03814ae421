"""Gaussian pixels: with a σ that is chosen, learned, in closed form, or of every pixel its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import distributions as D
from minivae.backend import Array, Generator, Pullback
from minivae.nn import Parameter
from minivae.parts.likelihoods import Likelihood, halves


class Gaussian(Likelihood):
    """x ~ N(outputs, σ²): what those with one σ for all pixels have in common."""
    std: Any
    density = True

    def mean(self, outputs: Array) -> Array:
        return outputs

    def sample(self, outputs: Array, rng: Generator) -> Array:
        return outputs + self.std * rng.standard_normal(outputs.shape, dtype=outputs.dtype)


class GaussianFixed(Gaussian):
    """x ~ N(outputs, std²) with a chosen std."""

    def __init__(self, std: float = 1.0) -> None:
        if not std > 0:
            raise ValueError(f"GaussianFixed: std is {std}, expected a number > 0")
        self.std = std

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.gaussian_nll_fixed(outputs, x=x, std=self.std)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull(dnll)

        return nll, pullback


class GaussianShared(Gaussian):
    """x ~ N(outputs, σ²) with one learned log σ² for all pixels."""

    def __init__(self) -> None:
        self.logvar = Parameter(0.0)

    @property
    def std(self) -> Any:
        return np.exp(0.5 * self.logvar.value)

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.gaussian_nll_shared(outputs, self.logvar.value, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            doutputs, dlogvar = pull(dnll)
            if need_dp:
                self.logvar.grad += dlogvar
            return doutputs

        return nll, pullback

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        self.logvar.value[...] = np.log(max(images.var(axis=0).mean(), 1e-3))     # about the average image
        return super().start(images)


class GaussianOptimal(Gaussian):
    """x ~ N(outputs, σ²) with the σ² that is best for these outputs, in closed form: no step has to learn it.

    σ² is a running average (a parameter whose gradient stays zero) of what was best in the batches it has learned from:
    an evaluation must not look at the error of the images it judges.  As it learns (`learning()`, a layer's) it is a
    `GaussianOfBatch`.
    Rybkin et al. 2021 (σ-VAE).

    momentum   running ← running + momentum · (batch's − running)
    """

    def __init__(self, *, momentum: float = 0.02) -> None:
        if not 0 < momentum <= 1:
            raise ValueError(f"GaussianOptimal: momentum is {momentum}, expected a number in (0, 1]")
        self.running_var = Parameter(1.0)
        self.momentum = momentum

    def learning(self) -> GaussianOfBatch:
        return GaussianOfBatch(self)

    @property
    def std(self) -> Any:
        return np.sqrt(self.running_var.value)

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.gaussian_nll_shared(outputs, np.log(self.running_var.value), x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull(dnll)[0]                                 # the running average does not learn

        return nll, pullback

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        self.running_var.value[...] = max(images.var(axis=0).mean(), 1e-3)
        return super().start(images)


class GaussianOfBatch(GaussianOptimal):
    """A GaussianOptimal as it learns: σ² is the mean squared error of the batch, over images and pixels.

    The envelope theorem: the mean loss f(θ, σ²) has ∂f/∂σ² = 0 at σ̂²(θ), so that in
    df(θ, σ̂²(θ))/dθ = ∂f/∂θ + ∂f/∂σ² · dσ̂²/dθ the second term vanishes, although σ̂² moves with every weight.  (An
    objective that weighs images differently, such as the IWAE, needs that term, and gets it.)

    optimal   whose running average follows it
    """

    def __init__(self, optimal: GaussianOptimal) -> None:
        vars(self).update(vars(optimal))

    def learning(self) -> GaussianOfBatch:
        return self

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        nll, pull = D.gaussian_nll_optimal(outputs, x=x)
        self.running_var.value += self.momentum * (np.square(outputs - x).mean() - self.running_var.value)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull(dnll)

        return nll, pullback


class GaussianPixel(Likelihood):
    """x ~ N(mean, exp(logvar)), both from the decoder: its outputs are [mean, logvar]."""

    outputs_per_pixel = 2
    density = True

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        (mean, logvar), pull_split = halves(outputs)
        nll, pull_nll = D.gaussian_nll(mean, logvar, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull_split(*pull_nll(dnll))

        return nll, pullback

    def mean(self, outputs: Array) -> Array:
        return halves(outputs)[0][0]

    def sample(self, outputs: Array, rng: Generator) -> Array:
        (mean, logvar), _ = halves(outputs)
        return mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=mean.dtype)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        variance = images.var(axis=0).clip(1e-3, None)           # a pixel that never changed may, one day
        return np.concatenate([images.mean(axis=0), np.log(variance)]), images.std()
