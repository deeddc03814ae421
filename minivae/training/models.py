"""What a recipe's model is: how its batches are made of a data set, and how it is built.

A new model is a row of MODELS: `ask(recipe, dataset, part)` gives the batch that the model needs of a part of the data
set, `build(recipe, dataset, train, on)` the untrained model for the training batch `train`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from minivae.backend import Device
from minivae.batch import Batch
from minivae.data import ByLabel, DataError, Dataset, Quadrants
from minivae.nn import Model
from minivae.training.clusters import start_at_clusters
from minivae.variants import CVAEConfig, GMVAEConfig, MixtureBound

if TYPE_CHECKING:                                      # a recipe is what these are told about
    from minivae.training.recipe import Recipe


class Kind(NamedTuple):
    """A model as the command line knows it."""

    ask: Callable[[Recipe, Dataset, Batch], Batch]
    build: Callable[[Recipe, Dataset, Batch, Device], Model]


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


def build_gmvae(recipe: Recipe, dataset: Dataset, train: Batch, on: Device) -> Model:
    """The Gaussian mixture VAE: some epochs as a VAE, then a component on each cluster of its codes."""
    sizes = GMVAEConfig(math.prod(dataset.image_shape), tuple(recipe.hidden), recipe.latents, recipe.activation,
                        recipe.likelihood, components=recipe.components, scale=recipe.scale, w_latents=recipe.w_latents)
    steps = recipe.steps(train)
    return sizes.build(seed=recipe.seed, on=on, optimizer=recipe.new_optimizer(recipe.epochs, steps),
                       samples=recipe.samples, images=train.x, start=start_at_clusters(train.x, seed=recipe.seed),
                       objective=MixtureBound(recipe.information, min(recipe.vae_epochs, recipe.epochs) * steps))


MODELS: dict[str, Kind] = {
    "vae": Kind(as_it_is, build_vae),
    "cvae": Kind(lambda recipe, dataset, part: question(recipe, dataset).ask(part), build_cvae),
    "gmvae": Kind(as_it_is, build_gmvae),
}
