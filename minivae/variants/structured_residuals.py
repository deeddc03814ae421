"""A VAE whose residuals have structure: what the decoder's mean leaves unexplained is correlated from pixel to pixel.

    z ~ N(0, I)
    x ~ N(μ(z), Λ(z)⁻¹),    Λ = L Lᵀ, L sparse       a pixel hears four earlier neighbours (parts.structured_gaussian)

A VAE with independent pixels puts into noise what its mean cannot say: a draw is a blurred face under salt and pepper.
The residuals of real images have edges and shades; a sparse factor of the precision can say so, at a few numbers for a
pixel, and is as quick to evaluate.  q(z|x) and the bound are those of the VAE:

    log p(x)  ≥  E_q[ log N(x; μ(z), Λ(z)⁻¹) ]  −  KL(q(z|x) ‖ N(0, I))

Three networks compute the outputs from z: "vae" (with the encoder) the mean, "diagonal" log d, "below" the
off-diagonals.  A mean that still moves and a precision that explains its errors away would chase each other, so they
learn in turn:

    first    vae and diagonal: every pixel by itself, for below starts at zero
    then     diagonal and below, the mean and the encoder as they are
    at last  all together

Dorta et al. 2018.   Shapes: B images of height × width = X pixels, Z latents.  Nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array, Device, Pullback, at_least_one, device
from minivae.nn import Layer, Optimizer, mlp
from minivae.ops import concat
from minivae.parts import DiagonalGaussian, Objective, StructuredGaussian
from minivae.vae import VAE
from minivae.variants.mlp_vae import VAEConfig, start_at


class SideBySide(Layer):
    """y = [f₁(x), f₂(x), …]        (B, I) -> (B, O₁ + O₂ + …)"""

    def __init__(self, **networks: Layer) -> None:
        vars(self).update(networks)

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        outputs, pulls = zip(*(network(x) for network in vars(self).values()))
        y, pull_concat = concat(*outputs)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dxs = [pull(d, need_dx=need_dx, need_dp=need_dp) for pull, d in zip(pulls, pull_concat(dy))]
            return sum(dxs[1:], dxs[0]) if need_dx else None          # x was used by all: they add

        return y, pullback


class StructuredVAE(VAE):
    """A VAE whose decoder is SideBySide(mean=…, diagonal=…, below=…).

    diagonal_steps   so many steps train mean and diagonal
    fixed_steps      so many after these train the precision alone; from then on all learn
    optimizers       of the networks "vae", "diagonal" and "below"; Adam(1e-3) for those that are not named
    The rest as of a VAE.
    """

    def __init__(self, encoder: Layer, decoder: SideBySide, likelihood: StructuredGaussian, *, pixels: int,
                 latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None, samples: int = 1,
                 objective: Objective | None = None, diagonal_steps: int = 0, fixed_steps: int = 0) -> None:
        super().__init__(encoder, decoder, likelihood, pixels=pixels, latents=latents, device=device, dtype=dtype,
                         samples=samples, objective=objective)
        self.diagonal_steps, self.fixed_steps = diagonal_steps, fixed_steps
        everything = self.parameters()
        diagonal, below = ({name: p for name, p in everything.items() if name.startswith(f"decoder.{part}.")}
                           for part in ("diagonal", "below"))
        vae = {name: p for name, p in everything.items() if name not in diagonal | below}
        self.learns(vae=vae, diagonal=diagonal, below=below, optimizers=optimizers, device=device, dtype=dtype,
                    uses=samples)

    def movers(self, step: int) -> tuple[str, ...]:
        if step < self.diagonal_steps:
            return "vae", "diagonal"
        return ("diagonal", "below") if step < self.diagonal_steps + self.fixed_steps else ("vae", "diagonal", "below")


@dataclass(frozen=True)
class StructuredVAEConfig:
    """The size of a VAE with structured residuals: all that is needed to build it again."""

    height: int
    width: int
    hidden: tuple[int, ...] = (400,)
    """hidden units of the encoder; the networks of mean, diagonal and off-diagonals each mirror them"""
    latents: int = 20
    activation: str = "relu"

    def __post_init__(self) -> None:
        at_least_one(height=self.height, width=self.width)
        self.sizes()                                                  # it checks the others

    def sizes(self) -> VAEConfig:
        """Those of a VAE with a variance for every pixel: without off-diagonals it would be this one."""
        return VAEConfig(self.height * self.width, self.hidden, self.latents, self.activation, "gaussian_pixel")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Objective | None = None, diagonal_steps: int = 0, fixed_steps: int = 0) -> StructuredVAE:
        """The untrained model, its off-diagonals zero; the same seed gives the same weights on every device.

        images   the training images (N, X): where the mean and the diagonal start
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        sizes, p_x = self.sizes(), StructuredGaussian((self.height, self.width))
        (rng, _), X = sizes.begin(seed), sizes.pixels
        encoder = sizes.encoder(DiagonalGaussian(self.latents), rng)
        mean, diagonal, below = (mlp(self.latents, *self.hidden[::-1], n * X, rng=rng, activation=self.activation)
                                 for n in (1, 1, 4))
        below.layers[-1].parameters()["W"].value[...] = 0.0
        if images is not None:
            outputs, spread = start_at(images, p_x, X)
            for network, part in ((mean, slice(0, X)), (diagonal, slice(X, 2 * X))):
                last = network.layers[-1].parameters()
                last["W"].value *= spread[part]
                last["b"].value[...] = outputs[part]
        return StructuredVAE(encoder, SideBySide(mean=mean, diagonal=diagonal, below=below), p_x, pixels=X,
                             latents=self.latents, device=on or device("cpu"), dtype=dtype, optimizers=optimizers,
                             samples=samples, objective=objective, diagonal_steps=diagonal_steps,
                             fixed_steps=fixed_steps)
