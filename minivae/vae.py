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

from collections.abc import Callable
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback
from minivae.distributions import gaussian_kl, gaussian_kl_by_latent, reparameterize, standard_normal_log_prob
from minivae.nn import Adam, Arena, Layer, Optimizer, Sequential, Workers, by_rows
from minivae.ops import repeat
from minivae.parts import Likelihood, Objective


class Encoder(Layer):
    """q(z|x): a trunk that fans out into two heads        (B, X) -> mean (B, Z), logvar (B, Z)"""

    def __init__(self, trunk: Layer, mean: Layer, logvar: Layer) -> None:
        self.trunk, self.mean, self.logvar = trunk, mean, logvar

    def __call__(self, x: Array) -> tuple[tuple[Array, Array], Pullback]:
        h, pull_trunk = self.trunk(x)
        mean, pull_mean = self.mean(h)
        logvar, pull_logvar = self.logvar(h)

        def pullback(dmean: Array, dlogvar: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dh = pull_mean(dmean, need_dp=need_dp) + pull_logvar(dlogvar, need_dp=need_dp)       # h is used twice
            return pull_trunk(dh, need_dx=need_dx, need_dp=need_dp)

        return (mean, logvar), pullback


Decoder = Sequential       # z (B, Z) -> the likelihood's parameters (B, outputs): any network will do


class VAE(Layer):
    """Encoder, decoder and likelihood, the two flat vectors they live in, and the ELBO that trains them.

    device, dtype   where the parameters live; float32 to train, float64 to check gradients
    optimizer       how `train_step` moves them; Adam(1e-3) if None
    samples         L, the number of z drawn per image in a training step
    objective       what a training step climbs; the ELBO if None
    rows_each       how many images of a batch make another thread worth having
    """

    encoder: Any                       # (mean, logvar), pullback = encoder(x); a variant's may say more of q(z|x)

    def __init__(self, encoder: Layer, decoder: Layer, likelihood: Likelihood, *, pixels: int, latents: int,
                 device: Device, dtype: type = np.float32, optimizer: Optimizer | None = None,
                 samples: int = 1, objective: Objective | None = None, rows_each: int = 256) -> None:
        for name, size in (("pixels", pixels), ("latents", latents), ("samples", samples)):
            if size < 1:
                raise ValueError(f"VAE: {name} is {size}, expected at least 1")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.pixels, self.latents, self.samples = pixels, latents, samples
        self.arena = Arena(self.parameters(), device, dtype)
        self.optimizer = optimizer or Adam(1e-3)
        self.objective = objective or Objective()
        self.workers = Workers(self, rows_each=max(1, rows_each // samples))

    # ── the bound ─────────────────────────────────────────────────────────────────────────────

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of −ELBO = nll + kl, the KL in closed form        x (B, X), eps (L, B, Z) -> (B,) (B,)

        nll = −(1/L) Σₗ log p(x|zₗ),  zₗ = μ + σ εₗ;   kl = KL(q(z|x) ‖ N(0, I)).
        Kingma and Welling 2013, estimator B (eq. 7).
        """
        return self._terms(gaussian_kl, x, eps)

    def elbo_terms_by_latent(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The same with the KL of every latent by itself        -> (B,) (B, Z)"""
        return self._terms(gaussian_kl_by_latent, x, eps)

    def _terms(self, kl_op: Callable[..., tuple[Array, Pullback]], x: Array,
               eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        self._check(x, eps)
        L, B, _ = eps.shape
        (mean, logvar), pull_encoder = self.encoder(x)               # q(z|x)
        z, pull_samples = draw(mean, logvar, eps=eps)
        outputs, pull_decoder = self.decoder(z)                      # p(x|z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=L)[0])
        kl, pull_kl = kl_op(mean, logvar)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(repeat(dnll / L, samples=L)[0]))
            dmean, dlogvar = pull_samples(dz)
            dmean_kl, dlogvar_kl = pull_kl(dkl)
            pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl, need_dx=False)   # used twice: derivatives add

        return (nll.reshape(L, B).mean(axis=0), kl), pullback

    def posterior_samples(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """z = g(ε, x) and log |det ∂z/∂ε|: draws of q(z|x)        x (B, X), eps (L, B, Z) -> (L·B, Z) (L·B,)

        By the change of variables log q(z|x) = log N(ε; 0, I) − log |det ∂z/∂ε|, whatever g is.  Here z = μ + σ ε, and
        the determinant is Π σ.
        """
        (mean, logvar), pull_encoder = self.encoder(x)
        z, pull_z = draw(mean, logvar, eps=eps)
        logdet, pull_logdet = repeat(0.5 * logvar.sum(axis=-1), samples=len(eps))

        def pullback(dz: Array, dlogdet: Array) -> None:
            dmean, dlogvar = pull_z(dz)
            pull_encoder(dmean, dlogvar + 0.5 * pull_logdet(dlogdet)[:, None], need_dx=False)

        return (z, logdet), pullback

    def monte_carlo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The same two terms for any q whose draws have a known density        -> (L·B,) (L·B,)

        nllₗ = −log p(x|zₗ);   klₗ = log q(zₗ|x) − log p(zₗ), whose mean over l estimates the KL.
        One row per sample, so that −(nll + kl) are importance weights too.
        Kingma and Welling 2013, estimator A (eq. 6).
        """
        self._check(x, eps)
        (z, logdet), pull_samples = self.posterior_samples(x=x, eps=eps)
        outputs, pull_decoder = self.decoder(z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=len(eps))[0])
        log_q = standard_normal_log_prob(eps.reshape(z.shape))[0] - logdet
        log_p, pull_p = standard_normal_log_prob(z)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(dnll)) - pull_p(dkl)
            pull_samples(dz, -dkl)                                   # in log q only logdet knows the parameters

        return (nll, log_q - log_p), pullback

    def log_joint(self, z: Array, *, x: Array) -> tuple[Array, Pullback]:
        """log p(x, z) = log p(x|z) + log p(z)        z (B, Z), x (B, X) -> (B,)

        Differentiated with respect to z alone: the parameters' gradients are left as they are.
        """
        outputs, pull_decoder = self.decoder(z)
        nll, pull_nll = self.likelihood(outputs, x=x)
        log_p, pull_p = standard_normal_log_prob(z)

        def pullback(dlog: Array) -> Array:
            return pull_p(dlog) - pull_decoder(pull_nll(dlog, need_dp=False), need_dp=False)

        return log_p - nll, pullback

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
        """One step up the objective on a batch (B, X); returns the batch's mean terms, still on the device.

        (Of several processes each returns its part of the means: they add up.)
        """
        B, eps, step = len(x), self._noise(rng, self.samples, len(x)), self.optimizer.steps
        self._check(x, eps)

        def share(network: VAE, rows: slice) -> tuple[Array, ...]:   # the loss is the mean of −ELBO = nll + kl, mostly
            return self.objective(network, x=x[rows], eps=eps[:, rows], weight=1.0 / B, step=step)

        return dict(zip(self.objective.names, self.workers.step(share, B)))   # each worker takes some rows of the batch

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
