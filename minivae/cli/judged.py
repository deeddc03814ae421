"""What is said of one run beside others, and whether two can be paired image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivae import plots
from minivae.backend import Device, Generator, to_numpy
from minivae.batch import Batch
from minivae.cli.shown import SHOWN
from minivae.data import Dataset
from minivae.distributions import bernoulli_sample
from minivae.evaluation import SampleQuality, active_units, log_likelihoods, sample_quality, terms_by_image
from minivae.parts import Likelihood
from minivae.runs import read_history
from minivae.training import Recipe, load_run
from minivae.training.settings import OF_SOME_MODELS


@dataclass(frozen=True)
class Judged:
    """A run, what it says of its test images, and what there is to see."""

    name: str
    recipe: Recipe
    shape: tuple[int, ...]             # of an image
    test: Batch                        # what it is judged on
    nll: np.ndarray                    # (N,) of each test image
    kl: np.ndarray                     # (N,)
    weighted_nll: np.ndarray           # (N,) minus the importance-weighted bound; empty, if it was not asked for
    active: str                        # units, of all; "" for latents that are others for every label, or are words
    quality: SampleQuality | None      # of 28×28 images in [0, 1]
    parameters: int
    history: list[dict[str, Any]]
    pictured: tuple[np.ndarray, ...]   # as networks see them: samples, as many images, reconstructions, their images

    @property
    def elbo(self) -> np.ndarray:
        """(N,)"""
        return -(self.nll + self.kl)

    @property
    def picture(self) -> tuple[Any, ...]:
        """A row of `plots.side_by_side`"""
        return self.name, self.shape, *self.pictured


def judge(run: Path, on: Device, *, name: str, samples: int = 0, images: int | None = None, best: bool = False,
          seed: int = 0, folder: Path | None = None, lines: int = 1, progress: bool = True) -> Judged:
    """Load a run and ask it everything, as `judge_model` does.

    Raises CheckpointError for a folder that is none, ValueError for a model that is none of images.
    """
    model, dataset, recipe = load_run(run, on, folder=folder, best=best)
    if not SHOWN[recipe.model].whole:
        raise ValueError(f"{run}: a run of model {recipe.model}, which explains no whole images, "
                         "and models that do are what is compared")
    return judge_model(model, dataset, recipe, history=read_history(run), name=name, samples=samples, images=images,
                       seed=seed, lines=lines, progress=progress)


def judge_model(model: Any, dataset: Dataset, recipe: Recipe, *, history: list[dict[str, Any]], name: str,
                samples: int = 0, images: int | None = None, seed: int = 0, lines: int = 1,
                progress: bool = True) -> Judged:
    """Ask a trained model of whole images everything.

    samples   of the importance-weighted bound; 0 leaves it out
    images    so many of the test images, evenly spread; all if None
    lines     of the picture that are filled with its samples, and with its reconstructions
    """
    on, test = model.device, plots.spread(recipe.test(dataset), images)
    nll, kl = terms_by_image(model, test, seed=seed)
    bound = log_likelihoods(model, test, samples=samples, seed=seed, progress=progress) if samples else np.empty(0)
    rng, few = on.rng(seed), plots.spread(test, lines * plots.STRIP[1]).on(on, model.dtype)
    more = plots.spread(test.x, lines * plots.STRIP[0])
    pictured = model.sample(len(more), rng), on.asarray(more, dtype=model.dtype), model.reconstruct(few, rng), few.x
    return Judged(
        name, recipe, dataset.image_shape, test, nll=nll, kl=kl, weighted_nll=-bound,
        active=f"{active_units(model, test).sum()} of {model.latents}" if SHOWN[recipe.model].units else "",
        quality=_quality(model, dataset, on.rng(seed)), history=history,
        parameters=sum(network.arena.value.size for network in model.networks.values()),
        pictured=tuple(to_numpy(_pixels(model).scaled(x)) for x in pictured))


def _quality(model: Any, dataset: Dataset, rng: Generator) -> SampleQuality | None:
    """As many samples as there are test images, beside these, all of them and as the data set has them.

    Samples are E[x|z], as in pictures; of black and white data, pixels are drawn too, or grey would be held against
    them.  A Gaussian's mean that leaves [0, 1] is cut off there.
    """
    if dataset.image_shape != (28, 28) or dataset.kind == "real" or len(dataset.test) < 4:
        return None
    images = model.sample(len(dataset.test), rng)
    if dataset.kind == "binary" and not _pixels(model).density:
        images = bernoulli_sample(images, rng=rng)
    return sample_quality(to_numpy(images).clip(0.0, 1.0), dataset.test)


def _pixels(model: Any) -> Likelihood:
    """p(x|z) of the pixels: an M2 on the latents of an M1 has another one, too."""
    return getattr(model, "pixel_likelihood", model.likelihood)


def option(recipe: Recipe, name: str) -> str:
    """An option of `minivae train` as one would type it; "" where, as the others are, it decides nothing."""
    only = {"hidden": recipe.network == "mlp", "activation": recipe.network == "mlp",
            "filters": recipe.network == "conv", "dense": recipe.network == "conv",
            "components": recipe.prior != "standard" or recipe.model in ("gmvae", "infinite"),
            "gamma": recipe.capacity is not None}
    value, own = getattr(recipe, name), [models for models, names in OF_SOME_MODELS.items() if name in names]
    if not only.get(name, True) or (own and not any(recipe.model in models for models in own)):
        return ""
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def unpaired(one: Judged, other: Judged) -> str | None:
    """Why two runs' nats cannot be compared image by image, or None if they can."""
    x, y = one.test.x, other.test.x
    if not np.array_equal(x, y):
        if one.recipe.data == other.recipe.data and one.recipe.binarize != other.recipe.binarize:
            return "their test images are others (drawn black and white for the one, grey for the other: binarize)"
        return (f"their test images are others ({other.recipe.data}, {len(y):,} of {_size(other)}; "
                f"{one.recipe.data}, {len(x):,} of {_size(one)})")
    kinds = [run.recipe.likelihood.partition("_")[0] for run in (one, other)]
    if kinds[0] != kinds[1]:
        return f"their p(x|z) are of different kinds ({_kind(kinds[1])}; {_kind(kinds[0])})"
    return None


def _size(run: Judged) -> str:
    return "×".join(map(str, run.shape))


def _kind(likelihood: str) -> str:
    return {"bernoulli": "bernoulli: black and white pixels", "gaussian": "gaussian: a density of real numbers",
            "logistic": "logistic: 256 grey levels"}.get(likelihood, likelihood)
