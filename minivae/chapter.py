"""What the chapter scripts share: their options, their data, where their pictures go, and what a run found."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from minivae import plots
from minivae.backend import Array, Device, DeviceError, device
from minivae.console import readable
from minivae.data import (
    DataError,
    Dataset,
    Sentences,
    SpokenDigits,
    available,
    load,
    load_sentences,
    load_spoken_digits,
    made_voices,
)
from minivae.evaluation import Estimate
from minivae.parallel import quiet_blas
from minivae.runs import write_atomically
from minivae.sound import player, write_wave

ANYWHERE = {"--out": 1, "--show": 0, "--figures": 0}   # options that change no figure, and how many words follow each


@dataclass
class Options:
    """The command line of a chapter."""

    device: Device
    seed: int
    epochs: int
    data: str
    out: Path
    quick: bool
    show: bool
    figures: bool = False
    chapter: str = ""
    arguments: tuple[str, ...] = ()
    begun: float = field(default_factory=time.process_time)

    def images(self, *auto: str) -> Dataset:
        """The data set that was asked for; says what is wrong and exits with 2 if there is none.

        auto   what `--data auto` stands for: the first of these names that can be had
        """
        for name, instead in pairwise(auto if self.data == "auto" else ()):
            try:
                return load(name)
            except DataError:
                print(f"{name} is not here (`minivae data` says where it is looked for): {instead} instead")
                self.data = instead
        try:
            return load(self.data)
        except (ValueError, DataError) as error:
            print(f"--data: {error}", file=sys.stderr)
            raise SystemExit(2) from error

    def digits(self) -> Dataset:
        """The same, for a chapter that is about labelled images of 28×28."""
        dataset = self.images()
        if dataset.image_shape != (28, 28) or dataset.train_labels is None or dataset.test_labels is None:
            print(f"--data: this chapter needs labelled images of 28×28, such as digits, mnist or fashion_mnist; "
                  f"got {dataset}", file=sys.stderr)
            raise SystemExit(2)
        return dataset

    def sentences(self, auto: str) -> Sentences | None:
        """The sentences that were asked for; says what is wrong and exits with 2 if they are none.

        auto   what `--data auto` stands for; None if it cannot be had, or with --quick not without a download
        """
        name, where = auto if self.data == "auto" else self.data, {row.name: row.where for row in available()}
        if self.data == "auto" and self.quick and where[name].startswith("to download"):
            return None
        try:
            found = load_sentences(name)
            if found is None:
                load(name)                             # says it, if there is no such thing
                raise DataError(f"{name} has images; expected sst2, trec, or a .tsv of a label, a tab and a sentence")
            return found
        except (ValueError, DataError) as error:
            if self.data == "auto":
                return None
            print(f"--data: {error}", file=sys.stderr)
            raise SystemExit(2) from error

    def recordings(self) -> SpokenDigits:
        """Spoken digits; with --data auto made voices where they cannot be had, with --quick where they are not here.

        Says what is wrong and exits with 2 if something else was asked for, or digits by name that cannot be had.
        """
        if self.data not in ("auto", "spoken_digits", "made_voices"):
            print(f"--data: this chapter needs recordings, spoken_digits or made_voices; got {self.data!r}",
                  file=sys.stderr)
            raise SystemExit(2)
        where = next(row.where for row in available() if row.name == "spoken_digits")
        try:
            if self.data == "spoken_digits" or (self.data == "auto" and not (self.quick and "to download" in where)):
                return load_spoken_digits()
        except DataError as error:
            if self.data == "spoken_digits":
                print(f"--data: {error}", file=sys.stderr)
                raise SystemExit(2) from error
        if self.data == "auto":
            print("spoken_digits are not here (`minivae data` says where they are looked for): made voices instead, "
                  "which mean little")
        return made_voices(each=7 if self.quick else 15)

    def save(self, fig: Figure, name: str, *, alt: str) -> None:
        """Write out/NAME.png and say so; for slides too if asked; show it in a notebook, and in a window if asked.

        alt   what there is to see, in words, for those who cannot see it
        """
        if self.show:
            plt.show()
        if self.figures:
            plots.save_for_slides(fig, self.out / name, alt=alt)
            print(f"for slides: {self.out / name}.svg, {self.out / name}.pdf")
        path = plots.save(fig, self.out / f"{name}.png")
        if in_notebook():
            show_page(plots.svg(fig, alt=alt))
        else:
            print(f"picture: {path}")

    def save_sound(self, wave: Array, rate: int, name: str, *, alt: str) -> None:
        """Write out/NAME.wav and say so; in a notebook, and in the book, show what plays it.

        wave   in [-1, 1], (channels, samples) or (samples,), `rate` samples a second
        alt    what there is to hear, in words
        """
        path = write_wave(self.out / f"{name}.wav", wave, rate)
        if in_notebook():
            show_page(player(wave, rate, alt=alt))
        else:
            print(f"sound: {path}")

    def save_page(self, page: str, name: str, *, alt: str) -> None:
        """Write out/NAME.html, a page of its own, and say so; in a notebook, show it in a frame.

        alt   what the page is, in words
        """
        path = self.out / f"{name}.html"
        write_atomically(path, page.encode())
        if in_notebook():
            show_page(f'<iframe srcdoc="{escape(page)}" title="{escape(alt)}" style="width: 100%; height: 60rem; '
                      'border: 0"></iframe>')
        else:
            print(f"page: {path}")

    def record(self, system: str, found: Mapping[str, Sequence[float] | Estimate | float],
               accepted: Callable[[dict[str, Estimate]], dict[str, bool]], *, data: str, seeds: int = 1) -> None:
        """Write out/SYSTEM.ledger.json, what an acceptance run found, which `chapters/ledger.py --collect` takes in.

        Not in a notebook, which is no run of a command.

        found      by name: a value for each seed, an Estimate over images, or a number
        accepted   {what is asked of the system: whether it is so}, computed from {name: Estimate} of what was found
        data       what it learned from
        seeds      how many, from --seed on
        """
        if in_notebook():
            return
        figures = {name: _figure(value) for name, value in found.items()}
        asked = accepted({name: _estimate(value) for name, value in found.items()})
        entry = {"system": system, "chapter": self.chapter, "arguments": shlex.join(_that_matter(self.arguments)),
                 "data": data, "seeds": list(range(self.seed, self.seed + seeds)), "quick": self.quick,
                 "seconds": round(time.process_time() - self.begun, 1), "figures": figures,
                 "asked": {what: bool(so) for what, so in asked.items()}, "met": bool(all(asked.values()))}
        path = self.out / f"{system}.ledger.json"
        write_atomically(path, (json.dumps(entry, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())
        print(f"ledger: {path}")


def parser(chapter: str, doc: str, *, epochs: int = 1, data: str = "digits",
           cpu_because: str = "") -> argparse.ArgumentParser:
    """The options that every chapter has; a chapter may add its own.

    cpu_because   why it has nothing for a GPU to do, if it has not: its answer to --device cuda
    """
    readable()                                         # --help prints as soon as it is read
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(cpu_because=cpu_because, chapter=chapter)
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"), help="cpu: " + cpu_because
                        if cpu_because else "where networks train; auto: the GPU if one answers (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"passes over the data (default: {epochs})")
    parser.add_argument("--data", default=data, help="data set name, or a path to .npz/.npy or to a "
                        f"folder of pictures (default: {data})")
    parser.add_argument("--out", type=Path, default=Path("out") / chapter, help=f"folder (default: out/{chapter})")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that everything runs")
    parser.add_argument("--figures", action="store_true", help="for a lecture: every picture as .svg and .pdf too, "
                        "sharp at any size")
    parser.add_argument("--show", action="store_true", help="open the pictures in a window as well")
    return parser


def options(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> tuple[Options, argparse.Namespace]:
    """Parse argv (None: the command line; in a notebook, which has none, the variable MINIVAE_ARGS)."""
    if argv is None:
        argv = shlex.split(os.environ.get("MINIVAE_ARGS", "")) if in_notebook() else sys.argv[1:]
    args = parser.parse_args(argv)
    plots.use_style()
    quiet_blas()                                       # a chapter's own pieces, too, run beside other work
    if args.epochs < 1:
        parser.error(f"--epochs: got {args.epochs}, expected at least 1")
    if args.seed < 0:
        parser.error(f"--seed: got {args.seed}, expected at least 0")
    if args.cpu_because and args.device == "cuda":
        parser.error(f"--device cuda: this chapter stays on the CPU: {args.cpu_because}")
    try:
        where = device("cpu" if args.cpu_because else args.device)
    except DeviceError as error:
        parser.error(str(error))
    return Options(where, args.seed, 1 if args.quick else args.epochs, args.data, args.out, args.quick,
                   args.show, args.figures, args.chapter, tuple(argv)), args


def _estimate(value: Sequence[float] | Estimate | float) -> Estimate:
    """A mean and its standard error, over seeds if there is a value for each; of one number the error is not known."""
    return value if isinstance(value, Estimate) else Estimate.of(np.atleast_1d(np.asarray(value, dtype=np.float64)))


def _figure(value: Sequence[float] | Estimate | float) -> dict[str, Any]:
    """The same for a file: `values` are those of the seeds, and null is no standard error."""
    found = _estimate(value)
    error = None if math.isnan(found.standard_error) else found.standard_error
    values = None if isinstance(value, Estimate | float | int) else [float(v) for v in value]
    return {"mean": found.mean, "standard_error": error, "values": values}


def _that_matter(arguments: Sequence[str]) -> list[str]:
    """Without those of where to write and what to show."""
    kept, left = [], 0
    for word in arguments:
        name = word.partition("=")[0]
        if left == 0 and name not in ANYWHERE:
            kept.append(word)
        left = left - 1 if left else ANYWHERE.get(name, 0) * ("=" not in word)
    return kept


def in_notebook() -> bool:
    """Whether this is a cell of a notebook: IPython runs it, and a kernel is behind it."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


def show_page(html: str) -> None:
    """Show HTML below a notebook's cell."""
    from IPython.display import HTML, display  # comes with every notebook

    display(HTML(html))
