"""A fully connected VAE, from its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Device, Generator, device, whole_numbers
from minivae.nn import Layer, Linear, Optimizer, Sequential, mlp
from minivae.parts import (
    DiagonalGaussian,
    InUnits,
    Likelihood,
    Objective,
    Posterior,
    check_pair,
    likelihood,
    posterior,
    prior,
    units_of,
)
from minivae.vae import VAE, Encoder


def start_at(images: np.ndarray, p_x: Likelihood, pixels: int) -> tuple[np.ndarray, Any]:
    """`p_x.start(images)`.  Raises ValueError unless the images are (N, pixels)."""
    if images.ndim != 2 or len(images) == 0 or images.shape[1] != pixels:
        raise ValueError(f"images: got shape {images.shape}, expected (N, {pixels}) with N at least 1")
    return p_x.start(images)


def in_units(p_x: Likelihood, scale: str, pixels: int, images: np.ndarray | None) -> Likelihood:
    """The likelihood in the units of these images; without images in units that a checkpoint will set."""
    if scale == "none":
        return p_x
    shift, size = units_of(np.zeros((1, pixels)) if images is None else images, scale)
    return InUnits(p_x, shift, size)


@dataclass(frozen=True)
class VAEConfig:
    """The size of a fully connected VAE: all that is needed to build it again."""

    pixels: int
    """pixels per image, X"""
    hidden: tuple[int, ...] = (400,)
    """hidden units of the encoder, from image to latents; the decoder mirrors them"""
    latents: int = 20
    """latent dimensions, Z"""
    activation: str = "relu"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""
    likelihood: str = "bernoulli"
    """p(x|z): bernoulli, gaussian_fixed, gaussian_shared, gaussian_optimal or gaussian_pixel, logistic_shared or
    logistic_pixel"""
    posterior: str = "diagonal"
    """q(z|x): diagonal, full, rank_one, planar or coupling"""
    prior: str = "standard"
    """p(z): standard, which is N(0, I), mixture, of `components` Gaussians that learn, or vamp, of what the encoder
    says of `components` images that learn"""
    components: int = 10
    """of a mixture prior, K, or pseudo-inputs of a VampPrior"""
    scale: str = "none"
    """units of the data, read off the training images: none, unit (all into [0, 1]) or standard (every column)"""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, Sequence) or not self.hidden:
            raise ValueError(f"hidden: got {self.hidden!r}, expected at least one size, such as (400,)")
        whole_numbers(pixels=self.pixels, latents=self.latents, components=self.components, hidden=self.hidden)
        check_pair(self.posterior, self.prior)

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Objective | None = None) -> VAE:
        """The untrained VAE; the same seed gives the same weights on every device.

        images   the training images (N, X): at first every z decodes to nearly their average.  Else the decoder has to
                 learn it, and while it does the KL switches latents off: fewer survive, and the bound is worse.
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        rng, p_x = self.begin(seed, images)
        q = posterior(self.posterior, self.latents, rng)
        encoder, decoder = self.encoder(q, rng), self.decoder(p_x, rng, images)
        p_z = prior(self.prior, self.latents, components=self.components, rng=rng, encoder=encoder, pixels=self.pixels,
                    images=None if images is None else p_x.scaled(images))
        return VAE(encoder, decoder, p_x, posterior=q, prior=p_z, pixels=self.pixels, latents=self.latents,
                   device=on or device("cpu"), dtype=dtype, optimizer=optimizer, samples=samples, objective=objective)

    def begin(self, seed: int, images: np.ndarray | None = None) -> tuple[Generator, Likelihood]:
        """The generator that draws the weights, and p(x|z)."""
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected at least 0")
        return np.random.default_rng(seed), in_units(likelihood(self.likelihood), self.scale, self.pixels, images)

    def encoder(self, q: Posterior, rng: Generator) -> Layer:
        """From images to the posterior's parameters: a diagonal Gaussian's have a head each."""
        sizes = (self.pixels, *self.hidden)
        if not isinstance(q, DiagonalGaussian):
            return mlp(*sizes, q.outputs, rng=rng, activation=self.activation)
        return Encoder(mlp(*sizes, rng=rng, activation=self.activation, last=True),
                       Linear(sizes[-1], q.latents, rng=rng), Linear(sizes[-1], q.latents, rng=rng))

    def decoder(self, p_x: Likelihood, rng: Generator, images: np.ndarray | None) -> Sequential:
        """From latents to the likelihood's outputs; starting at the images' average, if they are given."""
        decoder = mlp(self.latents, *self.hidden[::-1], self.pixels * p_x.outputs_per_pixel,
                      rng=rng, activation=self.activation)
        if images is not None:
            last, (outputs, spread) = decoder.layers[-1].parameters(), start_at(images, p_x, self.pixels)
            last["W"].value *= spread
            last["b"].value[...] = outputs
        return decoder
