"""What a VAE is made of: priors p(z), posteriors q(z|x), likelihoods p(x|z), and the objectives that a step climbs.

    priors           N(0, I), a learned mixture                     kl   which KL belongs to which pair of the two
    posteriors, structured_posteriors, flow_posteriors              what the encoder's outputs mean
    likelihoods, gaussian_likelihoods, logistic_likelihoods         what the decoder's outputs mean
    objectives       the ELBO, free bits, the importance-weighted bound
    units            a likelihood of data in units of their own
    named            each by the name that a configuration gives it

A part is a layer, so it may have parameters: a new one needs its formulas, its row in the gradient table, and a name.
"""


from minivae.parts.flow_posteriors import Coupling, CouplingFlow, PlanarFlow
from minivae.parts.gaussian_likelihoods import Gaussian, GaussianFixed, GaussianOptimal, GaussianPixel, GaussianShared
from minivae.parts.kl import closed_form_kl, kl_by_latent
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import Logistic, LogisticPixel, LogisticShared
from minivae.parts.named import LIKELIHOODS, POSTERIORS, PRIORS, likelihood, posterior, prior
from minivae.parts.objectives import IWAE, Capacity, DReG, FreeBits, Objective, WeightedKL, terms, warm_up
from minivae.parts.posteriors import DiagonalGaussian, GaussianPosterior, Posterior
from minivae.parts.priors import GaussianMixture, Prior, StandardNormal
from minivae.parts.structured_posteriors import FullCovariance, RankOne
from minivae.parts.units import InUnits, check_scale, units_of

__all__ = [
    "IWAE", "LIKELIHOODS", "POSTERIORS", "PRIORS", "Bernoulli", "Capacity", "Coupling", "CouplingFlow", "DReG",
    "DiagonalGaussian", "FreeBits", "FullCovariance", "Gaussian", "GaussianFixed", "GaussianMixture",
    "GaussianOptimal", "GaussianPixel", "GaussianPosterior", "GaussianShared", "InUnits", "Likelihood", "Logistic",
    "LogisticPixel", "LogisticShared", "Objective", "PlanarFlow", "Posterior", "Prior", "RankOne", "StandardNormal",
    "WeightedKL", "check_scale", "closed_form_kl", "draw", "kl_by_latent", "likelihood", "posterior", "prior",
    "terms", "units_of", "warm_up",
]
