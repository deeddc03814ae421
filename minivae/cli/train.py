"""minivae train"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from minivae import data
from minivae.backend import device
from minivae.cli.shared import OK, DeviceName, draw
from minivae.cli.shown import SHOWN
from minivae.parallel import processes
from minivae.runs import free_folder
from minivae.training import Recipe, read_recipe


@dataclass
class Train:
    """Train a VAE and keep the run: config.json, metrics.jsonl, checkpoint and pictures.

    The 5,000 digits in the package: minivae train

    The size of Kingma and Welling's: minivae train --data mnist --hidden 500 --epochs 50

    Go on where a run stopped: minivae train --resume runs/digits

    Four processes, here or on more machines: mpiexec -n 4 python -m minivae train
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """run folder; default runs/DATA, or the first free runs/DATA-2, -3, …"""
    resume: Path | None = None
    """run folder to go on with: its recipe is used, and only --epochs may differ"""
    device: DeviceName = "auto"
    """auto: the GPU if one answers"""
    threads: int | None = None
    """that share every batch, on a CPU; default: one per core (under mpiexec: this process's part of the cores)"""
    folder: Path | None = None
    """where the data files lie, if not in MINIVAE_DATA or the cache"""

    def __call__(self) -> int:
        group, where = processes(), device(self.device)
        recipe, run, dataset = group.once(self._prepare)
        model, history = recipe.train(dataset, where, run=run, resume=self.resume is not None, threads=self.threads)

        def report() -> None:
            test = recipe.test(dataset)
            print(f"test: {SHOWN[recipe.model].judge(model, test, seed=recipe.seed)}")
            draw(model, dataset, recipe, history, run)

        group.once(report)
        return OK

    def _prepare(self) -> tuple[Recipe, Path, data.Dataset]:
        recipe = self.recipe
        dataset = recipe.load(self.folder, run=self.resume)
        run = self.resume or free_folder(self.out or Path("runs") / dataset.name)
        print(f"{dataset}\nrun folder: {run}, device: {device(self.device).name}, processes: {processes().size}")
        return recipe, run, dataset


def parse_resume(argv: Sequence[str]) -> Train | None:
    """The command of `train --resume RUN …`, whose options start from the run's own recipe; None if it is none."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--resume", type=Path)
    run = early.parse_known_args(argv)[0].resume
    if run is None:
        return None
    old = read_recipe(run)
    command = tyro.cli(Train, args=argv, default=Train(old, resume=run), prog="minivae train")
    for field in fields(Recipe):
        was, now = getattr(old, field.name), getattr(command.recipe, field.name)
        if was != now and field.name != "epochs":
            raise ValueError(f"{field.name}: got {now!r}, and {run} was made with {was!r}: a run goes on as it began, "
                             "only --epochs, --device, --threads and --folder may differ")
    if command.out is not None:
        raise ValueError(f"out: got {command.out}; with --resume the run goes on in its own folder, {run}")
    return command
