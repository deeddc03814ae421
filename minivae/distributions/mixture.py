"""Mixtures of diagonal Gaussians: Σₖ πₖ N(z; μₖ, σₖ²), the same for all points, or with components for every point.

Shapes: B points, K components, Z latents.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Pullback
from minivae.distributions.categorical import categorical_kl, expectation
from minivae.distributions.gaussian import LOG_2PI
from minivae.ops import log_softmax, logsumexp


def gaussian_mixture_log_prob(z: Array, logits: Array, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """log Σₖ πₖ N(z; μₖ, σₖ²),   π = softmax(logits)        (B, Z) (K,) (K, Z) (K, Z) -> (B,)

    By the expansion of the square, (z − μ)²/σ² = z²/σ² − 2 z μ/σ² + μ²/σ², all B·K distances are two matrix products,
    and nothing of size B·K·Z is ever made.  The three terms are larger than their sum, so in float32 it is off by some
    1e-7 Σ μ²/σ².  Therefore z and μ are measured from the components' common centre, on which nothing depends, and the
    component that is most likely, and mostly decides, is computed as it stands.

    With rₖ = πₖ N(z; μₖ, σₖ²) / Σⱼ πⱼ N(z; μⱼ, σⱼ²), the responsibility of component k for z, every derivative is that
    of a single Gaussian, weighed by r.
    Raises ValueError if the shapes do not fit.
    """
    K, Z = mean.shape
    if logvar.shape != (K, Z) or logits.shape != (K,) or z.ndim != 2 or z.shape[1] != Z:
        shapes = ", ".join(map(str, (z.shape, logits.shape, mean.shape, logvar.shape)))
        raise ValueError(f"gaussian_mixture_log_prob: z, logits, mean, logvar have shapes {shapes}, "
                         "expected (B, Z), (K,), (K, Z), (K, Z)")
    log_pi, pull_pi = log_softmax(logits)
    precision = np.exp(-logvar)                                                       # 1/σ², (K, Z)
    centre = mean.mean(axis=0)
    z, mean = z - centre, mean - centre
    tilt = mean * precision                                                           # μ/σ²
    constant = log_pi - 0.5 * (mean * tilt + (logvar + LOG_2PI)).sum(axis=1)
    log_joint = z @ tilt.T - 0.5 * (z * z) @ precision.T + constant                   # log πₖ N(z; μₖ, σₖ²), (B, K)
    log_sum, pull_sum = logsumexp(log_joint)
    best = log_joint.argmax(axis=1)
    squares = (z - mean[best]) ** 2 * precision[best]
    log_best = log_pi[best] - 0.5 * (squares + (logvar[best] + LOG_2PI)).sum(axis=1)  # without the expansion, (B,)

    def pullback(dlog: Array) -> tuple[Array, Array, Array, Array]:
        djoint = pull_sum(dlog)                                                       # dlog · rₖ, (B, K)
        each = djoint.sum(axis=0)                                                     # Σ_b, (K,): and so are
        first = djoint.T @ z - each[:, None] * mean                                   # Σ_b djoint (z − μ), (K, Z)
        second = djoint.T @ (z * z) - mean * (first + djoint.T @ z)                   # Σ_b djoint (z − μ)²
        dz = djoint @ tilt - z * (djoint @ precision)                                 # Σₖ djoint (μ − z)/σ²
        return dz, pull_pi(each), precision * first, 0.5 * (precision * second - each[:, None])

    return log_best + (log_sum - log_joint.max(axis=1)), pullback


def components_log_prob(z: Array, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """log N(z_b; μ_bk, σ²_bk), of components that every point has of its own   (B, Z) (B, K, Z) (B, K, Z) -> (B, K)

    By Bayes' rule their softmax over k is p(k|z_b), if all components are as likely beforehand: log π_k, if they are
    not, is added first.
    Raises ValueError if the shapes do not fit.
    """
    _per_example(z, mean, logvar)
    precision = np.exp(-logvar)
    offset = z[:, None] - mean                                                        # (B, K, Z)

    def pullback(dlog: Array) -> tuple[Array, Array, Array]:
        dlog = dlog[:, :, None]
        dmean = offset * precision * dlog                                             # ∂/∂μ = (z − μ)/σ² = −∂/∂z
        return -dmean.sum(axis=1), dmean, 0.5 * (offset * offset * precision - 1.0) * dlog

    return -0.5 * (offset * offset * precision + (logvar + LOG_2PI)).sum(axis=-1), pullback


def components_kl(mean_q: Array, logvar_q: Array, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """KL( N(μq_b, σq²_b) ‖ N(μ_bk, σ²_bk) ), from one Gaussian to every component   (B, Z) ×2 (B, K, Z) ×2 -> (B, K)

    All four are differentiated.  One component at a time it is `gaussian_kl_between`.
    Raises ValueError if the shapes do not fit.
    """
    _per_example(mean_q, mean, logvar)
    precision = np.exp(-logvar)
    ratio = np.exp(logvar_q[:, None] - logvar)                                        # σq² / σ²
    offset = mean_q[:, None] - mean

    def pullback(dkl: Array) -> tuple[Array, Array, Array, Array]:
        dkl = dkl[:, :, None]
        dmean = -offset * precision * dkl                                             # ∂/∂μ = −(μq − μ)/σ² = −∂/∂μq
        dlogvar = 0.5 * (1.0 - offset * offset * precision - ratio) * dkl
        return -dmean.sum(axis=1), 0.5 * ((ratio - 1.0) * dkl).sum(axis=1), dmean, dlogvar

    kl = 0.5 * (offset * offset * precision + ratio + logvar - logvar_q[:, None] - 1.0).sum(axis=-1)
    return kl, pullback


def mixture_kls(z: Array, mean_q: Array, logvar_q: Array, mean: Array, logvar: Array) -> tuple[tuple[Array, Array],
                                                                                                  Pullback]:
    """What a mixture costs a Gaussian q: its components, weighed by their responsibility for a draw z, and the choice

        Σₖ p(k|z) KL( q ‖ N(μₖ, σₖ²) ),     KL( p(k|z) ‖ 1/K )        (B, Z) ×3 (B, K, Z) ×2 -> (B,) (B,)

    p(k|z) = N(z; μₖ, σₖ²) / Σⱼ N(z; μⱼ, σⱼ²) is differentiated, too: z is drawn to the components near to q, and they
    move so as to be responsible for it, or not to be.   Dilokthanakul et al. 2016, eq. 5 (the first).
    """
    logits, pull_logits = components_log_prob(z, mean, logvar)                        # their softmax is p(k|z)
    kls, pull_kls = components_kl(mean_q, logvar_q, mean, logvar)
    expected, pull_expected = expectation(logits, kls)
    K = logits.shape[1]
    choice, pull_choice = categorical_kl(logits, log_prior=np.full_like(logits[0], -math.log(K)))

    def pullback(dexpected: Array, dchoice: Array) -> tuple[Array, ...]:
        dlogits, dkls = pull_expected(dexpected)
        dz, dmean, dlogvar = pull_logits(dlogits + pull_choice(dchoice))              # used twice: derivatives add
        dmean_q, dlogvar_q, dmean_kl, dlogvar_kl = pull_kls(dkls)
        return dz, dmean_q, dlogvar_q, dmean + dmean_kl, dlogvar + dlogvar_kl

    return (expected, choice), pullback


def _per_example(z: Array, mean: Array, logvar: Array) -> None:
    """Raise unless these are (B, Z), (B, K, Z), (B, K, Z)."""
    if z.ndim != 2 or mean.ndim != 3 or mean.shape != logvar.shape or (len(z), z.shape[1]) != mean.shape[::2]:
        raise ValueError(f"components: points, means and logvars have shapes {z.shape}, {mean.shape}, {logvar.shape}, "
                         "expected (B, Z), (B, K, Z), (B, K, Z)")
