"""VQ-VAE-2: images as pictures of numbers, coarse and fine, and a prior that draws such pictures.

    c_top ~ p(c_top)                       a PixelCNN of 7 × 7 numbers
    c_bottom ~ p(c_bottom | c_top)         one of 14 × 14, told the first
    x ~ p(x | e_top, e_bottom)             a decoder of the words that these numbers stand for

The encoder's answer is no distribution but one picture of numbers for each level, c(x): the nearest words (`Codebook`).
So E_q has one term and q no entropy, and the bound is

    log p(x)  ≥  log p(x | c(x))  +  log p(c(x)),          nll = −log p(x | c(x)),  "kl" = −log p(c(x))

At first the prior is uniform, and −log p(c) = Σ log K is a constant.  The autoencoder learns then:

    nll + β Σ ‖z − e‖²,        the derivative straight through the words; the words follow by moving averages

It is left as it is, and the priors learn on its codes, each its own −log p.  Who hears what:

    networks     steps                    hears
    vae          the first first_steps    nll, commitment
    codebooks    the same                 no loss: sums and counts of what chose each word
    bottom, top  those after              −log p(c_bottom | c_top), and −log p(c_top)

How levels hear each other is told in parts.levels; one level is the VQ-VAE of van den Oord et al. 2017.
Razavi et al. 2019, algorithms 1 and 2, sections 3.1 and 3.2.   Shapes: B images of X = H·W·channels pixels.  Nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device
from minivae.batch import as_batch, check_images
from minivae.nn import (
    Activation,
    Conv2d,
    ConvTranspose2d,
    Data,
    Model,
    MovingAverage,
    Optimizer,
    Residual,
    Sequential,
    Several,
    he,
)
from minivae.nn.workers import Share
from minivae.ops import relu
from minivae.parts import Codebook, Level, Levels, Likelihood, PixelCNN, likelihood
from minivae.parts.levels import Codes, Held
from minivae.variants.mlp_vae import start_at

HALVE = {"kernel": 4, "stride": 2, "padding": 1}
RESTART_EVERY = 20         # steps: then words that nobody chooses are drawn from the batch, of
RESTART_FROM = 16          # so many of its images
AT_ONCE = 250              # pictures that are drawn together


class VQVAE(Model):
    """Reads batch.x (B, X).

    levels          the autoencoder
    priors          a PixelCNN for each of its levels
    shape           of an image: (height, width, channels)
    first_steps     so many steps train the autoencoder, and those after them the priors
    beta            price of the commitment ‖z − e‖²
    decay           γ of the codebooks' moving averages
    optimizers      of "vae" and of the priors, "prior_0" and so on; Adam(1e-3) for those that are not named
    """

    def __init__(self, levels: Levels, priors: Several, likelihood: Likelihood, *, shape: tuple[int, int, int],
                 device: Device, dtype: type = np.float32, optimizers: Mapping[str, Optimizer] | None = None,
                 first_steps: int = 0, beta: float = 0.25, decay: float = 0.99) -> None:
        self.levels, self.priors, self.likelihood = levels, priors, likelihood
        self.shape, self.first_steps, self.beta = shape, first_steps, beta
        self.pixels = shape[0] * shape[1] * shape[2]
        everything = levels.parameters("levels.") | likelihood.parameters("likelihood.")
        words = {name: p for name, p in everything.items() if ".codebook." in name}
        vae = {name: p for name, p in everything.items() if name not in words}
        self.prior_names = [f"prior_{i}" for i in range(len(priors.layers))]
        self.learns(vae=vae, codebooks=words, **{name: prior.parameters(f"{name}.") for name, prior in zip(
            self.prior_names, priors.layers)}, optimizers={"codebooks": MovingAverage(decay), **(optimizers or {})},
            device=device, dtype=dtype, rows_each=16)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def autoencoder_terms(self, *, x: Array, held: Held | None = None) -> tuple[tuple[Array, Array], Pullback]:
        """−log p(x | c(x)), and Σ ‖z − e‖² of all levels        (B, X) -> (B,) (B,)"""
        (y, commitment), pull_levels = self.levels(x.reshape(-1, *self.shape), held=held)
        nll, pull_nll = self.likelihood(y.reshape(x.shape), x=x)

        def pullback(dnll: Array, dcommitment: Array) -> None:
            pull_levels(pull_nll(dnll).reshape(y.shape), dcommitment, need_dx=False)

        return (nll, commitment), pullback

    def prior_nll(self, *, codes: Codes) -> tuple[Array, Pullback]:
        """−log p(c) = Σ −log p(c_l | c_l+1), the coarsest given nothing        [(B, ·, ·), …] -> (B,)"""
        above = [*codes[1:], np.zeros_like(codes[-1])]
        costs, pulls = zip(*(prior(codes=c, above=a) for prior, c, a in zip(self.priors.layers, codes, above)))

        def pullback(dcost: Array) -> None:
            for pull in pulls:
                pull(dcost)

        return sum(costs[1:], costs[0]), pullback

    @property
    def learning_to_encode(self) -> bool:
        """Whether the next step is the autoencoder's; the prior is uniform as long."""
        return self.networks["vae"].optimizer.steps < self.first_steps

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of the autoencoder, or of the priors; the batch's mean terms."""
        x = as_batch(batch).x
        share, names = self._encoding_share(x, rng) if self.learning_to_encode else self._prior_share(x)
        return dict(zip(("elbo", "nll", "kl"), self.workers.step(share, len(x), names)))

    def _encoding_share(self, x: Array, rng: Generator) -> tuple[Share, list[str]]:
        steps, B = self.networks["vae"].optimizer.steps, len(x)
        if steps % RESTART_EVERY == 0:                # at first all words are drawn from the batch
            z = self.levels.encode(x[:RESTART_FROM].reshape(-1, *self.shape))
            for level, vectors in zip(self.levels.layers, z):
                level.codebook.restart(vectors, rng, least=1.0 if steps else np.inf)

        def share(model: VQVAE, rows: slice) -> tuple[Array, ...]:
            (nll, _), pullback = model.autoencoder_terms(x=x[rows])
            weight = np.full_like(nll, 1.0 / B)
            pullback(weight, model.beta * weight)      # codebooks tally what chose their words
            nll, kl = weight @ nll, weight.sum() * model.uniform_cost
            return -(nll + kl), nll, kl

        return share, ["vae", "codebooks"]

    def _prior_share(self, x: Array) -> tuple[Share, list[str]]:
        B = len(x)

        def share(model: VQVAE, rows: slice) -> tuple[Array, ...]:
            codes = model.codes(x[rows])
            cost, pullback = model.prior_nll(codes=codes)
            weight = np.full_like(cost, 1.0 / B)
            pullback(weight)
            nll, kl = weight @ model._nll_of(codes, x[rows]), weight @ cost
            return -(nll + kl), nll, kl

        return share, self.prior_names

    @property
    def uniform_cost(self) -> float:
        """−log p(c) under the uniform prior: log K for each number, in nats"""
        H, W, _ = self.shape
        return sum(H // 2**i * (W // 2**i) * math.log(len(level.codebook.counts.value))
                   for i, level in enumerate(self.levels.layers, 1))

    def _nll_of(self, codes: Codes, x: Array) -> Array:
        return self.likelihood(self.levels.decode(codes).reshape(x.shape), x=x)[0]

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and −log p(c), (B,) (B,): nothing is drawn."""
        x = as_batch(batch).x
        codes = self.codes(x)
        return self._nll_of(codes, x), self.cost(codes)

    def cost(self, codes: Codes) -> Array:
        """−log p(c), (B,), under the prior as it is now: the uniform one, as long as the autoencoder learns"""
        if self.learning_to_encode:
            return np.full_like(self.levels.layers[0].codebook.counts.value, self.uniform_cost, shape=len(codes[0]))
        return self.prior_nll(codes=codes)[0]

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """The bound, as often as asked for: q has one answer, so more of them say no more        -> (K, B)"""
        return np.repeat(self.elbo(batch, rng)[None], samples, axis=0)

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        x = check_images(as_batch(data).x, self.pixels, name)
        self.likelihood.check(x, name)

    # ── what is to be seen ────────────────────────────────────────────────────────────────────────

    def codes(self, x: Array) -> Codes:
        """The numbers of every level, the finest first        (B, X) -> [(B, H/2, W/2), (B, H/4, W/4), …]"""
        z = self.levels.encode(x.reshape(-1, *self.shape))
        return [level.codebook.nearest(vectors) for level, vectors in zip(self.levels.layers, z)]

    def decode(self, codes: Codes) -> Array:
        """E[x | codes], (B, X)"""
        return self.likelihood.mean(self.levels.decode(codes).reshape(len(codes[0]), self.pixels))

    def sample_codes(self, n: int, rng: Generator) -> Codes:
        """Pictures of numbers from the priors, the coarsest level first."""
        H, W, _ = self.shape
        codes = list[Array]()
        for i, prior in reversed(list(enumerate(self.priors.layers, 1))):
            shape = H // 2**i, W // 2**i
            above = codes[0] if codes else self.device.xp.zeros((n, *shape), dtype=int)
            codes.insert(0, prior.sample(above, rng, shape=shape))
        return codes

    def sample(self, n: int, rng: Generator) -> Array:
        """E[x | codes] for codes from the priors, some at a time        (n, X)"""
        at_least_one(n=n)
        parts = [self.decode(self.sample_codes(min(AT_ONCE, n - start), rng)) for start in range(0, n, AT_ONCE)]
        return np.concatenate(parts)

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x | c(x)], (B, X)"""
        return self.decode(self.codes(as_batch(batch).x))


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

    def __post_init__(self) -> None:
        at_least_one(**{f.name: getattr(self, f.name) for f in fields(self) if f.name != "likelihood"})
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
        priors = Several(*(PixelCNN(self.codes, upper=self.codes if i + 1 < self.levels else 1,
                                    channels=self.prior_channels, blocks=self.prior_blocks, rng=rng)
                           for i in range(self.levels)))
        return VQVAE(levels, priors, p_x, shape=shape, device=on or device("cpu"), dtype=dtype, optimizers=optimizers,
                     first_steps=first_steps, beta=beta, decay=decay)

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
