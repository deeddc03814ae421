"""How good is a model, and why: bounds on log p(x) in nats, what each latent is worth, what the encoder costs.

    bounds           the ELBO, the importance-weighted bound, active units
    ais              annealed importance sampling: log p(x) without the encoder
    diagnosis        which latents are used, and how much they say
    amortization     what one encoder for all images costs
    imputation       missing pixels, filled in
    disentanglement  whether each latent stands for one factor
    linear_classifier   what can be told from a code by weighing and adding

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
    over_parts,
    posterior_means,
)
from minivae.evaluation.diagnosis import Diagnosis, diagnose, information
from minivae.evaluation.disentanglement import gaps, higgins_score, mig, mutual_information, predictability, sap
from minivae.evaluation.imputation import impute
from minivae.evaluation.linear_classifier import LinearClassifier

__all__ = [
    "AIS", "ROWS", "AmortizationGap", "Diagnosis", "Estimate", "Evaluation", "LinearClassifier", "active_units",
    "amortization_gap", "annealed_importance_sampling", "bidirectional", "diagnose", "evaluate", "fit_posteriors",
    "gaps", "higgins_score", "importance_weighted_bound", "impute", "information", "latent_variances",
    "log_likelihoods", "mig", "mutual_information", "over_parts", "posterior_means", "predictability", "sap",
]
