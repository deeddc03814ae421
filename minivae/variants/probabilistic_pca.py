"""Probabilistic PCA: the linear VAE in which everything is known exactly        (Tipping and Bishop 1999)

    p(z) = N(0, I),   p(x|z) = N(x; z W + mean, σ² I)   ⇒   p(x) = N(x; mean, Wᵀ W + σ² I)

Chapter 7 derives it.  What bounds and posteriors claim can be held against it.  Shapes: x (N, X), W (Z, X).  Nats.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import device
from minivae.distributions import LOG_2PI
from minivae.nn import Linear
from minivae.parts import GaussianFixed
from minivae.vae import VAE, Encoder


def probabilistic_pca(x: np.ndarray, latents: int) -> tuple[np.ndarray, np.ndarray, float]:
    """mean (X,), W (Z, X) and σ that make images (N, X) most probable: the best `latents` directions, in closed form

    With eigenvalues λ and eigenvectors u of the data's covariance: σ² = mean of the discarded λ, W = [u √(λ − σ²)].
    Raises ValueError if there is nothing left to discard.
    """
    if not 1 <= latents < x.shape[1]:
        raise ValueError(f"latents: got {latents}, expected 1 to {x.shape[1] - 1} for images of {x.shape[1]} pixels")
    mean = x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    sigma2 = values[latents:].mean()
    return mean, (vectors[:, :latents] * np.sqrt(values[:latents] - sigma2)).T, float(np.sqrt(sigma2))


def log_p(x: np.ndarray, mean: np.ndarray, W: np.ndarray, sigma: float) -> np.ndarray:
    """log N(x; mean, WᵀW + σ² I), exactly; W is (Z, X)        -> (N,)"""
    X, Z = x.shape[1], len(W)
    C = W @ W.T + sigma**2 * np.eye(Z)                # Woodbury: a Z × Z problem instead of X × X
    offset = x - mean
    projected = offset @ W.T
    mahalanobis = ((offset**2).sum(1) - (projected @ np.linalg.inv(C) * projected).sum(1)) / sigma**2
    logdet = np.linalg.slogdet(C)[1] + (X - Z) * np.log(sigma**2)
    return -0.5 * (mahalanobis + logdet + X * LOG_2PI)


def as_vae(mean: np.ndarray, W: np.ndarray, sigma: float) -> VAE:
    """A VAE with linear networks, set to this model and its exact posterior; the rows of W must be orthogonal."""
    rng, (Z, X) = np.random.default_rng(0), W.shape
    variance = sigma**2 / ((W**2).sum(1) + sigma**2)
    vae = VAE(Encoder(Linear(X, X, rng=rng), Linear(X, Z, rng=rng), Linear(X, Z, rng=rng)), Linear(Z, X, rng=rng),
              GaussianFixed(sigma), pixels=X, latents=Z, device=device("cpu"), dtype=np.float64)
    to_mean = W.T * variance / sigma**2
    vae.arena.load({
        "encoder.trunk.W": np.eye(X), "encoder.trunk.b": -mean,
        "encoder.mean.W": to_mean, "encoder.mean.b": np.zeros(Z),
        "encoder.logvar.W": np.zeros((X, Z)), "encoder.logvar.b": np.log(variance),
        "decoder.W": W, "decoder.b": mean})
    return vae
