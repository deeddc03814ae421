"""minivae compare: several runs side by side, in one table and one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from minivae import plots
from minivae.backend import at_least_one, device
from minivae.cli.judged import Judged, judge, option, unpaired
from minivae.cli.shared import OK, DeviceName
from minivae.evaluation import Estimate, sample_quality
from minivae.runs import free_folder, write_atomically
from minivae.training import Recipe, read_recipe

Row = tuple[str, list[str]]            # what, and a cell for each run
FEW = 6                                # runs that have two lines of images each in the picture, and not one
WIDE = 120                             # letters in a line of a console


@dataclass
class Compare:
    """Several runs side by side: bounds, active units, samples, size and time; and image by image against the first.

    Differences are paired: each test image's ELBO (and importance-weighted bound) under a run minus that under the
    first, averaged, ± its standard error.  They tell apart what two errors beside each other would not.

    Example: minivae compare runs/digits runs/digits-2 --samples 500
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional,
                    tyro.conf.arg(metavar="RUN RUN [RUN ...]", help_behavior_hint="")] = ()
    """run folders, two or more; the first is the one that others are compared with"""
    samples: int = 0
    """K of the importance-weighted bound (papers: 5000); 0 leaves it out"""
    images: int | None = None
    """so many of the test images, evenly spread; default: all (samples are always compared with all)"""
    best: bool = False
    """the epochs with the best validation bound instead of the last"""
    out: Path | None = None
    """folder for comparison.png and comparison.md, the table; default: the first free out/compare, out/compare-2, …"""
    seed: int = 0
    """of the noise: the same for all runs"""
    device: DeviceName = "auto"
    """auto: the GPU if one answers"""
    folder: Path | None = None
    """where the data files lie, if not in MINIVAE_DATA or the cache"""

    def __call__(self) -> int:
        names, where, lines = self._names(), device(self.device), 2 if len(self.runs) <= FEW else 1
        judged = [judge(run, where, name=name, samples=self.samples, images=self.images, best=self.best,
                        seed=self.seed, folder=self.folder, lines=lines)
                  for run, name in zip(tqdm(self.runs, desc="runs", unit="run"), names)]
        rows = table(judged, samples=self.samples, best=self.best)
        notes = remarks(judged, samples=self.samples, folder=self.folder)
        print("\n".join([*as_text(names, rows), "", *(line for note in notes for line in lines_of(note))]))
        out = free_folder(self.out or Path("out/compare"))
        page = [*as_markdown(names, rows), "", *(f"- {note}" for note in notes), ""]
        write_atomically(out / "comparison.md", "\n".join(page).encode())
        picture = plots.save(plots.side_by_side([run.picture for run in judged]), out / "comparison.png")
        print(f"picture: {picture}, table: {out / 'comparison.md'}")
        return OK

    def _names(self) -> list[str]:
        """A name for each run, once it is known that all are runs.  Raises ValueError or CheckpointError."""
        if len(self.runs) < 2:
            raise ValueError(f"runs: got {len(self.runs)}, expected at least 2 run folders (of one, `minivae evaluate "
                             "RUN` tells)")
        again = [str(run) for run, times in Counter(run.resolve() for run in self.runs).items() if times > 1]
        if again:
            raise ValueError(f"runs: {again[0]} is named twice, expected different run folders")
        at_least_one(**{} if self.images is None else {"images": self.images})
        if self.samples < 0:
            raise ValueError(f"samples: got {self.samples}, expected at least 0")
        for run in self.runs:
            read_recipe(run)
        alone = Counter(run.resolve().name for run in self.runs)
        return [run.resolve().name if alone[run.resolve().name] == 1 else str(run) for run in self.runs]


def table(runs: Sequence[Judged], *, samples: int, best: bool = False) -> list[Row]:
    """The rows, a cell for each run: what it was made with, what it says, how it differs from the first."""
    first = runs[0]

    def row(what: str, cell: Callable[[Judged], Any]) -> Row:
        return what, [str(cell(run)) for run in runs]

    def against(values: Callable[[Judged], Any]) -> Row:
        cells = ["" if run is first else "not paired" if unpaired(first, run) else
                 _signed(Estimate.of(values(run) - values(first))) for run in runs]
        return f"… less that of {first.name}", cells

    rows = [row("data", lambda run: run.recipe.data),
            row("test images", lambda run: f"{len(run.test):,}"), *differing(runs),
            row("parameters", lambda run: f"{run.parameters:,}"),
            row("epochs", lambda run: _epochs(run, best)),
            row("training, seconds", lambda run: f"{sum(record['seconds'] for record in run.history):,.1f}"),
            row("−log p(x|z)", lambda run: Estimate.of(run.nll)), row("KL", lambda run: Estimate.of(run.kl)),
            row("ELBO", lambda run: Estimate.of(run.elbo)), against(lambda run: run.elbo)]
    if samples:
        rows += [row(f"NLL, {samples:,} samples", lambda run: Estimate.of(run.weighted_nll)),
                 against(lambda run: run.weighted_nll)]
    rows.append(row("active units", lambda run: run.active))
    if any(run.quality for run in runs):
        rows += [(what, [_quality(run, name) for run in runs]) for what, name in (
            ("Fréchet distance", "frechet"), ("precision", "precision"), ("recall", "recall"))]
    return rows


def differing(runs: Sequence[Judged]) -> list[Row]:
    """The options of `minivae train` in which the runs differ, one row each."""
    rows = []
    for field in fields(Recipe):
        cells = [option(run.recipe, field.name) for run in runs]
        if len(set(cells)) > 1 and field.name not in ("data", "epochs") and not _only_a_vae_s(field.name, cells, runs):
            rows.append((field.name.replace("_", "-"), cells))
    return rows


def _only_a_vae_s(name: str, cells: Sequence[str], runs: Sequence[Judged]) -> bool:
    """Whether this is what every plain VAE has, and the other models have not to choose."""
    vaes = [cell for cell, run in zip(cells, runs) if run.recipe.model == "vae"]
    return bool(vaes) and set(vaes) | set(cells) - {""} == {option(Recipe(), name)}


def remarks(runs: Sequence[Judged], *, samples: int, folder: Path | None = None) -> list[str]:
    """What must be known to read the table: units, what could not be paired and why, the scale of the distance."""
    first, notes = runs[0], ["Nats per image, ± standard error over test images; of differences, over pairs. Higher "
                             "ELBOs are better" + (", lower NLLs (the importance-weighted bound with its sign changed)."
                                                   if samples else ".")]
    notes += [f"{run.name} cannot be paired with {first.name}, nor its nats compared: {why}."
              for run in runs[1:] if (why := unpaired(first, run))]
    for name, recipe in {run.recipe.data: run.recipe for run in runs if run.quality}.items():
        dataset = recipe.load(folder)
        n = len(dataset.test)
        notes.append(f"Fréchet distance, precision and recall are of {n:,} samples and the {n:,} test images of "
                     f"{name}, on features of minivae's own classifier of digits: this is not FID.")
        if len(dataset.train) >= n:
            real = sample_quality(plots.spread(dataset.train, n), dataset.test)
            notes.append(f"As many training images in place of samples: {real.frechet:.2f}, {real.precision:.2f}, "
                         f"{real.recall:.2f}.")
    return notes


def as_text(names: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """The table for a console: columns under their names, cells to the right; of many runs, some below the others."""
    lines = [("", list(names)), *rows]
    label = max(len(what) for what, _ in lines)
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in lines))]
    text: list[str] = []
    for some in _blocks([width + 2 for width in widths], WIDE - label):
        text += [""] if text else []
        text += [(what.ljust(label) + "".join(f"  {cells[i]:>{widths[i]}}" for i in some)).rstrip()
                 for what, cells in lines if some[0] == 0 or any(cells[i] for i in some)]
    return text


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Which columns stand beside each other: as many as there is room for, and four in any case."""
    blocks: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if len(blocks[-1]) >= 4 and sum(widths[j] for j in blocks[-1]) + width > room:
            blocks.append([])
        blocks[-1].append(i)
    return blocks


def lines_of(note: str) -> list[str]:
    """A remark for a console, its paths whole."""
    return wrap(note, 100, break_long_words=False, break_on_hyphens=False)


def as_markdown(names: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """The table as markdown."""
    lines = [[what, *cells] for what, cells in [("", list(names)), *rows]]
    lines.insert(1, ["---", *["--:"] * len(names)])
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _signed(difference: Estimate) -> str:
    return f"{difference.mean:+.2f} ± {difference.standard_error:.2f}"


def _epochs(run: Judged, best: bool) -> str:
    told = [record for record in run.history if "valid_elbo" in record]
    if not best or not told:
        return str(len(run.history))
    return f"{max(told, key=lambda record: record['valid_elbo'])['epoch']} of {len(run.history)}"


def _quality(run: Judged, name: str) -> str:
    return f"{getattr(run.quality, name):.2f}" if run.quality else "none"
