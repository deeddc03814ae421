"""The check itself: the laws, then every derivative, then a name for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.gradcheck.differences import Line
from minivae.gradcheck.judge import Finding, Habit, judge
from minivae.gradcheck.laws import Broken, FormError, Point, examine
from minivae.gradcheck.likely import named, of_the_form
from minivae.gradcheck.moves import Move, Plan, along, moves, plan
from minivae.gradcheck.picture import draw, with_curve
from minivae.gradcheck.report import GradientError, Report, Row
from minivae.gradcheck.subject import Function, Subject, host, index_of


def gradcheck(function: Function, *inputs: Any, parameters: Mapping[str, Any] | None = None,
              directions: int | None = None, tolerance: float = 1e-6, seed: int = 0, name: str | None = None,
              progress: bool | None = None, plot: str | Path | None = None, **constants: Any) -> Report:
    """Check `value, pullback = function(*inputs, **constants)`; raise GradientError if it is wrong.

    inputs       float64 arrays (or lists of them), of any size and scale
    parameters   name -> object with `.value` and `.grad` (a layer's `parameters()`): looked at as well;
                 the pullback is expected to add their cotangents to `.grad`
    directions   None: every entry, and where there are too many a sample and random directions.  0: every entry,
                 however many.  More: so many random directions per input, and nothing else
    tolerance    worst relative error allowed, beside what rounding makes of a right gradient at this point
    progress     a bar on stderr for what takes longer than a second; None: if somebody watches
    plot         draw the error by entry, and against the step, into this file
    Returns the report.  Its verdict is "passed", or "cannot tell" where rounding hides all derivatives of an input so
    far that a factor 2 would not be seen: that is not raised, and `report.passed` is False.
    Raises GradientError (with `.report`) for a wrong gradient and for an op that breaks a law; TypeError for an input
    that is not float64, ValueError for one that is not finite, for cotangents of the wrong shape, dtype or number, or
    if there is nothing to check.
    """
    called = str(name or getattr(function, "__name__", type(function).__name__))
    # a stream of its own: a caller's inputs, drawn from default_rng(0) as well, would equal the cotangents,
    # and for y = a b the gradient a.T v = a.T a would be symmetric: a wrong transpose would pass
    rng = np.random.default_rng([seed, 1])
    subject = Subject(called, function, inputs, parameters or {}, constants)
    with np.errstate(all="ignore"):
        try:
            point, laws = examine(subject, rng)
        except Broken as broken:
            raise GradientError(Report(called, tolerance, laws=broken.args)) from None
        except FormError as error:
            hint = of_the_form(function, inputs, parameters or {}, constants, error, seed)
            raise ValueError(f"{error}{hint}") from None
        report = _measure(subject, point, directions, tolerance, rng, progress)
        report = replace(report, laws=tuple(laws))
        if plot is not None:
            draw(with_curve(report, subject, point), plot)
    if report.failed:
        raise GradientError(report)
    return report


@dataclass
class Look:
    """What was found of one input."""

    target: int
    plan: Plan
    found: list[tuple[Move, Finding]] = field(default_factory=list)

    def counted(self, *states: str) -> int:
        return sum(finding.state in states for _, finding in self.found)


def _measure(subject: Subject, point: Point, directions: int | None, tolerance: float, rng: np.random.Generator,
             progress: bool | None) -> Report:
    numbers = sum(int(a.size) for a in (*subject.places, *point.value))
    claims = [host(g) for g in point.gradients]
    looks = [Look(i, plan(x, g, numbers, directions, rng)) for i, (x, g) in enumerate(zip(subject.places, claims))]
    total = sum(len(look.plan.entries) + look.plan.directions for look in looks)
    with tqdm(total=total, desc=subject.called, unit="derivative", delay=1.0, leave=False, file=sys.stderr,
              disable=None if progress is None else not progress) as bar:
        for look in looks:
            _look(subject, point, look, tolerance, rng, bar)
    rows = [_row(subject, point, look, tolerance) for look in looks]
    if any(row.wrong for row in rows):
        rows = named(subject, point, rows, [look.plan for look in looks], tolerance)
    return Report(subject.called, tolerance, rows)


def _look(subject: Subject, point: Point, look: Look, tolerance: float, rng: np.random.Generator, bar: Any) -> None:
    x, claims, slack = subject.places[look.target], host(point.gradients[look.target]), point.slack[look.target]
    usual = float(np.nan_to_num(np.abs(claims), posinf=0.0).max(initial=0.0))
    habits = Habit(), Habit()                        # entries and directions are moved by steps of different sizes

    def judged(move: Move) -> Finding:
        line = Line(subject, point, look.target, move.index, move.step)
        if move.flat >= 0:
            return judge(line, float(claims.flat[move.flat]), float(slack.flat[move.flat]), usual, tolerance, habits[0])
        u = host(move.step)
        doubt = float(np.linalg.norm(slack * u))
        return judge(line, float((claims * u).sum()), doubt, usual * float(np.linalg.norm(u)), tolerance, habits[1])

    sampled = look.plan.block is not None
    for move in moves(x, look.plan, rng):
        look.found.append((move, judged(move)))
        bar.update()
        if sampled and move.flat < 0 and look.counted("wrong", "outside"):
            break                                    # one direction that fails says all; now, where?
    if sampled and look.counted("wrong", "outside"):
        single = _to_blame(x, look, judged)
        if single:
            look.found.append(single)


def _to_blame(x: Any, look: Look, judged: Any) -> tuple[Move, Finding] | None:
    """Where only directions fail: halve one until the entry is found that is to blame."""
    failed = [(m, f) for m, f in look.found if f.state in ("wrong", "outside")]
    if any(move.flat >= 0 for move, _ in failed):
        return None
    u = host(failed[0][0].step).ravel()
    places = np.arange(u.size)
    while len(places) > 1:
        halves = np.array_split(places, 2)
        masked = np.zeros_like(u)
        masked[halves[0]] = u[halves[0]]
        finding = judged(along(x, masked.reshape(x.shape), "half"))
        places = halves[0] if finding.state in ("wrong", "outside") else halves[1]
    index = tuple(int(i) for i in np.unravel_index(places[0], x.shape))
    move = Move(index_of(int(places[0]), x.shape), index, float(abs(u[places[0]])) or 1.0, int(places[0]))
    finding = judged(move)
    return (move, finding) if finding.state in ("wrong", "outside") else None


def _row(subject: Subject, point: Point, look: Look, tolerance: float) -> Row:
    x, claims = subject.places[look.target], host(point.gradients[look.target])
    measured, errors = np.full(x.size, np.nan), np.full(x.size, np.nan)
    for move, finding in look.found:
        if move.flat >= 0:
            measured[move.flat], errors[move.flat] = finding.numeric, finding.error
    wrong = look.counted("wrong", "outside")
    shown = [pair for pair in look.found if pair[1].state in (("wrong", "outside") if wrong else ("ok",))]
    # one entry says more than a direction does
    shown = [pair for pair in shown if pair[0].flat >= 0] or shown if wrong else shown
    nothing = Move("-", ..., 0.0, -1), Finding("ok", 0.0, 0.0, 1.0, 0.0)
    move, worst = max(shown, key=lambda pair: pair[1].error, default=nothing)
    said = ""
    if look.counted("outside") and worst.state == "outside":
        said = (f"at {move.where} it sits on a kink, and the pullback is not between the one-sided "
                f"derivatives {worst.numeric - worst.known:.6g} and {worst.numeric + worst.known:.6g}")
    unknown = look.counted("unknown")
    if unknown and not (wrong or look.counted("ok", "kink")):
        said = "cannot tell: the derivatives are so small beside the rounding of the value that a factor 2 would hide"
    return Row(subject.names[look.target], int(x.size), len(look.found), look.counted("ok") + wrong,
               look.counted("kink"), unknown, wrong, worst.error, tolerance + worst.known / (worst.scale or 1.0),
               move.where, worst.claim, worst.numeric, said,
               claims, measured.reshape(x.shape), errors.reshape(x.shape))
