"""What a recipe's model asks of a data set: which batches it learns from, and which it is judged on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae.batch import Batch
from minivae.data import ByLabel, DataError, Dataset, HiddenLabels, HiddenSentenceLabels, Quadrants, Sentences

OF_SENTENCES = ("m2_text",)
Recipe = Any                                           # training.recipe's, which is built upon this file


def as_it_is(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """The images, and their labels if there are any."""
    return part


def number_images(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """The images, and which each is: a model that remembers something of each has to know."""
    return part.but(index=np.arange(len(part)))


def question(recipe: Recipe, dataset: Dataset) -> Quadrants | ByLabel:
    """What is given, and what is to be predicted.  Raises DataError for labels that are not there."""
    if recipe.given == "quadrants":
        return Quadrants(dataset.image_shape, recipe.observed)
    if dataset.train_labels is None:
        raise DataError(f"given: {dataset.name} has no labels; choose another data set, or --given quadrants")
    return ByLabel(int(dataset.train_labels.max()) + 1, math.prod(dataset.image_shape))


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


def hide_sentence_labels(recipe: Recipe, dataset: Dataset, part: Batch) -> Batch:
    """Of a training part: sentences without labels, and beside each one that has."""
    return HiddenSentenceLabels(recipe.labels, recipe.seed).ask(part)


def classes_of(dataset: Dataset) -> int:
    """How many labels there are.  Raises DataError for a data set without."""
    if dataset.train_labels is None:
        raise DataError(f"model: {dataset.name} has no labels, and this model needs some; choose another data set, or "
                        "--model vae")
    return int(dataset.train_labels.max()) + 1


def check_kind(recipe: Recipe, dataset: Any) -> None:
    """Raise DataError for sentences where a model is of images, or the other way round."""
    if isinstance(dataset, Sentences) != (recipe.model in OF_SENTENCES):
        has, wants = ("sentences", "m2_text") if isinstance(dataset, Sentences) else ("images", "vae")
        raise DataError(f"model: {dataset.name} has {has}, which model {recipe.model} does not know; choose another "
                        f"data set, or a model of {has}, such as --model {wants}")
    if recipe.binarize and recipe.model in OF_SENTENCES:
        raise ValueError("binarize: got a model of sentences, which have no pixels to draw")
