"""Densities, KL divergences and reparameterizations, in nats, with all their constants: pure functions, ops as well.

    gaussian         diagonal Gaussians: reparameterize, log densities, KL divergences
    categorical      classes that are summed over: expectations and KL divergences
    nll              −log p(x|z) of pixels: Bernoulli, Gaussian, discretised logistic, categorical
    grey_levels      8-bit pixels between a mass and a density; bits per dimension
    full_gaussian    full covariances, by their Cholesky factor
    rank_one         precisions that are diagonal plus one direction
    sparse_gaussian  precisions in which a pixel of an image knows its neighbours
    flows            maps of noise, with their log-determinants
    mixture          weighted sums of diagonal Gaussians
    components       mixtures whose components every example has of its own
    kl_charges       what an objective charges for a KL: free bits, capacity

Read them in any order.  Change a formula and two judges have their say: finite differences about its pullback, and the
tests of its value (densities integrate to one, closed forms equal Monte Carlo).
"""

from minivae.distributions.categorical import categorical_kl, expectation
from minivae.distributions.components import components_kl, components_log_prob, mixture_kls
from minivae.distributions.flows import affine, chain, couple, planar
from minivae.distributions.full_gaussian import (
    full_gaussian_entropy,
    full_gaussian_kl,
    full_gaussian_log_prob,
    logdet,
    reparameterize_full,
    triangle,
)
from minivae.distributions.gaussian import (
    LOG_2PI,
    gaussian_kl,
    gaussian_kl_between,
    gaussian_kl_by_latent,
    gaussian_log_prob,
    reparameterize,
    standard_normal_log_prob,
)
from minivae.distributions.grey_levels import bits_of_density, bits_of_mass, dequantise
from minivae.distributions.kl_charges import capacity_gap, free_bits
from minivae.distributions.mixture import gaussian_mixture_log_prob
from minivae.distributions.nll import (
    GREY_LEVEL,
    bernoulli_nll,
    bernoulli_nll_of_draws,
    bernoulli_sample,
    categorical_nll,
    complex_gaussian_nll,
    discretized_logistic_nll,
    discretized_logistic_nll_shared,
    gaussian_nll,
    gaussian_nll_fixed,
    gaussian_nll_optimal,
    gaussian_nll_shared,
    sum_of_logs,
)
from minivae.distributions.rank_one import rank_one_kl, rank_one_logdet, rank_one_logvars, reparameterize_rank_one
from minivae.distributions.sparse_gaussian import precision_factor, sparse_gaussian_nll, sparse_gaussian_sample

__all__ = [
    "GREY_LEVEL",
    "LOG_2PI",
    "affine",
    "bernoulli_nll",
    "bernoulli_nll_of_draws",
    "bernoulli_sample",
    "bits_of_density",
    "bits_of_mass",
    "capacity_gap",
    "categorical_kl",
    "categorical_nll",
    "chain",
    "complex_gaussian_nll",
    "components_kl",
    "components_log_prob",
    "couple",
    "dequantise",
    "discretized_logistic_nll",
    "discretized_logistic_nll_shared",
    "expectation",
    "free_bits",
    "full_gaussian_entropy",
    "full_gaussian_kl",
    "full_gaussian_log_prob",
    "gaussian_kl",
    "gaussian_kl_between",
    "gaussian_kl_by_latent",
    "gaussian_log_prob",
    "gaussian_mixture_log_prob",
    "gaussian_nll",
    "gaussian_nll_fixed",
    "gaussian_nll_optimal",
    "gaussian_nll_shared",
    "logdet",
    "mixture_kls",
    "planar",
    "precision_factor",
    "rank_one_kl",
    "rank_one_logdet",
    "rank_one_logvars",
    "reparameterize",
    "reparameterize_full",
    "reparameterize_rank_one",
    "sparse_gaussian_nll",
    "sparse_gaussian_sample",
    "standard_normal_log_prob",
    "sum_of_logs",
    "triangle",
]
