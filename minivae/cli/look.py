"""minivae evaluate | sample | plot: what a trained run can say and show."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivae import plots
from minivae.backend import at_least_one, device, to_numpy
from minivae.batch import Batch
from minivae.cli.shared import OK, DeviceName, Run, draw, only_a_vae
from minivae.data import Dataset
from minivae.evaluation import (
    active_units,
    annealed_importance_sampling,
    classification_error,
    components_found,
    conditional_log_likelihood,
    diagnose,
    evaluate,
    evaluate_mixture,
    importance_weighted_bound,
)
from minivae.runs import read_history, write_atomically
from minivae.training import Recipe, load_run
from minivae.training.models import question
from minivae.variants import CVAE, GMVAE, M2, InfiniteVAE


@dataclass
class Evaluate:
    """The bound of a run on its test images: ELBO and its terms, importance-weighted NLL, active units.

    Of a cvae: log p(y|x) by draws of q and of the prior, beside its baseline's.  Of m2 and m1m2: the error, too.  Of a
    gmvae: its four terms, and whether its clusters are the classes, where there are labels; of an infinite one the same
    of its components, and how many there are.

    Example: minivae evaluate runs/digits --samples 500
    """

    run: Run
    """run folder"""
    samples: int = 0
    """K of the importance-weighted bound (papers: 5000; of log p(y|x): 100); 0 leaves it out"""
    ais: int = 0
    """temperatures of annealed importance sampling (papers: 10000), log p(x) without the encoder; 0 leaves it out"""
    chains: int = 16
    """of annealed importance sampling, for each image"""
    latents: bool = False
    """say of every latent what it is worth: KL, activity, collapse; and the information of all"""
    images: int | None = None
    """so many of the test images, evenly spread; default: all"""
    best: bool = False
    """the epoch with the best validation bound instead of the last"""
    seed: int = 0
    """of the noise"""
    device: DeviceName = "auto"
    """auto: the GPU if one answers"""
    folder: Path | None = None
    """where the data files lie, if not in MINIVAE_DATA or the cache"""

    def __call__(self) -> int:
        model, dataset, recipe = load_run(self.run, device(self.device), folder=self.folder, best=self.best)
        if self.images is not None:
            at_least_one(images=self.images)
        x = plots.spread(recipe.test(dataset), self.images)
        if self.ais or self.latents:
            only_a_vae(model, "ais, latents")
        if isinstance(model, CVAE):
            self._conditional(model, x)
        elif isinstance(model, M2):
            self._semi_supervised(model, x)
        else:
            self._of_images(model, x)
        return OK

    def _of_images(self, model: Any, x: Batch) -> None:
        if isinstance(model, GMVAE):
            if self.latents:
                raise ValueError("latents: got a run of a GMVAE, whose latents are not independent under p(z, w)")
            print(evaluate_mixture(model, x, seed=self.seed))
        else:
            print(evaluate(model, x, seed=self.seed))
        if isinstance(model, InfiniteVAE):
            print(components_found(model, x))
        print(diagnose(model, x, seed=self.seed, progress=True) if self.latents else
              f"active units: {active_units(model, x).sum()} of {model.latents}")
        self._importance_weighted(model, x)
        if self.ais:
            print(f"annealed importance sampling, {self.ais:,} temperatures, {self.chains} chains: ", end="")
            print(annealed_importance_sampling(model, x, chains=self.chains, temperatures=self.ais, seed=self.seed,
                                               progress=True))

    def _importance_weighted(self, model: Any, x: Batch) -> None:
        if self.samples:
            bound = importance_weighted_bound(model, x, samples=self.samples, seed=self.seed, progress=True)
            print(f"NLL {-bound.mean:.2f} ± {bound.standard_error:.2f} nats: "
                  f"importance-weighted bound, {self.samples:,} samples, {len(x):,} images")

    def _semi_supervised(self, model: M2, x: Batch) -> None:
        print(evaluate(model, x, seed=self.seed))
        print(f"error: {classification_error(model, x)}% of {len(x):,} images")
        self._importance_weighted(model, x)

    def _conditional(self, model: CVAE, x: Batch) -> None:
        print(evaluate(model, x, seed=self.seed))
        print(conditional_log_likelihood(model, x, samples=self.samples or 100, seed=self.seed, progress=True))


@dataclass
class Sample:
    """Draw images from a trained model into an .npz of shape (N, height, width) and a picture beside it.

    A cvae completes test images, one after another; m2 and m1m2 draw their classes in turn, 0, 1, 2, …; a gmvae
    and an infinite one draw a row of each of their clusters.

    Example: minivae sample runs/digits --n 100 --out samples.npz
    """

    run: Run
    """run folder"""
    n: int = 100
    """how many"""
    out: Path = Path("samples.npz")
    """file to write"""
    seed: int = 0
    device: DeviceName = "auto"
    folder: Path | None = None

    def __call__(self) -> int:
        at_least_one(n=self.n)
        for path in (self.out, self.out.with_suffix(".png")):
            if path.exists():
                raise FileExistsError(f"out: {path} exists already; choose another name")
        model, dataset, recipe = load_run(self.run, device(self.device), folder=self.folder)
        images = _drawn(model, dataset, recipe, self.n, self.seed)
        write_atomically(self.out, _npz(images=images.reshape(-1, *dataset.image_shape)))
        columns = _each(model, self.n) if isinstance(model, GMVAE | InfiniteVAE) else 10
        grid = plots.image_grid(images, dataset.image_shape, columns=columns, like=plots.spread(dataset.test, 100))
        picture = plots.save(grid, self.out.with_suffix(".png"))
        print(f"{self.n} images: {self.out}, picture: {picture}")
        return OK


@dataclass
class Plot:
    """Draw the pictures of a run: samples, reconstructions, interpolations, latent map, curves.

    Example: minivae plot runs/digits --out pictures
    """

    run: Run
    """run folder"""
    out: Path | None = None
    """folder for the pictures; default: the run folder"""
    device: DeviceName = "auto"
    folder: Path | None = None

    def __call__(self) -> int:
        model, dataset, recipe = load_run(self.run, device(self.device), folder=self.folder)
        draw(model, dataset, recipe, read_history(self.run), self.out or self.run)
        return OK


def _drawn(model: Any, dataset: Dataset, recipe: Recipe, n: int, seed: int) -> np.ndarray:
    """n images (n, X): of a conditional model, each with what is given of a test image; of a mixture, by cluster."""
    rng = model.device.rng(seed)
    if isinstance(model, GMVAE | InfiniteVAE):
        return to_numpy(model.sample_clusters(_each(model, n), rng))[:n]
    if not isinstance(model, CVAE):
        return to_numpy(model.sample(n, rng))
    test = recipe.test(dataset)
    x = test.x[np.arange(n) % len(test)]
    y = model.predict(model.device.asarray(x, dtype=model.dtype), rng)
    return question(recipe, dataset).whole(x, to_numpy(y))


def _each(model: GMVAE | InfiniteVAE, n: int) -> int:
    """How many of each cluster make n, or a few more."""
    return -(-n // max(model.components, 1))


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)                                        # type: ignore[arg-type]
    return buffer.getvalue()
