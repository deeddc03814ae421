"""A recipe, and the model that was made by it, as a run folder keeps them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from minivae.backend import Device
from minivae.data import Dataset
from minivae.runs import BEST, CHECKPOINT, CONFIG, CheckpointError, load_parameters
from minivae.training.recipe import Recipe


def read_recipe(run: Path) -> Recipe:
    """The recipe of a run folder.  Raises CheckpointError if there is none."""
    try:
        config = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        known = {f.name for f in fields(Recipe)}
        values = {key: value for key, value in config.items() if key in known}
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return Recipe(**values | lists | {"hidden": tuple(values["hidden"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{run} is not a run folder: cannot read {run / CONFIG} ({error})") from error


def load_run(run: Path, on: Device, *, folder: Path | None = None, best: bool = False) -> tuple[Any, Dataset, Recipe]:
    """The trained model of a run folder, its data set and its recipe.

    best   the epoch with the best validation bound instead of the last one
    """
    recipe = read_recipe(run)
    dataset = recipe.load(folder, run=run)
    model = recipe.build(dataset, on)
    load_parameters(run / (BEST if best else CHECKPOINT), model)
    return model, dataset, recipe
