"""q(z|x): what the encoder's outputs mean, and how z is drawn.

All are reparameterizations: noise ε ~ N(0, I) goes in, z = g(ε, x) comes out, together with log |det ∂z/∂ε|, because by
the change of variables

    log q(z|x)  =  log N(ε; 0, I)  −  log |det ∂z/∂ε| .

So a posterior is a layer `(z, logdet), pullback = posterior(*q, eps=eps)`, and `pullback(dz, dlogdet)` carries both
back to q, the encoder's outputs: mean and logvar of a diagonal Gaussian, else one array (B, posterior.outputs).
Shapes: eps and z (B, Z), logdet (B,).  Nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivae.backend import Array, Pullback
from minivae.distributions import affine, full_gaussian, gaussian_kl, rank_one, reparameterize
from minivae.nn import Layer
from minivae.ops import concat, repeat_each, split


class Posterior(Layer):
    """What all posteriors offer.  `outputs` numbers come out of the encoder for each image."""

    latents: int
    outputs: int

    def __call__(self, *q: Any, **eps: Any) -> tuple[tuple[Array, Array], Pullback]:
        """z = g(ε, x) and log |det ∂z/∂ε|        (B, outputs), eps (B, Z) -> (B, Z) (B,)"""
        raise NotImplementedError

    def draw(self, *q: Any, **eps: Any) -> tuple[Array, Pullback]:
        """z alone, where nobody asks for the determinant        (B, outputs), eps (B, Z) -> (B, Z)"""
        (z, logdet), pull = self(*q, **eps)

        def pullback(dz: Array) -> Any:
            return pull(dz, np.zeros_like(logdet))

        return z, pullback

    def moments(self, *q: Any, **_: Any) -> tuple[Array, Array]:
        """The mean of q(z|x) and the log-variance of each latent, both (B, Z): to look at."""
        raise NotImplementedError


class GaussianPosterior(Posterior):
    """One whose KL from the standard normal is known in closed form."""

    def kl(self, *q: Any, **_: Any) -> tuple[Array, Pullback]:
        """KL(q(z|x) ‖ N(0, I))        (B, outputs) -> (B,)"""
        raise NotImplementedError


class DiagonalGaussian(GaussianPosterior):
    """q(z|x) = N(mean, diag exp(logvar)): the encoder has a head for each (`vae.Encoder`)."""

    def __init__(self, latents: int) -> None:
        self.latents, self.outputs = latents, 2 * latents

    def __call__(self, mean: Array, logvar: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        drawn, pull = affine(eps, mean, logvar)                  # z = μ + σ ε,   log |det ∂z/∂ε| = ½ Σ log σ²

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array, Array]:
            _, dmean, dlogvar = pull(dz, dlogdet)                # nobody asks for the gradient of the noise
            return dmean, dlogvar

        return drawn, pullback

    def draw(self, mean: Array, logvar: Array, *, eps: Array) -> tuple[Array, Pullback]:
        return reparameterize(mean, logvar, eps=eps)

    def kl(self, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
        return gaussian_kl(mean, logvar)

    def moments(self, mean: Array, logvar: Array) -> tuple[Array, Array]:
        return mean, logvar


class FullCovariance(GaussianPosterior):
    """q(z|x) = N(μ, L Lᵀ): outputs are μ, the logarithms of L's diagonal, and what lies below it."""

    def __init__(self, latents: int) -> None:
        self.latents, self.outputs = latents, latents + latents * (latents + 1) // 2

    def __call__(self, outputs: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        (mean, L), pull_parts = self._parts(outputs)
        z, pull_z = full_gaussian.reparameterize_full(mean, L, eps=eps)
        logdet, pull_logdet = full_gaussian.logdet(L)

        def pullback(dz: Array, dlogdet: Array) -> Array:
            dmean, dL = pull_z(dz)
            return pull_parts(dmean, dL + pull_logdet(dlogdet))

        return (z, logdet), pullback

    def kl(self, outputs: Array) -> tuple[Array, Pullback]:
        (mean, L), pull_parts = self._parts(outputs)
        kl, pull_kl = full_gaussian.full_gaussian_kl(mean, L)

        def pullback(dkl: Array) -> Array:
            return pull_parts(*pull_kl(dkl))

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

        def pullback(dz: Array, dlogdet: Array) -> Array:
            dblocks = []
            for (_, pull_draw), (_, pull_logdet), dblock in zip(draws, logdets, split(dz, sizes=self.sizes)[0]):
                dmean, dlogvar, du = pull_draw(dblock)
                dlogvar_det, du_det = pull_logdet(dlogdet)
                dblocks.append((dmean, dlogvar + dlogvar_det, du + du_det))
            return pull_blocks(dblocks)

        return (concat(*(z for z, _ in draws))[0], _total(logdets)), pullback

    def kl(self, outputs: Array) -> tuple[Array, Pullback]:
        blocks, pull_blocks = self._blocks(outputs)
        kls = [rank_one.rank_one_kl(*block) for block in blocks]

        def pullback(dkl: Array) -> Array:
            return pull_blocks([pull_kl(dkl) for _, pull_kl in kls])

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


def draw(mean: Array, logvar: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """L samples of a diagonal Gaussian for each of B images        (B, Z) (B, Z), eps (L, B, Z) -> (L·B, Z)"""
    (means, logvars), pull_each = repeat_each(mean, logvar, samples=len(eps))
    z, pull_z = reparameterize(means, logvars, eps=eps.reshape(means.shape))

    def pullback(dz: Array) -> tuple[Array, Array]:
        return pull_each(*pull_z(dz))

    return z, pullback
