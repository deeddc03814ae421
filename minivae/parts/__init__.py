"""What a VAE is made of, beside its networks: q(z|x), p(x|z), and what a training step climbs.

    likelihoods            p(x|z): what a decoder's outputs mean; Bernoulli
    gaussian_likelihoods   σ chosen, learned, in closed form, or of every pixel its own
    logistic_likelihoods   masses of 8-bit grey levels
    posteriors             q(z|x): what an encoder's outputs mean; full covariance, rank one
    flow_posteriors        planar flows and couplings: a Gaussian, bent
    objectives             the ELBO with a weight on its KL, free bits, the IWAE
    named                  a part by the name that a configuration gives it

A part is a layer, so it may have parameters of its own.  A new one is a class here; give it a name in `named` (or in
`variants`' POSTERIORS), and the command line has it.
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
