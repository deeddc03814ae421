"""The variational autoencoder: read this file first.

A VAE explains an image x by a latent z that nobody sees:

    z ~ p(z)                     the prior: N(0, I), if nothing else is said
    x ~ p(x|z)                   the likelihood, whose parameters the decoder computes from z

How probable is x?  log p(x) = log ∫ p(x|z) p(z) dz cannot be computed.  But for any q(z|x),

    log p(x)  ≥  ELBO(x)  =  E_q[ log p(x|z) ]  −  KL( q(z|x) ‖ p(z) )

and the gap is KL(q(z|x) ‖ p(z|x)).  So an encoder computes q(z|x), mostly N(mean, diag exp(logvar)), for
every image (the approximate posterior; one network for all images is called amortized inference),
and both networks climb the ELBO together.   Kingma and Welling 2013; Rezende et al. 2014.

Shapes: B images of X pixels, Z latents, L samples.  Everything is in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one
from minivae.batch import as_batch, check_images
from minivae.distributions import standard_normal_log_prob
from minivae.nn import Data, Layer, Model, Optimizer, Sequential, by_rows
from minivae.ops import repeat, repeat_each
from minivae.parallel import Team
from minivae.parts import (
    DiagonalGaussian,
    Likelihood,
    Objective,
    Posterior,
    Prior,
    StandardNormal,
    closed_form_kl,
    kl_by_latent,
)
from minivae.parts.kl import KL


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


class VAE(Model):
    """Encoder, decoder, likelihood, posterior and prior, and the ELBO that trains them.

    posterior       what the encoder's outputs mean; DiagonalGaussian(latents) if None
    prior           p(z), which may learn too; StandardNormal(latents) if None
    device, dtype   where the parameters live; float32 to train, float64 to check gradients
    optimizer       how `train_step` moves them; Adam(1e-3) if None
    samples         L, the number of z drawn per image in a training step
    objective       what a training step climbs; the ELBO if None
    rows_each       how many images of a batch, of a draw each, make another thread worth having; measured if None
    """

    def __init__(self, encoder: Layer, decoder: Layer, likelihood: Likelihood, *, pixels: int, latents: int,
                 device: Device, posterior: Posterior | None = None, prior: Prior | None = None,
                 dtype: type = np.float32, optimizer: Optimizer | None = None, samples: int = 1,
                 objective: Objective | None = None, rows_each: int | None = None) -> None:
        at_least_one(pixels=pixels, latents=latents, samples=samples)
        self.posterior = posterior or DiagonalGaussian(latents)
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.prior = prior or StandardNormal(latents)
        for name, part in (("posterior", self.posterior), ("prior", self.prior)):
            if part.latents != latents:
                raise ValueError(f"{name}: got one of {part.latents} latents, expected {latents}")
        self.pixels, self.latents, self.samples = pixels, latents, samples
        self.objective = objective or Objective()
        self.learns(vae=self.parameters(), optimizers={"vae": optimizer} if optimizer else None, device=device,
                    dtype=dtype, rows_each=rows_each, uses=samples)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────

    def q(self, *, x: Array) -> tuple[tuple[Array, ...], Pullback]:
        """The parameters of q(z|x), as many arrays as the posterior takes: mean and logvar, mostly        x (B, X)"""
        q, pull_encoder = self.encoder(self.likelihood.scaled(x))

        def pullback(*dq: Array) -> None:
            pull_encoder(*dq, need_dx=False)                         # nobody asks for the gradient of the data

        return q if isinstance(q, tuple) else (q,), pullback

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of −ELBO = nll + kl        x (B, X), eps (L, B, Z) -> (B,) (B,)

        nll = −(1/L) Σₗ log p(x|zₗ),  zₗ ~ q(z|x);   kl = KL(q(z|x) ‖ p(z)), in closed form where posterior and prior
        have one (parts.kl), else the mean of log q(zₗ|x) − log p(zₗ) over the same draws.
        Kingma and Welling 2013, estimator B (eq. 7), else A (eq. 6).
        """
        kl = closed_form_kl(self.posterior, self.prior)
        return self._averaged_terms(x, eps) if kl is None else self._terms(kl, x, eps)

    def elbo_terms_by_latent(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The same with the KL of every latent by itself        -> (B,) (B, Z)

        Raises ValueError for a posterior or prior whose latents depend on each other: they have no KL each.
        """
        return self._terms(kl_by_latent(self.posterior, self.prior), x, eps)

    def _terms(self, kl_op: KL, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        self._check(x, eps)
        L, B, _ = eps.shape
        q, pull_q = self.q(x=x)                                      # q(z|x)
        z, pull_draws = self.posterior.draws(*q, eps=eps)
        outputs, pull_decoder = self.decoder(z)                      # p(x|z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=L)[0])
        kl, pull_kl = kl_op(*q)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(repeat(dnll / L, samples=L)[0]))
            dq_draws = pull_draws(dz)
            dq_kl = pull_kl(dkl)
            pull_q(*(a + b for a, b in zip(dq_draws, dq_kl)))        # q is used twice: derivatives add

        return (nll.reshape(L, B).sum(axis=0) / L, kl), pullback

    def _averaged_terms(self, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The Monte Carlo terms, averaged over the draws        x (B, X), eps (L, B, Z) -> (B,) (B,)"""
        (nll, kl), pull_terms = self.monte_carlo_terms(x=x, eps=eps)
        L, B, _ = eps.shape

        def pullback(dnll: Array, dkl: Array) -> None:
            pull_terms(*(repeat(d / L, samples=L)[0] for d in (dnll, dkl)))

        return (nll.reshape(L, B).sum(axis=0) / L, kl.reshape(L, B).sum(axis=0) / L), pullback

    def posterior_samples(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """z = g(ε, x) and log |det ∂z/∂ε|: draws of q(z|x)        x (B, X), eps (L, B, Z) -> (L·B, Z) (L·B,)

        By the change of variables log q(z|x) = log N(ε; 0, I) − log |det ∂z/∂ε|, whatever g is.  For a diagonal
        Gaussian z = μ + σ ε, and the determinant is Π σ.
        """
        L, B, Z = eps.shape
        q, pull_q = self.q(x=x)
        each, pull_each = repeat_each(*q, samples=L)
        drawn, pull_posterior = self.posterior(*each, eps=eps.reshape(L * B, Z))

        def pullback(dz: Array, dlogdet: Array) -> None:
            pull_q(*pull_each(*pull_posterior(dz, dlogdet)))

        return drawn, pullback

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
        log_p, pull_p = self.prior.log_prob(z)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(dnll)) + pull_p(-dkl)         # a prior that learns hears this too
            pull_samples(dz, -dkl)                                   # in log q only logdet knows the parameters

        return (nll, log_q - log_p), pullback

    def monte_carlo_values(self, *, x: Array, eps: Array) -> tuple[Array, Array]:
        """The values of `monte_carlo_terms`, for many draws: the decoder sees some at a time        -> (L·B,) (L·B,)"""
        self._check(x, eps)
        (z, logdet), _ = self.posterior_samples(x=x, eps=eps)

        def nll(z: Array) -> Array:
            return self.likelihood.of_draws(self.decoder(z)[0], x=x)

        log_q = standard_normal_log_prob(eps.reshape(z.shape))[0] - logdet
        return by_rows(nll, z, multiple=len(x)), log_q - self.prior.log_prob(z)[0]

    def log_joint(self, z: Array, *, x: Array) -> tuple[Array, Pullback]:
        """log p(x, z) = log p(x|z) + log p(z)        z (B, Z), x (B, X) -> (B,)

        Differentiated with respect to z alone: the parameters' gradients are left as they are.
        """
        outputs, pull_decoder = self.decoder(z)
        nll, pull_nll = self.likelihood(outputs, x=x)
        log_p, pull_p = self.prior.log_prob(z)

        def pullback(dlog: Array) -> Array:
            return pull_p(dlog, need_dp=False) - pull_decoder(pull_nll(dlog, need_dp=False), need_dp=False)

        return log_p - nll, pullback

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    @property
    def whole_batch(self) -> bool:
        return self.objective.whole_batch

    def still(self) -> AbstractContextManager[None]:
        return self.prior.still()

    def together(self, copies: Sequence[VAE], team: Team) -> AbstractContextManager[None]:
        return self.prior.together([copy.prior for copy in copies], team)

    def check(self, data: Data, name: str = "x") -> None:
        """Raise unless `x` is a non-empty (N, X) float array that the likelihood can explain.

        Reads every pixel (and waits for the GPU): once for a data set, never inside a step.
        """
        super().check(data, name)
        x = check_images(as_batch(data).x, self.pixels, name)
        self.likelihood.check(x, name)

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step up the objective on a batch (B, X); returns the batch's mean terms, still on the device.

        (Of several processes each returns its part of the means: they add up.)
        """
        x, step = as_batch(batch).x, max(network.optimizer.steps for network in self.networks.values())
        B, eps = len(x), self._noise(rng, self.samples, len(x))
        self._check(x, eps)

        def share(model: VAE, rows: slice) -> tuple[Array, ...]:     # the loss is the mean of −ELBO = nll + kl, mostly
            return self.objective(model, x=x[rows], eps=eps[:, rows], weight=1.0 / B, step=step)

        return dict(zip(self.objective.names, self.workers.step(share, B, self.movers(step))))

    def movers(self, step: int) -> Sequence[str] | None:
        """Which networks this step moves; None: all."""
        return None

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """(nll, kl), both (B,): values only."""
        x = as_batch(batch).x
        return self.elbo_terms(x=x, eps=self._noise(rng, samples, len(x)))[0]

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(x, z) − log q(z|x) for K samples z ~ q(z|x)        (B, X) -> (K, B)"""
        x = as_batch(batch).x
        nll, kl = self.monte_carlo_values(x=x, eps=self._noise(rng, samples, len(x)))
        return -(nll + kl).reshape(samples, len(x))

    def encode(self, batch: Data) -> tuple[Array, Array]:
        """mean and logvar of each latent under q(z|x), both (B, Z)"""
        return self.posterior.moments(*self.q(x=as_batch(batch).x)[0])

    def decode(self, z: Array, out: Array | None = None) -> Array:
        """E[x|z], (B, X); written into `out`, if it is given"""
        return by_rows(lambda part: self.likelihood.mean(self.decoder(part)[0]), z, shape=(self.pixels,),
                       team=self.workers.team, out=out)

    def sample(self, n: int, rng: Generator) -> Array:
        """E[x|z] for n draws z ~ p(z)        (n, X)"""
        at_least_one(n=n)
        return self.decode(self.prior.sample(n, rng, dtype=self.dtype))

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x|z] for one draw z ~ q(z|x) per image        (B, X)"""
        x = as_batch(batch).x
        return self.decode(self.posterior_samples(x=x, eps=self._noise(rng, 1, len(x)))[0][0])

    def _noise(self, rng: Generator, *sizes: int) -> Array:
        """ε ~ N(0, I) of shape (*sizes, Z), in the dtype of the parameters and on the generator's device."""
        return rng.standard_normal((*sizes, self.latents), dtype=self.dtype)

    def _check(self, x: Array, eps: Array) -> None:
        """Raise before anything is computed: NumPy would broadcast, or lift a float32 step to float64."""
        if x.ndim != 2 or x.shape[1] != self.pixels or len(x) == 0:
            raise ValueError(f"x: got shape {x.shape}, expected (B, {self.pixels}) with B at least 1")
        if eps.ndim != 3 or len(eps) == 0 or eps.shape[1:] != (len(x), self.latents):
            raise ValueError(f"eps: got shape {eps.shape}, expected (L, {len(x)}, {self.latents}) with L at least 1")
        dtype = self.dtype
        for name, array in (("x", x), ("eps", eps)):
            if array.dtype != dtype:
                raise TypeError(f"{name}: got dtype {array.dtype}, expected {dtype}, the dtype of the parameters")
