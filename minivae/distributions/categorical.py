"""Categorical distributions that are summed over, class by class, instead of drawn from: q(y) = softmax(logits).

Shapes: B examples, C classes.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback, alike_rows
from minivae.ops import log_softmax


def expectation(logits: Array, values: Array) -> tuple[Array, Pullback]:
    """E_q[v] = Σ_y q(y) v(y),   q = softmax(a)        (B, C) (B, C) -> (B,)"""
    alike_rows(logits=logits, values=values)
    q = np.exp(log_softmax(logits)[0])
    mean = (q * values).sum(axis=-1)

    def pullback(dmean: Array) -> tuple[Array, Array]:
        dvalues = q * dmean[:, None]                  # ∂/∂v(y) = q(y)
        return (values - mean[:, None]) * dvalues, dvalues           # ∂/∂a(y) = q(y) (v(y) − E_q[v])

    return mean, pullback


def categorical_kl(logits: Array, *, log_prior: Array) -> tuple[Array, Pullback]:
    """KL( q ‖ p ) = Σ_y q(y) (log q(y) − log p(y)),   q = softmax(a)        (B, C) and log p (C,) -> (B,)

    Under the uniform p it is log C less the entropy of q.
    Raises ValueError if the shapes do not fit.
    """
    alike_rows(logits=logits)
    if log_prior.shape != logits.shape[-1:]:
        raise ValueError(f"log_prior: got shape {log_prior.shape}, expected {logits.shape[-1:]}, "
                         "a number for each class")
    log_q, _ = log_softmax(logits)
    q, ratio = np.exp(log_q), log_q - log_prior
    kl = (q * ratio).sum(axis=-1)

    def pullback(dkl: Array) -> Array:                # ∂/∂q(y) = log q(y) − log p(y) + 1, and through the softmax:
        return q * (ratio - kl[:, None]) * dkl[:, None]              # ∂/∂a(y) = q(y) (log q(y) − log p(y) − KL)

    return kl, pullback
