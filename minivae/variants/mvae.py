"""The MVAE's model of a source: how loud somebody's voice is in every frequency, moment by moment.

    c                                   the speaker, one of C
    z ~ N(0, I)                         what is being said in a frame of the spectrogram
    s(f) ~ N_C(0, σ²(f; z, c))          complex amplitudes, in every frequency; the decoder computes log σ²

    log p(s|c)  ≥  E_q[ Σ_f log N_C(s(f); 0, σ²(f; z, c)) ]  −  KL( q(z|s, c) ‖ N(0, I) )

Neither side knows a phase: all that is read of s is its power |s|², and of a frame of clean speech that is what the
model learns from, in units of the recording's mean power.  σ² is at least QUIET: where nobody speaks there is the noise
of a microphone.  When a mixture is taken apart (separation.voice) a gain g says how loud a voice is, v = g σ², and z
and c are found by climbing through the decoder, whose own parameters stay as they are.

Kameoka, Li, Inoue and Makino 2019, the "CVAE source model".  There a convolutional network hears a whole recording;
here a frame is an example, and each has its own z.
Shapes: B frames of X frequencies, C speakers, Z latents.  Nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minivae.backend import (
    Array,
    Device,
    Generator,
    Pullback,
    array_module,
    at_least_one,
    device,
    whole_numbers,
)
from minivae.batch import as_batch, check_labels
from minivae.distributions import (
    complex_gaussian_nll,
    gaussian_kl,
    gaussian_log_prob,
    reparameterize,
    standard_normal_log_prob,
)
from minivae.nn import Data, Layer, Linear, Model, Optimizer, by_rows, mlp
from minivae.ops import concat, one_hot, repeat_each, softplus
from minivae.vae import Encoder

QUIET = 1e-4                           # the least σ²: 40 dB below the mean power of a recording


class SourceVAE(Model):
    """Reads batch.x (B, X), power |s|² of at least 0, floats; batch.y (B,), speakers 0 … C − 1.

    encoder    [log power, c] -> mean and logvar of q(z|s, c)
    decoder    [z, c] -> h, of which log σ² = log QUIET + softplus(h)
    """

    needs = ("x", "y")
    pixels_of = ()

    def __init__(self, encoder: Layer, decoder: Layer, *, frequencies: int, speakers: int, latents: int, device: Device,
                 dtype: type = np.float32, optimizer: Optimizer | None = None) -> None:
        self.encoder, self.decoder = encoder, decoder
        self.frequencies, self.speakers, self.latents = frequencies, speakers, latents
        self.learns(source=self.parameters(), optimizers={"source": optimizer} if optimizer else None, device=device,
                    dtype=dtype)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def q(self, *, power: Array, c: Array) -> tuple[tuple[Array, Array], Pullback]:
        """mean and logvar of q(z|s, c)        power (B, X), c (B, C) -> (B, Z) (B, Z)"""
        heard = 0.25 * np.log(power + QUIET) + 1.0     # about −1 … 2
        moments, pull_encoder = self.encoder(concat(heard, c)[0])

        def pullback(*dq: Array) -> None:
            pull_encoder(*dq, need_dx=False)

        return moments, pullback

    def logvar(self, z: Array, c: Array) -> tuple[Array, Pullback]:
        """log σ²(f; z, c)        (B, Z) (B, C) -> (B, X)

        The pullback takes need_dp: False where z and c are looked for, and the decoder is not to learn.
        """
        told, pull_told = concat(z, c)
        h, pull_decoder = self.decoder(told)
        above, pull_above = softplus(h)

        def pullback(dlogvar: Array, need_dp: bool = True) -> tuple[Array, Array]:
            dz, dc = pull_told(pull_decoder(pull_above(dlogvar), need_dp=need_dp))
            return dz, dc

        return above + math.log(QUIET), pullback

    def elbo_terms(self, *, power: Array, c: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of the bound, nll and kl        power (B, X), c (B, C), eps (B, Z) -> (B,) (B,)"""
        q, pull_q = self.q(power=power, c=c)
        z, pull_z = reparameterize(*q, eps=eps)
        logvar, pull_logvar = self.logvar(z, c)
        nll, pull_nll = complex_gaussian_nll(logvar, power=power)
        kl, pull_kl = gaussian_kl(*q)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz, _ = pull_logvar(pull_nll(dnll))        # c is a constant: nobody asks for its gradient here
            pull_q(*(a + b for a, b in zip(pull_z(dz), pull_kl(dkl))))

        return (nll, kl), pullback

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        x, y = as_batch(data).x, as_batch(data).y
        if x.ndim != 2 or x.shape[1] != self.frequencies or x.dtype.kind != "f" or not len(x):
            raise ValueError(f"{name}.x: got {x.dtype} {x.shape}, expected floats (N, {self.frequencies})")
        if not (np.isfinite(x).all() and x.min() >= 0.0):
            raise ValueError(f"{name}.x: holds numbers below 0, NaN or infinity, expected powers |s|²")
        check_labels(y, self.speakers, f"{name}.y", of="speakers")

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step up the bound; the batch's mean terms, still on the device."""
        batch = as_batch(batch)
        B, c, eps = len(batch), self.told(batch.y), self._noise(rng, len(batch))

        def share(model: SourceVAE, rows: slice) -> tuple[Array, ...]:
            (nll, kl), pullback = model.elbo_terms(power=batch.x[rows], c=c[rows], eps=eps[rows])
            weight = np.full_like(nll, 1.0 / B)
            pullback(weight, weight)
            return -(weight @ (nll + kl)), weight @ nll, weight @ kl

        return dict(zip(("elbo", "nll", "kl"), self.workers.step(share, B)))

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        batch = as_batch(batch)
        c = self.told(batch.y)
        return self.mean_of([self.elbo_terms(power=batch.x, c=c, eps=self._noise(rng, len(batch)))[0]
                             for _ in range(samples)])

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(s, z|c) − log q(z|s, c) for K draws of q        -> (K, B)"""
        batch = as_batch(batch)
        given = batch.x, self.told(batch.y)
        q, _ = repeat_each(*self.q(power=given[0], c=given[1])[0], samples=samples)
        z, _ = reparameterize(*q, eps=self._noise(rng, len(q[0])))

        def nll(z: Array) -> Array:
            (power, c), _ = repeat_each(*given, samples=len(z) // len(batch))
            return complex_gaussian_nll(self.logvar(z, c)[0], power=power)[0]

        log_ratio = standard_normal_log_prob(z)[0] - gaussian_log_prob(z, *q)[0]
        return (log_ratio - by_rows(nll, z, multiple=len(batch))).reshape(samples, -1)

    # ── what one asks of it ───────────────────────────────────────────────────────────────────────

    def told(self, speakers: Array) -> Array:
        """c, a one for each speaker        (B,) -> (B, C)"""
        return one_hot(speakers, classes=self.speakers, dtype=self.dtype)

    def sample(self, n: int, rng: Generator, speaker: int | None = None) -> Array:
        """σ² of n draws of z, of this speaker or of each in turn        (n, X)"""
        at_least_one(n=n)
        z = self._noise(rng, n)
        if speaker is not None and not 0 <= speaker < self.speakers:
            raise ValueError(f"speaker: got {speaker}, expected 0 … {self.speakers - 1}")
        who = array_module(z).arange(n) % self.speakers if speaker is None else speaker + np.zeros_like(z[:, 0], int)
        return np.exp(self.logvar(z, self.told(who))[0])

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """σ² of the posterior mean of each frame        -> (B, X)"""
        batch = as_batch(batch)
        c = self.told(batch.y)
        return np.exp(self.logvar(self.q(power=batch.x, c=c)[0][0], c)[0])

    def _noise(self, rng: Generator, rows: int) -> Array:
        return rng.standard_normal((rows, self.latents), dtype=self.dtype)


@dataclass(frozen=True)
class SourceVAEConfig:
    """The size of a fully connected source model: all that is needed to build it again."""

    frequencies: int
    """of a frame of a spectrogram, X"""
    speakers: int
    """that it can be told, C"""
    hidden: tuple[int, ...] = (128,)
    """hidden units of the encoder, from frame to latents; the decoder mirrors them"""
    latents: int = 16
    """latent dimensions, Z"""
    activation: str = "softplus"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, Sequence) or not self.hidden:
            raise ValueError(f"hidden: got {self.hidden!r}, expected at least one size, such as (128,)")
        whole_numbers(frequencies=self.frequencies, speakers=self.speakers, latents=self.latents, hidden=self.hidden)

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, powers: np.ndarray | None = None) -> SourceVAE:
        """The untrained model; the same seed gives the same weights on every device.

        powers   of the training frames (N, X): at first every z decodes to their average
        """
        rng, (X, C, Z) = np.random.default_rng(seed), (self.frequencies, self.speakers, self.latents)
        trunk = mlp(X + C, *self.hidden, rng=rng, activation=self.activation, last=True)
        encoder = Encoder(trunk, *(Linear(self.hidden[-1], Z, rng=rng) for _ in range(2)))
        decoder = mlp(Z + C, *self.hidden[::-1], X, rng=rng, activation=self.activation)
        if powers is not None:
            if powers.ndim != 2 or powers.shape[1] != X:
                raise ValueError(f"powers: got shape {powers.shape}, expected (N, {X})")
            above = np.log(powers.mean(axis=0) / QUIET).clip(0.1, None)
            decoder.layers[-1].parameters()["b"].value[...] = np.log(np.expm1(above))        # softplus backwards
        return SourceVAE(encoder, decoder, frequencies=X, speakers=C, latents=Z, device=on or device("cpu"),
                         dtype=dtype, optimizer=optimizer)
