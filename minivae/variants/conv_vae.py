"""A small convolutional VAE: what the encoder's convolutions halve, the decoder's transposed ones double again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from minivae import ops
from minivae.backend import Device, Generator, device, whole_numbers
from minivae.nn import Activation, Conv2d, ConvTranspose2d, Layer, Linear, Optimizer, Planes, Reshape, Sequential, he
from minivae.nn.layers import Op
from minivae.parts import (
    DiagonalGaussian,
    Likelihood,
    Objective,
    Posterior,
    check_pair,
    likelihood,
    posterior,
    prior,
)
from minivae.vae import VAE, Encoder
from minivae.variants.mlp_vae import in_units, start_at

SHAPE = {"kernel": 4, "stride": 2, "padding": 1}       # halves a side exactly, and every pixel is seen four times
ROWS_EACH = 16             # images that make another thread worth having: of convolutions each is work for a while


@dataclass(frozen=True)
class ConvVAEConfig:
    """The size of a convolutional VAE: all that is needed to build it again.

    Each of its convolutions halves the image: (28, 28) with two of them is 28 → 14 → 7.
    """

    height: int = 28
    """pixels"""
    width: int = 28
    """pixels"""
    channels: int = 1
    """numbers per pixel: 1 for grey, 3 for colour"""
    filters: tuple[int, ...] = (32, 64)
    """of the encoder's convolutions, from image to latents; the decoder mirrors them"""
    dense: int = 256
    """hidden units between the convolutions and the latents"""
    latents: int = 20
    """latent dimensions, Z"""
    likelihood: str = "bernoulli"
    """p(x|z): bernoulli, gaussian_fixed, gaussian_shared, gaussian_optimal or gaussian_pixel, logistic_shared or
    logistic_pixel: the last of each have a variance, or a scale, for every channel of every pixel"""
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
        if not isinstance(self.filters, Sequence) or not self.filters:
            raise ValueError(f"filters: got {self.filters!r}, expected at least one number, such as (32, 64)")
        whole_numbers(height=self.height, width=self.width, channels=self.channels, dense=self.dense,
                      latents=self.latents, components=self.components, filters=self.filters)
        check_pair(self.posterior, self.prior)
        likelihood(self.likelihood)
        for name, size in (("height", self.height), ("width", self.width)):
            if size % 2 ** len(self.filters):
                raise ValueError(f"{name}: got {size}, expected a multiple of {2 ** len(self.filters)}, "
                                 f"for {len(self.filters)} convolutions that halve it")

    @property
    def pixels(self) -> int:
        """Numbers per image, X"""
        return self.height * self.width * self.channels

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Objective | None = None) -> VAE:
        """The untrained VAE; the same seed gives the same weights on every device.

        images   the training images (N, X): at first every z decodes to nearly their average grey (`VAEConfig.build`)
        Raises ValueError for images of the wrong shape.
        """
        rng, p_x = self.begin(seed, images)
        q = posterior(self.posterior, self.latents, rng)
        encoder, decoder = self.encoder(q, rng), self.decoder(p_x, rng, images)
        p_z = prior(self.prior, self.latents, components=self.components, rng=rng, encoder=encoder, pixels=self.pixels,
                    images=None if images is None else p_x.scaled(images))
        return VAE(encoder, decoder, p_x, posterior=q, prior=p_z, pixels=self.pixels, latents=self.latents,
                   device=on or device("cpu"), dtype=dtype, optimizer=optimizer, samples=samples, objective=objective,
                   rows_each=ROWS_EACH)

    def begin(self, seed: int, images: np.ndarray | None = None) -> tuple[Generator, Likelihood]:
        """The generator that draws the weights, and p(x|z)."""
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected at least 0")
        return np.random.default_rng(seed), in_units(likelihood(self.likelihood), self.scale, self.pixels, images)

    def trunk(self, outputs: int, rng: Generator, activation: Op = ops.relu) -> Sequential:
        """From images, halved again and again, to so many numbers each        (B, X) -> (B, outputs)"""
        layers: list[Layer] = [Reshape(self.height, self.width, self.channels)]
        for channels, filters in pairwise((self.channels, *self.filters)):
            layers += [Conv2d(channels, filters, **SHAPE, rng=rng, init=he), Activation(activation)]
        size = math.prod(self._small())
        return Sequential(*layers, Reshape(size), Linear(size, outputs, rng=rng, init=he), Activation(activation))

    def encoder(self, q: Posterior, rng: Generator) -> Layer:
        """From images to the posterior's parameters: a diagonal Gaussian's have a head each."""
        trunk = self.trunk(self.dense, rng)
        if not isinstance(q, DiagonalGaussian):
            return Sequential(trunk, Linear(self.dense, q.outputs, rng=rng))
        return Encoder(trunk, *(Linear(self.dense, self.latents, rng=rng) for _ in range(2)))

    def decoder(self, p_x: Likelihood, rng: Generator, images: np.ndarray | None) -> Sequential:
        """From latents to the likelihood's outputs; starting at the images' average grey, if they are given."""
        small, depths, each = self._small(), (self.channels, *self.filters), p_x.outputs_per_pixel
        size = math.prod(small)
        up: list[Layer] = [Linear(self.latents, self.dense, rng=rng, init=he), Activation(ops.relu),
                           Linear(self.dense, size, rng=rng, init=he), Activation(ops.relu), Reshape(*small)]
        for filters, channels in pairwise(depths[:0:-1]):
            up += [ConvTranspose2d(filters, channels, **SHAPE, rng=rng, init=he), Activation(ops.relu)]
        last = ConvTranspose2d(depths[1], each * self.channels, **SHAPE, rng=rng, init=he)
        if images is not None:
            outputs, spread = start_at(images, p_x, self.pixels)
            last.W.value *= spread
            last.b.value[...] = outputs.reshape(each, -1, self.channels).mean(axis=1).ravel()     # for all pixels
        return Sequential(*up, last, Planes(each))

    def _small(self) -> tuple[int, int, int]:
        """What the convolutions make of an image: height, width, filters"""
        n = len(self.filters)
        return self.height // 2**n, self.width // 2**n, self.filters[-1]
