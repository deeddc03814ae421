"""Which KL(q(z|x) ‖ p(z)) is used: the one place that knows which pairs of posterior and prior have a closed form.

For any other pair the KL is estimated by the draws themselves, as the mean of log q(z|x) − log p(z): unbiased, and
noisy.
"""

from __future__ import annotations

from collections.abc import Callable

from minivae.backend import Array, Pullback
from minivae.distributions import gaussian_kl_by_latent
from minivae.parts.posteriors import DiagonalGaussian, GaussianPosterior, Posterior
from minivae.parts.priors import Prior, StandardNormal

KL = Callable[..., tuple[Array, Pullback]]             # of the parameters of q: (B, …) … -> (B,)


def closed_form_kl(posterior: Posterior, prior: Prior) -> KL | None:
    """The KL of this pair as an op of q's parameters, or None where only draws can tell."""
    if isinstance(posterior, GaussianPosterior) and isinstance(prior, StandardNormal):
        return posterior.kl
    return None


def kl_by_latent(posterior: Posterior, prior: Prior) -> KL:
    """The KL of every latent by itself        (B, Z) (B, Z) -> (B, Z)

    Raises ValueError unless both are products over latents, for which it is known.
    """
    if isinstance(posterior, DiagonalGaussian) and isinstance(prior, StandardNormal):
        return gaussian_kl_by_latent
    raise ValueError(f"{type(posterior).__name__} and {type(prior).__name__} have no KL for each latent, only one for "
                     "all together: free bits need a diagonal posterior and the standard normal prior")
