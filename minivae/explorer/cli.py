"""minivae explore"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivae.backend import device
from minivae.data import DataError, Dataset, available
from minivae.explorer.export import MARK, explorer
from minivae.explorer.views import VIEWS, View
from minivae.parts import InUnits, Likelihood, likelihood
from minivae.runs import CHECKPOINT, CheckpointError, load_checkpoint, load_parameters, write_atomically
from minivae.training import Recipe, read_recipe


@dataclass
class Explore:
    """Write one page that runs the decoder in a browser: drag through its latent space.  No server, no network.

    Example: minivae explore runs/digits -o digits.html
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """run folder, or one of its .safetensors files"""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("explorer.html")
    """file to write; another page of this kind is replaced, nothing else is"""
    title: str = ""
    """of the page; default: the data set and the number of latents"""
    shape: tuple[int, ...] | None = None
    """height and width of an image, and 3 if it is in colour; only where the data set, which knows them, is not here"""
    ink: tuple[float, float] | None = None
    """the pixels that are drawn as blank and as full ink; default: 0 and 1, or the run's (`train --scale`)"""
    given: int = 0
    """of m2, m1m2 and cvae --given label: the class; of cvae: the test image, some quadrants of which are given; of
    infinite: the component, the largest first"""
    folder: Path | None = None
    """where the data files lie, if not in MINIVAE_DATA or the cache"""

    def __call__(self) -> int:
        if self.out.is_dir() or (self.out.exists() and MARK.encode() not in self.out.read_bytes()):
            raise FileExistsError(f"out: {self.out} exists already and is no page of `minivae explore`; choose another")
        recipe, checkpoint = find(self.run)
        dataset, why = images_of(recipe, self.folder)
        shape = dataset.image_shape if dataset else self.shape or guess(recipe, checkpoint)
        shown = view_of(recipe, checkpoint, shape, dataset, self.given)
        images, labels = on_the_plane(shown, recipe, dataset)
        said = f"{Path(recipe.data).stem.replace('_', ' ').capitalize()}, {recipe.latents} latents"
        title = self.title or ", ".join(filter(None, (said, shown.says)))
        low, high = self.ink or ink_in_units(shown.vae.likelihood)
        page = explorer(shown.vae, images, labels, shape, title=title, low=low, high=high).encode()
        write_atomically(self.out, page)
        print(f"{checkpoint}: {self.out}, {len(page) / 1000:.0f} kB" + (f"; without test images: {why}" if why else ""))
        return 0


def find(run: Path) -> tuple[Recipe, Path]:
    """The recipe and the checkpoint file of a run folder, or of one of its files.  Raises CheckpointError."""
    if not run.exists():
        raise CheckpointError(f"{run}: no such run folder or checkpoint")
    checkpoint = run / CHECKPOINT if run.is_dir() else run
    recipe = read_recipe(checkpoint.parent)
    if not checkpoint.exists():
        raise CheckpointError(f"{checkpoint}: no such checkpoint")
    return recipe, checkpoint


def ink_in_units(p_x: Likelihood) -> tuple[float, float]:
    """0 and 1, or what the data's own units call them."""
    if not isinstance(p_x, InUnits):
        return 0.0, 1.0
    return float(p_x.shift.value.min()), float((p_x.shift.value + p_x.scale.value).max())


def images_of(recipe: Recipe, folder: Path | None) -> tuple[Dataset | None, str]:
    """The data set of a run, or None and why it cannot be had.  Raises ValueError if nobody knows its name."""
    try:
        return recipe.load(folder), ""
    except DataError as error:
        return None, str(error)


def view_of(recipe: Recipe, checkpoint: Path, shape: tuple[int, ...], dataset: Dataset | None, given: int) -> View:
    """The trained model, on the host, as the page shows it.

    Raises CheckpointError if the file holds another one, DataError if the model cannot be built without its data, and
    ValueError for a kind of model that has no plane.
    """
    if recipe.model == "vae":
        vae = recipe.vae(shape).build()
        load_parameters(checkpoint, vae)
        return View(vae)
    if recipe.model not in VIEWS:
        raise ValueError(f"{checkpoint.parent}: a run of model {recipe.model}; the page explores images, by latents "
                         "that are real numbers")
    if dataset is None:
        raise DataError(f"{recipe.data} is not here, and a run of model {recipe.model} cannot be built without it")
    model = recipe.build(dataset, device("cpu"))
    load_parameters(checkpoint, model)
    return VIEWS[recipe.model](model, recipe, dataset, given)


def on_the_plane(shown: View, recipe: Recipe, dataset: Dataset | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The test images that lie on the plane, and their labels."""
    if dataset is None or (shown.of is not None and not shown.of.any()):
        return None, None
    images = recipe.test(dataset).x if recipe.model == "vae" else dataset.test
    of = slice(None) if shown.of is None else shown.of
    return images[of], None if dataset.test_labels is None else dataset.test_labels[of]


def guess(recipe: Recipe, checkpoint: Path) -> tuple[int, ...]:
    """The shape of an image without the images: that of a named data set, or the square that fits the outputs."""
    for row in available():
        if row.name == recipe.data:
            return row.image_shape
    last = f"parameter/decoder.{2 * len(recipe.hidden)}.b"
    biases = [array for name, array in load_checkpoint(checkpoint)[0].items() if name.endswith(last)]
    if recipe.network != "mlp":
        raise ValueError(f"shape: {recipe.data} is not here to say how large its images are; give --shape, "
                         "height and width, and 3 if they are in colour")
    if not biases:
        raise CheckpointError(f"{checkpoint} holds another model: it has no {last}")
    pixels = biases[0].size // likelihood(recipe.likelihood).outputs_per_pixel
    if isqrt(pixels) ** 2 != pixels:
        raise ValueError(f"shape: {recipe.data} is not here to say how its {pixels} pixels lie; give --shape, "
                         "its height and width, and 3 if they are colours")
    return isqrt(pixels), isqrt(pixels)
