"""What an objective charges for a KL, if not the KL itself: functions of the KL of a whole batch.

Shapes: B examples, Z latents.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback


def free_bits(kl: Array, *, least: float) -> tuple[Array, Pullback]:
    """yⱼ = max(λ, (1/B) Σ_b kl_bj): of each latent at least λ nats are charged anyway        (B, Z) -> (Z,)

    Kingma et al. 2016, appendix C.8.
    """
    average = kl.mean(axis=0)

    def pullback(dy: Array) -> Array:                 # ∂yⱼ/∂kl_bj = 1/B where the average exceeds λ, else 0
        return np.broadcast_to(dy * (average > least) / len(kl), kl.shape).astype(kl.dtype)

    return np.maximum(average, least), pullback


def capacity_gap(kl: Array, *, capacity: float) -> tuple[Array, Pullback]:
    """y = |(1/B) Σ_b kl_b − C|: how far the KL is, on average, from what it is meant to be        (B,) -> ()

    Burgess et al. 2018.
    """
    gap = (kl.mean() - capacity)[...]                 # an array of one number, not NumPy's scalar

    def pullback(dy: Array) -> Array:                 # ∂y/∂kl_b = sign(mean − C)/B
        return np.full_like(kl, 1.0 / len(kl)) * np.sign(gap) * dy

    return np.abs(gap)[...], pullback
