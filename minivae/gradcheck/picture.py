"""The picture of a check: the error of every entry, and the error against the step.

The right half is why a check has to choose its steps: too large a step cuts off the bend of the function, too small a
one divides rounding by next to nothing, and the valley between lies elsewhere for every function.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minivae.gradcheck.differences import DOWN, FIRST, Line, best_of
from minivae.gradcheck.laws import Point
from minivae.gradcheck.moves import sizes_of
from minivae.gradcheck.report import ASCII, Report
from minivae.gradcheck.subject import Subject, host, index_of

LOWEST = 1e-17                 # an error of exactly 0 is drawn here


def with_curve(report: Report, subject: Subject, point: Point) -> Report:
    """The report, with the error of the central difference for every step, at the entry that it shows as worst."""
    target = max(range(len(report.rows)), key=lambda i: (report.rows[i].wrong > 0, report.rows[i].error))
    x, errors = subject.places[target], report.rows[target].errors
    assert errors is not None
    looked = np.nan_to_num(errors.ravel(), nan=-1.0)
    # where a few are wrong the worst is meant; else the largest derivative shows the valley best
    wrong = report.rows[target].wrong
    flat = int(np.argmax(looked if wrong else np.abs(host(point.gradients[target])).ravel()))
    index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
    line = Line(subject, point, target, index, float(sizes_of(x).ravel()[flat]))
    steps = 2.0 ** np.arange(-17 - 2 * DOWN, 6)
    samples = [line.sample(t) for t in steps]
    fair = [s for s, t in zip(samples, steps) if np.isfinite(s.slope) and round(np.log2(t / FIRST)) % 2 == 0]
    value = best_of(fair, line.rounding())[0] if len(fair) >= 3 else 0.0
    scale = max(abs(value), max((s.size for s in fair), default=0.0)) or 1.0
    away = np.array([abs(s.slope - value) / scale for s in samples])
    claim = float(host(point.gradients[target]).ravel()[flat])
    says = f"{subject.names[target]} {index_of(flat, x.shape)}: pullback {claim:.6g}, measured {value:.6g}"
    return replace(report, curve=(steps, np.maximum(away, LOWEST), says))


def draw(report: Report, path: str | Path) -> None:
    """Write the picture; the file's ending says of what kind."""
    from matplotlib.figure import Figure  # not needed by those who only check

    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _entries(left, report)
    _steps(right, report)
    says = [f"{row.name}: {row.said.translate(ASCII)}" for row in report.rows if row.said]
    figure.suptitle(f"gradient check of {report.name}: {report.verdict}" + (f"\n{says[0]:.150}" if says else ""),
                    color="tab:red" if report.failed else "black", fontsize=11)
    figure.savefig(path, dpi=120)


def _entries(axes: Any, report: Report) -> None:
    """Every entry that was looked at, input after input."""
    start = 0
    for i, row in enumerate(report.rows):
        errors = np.zeros(0) if row.errors is None else row.errors.ravel()
        looked = np.flatnonzero(np.isfinite(errors))
        axes.scatter(start + looked, np.maximum(errors[looked], LOWEST), s=9, color=f"C{i % 10}", label=row.name)
        infinite = np.flatnonzero(np.isinf(errors))
        axes.scatter(start + infinite, np.full(len(infinite), 1.0), s=25, marker="x", color=f"C{i % 10}")
        start += row.size
    axes.axhline(report.tolerance, color="grey", linestyle="--", linewidth=1)
    axes.annotate(f"tolerance {report.tolerance:g}", (0.01, report.tolerance), xycoords=("axes fraction", "data"),
                  va="bottom", fontsize=8, color="grey")
    axes.set(yscale="log", xlabel="entry", ylabel="|pullback - measured| / scale", title="error by entry")
    axes.legend(fontsize=8, loc="best")


def _steps(axes: Any, report: Report) -> None:
    """The valley between rounding and truncation."""
    if report.curve is None:
        return
    steps, away, says = report.curve
    shown = np.isfinite(away)
    axes.loglog(steps[shown], away[shown], marker=".", linewidth=1)
    axes.axvline(FIRST, color="grey", linestyle="--", linewidth=1)
    axes.annotate("first step tried", (FIRST, 0.98), xycoords=("data", "axes fraction"), rotation=90, fontsize=8,
                  color="grey", ha="right", va="top")
    axes.set(xlabel="step, relative to the size of the entry", ylabel="error of the central difference / scale",
             title=f"rounding on the left, truncation on the right\n{says}")
    axes.title.set_fontsize(9)
