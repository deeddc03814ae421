"""What subcommands have in common: exit codes, and the pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from minivae import data, plots
from minivae.cli.shown import SHOWN
from minivae.training import Recipe, Record
from minivae.vae import VAE

DeviceName = Literal["auto", "cpu", "cuda"]
Run = Annotated[Path, tyro.conf.Positional]

# exit codes that scripts can use
OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130


def draw(model: Any, dataset: data.Dataset, recipe: Recipe, history: list[Record], folder: Path) -> None:
    """Every picture of a run, into a folder."""
    for name, fig in SHOWN[recipe.model].pictures(model, dataset, recipe):
        print(f"picture: {plots.save(fig, folder / f'{name}.png')}")
    if history:                                           # a run stopped in its first epoch has none
        print(f"picture: {plots.save(plots.learning_curves(history), folder / 'curves.png')}")


def only_a_vae(model: Any, why: str) -> None:
    """Raise ValueError for another model."""
    if not isinstance(model, VAE):
        raise ValueError(f"{why}: got a run of a {type(model).__name__}, expected one of a VAE")
