"""Densities, KL divergences and reparameterizations, in nats, with all constants: pure functions, like ops.

    gaussian         reparameterize, log densities, KL divergences of diagonal Gaussians
    nll              −log p(x|z) of pixels: Bernoulli, Gaussian, discretised logistic, categorical
    full_gaussian    full covariances, by their Cholesky factor              rank_one   diagonal plus one direction
    mixture          weighted sums of diagonal Gaussians                     kl_charges   free bits, capacity
    flows            maps with their log-determinants                        grey_levels   bits, dequantised pixels

Formulas may be read in any order, and changed where gradcheck and the test of the value still pass.
"""


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
    bernoulli_sample,
    categorical_nll,
    discretized_logistic_nll,
    discretized_logistic_nll_shared,
    gaussian_nll,
    gaussian_nll_fixed,
    gaussian_nll_optimal,
    gaussian_nll_shared,
    sum_of_logs,
)
from minivae.distributions.rank_one import rank_one_kl, rank_one_logdet, rank_one_logvars, reparameterize_rank_one

__all__ = [
    "GREY_LEVEL", "LOG_2PI", "affine", "bernoulli_nll", "bernoulli_sample", "bits_of_density", "bits_of_mass",
    "capacity_gap", "categorical_nll", "chain", "couple", "dequantise", "discretized_logistic_nll",
    "discretized_logistic_nll_shared", "free_bits", "full_gaussian_entropy", "full_gaussian_kl",
    "full_gaussian_log_prob", "gaussian_kl", "gaussian_kl_between", "gaussian_kl_by_latent", "gaussian_log_prob",
    "gaussian_mixture_log_prob", "gaussian_nll", "gaussian_nll_fixed", "gaussian_nll_optimal", "gaussian_nll_shared",
    "logdet", "planar", "rank_one_kl", "rank_one_logdet", "rank_one_logvars", "reparameterize", "reparameterize_full",
    "reparameterize_rank_one", "standard_normal_log_prob", "sum_of_logs", "triangle",
]
