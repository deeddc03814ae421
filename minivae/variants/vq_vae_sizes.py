"""VQ-VAEs from their sizes: the levels' convolutions, the codebooks, the priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from minivae.backend import Device, Generator, at_least_one, device
from minivae.nn import Activation, Conv2d, ConvTranspose2d, Optimizer, Residual, Sequential, Several, he
from minivae.ops import relu
from minivae.parts import Codebook, Level, Levels, PixelCNN, likelihood
from minivae.variants.mlp_vae import start_at
from minivae.variants.vq_vae import VQVAE

HALVE = {"kernel": 4, "stride": 2, "padding": 1}


@dataclass(frozen=True)
class VQVAEConfig:
    """The size of a VQ-VAE: all that is needed to build it again."""

    height: int = 28
    """pixels"""
    width: int = 28
    """pixels"""
    channels: int = 1
    """numbers per pixel: 1 for grey, 3 for colour"""
    levels: int = 2
    """pictures of numbers; each halves the one before"""
    codes: int = 64
    """words of every codebook, K"""
    dimensions: int = 16
    """numbers in a word"""
    filters: int = 32
    """of every convolution of the autoencoder"""
    prior_channels: int = 32
    """of both stacks of the priors"""
    prior_blocks: int = 4
    """gated blocks of the priors"""
    likelihood: str = "gaussian_shared"
    """p(x | codes): bernoulli, gaussian_fixed, gaussian_shared, gaussian_optimal or logistic_shared"""
    classes: int = 0
    """of which the priors are told one; 0: they are told none"""

    def __post_init__(self) -> None:
        at_least_one(**{f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("likelihood", "classes")})
        if self.classes < 0:
            raise ValueError(f"classes: got {self.classes}, expected at least 0")
        for name in ("height", "width"):
            if getattr(self, name) % 2**self.levels:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a multiple of {2**self.levels}, for "
                                 f"{self.levels} levels that each halve it")
        if likelihood(self.likelihood).outputs_per_pixel > 1:
            raise ValueError(f"likelihood: {self.likelihood} wants two numbers per pixel, the convolutions give one")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, images: np.ndarray | None = None,
              first_steps: int = 0, beta: float = 0.25, decay: float = 0.99) -> VQVAE:
        """The untrained model; the same seed gives the same weights on every device.

        images   the training images (N, X): what is decoded starts at their average grey
        Raises ValueError for images of the wrong shape.
        """
        rng, p_x = np.random.default_rng(seed), likelihood(self.likelihood)
        levels = Levels(*(self._level(i, rng) for i in range(self.levels)))
        shape = self.height, self.width, self.channels
        if images is not None:
            outputs, spread = start_at(images, p_x, self.height * self.width * self.channels)
            last = levels.layers[0].up.layers[-1]
            last.W.value *= spread
            last.b.value[...] = outputs.reshape(-1, self.channels).mean(axis=0)
        above = [min(i + 2, self.levels) for i in range(self.levels)]        # above the last there is nothing, as large
        priors = Several(*(PixelCNN(self.codes, upper=self.codes if i + 1 < self.levels else 1, classes=self.classes,
                                    size=(self.height // 2**n, self.width // 2**n), blocks=self.prior_blocks,
                                    channels=self.prior_channels, rng=rng)
                           for i, n in enumerate(above)))
        return VQVAE(levels, priors, p_x, shape=shape, device=on or device("cpu"), dtype=dtype, optimizers=optimizers,
                     first_steps=first_steps, beta=beta, decay=decay, classes=self.classes)

    def _level(self, i: int, rng: Generator) -> Level:
        F, D = self.filters, self.dimensions
        below = F if i else self.channels              # channels of the picture that is halved, and doubled again
        told = F if i + 1 < self.levels else 0         # what coarser levels say

        def conv(inputs: int, outputs: int, **shape: int) -> Conv2d:
            return Conv2d(inputs, outputs, **(shape or {"kernel": 3, "padding": 1}), rng=rng, init=he)

        def residual() -> Residual:                    # of van den Oord et al. 2017, section 4.1
            return Residual(Sequential(Activation(relu), conv(F, F), Activation(relu), conv(F, F, kernel=1)))

        return Level(
            down=Sequential(conv(below, F, **HALVE), Activation(relu), conv(F, F), residual(), Activation(relu)),
            to_code=conv(F + told, D, kernel=1),
            up=Sequential(conv(D + told, F), residual(), Activation(relu),
                          ConvTranspose2d(F, below, **HALVE, rng=rng, init=he)),
            codebook=Codebook(self.codes, D, rng=rng))
