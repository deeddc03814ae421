"""What the contest found, as a page: the machine, the tables, where the time goes, the scaling curves."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minivae import plots
from minivae.bench.against import compared
from minivae.bench.figures import PEER, Result, cell, ms, ratio, summary
from minivae.plots.style import Figure
from minivae.runs import write_atomically


def markdown(found: Mapping[str, Any]) -> str:
    """The whole report, as a page."""
    rows: Mapping[str, Result] = found["rows"]
    parts = (_ratios, _table, _curves, _overhead, _proof, _breakdown)
    lines = [*_machine(found), *(line for part in parts for line in part(rows)), *compared(found)]
    return "\n".join(lines) + "\n"


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    here, about = found["machine"], [a for row in found["rows"].values() for a in row["about"].values()]
    versions: dict[str, str] = {}
    pools: dict[str, None] = {}
    for one in about:
        versions |= one["versions"]
        pools |= {f"{p['internal_api']} {p['version'] or ''} {p['architecture'] or ''}".strip(): None
                  for p in one["pools"]}
    instructions, caches = (here[name] or "not told" for name in ("instructions", "caches"))
    yield from (f"{here['cpu']}, {found['cores']} cores usable; vector instructions: {instructions}; "
                f"caches of a core: {caches}; {here['system']}.",
                "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items())
                + f". Thread pools: {', '.join(pools)}.", *found["notes"], "")


def _ratios(rows: Mapping[str, Result]) -> Iterator[str]:
    """One line per contender, one column per row of the table proper."""
    table = {name: row for name, row in rows.items() if ratio(row, PEER) and not name.startswith("f ")}
    if not table:
        return
    for of, what in (("seconds", "Time"), ("processor", "Processor time, of all threads,")):
        if not any(ratio(row, PEER, of) for row in table.values()):
            continue
        yield f"{what} as a multiple of PyTorch eager's (Adam as it comes), medians of the same run:"
        yield ""
        yield "| | " + " | ".join(f"({name}) {row['title']}" for name, row in table.items()) + " |"
        yield "|---|" + len(table) * "--:|"
        for contender in dict.fromkeys(name for row in table.values() for name in row["seconds"]):
            shares = [ratio(row, contender, of) for row in table.values()]
            yield f"| {contender} | " + " | ".join("" if share is None else f"{share:.2f}" for share in shares) + " |"
        yield ""


def _table(rows: Mapping[str, Result]) -> Iterator[str]:
    table = {name: row for name, row in rows.items() if not name.startswith("f ")}
    if not table:
        return
    yield ("| row | contender | threads | bursts × steps | ms a step: median | quartiles | of processors | "
           "memory above the start |")
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for name, row in table.items():
        for contender, seconds in row["seconds"].items():
            if seconds:
                low, median, high = (ms(s) for s in summary(seconds))
                peak = row["memory"].get(contender)
                memory = f"{peak / 1e6:.1f} MB" if row["kind"] == "nll" and peak is not None else ""
                how = row["about"].get(contender, {}).get("products")
                worked = row.get("processor", {}).get(contender)
                processor = ms(statistics.median(worked)) if worked else ""
                yield (f"| {name} | {contender}{f' ({how})' if how else ''} | {row['threads']} | "
                       f"{len(seconds)} × {row['steps']} | {median} | {low} to {high} | {processor} | {memory} |")
    yield ""
    yield from _disturbed(table)


def _disturbed(rows: Mapping[str, Result]) -> Iterator[str]:
    """Which of these times were taken while others worked on the same cores, though measured again."""
    found = [f"{number} of {len(row['seconds'][contender])} bursts of {contender} in row {name}"
             for name, row in rows.items() for contender, number in row.get("beside", {}).items() if number]
    if found:
        yield f"Taken beside other work, also when measured again: {'; '.join(found)}."
        yield ""


def _curves(rows: Mapping[str, Result]) -> Iterator[str]:
    """The scaling curves as a table: one line per point."""
    points = {name: row for name, row in rows.items() if name.startswith("f ")}
    if not points:
        return
    every = list(dict.fromkeys(name for row in points.values() for name in row["seconds"]))
    yield "ms a step, median (ratio to PyTorch eager's):"
    yield ""
    yield "| " + " | ".join(["step", *every]) + " |"
    yield "|---|" + len(every) * "--:|"
    for row in points.values():
        yield "| " + " | ".join([row["title"], *(cell(row, contender) for contender in every)]) + " |"
    yield ""


def _overhead(rows: Mapping[str, Result]) -> Iterator[str]:
    for row in rows.values():
        ours, inline = row["seconds"].get("minivae"), row["seconds"].get("inline")
        if ours and inline:
            low, more, high = summary([100 * (a / b - 1) for a, b in zip(ours, inline)])
            yield (f"Value and pullback cost {more:+.1f}% over the same NumPy written inline, on one thread "
                   f"(median of {len(ours)} bursts, each against its neighbour's; quartiles {low:+.1f}% to "
                   f"{high:+.1f}%).")
            yield ""


def _proof(rows: Mapping[str, Result]) -> Iterator[str]:
    what = {"decode": "probabilities", "nll": "log weights"}      # of every other kind, a step's gradients
    said: dict[str, float] = {}
    for row in rows.values():
        if any(name.startswith("torch") for name in row["proof"]):
            worst = max(row["proof"].values())
            kind = what.get(row["kind"], "gradients")
            said[kind] = max(worst, said.get(kind, 0.0))
    for kind, worst in said.items():
        yield (f"Before timing, all {kind} were compared with PyTorch's, from the same weights, images and noise in "
               f"float32: the largest relative difference of an array was {worst:.1e}.")
    if said:
        yield ""


PIECES = ("matrix products", "elementwise", "random numbers", "optimizer", "rest", "whole", "python")


def _breakdown(rows: Mapping[str, Result]) -> Iterator[str]:
    found = {name: row["breakdown"] for name, row in rows.items() if "breakdown" in row}
    if not found:
        return
    yield ("Our own step, piece by piece, on one thread: ms (share). `rest` is what the first four leave of the whole; "
           "`python` is the same step with every size at one, measured by itself.")
    yield ""
    yield "| row | " + " | ".join(PIECES) + " |"
    yield "|---|" + len(PIECES) * "--:|"
    for name, pieces in found.items():
        yield f"| {name} | " + " | ".join(f"{pieces[p]:.3g} ({pieces[p] / pieces['whole']:.0%})" for p in PIECES) + " |"
    yield ""


def scaling(rows: Mapping[str, Result]) -> Figure:
    """Time over PyTorch eager's (over ours without it), against batch size and against width."""
    fig, axes = plots.figure(1, 2, width=9.0, height=3.6, sharey=True)
    for ax, kind, label in zip(axes, ("batch", "hidden"), ("batch size (hidden 400)", "hidden units (batch 128)")):
        points = {int(name.split()[2]): row for name, row in rows.items() if name.startswith(f"f {kind} ")}
        every = dict.fromkeys(name for row in points.values() for name in row["seconds"])
        base = PEER if PEER in every else "minivae"
        for colour, contender in zip(plots.COLOURS, every):
            drawn = {x: [statistics.median(row["seconds"][name]) for name in (contender, base)]
                     for x, row in sorted(points.items()) if row["seconds"].get(contender) and row["seconds"].get(base)}
            ax.plot(list(drawn), [a / b for a, b in drawn.values()], marker="o", ms=4, color=colour, label=contender,
                    ls="--" if contender == "products" else "-")
        ax.set_xscale("log", base=2)
        ax.set(xlabel=label, ylim=(0, None))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes[0].set_ylabel("time of a step / PyTorch eager's" if base == PEER else "time of a step / minivae's")
    axes[0].legend(frameon=False)
    return fig


def write(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """bench.json, bench.md and (if there are curves) bench.png, each whole or not at all."""
    files = [folder / "bench.json", folder / "bench.md"]
    write_atomically(files[0], (json.dumps(found, indent=1) + "\n").encode())
    write_atomically(files[1], markdown(found).encode())
    if any(name.startswith("f ") for name in found["rows"]):
        files.append(plots.save(scaling(found["rows"]), folder / "bench.png"))
    return files
