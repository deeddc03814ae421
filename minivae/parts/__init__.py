"""What a VAE is made of, beside its networks: p(z), q(z|x), p(x|z), and what a training step climbs.

    priors                 p(z): N(0, I), a mixture that learns
    vamp_prior             a mixture of what the encoder says of images that are learned
    mixture_given          a mixture whose components are computed from a second latent
    kl                     which KL belongs to which pair of posterior and prior
    likelihoods            p(x|z): what a decoder's outputs mean; Bernoulli
    gaussian_likelihoods   σ chosen, learned, in closed form, or of every pixel its own
    logistic_likelihoods   masses of 8-bit grey levels
    structured_gaussian    pixels that know their neighbours
    units                  a likelihood of data in units of their own
    codebook               vectors that have a number, and the nearest of them
    centres                where features lie on average, class by class
    levels                 an autoencoder of pictures of words, coarser and coarser
    pixel_cnn              a prior of pictures of numbers, pixel by pixel
    sentences              who reads a sentence, and who says one
    posteriors             q(z|x): what an encoder's outputs mean; the diagonal Gaussian
    structured_posteriors  full covariance, rank one plus diagonal
    flow_posteriors        planar flows and couplings: a Gaussian, bent
    objectives             the ELBO, a weight on its KL, free bits, a capacity, the IWAE
    named                  a part by the name that a configuration gives it

A part is a layer, so it may have parameters of its own.  A new one is a class here; give it a name in `named`, and the
command line has it.
"""

from minivae.parts.centres import Centres
from minivae.parts.codebook import Codebook, perplexity
from minivae.parts.flow_posteriors import Coupling, CouplingFlow, PlanarFlow
from minivae.parts.gaussian_likelihoods import (
    Gaussian,
    GaussianFixed,
    GaussianOfBatch,
    GaussianOptimal,
    GaussianPixel,
    GaussianShared,
)
from minivae.parts.kl import closed_form_kl, kl_by_latent
from minivae.parts.levels import Level, Levels
from minivae.parts.likelihoods import Bernoulli, Likelihood
from minivae.parts.logistic_likelihoods import Logistic, LogisticPixel, LogisticShared
from minivae.parts.mixture_given import Components, MixtureGiven
from minivae.parts.named import LIKELIHOODS, POSTERIORS, PRIORS, check_pair, likelihood, posterior, prior
from minivae.parts.objectives import IWAE, Capacity, DReG, FreeBits, Objective, WeightedKL, terms, warm_up
from minivae.parts.pixel_cnn import GatedBlock, PixelCNN
from minivae.parts.posteriors import DiagonalGaussian, GaussianPosterior, Posterior
from minivae.parts.priors import GaussianMixture, MixturePrior, Prior, StandardNormal
from minivae.parts.sentences import END, PAD, UNKNOWN, Reader, Reading, Writer
from minivae.parts.structured_gaussian import StructuredGaussian
from minivae.parts.structured_posteriors import FullCovariance, RankOne
from minivae.parts.units import InUnits, check_scale, units_of
from minivae.parts.vamp_prior import VampPrior, first_pseudo_inputs

__all__ = [
    "END", "IWAE", "LIKELIHOODS", "PAD", "POSTERIORS", "PRIORS", "UNKNOWN", "Bernoulli", "Capacity", "Centres",
    "Codebook", "Components", "Coupling", "CouplingFlow", "DReG", "DiagonalGaussian", "FreeBits", "FullCovariance",
    "GatedBlock", "Gaussian", "GaussianFixed", "GaussianMixture", "GaussianOfBatch", "GaussianOptimal", "GaussianPixel",
    "GaussianPosterior", "GaussianShared", "InUnits", "Level", "Levels", "Likelihood", "Logistic", "LogisticPixel",
    "LogisticShared", "MixtureGiven", "MixturePrior", "Objective", "PixelCNN", "PlanarFlow", "Posterior", "Prior",
    "RankOne", "Reader", "Reading", "StandardNormal", "StructuredGaussian", "VampPrior", "WeightedKL", "Writer",
    "check_pair", "check_scale", "closed_form_kl", "first_pseudo_inputs", "kl_by_latent", "likelihood", "perplexity",
    "posterior", "prior", "terms", "units_of", "warm_up",
]
