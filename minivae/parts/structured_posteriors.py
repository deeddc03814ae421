"""Gaussian posteriors whose latents depend on each other: full covariance, rank-one-plus-diagonal precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivae.backend import Array, Pullback
from minivae.distributions import full_gaussian, rank_one
from minivae.ops import concat, split
from minivae.parts.posteriors import GaussianPosterior


class FullCovariance(GaussianPosterior):
    """q(z|x) = N(μ, L Lᵀ): outputs are μ, the logarithms of L's diagonal, and what lies below it."""

    def __init__(self, latents: int) -> None:
        self.latents, self.outputs = latents, latents + latents * (latents + 1) // 2

    def __call__(self, outputs: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        (mean, L), pull_parts = self._parts(outputs)
        z, pull_z = full_gaussian.reparameterize_full(mean, L, eps=eps)
        logdet, pull_logdet = full_gaussian.logdet(L)

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array]:
            dmean, dL = pull_z(dz)
            return (pull_parts(dmean, dL + pull_logdet(dlogdet)),)

        return (z, logdet), pullback

    def kl(self, outputs: Array) -> tuple[Array, Pullback]:
        (mean, L), pull_parts = self._parts(outputs)
        kl, pull_kl = full_gaussian.full_gaussian_kl(mean, L)

        def pullback(dkl: Array) -> tuple[Array]:
            return (pull_parts(*pull_kl(dkl)),)

        return kl, pullback

    def moments(self, outputs: Array) -> tuple[Array, Array]:
        mean, L = self._parts(outputs)[0]
        return mean, np.log((L * L).sum(axis=2))                 # Var zᵢ = Σⱼ L_ij²

    def _parts(self, outputs: Array) -> tuple[tuple[Array, Array], Pullback]:
        (mean, raw), pull_split = split(outputs, sizes=(self.latents, self.outputs - self.latents))
        L, pull_triangle = full_gaussian.triangle(raw, latents=self.latents)

        def pullback(dmean: Array, dL: Array) -> Array:
            return pull_split(dmean, pull_triangle(dL))

        return (mean, L), pullback


class RankOne(GaussianPosterior):
    """q(z|x) = Π N(μ, C), C⁻¹ = diag exp(−logvar) + u uᵀ: outputs are all μ, then all logvar, then all u.

    layers   how the latents are cut into blocks with a C each, independent of each other; None: one block
    Raises ValueError if they do not add up to `latents`.
    Rezende, Mohamed and Wierstra 2014: one block for each stochastic layer.
    """

    def __init__(self, latents: int, layers: Sequence[int] | None = None) -> None:
        self.latents, self.outputs, self.sizes = latents, 3 * latents, tuple(layers or (latents,))
        if sum(self.sizes) != latents or min(self.sizes) < 1:
            raise ValueError(f"layers: got {self.sizes}, expected sizes of at least 1 that add up to {latents}, "
                             "the latents")

    def __call__(self, outputs: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        blocks, pull_blocks = self._blocks(outputs)
        noises = split(eps, sizes=self.sizes)[0]
        draws = [rank_one.reparameterize_rank_one(*block, eps=noise) for block, noise in zip(blocks, noises)]
        logdets = [rank_one.rank_one_logdet(logvar, u) for _, logvar, u in blocks]

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array]:
            dblocks = []
            for (_, pull_draw), (_, pull_logdet), dblock in zip(draws, logdets, split(dz, sizes=self.sizes)[0]):
                dmean, dlogvar, du = pull_draw(dblock)
                dlogvar_det, du_det = pull_logdet(dlogdet)
                dblocks.append((dmean, dlogvar + dlogvar_det, du + du_det))
            return (pull_blocks(dblocks),)

        return (concat(*(z for z, _ in draws))[0], _total(logdets)), pullback

    def kl(self, outputs: Array) -> tuple[Array, Pullback]:
        blocks, pull_blocks = self._blocks(outputs)
        kls = [rank_one.rank_one_kl(*block) for block in blocks]

        def pullback(dkl: Array) -> tuple[Array]:
            return (pull_blocks([pull_kl(dkl) for _, pull_kl in kls]),)

        return _total(kls), pullback

    def moments(self, outputs: Array) -> tuple[Array, Array]:
        means, logvars = zip(*((mean, rank_one.rank_one_logvars(logvar, u))
                               for mean, logvar, u in self._blocks(outputs)[0]))
        return concat(*means)[0], concat(*logvars)[0]

    def _blocks(self, outputs: Array) -> tuple[list[tuple[Array, ...]], Pullback]:
        """(μ, logvar, u) of every block"""
        parts, pull_split = split(outputs, sizes=3 * self.sizes)
        n = len(self.sizes)

        def pullback(dblocks: list[tuple[Array, ...]]) -> Array:
            return pull_split(*(dpart for dparts in zip(*dblocks) for dpart in dparts))

        return [parts[i::n] for i in range(n)], pullback


def _total(parts: list[tuple[Array, Pullback]]) -> Array:
    """The sum of the values"""
    first, *others = (value for value, _ in parts)
    return sum(others, first)
