"""p(z): where latents come from before anything is seen.

A prior is a layer: `log_p, pullback = prior.log_prob(z)`, whose pullback returns dz and adds to the prior's own
parameters, if it learns.  Shapes: z (B, Z), log_p (B,).  Nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.distributions import LOG_2PI, gaussian_mixture_log_prob, standard_normal_log_prob
from minivae.nn import Layer, Parameter
from minivae.ops import log_softmax, logsumexp
from minivae.parallel import Team


class Prior(Layer):
    """What all priors offer."""

    latents: int

    def log_prob(self, z: Array) -> tuple[Array, Pullback]:
        """log p(z)        (B, Z) -> (B,);   the pullback takes `need_dp`, as a layer's does"""
        raise NotImplementedError

    def log_prob_by_latent(self, z: Array) -> Array:
        """log p(z_j) of every latent by itself, to look at: the others are integrated out        (B, Z) -> (B, Z)"""
        raise NotImplementedError(f"{type(self).__name__} does not know the marginal density of a single latent")

    def sample(self, n: int, rng: Generator, *, dtype: Any = np.float32) -> Array:
        """n draws z ~ p(z), on the generator's device        -> (n, Z)"""
        raise NotImplementedError

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance of every latent, both (Z,): to look at."""
        raise NotImplementedError

    def still(self) -> AbstractContextManager[None]:
        """Inside, nobody moves a parameter: what is computed from them alone is computed once."""
        return nullcontext()

    def together(self, priors: Sequence[Any], team: Team) -> AbstractContextManager[None]:
        """Inside, threads ask these copies, this one first, about codes of theirs: what all need is shared out."""
        return nullcontext()


class StandardNormal(Prior):
    """p(z) = N(0, I): nothing to learn, and the KL from a Gaussian posterior is known in closed form (parts.kl)."""

    def __init__(self, latents: int) -> None:
        at_least_one(latents=latents)
        self.latents = latents

    def log_prob(self, z: Array) -> tuple[Array, Pullback]:
        log_p, pull = standard_normal_log_prob(z)

        def pullback(dlog: Array, need_dp: bool = True) -> Array:
            return pull(dlog)

        return log_p, pullback

    def log_prob_by_latent(self, z: Array) -> Array:
        return -0.5 * (z * z + LOG_2PI)

    def sample(self, n: int, rng: Generator, *, dtype: Any = np.float32) -> Array:
        return rng.standard_normal((n, self.latents), dtype=dtype)

    def moments(self) -> tuple[Array, Array]:
        return np.zeros(self.latents), np.ones(self.latents)


class MixturePrior(Prior):
    """p(z) = Σₖ πₖ N(z; meanₖ, exp(logvarₖ)),   π = softmax(logits): K diagonal Gaussians, wherever they come from."""

    def mixture(self) -> tuple[Array, Array, Array]:
        """logits (K,), mean (K, Z) and logvar (K, Z), as they are now"""
        raise NotImplementedError

    def log_prob_by_latent(self, z: Array) -> Array:
        return mixture_log_prob_by_latent(z, *self.mixture())

    def sample(self, n: int, rng: Generator, *, dtype: Any = np.float32) -> Array:
        logits, mean, logvar = self.mixture()
        u, upto = rng.random((n, 1), dtype=dtype), np.cumsum(np.exp(log_softmax(logits)[0]))
        k = (u >= upto[:-1]).sum(axis=1)                             # the first k for which π₀ + … + πₖ > u
        noise = rng.standard_normal((n, self.latents), dtype=dtype)
        return (mean[k] + np.exp(0.5 * logvar[k]) * noise).astype(dtype, copy=False)

    def weights(self) -> Array:
        """π        -> (K,)"""
        return np.exp(log_softmax(self.mixture()[0])[0])

    def moments(self) -> tuple[Array, Array]:
        logits, means, logvar = self.mixture()
        pi = np.exp(log_softmax(logits)[0])[:, None]
        mean = (pi * means).sum(axis=0)
        return mean, (pi * (np.exp(logvar) + (means - mean) ** 2)).sum(axis=0)


class GaussianMixture(MixturePrior):
    """p(z) = Σₖ πₖ N(z; mean_k, exp(logvar_k)),   π = softmax(logits): K diagonal Gaussians, all of them learned.

    At first the components share N(0, I) between them: means drawn from N(0, ½ I), variances ½.
    Tomczak and Welling 2018 compare it, their MoG prior, with N(0, I).
    Raises ValueError for less than one latent or component.
    """

    def __init__(self, latents: int, components: int = 10, *, rng: Generator) -> None:
        at_least_one(latents=latents, components=components)
        self.latents = latents
        self.logits = Parameter(np.zeros(components))
        self.mean = Parameter(np.sqrt(0.5) * rng.standard_normal((components, latents)))
        self.logvar = Parameter(np.full((components, latents), np.log(0.5)))

    def log_prob(self, z: Array) -> tuple[Array, Pullback]:
        log_p, pull = gaussian_mixture_log_prob(z, *self.mixture())

        def pullback(dlog: Array, need_dp: bool = True) -> Array:
            dz, dlogits, dmean, dlogvar = pull(dlog)
            if need_dp:
                self.logits.add(dlogits)
                self.mean.add(dmean)
                self.logvar.add(dlogvar)
            return dz

        return log_p, pullback

    def mixture(self) -> tuple[Array, Array, Array]:
        return self.logits.value, self.mean.value, self.logvar.value


def mixture_log_prob_by_latent(z: Array, logits: Array, mean: Array, logvar: Array) -> Array:
    """log Σₖ πₖ N(z_j; mean_kj, exp(logvar_kj)) of every latent by itself        (B, Z) (K,) (K, Z) (K, Z) -> (B, Z)

    A marginal of a mixture of diagonal Gaussians is a mixture in one dimension.
    """
    log_pi, inv_std = log_softmax(logits)[0], np.exp(-0.5 * logvar)
    each = (log_pi - 0.5 * (((z[:, j:j + 1] - mean[:, j]) * inv_std[:, j])**2 + (logvar[:, j] + LOG_2PI))     # (B, K)
            for j in range(z.shape[1]))
    return np.stack([logsumexp(log_joint)[0] for log_joint in each], axis=1)
