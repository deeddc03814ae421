"""A VAE whose q(z|x) is more than a diagonal Gaussian: any posterior of minivae.parts.

    ELBO(x) = E_q[ log p(x|z) ] − KL(q(z|x) ‖ N(0, I))

Only the encoder's side changes: its outputs are what the posterior asks for, and the posterior draws z.  With a full
covariance the KL is known in closed form; with a flow it is estimated from the draws themselves.
Rezende, Mohamed and Wierstra 2014; Rezende and Mohamed 2015; Kingma et al. 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, device
from minivae.nn import Layer, Optimizer, mlp
from minivae.ops import repeat
from minivae.parts import (
    CouplingFlow,
    FullCovariance,
    GaussianPosterior,
    Likelihood,
    Objective,
    PlanarFlow,
    Posterior,
    RankOne,
)
from minivae.vae import VAE
from minivae.variants.mlp_vae import VAEConfig


class FlowVAE(VAE):
    """A VAE whose posterior is known by its draws: the KL is a Monte Carlo estimate.

    encoder   any network from images (B, X) to the posterior's outputs (B, posterior.outputs)
    """

    def __init__(self, encoder: Layer, decoder: Layer, likelihood: Likelihood, posterior: Posterior, *, pixels: int,
                 **how: Any) -> None:
        self.posterior = posterior
        super().__init__(encoder, decoder, likelihood, pixels=pixels, latents=posterior.latents, **how)

    def posterior_samples(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """z = g(ε, x) and log |det ∂z/∂ε|        x (B, X), eps (L, B, Z) -> (L·B, Z) (L·B,)"""
        outputs, pull_encoder = self.encoder(x)
        repeated, pull_repeat = repeat(outputs, samples=len(eps))
        value, pull_z = self.posterior(repeated, eps=eps.reshape(len(repeated), self.latents))

        def pullback(dz: Array, dlogdet: Array) -> None:
            pull_encoder(pull_repeat(pull_z(dz, dlogdet)), need_dx=False)

        return value, pullback

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of −ELBO = nll + kl, averaged over the draws        x (B, X), eps (L, B, Z) -> (B,) (B,)"""
        (nll, kl), pull_terms = self.monte_carlo_terms(x=x, eps=eps)
        L, B, _ = eps.shape

        def pullback(dnll: Array, dkl: Array) -> None:
            pull_terms(*(repeat(d / L, samples=L)[0] for d in (dnll, dkl)))

        return (nll.reshape(L, B).mean(axis=0), kl.reshape(L, B).mean(axis=0)), pullback

    def elbo_terms_by_latent(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """Raises ValueError: latents that depend on each other have no KL of their own."""
        raise ValueError(f"{type(self.posterior).__name__}: its latents depend on each other and have no KL each; "
                         "free bits need a diagonal posterior")

    def encode(self, x: Array) -> tuple[Array, Array]:
        """mean and logvar of each latent under q(z|x), both (B, Z)"""
        return self.posterior.moments(self.encoder(x)[0])

    def reconstruct(self, x: Array, rng: Any) -> Array:
        """E[x|z] for one draw z ~ q(z|x) per image        (B, X)"""
        return self.decode(self.posterior_samples(x=x, eps=self._noise(rng, 1, len(x)))[0][0])


class StructuredVAE(FlowVAE):
    """The same for a posterior whose KL is known in closed form."""

    posterior: GaussianPosterior

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of −ELBO = nll + kl, the KL in closed form        x (B, X), eps (L, B, Z) -> (B,) (B,)"""
        self._check(x, eps)
        L, B, Z = eps.shape
        outputs, pull_encoder = self.encoder(x)
        repeated, pull_repeat = repeat(outputs, samples=L)
        (z, logdet), pull_z = self.posterior(repeated, eps=eps.reshape(L * B, Z))
        decoded, pull_decoder = self.decoder(z)
        nll, pull_nll = self.likelihood(decoded, x=repeat(x, samples=L)[0])
        kl, pull_kl = self.posterior.kl(outputs)

        def pull_draws(dz: Array) -> Array:                          # the closed form needs no determinant
            return pull_repeat(pull_z(dz, np.zeros_like(logdet)))

        def pullback(dnll: Array, dkl: Array) -> None:
            dz = pull_decoder(pull_nll(repeat(dnll / L, samples=L)[0]))
            pull_encoder(pull_draws(dz) + pull_kl(dkl), need_dx=False)         # used twice: derivatives add

        return (nll.reshape(L, B).mean(axis=0), kl), pullback


POSTERIORS: dict[str, Callable[[int, Generator], Posterior]] = {
    "full": lambda latents, rng: FullCovariance(latents),
    "rank_one": lambda latents, rng: RankOne(latents),
    "planar": lambda latents, rng: PlanarFlow(latents),
    "coupling": lambda latents, rng: CouplingFlow(latents, rng=rng),
}


@dataclass(frozen=True)
class PosteriorVAEConfig(VAEConfig):
    """The size of a fully connected VAE with such a posterior: all that is needed to build it again."""

    posterior: str = "full"
    """q(z|x): full, rank_one, planar or coupling"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.posterior not in POSTERIORS:
            raise ValueError(f"posterior: got {self.posterior!r}, expected one of {', '.join(POSTERIORS)}")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Objective | None = None) -> VAE:
        """The untrained VAE, as `VAEConfig.build`."""
        rng, p_x = self.begin(seed)
        posterior = POSTERIORS[self.posterior](self.latents, rng)
        encoder = mlp(self.pixels, *self.hidden, posterior.outputs, rng=rng, activation=self.activation)
        kind = StructuredVAE if isinstance(posterior, GaussianPosterior) else FlowVAE
        return kind(encoder, self.decoder(p_x, rng, images), p_x, posterior, pixels=self.pixels,
                    device=on or device("cpu"), dtype=dtype, optimizer=optimizer, samples=samples, objective=objective)
