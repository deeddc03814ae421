"""Diagonal Gaussians: draws, densities and KL divergences, with their pullbacks.

A Gaussian is given by its mean and its log-variance: logvar = log σ², so σ = exp(½ logvar).  Every density returns one
number per example, in nats, with all its constants.  Shapes: B examples, Z latents.  The laws are those of ops.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Pullback, alike, alike_rows
from minivae.fast import twin
from minivae.ops import kernels
from minivae.ops.kernels import fused

LOG_2PI = math.log(2.0 * math.pi)


@fused(kernels.reparameterize)
def reparameterize(mean: Array, logvar: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """z = μ + σ ε,   σ = exp(½ log σ²),   ε ~ N(0, I)        all (B, Z)

    Kingma and Welling 2013, section 2.4.  ε comes in from outside: the value is deterministic.
    """
    alike(mean=mean, logvar=logvar, eps=eps)
    noise = np.exp(0.5 * logvar) * eps

    def pullback(dz: Array) -> tuple[Array, Array]:   # ∂z/∂μ = 1,   ∂z/∂log σ² = ½ σ ε
        return dz, 0.5 * noise * dz

    return mean + noise, pullback


def gaussian_log_prob(z: Array, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """log N(z; μ, σ²) = −½ Σ ( (z − μ)² / σ² + log σ² + log 2π )        (B, Z) ×3 -> (B,)"""
    alike_rows(z=z, mean=mean, logvar=logvar)
    precision = np.exp(-logvar)
    offset = z - mean

    def pullback(dlog: Array) -> tuple[Array, Array, Array]:
        dlog = dlog[:, None]
        dz = -offset * precision * dlog               # ∂/∂z = −(z − μ)/σ² = −∂/∂μ
        return dz, -dz, 0.5 * (offset * offset * precision - 1.0) * dlog

    return -0.5 * (offset * offset * precision + logvar + LOG_2PI).sum(axis=-1), pullback


def standard_normal_log_prob(z: Array) -> tuple[Array, Pullback]:
    """log N(z; 0, I) = −½ Σ (z² + log 2π)        (B, Z) -> (B,)"""
    alike_rows(z=z)

    def pullback(dlog: Array) -> Array:               # ∂/∂z = −z
        return -z * dlog[:, None]

    return -0.5 * (z * z + LOG_2PI).sum(axis=-1), pullback


@fused(kernels.gaussian_kl)
@twin
def gaussian_kl(mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """KL( N(μ, σ²) ‖ N(0, I) ) = ½ Σ (μ² + σ² − log σ² − 1)        (B, Z) (B, Z) -> (B,)

    Kingma and Welling 2013, appendix B.
    """
    alike_rows(mean=mean, logvar=logvar)
    var = np.exp(logvar)

    def pullback(dkl: Array) -> tuple[Array, Array]:  # ∂/∂μ = μ,   ∂/∂log σ² = ½ (σ² − 1)
        return mean * dkl[:, None], 0.5 * (var - 1.0) * dkl[:, None]

    return 0.5 * (mean * mean + var - logvar - 1.0).sum(axis=-1), pullback


def gaussian_kl_by_latent(mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """The same, latent by latent: ½ (μ² + σ² − log σ² − 1)        (B, Z) (B, Z) -> (B, Z)"""
    alike(mean=mean, logvar=logvar)
    var = np.exp(logvar)

    def pullback(dkl: Array) -> tuple[Array, Array]:
        return mean * dkl, 0.5 * (var - 1.0) * dkl

    return 0.5 * (mean * mean + var - logvar - 1.0), pullback


def gaussian_kl_between(mean_q: Array, logvar_q: Array, mean_p: Array, logvar_p: Array) -> tuple[Array, Pullback]:
    """KL( N(μq, σq²) ‖ N(μp, σp²) ) = ½ Σ ( ((μq − μp)² + σq²) / σp² + log σp² − log σq² − 1 )

    (B, Z) ×4 -> (B,).  All four are differentiated: the prior may be learned.
    """
    alike_rows(mean_q=mean_q, logvar_q=logvar_q, mean_p=mean_p, logvar_p=logvar_p)
    precision = np.exp(-logvar_p)
    ratio = np.exp(logvar_q - logvar_p)               # σq² / σp²
    offset = mean_q - mean_p

    def pullback(dkl: Array) -> tuple[Array, Array, Array, Array]:
        dkl = dkl[:, None]
        dmean = offset * precision * dkl              # ∂/∂μq = (μq − μp)/σp² = −∂/∂μp
        dlogvar_p = 0.5 * (1.0 - offset * offset * precision - ratio) * dkl
        return dmean, 0.5 * (ratio - 1.0) * dkl, -dmean, dlogvar_p

    kl = 0.5 * (offset * offset * precision + ratio + logvar_p - logvar_q - 1.0).sum(axis=-1)
    return kl, pullback
