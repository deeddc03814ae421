"""The command line: which subcommand, and what becomes of what it raises."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from minivae import data
from minivae.backend import DeviceError
from minivae.bench.contest import BenchError
from minivae.bench.run import Bench
from minivae.cli.check import Gradcheck
from minivae.cli.compare import Compare
from minivae.cli.look import Evaluate, Plot, Sample
from minivae.cli.models import Models
from minivae.cli.separate import Separate
from minivae.cli.shared import INTERRUPTED, OK, USAGE, WRONG
from minivae.cli.train import Train, parse_resume
from minivae.console import readable
from minivae.coursework import cli as course
from minivae.explorer.cli import Explore
from minivae.gradcheck import GradientError
from minivae.parallel import ALONE, ProcessesError, processes
from minivae.runs import CheckpointError, NotFiniteError


@dataclass
class Data:
    """List the data sets, or fetch one into the cache.

    The list: minivae data

    Fetch one: minivae data mnist

    See what is made of your own pictures: minivae data photos/ --size 32
    """

    name: Annotated[str, tyro.conf.Positional] = ""
    """data set to fetch and describe, or your own file or folder; all are listed without it"""
    size: int | None = None
    """of a folder of pictures: the square that each is cut and resampled to"""
    folder: Path | None = None

    def __call__(self) -> int:
        if self.name:
            other = data.no_rows(self.name)
            print(other(folder=self.folder) if other else data.load_sentences(self.name, folder=self.folder) or
                  data.load(self.name, folder=self.folder, size=self.size))
        else:
            for row in data.available(folder=self.folder):
                what = f"images {'×'.join(map(str, row.image_shape))}" if row.image_shape else row.kind
                print(f"{row.name:16} {row.train:6,} + {row.test:6,} {what:12}  {row.where}")
        return OK


@dataclass
class Course:
    """Assignments: build, check, grade, verify.  More: minivae course --help"""

    def __call__(self) -> int:
        return course.main(["--help"])


COMMANDS: dict[str, Callable[..., Any]] = {
    "train": Train, "evaluate": Evaluate, "compare": Compare, "sample": Sample, "plot": Plot, "separate": Separate,
    "explore": Explore, "models": Models, "gradcheck": Gradcheck, "data": Data, "bench": Bench, "course": Course}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.  0: done; 1: a check failed or training went wrong; 2: bad input; 130: Ctrl-C."""
    readable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["course"]:                       # which students have without the rest
        return course.main(arguments[1:])
    group = ALONE
    try:
        group = processes()
        command = group.once(lambda: _parse(arguments))
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


def _parse(arguments: list[str]) -> Any:
    """The subcommand, its options set."""
    resumed = parse_resume(arguments[1:]) if arguments[:1] == ["train"] else None
    return resumed or tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="minivae", args=arguments,
        description="Variational autoencoders from scratch: every gradient derived by hand.")
