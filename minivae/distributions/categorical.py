"""One of K choices: expectations over it, and what it costs to say it.

A choice is given by its logits: π = softmax(logits).  Shapes: B examples, K choices.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Pullback, alike
from minivae.ops import log_softmax


def expectation(logits: Array, values: Array) -> tuple[Array, Pullback]:
    """y = Σₖ πₖ vₖ,   π = softmax(logits)        (B, K) (B, K) -> (B,)

    Both are differentiated: a change of π moves weight to the values that are larger than their average.
    """
    alike(logits=logits, values=values)
    pi = np.exp(log_softmax(logits)[0])
    y = (pi * values).sum(axis=-1)

    def pullback(dy: Array) -> tuple[Array, Array]:   # ∂y/∂vₖ = πₖ,   ∂y/∂logitₖ = πₖ (vₖ − y)
        dvalues = pi * dy[:, None]
        return dvalues * (values - y[:, None]), dvalues

    return y, pullback


def categorical_kl(logits: Array) -> tuple[Array, Pullback]:
    """KL( π ‖ 1/K ) = log K + Σₖ πₖ log πₖ,   π = softmax(logits)        (B, K) -> (B,)

    Between 0, where nothing is chosen, and log K.
    """
    log_pi, _ = log_softmax(logits)
    pi = np.exp(log_pi)
    negative_entropy = (pi * log_pi).sum(axis=-1)

    def pullback(dkl: Array) -> Array:                # ∂/∂logitₖ = πₖ (log πₖ − Σⱼ πⱼ log πⱼ)
        return pi * (log_pi - negative_entropy[:, None]) * dkl[:, None]

    return math.log(logits.shape[-1]) + negative_entropy, pullback
