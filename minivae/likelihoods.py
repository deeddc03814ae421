"""p(x|z): what the decoder's outputs mean, and how surprised they are by an image.

Each is a layer that turns outputs (B, outputs) and images (B, X) into nats (B,), and knows its
mean, how to draw from it, and which images it can explain at all (its support).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae import distributions as D
from minivae.arena import Parameter
from minivae.backend import Array, Generator
from minivae.layers import Layer
from minivae.ops import Pullback, softplus, split


class Likelihood(Layer):
    """What all likelihoods offer.  `outputs_per_pixel` numbers come out of the decoder for each pixel."""

    outputs_per_pixel = 1
    low, high = -np.inf, np.inf        # the support of one pixel

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        """−log p(x|z) in nats, (B,); the pullback takes `need_dp`, as a layer's does"""
        raise NotImplementedError

    def mean(self, outputs: Array) -> Array:
        """E[x|z], (B, X): the picture to look at"""
        raise NotImplementedError

    def sample(self, outputs: Array, rng: Generator) -> Array:
        """x ~ p(x|z), (B, X)"""
        raise NotImplementedError

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

    def mean(self, outputs: Array) -> Array:
        p = 0.5 * outputs                                        # sigmoid(a) = ½ + ½ tanh(½ a), in place
        np.tanh(p, out=p)
        p *= 0.5
        p += 0.5
        return p

    def sample(self, outputs: Array, rng: Generator) -> Array:
        return D.bernoulli_sample(self.mean(outputs), rng=rng)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        p = images.mean(axis=0).astype(np.float64).clip(1e-3, 1.0 - 1e-3)     # what never was ink may be, one day
        return np.log(p) - np.log1p(-p), 1.0


class Gaussian(Likelihood):
    """x ~ N(outputs, σ²): what those with one σ for all pixels have in common."""
    std: Any

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

    Inside `learning(model)` σ² is the mean squared error of the batch, over images and pixels, and a running average
    follows it (a parameter whose gradient stays zero): running ← running + momentum · (batch's − running).  Everywhere
    else the running average is used: an evaluation must not look at the error of the images it judges.

    The envelope theorem: the mean loss f(θ, σ²) has ∂f/∂σ² = 0 at σ̂²(θ), so that in
    df(θ, σ̂²(θ))/dθ = ∂f/∂θ + ∂f/∂σ² · dσ̂²/dθ the second term vanishes, although σ̂² moves with every weight.  (An
    objective that weighs images differently, such as the IWAE, needs that term, and gets it.)
    Rybkin et al. 2021 (σ-VAE).
    """

    def __init__(self, *, momentum: float = 0.02) -> None:
        if not 0 < momentum <= 1:
            raise ValueError(f"GaussianOptimal: momentum is {momentum}, expected a number in (0, 1]")
        self.running_var = Parameter(1.0)
        self.momentum, self.learning = momentum, False

    @property
    def std(self) -> Any:
        return np.sqrt(self.running_var.value)

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        if learning := self.learning:
            nll, pull = D.gaussian_nll_optimal(outputs, x=x)
            self.running_var.value += self.momentum * (np.square(outputs - x).mean() - self.running_var.value)
        else:
            nll, pull = D.gaussian_nll_shared(outputs, np.log(self.running_var.value), x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull(dnll) if learning else pull(dnll)[0]     # the running average does not learn

        return nll, pullback

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        self.running_var.value[...] = max(images.var(axis=0).mean(), 1e-3)
        return super().start(images)


class GaussianPixel(Likelihood):
    """x ~ N(mean, exp(logvar)), both from the decoder: its outputs are [mean, logvar]."""

    outputs_per_pixel = 2

    def __call__(self, outputs: Array, *, x: Array) -> tuple[Array, Pullback]:
        (mean, logvar), pull_split = _halves(outputs)
        nll, pull_nll = D.gaussian_nll(mean, logvar, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull_split(*pull_nll(dnll))

        return nll, pullback

    def mean(self, outputs: Array) -> Array:
        return _halves(outputs)[0][0]

    def sample(self, outputs: Array, rng: Generator) -> Array:
        (mean, logvar), _ = _halves(outputs)
        return mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=mean.dtype)

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        variance = images.var(axis=0).clip(1e-3, None)           # a pixel that never changed may, one day
        return np.concatenate([images.mean(axis=0), np.log(variance)]), images.std()


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
        (mean, logscale), pull_split = _halves(outputs)
        nll, pull_nll = D.discretized_logistic_nll(mean, logscale, x=x)

        def pullback(dnll: Array, need_dp: bool = True) -> Array:
            return pull_split(*pull_nll(dnll))

        return nll, pullback

    def locate(self, outputs: Array) -> tuple[Array, ...]:
        return _halves(outputs)[0]

    def start(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        return np.concatenate([images.mean(axis=0), _logscale(images.var(axis=0).clip(1e-3, None))]), images.std()


def _halves(outputs: Array) -> tuple[tuple[Array, ...], Pullback]:
    return split(outputs, sizes=(outputs.shape[-1] // 2,) * 2)


def _logscale(variance: Any) -> Any:
    return 0.5 * np.log(variance * 3.0 / math.pi**2)             # a logistic's variance is ⅓ π² s²


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian_fixed": GaussianFixed, "gaussian_shared": GaussianShared,
               "gaussian_optimal": GaussianOptimal, "gaussian_pixel": GaussianPixel,
               "logistic_shared": LogisticShared, "logistic_pixel": LogisticPixel}


def likelihood(name: str) -> Likelihood:
    """The likelihood of that name.  Raises ValueError for an unknown one."""
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood: got {name!r}, expected one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]()
