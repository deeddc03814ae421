"""The gradient table: a row for every op, density, layer, likelihood and model of the library.

    case             one row: something to check, and its inputs
    ops_rows, distribution_rows, layer_rows, model_rows, posterior_rows, deep_rows, variant_rows     the rows, by what
                     they are about

The tests run it, and so does `minivae gradcheck`.  Whoever adds an op adds its row: a public op without one fails the
suite (`missing_rows`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import ModuleType

import numpy as np

from minivae import vae
from minivae.distributions import (
    categorical,
    components,
    flows,
    full_gaussian,
    gaussian,
    kl_charges,
    mixture,
    nll,
    rank_one,
    sparse_gaussian,
)
from minivae.evaluation import classifier, sentence_rivals
from minivae.gradient_table.case import Case, check
from minivae.gradient_table.deep_rows import deep_latent_cases, rank_one_cases
from minivae.gradient_table.distribution_rows import (
    categorical_cases,
    components_cases,
    gaussian_cases,
    kl_charge_cases,
    mixture_cases,
    nll_cases,
    sparse_gaussian_cases,
)
from minivae.gradient_table.layer_rows import (
    image_layer_cases,
    layer_cases,
    likelihood_cases,
    pixel_cnn_cases,
    recurrent_layer_cases,
)
from minivae.gradient_table.model_rows import classifier_cases, model_cases
from minivae.gradient_table.ops_rows import convolution_cases, op_cases, recurrent_cases
from minivae.gradient_table.posterior_rows import (
    flow_cases,
    flow_posterior_cases,
    full_gaussian_cases,
    mixture_given_cases,
    posterior_cases,
    posterior_model_cases,
    prior_cases,
)
from minivae.gradient_table.variant_rows import (
    cvae_cases,
    cvae_gan_cases,
    gmvae_cases,
    infinite_cases,
    m1m2_cases,
    m2_cases,
    mvae_cases,
    structured_residual_cases,
    text_cases,
    two_stage_cases,
    vae_gan_cases,
    vq_vae_cases,
    zero_vae_gan_cases,
)
from minivae.nn import Layer, batch_norm, image_layers, layers, recurrent_layers
from minivae.ops import arrays, convolutions, dense, masked, normalisation, patches, recurrent, softmax
from minivae.parts import (
    centres,
    codebook,
    flow_posteriors,
    gaussian_likelihoods,
    levels,
    likelihoods,
    logistic_likelihoods,
    mixture_given,
    pixel_cnn,
    posteriors,
    priors,
    sentences,
    structured_gaussian,
    structured_posteriors,
    units,
    vamp_prior,
)
from minivae.variants import (
    cvae,
    cvae_gan,
    deep_latent,
    gmvae,
    infinite,
    mlp_vae,
    mvae,
    semi_supervised,
    semi_supervised_text,
    stacked_semi_supervised,
    structured_residuals,
    two_stage,
    vae_gan,
    vq_vae,
    zero_vae_gan,
)

__all__ = ["Case", "case_named", "cases", "check", "missing_rows", "public_ops"]

TABLE = {
    dense: op_cases, arrays: op_cases, softmax: op_cases,
    convolutions: convolution_cases, masked: convolution_cases, patches: convolution_cases,
    normalisation: convolution_cases, recurrent: recurrent_cases,
    gaussian: gaussian_cases, nll: nll_cases, mixture: mixture_cases, components: components_cases,
    kl_charges: kl_charge_cases, categorical: categorical_cases,
    full_gaussian: full_gaussian_cases,
    rank_one: rank_one_cases, sparse_gaussian: sparse_gaussian_cases,
    flows: flow_cases,
    layers: layer_cases,
    image_layers: image_layer_cases, batch_norm: image_layer_cases,
    recurrent_layers: recurrent_layer_cases,
    likelihoods: likelihood_cases, gaussian_likelihoods: likelihood_cases, logistic_likelihoods: likelihood_cases,
    structured_gaussian: likelihood_cases,
    units: likelihood_cases,
    vae: model_cases,
    posteriors: posterior_cases, structured_posteriors: posterior_cases,
    flow_posteriors: flow_posterior_cases,
    priors: prior_cases, vamp_prior: prior_cases,
    mlp_vae: posterior_model_cases,
    deep_latent: deep_latent_cases,
    cvae: cvae_cases,
    semi_supervised: m2_cases, stacked_semi_supervised: m1m2_cases,
    sentences: text_cases, semi_supervised_text: text_cases, sentence_rivals: text_cases,
    two_stage: two_stage_cases,
    classifier: classifier_cases,
    mixture_given: mixture_given_cases, gmvae: gmvae_cases, infinite: infinite_cases,
    structured_residuals: structured_residual_cases,
    centres: pixel_cnn_cases, codebook: pixel_cnn_cases, pixel_cnn: pixel_cnn_cases,
    levels: vq_vae_cases, vq_vae: vq_vae_cases,
    vae_gan: vae_gan_cases, cvae_gan: cvae_gan_cases, zero_vae_gan: zero_vae_gan_cases,
    mvae: mvae_cases,
}
MODULES = tuple(TABLE)
SECTIONS = {module.__name__: rows for module, rows in TABLE.items()}
EXEMPT = {
    "one_hot": "makes a constant: nothing to differentiate", "add_by_code": "a part of embedding",
    "bernoulli_sample": "draws", "sparse_gaussian_sample": "draws",
    "precision_factor": "writes out, to look at and to check",
    "sum_of_logs": "a part of bernoulli_nll", "bernoulli_nll_of_draws": "the value of bernoulli_nll alone",
    "window": "names taps",
    "correlate": "a part of conv2d", "heard_by_weights": "the same", "heard_by_bias": "the same",
    "heard_by_all": "the same", "heard_by_both": "the same",
    "rank_one_logvars": "to look at",
    "mixture_log_prob_by_latent": "to look at",
    "units_of": "reads a data set",
    "check_scale": "reads a data set",
    "halves": "cuts outputs in two",
    "glorot": "draws initial weights",
    "he": "draws initial weights",
    "mlp": "builds a Sequential",
    "Layer": "abstract",
    "Several": "holds layers",
    "Level": "holds layers",
    "perplexity": "to look at",
    "Likelihood": "abstract",
    "Posterior": "abstract",
    "GaussianPosterior": "abstract",
    "GaussianPosterior.kl": "abstract",
    "Prior": "abstract",
    "Prior.log_prob": "abstract",
    "in_units": "chooses a likelihood",
    "start_at": "where a decoder starts",
    "digit_classifier": "loads a Classifier",
    "digit_features": "features of host images, to look at",
    "first_pseudo_inputs": "where a prior starts",
    "shortened": "cuts padding off", "in_parts": "the same", "told_before": "makes a constant",
    "codes_in": "reads a data set",
    "Classifier.nll": "label_nll of a batch", "SentenceClassifier.nll": "class_nll of a batch",
    "LanguageModel.nll": "sentence_nll of a batch",
    "bag_of_words": "counts", "naive_bayes": "counts",
}


def cases(seed: int = 0) -> list[Case]:
    """The whole table, freshly drawn: the same seed gives the same rows."""
    return [case for rows in dict.fromkeys(SECTIONS.values()) for case in rows(np.random.default_rng(seed))]


def case_named(name: str) -> Case:
    """One row of the table, freshly drawn: only its section is.  Raises KeyError for a name that is not there."""
    return next(case for case in _sections()[name](np.random.default_rng(0)) if case.name == name)


@cache
def _sections() -> dict[str, Callable[[np.random.Generator], list[Case]]]:
    """name of a row -> what draws its section"""
    return {case.name: rows for rows in dict.fromkeys(SECTIONS.values()) for case in rows(np.random.default_rng(0))}


def public_ops(modules: Sequence[ModuleType] = MODULES) -> set[str]:
    """Everything in these modules that must have a row, by its `Case.subject`.

    That is: every public function, every layer that can be called, and every method of a layer that
    says it returns a Pullback; less those that EXEMPT names.
    """
    found = set()
    for module in modules:
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing):
                found.add(name)
            elif inspect.isclass(thing) and issubclass(thing, Layer):
                methods = {key: m for key, m in vars(thing).items() if inspect.isfunction(m)}
                found |= {name} if "__call__" in methods else set()
                found |= {f"{name}.{key}" for key, m in methods.items()
                          if not key.startswith("_") and "Pullback" in str(m.__annotations__.get("return"))}
    return found - EXEMPT.keys()


def missing_rows(table: Iterable[Case], modules: Sequence[ModuleType] = MODULES) -> set[str]:
    """The public ops that no row of the table is about."""
    return public_ops(modules) - {case.subject for case in table}
