"""The whole benchmark: row after row, with a report that is complete after each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minivae.backend import at_least_one
from minivae.bench import report
from minivae.bench.against import compared, earlier
from minivae.bench.beside import beside, table
from minivae.bench.contest import NEEDS, BenchError, Times, compete, cores, installed
from minivae.bench.figures import line
from minivae.bench.machine import machine, slowing
from minivae.bench.rows import Row, chosen
from minivae.runs import write_atomically

UNPROVED = "Without PyTorch there are no ratios, and nobody proves the gradients equal to an autodiff's."
INSTALL = 'python -m pip install -e ".[peers,fast]"'


@dataclass
class Bench:
    """Time minivae against PyTorch and JAX on this machine: same work, same data, in turns, proved equal first.

    Needs the peers: python -m pip install -e ".[peers,fast]"; those not installed are left out.

    Two rows of the table: minivae bench --rows a b

    Two and three trainings at once: minivae bench --rows a --beside 2 (or 3)

    Rows: a, b, c are training steps, d decodes, e and g estimate likelihoods, f scales batch and width, h, i and j are
    steps of systems of several networks, k is a step of an LSTM, overhead weighs value and pullback.
    """

    rows: tuple[str, ...] = ()
    """some of a b c d e f g h i j k overhead; default: all"""
    contenders: tuple[str, ...] = ()
    """some of minivae minivae_fast torch torch_fused torch_compile torch_channels_last jax products inline;
    default: all"""
    bursts: int | None = None
    """turns of each contender; default: 15, of rows with long bursts 9 (e, f) or 3 (g), 2 if quick"""
    threads: int | None = None
    """of each contender; default: all cores that may be used"""
    beside: int = 1
    """instead of taking turns, so many copies of each contender at once: how much longer does a step take?"""
    out: Path = Path("bench")
    """folder for bench.json, bench.md and bench.png; beside.md of copies at once"""
    against: Path | None = None
    """an earlier bench.json: what has become of its figures?"""
    quick: bool = False
    """tiny counts: does everything run?  The times mean nothing"""

    def __call__(self) -> int:
        if self.beside != 1:
            if self.against:
                raise ValueError("against: compares contenders that take turns, expected none with --beside")
            print("written:", run_beside(self.rows, self.contenders, copies=self.beside, bursts=self.bursts,
                                         threads=self.threads, out=self.out, quick=self.quick))
            return 0
        print("written:", *run(self.rows, self.contenders, bursts=self.bursts, threads=self.threads, out=self.out,
                               against=self.against, quick=self.quick))
        return 0


def run(rows: Sequence[str] = (), contenders: Sequence[str] = (), *, bursts: int | None = None,
        threads: int | None = None, out: Path = Path("bench"), against: Path | None = None,
        quick: bool = False) -> list[Path]:
    """Time these rows (default: all) for these contenders (default: all of each row); return the files written.

    bursts    turns of each contender; None: as many as each row says
    against   an earlier bench.json, to be compared with

    What was measured before a Ctrl-C or a BenchError is written too.
    Raises ValueError for unknown names, numbers below 1 and an `against` that is no such file, BenchError if no
    contender can run, or one dies or computes something else.
    """
    wanted, threads = _asked(chosen(tuple(rows)), contenders, bursts, threads, quick)
    absent = _installed(NEEDS, contenders)[1]
    notes = _notes(absent, quick) + [UNPROVED] * ("torch" in absent)
    files: list[Path] = []
    found: dict[str, Any] = {"when": datetime.now(UTC).isoformat(timespec="minutes"), "machine": machine(),
                             "cores": cores(), "notes": notes, "rows": {}}
    if against:
        found["against"] = earlier(against)
    for note in notes:
        print(note)
    for row, names in wanted:
        def keep(result: Times, name: str = row.name) -> None:
            found["rows"][name] = result
            files[:] = report.write(found, out)

        compete(row, names, bursts=bursts or row.bursts, threads=threads,
                breakdown=row.name in ("a", "b", "c"), keep=keep)
        print(line(row.name, found["rows"][row.name]))
    if against:
        print("", *compared(found), sep="\n")
    return files


def run_beside(rows: Sequence[str], contenders: Sequence[str], *, copies: int, bursts: int | None = None,
               threads: int | None = None, out: Path, quick: bool = False) -> Path:
    """Time copies of each contender at once, row by row; return the file written.  Raises as `run` does."""
    if copies < 2:
        raise ValueError(f"beside: got {copies}, expected at least 2 copies at once")
    wanted, threads = _asked(chosen(tuple(rows) or ("a",)), contenders, bursts, threads, quick)
    lines = [machine()["cpu"] + f", {cores()} cores usable", *_notes(_installed(NEEDS, contenders)[1], quick), ""]
    for row, names in wanted:
        found = beside(row, names, copies=copies, bursts=bursts or row.bursts, threads=threads)
        lines += table(row, found, copies)
    print("\n".join(lines))
    write_atomically(out / "beside.md", "\n".join(lines).encode())
    return out / "beside.md"


def _asked(rows: Sequence[Row], contenders: Sequence[str], bursts: int | None, threads: int | None,
           quick: bool) -> tuple[list[tuple[Row, list[str]]], int]:
    """The rows, each with those of these contenders that can run here; and their threads.  Raises as `run` does."""
    threads = cores() if threads is None else threads
    at_least_one(bursts=1 if bursts is None else bursts, threads=threads)
    if threads > cores():
        raise ValueError(f"threads: got {threads}, expected at most {cores()}, the cores that may be used")
    if unknown := set(contenders) - NEEDS.keys():
        raise ValueError(f"contenders: got {', '.join(sorted(unknown))}, expected some of {', '.join(NEEDS)}")
    every = [(row.quick() if quick else row, _installed(row.contenders, contenders)[0]) for row in rows]
    if not any(names for _, names in every):
        raise BenchError(f"none of these contenders is in these rows, and installed: {INSTALL}")
    return [(row, names) for row, names in every if names], threads


def _installed(names: Iterable[str], asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of these contenders that were asked for (nobody: all) can run here, and which cannot."""
    return installed(tuple(name for name in names if not asked or name in asked))


def _notes(absent: Sequence[str], quick: bool) -> list[str]:
    """What the reader must know before the figures."""
    notes = ["A quick run: tiny counts, sizes cut down, and times that mean nothing."] if quick else []
    notes += _slowed()
    if absent:
        notes.append(f"Left out, because not installed: {', '.join(absent)}.  To have them: {INSTALL}")
    return notes


def _slowed() -> list[str]:
    """A table taken with such variables set is not this machine's, and says so."""
    return [f"NOT WHAT THIS MACHINE CAN DO: {name}={value} is set, which may slow a contender; `unset {name}` first."
            for name, value in slowing().items()]

