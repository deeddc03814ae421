"""The parts by the names that a configuration, a checkpoint or the command line gives them."""

from __future__ import annotations

from minivae.parts.gaussian_likelihoods import GaussianFixed, GaussianOptimal, GaussianPixel, GaussianShared
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import LogisticPixel, LogisticShared

LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian_fixed": GaussianFixed, "gaussian_shared": GaussianShared,
               "gaussian_optimal": GaussianOptimal, "gaussian_pixel": GaussianPixel,
               "logistic_shared": LogisticShared, "logistic_pixel": LogisticPixel}


def likelihood(name: str) -> Likelihood:
    """The likelihood of that name.  Raises ValueError for an unknown one."""
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood: got {name!r}, expected one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]()
