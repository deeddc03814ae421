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

    With rₖ = πₖ N(z; μₖ, σₖ²) / Σⱼ πⱼ N(z; μⱼ, σⱼ²), the responsibility of component k for z, every derivative is that
    of a single Gaussian, weighed by r.
    Raises ValueError if the shapes do not fit.
    """
    K, Z = mean.shape
    if logvar.shape != (K, Z) or logits.shape != (K,) or z.ndim != 2 or z.shape[1] != Z:
        shapes = ", ".join(map(str, (z.shape, logits.shape, mean.shape, logvar.shape)))
        raise ValueError(f"gaussian_mixture_log_prob: z, logits, mean, logvar have shapes {shapes}, "
                         "expected (B, Z), (K,), (K, Z), (K, Z)")
    log_pi, pull_pi = log_softmax(logits)
    precision = np.exp(-logvar)
    offset = z[:, None] - mean                                                        # (B, K, Z)
    squares = offset * offset * precision
    log_joint = log_pi - 0.5 * (squares + (logvar + LOG_2PI)).sum(axis=-1)            # log πₖ N(z; μₖ, σₖ²), (B, K)
    log_p, pull_sum = logsumexp(log_joint)

    def pullback(dlog: Array) -> tuple[Array, Array, Array, Array]:
        djoint = pull_sum(dlog)                                                       # dlog · rₖ, (B, K)
        dmean = djoint[:, :, None] * offset * precision                               # ∂/∂μ = (z − μ)/σ² = −∂/∂z
        dlogvar = 0.5 * (djoint[:, :, None] * (squares - 1.0)).sum(axis=0)
        return -dmean.sum(axis=1), pull_pi(djoint.sum(axis=0)), dmean.sum(axis=0), dlogvar

    return log_p, pullback
