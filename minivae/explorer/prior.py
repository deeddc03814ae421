"""p(z) as the page needs it: a mixture of Gaussians, of which N(0, I) is the one with a single component.

    z ~ Σ_k π_k N(mean_k, diag std_k²)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import to_numpy
from minivae.distributions import LOG_2PI
from minivae.parts import MixturePrior
from minivae.parts.priors import mixture_log_prob_by_latent

REACH = 3.0                            # standard deviations of a component that the plane shows at least
RARE = 0.01                            # a component that is drawn more rarely does not make the plane larger


@dataclass(frozen=True)
class Mixture:
    """K components of Z latents, on the host."""

    pi: np.ndarray                     # (K,) float32
    mean: np.ndarray                   # (K, Z) float32
    std: np.ndarray                    # (K, Z) float32
    standard: bool                     # N(0, I)

    def draw(self, n: int, rng: np.random.Generator, *, wide: float = 1.0) -> np.ndarray:
        """n draws (n, Z); of components that are `wide` times as wide as they are."""
        z = np.float32(wide) * rng.standard_normal((n, self.mean.shape[1]), dtype=np.float32)
        if self.standard:
            return z
        share = self.pi.astype(np.float64)
        k = rng.choice(len(share), size=n, p=share / share.sum())
        return self.mean[k] + self.std[k] * z

    def centre(self) -> np.ndarray:
        """The mean of all, (Z,)."""
        return self.pi @ self.mean

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Where REACH standard deviations of every component that is not rare begin and end, (Z,) (Z,)."""
        seen = self.pi >= min(RARE, 0.5 / len(self.pi))
        mean, far = self.mean[seen], REACH * self.std[seen]
        return (mean - far).min(axis=0), (mean + far).max(axis=0)

    def nats_by_latent(self, mean: np.ndarray, logvar: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """KL( q(z_j|x) ‖ p(z_j) ) for each latent by itself, from one draw        (N, Z) (N, Z) -> (N, Z)

        What the latents say together may be less than the sum.
        """
        eps = rng.standard_normal(mean.shape)
        log_q = -0.5 * (eps**2 + logvar + LOG_2PI)
        logits = np.log(np.maximum(self.pi, np.finfo(np.float32).tiny), dtype=float)
        moments = self.mean.astype(float), 2.0 * np.log(self.std, dtype=float)
        return log_q - mixture_log_prob_by_latent(mean + np.exp(0.5 * logvar) * eps, logits, *moments)


def prior_of(model: Any) -> Mixture:
    """The prior of a model: N(0, I) if it has none of its own.

    A VampPrior is the mixture that its encoder makes of it.  Raises ValueError for any other that learned.
    """
    prior: Any = getattr(model, "prior", None)
    if isinstance(prior, MixturePrior):
        logits, mean, logvar = (to_numpy(array).astype(np.float32) for array in prior.mixture())
        pi = np.exp(logits - logits.max())
        return Mixture(pi / pi.sum(), mean, np.exp(0.5 * logvar), False)
    if learned := list(getattr(prior, "parameters", dict)()):
        raise ValueError(f"model: its prior is a {type(prior).__name__} with {', '.join(learned)}; the page can "
                         "draw only from N(0, I) and from a mixture of Gaussians")
    one = np.ones((1, model.latents), np.float32)
    return Mixture(one[:, 0], 0 * one, one, True)
