"""What a class has learned: points by task, and which mistakes were made, how often, as a page and a picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np

from minivae import plots
from minivae.coursework.assignment import Assignment
from minivae.coursework.report import Report, line

SHOWN = 5                              # mistakes of a task in the page
DRAWN = 12                             # mistakes in the picture


def page(reports: Sequence[Report], assignment: Assignment) -> str:
    """The class in Markdown: a table of the tasks, and under each the mistakes, the most frequent first."""
    graded = [report for report in reports if not report.error]
    points = [report.points for report in graded] or [0.0]
    parts = [f"# {assignment.name}: {assignment.title}",
             f"{len(graded)} submissions; median {np.median(points):g}, mean {np.mean(points):.1f} of "
             f"{assignment.most:g} points; {len(reports) - len(graded)} could not be graded.",
             "![points by task, and the most frequent mistakes](summary.png)"]
    rows = ["| task | | all points | some | none | mean |", "|---|---|---|---|---|---|"]
    for task in assignment.asked:
        got, most = by_task(graded, task.id)
        rows.append(f"| {task.id} | {task.title} | {np.sum(got == most)} | {np.sum((got > 0) & (got < most))} | "
                    f"{np.sum(got == 0)} | {np.mean(got) if len(got) else 0:.1f} of {most:g} |")
    parts.append("\n".join(rows))
    found = mistakes(graded)
    for task in assignment.tasks:
        made = [(says, count) for (of, says), count in found if of == task.id]
        if made:
            more = f"\n- {len(made) - SHOWN} more, each rarer" if len(made) > SHOWN else ""
            parts.append(f"## {task.id} {task.title}\n\n"
                         + "\n".join(f"- {count} × {says}" for says, count in made[:SHOWN]) + more)
    return "\n\n".join(parts) + "\n"


def by_task(reports: Sequence[Report], task: str) -> tuple[np.ndarray, float]:
    """(points of each report that has some of this task, the most there are)"""
    of = [found for report in reports if (found := [result for result in report.all if result.task == task])]
    return (np.array([sum(r.points for r in results) for results in of]),
            max((sum(r.most for r in results) for results in of), default=0.0))


def mistakes(reports: Sequence[Report]) -> list[tuple[tuple[str, str], int]]:
    """((task, what was said), by how many students it was done), the most frequent first.

    Once for each student, however many tests met it.
    """
    found = Counter(made for report in reports for made in {(r.task, kind(r.says)) for r in report.results if r.says})
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))         # the same order in every process


def kind(says: str) -> str:
    """A message without what differs from student to student: places, values, the second line."""
    first = line(says.partition("\n")[0]).partition("; the worst is")[0]
    first = re.sub(r"^not implemented yet.*", "not written", first)
    first = re.sub(r"^nothing to test: .*", "nothing that can be read was handed in", first)
    first = re.sub(r"(, all in (row|column|axis)|: it is -?\d).*", "", first)
    first = re.sub(r"(\([\d, ]+\) ?)+", "(…)", first)     # shapes, however many
    return shorten(re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "…", first), 120, placeholder=" …")


def picture(reports: Sequence[Report], assignment: Assignment, path: Path) -> None:
    """Points by task beside the most frequent mistakes."""
    graded = [report for report in reports if not report.error]
    found = mistakes(graded)[:DRAWN][::-1]
    height = 1.2 + 0.34 * max(len(assignment.asked), len(found), 3)
    figure, (left, right) = plots.figure(1, 2, width=12.0, height=height)
    shares = np.array([[np.sum(got == most), np.sum((got > 0) & (got < most)), np.sum(got == 0)] for got, most in
                       (by_task(graded, task.id) for task in assignment.asked)], dtype=float).reshape(-1, 3)
    rows, start = np.arange(len(assignment.asked))[::-1], np.zeros(len(assignment.asked))
    for share, label, colour in zip(shares.T, ("all points", "some", "none"), ("#009E73", "#F0E442", "#D55E00")):
        left.barh(rows, share, left=start, color=colour, label=label)
        start = start + share
    left.set_yticks(rows, [shorten(f"{task.id} {task.title}", 40, placeholder=" …") for task in assignment.asked])
    left.set(xlabel="students", title=f"{assignment.name}: points by task")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncol=3, frameon=False)
    right.barh(range(len(found)), [count for _, count in found], color="#0072B2")
    right.set_yticks(range(len(found)), [shorten(f"{task}: {says}", 64, placeholder=" …").replace("$", r"\$")
                                           for (task, says), _ in found])
    right.set(xlabel="students", title="the most frequent mistakes")
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    plots.save(figure, path)
    path.chmod(0o600)
