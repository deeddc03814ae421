"""Normalizing flows as q(z|x): a diagonal Gaussian, bent step by step.

Each step is a map of distributions.flows; the draws go through all of them, and the log-determinants add.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from minivae.backend import Array, Generator, Pullback
from minivae.distributions import flows
from minivae.nn import Layer, Sequential, mlp
from minivae.ops import concat, split
from minivae.parts.posteriors import Posterior


class PlanarFlow(Posterior):
    """Planar steps whose u, w and b the encoder gives for every image (Rezende and Mohamed 2015).

    outputs: μ, log σ², then u, w and b of each step.
    """

    def __init__(self, latents: int, *, steps: int = 8) -> None:
        if steps < 1:
            raise ValueError(f"steps: got {steps}, expected at least 1")
        self.latents, self.steps, self.outputs = latents, steps, 2 * latents + steps * (2 * latents + 1)

    def __call__(self, outputs: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        parts, pull_split = split(outputs, sizes=self._sizes())
        step = partial(flows.planar, offset=flows.STILL)
        drawn, pull_maps = flows.chain(eps, *_gently(parts), maps=((flows.affine, 2), *((step, 3),) * self.steps))

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array]:
            _, *dparts = pull_maps(dz, dlogdet)        # nobody asks for the gradient of the noise
            return (pull_split(*_gently(dparts)),)

        return drawn, pullback

    def moments(self, outputs: Array) -> tuple[Array, Array]:
        """z at ε = 0, and log σ² before it was bent: where q lies, roughly."""
        z = self(outputs, eps=np.zeros_like(outputs[:, :self.latents]))[0][0]
        return z, outputs[:, self.latents:2 * self.latents]

    def _sizes(self) -> tuple[int, ...]:
        Z = self.latents
        return (Z, Z, *(size for _ in range(self.steps) for size in (Z, Z, 1)))


def _gently(parts: Sequence[Array]) -> list[Array]:
    """μ, log σ², then u, w, b, u, w, b, … with a tenth of every u: the steps of an untrained encoder then hardly bend.

    Diagonal, so that the derivatives go back the same way.
    """
    return [0.1 * part if i % 3 == 2 else part for i, part in enumerate(parts)]


class Coupling(Layer):
    """One step: the first half of z and the context give scale and shift of the second; then they change places.

    (z, logdet), pullback = step(z, context)        (B, Z) (B, C) -> (B, Z) (B,)
    """

    def __init__(self, latents: int, context: int, hidden: int, *, rng: Generator) -> None:
        self.sizes = (latents - latents // 2, latents // 2)
        self.network: Sequential = mlp(self.sizes[0] + context, hidden, 2 * self.sizes[1], rng=rng, activation="tanh")
        for p in self.network.layers[-1].parameters().values():
            p.value *= 0.1                             # nearly the identity at first

    def __call__(self, z: Array, context: Array) -> tuple[tuple[Array, Array], Pullback]:
        (kept, moved), pull_halves = split(z, sizes=self.sizes)
        seen, pull_seen = concat(kept, context)
        h, pull_network = self.network(seen)
        (raw, shift), pull_h = split(h, sizes=(self.sizes[1], self.sizes[1]))
        (moved, logdet), pull_couple = flows.couple(moved, raw, shift)
        y, pull_y = concat(moved, kept)

        def pullback(dy: Array, dlogdet: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Array, Array]:
            dmoved, dkept = pull_y(dy)
            dmoved, draw, dshift = pull_couple(dmoved, dlogdet)
            dkept_seen, dcontext = pull_seen(pull_network(pull_h(draw, dshift), need_dp=need_dp))
            return pull_halves(dkept + dkept_seen, dmoved), dcontext                  # kept is used twice

        return (y, logdet), pullback


class CouplingFlow(Posterior):
    """Affine couplings with networks of their own, which see a context from the encoder (Dinh et al. 2017).

    outputs: μ, log σ², and the context.  Raises ValueError for fewer than two latents: there is nothing to couple.
    """

    def __init__(self, latents: int, *, steps: int = 4, context: int = 16, hidden: int = 32, rng: Generator) -> None:
        if latents < 2 or steps < 1:
            raise ValueError(f"CouplingFlow: got {latents} latents and {steps} steps, expected at least 2 and 1")
        self.latents, self.context, self.outputs = latents, context, 2 * latents + context
        self.couplings = Sequential(*(Coupling(latents, context, hidden, rng=rng) for _ in range(steps)))

    def __call__(self, outputs: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        (mean, logvar, context), pull_split = split(outputs, sizes=(self.latents, self.latents, self.context))
        steps = self.couplings.layers
        drawn, pull_maps = flows.chain(eps, mean, logvar, *(context,) * len(steps),
                                       maps=((flows.affine, 2), *((step, 1) for step in steps)))

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array]:
            _, dmean, dlogvar, *dcontexts = pull_maps(dz, dlogdet)
            return (pull_split(dmean, dlogvar, sum(dcontexts[1:], dcontexts[0])),)     # every step saw it

        return drawn, pullback

    def moments(self, outputs: Array) -> tuple[Array, Array]:
        """z at ε = 0, and log σ² before it was bent: where q lies, roughly."""
        z = self(outputs, eps=np.zeros_like(outputs[:, :self.latents]))[0][0]
        return z, outputs[:, self.latents:2 * self.latents]
