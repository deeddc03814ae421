"""The parts by the names that a configuration, a checkpoint or the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minivae.backend import Generator
from minivae.nn import Layer
from minivae.parts.flow_posteriors import CouplingFlow, PlanarFlow
from minivae.parts.gaussian_likelihoods import GaussianFixed, GaussianOptimal, GaussianPixel, GaussianShared
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import LogisticPixel, LogisticShared
from minivae.parts.posteriors import DiagonalGaussian, Posterior
from minivae.parts.priors import GaussianMixture, Prior, StandardNormal
from minivae.parts.structured_posteriors import FullCovariance, RankOne
from minivae.parts.vamp_prior import VampPrior, first_pseudo_inputs

LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "bernoulli": Bernoulli, "gaussian_fixed": GaussianFixed, "gaussian_shared": GaussianShared,
    "gaussian_optimal": GaussianOptimal, "gaussian_pixel": GaussianPixel, "logistic_shared": LogisticShared,
    "logistic_pixel": LogisticPixel}
POSTERIORS: dict[str, Callable[[int, Generator], Posterior]] = {
    "diagonal": lambda latents, rng: DiagonalGaussian(latents),
    "full": lambda latents, rng: FullCovariance(latents),
    "rank_one": lambda latents, rng: RankOne(latents),
    "planar": lambda latents, rng: PlanarFlow(latents),
    "coupling": lambda latents, rng: CouplingFlow(latents, rng=rng)}
PRIORS: dict[str, Callable[..., Prior]] = {
    "standard": lambda latents, **rest: StandardNormal(latents),
    "mixture": lambda latents, components, rng, **rest: GaussianMixture(latents, components, rng=rng),
    "vamp": lambda latents, components, rng, encoder, pixels, images: VampPrior(
        encoder, latents, first_pseudo_inputs(components, pixels, rng=rng, images=images))}


def likelihood(name: str) -> Likelihood:
    """The likelihood of that name.  Raises ValueError for an unknown one."""
    return _known("likelihood", name, LIKELIHOODS)()


def posterior(name: str, latents: int, rng: Generator) -> Posterior:
    """The posterior of that name; rng draws the networks of its own.  Raises ValueError for an unknown one."""
    return _known("posterior", name, POSTERIORS)(latents, rng)


def prior(name: str, latents: int, *, components: int, rng: Generator, encoder: Layer, pixels: int,
          images: np.ndarray | None = None) -> Prior:
    """The prior of that name; rng draws where it starts.  Raises ValueError for an unknown one.

    encoder, pixels, images   of the model that it is for: a VampPrior asks them where codes lie
    """
    return _known("prior", name, PRIORS)(latents, components=components, rng=rng, encoder=encoder, pixels=pixels,
                                         images=images)


def check_pair(posterior: str, prior: str) -> None:
    """Raise ValueError for names that are not known, or do not go together."""
    _known("posterior", posterior, POSTERIORS)
    _known("prior", prior, PRIORS)
    if prior == "vamp" and posterior != "diagonal":
        raise ValueError(f"prior: got 'vamp' with the posterior {posterior!r}; a VampPrior is a mixture of what the "
                         "encoder says, which must be diagonal Gaussians")


def _known(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{what}: got {name!r}, expected one of {', '.join(table)}")
    return table[name]
