"""One derivative, measured with the step that suits it, and how well it can be known.

Along a line x + t u through the point, with the cotangent v,

    D(t) = sum_o v_o (y_o(x + t u) - y_o(x - t u)) / (width of the step)

The outputs are subtracted one by one and summed after: the sum of a thousand outputs that do not change would bring a
thousand roundings along, and hide the one that does.  D(t) errs by truncation, which grows like t^2, and by rounding,
which grows like 1/t; where they meet depends on the function, and one cannot know beforehand:
`judge` tries steps until it is sure.  Here is what a step says, and what all steps say together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.gradcheck.laws import EPS, Point
from minivae.gradcheck.subject import LEFT_THE_DOMAIN, Subject, host

FIRST = 2.0**-17               # relative to the size of the entry
RATIO = 4.0
DOWN, UP = 13, 29              # so many quarters and fourfolds of FIRST: from 2^-43 to 2^41


@dataclass(frozen=True)
class Sample:
    """What one step says."""

    half: float                # half the width of the step
    slope: float               # D(t)
    size: float                # of the terms whose sum D is: the root of the sum of their squares
    gap: float                 # half of how far the one-sided differences lie apart, output by output
    noise: float               # how much of D may be rounding of the value

    def agrees(self, claim: float, tolerance: float) -> bool:
        """To the tolerance, relative to the largest of what is compared; where nothing moves, nothing agrees."""
        if not 0.0 < self.size < np.inf:
            return False
        return abs(self.slope - claim) <= tolerance * max(abs(self.slope), abs(claim), self.size)


class Line:
    """The outputs along a line through the point; leaves the point as it was."""

    def __init__(self, subject: Subject, point: Point, target: int, index: Any, step: float | Array) -> None:
        self.subject, self.point, self.step = subject, point, step
        self.x, self.index, self.single = subject.places[target], index, index is not ...
        self.target = target
        self.old = float(self.x[index]) if self.single else self.x.copy()
        self.moved: list[Array] | None = None         # which outputs have ever changed
        self.last: tuple[float, Any] = (0.0, None)    # the last step, and what was there on both sides

    def at(self, t: float) -> tuple[list[Array] | None, float]:
        """(the outputs, how far the entry was really moved: a float cannot stand anywhere)"""
        there = self.old + t * self.step
        try:
            self.x[self.index] = there
            return self.subject.outputs(), float(there - self.old) if self.single else t
        finally:
            self.x[self.index] = self.old

    def sides(self, t: float) -> tuple[tuple[list[Array] | None, float], tuple[list[Array] | None, float]]:
        """What is at t, and at -t."""
        if self.last[0] != t:
            self.last = t, (self.at(t), self.at(-t))
        return self.last[1]

    def slope(self, t: float) -> Sample:
        """D(t) alone: the quick look."""
        (up, right), (down, left) = self.sides(t)
        if up is None or down is None or right == left:
            return Sample(0.5 * (right - left), np.nan, np.nan, 0.0, 0.0)
        changes = [v * (a - b) for v, a, b in zip(self.point.cotangents, up, down)]
        width = right - left
        slope = sum(float(c.sum()) for c in changes) / width
        return Sample(0.5 * abs(width), slope, norm(changes) / abs(width), 0.0, 0.0)

    def sample(self, t: float) -> Sample:
        """D(t), the gap between the one-sided differences, and the rounding."""
        (up, right), (down, left) = self.sides(t)
        if up is None or down is None or right == left:
            return Sample(0.5 * (right - left), np.nan, np.nan, 0.0, 0.0)
        width, gap = right - left, 0.0
        changes, moved = [], []
        for v, a, b, y, n in zip(self.point.cotangents, up, down, self.point.value, self.point.noise):
            changes.append(v * (a - b))
            # one-sided differences: (a - y) / right and (y - b) / -left, which a single entry may not reach alike
            bend = np.abs((a - y) / right - (b - y) / left) - 4.0 * n / abs(width)
            gap += 0.5 * float(np.abs(v * np.maximum(bend, 0.0)).sum())
            moved.append((a != b) | (a != y))
        self.moved = moved if self.moved is None else [m | k for m, k in zip(self.moved, moved)]
        slope = sum(float(c.sum()) for c in changes) / width
        return Sample(0.5 * abs(width), slope, norm(changes) / abs(width), gap, self.rounding() / abs(width))

    def rounding(self, everywhere: bool = False) -> float:
        """The rounding of v . (y(t) - y(-t)), from the outputs that this line moves at all, or from all."""
        moved = [1.0] * len(self.point.noise) if everywhere else self.moved or []
        return 2.0**0.5 * norm([v * n * m for v, n, m in zip(self.point.cotangents, self.point.noise, moved)])

    def claim_at(self, t: float) -> float:
        """What the pullback says at t; NaN outside of the domain."""
        try:
            self.x[self.index] = self.old + t * self.step
            return self.along(self.point.pull(self.point.cotangents, self.subject.call()[1]))
        except LEFT_THE_DOMAIN:
            return np.nan
        finally:
            self.x[self.index] = self.old

    def along(self, gradients: list[Array]) -> float:
        """The derivative along this line."""
        gradient = gradients[self.target]
        return float(gradient[self.index]) if self.single else float((gradient * self.step).sum())

    def claim_of_moved(self) -> float:
        """What the pullback says comes from those outputs that this line has moved.

        An output that never moved may not depend on the entry, or be so large that its part is lost in rounding.
        """
        dy = [v * m for v, m in zip(self.point.cotangents, self.moved or [])]
        return self.along(self.point.pull(dy))

    def weight(self) -> float:
        """What 1 is worth in the sum over outputs, or the value if that is more."""
        largest = max((float(np.abs(host(v)).max(initial=0.0)) for v in self.point.cotangents), default=0.0)
        return max(largest, norm([v * y for v, y in zip(self.point.cotangents, self.point.value)]))

    def own(self) -> float:
        """The size of the entry; 1 along a direction, which is made of such sizes."""
        return abs(float(self.step)) if self.single else 1.0


def norm(arrays: Sequence[Array]) -> float:
    """The root of the sum of squares, also where the squares would not fit into a float."""
    squares = sum(float((x * x).sum()) for x in arrays)
    if 1e-290 < squares < np.inf:
        return squares**0.5
    largest = max((float(np.abs(host(x)).max(initial=0.0)) for x in arrays), default=0.0)
    if not 0.0 < largest < np.inf:
        return largest
    return largest * sum(float(((x / largest) ** 2).sum()) for x in arrays) ** 0.5


def kink_of(steps: list[Sample], value: float, off: float, rounding: float) -> tuple[Sample, Sample] | None:
    """The smallest step that can see `off` through the rounding, and the next, if larger ones have the same gap.

    The gap of a smooth function, t f'', would have become 16 times smaller over two steps, and one of rounding larger.
    """
    for k, s in enumerate(steps[:-2]):
        seen = max([rounding / 2.0, *(abs(smaller.slope - value) * smaller.half for smaller in steps[:k])])
        if 4.0 * seen / s.half <= 0.1 * off:
            same = all(0.4 * larger.gap <= s.gap <= 2.5 * larger.gap for larger in steps[k + 1:k + 3])
            return (s, steps[k + 1]) if s.gap >= 0.1 * off and same else None
    return None


def best_of(steps: list[Sample], rounding: float) -> tuple[float, float, Sample]:
    """(the derivative, the error it may have, the step it came from), from steps in rising order.

    Neighbours are extrapolated.  The error of each is what smaller steps say otherwise, for if it is right that is
    rounding, and rounding in D shrinks like 1/t; and how far the next extrapolation is away.  The smallest error wins.
    A step that moves the value by hardly more than a smaller one did has left what it was to measure: of sin, far away.
    """
    slopes, halves = (np.array([getattr(s, name) for s in steps]) for name in ("slope", "half"))
    even = np.abs(halves[1:] / halves[:-1] - RATIO) < 0.01
    values = np.where(even, (16.0 * slopes[:-1] - slopes[1:]) / 15.0, slopes[:-1])
    best: tuple[float, float, Sample] | None = None
    moved = np.array([s.size * s.half for s in steps])
    before = np.maximum.accumulate(np.concatenate([[0.0], moved[:-1]]))
    for k, value in enumerate(values[:max(1, bends(steps, rounding) - 1)]):
        if k and moved[k] < 3.0 * before[k] and max(moved[k], before[k]) > 10.0 * rounding:
            continue
        seen = float((np.abs(slopes[:k] - value) * halves[:k]).max(initial=0.0))
        known = 3.0 * max(rounding / 2.0, seen) / halves[k] + 2.0 * abs(value - values[min(k + 1, len(values) - 1)])
        if halves[k] > 2.0**44 * halves[0]:           # beyond the entry's own size, rounding grows with the step
            known = max(known, 2.0 * float(np.abs(np.diff(slopes[max(k - 3, 0):k + 2])).max()))
        if best is None or known < best[1]:
            best = float(value), float(known), steps[k]
    assert best is not None
    return best


def bends(steps: list[Sample], rounding: float) -> int:
    """The first step at which the function bends by more than rounding; larger ones say nothing about the derivative.

    A bump is as high on its right as on its left: far enough away, D is 0, and ever more exactly so.  A bend grows with
    the step, or beyond a kink, keeps its gap; rounding that was estimated too small does neither.
    """
    slopes, halves = (np.array([getattr(s, name) for s in steps]) for name in ("slope", "half"))
    changes = np.abs(np.diff(slopes)) * halves[:-1]
    before = np.maximum.accumulate(np.concatenate([[rounding / 2.0], changes[:-1]]))
    for k in map(int, np.flatnonzero(changes > 30.0 * before)):
        grows = k + 1 >= len(changes) or changes[k + 1] >= 6.0 * changes[k]
        if grows or all(s.gap >= 0.3 * s.size > 0.0 for s in steps[k + 2:k + 4]):
            return k + 1
    return len(steps)


def stair(steps: list[Sample], value: float, at: Sample, rounding: float, one: float) -> float:
    """How high the steps of a staircase are, if the function is one; else 0.

    1 + tanh x at x = -15 is a multiple of 1e-16, and flat between.  On the stair, small steps agree with each other on
    a slope that is not the function's, to the last digit; and then, from one step to the next, they do not.  A smooth
    function gets worse gradually, and a kink that is no rounding moves the value by more than rounding would: of the
    largest value up to there, or of 1, which many a formula adds and takes away again (`one`, see `Line.weight`).
    What jumps by far less than that, and at the next step by a thousand times more, is no stair: e^x at x = -400.
    """
    off = [max(abs(s.slope - value), abs(s.size - at.size)) * s.half for s in steps]
    for k in range(1, len(steps)):
        if off[k] <= max(1e3 * max(off[:k]), 1e-3 * max(steps[k].size, at.size) * steps[k].half):
            continue
        largest = max(s.size * s.half for s in steps[:k])
        explodes = off[k] < 1e-4 * EPS * one and max(off[k + 1:k + 2], default=0.0) > 1e3 * off[k]
        if off[k] <= 8.0 * EPS * (largest if explodes else max(largest, one)):
            return off[k]
        if max(off[:k]) <= 10.0 * rounding and off[k] > 0.3 * max(steps[k].size, at.size) * steps[k].half:
            ends = next((j for j in range(k + 1, k + 6) if _settles(steps[j:j + 3])), 0)
            high = max((abs(s.slope - steps[ends].slope) * s.half for s in steps[:ends]), default=0.0)
            return high if high <= 1e-6 * one else 0.0
    return 0.0


def _settles(steps: list[Sample]) -> bool:
    """Whether these agree on a slope, and not as they do beyond a kink, where the gap stays the same.

    Then the slope was there before, hidden by rounding.
    """
    if len(steps) < 3 or any(abs(s.slope - steps[0].slope) > 0.3 * abs(steps[0].slope) for s in steps[1:]):
        return False
    gaps = [s.gap for s in steps]
    return gaps[0] <= 0.1 * steps[0].size or not all(0.5 * gaps[0] <= gap <= 2.0 * gaps[0] for gap in gaps)
