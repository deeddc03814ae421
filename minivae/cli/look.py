"""minivae evaluate | sample | plot: what a trained run can say and show."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivae import plots
from minivae.backend import at_least_one, device, to_numpy
from minivae.cli.shared import OK, DeviceName, Run, draw, only_a_vae
from minivae.cli.shown import SHOWN, Asked
from minivae.runs import read_history, write_atomically
from minivae.training import load_run


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
        asked = Asked(self.samples, self.ais, self.chains, self.latents, self.seed)
        for said in SHOWN[recipe.model].says(model, x, asked):
            print(said)
        return OK


@dataclass
class Sample:
    """Draw images from a trained model into an .npz of shape (N, height, width) and a picture beside it.

    A model of sentences prints them, and writes a .tsv of a label and a sentence in each line.

    A cvae completes test images, one after another; m2, m1m2, cvae_gan and a vq_vae by class draw their classes in
    turn, 0, 1, 2, …, or the one that is given; a gmvae and an infinite one draw a row of each of their clusters.

    Example: minivae sample runs/digits --n 100 --out samples.npz
    """

    run: Run
    """run folder"""
    n: int = 100
    """how many"""
    out: Path = Path("samples.npz")
    """file to write"""
    given: int | None = None
    """images, or sentences, of this class alone (m2, m1m2, cvae_gan, m2_text, a vq_vae that was trained --by-class)"""
    seed: int = 0
    device: DeviceName = "auto"
    folder: Path | None = None

    def __call__(self) -> int:
        at_least_one(n=self.n)
        for path in (self.out, self.out.with_suffix(".png"), self.out.with_suffix(".tsv")):
            if path.exists():
                raise FileExistsError(f"out: {path} exists already; choose another name")
        model, dataset, recipe = load_run(self.run, device(self.device), folder=self.folder)
        shown = SHOWN[recipe.model]
        if self.given is not None and not shown.by_class:
            raise ValueError(f"given: got {self.given}, a class, and model {recipe.model} is told none")
        rng = model.device.rng(self.seed)
        drawn = (shown.drawn(model, dataset, recipe, self.n, rng) if self.given is None else
                 model.sample(self.n, rng, self.given))
        if shown.sentences:
            return self._say(model, dataset, to_numpy(drawn))
        images = to_numpy(drawn)[:self.n]
        write_atomically(self.out, _npz(images=images.reshape(-1, *dataset.image_shape)))
        grid = plots.image_grid(images, dataset.image_shape, columns=shown.columns(model, self.n),
                                like=plots.spread(dataset.test, 100))
        picture = plots.save(grid, self.out.with_suffix(".png"))
        print(f"{self.n} images: {self.out}, picture: {picture}")
        return OK


    def _say(self, model: Any, dataset: Any, drawn: np.ndarray) -> int:
        names = [dataset.classes[i % model.classes if self.given is None else self.given] for i in range(self.n)]
        lines = "".join(f"{name}\t{dataset.text(codes)}\n" for name, codes in zip(names, drawn))
        write_atomically(self.out.with_suffix(".tsv"), lines.encode())
        print(lines, end="")
        print(f"{self.n} sentences: {self.out.with_suffix('.tsv')}")
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


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)                                        # type: ignore[arg-type]
    return buffer.getvalue()
