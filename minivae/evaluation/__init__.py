"""How good is a model, and why: bounds on log p(x) in nats, what each latent is worth, what the encoder costs.

    bounds           the ELBO, the importance-weighted bound, active units
    ais              annealed importance sampling: log p(x) without the encoder
    diagnosis        which latents are used, and how much they say
    amortization     what one encoder for all images costs
    conditional      log p(y|x) of a conditional VAE
    classification   how often a semi-supervised model names the wrong class
    rivals           what a few labels do alone: logistic regression, nearest neighbours
    svm              and a support vector machine
    neighbours       distances between many points
    imputation       missing pixels, filled in

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
from minivae.evaluation.classification import classification_error
from minivae.evaluation.conditional import ConditionalLikelihood, conditional_log_likelihood
from minivae.evaluation.diagnosis import Diagnosis, diagnose, information
from minivae.evaluation.imputation import impute
from minivae.evaluation.rivals import (
    LogisticRegression,
    error_rate,
    few_labels,
    logistic_regression,
    nearest_neighbours,
)
from minivae.evaluation.svm import SupportVectors, support_vectors

__all__ = [
    "AIS", "ROWS", "AmortizationGap", "ConditionalLikelihood", "Diagnosis", "Estimate", "Evaluation",
    "LogisticRegression", "SupportVectors", "active_units", "amortization_gap", "annealed_importance_sampling",
    "bidirectional", "classification_error", "conditional_log_likelihood", "diagnose", "error_rate", "evaluate",
    "few_labels", "fit_posteriors", "importance_weighted_bound", "impute", "information", "latent_variances",
    "log_likelihoods", "log_mean_weights", "logistic_regression", "nearest_neighbours", "over_parts", "support_vectors",
]
