"""Beside other work: a contender's burst alone, and the same burst with copies of it running at the same time.

Nobody trains on an idle machine: a browser is open, a class shares the server, two experiments run.  With N copies on
the cores that one uses alone, N times as long is fair.
"""

from __future__ import annotations

import statistics
import time

from tqdm import tqdm

from minivae.bench.contest import PAUSE, Contender
from minivae.bench.rows import Row

Besides = dict[str, dict[str, list[float]]]            # contender -> "alone" and "together": seconds a step


def beside(row: Row, names: list[str], *, copies: int, bursts: int, threads: int) -> Besides:
    """Seconds per step of every contender, alone and with copies - 1 others like it, in turns."""
    found: Besides = {}
    for name in names:
        running: list[Contender] = []
        try:
            for _ in range(copies):
                running.append(Contender(name, row, threads))
                running[-1].about = running[-1].answer()
            found[name] = _turns(row, running, bursts, name)
        finally:
            for contender in running:
                contender.end()
    return found


def _turns(row: Row, running: list[Contender], bursts: int, name: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"alone": [], "together": []}
    for contender in running:
        contender.ask(f"go {row.warmup}")
    for _ in tqdm(range(bursts), desc=f"{name}, {len(running)} at once", unit="burst", leave=False):
        for kind, some in (("alone", running[:1]), ("together", running)):
            time.sleep(PAUSE)
            for contender in some:
                contender.send(f"go {row.steps}")
            times[kind] += [contender.answer()["seconds"] / row.steps for contender in some]
    return times


def table(row: Row, found: Besides, copies: int) -> list[str]:
    """The medians, as lines of Markdown."""
    lines = [f"Row {row.name}, {row.title}: {copies} copies at once ({copies:.2f} would be fair)", "",
             f"| | alone | {copies} at once | times as long |", "|---|--:|--:|--:|"]
    for name, times in found.items():
        alone, together = (statistics.median(times[kind]) for kind in ("alone", "together"))
        lines.append(f"| {name} | {1e3 * alone:.1f} ms | {1e3 * together:.1f} ms | {together / alone:.2f} |")
    return [*lines, ""]
