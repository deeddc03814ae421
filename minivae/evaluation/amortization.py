"""How much is lost by amortizing inference: every image gets a q of its own, and the encoder is measured against it.

An encoder must answer for all images at once.  With the model θ fixed, the best Gaussian for one image alone is

    q*(z|x) = N(mean, diag exp(logvar)),      (mean, logvar)  =  argmax  F(mean, logvar),

where F is the free energy (Neal and Hinton 1998), which for a fixed θ is the ELBO:

    F = E_q[ log p(x, z) ] + H(q) = log p(x) − KL(q ‖ p(z|x)) .

What lies between log p(x) and the encoder's ELBO then has two parts (Cremer, Li and Duvenaud 2018):

    log p(x) − ELBO(q)  =  log p(x) − ELBO(q*)   +   ELBO(q*) − ELBO(q)
    the inference gap   =  the approximation gap  +  the amortization gap

The first is the price of the family of q, the second that of the encoder.
Shapes: B images of X pixels, Z latents, S or K samples.  Everything is in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from minivae.backend import Array, Generator, to_numpy
from minivae.batch import Batch
from minivae.distributions import gaussian_log_prob
from minivae.evaluation.bounds import ROWS, Estimate, over_parts
from minivae.nn import Adam, Arena, Parameter, cosine
from minivae.ops import logsumexp, repeat
from minivae.parts import DiagonalGaussian
from minivae.vae import VAE

Moments = tuple[Array, Array]          # mean and logvar of q, both (B, Z)


@dataclass(frozen=True)
class AmortizationGap:
    """Two ELBOs and a tighter bound on the same images, and the gaps between them with their paired errors."""

    encoder: Estimate                  # the ELBO with the encoder's q
    fitted: Estimate                   # the ELBO with q*, fitted to each image
    bound: Estimate                    # the importance-weighted bound of K draws of q*
    amortization: Estimate             # fitted − encoder
    approximation: Estimate            # bound − fitted: at least, since log p(x) is no lower than the bound
    total: Estimate                    # bound − encoder, their sum
    samples: int                       # K
    images: int

    def __str__(self) -> str:
        lines = ((f"IW({self.samples:,}), proposals from q*", self.bound), ("  approximation gap", self.approximation),
                 ("ELBO, one q* for each image", self.fitted), ("  amortization gap", self.amortization),
                 ("ELBO, the encoder's q", self.encoder), ("  the whole inference gap", self.total))
        return "\n".join([f"{self.images:,} images, nats", *(f"{name:32} {value}" for name, value in lines)])


def path_gradient(mean: Array, logvar: Array, *, model: Any, x: Array, eps: Array) -> Moments:
    """∂F/∂mean and ∂F/∂logvar of each image, from S draws        (B, Z) ×2, x (B, X), eps (S, B, Z) -> (B, Z) ×2

    F = E[log p(x, z) − log q(z)] with z = μ + σ ε, so μ and logvar act along the path through z, and as log q's own
    parameters.  The second part is −E_q[∂ log q] = 0: without it the estimate is as right as with it, and where q is
    the posterior every single draw says 0.   Roeder, Wu and Duvenaud 2017.  The model's gradients stay as they are.
    """
    S = len(eps)
    z, pull_z = model.posterior.draws(mean, logvar, eps=eps)
    log_joint, pull_joint = model.log_joint(z, x=repeat(x, samples=S)[0])
    dz = pull_joint(np.full_like(log_joint, 1.0 / S))
    dz += (eps * (np.exp(-0.5 * logvar) / S)).reshape(z.shape)       # −∂ log q/∂z = (z − μ)/σ² = ε/σ
    dmean, dlogvar = pull_z(dz)
    return dmean, dlogvar


def fit_posteriors(model: Any, x: np.ndarray, *, steps: int = 300, samples: int = 4, lr: float = 0.05, seed: int = 0,
                   progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """mean and logvar of q* for every image        (N, X) -> (N, Z) (N, Z), on the host

    Adam climbs each image's F from the encoder's q, with S = `samples` new draws a step; the learning rate falls from
    `lr` along half a cosine, so that the noise of the draws is averaged out at the end.  The model is not touched.

    Raises ValueError or TypeError for bad arguments, or an encoder whose q(z|x) is not a diagonal Gaussian.
    """
    _check(model, steps, samples, lr, seed)

    def work(part: Batch, rng: Generator) -> tuple[np.ndarray, ...]:
        fitted = _climb(model, part.x, rng, model.encode(part), steps=steps, samples=samples, lr=lr)
        return tuple(to_numpy(moment) for moment in fitted)

    label = "q* for each image" if progress else ""
    mean, logvar = zip(*over_parts(model, x, work, samples=samples, seed=seed, label=label))
    return np.concatenate(mean), np.concatenate(logvar)


def amortization_gap(model: Any, x: np.ndarray, *, bound_samples: int = 1000, steps: int = 300, samples: int = 4,
                     lr: float = 0.05, seed: int = 0, progress: bool = False) -> AmortizationGap:
    """The two ELBOs, IW(K) and the gaps between them on images (N, X), with K = `bound_samples`

    q* is fitted as by `fit_posteriors`.  Then K new draws, the same ε for q and q*, give all three numbers: the ELBOs
    are means of log w = log p(x, z) − log q(z), the bound is log (1/K) Σ w with proposals from q*.
    The search for q* may stop short of its summit: the amortization gap is measured from below.

    Raises ValueError or TypeError for bad arguments, or an encoder whose q(z|x) is not a diagonal Gaussian.
    """
    _check(model, steps, samples, lr, seed)
    if bound_samples < 1:
        raise ValueError(f"bound_samples: got {bound_samples}, expected at least 1")

    def work(part: Batch, rng: Generator) -> np.ndarray:
        q = model.encode(part)
        fitted = _climb(model, part.x, rng, q, steps=steps, samples=samples, lr=lr)
        return to_numpy(_bounds(model, part.x, rng, q, fitted, bound_samples))

    label = "amortization gap" if progress else ""
    encoder, fitted, bound = np.concatenate(over_parts(model, x, work, samples=samples, seed=seed, label=label), axis=1)
    return AmortizationGap(
        encoder=Estimate.of(encoder), fitted=Estimate.of(fitted), bound=Estimate.of(bound),
        amortization=Estimate.of(fitted - encoder), approximation=Estimate.of(bound - fitted),
        total=Estimate.of(bound - encoder), samples=bound_samples, images=len(x))


def _climb(model: Any, x: Array, rng: Generator, start: Moments, *, steps: int, samples: int, lr: float) -> Moments:
    """Up F from `start`: the images' parameters are an arena of their own, moved by an Adam of their own."""
    mean, logvar = (Parameter(to_numpy(moment)) for moment in start)
    arena = Arena({"mean": mean, "logvar": logvar}, model.device, model.dtype)
    adam = Adam(cosine(lr, steps=steps))
    for _ in range(steps):
        eps = rng.standard_normal((samples, *mean.value.shape), dtype=arena.value.dtype)
        dmean, dlogvar = path_gradient(mean.value, logvar.value, model=model, x=x, eps=eps)
        mean.grad[...], logvar.grad[...] = -dmean, -dlogvar                     # the loss is −F
        adam.step(arena)
    return mean.value, logvar.value


def _bounds(model: Any, x: Array, rng: Generator, q: Moments, fitted: Moments, K: int) -> Array:
    """ELBO with q, ELBO with q*, IW(K) with q*, from the same draws        -> (3, B), float64"""
    at_once = max(1, ROWS[model.device.name] // len(x))
    encoder = np.zeros_like(x[:, 0], dtype=np.float64)
    best, total = np.zeros_like(encoder), np.full_like(encoder, -np.inf)
    for done in range(0, K, at_once):
        eps = rng.standard_normal((min(at_once, K - done), *q[0].shape), dtype=x.dtype)
        ours, theirs = (_log_weights(model, x, moments, eps).astype(np.float64) for moments in (q, fitted))
        encoder += ours.sum(axis=0)
        best += theirs.sum(axis=0)
        total = np.logaddexp(total, logsumexp(theirs.T)[0])
    return np.stack([encoder / K, best / K, total - math.log(K)])


def _log_weights(model: Any, x: Array, q: Moments, eps: Array) -> Array:
    """log p(x, z) − log q(z) for z = μ + σ ε        -> (K, B)"""
    z, means, logvars = model.posterior.draws(*q, eps=eps)[0], *(repeat(moment, samples=len(eps))[0] for moment in q)
    log_joint = model.log_joint(z, x=repeat(x, samples=len(eps))[0])[0]
    return (log_joint - gaussian_log_prob(z, means, logvars)[0]).reshape(eps.shape[:2])


def _check(model: Any, steps: int, samples: int, lr: float, seed: int) -> None:
    if not isinstance(model, VAE):
        raise TypeError(f"model: got {type(model).__name__}, expected a VAE")
    for name, value, least in (("steps", steps, 1), ("samples", samples, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name}: got {value}, expected at least {least}")
    if not (isinstance(lr, Real) and math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr: got {lr!r}, expected a finite number > 0")
    if not isinstance(model.posterior, DiagonalGaussian):
        raise ValueError(f"model: its q(z|x) is a {type(model.posterior).__name__}, expected a diagonal Gaussian")
