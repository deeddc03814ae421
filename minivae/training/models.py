"""What a recipe's model is: which batches it asks for, and how it is built.

A new model is a row of MODELS: `ask(recipe, dataset, part)` gives the batch that the model needs of a part of the data
set, one of training.batches, `build(recipe, dataset, train, on)` the untrained model for the training batch `train`.  A
model that is judged on other batches than it learns from says so with `judge(recipe, dataset, part)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from minivae.backend import Device
from minivae.batch import Batch
from minivae.data import DataError, Dataset
from minivae.nn import Model
from minivae.training.batches import (
    Recipe,
    as_it_is,
    classes_of,
    hide_labels,
    hide_sentence_labels,
    number_images,
    question,
    show_labels,
    tell_labels,
)
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
    VAEGANConfig,
    VQVAEConfig,
)
from minivae.variants.cvae_gan import PLAYERS
from minivae.variants.text_sizes import shares


class Kind(NamedTuple):
    """A model as the command line knows it; `says` is its line of `minivae train --help`."""

    says: str
    ask: Callable[[Recipe, Dataset, Batch], Batch]
    build: Callable[[Recipe, Dataset, Batch, Device], Model]
    judge: Callable[[Recipe, Dataset, Batch], Batch] | None = None     # None: ask


def build_vae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The VAE, fully connected or convolutional."""
    steps = recipe.steps(train)
    return recipe.vae(dataset.image_shape).build(
        seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps), samples=recipe.samples,
        images=train.x, objective=recipe.new_objective(steps))


def build_cvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The conditional VAE: some epochs for its baseline, the others for itself."""
    sizes = CVAEConfig(*question(recipe, dataset).sizes, tuple(recipe.hidden), recipe.latents, recipe.activation,
                       recipe.likelihood, recipe.alpha)
    steps, first = recipe.steps(train), min(recipe.baseline_epochs, recipe.epochs)
    optimizers: dict[str, Any] = {"baseline": recipe.new_optimizer(first, steps),
                                  "cvae": recipe.new_optimizer(recipe.epochs - first, steps)}
    return sizes.build(seed=recipe.seed, on=on, optimizers=optimizers, targets=train.y, baseline_steps=first * steps)


def labelled_share(recipe: Recipe, train: Batch) -> float:
    """Which part of the images has a label: a row of the batch is an image without."""
    return recipe.labels / (len(train) + recipe.labels)


def m2_sizes(recipe: Recipe, dataset: Dataset) -> M2Config:
    """Of networks that are told the class, or guess it."""
    return M2Config(math.prod(dataset.image_shape), classes_of(dataset), tuple(recipe.hidden), recipe.latents,
                    recipe.activation, recipe.likelihood)


def build_m2(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """M2, which hears all images and few labels."""
    optimizer = recipe.new_optimizer(recipe.epochs, recipe.steps(train))
    return m2_sizes(recipe, dataset).build(
        seed=recipe.seed, on=on, optimizer=optimizer, images=train.x, labelled_share=labelled_share(recipe, train),
        label_weight=recipe.label_weight)


def build_m1m2(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """M1+M2: some epochs for M1, the others for M2 on its latents."""
    sizes = M1M2Config(math.prod(dataset.image_shape), classes_of(dataset), tuple(recipe.hidden), recipe.latents,
                       recipe.m1_latents, recipe.activation, recipe.likelihood)
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers: dict[str, Any] = {"m1": recipe.new_optimizer(first, steps),
                                  "m2": recipe.new_optimizer(recipe.epochs - first, steps)}
    return sizes.build(seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, m1_steps=first * steps,
                       labelled_share=labelled_share(recipe, train), label_weight=recipe.label_weight)


def build_m2_text(recipe: Recipe, dataset: Any, train: Batch, on: Device) -> Model:
    """M2 of sentences.  What it knows of p(y) is how often the labels that it is told are y."""
    classes = len(dataset.classes)
    sizes = TextM2Config(len(dataset.vocabulary), classes, recipe.units, recipe.units, recipe.latents,
                         recipe.writer == "conditional", tuple(shares(train.labels[:recipe.labels], classes)))
    steps = recipe.steps(train)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps), sentences=train.x,
                       labelled_share=labelled_share(recipe, train), label_weight=recipe.label_weight,
                       warm_up=recipe.warm_up * steps, forget=recipe.forget)


def build_two_stage(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The two-stage VAE: some epochs for the first, the others for the second."""
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    optimizers = recipe.new_optimizer(first, steps), recipe.new_optimizer(recipe.epochs - first, steps)
    return TwoStageConfig(recipe.vae(dataset.image_shape), tuple(recipe.second_hidden)).build(
        seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, first_steps=first * steps)


def build_gmvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The Gaussian mixture VAE: some epochs as a VAE, then a component on each cluster of its codes."""
    sizes = GMVAEConfig(math.prod(dataset.image_shape), tuple(recipe.hidden), recipe.latents, recipe.activation,
                        recipe.likelihood, components=recipe.components, scale=recipe.scale, w_latents=recipe.w_latents)
    steps = recipe.steps(train)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps),
                       samples=recipe.samples, images=train.x, start=start_at_clusters(train.x, seed=recipe.seed),
                       objective=MixtureBound(recipe.information, min(recipe.vae_epochs, recipe.epochs) * steps))


def build_infinite(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The infinite VAE: some epochs for the base, the others for a sweep each and the components."""
    steps, first = recipe.steps(train), min(recipe.first_epochs, recipe.epochs)
    return InfiniteVAEConfig(recipe.vae(dataset.image_shape), recipe.components, recipe.concentration).build(
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
    optimizers = {name: recipe.new_optimizer(recipe.epochs, recipe.steps(train)) for name in PLAYERS}
    return CVAEGANConfig(m2_sizes(recipe, dataset), recipe.features).build(
        seed=recipe.seed, on=on, optimizers=optimizers, images=train.x, weights=tuple(recipe.weights))


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
