"""A prior of two floors: w ~ N(0, I), and over it a mixture whose components a network computes from w.

Shapes: B examples, Z latents, W of w, K components.  Nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback
from minivae.distributions import components_log_prob, standard_normal_log_prob
from minivae.nn import Layer
from minivae.ops import log_mean_exp, split
from minivae.parts.priors import Prior


class Components(Layer):
    """p(z|w, c) of all c: a network's mean and logvar, K of each        w (B, W) -> (B, K, Z) (B, K, Z)

    network   w -> mean and logvar, both (B, K · Z)
    """

    def __init__(self, network: Layer, components: int, latents: int) -> None:
        self.network, self.shape = network, (-1, components, latents)

    def __call__(self, w: Array) -> tuple[tuple[Array, Array], Pullback]:
        (mean, logvar), pull_network = self.network(w)

        def pullback(dmean: Array, dlogvar: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            return pull_network(dmean.reshape(mean.shape), dlogvar.reshape(logvar.shape), need_dx=need_dx,
                                need_dp=need_dp)

        return (mean.reshape(self.shape), logvar.reshape(self.shape)), pullback


class MixtureGiven(Prior):
    """p(z, w) = N(w; 0, I) (1/K) Σ_c N(z; μ_c(w), σ²_c(w)): all but x, with c summed out."""

    def __init__(self, given_w: Components, sizes: tuple[int, int]) -> None:
        self.given_w, self.sizes, self.latents = given_w, sizes, sum(sizes)

    def log_prob(self, z: Array) -> tuple[Array, Pullback]:
        """log p(z, w)        (B, Z + W) -> (B,)"""
        (z, w), pull_split = split(z, sizes=self.sizes)
        log_w, pull_w = standard_normal_log_prob(w)
        components, pull_components = self.given_w(w)
        each, pull_each = components_log_prob(z, *components)
        log_z, pull_mean = log_mean_exp(each)

        def pullback(dlog: Array, need_dp: bool = True) -> Array:
            dz, *dcomponents = pull_each(pull_mean(dlog))
            return pull_split(dz, pull_w(dlog) + pull_components(*dcomponents, need_dp=need_dp))

        return log_w + log_z, pullback

    def sample(self, n: int, rng: Generator, *, dtype: Any = np.float32) -> Array:
        K = self.given_w.shape[1]
        u = rng.random((n,), dtype=dtype)
        return self.sample_of((u * K).astype(np.int64).clip(0, K - 1), rng, dtype=dtype)

    def sample_of(self, clusters: Array, rng: Generator, *, dtype: Any = np.float32) -> Array:
        """(z, w) ~ p(z, w|c), one of each of these clusters        (n,) -> (n, Z + W)"""
        eps, w = (rng.standard_normal((len(clusters), size), dtype=dtype) for size in self.sizes)
        mean, logvar = (np.take_along_axis(a, clusters[:, None, None], axis=1)[:, 0] for a in self.given_w(w)[0])
        return np.concatenate([mean + np.exp(0.5 * logvar) * eps, w], axis=1)
