"""The Gaussian with a full covariance, by its Cholesky factor: N(μ, L Lᵀ), L lower triangular with a positive diagonal.

A triangle is all one needs: z = μ + L ε draws from it, its determinant is the product of its diagonal, and L⁻¹ is a
substitution.   Shapes: mean (B, Z), L (B, Z, Z).  Nats.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback, alike_rows, array_module
from minivae.distributions.gaussian import LOG_2PI


def triangle(raw: Array, *, latents: int) -> tuple[Array, Pullback]:
    """L = exp(raw[:Z]), which is positive, on the diagonal, and raw[Z:] below it        (B, Z (Z + 1)/2) -> (B, Z, Z)

    Raises ValueError if the size of `raw` does not fit.
    """
    B, Z = len(raw), latents
    if raw.shape != (B, Z * (Z + 1) // 2):
        raise ValueError(f"triangle: raw has shape {raw.shape}, expected (B, {Z * (Z + 1) // 2}) for {Z} latents")
    xp = array_module(raw)
    i, (rows, columns) = xp.arange(Z), xp.tril_indices(Z, -1)
    diagonal = np.exp(raw[:, :Z])
    L = xp.zeros((B, Z, Z), dtype=raw.dtype)
    L[:, i, i] = diagonal
    L[:, rows, columns] = raw[:, Z:]

    def pullback(dL: Array) -> Array:                 # ∂L_ii/∂raw = exp(raw) = L_ii; below it, 1; above it, nothing
        return np.concatenate([dL[:, i, i] * diagonal, dL[:, rows, columns]], axis=1)

    return L, pullback


def reparameterize_full(mean: Array, L: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """z = μ + L ε,   ε ~ N(0, I), so that Cov z = L Lᵀ        (B, Z) (B, Z, Z), eps (B, Z) -> (B, Z)"""
    alike_rows(mean=mean, eps=eps)
    _fits("reparameterize_full", mean, L)

    def pullback(dz: Array) -> tuple[Array, Array]:   # ∂zᵢ/∂L_ij = εⱼ
        return dz, dz[:, :, None] * eps[:, None, :]

    return mean + (L @ eps[:, :, None])[:, :, 0], pullback


def logdet(L: Array) -> tuple[Array, Pullback]:
    """log |det L| = Σ log L_ii        (B, Z, Z) -> (B,)"""
    if L.ndim != 3 or L.shape[1] != L.shape[2]:
        raise ValueError(f"logdet: L has shape {L.shape}, expected (B, Z, Z)")
    diagonal = np.diagonal(L, axis1=1, axis2=2)

    def pullback(dlog: Array) -> Array:               # ∂/∂L_ii = 1/L_ii
        return _on_diagonal(dlog[:, None] / diagonal)

    return np.log(diagonal).sum(axis=-1), pullback


def full_gaussian_log_prob(z: Array, mean: Array, L: Array) -> tuple[Array, Pullback]:
    """log N(z; μ, L Lᵀ) = −½ ‖L⁻¹ (z − μ)‖² − Σ log L_ii − ½ Z log 2π        (B, Z) (B, Z) (B, Z, Z) -> (B,)"""
    alike_rows(z=z, mean=mean)
    _fits("full_gaussian_log_prob", z, L)
    L = np.tril(L)
    v = np.linalg.solve(L, (z - mean)[:, :, None])    # L v = z − μ
    half_logdet, pull_logdet = logdet(L)

    def pullback(dlog: Array) -> tuple[Array, Array, Array]:
        w = np.linalg.solve(L.transpose(0, 2, 1), v)  # w = L⁻ᵀ L⁻¹ (z − μ):  ∂/∂z = −w = −∂/∂μ
        dz = -w[:, :, 0] * dlog[:, None]
        dL = np.tril(w @ v.transpose(0, 2, 1)) * dlog[:, None, None]      # ∂/∂L of −½ ‖L⁻¹ (z − μ)‖² is w vᵀ
        return dz, -dz, dL - pull_logdet(dlog)

    return -0.5 * ((v * v).sum(axis=(1, 2)) + z.shape[1] * LOG_2PI) - half_logdet, pullback


def full_gaussian_kl(mean: Array, L: Array) -> tuple[Array, Pullback]:
    """KL( N(μ, L Lᵀ) ‖ N(0, I) ) = ½ (‖μ‖² + ‖L‖² − Z) − Σ log L_ii        (B, Z) (B, Z, Z) -> (B,)

    ‖L‖² = tr L Lᵀ is the sum of the squares of its entries.
    """
    alike_rows(mean=mean)
    _fits("full_gaussian_kl", mean, L)
    half_logdet, pull_logdet = logdet(L)

    def pullback(dkl: Array) -> tuple[Array, Array]:
        return mean * dkl[:, None], L * dkl[:, None, None] - pull_logdet(dkl)

    return 0.5 * ((mean * mean).sum(axis=1) + (L * L).sum(axis=(1, 2)) - mean.shape[1]) - half_logdet, pullback


def full_gaussian_entropy(L: Array) -> tuple[Array, Pullback]:
    """H[N(μ, L Lᵀ)] = Σ log L_ii + ½ Z (1 + log 2π)        (B, Z, Z) -> (B,)"""
    half_logdet, pullback = logdet(L)
    return half_logdet + 0.5 * L.shape[1] * (1.0 + LOG_2PI), pullback


def _on_diagonal(values: Array) -> Array:
    """(B, Z) -> (B, Z, Z), zero elsewhere"""
    return values[:, :, None] * array_module(values).eye(values.shape[1], dtype=values.dtype)


def _fits(op: str, mean: Array, L: Array) -> None:
    B, Z = mean.shape
    if L.shape != (B, Z, Z) or L.dtype != mean.dtype:
        raise ValueError(f"{op}: L has shape {L.shape} and dtype {L.dtype}, expected {(B, Z, Z)} and {mean.dtype}")
