"""Sums of exponentials that never overflow: logsumexp, log-mean-exp, log-softmax.   The laws are those of ops."""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Pullback


def logsumexp(x: Array) -> tuple[Array, Pullback]:
    """y = log Σₖ exp xₖ = m + log Σₖ exp(xₖ − m),   m = maxₖ xₖ        (…, K) -> (…)"""
    m = x.max(axis=-1, keepdims=True)
    e = np.exp(x - m)
    total = e.sum(axis=-1, keepdims=True)

    def pullback(dy: Array) -> Array:                 # ∂y/∂xₖ = softmax(x)ₖ
        return dy[..., None] * (e / total)

    return (m + np.log(total))[..., 0], pullback


def log_mean_exp(x: Array) -> tuple[Array, Pullback]:
    """y = log (1/K) Σₖ exp xₖ        (…, K) -> (…)"""
    y, pullback = logsumexp(x)                        # log K is a constant
    y -= math.log(x.shape[-1])
    return y, pullback


def log_softmax(x: Array) -> tuple[Array, Pullback]:
    """yₖ = xₖ − log Σⱼ exp xⱼ        (…, K) -> (…, K)"""
    y = x - logsumexp(x)[0][..., None]

    def pullback(dy: Array) -> Array:                 # ∂yₖ/∂xⱼ = δₖⱼ − softmax(x)ⱼ
        return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)

    return y, pullback
