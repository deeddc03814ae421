"""How good is a model, and why: bounds on log p(x) in nats, what each latent is worth, what the encoder costs.

    bounds           the ELBO, the importance-weighted bound, active units
    ais              annealed importance sampling: log p(x) without the encoder
    diagnosis        which latents are used, and how much they say
    amortization     what one encoder for all images costs
    imputation       missing pixels, filled in
    conditional      log p(y|x) of a conditional VAE
    clustering       do clusters find classes: best assignment, mutual information; k-means
    neighbours       distances between many points
    mixture          the four terms of a GMVAE, and its clusters

All of it runs in parts, shared by all threads; the same seed gives the same numbers, however many there are.
"""

from minivae.evaluation.ais import AIS, annealed_importance_sampling, bidirectional
from minivae.evaluation.amortization import AmortizationGap, amortization_gap, fit_posteriors
from minivae.evaluation.bounds import (
    ROWS,
    Estimate,
    Evaluation,
    active_units,
    evaluate,
    importance_weighted_bound,
    latent_variances,
    log_likelihoods,
    log_mean_weights,
    over_parts,
)
from minivae.evaluation.clustering import Clusters, clustering_accuracy, k_means, normalised_mutual_information
from minivae.evaluation.conditional import ConditionalLikelihood, conditional_log_likelihood
from minivae.evaluation.diagnosis import Diagnosis, diagnose, information
from minivae.evaluation.imputation import impute
from minivae.evaluation.mixture import MixtureEvaluation, cluster_map, evaluate_mixture

__all__ = [
    "AIS", "ROWS", "AmortizationGap", "Clusters", "ConditionalLikelihood", "Diagnosis", "Estimate", "Evaluation",
    "MixtureEvaluation", "active_units", "amortization_gap", "annealed_importance_sampling", "bidirectional",
    "cluster_map", "clustering_accuracy", "conditional_log_likelihood", "diagnose", "evaluate", "evaluate_mixture",
    "fit_posteriors", "importance_weighted_bound", "impute", "information", "k_means", "latent_variances",
    "log_likelihoods", "log_mean_weights", "normalised_mutual_information", "over_parts",
]
