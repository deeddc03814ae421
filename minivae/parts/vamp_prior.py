"""The VampPrior: codes lie where the encoder puts images, so the prior is what it says of a few that are learned.

    u_k ∈ [0, 1]^X                              K pseudo-inputs: images that nobody took, learned with the rest
    p(z) = (1/K) Σₖ q(z|u_k)                    "variational mixture of posteriors": N(z; μ(u_k), σ²(u_k)), by *the same
                                                encoder* that answers for the data
    loss = −log p(x|z) + log q(z|x) − log p(z),   z ~ q(z|x): estimated by draws, for this KL has no closed form

Of all priors the best for a given q is the aggregated posterior, (1/N) Σₙ q(z|xₙ), whatever the decoder is.  That costs
N encoders a step, and would remember the training images; K pseudo-inputs stand for them.  The encoder hears the loss
twice, for the images and for the pseudo-inputs: derivatives add.  The pseudo-inputs hear it through the encoder.

Tomczak and Welling 2018.   Shapes: B codes, K pseudo-inputs, X pixels, Z latents.  Nats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.distributions import gaussian_mixture_log_prob
from minivae.nn import Layer, Parameter
from minivae.ops import hardtanh
from minivae.parallel import Team, shares
from minivae.parts.priors import MixturePrior

MARGIN, NOISE = 0.05, 0.01             # how far from 0 and 1 a pseudo-input starts, and by how much that varies
ROUNDING = 1e-5                        # by which images that were brought to [0, 1] may miss it


class VampPrior(MixturePrior):
    """p(z) = (1/K) Σₖ N(z; mean_k, exp(logvar_k)),   (mean_k, logvar_k) = encoder(u_k),   u = hardtanh(raw)

    encoder   the model's own: its parameters are not the prior's, but the prior's pullback adds to them, too
    raw       where the pseudo-inputs start (K, X); outside of [0, 1] they would stay, for there the clip is flat
    Raises ValueError for less than one latent, or pseudo-inputs that are not (K, X) with K and X at least 1.
    """

    def __init__(self, encoder: Layer, latents: int, raw: np.ndarray) -> None:
        at_least_one(latents=latents)
        if raw.ndim != 2 or raw.size == 0:
            raise ValueError(f"raw: got shape {raw.shape}, expected (K, X): K pseudo-inputs of X pixels")
        self.latents, self.encoder, self.raw = latents, encoder, Parameter(raw)
        self._kept: tuple[tuple[Array, Array], Pullback] | None = None

    def parameters(self, prefix: str = "") -> dict[str, Parameter]:
        return {f"{prefix}raw": self.raw}                            # the encoder's are the model's, under its own name

    def log_prob(self, z: Array) -> tuple[Array, Pullback]:
        (mean, logvar), pull_components = self.components()
        even = np.zeros_like(mean[:, 0])                             # 1/K for each: −log K once, outside of the sum
        log_p, pull = gaussian_mixture_log_prob(z, even, mean, logvar)

        def pullback(dlog: Array, need_dp: bool = True) -> Array:
            dz, _, dmean, dlogvar = pull(dlog)
            if need_dp:
                pull_components(dmean, dlogvar)
            return dz

        return log_p, pullback

    def components(self) -> tuple[tuple[Array, Array], Pullback]:
        """mean and logvar of q(z|u_k)        -> (K, Z) (K, Z)"""
        if self._kept is not None:
            return self._kept
        q, pull = self._encode(slice(None))

        def pullback(dmean: Array, dlogvar: Array) -> None:
            self.raw.add(pull(dmean, dlogvar))

        return q, pullback

    def _encode(self, some: slice) -> tuple[tuple[Array, Array], Pullback]:
        """The same for some pseudo-inputs, and from its cotangents to those of `raw`."""
        u, pull_u = hardtanh(self.raw.value[some], low=0.0, high=1.0)
        q, pull_encoder = self.encoder(u)
        return q, lambda *dq: pull_u(pull_encoder(*dq))              # on the way the encoder's parameters hear it

    def mixture(self) -> tuple[Array, Array, Array]:
        (mean, logvar), _ = self.components()
        return np.zeros_like(mean[:, 0]), mean, logvar

    def pseudo_inputs(self) -> Array:
        """u        -> (K, X)"""
        return hardtanh(self.raw.value, low=0.0, high=1.0)[0]

    @contextmanager
    def still(self) -> Iterator[None]:
        before, self._kept = self._kept, self.components()
        try:
            yield
        finally:
            self._kept = before

    @contextmanager
    def together(self, priors: Sequence[VampPrior], team: Team) -> Iterator[None]:
        """Each thread asks the encoder about its share of the pseudo-inputs, and later carries back what all said."""
        if not 1 < len(priors) <= len(self.raw.value):
            yield
            return
        parts = shares(len(self.raw.value), len(priors))
        asked = team.run(lambda i: priors[i]._encode(parts[i]), len(priors))
        mean, logvar = (np.concatenate(part) for part in zip(*(q for q, _ in asked)))
        said: list[list[tuple[Array, Array]]] = [[] for _ in priors]
        try:
            for prior, mine in zip(priors, said):
                prior._kept = (mean, logvar), lambda *dq, mine=mine: mine.append(dq)
            yield
        finally:
            for prior in priors:
                prior._kept = None
        if heard := [dq for mine in said for dq in mine]:            # always in this order
            dmean, dlogvar = (sum(part[1:], part[0]) for part in zip(*heard))
            draw = team.run(lambda i: asked[i][1](dmean[parts[i]], dlogvar[parts[i]]), len(priors))
            self.raw.add(np.concatenate(draw))


def first_pseudo_inputs(components: int, pixels: int, *, rng: Generator,
                        images: np.ndarray | None = None) -> np.ndarray:
    """Where pseudo-inputs start, inside of (0, 1), for where the clip is flat nothing moves        -> (K, X)

    images   (N, X) as the encoder sees them, in [0, 1]: so many of them, 0 drawn in to 0.05 and 1 to 0.95, with a
             little noise.  None: noise alone, N(0.05, 0.01²), as in the paper
    Raises ValueError for components or pixels below 1, and for images of another size or outside of [0, 1].
    """
    at_least_one(components=components, pixels=pixels)
    raw = MARGIN + NOISE * rng.standard_normal((components, pixels))
    if images is None:
        return raw
    if images.ndim != 2 or images.shape[1] != pixels or len(images) == 0:
        raise ValueError(f"images: got shape {images.shape}, expected (N, {pixels}) with N at least 1")
    if images.min() < -ROUNDING or images.max() > 1.0 + ROUNDING:
        raise ValueError(f"images: numbers lie in [{images.min():g}, {images.max():g}], where the pseudo-inputs of a "
                         "VampPrior lie in [0, 1]: bring them there (--scale unit), or choose another prior")
    some = np.resize(rng.permutation(len(images)), components)                  # each once, before any is taken twice
    return raw + (1.0 - 2.0 * MARGIN) * images[some]
