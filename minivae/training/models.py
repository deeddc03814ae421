"""What a recipe's model is: how its batches are made of a data set, and how it is built.

A new model is a row of MODELS: `ask(recipe, dataset, part)` gives the batch that the model needs of a part of the data
set, `build(recipe, dataset, train, on)` the untrained model for the training batch `train`.  A model that is judged on
other batches than it learns from says so with `judge(recipe, dataset, part)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Device
from minivae.batch import Batch
from minivae.data import ByLabel, DataError, Dataset, HiddenLabels, HiddenSentenceLabels, Quadrants, Sentences
from minivae.nn import Model
from minivae.training.clusters import start_at_clusters
from minivae.variants import (
    CVAEConfig,
    CVAEGANConfig,
    GMVAEConfig,
    InfiniteVAEConfig,
    M1M2Config,
    M2Config,
    MixtureBound,
    SourceVAEConfig,
    StructuredVAEConfig,
    TextM2Config,
    TwoStageConfig,
    VAEConfig,
    VAEGANConfig,
    VQVAEConfig,
)
from minivae.variants.cvae_gan import PLAYERS

OF_SOME_MODELS = {                     # the settings that mean something to some of the models alone
    ("vae", "vae_gan"): ("network", "filters", "dense"),
    ("vae",): ("posterior", "prior", "objective", "beta", "free_bits", "capacity", "gamma"),
    ("vae", "m2_text"): ("warm_up",),
    ("m2_text",): ("words", "length", "units", "writer", "forget"),
    ("vae", "gmvae"): ("scale",),
    ("vae", "gmvae", "structured"): ("samples",),
    ("vae", "gmvae", "infinite"): ("components",),
    ("cvae",): ("given", "observed", "baseline_epochs", "alpha"),
    ("two_stage",): ("second_hidden",),
    ("two_stage", "m1m2", "infinite", "structured", "vq_vae"): ("first_epochs",),
    ("vae_gan", "cvae_gan"): ("features",),
    ("vae_gan",): ("likeness", "margin"),
    ("cvae_gan",): ("weights",),
    ("vq_vae",): ("levels", "codes", "prior_channels", "prior_blocks", "by_class"),
    ("structured",): ("fixed_epochs",),
    ("infinite",): ("concentration",),
    ("m2", "m1m2", "m2_text"): ("labels", "label_weight"),
    ("m1m2",): ("m1_latents",),
    ("gmvae",): ("w_latents", "vae_epochs", "information"),
}
OF_SENTENCES = ("m2_text",)
Recipe = Any                                           # training.recipe's, which is built upon this file


class Kind(NamedTuple):
    """A model as the command line knows it; `says` is its line of `minivae train --help`."""

    says: str
    ask: Callable[[Recipe, Dataset, Batch], Batch]
    build: Callable[[Recipe, Dataset, Batch, Device], Model]
    judge: Callable[[Recipe, Dataset, Batch], Batch] | None = None     # None: ask


def as_it_is(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """The images, and their labels if there are any."""
    return part


def build_vae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The VAE, fully connected or convolutional."""
    steps = recipe.steps(train)
    return recipe.vae(dataset.image_shape).build(
        seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps), samples=recipe.samples,
        images=train.x, objective=recipe.new_objective(steps))


def question(recipe: Recipe, dataset: Dataset) -> Quadrants | ByLabel:
    """What is given, and what is to be predicted.  Raises DataError for labels that are not there."""
    if recipe.given == "quadrants":
        return Quadrants(dataset.image_shape, recipe.observed)
    if dataset.train_labels is None:
        raise DataError(f"given: {dataset.name} has no labels; choose another data set, or --given quadrants")
    return ByLabel(int(dataset.train_labels.max()) + 1, math.prod(dataset.image_shape))


def build_cvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The conditional VAE: some epochs for its baseline, the others for itself."""
    sizes = CVAEConfig(*question(recipe, dataset).sizes, tuple(recipe.hidden), recipe.latents, recipe.activation,
                       recipe.likelihood, recipe.alpha)
    steps, first = recipe.steps(train), min(recipe.baseline_epochs, recipe.epochs)
    optimizers: dict[str, Any] = {"baseline": recipe.new_optimizer(first, steps),
                                  "cvae": recipe.new_optimizer(recipe.epochs - first, steps)}
    return sizes.build(seed=recipe.seed, on=on, optimizers=optimizers, targets=train.y, baseline_steps=first * steps)


def hide_labels(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """Of a training part: images without labels, and beside each one that has."""
    classes_of(dataset)
    return HiddenLabels(recipe.labels, recipe.seed).ask(part)


def show_labels(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """Of a part that is judged on: all images, and all labels."""
    classes_of(dataset)
    return HiddenLabels.judge(part)


def tell_labels(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """Of a training part: all images, each with its label."""
    classes_of(dataset)
    return Batch(x=part.x, labels=part.y)


def classes_of(dataset: Dataset) -> int:
    """How many labels there are.  Raises DataError for a data set without."""
    if dataset.train_labels is None:
        raise DataError(f"model: {dataset.name} has no labels, and this model needs some; choose another data set, or "
                        "--model vae")
    return int(dataset.train_labels.max()) + 1


def build_m2(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """M2, which hears all images and few labels."""
    sizes = M2Config(math.prod(dataset.image_shape), classes_of(dataset), tuple(recipe.hidden), recipe.latents,
                     recipe.activation, recipe.likelihood)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, recipe.steps(train)),
                       images=train.x, labelled_share=labelled_share(recipe, train), label_weight=recipe.label_weight)


def build_m1m2(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """M1+M2: some epochs for M1, the others for M2 on its latents."""
    sizes = M1M2Config(math.prod(dataset.image_shape), classes_of(dataset), tuple(recipe.hidden), recipe.latents,
                       recipe.m1_latents, recipe.activation, recipe.likelihood)
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers: dict[str, Any] = {"m1": recipe.new_optimizer(first, steps),
                                  "m2": recipe.new_optimizer(recipe.epochs - first, steps)}
    return sizes.build(seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, m1_steps=first * steps,
                       labelled_share=labelled_share(recipe, train), label_weight=recipe.label_weight)


def labelled_share(recipe: Recipe, train: Batch) -> float:
    """Which part of the images has a label: a row of the batch is an image without."""
    return recipe.labels / (len(train) + recipe.labels)


def hide_sentence_labels(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """Of a training part: sentences without labels, and beside each one that has."""
    return HiddenSentenceLabels(recipe.labels, recipe.seed).ask(part)


def build_m2_text(recipe: Recipe, dataset: Any, train: Batch, on: Device) -> Model:
    """M2 of sentences.  What it knows of p(y) is how often the labels that it is told are y."""
    told = 1.0 + np.bincount(train.labels[:recipe.labels], minlength=len(dataset.classes))
    sizes = TextM2Config(len(dataset.vocabulary), len(dataset.classes), recipe.units, recipe.units,
                         recipe.latents, recipe.writer == "conditional", tuple((told / told.sum()).tolist()))
    steps = recipe.steps(train)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps), sentences=train.x,
                       labelled_share=labelled_share(recipe, train), label_weight=recipe.label_weight,
                       warm_up=recipe.warm_up * steps, forget=recipe.forget)


def check_kind(recipe: Recipe, dataset: Any) -> None:
    """Raise DataError for sentences where a model is of images, or the other way round."""
    if isinstance(dataset, Sentences) != (recipe.model in OF_SENTENCES):
        has, wants = ("sentences", "m2_text") if isinstance(dataset, Sentences) else ("images", "vae")
        raise DataError(f"model: {dataset.name} has {has}, which model {recipe.model} does not know; choose another "
                        f"data set, or a model of {has}, such as --model {wants}")
    if recipe.binarize and recipe.model in OF_SENTENCES:
        raise ValueError("binarize: got a model of sentences, which have no pixels to draw")


def build_two_stage(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The two-stage VAE: some epochs for the first, the others for the second."""
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers = recipe.new_optimizer(first, steps), recipe.new_optimizer(recipe.epochs - first, steps)
    sizes = VAEConfig(math.prod(dataset.image_shape), tuple(recipe.hidden), recipe.latents, recipe.activation,
                      recipe.likelihood)
    return TwoStageConfig(sizes, tuple(recipe.second_hidden)).build(
        seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, first_steps=first * steps)


def build_gmvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The Gaussian mixture VAE: some epochs as a VAE, then a component on each cluster of its codes."""
    sizes = GMVAEConfig(math.prod(dataset.image_shape), tuple(recipe.hidden), recipe.latents, recipe.activation,
                        recipe.likelihood, components=recipe.components, scale=recipe.scale, w_latents=recipe.w_latents)
    steps = recipe.steps(train)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps),
                       samples=recipe.samples, images=train.x, start=start_at_clusters(train.x, seed=recipe.seed),
                       objective=MixtureBound(recipe.information, min(recipe.vae_epochs, recipe.epochs) * steps))


def number_images(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """The images, and which each is: a model that remembers something of each has to know."""
    return part.but(index=np.arange(len(part)))


def build_infinite(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The infinite VAE: some epochs for the base, the others for a sweep each and the components."""
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    sizes = VAEConfig(math.prod(dataset.image_shape), tuple(recipe.hidden), recipe.latents, recipe.activation,
                      recipe.likelihood)
    return InfiniteVAEConfig(sizes, recipe.components, recipe.concentration).build(
        examples=len(train), seed=recipe.seed, on=on, images=train.x, first_steps=first * steps,
        optimizer=lambda: recipe.new_optimizer(recipe.epochs, steps))


def build_structured(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The VAE with structured residuals: some epochs for the diagonal, some for the precision, the others for all.

    Raises DataError for colour.
    """
    height, width, *channels = dataset.image_shape
    if channels:
        raise DataError(f"model: {dataset.name} is in colour, and structured residuals are of grey images, of one "
                        "number a pixel; choose another data set, or another model")
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers: dict[str, Any] = {name: recipe.new_optimizer(recipe.epochs, steps) for name in (
        "vae", "diagonal", "below")}
    return StructuredVAEConfig(height, width, tuple(recipe.hidden), recipe.latents, recipe.activation).build(
        seed=recipe.seed, on=on, optimizers=optimizers, samples=recipe.samples, images=train.x,
        diagonal_steps=first * steps, fixed_steps=recipe.fixed_epochs * steps)


def build_vq_vae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The VQ-VAE: some epochs for the autoencoder, the others for the priors of its codes."""
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers = {"vae": recipe.new_optimizer(first, steps), **{
        f"prior_{i}": recipe.new_optimizer(recipe.epochs - first, steps) for i in range(recipe.levels)}}
    height, width, channels = (*dataset.image_shape, 1)[:3]
    return VQVAEConfig(height, width, channels, recipe.levels, recipe.codes, prior_channels=recipe.prior_channels,
                       prior_blocks=recipe.prior_blocks, likelihood=recipe.likelihood,
                       classes=classes_of(dataset) if recipe.by_class else 0).build(
        seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, first_steps=first * steps)


def build_vae_gan(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The VAE/GAN: its discriminator at a fifth of the others' rate."""
    steps = recipe.steps(train)
    slow = replace(recipe, lr=0.2 * recipe.lr)
    optimizers = {name: who.new_optimizer(recipe.epochs, steps) for name, who in (
        ("encoder", recipe), ("decoder", recipe), ("discriminator", slow))}
    return VAEGANConfig(recipe.vae(dataset.image_shape), recipe.features).build(
        seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, gamma=recipe.likeness, margin=recipe.margin)


def build_cvae_gan(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The CVAE-GAN, told the label of every image."""
    steps = recipe.steps(train)
    sizes = M2Config(math.prod(dataset.image_shape), classes_of(dataset), tuple(recipe.hidden), recipe.latents,
                     recipe.activation, recipe.likelihood)
    optimizers = {name: recipe.new_optimizer(recipe.epochs, steps) for name in PLAYERS}
    return CVAEGANConfig(sizes, recipe.features).build(seed=recipe.seed, on=on, optimizers=optimizers, images=train.x,
                                                       weights=tuple(recipe.weights))


def build_mvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The MVAE's model of a source, told who speaks."""
    C, optimizer = classes_of(dataset), recipe.new_optimizer(recipe.epochs, recipe.steps(train))
    sizes = SourceVAEConfig(train.x.shape[1], C, tuple(recipe.hidden), recipe.latents, recipe.activation)
    return sizes.build(seed=recipe.seed, on=on, optimizer=optimizer, powers=train.x)


MODELS: dict[str, Kind] = {
    "vae": Kind("the VAE, in any of its parts: --posterior, --prior, --likelihood, --objective; with --beta the β-VAE",
                as_it_is, build_vae),
    "cvae": Kind("predicts the rest of an image from some of it, or from its label: --given, --observed",
                 lambda recipe, dataset, part: question(recipe, dataset).ask(part), build_cvae),
    "m2": Kind("classifies, with few labels and many images: --labels",
               hide_labels, build_m2, show_labels),
    "m1m2": Kind("the same on the latents of a VAE, trained first",
                 hide_labels, build_m1m2, show_labels),
    "m2_text": Kind("m2 of sentences: --data sst2 or trec, or a .tsv of your own",
                    hide_sentence_labels, build_m2_text, show_labels),
    "two_stage": Kind("a VAE and, after it, a second one of its codes; wants --likelihood gaussian_shared",
                      as_it_is, build_two_stage),
    "gmvae": Kind("finds clusters that nobody named: --components",
                  as_it_is, build_gmvae),
    "infinite": Kind("a mixture of VAEs, as many as the data ask for: --concentration",
                     number_images, build_infinite, as_it_is),
    "structured": Kind("residuals that are correlated; wants --likelihood gaussian_pixel",
                       as_it_is, build_structured),
    "vq_vae": Kind("pictures of numbers, and a prior that draws them: --codes, --levels; told the class: --by-class",
                   lambda recipe, dataset, part: tell_labels(recipe, dataset, part) if recipe.by_class else part,
                   build_vq_vae),
    "vae_gan": Kind("a discriminator compares images, and plays against the decoder; wants --optimizer rmsprop",
                    as_it_is, build_vae_gan),
    "cvae_gan": Kind("the same with a class that is told, and a classifier",
                     tell_labels, build_cvae_gan, show_labels),
    "mvae": Kind("knows voices, for `minivae separate`; wants --data spoken_digits", as_it_is, build_mvae),
}
