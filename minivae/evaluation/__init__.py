"""How good is a model, and why: bounds in nats, what latents are worth; samples beside data, clusters beside classes.

    bounds           the ELBO, the importance-weighted bound, active units
    ais              annealed importance sampling: log p(x) without the encoder
    diagnosis        which latents are used, and how much they say
    amortization     what one encoder for all images costs
    conditional      log p(y|x) of a conditional VAE, beside its baseline's
    classification   how often a semi-supervised model names the wrong class
    imputation       missing pixels, filled in
    classifier       features of 28×28 images, from a small network that comes with the package
    generators       Fréchet distance, precision and recall of generated images, on features
    clustering       do clusters find classes: best assignment, mutual information; k-means
    exact            models without latents, whose log p is known: classifiers, a language model
    rivals           what a few labels do alone: logistic regression, nearest neighbours
    sentence_rivals  what labels do, and what text does, where examples are sentences
    svm              and a support vector machine
    neighbours       distances between many points
    disentanglement  whether each latent stands for one factor
    linear_classifier   what can be told from a code by weighing and adding
    mixture          the four terms of a GMVAE, and its clusters
    components       those of an infinite VAE
    augmentation     latents moved by what is constant in a recording: speech as if from elsewhere
    zero_shot        classes of which no image was seen: accuracies, the linear rival, self-training
    codes            words in use and bits of a VQ-VAE

Bounds run in parts, shared by all threads; the same seed gives the same numbers, however many there are.
"""

from minivae.evaluation.ais import AIS, annealed_importance_sampling, bidirectional
from minivae.evaluation.amortization import AmortizationGap, amortization_gap, fit_posteriors
from minivae.evaluation.augmentation import (
    Directions,
    nuisance_vectors,
    perturb,
    principal_directions,
    replace,
)
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
    posterior_means,
    terms_by_image,
)
from minivae.evaluation.classification import classification_error
from minivae.evaluation.classifier import Classifier, digit_classifier, digit_features
from minivae.evaluation.clustering import Clusters, clustering_accuracy, k_means, normalised_mutual_information
from minivae.evaluation.codes import CodeUse, code_use
from minivae.evaluation.components import ComponentsFound, components_found
from minivae.evaluation.conditional import ConditionalLikelihood, conditional_log_likelihood
from minivae.evaluation.diagnosis import Diagnosis, diagnose, information
from minivae.evaluation.disentanglement import gaps, higgins_score, mig, mutual_information, predictability, sap
from minivae.evaluation.generators import (
    SampleQuality,
    frechet_between,
    frechet_by_count,
    frechet_distance,
    frechet_limit,
    precision_recall,
    sample_quality,
)
from minivae.evaluation.imputation import impute
from minivae.evaluation.linear_classifier import LinearClassifier
from minivae.evaluation.mixture import MixtureEvaluation, cluster_map, evaluate_mixture
from minivae.evaluation.rivals import (
    LogisticRegression,
    error_rate,
    few_labels,
    logistic_regression,
    nearest_neighbours,
    some_labels,
)
from minivae.evaluation.sentence_rivals import LanguageModel, SentenceClassifier, bag_of_words, naive_bayes
from minivae.evaluation.svm import SupportVectors, support_vectors
from minivae.evaluation.zero_shot import (
    ESZSL,
    ZeroShot,
    by_neighbours,
    by_probability,
    choose_eszsl,
    class_accuracy,
    eszsl,
    harmonic_mean,
    self_train,
    softmax_classifier,
    zero_shot_accuracy,
)

__all__ = [
    "AIS", "ESZSL", "ROWS", "AmortizationGap", "Classifier", "Clusters", "CodeUse", "ComponentsFound",
    "ConditionalLikelihood", "Diagnosis", "Directions", "Estimate", "Evaluation", "LanguageModel",
    "LinearClassifier", "LogisticRegression", "MixtureEvaluation", "SampleQuality", "SentenceClassifier",
    "SupportVectors", "ZeroShot", "active_units", "amortization_gap", "annealed_importance_sampling",
    "bag_of_words", "bidirectional", "by_neighbours", "by_probability", "choose_eszsl", "class_accuracy",
    "classification_error", "cluster_map", "clustering_accuracy", "code_use", "components_found",
    "conditional_log_likelihood", "diagnose", "digit_classifier", "digit_features", "error_rate", "eszsl",
    "evaluate", "evaluate_mixture", "few_labels", "fit_posteriors", "frechet_between", "frechet_by_count",
    "frechet_distance", "frechet_limit", "gaps", "harmonic_mean", "higgins_score", "importance_weighted_bound",
    "impute", "information", "k_means", "latent_variances", "log_likelihoods", "log_mean_weights",
    "logistic_regression", "mig", "mutual_information", "naive_bayes", "nearest_neighbours",
    "normalised_mutual_information", "nuisance_vectors", "over_parts", "perturb", "posterior_means",
    "precision_recall", "predictability", "principal_directions", "replace", "sample_quality", "sap", "self_train",
    "softmax_classifier", "some_labels", "support_vectors", "terms_by_image", "zero_shot_accuracy",
]
