"""The two-stage VAE: a second VAE learns where the codes of the first one lie.

    u ~ N(0, I),    z ~ p(z|u)         the second VAE, of codes
    x ~ p(x|z)                         the first one's decoder

A VAE pays KL(q(z|x) ‖ N(0, I)) image by image; averaged over all images q(z) still is not N(0, I), and a decoder that
is asked for z ~ N(0, I) is asked where it never was.  So train a VAE first, its γ = σ² learned; leave it as it is; then
train a second one on its codes z ~ q(z|x), with as many latents as there are codes, and a γ of its own.  (What keeps
the second from the same fate?  Codes fill their space: nothing like the manifold of images is left to find.)

All in all this is a model of x, and has a bound:

    log p(x)  ≥  E_q(z|x) [ log p(x|z) − log q(z|x) + ELBO₂(z) ],       ELBO₂(z) ≤ log p₂(z)

The first VAE hears its own bound alone, in the first steps; the second ELBO₂ alone, in those after them.
Dai and Wipf 2019.   Shapes: B images of X pixels, Z latents in z and in u.  Nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, device
from minivae.batch import as_batch
from minivae.distributions import standard_normal_log_prob
from minivae.nn import Crew, Data, Layer, Linear, Model, Optimizer, Sequential, by_rows, mlp
from minivae.ops import concat, repeat
from minivae.parts import GaussianShared, InUnits, Objective
from minivae.vae import VAE, Encoder
from minivae.variants.mlp_vae import VAEConfig


class Skip(Layer):
    """y = [f(x), x]: what comes next sees both        (B, I) -> (B, O + I)"""

    def __init__(self, f: Layer) -> None:
        self.f = f

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        h, pull_f = self.f(x)
        y, pull_concat = concat(h, x)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dh, dx = pull_concat(dy)
            through = pull_f(dh, need_dx=need_dx, need_dp=need_dp)
            return through + dx if need_dx else None                 # x was used twice

        return y, pullback


class TwoStage(Model):
    """Reads batch.x (B, X).

    first         a VAE of images: the network "first"
    second        a VAE of its codes, of as many numbers as it has latents: the network "second"
    first_steps   so many steps train the first, and those after them the second
    Raises ValueError if the second's images are not the first's codes.
    """

    def __init__(self, first: VAE, second: VAE, *, first_steps: int) -> None:
        if second.pixels != first.latents:
            raise ValueError(f"second: got a VAE of {second.pixels} numbers, expected {first.latents}, the latents of "
                             "the first")
        self.first, self.second, self.first_steps = first, second, first_steps
        self.networks = {"first": first.network, "second": second.network}
        self.workers: Any = Crew(first.workers, second.workers)
        self.latents, self.pixels = first.latents, first.pixels
        self.likelihood, self.prior = first.likelihood, first.prior

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def codes(self, *, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """z ~ q(z|x), −log p(x|z) and log q(z|x)        (B, X) (B, Z) -> (B, Z) (B,) (B,)

        Constants to the second VAE: nothing is pulled back.
        """
        (z, logdet), _ = self.first.posterior_samples(x=x, eps=eps[None])
        nll, _ = self.likelihood(self.first.decoder(z)[0], x=x)
        return z, nll, standard_normal_log_prob(eps)[0] - logdet

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of the first VAE, or of the second; terms of the bound on log p(x), from then on that of both."""
        if self.first.optimizer.steps < self.first_steps:
            return self.first.train_step(batch, rng)
        x, step = as_batch(batch).x, self.second.optimizer.steps
        B, weight = len(x), 1.0 / len(x)
        eps, eps_u = rng.standard_normal((2, B, self.latents), dtype=self.dtype)
        if step == 0:
            self._measure(self.codes(x=x, eps=eps)[0])

        def share(second: VAE, rows: slice) -> tuple[Array, ...]:
            z, nll, log_q = self.codes(x=x[rows], eps=eps[rows])
            elbo, *_ = second.objective(second, x=z, eps=eps_u[None, rows], weight=weight, step=step)
            nll, kl = weight * nll.sum(), weight * log_q.sum() - elbo
            return -(nll + kl), nll, kl

        return dict(zip(("elbo", "nll", "kl"), self.second.workers.step(share, B)))

    def _measure(self, z: Array) -> None:
        """The second VAE sees codes in units of their own: of these, mean 0 and spread 1 in every latent."""
        units = self.second.likelihood
        if isinstance(units, InUnits):
            units.shift.value[...], units.scale.value[...] = z.mean(axis=0), z.std(axis=0) + 1e-6

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        x = as_batch(batch).x
        if self.first.optimizer.steps < self.first_steps:
            return self.first.terms(batch, rng, samples)
        drawn = []
        for _ in range(samples):
            z, nll, log_q = self.codes(x=x, eps=rng.standard_normal((len(x), self.latents), dtype=self.dtype))
            drawn.append((nll, log_q - self.second.elbo(z, rng)))
        return self.mean_of(drawn)

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(x, z, u) − log q(z, u|x) for K draws of both        (B, X) -> (K, B)"""
        def weights(x: Array) -> Array:
            z, nll, log_q = self.codes(x=x, eps=rng.standard_normal((len(x), self.latents), dtype=self.dtype))
            return self.second.log_weights(z, rng)[0] - nll - log_q

        return by_rows(weights, repeat(as_batch(batch).x, samples=samples)[0]).reshape(samples, -1)

    def check(self, data: Data, name: str = "x") -> None:
        self.first.check(data, name)

    # ── what is to be seen ────────────────────────────────────────────────────────────────────────

    def encode(self, batch: Data) -> tuple[Array, Array]:
        """mean and logvar of each latent under q(z|x), both (B, Z)"""
        return self.first.encode(batch)

    def decode(self, z: Array) -> Array:
        """E[x|z], (B, X)"""
        return self.first.decode(z)

    def sample(self, n: int, rng: Generator) -> Array:
        """u -> z -> E[x|z]        (n, X)"""
        return self.decode(self.sample_codes(n, rng))

    def sample_codes(self, n: int, rng: Generator) -> Array:
        """n draws z ~ p₂(z), with the noise of p(z|u)        -> (n, Z)"""
        u = self.second.prior.sample(n, rng, dtype=self.dtype)
        return self.second.likelihood.sample(self.second.decoder(u)[0], rng)

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x|z] for one draw z ~ q(z|x) per image        (B, X)"""
        return self.first.reconstruct(batch, rng)


@dataclass(frozen=True)
class TwoStageConfig:
    """The size of a two-stage VAE: all that is needed to build it again."""

    first: VAEConfig
    """the VAE of images"""
    hidden: tuple[int, ...] = (256, 256)
    """hidden units of the second VAE's encoder and decoder, of both alike"""

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: tuple[Optimizer | None, Optimizer | None] = (None, None), images: np.ndarray | None = None,
              objective: Objective | None = None, first_steps: int = 0) -> TwoStage:
        """The untrained model; the same seed gives the same weights on every device.

        optimizers   of the first VAE and of the second; objective: of the first
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        first = self.first.build(seed=seed, on=on, dtype=dtype, optimizer=optimizers[0], images=images,
                                 objective=objective)
        rng, Z = np.random.default_rng([seed, 2]), self.first.latents

        def trunk() -> Skip:
            return Skip(mlp(Z, *self.hidden, rng=rng, activation=self.first.activation, last=True))

        def head() -> Linear:
            return Linear(self.hidden[-1] + Z, Z, rng=rng)

        second = VAE(Encoder(trunk(), head(), head()), Sequential(trunk(), head()),
                     InUnits(GaussianShared(), np.zeros(Z), np.ones(Z)), pixels=Z, latents=Z,
                     device=on or device("cpu"), dtype=dtype, optimizer=optimizers[1])
        return TwoStage(first, second, first_steps=first_steps)
