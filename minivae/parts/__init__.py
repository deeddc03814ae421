"""What a VAE is made of: posteriors q(z|x), likelihoods p(x|z), and the objectives that a step climbs.

A part is a layer, so it may have parameters.  `named` finds it by the name that a configuration gives it.
"""


from minivae.parts.flow_posteriors import Coupling, CouplingFlow, PlanarFlow
from minivae.parts.gaussian_likelihoods import Gaussian, GaussianFixed, GaussianOptimal, GaussianPixel, GaussianShared
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import Logistic, LogisticPixel, LogisticShared
from minivae.parts.named import LIKELIHOODS, likelihood
from minivae.parts.objectives import IWAE, DReG, FreeBits, Objective, WeightedKL, terms, warm_up
from minivae.parts.posteriors import FullCovariance, GaussianPosterior, Posterior, RankOne

__all__ = [
    "IWAE", "LIKELIHOODS", "Bernoulli", "Coupling", "CouplingFlow", "DReG", "FreeBits", "FullCovariance", "Gaussian",
    "GaussianFixed", "GaussianOptimal", "GaussianPixel", "GaussianPosterior", "GaussianShared", "Likelihood",
    "Logistic", "LogisticPixel", "LogisticShared", "Objective", "PlanarFlow", "Posterior", "RankOne", "WeightedKL",
    "likelihood", "terms", "warm_up",
]
