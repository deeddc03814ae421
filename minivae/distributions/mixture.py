"""Mixtures of diagonal Gaussians: Σₖ πₖ N(z; μₖ, σₖ²).

Shapes: B points, K components, Z latents.  Nats.  The laws are those of ops.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback
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
    fits = mean.ndim == z.ndim == 2 and z.shape[1:] == mean.shape[1:]
    if not fits or logvar.shape != mean.shape or logits.shape != mean.shape[:1]:
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
