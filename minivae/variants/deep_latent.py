"""Deep latent Gaussian models: noise enters at every layer of the decoder.

    ξ_l ~ N(0, I),   l = L … 1                        independent noises, K_l numbers each
    h_L = G_L ξ_L
    h_l = T_l(h_{l+1}) + G_l ξ_l                      T_l a network: what the layer above decides, and what is left open
    x ~ p(x | T_0(h_1))

Given the ξ everything is deterministic, so this is a VAE whose latent z = (ξ_L, …, ξ_1) has the prior N(0, I), and
whose decoder mixes the noises in, layer by layer.  The recognition model q(ξ|x) = Π_l N(ξ_l | μ_l(x), C_l(x)) has one
covariance for each layer: diagonal, or rank one plus diagonal in the precision.
Rezende, Mohamed and Wierstra 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, device, whole_numbers
from minivae.nn import Layer, Optimizer, Parameter, Sequential, glorot, mlp
from minivae.ops import split
from minivae.parts import DiagonalGaussian, Objective, Posterior, RankOne
from minivae.vae import VAE
from minivae.variants.mlp_vae import VAEConfig


class Noise(Layer):
    """G ξ, without a bias: along which directions, and how strongly, noise enters        (B, K) -> (B, K)"""

    def __init__(self, size: int, *, rng: Generator) -> None:
        self.G = Parameter(glorot(size, size, rng))

    def __call__(self, xi: Array) -> tuple[Array, Pullback]:
        def pullback(dh: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if need_dp:
                self.G.add(xi.T @ dh)
            return dh @ self.G.value.T if need_dx else None

        return xi @ self.G.value, pullback


class DeepDecoder(Layer):
    """From all noises (B, Σ K_l), the top layer's first, to the likelihood's outputs.

    maps     T_{L−1} … T_1, each from K_{l+1} numbers to K_l
    output   T_0, from K_1 numbers to the likelihood's outputs
    sizes    K_L, …, K_1, from top to bottom
    Raises ValueError unless there is one map fewer than sizes.
    """

    def __init__(self, maps: Sequence[Layer], output: Layer, *, sizes: Sequence[int], rng: Generator) -> None:
        if len(maps) != len(sizes) - 1:
            raise ValueError(f"maps: got {len(maps)}, expected {len(sizes) - 1} between {len(sizes)} stochastic layers")
        self.sizes, self.output = tuple(sizes), output
        self.noises = Sequential(*(Noise(size, rng=rng) for size in sizes))
        self.maps = Sequential(*maps) if maps else None

    def __call__(self, z: Array) -> tuple[Array, Pullback]:
        (top, *rest), pull_split = split(z, sizes=self.sizes)
        first, *others = self.noises.layers
        h, pull_top = first(top)                                     # h_L = G_L ξ_L
        pulls = []
        for T, G, xi in zip(self.maps.layers if self.maps else (), others, rest):
            below, pull_map = T(h)
            noise, pull_noise = G(xi)
            h = below + noise                                        # h_l = T_l(h_{l+1}) + G_l ξ_l
            pulls.append((pull_map, pull_noise))
        outputs, pull_output = self.output(h)

        def pullback(doutputs: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dh, dnoises = pull_output(doutputs, need_dp=need_dp), []
            for pull_map, pull_noise in reversed(pulls):             # a sum: dh goes both ways
                dnoises.append(pull_noise(dh, need_dx=need_dx, need_dp=need_dp))
                dh = pull_map(dh, need_dp=need_dp)
            dnoises.append(pull_top(dh, need_dx=need_dx, need_dp=need_dp))
            return pull_split(*reversed(dnoises)) if need_dx else None

        return outputs, pullback


@dataclass(frozen=True)
class DeepLatentConfig:
    """The size of a deep latent Gaussian model: all that is needed to build it again."""

    pixels: int
    """pixels per image, X"""
    hidden: tuple[int, ...] = (200,)
    """hidden units of the encoder, from image to noises; each of the decoder's maps mirrors them"""
    stochastic: tuple[int, ...] = (50, 100)
    """noises of each stochastic layer, from top to bottom; one layer is a VAE"""
    activation: str = "tanh"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""
    likelihood: str = "bernoulli"
    """p(x|ξ): as of VAEConfig"""
    posterior: str = "rank_one"
    """each layer's q(ξ_l|x): diagonal or rank_one"""

    def __post_init__(self) -> None:
        if not isinstance(self.stochastic, Sequence) or not self.stochastic:
            raise ValueError(f"stochastic: got {self.stochastic!r}, expected at least one size, such as (50, 100)")
        whole_numbers(stochastic=self.stochastic)
        if self.posterior not in ("diagonal", "rank_one"):
            raise ValueError(f"posterior: got {self.posterior!r}, expected diagonal or rank_one")
        self.shallow()

    @property
    def latents(self) -> int:
        """All noises together: Z = Σ K_l"""
        return sum(self.stochastic)

    def shallow(self) -> VAEConfig:
        """The VAE of the lowest stochastic layer: its decoder is T_0."""
        return VAEConfig(self.pixels, self.hidden, self.stochastic[-1], self.activation, self.likelihood)

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Objective | None = None) -> VAE:
        """The untrained model, as `VAEConfig.build`: with `images`, all noises decode to nearly their average."""
        shallow = self.shallow()
        rng, p_x = shallow.begin(seed)
        q: Posterior = DiagonalGaussian(self.latents)
        if self.posterior == "rank_one":
            q = RankOne(self.latents, self.stochastic)
        encoder, output = shallow.encoder(q, rng), shallow.decoder(p_x, rng, images)
        return VAE(encoder, self._decoder(output, rng), p_x, posterior=q, pixels=self.pixels, latents=self.latents,
                   device=on or device("cpu"), dtype=dtype, optimizer=optimizer, samples=samples, objective=objective)

    def _decoder(self, output: Layer, rng: Generator) -> DeepDecoder:
        maps = [mlp(above, *self.hidden[::-1], below, rng=rng, activation=self.activation)
                for above, below in pairwise(self.stochastic)]
        return DeepDecoder(maps, output, sizes=self.stochastic, rng=rng)
