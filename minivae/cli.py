"""The command line: minivae train | evaluate | sample | plot | explore | gradcheck | data | bench | course."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from minivae import data, plots
from minivae.ais import annealed_importance_sampling
from minivae.backend import DeviceError, device, to_numpy
from minivae.bench.contest import BenchError
from minivae.bench.run import Bench
from minivae.checkpoint import CheckpointError, write_atomically
from minivae.coursework import cli as course
from minivae.diagnosis import diagnose
from minivae.evaluation import active_units, evaluate, importance_weighted_bound
from minivae.explorer.cli import Explore
from minivae.gradcheck import GradientError, gradcheck
from minivae.gradient_table import cases, check
from minivae.guard import NotFiniteError
from minivae.processes import ALONE, ProcessesError, processes
from minivae.recipe import Recipe, free_folder, load_run, read_recipe
from minivae.runs import read_history
from minivae.targets import look_up, shape
from minivae.training import Record
from minivae.vae import VAE

DeviceName = Literal["auto", "cpu", "cuda"]
Run = Annotated[Path, tyro.conf.Positional]

# exit codes that scripts can use
OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130


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
            print(f"test: {evaluate(model, recipe.test(dataset), seed=recipe.seed)}")
            _draw(model, dataset, recipe, history, run)

        group.once(report)
        return OK

    def _prepare(self) -> tuple[Recipe, Path, data.Dataset]:
        recipe = self.recipe
        if self.resume:
            old, epochs = read_recipe(self.resume), recipe.epochs
            recipe = replace(old, epochs=old.epochs if epochs == Recipe.epochs else max(old.epochs, epochs))
        run = self.resume or free_folder(self.out or Path("runs") / Path(recipe.data).stem)
        dataset = data.load(recipe.data, folder=self.folder)
        print(f"{dataset}\nrun folder: {run}, device: {device(self.device).name}, processes: {processes().size}")
        return recipe, run, dataset


@dataclass
class Evaluate:
    """The bound of a run on its test images: ELBO and its terms, importance-weighted NLL, active units.

    Example: minivae evaluate runs/digits --samples 500
    """

    run: Run
    """run folder"""
    samples: int = 0
    """K of the importance-weighted bound (papers: 5000); 0 leaves it out"""
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
        if self.images is not None and self.images < 1:
            raise ValueError(f"images: got {self.images}, expected at least 1")
        x = plots.spread(recipe.test(dataset), self.images)
        print(evaluate(model, x, seed=self.seed))
        print(diagnose(model, x, seed=self.seed, progress=True) if self.latents else
              f"active units: {active_units(model, x).sum()} of {model.latents}")
        if self.samples:
            bound = importance_weighted_bound(model, x, samples=self.samples, seed=self.seed, progress=True)
            print(f"NLL {-bound.mean:.2f} ± {bound.standard_error:.2f} nats: "
                  f"importance-weighted bound, {self.samples:,} samples, {len(x):,} images")
        if self.ais:
            print(f"annealed importance sampling, {self.ais:,} temperatures, {self.chains} chains: ", end="")
            print(annealed_importance_sampling(model, x, chains=self.chains, temperatures=self.ais, seed=self.seed,
                                               progress=True))
        return OK


@dataclass
class Sample:
    """Draw images from a trained model into an .npz of shape (N, height, width) and a picture beside it.

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
        if self.n < 1:
            raise ValueError(f"n: got {self.n}, expected at least 1")
        for path in (self.out, self.out.with_suffix(".png")):
            if path.exists():
                raise FileExistsError(f"out: {path} exists already; choose another name")
        model, dataset, _ = load_run(self.run, device(self.device), folder=self.folder)
        images = to_numpy(model.sample(self.n, model.arena.device.rng(self.seed)))
        write_atomically(self.out, _npz(images=images.reshape(-1, *dataset.image_shape)))
        picture = plots.save(plots.image_grid(images, dataset.image_shape), self.out.with_suffix(".png"))
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
        _draw(model, dataset, recipe, read_history(self.run), self.out or self.run)
        return OK


@dataclass
class Gradcheck:
    """Compare pullbacks with finite differences: the library's own, or yours.

    Every op, layer and model of the library, or those whose name contains a word: minivae gradcheck [gaussian_kl]

    Your function, on random inputs of these shapes: minivae gradcheck my_ops.py:my_op --shapes 3,4 4,5 --plot out.png

    Your function takes arrays and returns (value, pullback).  Exit code 1 if a gradient is wrong, or cannot be told.
    """

    target: Annotated[str, tyro.conf.Positional] = ""
    """part of a name, or file.py:function, or package.module:function"""
    shapes: tuple[str, ...] = ()
    """one per input: 3,4 is a matrix; the word scalar is a number"""
    tolerance: float = 1e-6
    """largest relative error allowed, beside what rounding makes of a right gradient"""
    plot: Path | None = None
    """picture of the error by entry, and against the step"""
    seed: int = 0

    def __call__(self) -> int:
        if ":" in self.target:
            rng = np.random.default_rng(self.seed)
            inputs = [np.array(rng.standard_normal(shape(s))) for s in self.shapes]
            print(report := gradcheck(look_up(self.target), *inputs, tolerance=self.tolerance, name=self.target,
                                      plot=self.plot))
            return OK if report.passed else WRONG
        chosen = [case for case in cases(self.seed) if self.target in case.name]
        if not chosen or (self.plot and len(chosen) > 1):
            raise ValueError(f"plot: {self.target!r} names {len(chosen)} checks, one picture shows one" if chosen else
                             f"target: no op is called {self.target!r}; yours would be file.py:function")
        failed = 0
        for case in chosen:
            try:
                report = check(case, tolerance=self.tolerance, plot=self.plot)
            except GradientError as error:
                report = error.report
            failed += not report.passed
            print(report if len(chosen) == 1 or not report.passed else f"ok    {report.worst:8.1e}  {case.name}")
        print(f"{len(chosen) - failed} of {len(chosen)} passed")
        return WRONG if failed else OK


@dataclass
class Data:
    """List the data sets, or fetch one into the cache.

    The list: minivae data; fetch one: minivae data mnist
    """

    name: Annotated[str, tyro.conf.Positional] = ""
    """data set to fetch and describe; all are listed without it"""
    folder: Path | None = None

    def __call__(self) -> int:
        if self.name:
            print(data.load(self.name, folder=self.folder))
        else:
            for row in data.available(folder=self.folder):
                height, width = row.image_shape
                print(f"{row.name:16} {row.train:6,} + {row.test:6,} images {height}×{width}  {row.where}")
        return OK


@dataclass
class Course:
    """Assignments: build, check, grade, verify.  More: minivae course --help"""

    def __call__(self) -> int:
        return course.main(["--help"])


def _draw(model: VAE, dataset: data.Dataset, recipe: Recipe, history: list[Record], folder: Path) -> None:
    """Every picture of a run, into a folder."""
    for name, fig in plots.portrait(model, recipe.test(dataset), dataset.test_labels, dataset.image_shape,
                                    seed=recipe.seed):
        print(f"picture: {plots.save(fig, folder / f'{name}.png')}")
    if history:                                           # a run stopped in its first epoch has none
        print(f"picture: {plots.save(plots.learning_curves(history), folder / 'curves.png')}")


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)                                        # type: ignore[arg-type]
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.  0: done; 1: a check failed or training went wrong; 2: bad input; 130: Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["course"]:                       # which students have without the rest
        return course.main(arguments[1:])
    commands: dict[str, Callable[..., Any]] = {"train": Train, "evaluate": Evaluate, "sample": Sample, "plot": Plot,
                "explore": Explore, "gradcheck": Gradcheck, "data": Data, "bench": Bench, "course": Course}
    group = ALONE
    try:
        group = processes()
        command = group.once(lambda: tyro.extras.subcommand_cli_from_dict(
            commands, prog="minivae", args=argv,
            description="Variational autoencoders from scratch: every gradient derived by hand."))
        if group.size > 1 and not isinstance(command, Train):
            raise ValueError(f"{group.size} processes were started, but only `train` can share its work")
        return command()
    except KeyboardInterrupt as stop:                     # Interrupted says where the run was saved
        return group.leave(f"\n{stop}" if str(stop) else "", INTERRUPTED)
    except GradientError as error:
        print(error)
        return WRONG
    except (NotFiniteError, BenchError) as error:
        return group.leave(f"minivae: {error}", WRONG)
    except (ValueError, TypeError, DeviceError, CheckpointError, ProcessesError, data.DataError, OSError) as error:
        return group.leave(f"minivae: {error}", USAGE)
