"""q(z|x): what the encoder's outputs mean, and how z is drawn.

All are reparameterizations: noise ε ~ N(0, I) goes in, z = g(ε, x) comes out, together with log |det ∂z/∂ε|, because by
the change of variables

    log q(z|x)  =  log N(ε; 0, I)  −  log |det ∂z/∂ε| .

So a posterior is a layer `(z, logdet), pullback = posterior(*q, eps=eps)`, and `pullback(dz, dlogdet)` carries both
back to q, the encoder's outputs: mean and logvar of a diagonal Gaussian, else one array (B, posterior.outputs).  All
pullbacks return a tuple, as long as q.
Shapes: eps and z (B, Z), logdet (B,).  Nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Pullback
from minivae.distributions import affine, gaussian_kl, reparameterize
from minivae.nn import Layer
from minivae.ops import repeat_each


class Posterior(Layer):
    """What all posteriors offer.  `outputs` numbers come out of the encoder for each image."""

    latents: int
    outputs: int

    def __call__(self, *q: Any, **eps: Any) -> tuple[tuple[Array, Array], Pullback]:
        """z = g(ε, x) and log |det ∂z/∂ε|        (B, outputs), eps (B, Z) -> (B, Z) (B,)"""
        raise NotImplementedError

    def draw(self, *q: Any, eps: Array) -> tuple[Array, Pullback]:
        """z alone, where nobody asks for the determinant        (B, outputs), eps (B, Z) -> (B, Z)"""
        (z, logdet), carry_back = self(*q, eps=eps)

        def pullback(dz: Array) -> Any:
            return carry_back(dz, np.zeros_like(logdet))

        return z, pullback

    def draws(self, *q: Array, eps: Array) -> tuple[Array, Pullback]:
        """L draws for each of B images, the first of all images first        (B, outputs), eps (L, B, Z) -> (L·B, Z)"""
        each, pull_each = repeat_each(*q, samples=len(eps))
        z, pull_z = self.draw(*each, eps=eps.reshape(-1, self.latents))

        def pullback(dz: Array) -> tuple[Array, ...]:
            return pull_each(*pull_z(dz))

        return z, pullback

    def moments(self, *q: Any, **_: Any) -> tuple[Array, Array]:
        """The mean of q(z|x) and the log-variance of each latent, both (B, Z): to look at."""
        raise NotImplementedError


class GaussianPosterior(Posterior):
    """One whose KL from the standard normal is known in closed form."""

    def kl(self, *q: Any, **_: Any) -> tuple[Array, Pullback]:
        """KL(q(z|x) ‖ N(0, I))        (B, outputs) -> (B,)"""
        raise NotImplementedError


class DiagonalGaussian(GaussianPosterior):
    """q(z|x) = N(mean, diag exp(logvar)): the encoder has a head for each (`vae.Encoder`)."""

    def __init__(self, latents: int) -> None:
        self.latents, self.outputs = latents, 2 * latents

    def __call__(self, mean: Array, logvar: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        drawn, pull = affine(eps, mean, logvar)                  # z = μ + σ ε,   log |det ∂z/∂ε| = ½ Σ log σ²

        def pullback(dz: Array, dlogdet: Array) -> tuple[Array, Array]:
            _, dmean, dlogvar = pull(dz, dlogdet)                # nobody asks for the gradient of the noise
            return dmean, dlogvar

        return drawn, pullback

    def draw(self, *q: Any, eps: Array) -> tuple[Array, Pullback]:
        mean, logvar = q
        return reparameterize(mean, logvar, eps=eps)

    def kl(self, mean: Array, logvar: Array) -> tuple[Array, Pullback]:
        return gaussian_kl(mean, logvar)

    def moments(self, mean: Array, logvar: Array) -> tuple[Array, Array]:
        return mean, logvar
