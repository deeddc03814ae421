"""What one training step climbs.

Every objective adds the gradient of its own loss to a model, and reports the terms of the *true* bound, whatever it
weighs: an objective that shrinks the KL must not be able to report a better ELBO by it.

`objective(model, x=x, eps=eps, weight=w, step=t)` adds the gradient of w · Σ loss over the rows of x, and returns
w · Σ of each of its `names`: with w = 1/B, and the rows in parts, these add up to the means over the batch.

Shapes: x (B, X), eps (L, B, Z): L draws for each image.  Everything is in nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, at_least_one
from minivae.distributions import capacity_gap, free_bits, gaussian_log_prob, reparameterize
from minivae.nn import Schedule
from minivae.ops import log_mean_exp, repeat

Terms = tuple[Array, ...]


class Objective:
    """The ELBO itself: loss = nll + kl."""

    names: tuple[str, ...] = ("elbo", "nll", "kl")
    whole_batch = False                # whether it looks at all rows of a batch together, and rows cannot be shared out

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
        dloss = np.full_like(nll, weight)
        pullback(dloss, dloss)
        return terms(nll, kl, weight)


class WeightedKL(Objective):
    """loss = nll + β kl.   β rising from 0 to 1 is KL warm-up (Bowman et al. 2016, Sønderby et al. 2016); a constant
    β > 1 is the β-VAE (Higgins et al. 2017).

    beta   a number, or a schedule: a function from the step to a number
    """

    def __init__(self, beta: float | Schedule) -> None:
        if not callable(beta) and not beta >= 0:
            raise ValueError(f"beta: got {beta}, expected a number >= 0")
        self.beta = beta

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        beta = self.beta(step) if callable(self.beta) else self.beta
        (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
        dnll = np.full_like(nll, weight)
        pullback(dnll, beta * dnll)
        return terms(nll, kl, weight)


class FreeBits(Objective):
    """loss = nll + Σⱼ max(λ, mean over the batch of klⱼ): the first λ nats of every latent are free.

    Kingma et al. 2016 (IAF), appendix C.8.  The maximum is taken of the whole batch's mean, so one thread computes the
    step.

    nats   λ, per latent
    """

    whole_batch = True

    def __init__(self, nats: float) -> None:
        if not nats >= 0:
            raise ValueError(f"nats: got {nats}, expected a number >= 0")
        self.nats = nats

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        (nll, kls), pullback = model.elbo_terms_by_latent(x=x, eps=eps)              # (B,), (B, Z)
        charged, pull_free = free_bits(kls, least=self.nats)                         # (Z,)
        dcharged = np.full_like(charged, weight * len(x))                            # the mean over the batch, B times
        pullback(np.full_like(nll, weight), pull_free(dcharged))
        return terms(nll, kls.sum(axis=-1), weight)


class Capacity(Objective):
    """loss = nll + γ |mean over the batch of kl − C(t)|: the KL is led to C, which rises from 0.   Burgess et al. 2018.

    At C = 0 nothing may be learned yet; as C rises, latents switch on one after another.  The mean is taken over the
    whole batch, so one thread computes the step.

    capacity   C in nats: a number, or a schedule: a function from the step to a number
    gamma      γ, the price of a nat off
    """

    whole_batch = True

    def __init__(self, capacity: float | Schedule, gamma: float = 100.0) -> None:
        if not callable(capacity) and not capacity >= 0:
            raise ValueError(f"capacity: got {capacity}, expected a number >= 0")
        if not gamma > 0:
            raise ValueError(f"gamma: got {gamma}, expected a number > 0")
        self.capacity, self.gamma = capacity, gamma

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        capacity = self.capacity(step) if callable(self.capacity) else self.capacity
        (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
        gap, pull_gap = capacity_gap(kl, capacity=capacity)
        dgap = np.full_like(gap, self.gamma * weight * len(x))                       # of the batch, as B examples
        pullback(np.full_like(nll, weight), pull_gap(dgap))
        return terms(nll, kl, weight)


class IWAE(Objective):
    """loss = −log (1/K) Σₖ wₖ,   wₖ = p(x, zₖ) / q(zₖ|x):  K = L draws of the model.   Burda et al. 2015, eq. 8.

    ∂loss/∂log wₖ = −w̃ₖ, the normalised weights: the draws that explain x best teach most.
    """

    names = ("elbo", "nll", "kl", "bound")

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        K, B, _ = eps.shape
        (nll, kl), pullback = model.monte_carlo_terms(x=x, eps=eps)                  # (K·B,)
        bound, pull_bound = log_mean_exp(-(nll + kl).reshape(K, B).T)                # (B,)
        dloss = pull_bound(np.full_like(bound, weight)).T.reshape(-1)                # −log w = nll + kl
        pullback(dloss, dloss)
        return (*terms(nll, kl, weight / K), weight * bound.sum())


class DReG(IWAE):
    """The same loss with the doubly-reparameterized gradient: the encoder's has the same mean, and less variance.

    The encoder hears Σₖ w̃ₖ² (∂log wₖ/∂zₖ)(∂zₖ/∂φ), with log q's own parameters held still; the decoder as before.
    For a diagonal Gaussian posterior.   Tucker et al. 2019.
    """

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        K, B, _ = eps.shape
        (mean, logvar), pull_q = model.q(x=x)
        means, pull_means = repeat(mean, samples=K)
        logvars, pull_logvars = repeat(logvar, samples=K)
        z, pull_z = reparameterize(means, logvars, eps=eps.reshape(means.shape))
        outputs, pull_decoder = model.decoder(z)
        nll, pull_nll = model.likelihood(outputs, x=repeat(x, samples=K)[0])
        log_q, pull_log_q = gaussian_log_prob(z, means, logvars)
        log_p, pull_p = model.prior.log_prob(z)
        kl = log_q - log_p

        bound, pull_bound = log_mean_exp(-(nll + kl).reshape(K, B).T)
        dloss = pull_bound(np.full_like(bound, weight)).T.reshape(-1)                # weight · w̃ₖ
        dz = pull_decoder(pull_nll(dloss)) + pull_log_q(dloss)[0] + pull_p(-dloss)   # q's own μ and σ held still
        dmeans, dlogvars = pull_z(dz * (dloss / weight)[:, None])                    # w̃ₖ a second time
        pull_q(pull_means(dmeans), pull_logvars(dlogvars))
        return (*terms(nll, kl, weight / K), weight * bound.sum())


def warm_up(steps: int, *, to: float = 1.0) -> Schedule:
    """0 at step 0, rising in a straight line to `to` at `steps` and after: of β, or of a capacity in nats."""
    at_least_one(steps=steps)
    return lambda step: to * min(1.0, step / steps)


def terms(nll: Array, kl: Array, weight: float) -> Terms:
    """weight · Σ of ELBO = −(nll + kl), nll and kl"""
    nll, kl = weight * nll.sum(), weight * kl.sum()
    return -(nll + kl), nll, kl
