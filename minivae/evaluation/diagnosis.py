"""Which latents does a model use, and how much do they say?  The diagnosis of posterior collapse.

The KL of the ELBO, averaged over images, has two parts (Hoffman and Johnson 2016):

    E_x KL(q(z|x) ‖ p(z))  =  I(x; z)  +  KL(q(z) ‖ p(z)),        q(z) = (1/N) Σₙ q(z|xₙ)

what z tells about the image, and how far the codes of all images together miss the prior.  A latent is collapsed if
q(zⱼ|x) is the prior for (nearly) every x: then it says nothing, and costs nothing.  (From N images no more than log N
nats of information can be seen: once z names the image, there is nothing left to tell.)

Shapes: N images of X pixels, Z latents.  Everything is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, Generator, to_numpy
from minivae.batch import Batch
from minivae.distributions import LOG_2PI, gaussian_kl_by_latent, reparameterize
from minivae.evaluation.bounds import Estimate, over_parts
from minivae.nn import Data
from minivae.ops import logsumexp
from minivae.parts import DiagonalGaussian, Prior, StandardNormal
from minivae.runs import NotFiniteError

SILENT = 0.01                          # ε, the nats below which a latent says nothing (Lucas et al. 2019)
ACTIVE = 0.01                          # variance of a mean above which a latent is active (Burda et al. 2015)
DRAWS = 64                             # of each code, where the KL has no closed form
ROWS = 256                             # codes that are compared with all others at once


@dataclass(frozen=True)
class Diagnosis:
    """What each latent is worth, and what all say together."""

    kl: np.ndarray                     # (Z,) KL(q(zⱼ|x) ‖ p(zⱼ)) of each latent, averaged over images
    total_kl: float                    # KL(q(z|x) ‖ p(z)), averaged over images: their sum, if p(z) is a product
    variance: np.ndarray               # (Z,) variance over images of its posterior mean
    silent: np.ndarray                 # (Z,) the share of images for which its KL is below ε = 0.01 nats: 1 − δ
    information: Estimate              # I(x; z), at most log N
    images: int

    @property
    def marginal_kl(self) -> float:
        """KL(q(z) ‖ p(z)), the rest of the KL; far too large where the information is capped"""
        return self.total_kl - self.information.mean

    @property
    def active(self) -> np.ndarray:
        """Burda et al. 2015, section 5.2        -> (Z,) bool"""
        return self.variance > ACTIVE

    @property
    def collapsed(self) -> np.ndarray:
        """KL below 0.01 nats on average; image by image, `silent` says more        -> (Z,) bool"""
        return self.kl < SILENT

    @property
    def capped(self) -> bool:
        """Whether the information is near log N: N images cannot show more, and the truth may be far above."""
        return self.information.mean > np.log(self.images) - 1.0

    def __str__(self) -> str:
        order = np.argsort(-self.kl)
        cap = f" (near its cap log N = {np.log(self.images):.2f}: the truth may be far above)" if self.capped else ""
        rest = "" if self.capped else f", KL(q(z) ‖ p(z)) ≤ {self.marginal_kl:.2f}"
        return "\n".join([
            f"{self.images:,} images: KL {self.total_kl:.2f} = information ≥ {self.information}{cap}{rest} nats",
            f"{self.active.sum()} of {len(self.kl)} latents active, {self.collapsed.sum()} collapsed",
            "latent   KL, nats   Var of its mean   silent for",
            *(f"{j:6} {self.kl[j]:10.3f} {self.variance[j]:17.3f} {self.silent[j]:11.0%}"
              f"{'   collapsed' if self.collapsed[j] else ''}" for j in order)])


def diagnose(model: Any, x: Data, *, seed: int = 0, progress: bool = False) -> Diagnosis:
    """The diagnosis of a model whose q(z|x) is a diagonal Gaussian, by its `encode`, on images (N, X).

    I(x; z) is estimated as E[ log q(z|x) − log q(z) ], with one z ~ q(z|x) for each image and the aggregate posterior
    of all N images: N² densities, some rows at a time.  That is what z tells about which of these N images it is: at
    most log N, and (it is concave in p(x)) on average less than what it tells among all images.  So it grows with N,
    and KL(q(z) ‖ p(z)) shrinks.  Under another prior than N(0, I), KLs are means over 64 draws of each image's code.
    Raises ValueError if there are fewer than two images, latents that depend on each other, or a prior that cannot tell
    p(zⱼ); and NotFiniteError if the encoder's answer is not finite.
    """
    if not isinstance(model.posterior, DiagonalGaussian):                # of others encode gives the marginals alone
        raise ValueError(f"model: its latents depend on each other ({type(model.posterior).__name__}), "
                         "expected a diagonal Gaussian q(z|x): the marginals of encode say less than q does")
    if type(model.prior).log_prob_by_latent is Prior.log_prob_by_latent:
        raise ValueError(f"model: its prior, a {type(model.prior).__name__}, does not say p(z) latent by latent: "
                         "it needs a log_prob_by_latent(z)")
    model.check(x)
    if len(x) < 2:
        raise ValueError(f"x: got {len(x)} images, expected at least 2: the aggregate posterior is about many")

    def encode(part: Batch, rng: Generator) -> tuple[np.ndarray, ...]:
        mean, logvar = model.encode(part)
        z, _ = reparameterize(mean, logvar, eps=rng.standard_normal(mean.shape, dtype=mean.dtype))
        found = (mean, logvar, z, *_kl(model.prior, mean, logvar, rng))
        return tuple(to_numpy(a).astype(np.float64) for a in found)

    mean, logvar, z, kl, total = (np.concatenate(part) for part in zip(*over_parts(model, x, encode, seed=seed)))
    if not np.isfinite(mean).all() or not np.isfinite(logvar).all():
        raise NotFiniteError("model: its encoder gives means or log-variances that are not finite")
    return Diagnosis(kl.mean(axis=0), float(total.mean()), mean.var(axis=0), (kl < SILENT).mean(axis=0),
                     Estimate.of(information(z, mean, logvar, progress=progress)), len(x))


def _kl(prior: Prior, mean: Array, logvar: Array, rng: Generator) -> tuple[Array, Array]:
    """(KL of every latent by itself, KL of all together), exact or from draws        (B, Z) (B, Z) -> (B, Z) (B,)"""
    if isinstance(prior, StandardNormal):
        kl, _ = gaussian_kl_by_latent(mean.astype(np.float64), logvar.astype(np.float64))   # near 0 it cancels
        return kl, kl.sum(axis=1)
    by_latent, total = np.zeros_like(mean), np.zeros_like(mean[:, 0])
    for _ in range(DRAWS):
        eps = rng.standard_normal(mean.shape, dtype=mean.dtype)
        z, _ = reparameterize(mean, logvar, eps=eps)
        log_q = -0.5 * (eps * eps + (logvar + LOG_2PI))                  # log q(zⱼ|x)
        by_latent += log_q - prior.log_prob_by_latent(z)
        total += log_q.sum(axis=1) - prior.log_prob(z)[0]
    return by_latent / DRAWS, total / DRAWS


def information(z: np.ndarray, mean: np.ndarray, logvar: np.ndarray, *, progress: bool = False) -> np.ndarray:
    """log q(zₙ|xₙ) − log (1/N) Σₘ q(zₙ|xₘ) of every code, whose mean estimates I(x; z)        (N, Z) ×3 -> (N,)

    log N(z; μ, σ²) = −½ Σ (z²/σ² − 2 z μ/σ² + μ²/σ² + log σ²) + constant: two matrix products for all pairs.
    """
    precision = np.exp(-logvar)
    offset = (mean * mean * precision + logvar).sum(axis=1)                            # (N,)
    found = np.empty(len(z))
    for start in tqdm(range(0, len(z), ROWS), unit="part", desc="information", disable=not progress):
        some = z[start:start + ROWS]
        log_q = -0.5 * ((some * some) @ precision.T - 2.0 * some @ (mean * precision).T + offset)    # (rows, N)
        own = log_q[np.arange(len(some)), np.arange(start, start + len(some))]
        found[start:start + ROWS] = own - logsumexp(log_q)[0] + np.log(len(z))
    return found
