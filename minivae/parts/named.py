"""The parts by the names that a configuration, a checkpoint or the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minivae.backend import Generator
from minivae.parts.flow_posteriors import CouplingFlow, PlanarFlow
from minivae.parts.gaussian_likelihoods import GaussianFixed, GaussianOptimal, GaussianPixel, GaussianShared
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import LogisticPixel, LogisticShared
from minivae.parts.posteriors import DiagonalGaussian, Posterior
from minivae.parts.priors import GaussianMixture, Prior, StandardNormal
from minivae.parts.structured_posteriors import FullCovariance, RankOne

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
PRIORS: dict[str, Callable[[int, int, Generator], Prior]] = {
    "standard": lambda latents, components, rng: StandardNormal(latents),
    "mixture": lambda latents, components, rng: GaussianMixture(latents, components, rng=rng)}


def likelihood(name: str) -> Likelihood:
    """The likelihood of that name.  Raises ValueError for an unknown one."""
    return _known("likelihood", name, LIKELIHOODS)()


def posterior(name: str, latents: int, rng: Generator) -> Posterior:
    """The posterior of that name; rng draws the networks of its own.  Raises ValueError for an unknown one."""
    return _known("posterior", name, POSTERIORS)(latents, rng)


def prior(name: str, latents: int, *, components: int, rng: Generator) -> Prior:
    """The prior of that name; rng draws where it starts.  Raises ValueError for an unknown one."""
    return _known("prior", name, PRIORS)(latents, components, rng)


def _known(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{what}: got {name!r}, expected one of {', '.join(table)}")
    return table[name]
