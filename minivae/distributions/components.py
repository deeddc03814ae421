"""Mixtures whose components every example has of its own: their densities, and what they cost.

Shapes: B examples, K components, Z latents.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Pullback, alike_rows
from minivae.distributions.categorical import categorical_kl, expectation
from minivae.distributions.gaussian import LOG_2PI


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
    alike_rows(mean_q=mean_q, logvar_q=logvar_q)
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
    move so as to be responsible for it, or not to be.   Dilokthanakul et al. 2016.
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
