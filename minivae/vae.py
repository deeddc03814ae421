"""The variational autoencoder: read this file first.

A VAE explains an image x by a latent z that nobody sees:

    z ~ p(z) = N(0, I)           the prior
    x ~ p(x|z)                   the likelihood, whose parameters the decoder computes from z

How probable is x?  log p(x) = log ∫ p(x|z) p(z) dz cannot be computed.  But for any q(z|x),

    log p(x)  ≥  ELBO(x)  =  E_q[ log p(x|z) ]  −  KL( q(z|x) ‖ p(z) )

and the gap is KL(q(z|x) ‖ p(z|x)).  So an encoder computes q(z|x) = N(mean, diag exp(logvar)) for
every image (the approximate posterior; one network for all images is called amortized inference),
and both networks climb the ELBO together.   Kingma and Welling 2013; Rezende et al. 2014.

Shapes: B images of X pixels, Z latents, L samples.  Everything is in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from minivae.arena import Arena
from minivae.backend import Array, Device, Generator, device
from minivae.distributions import gaussian_kl, gaussian_log_prob, reparameterize, standard_normal_log_prob
from minivae.layers import Layer, Linear, Sequential, mlp
from minivae.likelihoods import Likelihood, likelihood
from minivae.ops import Pullback, repeat
from minivae.optim import Adam, Optimizer
from minivae.workers import Workers, by_rows


class Encoder(Layer):
    """q(z|x): a trunk that fans out into two heads        (B, X) -> mean (B, Z), logvar (B, Z)"""

    def __init__(self, trunk: Layer, mean: Layer, logvar: Layer) -> None:
        self.trunk, self.mean, self.logvar = trunk, mean, logvar

    def __call__(self, x: Array) -> tuple[tuple[Array, Array], Pullback]:
        h, pull_trunk = self.trunk(x)
        mean, pull_mean = self.mean(h)
        logvar, pull_logvar = self.logvar(h)

        def pullback(dmean: Array, dlogvar: Array, need_dx: bool = True) -> Array | None:
            return pull_trunk(pull_mean(dmean) + pull_logvar(dlogvar), need_dx=need_dx)   # h is used twice

        return (mean, logvar), pullback


Decoder = Sequential       # z (B, Z) -> the likelihood's parameters (B, outputs): any network will do


class VAE(Layer):
    """Encoder, decoder and likelihood, the two flat vectors they live in, and the ELBO that trains them.

    device, dtype   where the parameters live; float32 to train, float64 to check gradients
    optimizer       how `train_step` moves them; Adam(1e-3) if None
    samples         L, the number of z drawn per image in a training step
    rows_each       how many images of a batch make another thread worth having
    """

    def __init__(self, encoder: Encoder, decoder: Layer, likelihood: Likelihood, *, pixels: int, latents: int,
                 device: Device, dtype: type = np.float32, optimizer: Optimizer | None = None,
                 samples: int = 1, rows_each: int = 256) -> None:
        for name, size in (("pixels", pixels), ("latents", latents), ("samples", samples)):
            if size < 1:
                raise ValueError(f"VAE: {name} is {size}, expected at least 1")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.pixels, self.latents, self.samples = pixels, latents, samples
        self.arena = Arena(self.parameters(), device, dtype)
        self.optimizer = optimizer or Adam(1e-3)
        self.workers = Workers(self, rows_each=rows_each)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of −ELBO = nll + kl, the KL in closed form        x (B, X), eps (L, B, Z) -> (B,) (B,)

        nll = −(1/L) Σₗ log p(x|zₗ),  zₗ = μ + σ εₗ;   kl = KL(q(z|x) ‖ N(0, I)).
        Kingma and Welling 2013, estimator B (eq. 7).
        """
        self._check(x, eps)
        L, B, _ = eps.shape
        (mean, logvar), pull_encoder = self.encoder(x)               # q(z|x)
        z, pull_samples = draw(mean, logvar, eps=eps)
        outputs, pull_decoder = self.decoder(z)                      # p(x|z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=L)[0])
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(repeat(dnll / L, samples=L)[0]))
            dmean, dlogvar = pull_samples(dz)
            dmean_kl, dlogvar_kl = pull_kl(dkl)
            pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl, need_dx=False)   # used twice: derivatives add

        return (nll.reshape(L, B).mean(axis=0), kl), pullback

    def monte_carlo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The same two terms for any q and p(z) whose densities are known        -> (L·B,) (L·B,)

        nllₗ = −log p(x|zₗ);   klₗ = log q(zₗ|x) − log p(zₗ), whose mean over l estimates the KL.
        One row per sample, so that −(nll + kl) are importance weights too.
        Kingma and Welling 2013, estimator A (eq. 6).
        """
        self._check(x, eps)
        L = len(eps)
        (mean, logvar), pull_encoder = self.encoder(x)
        means, pull_means = repeat(mean, samples=L)
        logvars, pull_logvars = repeat(logvar, samples=L)
        z, pull_z = reparameterize(means, logvars, eps=eps.reshape(means.shape))
        outputs, pull_decoder = self.decoder(z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=L)[0])
        log_q, pull_q = gaussian_log_prob(z, means, logvars)
        log_p, pull_p = standard_normal_log_prob(z)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz_q, dmeans_q, dlogvars_q = pull_q(dkl)                 # z moves with q, and so does its density
            dz = pull_decoder(pull_nll(dnll)) + dz_q + pull_p(-dkl)
            dmeans, dlogvars = pull_z(dz)
            pull_encoder(pull_means(dmeans + dmeans_q), pull_logvars(dlogvars + dlogvars_q), need_dx=False)

        return (nll, log_q - log_p), pullback

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check_images(self, x: Any, name: str = "x") -> None:
        """Raise unless `x` is a non-empty (N, X) float array that the likelihood can explain.

        Reads every pixel (and waits for the GPU): once for a data set, never inside a step.
        """
        if getattr(x, "dtype", None) is None or x.dtype.kind != "f":
            raise TypeError(f"{name}: got {getattr(x, 'dtype', type(x).__name__)}, "
                            "expected a float array (grey levels 0 … 255: divide by 255)")
        if x.ndim != 2 or len(x) == 0 or x.shape[1] != self.pixels:
            raise ValueError(f"{name}: got shape {x.shape}, expected (N, {self.pixels}) with N at least 1")
        self.likelihood.check(x, name)

    def train_step(self, x: Array, rng: Generator) -> dict[str, Array]:
        """One step up the ELBO on a batch (B, X); returns its mean terms, still on the device.

        (Of several processes each returns its part of the means: they add up.)
        """
        B, eps = len(x), self._noise(rng, self.samples, len(x))

        def share(network: VAE, rows: slice) -> tuple[Array, Array]:
            (nll, kl), pullback = network.elbo_terms(x=x[rows], eps=eps[:, rows])
            dloss = np.full_like(nll, 1.0 / B)                       # the loss is the mean of −ELBO = nll + kl
            pullback(dloss, dloss)
            return nll.sum() / B, kl.sum() / B

        nll, kl = self.workers.step(share, B)                        # each worker takes some rows of the batch
        return {"elbo": -(nll + kl), "nll": nll, "kl": kl}

    def terms(self, x: Array, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """(nll, kl), both (B,): values only."""
        return self.elbo_terms(x=x, eps=self._noise(rng, samples, len(x)))[0]

    def elbo(self, x: Array, rng: Generator, samples: int = 1) -> Array:
        """A lower bound on log p(x) in nats, (B,): unbiased for the ELBO."""
        nll, kl = self.terms(x, rng, samples)
        return -(nll + kl)

    def log_weights(self, x: Array, rng: Generator, samples: int = 1) -> Array:
        """log p(x, z) − log q(z|x) for K samples z ~ q(z|x)        (B, X) -> (K, B)"""
        nll, kl = self.monte_carlo_terms(x=x, eps=self._noise(rng, samples, len(x)))[0]
        return -(nll + kl).reshape(samples, len(x))

    def encode(self, x: Array) -> tuple[Array, Array]:
        """mean and logvar of q(z|x), both (B, Z)"""
        return self.encoder(x)[0]

    def decode(self, z: Array) -> Array:
        """E[x|z], (B, X)"""
        return by_rows(lambda part: self.likelihood.mean(self.decoder(part)[0]), z, columns=self.pixels,
                       team=self.workers.team)

    def sample(self, n: int, rng: Generator) -> Array:
        """E[x|z] for n draws z ~ p(z)        (n, X)"""
        if n < 1:
            raise ValueError(f"n: got {n}, expected at least 1")
        return self.decode(self._noise(rng, n))

    def reconstruct(self, x: Array, rng: Generator) -> Array:
        """E[x|z] for one draw z ~ q(z|x) per image        (B, X)"""
        mean, logvar = self.encode(x)
        return self.decode(reparameterize(mean, logvar, eps=self._noise(rng, len(x)))[0])

    def _noise(self, rng: Generator, *sizes: int) -> Array:
        """ε ~ N(0, I) of shape (*sizes, Z), in the dtype of the parameters and on the generator's device."""
        return rng.standard_normal((*sizes, self.latents), dtype=self.arena.value.dtype)

    def _check(self, x: Array, eps: Array) -> None:
        """Raise before anything is computed: NumPy would broadcast, or lift a float32 step to float64."""
        dtype = self.arena.value.dtype
        if x.ndim != 2 or x.shape[1] != self.pixels or len(x) == 0:
            raise ValueError(f"x: got shape {x.shape}, expected (B, {self.pixels}) with B at least 1")
        if eps.ndim != 3 or len(eps) == 0 or eps.shape[1:] != (len(x), self.latents):
            raise ValueError(f"eps: got shape {eps.shape}, expected (L, {len(x)}, {self.latents}) with L at least 1")
        for name, array in (("x", x), ("eps", eps)):
            if array.dtype != dtype:
                raise TypeError(f"{name}: got dtype {array.dtype}, expected {dtype}, the dtype of the parameters")


def draw(mean: Array, logvar: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """L samples of q(z|x) for each of B images        (B, Z) (B, Z), eps (L, B, Z) -> (L·B, Z)"""
    means, pull_means = repeat(mean, samples=len(eps))
    logvars, pull_logvars = repeat(logvar, samples=len(eps))
    z, pull_z = reparameterize(means, logvars, eps=eps.reshape(means.shape))

    def pullback(dz: Array) -> tuple[Array, Array]:
        dmeans, dlogvars = pull_z(dz)
        return pull_means(dmeans), pull_logvars(dlogvars)

    return z, pullback


def start_at(images: np.ndarray, p_x: Likelihood, pixels: int) -> tuple[np.ndarray, Any]:
    """`p_x.start(images)`.  Raises ValueError unless the images are (N, pixels)."""
    if images.ndim != 2 or len(images) == 0 or images.shape[1] != pixels:
        raise ValueError(f"images: got shape {images.shape}, expected (N, {pixels}) with N at least 1")
    return p_x.start(images)


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
    """p(x|z): bernoulli, gaussian_fixed, gaussian_shared or gaussian_pixel"""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, Sequence) or not self.hidden:
            raise ValueError(f"hidden: got {self.hidden!r}, expected at least one size, such as (400,)")
        for name, size in (("pixels", self.pixels), ("latents", self.latents), *(("hidden", h) for h in self.hidden)):
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name}: got {size!r}, expected a whole number of at least 1")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None) -> VAE:
        """The untrained VAE; the same seed gives the same weights on every device.

        images   the training images (N, X): at first every z decodes to nearly their average.  Else the decoder has to
                 learn it, and while it does the KL switches latents off: fewer survive, and the bound is worse.
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected at least 0")
        rng = np.random.default_rng(seed)
        p_x = likelihood(self.likelihood)
        sizes = (self.pixels, *self.hidden)
        encoder = Encoder(mlp(*sizes, rng=rng, activation=self.activation, last=True),
                          Linear(sizes[-1], self.latents, rng=rng), Linear(sizes[-1], self.latents, rng=rng))
        decoder = mlp(self.latents, *self.hidden[::-1], self.pixels * p_x.outputs_per_pixel,
                      rng=rng, activation=self.activation)
        if images is not None:
            last, (outputs, spread) = decoder.layers[-1].parameters(), start_at(images, p_x, self.pixels)
            last["W"].value *= spread
            last["b"].value[...] = outputs
        return VAE(encoder, decoder, p_x, pixels=self.pixels, latents=self.latents, device=on or device("cpu"),
                   dtype=dtype, optimizer=optimizer, samples=samples)
