"""The Gaussian whose precision is diagonal plus rank one: N(μ, C),  C⁻¹ = D + u uᵀ.

One direction u in which the latents depend on each other, for one more number per latent.  Everything is known in O(Z),
and no Z × Z matrix is ever made: with w = D^(−½) u, s = ‖w‖² = uᵀ D⁻¹ u and η = 1/(1 + s)

    C = D⁻¹ − η D⁻¹ u uᵀ D⁻¹                                  (Woodbury)
    log |C| = log η − log |D|                                 (the determinant lemma)
    C = R Rᵀ,   R = D^(−½) (I − c w wᵀ),   c = (1 − √η)/s = 1/(1 + s + √(1 + s)),  which is ½ at u = 0.

Rezende, Mohamed and Wierstra 2014.  D = diag exp(−logvar), so that u = 0 is the diagonal
Gaussian of `distributions`.   Shapes: mean, logvar, u, eps all (B, Z).  Nats.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback, alike_rows


def reparameterize_rank_one(mean: Array, logvar: Array, u: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """z = μ + R ε = μ + σ (ε − c t w),   σ = D^(−½),  w = σ u,  t = wᵀ ε        (B, Z) ×3, eps (B, Z) -> (B, Z)"""
    alike_rows(mean=mean, logvar=logvar, u=u, eps=eps)
    std = np.exp(0.5 * logvar)
    w = std * u
    t, root = _dot(w, eps), np.sqrt(1.0 + _dot(w, w))
    c = 1.0 / (root * (1.0 + root))                   # (1 − √η)/s without 0/0:  √η = 1/root,  s = (root − 1)(root + 1)
    noise = std * (eps - c * t * w)

    def pullback(dz: Array) -> tuple[Array, Array, Array]:
        dy = std * dz                                 # y = ε − c t w
        along = _dot(w, dy)                           # ∂loss/∂c = −t along,   ∂loss/∂t = −c along
        ds = t * along * c * c * (1.0 + 0.5 / root)   # ∂c/∂s = −c² (2 root + 1) / (2 root)
        dw = 2.0 * ds * w - c * (t * dy + along * eps)
        return dz, 0.5 * (noise * dz + w * dw), std * dw                  # ∂σ/∂log σ² = ½ σ,   ∂w/∂log σ² = ½ w

    return mean + noise, pullback


def rank_one_logdet(logvar: Array, u: Array) -> tuple[Array, Pullback]:
    """log |det R| = ½ log |C| = ½ (Σ log σ² − log(1 + s)),   s = Σ σ² u²        (B, Z) (B, Z) -> (B,)"""
    alike_rows(logvar=logvar, u=u)
    var = np.exp(logvar)
    s = _dot(var * u, u)

    def pullback(dlog: Array) -> tuple[Array, Array]:
        ds = -0.5 * dlog[:, None] / (1.0 + s)         # ∂s/∂log σ² = σ² u²,   ∂s/∂u = 2 σ² u
        return 0.5 * dlog[:, None] + ds * var * u * u, 2.0 * ds * var * u

    return 0.5 * (logvar.sum(axis=-1) - np.log1p(s[:, 0])), pullback


def rank_one_kl(mean: Array, logvar: Array, u: Array) -> tuple[Array, Pullback]:
    """KL( N(μ, C) ‖ N(0, I) ) = ½ (tr C + ‖μ‖² − Z) − log |det R|        (B, Z) ×3 -> (B,)

    tr C = Σ σ² − η Σ σ⁴ u².
    """
    alike_rows(mean=mean, logvar=logvar, u=u)
    half_logdet, pull_logdet = rank_one_logdet(logvar, u)
    var = np.exp(logvar)
    scaled = var * u                                  # D⁻¹ u
    eta, squares = 1.0 / (1.0 + _dot(scaled, u)), _dot(scaled, scaled)

    def pullback(dkl: Array) -> tuple[Array, Array, Array]:
        dtrace = 0.5 * dkl[:, None]
        dlogvar, du = pull_logdet(-dkl)
        ds = dtrace * squares * eta * eta             # ∂η/∂s = −η²
        dlogvar += dtrace * (var - 2.0 * eta * scaled * scaled) + ds * scaled * u
        du += 2.0 * scaled * (ds - dtrace * eta * var)
        return mean * dkl[:, None], dlogvar, du

    trace = var.sum(axis=-1) - (eta * squares)[:, 0]
    return 0.5 * (trace + (mean * mean).sum(axis=-1) - mean.shape[1]) - half_logdet, pullback


def rank_one_logvars(logvar: Array, u: Array) -> Array:
    """log Cᵢᵢ = log σᵢ² + log (1 + s − wᵢ²) − log (1 + s), of each latent by itself: to look at        -> (B, Z)"""
    squares = np.exp(logvar) * u * u                  # w²
    s = squares.sum(axis=-1, keepdims=True)
    return logvar + np.log1p(np.maximum(s - squares, 0.0)) - np.log1p(s)


def _dot(a: Array, b: Array) -> Array:
    """(B, Z) (B, Z) -> (B, 1)"""
    return (a * b).sum(axis=-1, keepdims=True)
