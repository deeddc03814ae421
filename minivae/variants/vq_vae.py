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

With classes, the priors are told the label y, too: each has a picture of vectors for every class, which adds to what
the coarser codes say (parts.pixel_cnn).  "kl" is then −log p(c | y) − log p(y), y uniform: the
bound is on log p(x, y), which is below log p(x).  Autoencoder and words know of no class.

How levels hear each other is told in parts.levels; one level is the VQ-VAE of van den Oord et al. 2017.
Razavi et al. 2019, algorithms 1 and 2, sections 3.1 and 3.2.   Shapes: B images of X = H·W·channels pixels.  Nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one
from minivae.batch import as_batch, check_images, check_labels
from minivae.nn import Data, Model, MovingAverage, Optimizer, Several
from minivae.nn.workers import Share
from minivae.parts import Levels, Likelihood
from minivae.parts.levels import Codes, Held

RESTART_EVERY = 20         # steps: then words that nobody chooses are drawn from the batch, of
RESTART_FROM = 16          # so many of its images
AT_ONCE = 250              # pictures that are drawn together


class VQVAE(Model):
    """Reads batch.x (B, X); with classes, batch.labels (B,), numbers from 0.

    levels          the autoencoder
    priors          a PixelCNN for each of its levels
    shape           of an image: (height, width, channels)
    first_steps     so many steps train the autoencoder, and those after them the priors
    beta            price of the commitment ‖z − e‖²
    decay           γ of the codebooks' moving averages
    classes         of which the priors are told one; 0: they are told none
    optimizers      of "vae" and of the priors, "prior_0" and so on; Adam(1e-3) for those that are not named
    """

    def __init__(self, levels: Levels, priors: Several, likelihood: Likelihood, *, shape: tuple[int, int, int],
                 device: Device, dtype: type = np.float32, optimizers: Mapping[str, Optimizer] | None = None,
                 first_steps: int = 0, beta: float = 0.25, decay: float = 0.99, classes: int = 0) -> None:
        self.classes, self.needs = classes, ("x", "labels") if classes else ("x",)
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

    def prior_nll(self, *, codes: Codes, labels: Array | None = None) -> tuple[Array, Pullback]:
        """−log p(c | y) = Σ −log p(c_l | c_l+1, y), the coarsest given no codes        [(B, ·, ·), …] (B,) -> (B,)"""
        above = [*codes[1:], np.zeros_like(codes[-1])]
        costs, pulls = zip(*(prior(codes=c, above=a, labels=labels)
                             for prior, c, a in zip(self.priors.layers, codes, above)))

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
        x, labels = self._asked(batch)
        share, names = self._encoding_share(x, rng) if self.learning_to_encode else self._prior_share(x, labels)
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

    def _asked(self, batch: Data) -> tuple[Array, Array | None]:
        """x, and the labels if the priors are told some"""
        batch = as_batch(batch)
        return batch.x, batch.labels if self.classes else None

    def _prior_share(self, x: Array, labels: Array | None) -> tuple[Share, list[str]]:
        B = len(x)

        def share(model: VQVAE, rows: slice) -> tuple[Array, ...]:
            codes = model.codes(x[rows])
            cost, pullback = model.prior_nll(codes=codes, labels=None if labels is None else labels[rows])
            weight = np.full_like(cost, 1.0 / B)
            pullback(weight)
            nll, kl = weight @ model._nll_of(codes, x[rows]), weight @ (cost + self.label_cost)
            return -(nll + kl), nll, kl

        return share, self.prior_names

    @property
    def uniform_cost(self) -> float:
        """−log p(c) under the uniform prior: log K for each number, in nats"""
        H, W, _ = self.shape
        return sum(H // 2**i * (W // 2**i) * math.log(len(level.codebook.counts.value))
                   for i, level in enumerate(self.levels.layers, 1))

    @property
    def label_cost(self) -> float:
        """−log p(y): log C, 0 without classes"""
        return math.log(max(self.classes, 1))

    def _nll_of(self, codes: Codes, x: Array) -> Array:
        return self.likelihood(self.levels.decode(codes).reshape(x.shape), x=x)[0]

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and −log p(c), (B,) (B,): nothing is drawn."""
        x, labels = self._asked(batch)
        codes = self.codes(x)
        return self._nll_of(codes, x), self.cost(codes, labels)

    def cost(self, codes: Codes, labels: Array | None = None) -> Array:
        """−log p(c), or −log p(c, y), (B,), under the prior as it is now: uniform as long as the autoencoder learns"""
        if self.learning_to_encode:
            return np.full_like(self.levels.layers[0].codebook.counts.value, self.uniform_cost, shape=len(codes[0]))
        return self.prior_nll(codes=codes, labels=labels)[0] + self.label_cost

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """The bound, as often as asked for: q has one answer, so more of them say no more        -> (K, B)"""
        return np.repeat(self.elbo(batch, rng)[None], samples, axis=0)

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        x = check_images(as_batch(data).x, self.pixels, name)
        self.likelihood.check(x, name)
        if self.classes:
            check_labels(as_batch(data).labels, self.classes, f"{name}.labels")

    # ── what is to be seen ────────────────────────────────────────────────────────────────────────

    def codes(self, x: Array) -> Codes:
        """The numbers of every level, the finest first        (B, X) -> [(B, H/2, W/2), (B, H/4, W/4), …]"""
        z = self.levels.encode(x.reshape(-1, *self.shape))
        return [level.codebook.nearest(vectors) for level, vectors in zip(self.levels.layers, z)]

    def decode(self, codes: Codes) -> Array:
        """E[x | codes], (B, X)"""
        return self.likelihood.mean(self.levels.decode(codes).reshape(len(codes[0]), self.pixels))

    def sample_codes(self, n: int, rng: Generator, labels: Array | None = None) -> Codes:
        """Pictures of numbers from the priors, the coarsest level first        labels (n,)"""
        H, W, _ = self.shape
        codes = list[Array]()
        for i, prior in reversed(list(enumerate(self.priors.layers, 1))):
            shape = H // 2**i, W // 2**i
            above = codes[0] if codes else self.device.xp.zeros((n, *shape), dtype=int)
            codes.insert(0, prior.sample(above, rng, shape=shape, labels=labels))
        return codes

    def sample(self, n: int, rng: Generator, label: int | None = None) -> Array:
        """E[x | codes] for codes from the priors, some at a time        (n, X)

        label   of all of them, if the priors are told classes; None: the classes in turn, 0, 1, …
        Raises ValueError for a label that is none of them.
        """
        at_least_one(n=n)
        if label is not None and not 0 <= label < self.classes:
            raise ValueError(f"label: got {label}, expected " + (f"a class from 0 to {self.classes - 1}" if self.classes
                                                                 else "None: this model's priors are told no class"))
        parts = list[Array]()
        for start in range(0, n, AT_ONCE):
            some = self.device.xp.arange(start, min(start + AT_ONCE, n))
            parts.append(self.decode(self.sample_codes(len(some), rng, self._labels(some, label))))
        return np.concatenate(parts)

    def _labels(self, numbers: Array, label: int | None) -> Array | None:
        """Of drawn images of these numbers: the one that is asked for, or all in turn; None without classes   (n,)"""
        if not self.classes:
            return None
        return numbers % self.classes if label is None else np.full_like(numbers, label)

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x | c(x)], (B, X)"""
        return self.decode(self.codes(as_batch(batch).x))
