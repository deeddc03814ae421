"""One derivative, measured with the step that suits it, and how well it can be known.

Along a line x + t u through the point, with the cotangent v,

    D(t) = sum_o v_o (y_o(x + t u) - y_o(x - t u)) / (width of the step)

The outputs are subtracted one by one and summed after: the sum of a thousand outputs that do not change would bring a
thousand roundings along, and hide the one that does.  D(t) errs by truncation, which grows like t^2, and by rounding,
which grows like 1/t; where they meet depends on the function, and one cannot know beforehand.  So:

1. One step, of 2^-17 of the entry's size.  If the pullback agrees to the tolerance, it is right: that a wrong number
   agrees to six digits by chance does not happen.  Two evaluations, and nearly every entry ends here.
2. If not, other steps are tried, each a quarter or four times the last; again agreement ends it.  Where two steps agree
   with each other far better than with the pullback, it is wrong, and that ends it too.
3. If neither, all steps together say what can be known.  Neighbours are extrapolated, R = (16 D(t) - D(4t)) / 15, with
   an error from their scatter and from the rounding of the value.  From the smallest step up, each interval must meet
   all before; where one does not, the function bends there, and larger steps count no more (Lepski's rule).  Of those
   that remain, the most exact is the answer.  The pullback is refused if it lies outside tolerance and error together.
4. Is that error so large that a factor 2 would hide in it, then nobody can tell, and it says so.

At a kink, left and right derivatives differ however small the step.  A pullback may return either, or anything between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.gradcheck.laws import EPS, Point
from minivae.gradcheck.subject import Subject

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


@dataclass(frozen=True)
class Finding:
    """What one derivative is, beside what the pullback says."""

    state: str                 # "ok", "kink", "unknown", "wrong", "outside" (of the one-sided derivatives)
    claim: float
    numeric: float
    scale: float               # what an error is relative to: the largest of claim, numeric, and the terms of the sum
    known: float               # the numeric value is good to this

    @property
    def error(self) -> float:
        """|pullback - numeric| / scale"""
        off = abs(self.claim - self.numeric)
        if not np.isfinite(off):
            return np.inf
        return off / self.scale if off else 0.0


class Line:
    """The outputs along a line through the point; leaves the point as it was."""

    def __init__(self, subject: Subject, point: Point, target: int, index: Any, step: float | Array) -> None:
        self.subject, self.point, self.step = subject, point, step
        self.x, self.index, self.single = subject.places[target], index, index is not ...
        self.old = float(self.x[index]) if self.single else self.x.copy()
        self.moved: list[Array] | None = None         # which outputs have ever changed

    def at(self, t: float) -> tuple[list[Array] | None, float]:
        """(the outputs, how far the entry was really moved: a float cannot stand anywhere)"""
        there = self.old + t * self.step
        try:
            self.x[self.index] = there
            return self.subject.outputs(), float(there - self.old) if self.single else t
        finally:
            self.x[self.index] = self.old

    def slope(self, t: float) -> Sample:
        """D(t) alone: the quick look."""
        (up, right), (down, left) = self.at(t), self.at(-t)
        if up is None or down is None or right == left:
            return Sample(0.5 * (right - left), np.nan, np.nan, 0.0, 0.0)
        changes = [v * (a - b) for v, a, b in zip(self.point.cotangents, up, down)]
        width = right - left
        slope = sum(float(c.sum()) for c in changes) / width
        return Sample(0.5 * abs(width), slope, norm(changes) / abs(width), 0.0, 0.0)

    def sample(self, t: float) -> Sample:
        """D(t), the gap between the one-sided differences, and the rounding."""
        (up, right), (down, left) = self.at(t), self.at(-t)
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

    def weight(self) -> float:
        """The largest cotangent."""
        return max((float(np.abs(v).max(initial=0.0)) for v in self.point.cotangents), default=0.0)

    def own(self) -> float:
        """The size of the entry; 1 along a direction, which is made of such sizes."""
        return abs(float(self.step)) if self.single else 1.0


def norm(arrays: Sequence[Array]) -> float:
    """The root of the sum of squares, also where the squares would not fit into a float."""
    squares = sum(float((x * x).sum()) for x in arrays)
    if 1e-290 < squares < np.inf:
        return squares**0.5
    largest = max((float(np.abs(x).max(initial=0.0)) for x in arrays), default=0.0)
    if not 0.0 < largest < np.inf:
        return largest
    return largest * sum(float(((x / largest) ** 2).sum()) for x in arrays) ** 0.5


@dataclass
class Habit:
    """What earlier entries of the same input have taught: where to begin, and how often all steps were needed."""

    start: int = 0             # the step to begin with is RATIO^start times the first
    refused: int = 0           # entries that were refused after weighing all steps


def judge(line: Line, claim: float, slack: float, usual: float, tolerance: float, habit: Habit) -> Finding:
    """The verdict on one derivative.

    claim      what the pullback says
    slack      how much of the claim is rounding of the pullback
    usual      the largest claim of this input: a zero beside it is a zero where rounding is far smaller
    """
    first = line.slope(FIRST * RATIO**habit.start)
    if not np.isfinite(claim):
        return Finding("wrong", claim, first.slope, 1.0, 0.0)
    if first.agrees(claim, tolerance):
        return Finding("ok", claim, first.slope, max(abs(claim), first.size), 0.0)
    return Trial(line, claim, slack, usual, tolerance, habit).verdict()


class Trial:
    """A derivative that the first step did not settle."""

    def __init__(self, line: Line, claim: float, slack: float, usual: float, tolerance: float, habit: Habit) -> None:
        self.line, self.claim, self.slack, self.usual, self.tolerance = line, claim, slack, usual, tolerance
        self.habit = habit
        self.samples: dict[int, Sample] = {}

    def look(self, k: int) -> Sample:
        """The step 4^k times the first."""
        if k not in self.samples:
            self.samples[k] = self.line.sample(FIRST * RATIO**k)
        return self.samples[k]

    def verdict(self) -> Finding:
        quick = self.quick()
        if quick:
            return quick
        for k in _outward(self.habit.start):
            s = self.look(k)
            # beside the kink of relu a large step says 1/2, and to as many digits as one likes
            if s.agrees(self.claim, self.tolerance) and s.gap <= 0.2 * s.size:
                self.habit.start = k       # the next entry may well need the same
                return self.settled("ok", s)
        if not any(s.size > 0 for s in self.samples.values()):
            return self.still()
        return self.weighed()

    def still(self) -> Finding:
        """Nothing ever moved: the derivative is 0, or so small that what it adds is lost in the value."""
        state = "ok" if abs(self.claim) <= self.slack else "unknown" if self.lost(abs(self.claim)) else "wrong"
        return Finding(state, self.claim, 0.0, max(abs(self.claim), self.slack), 0.0)

    def lost(self, slope: float, at: Sample | None = None, rounding: float = 0.0) -> bool:
        """Whether the rounding of all outputs would hide this slope, were the entry moved by its own size.

        Also of those outputs that never moved: 1e117 does not move when 1e90 is added.  Not if a step, `at`, moves the
        value by far more than that: a bias beside products, moved by a million.
        """
        floor = 30.0 * max(rounding, self.line.rounding(everywhere=True))
        return slope * self.line.own() <= floor and (at is None or at.size * at.half <= floor)

    def quick(self) -> Finding | None:
        """Where two steps, one of them 16 times the other, leave no doubt."""
        k = self.habit.start
        a, b = self.look(k), self.look(k - 2)
        off = abs(self.claim - a.slope)
        if not (np.isfinite(a.slope) and np.isfinite(b.slope)):
            return None
        if 0.0 < 0.1 * off <= b.gap and max(a.noise, b.noise) <= 0.05 * b.gap and all(
                0.5 * b.gap <= s.gap <= 2.0 * b.gap for s in (a, self.look(k + 2))):
            return self.at_the_kink(b)
        alike = 0.0 < abs(a.size - b.size) + b.size <= 1.1 * b.size  # of sin(1e9 x), both would be anything, and small
        if alike and abs(a.slope - b.slope) + 4.0 * (a.noise + b.noise) + a.gap + self.slack <= 0.02 * min(off, b.size):
            c = self.look(k + 7)                                     # small steps may all lie on one stair, see `stair`
            if abs(a.slope - c.slope) <= 0.1 * off and not self.lost(off, a):
                return self.settled("wrong", a)
        if self.claim == 0.0 == a.size == b.size:                    # does it move at all, and would we have seen it?
            far = next((s for s in (self.look(18), self.look(8)) if np.isfinite(s.size)), None)
            seen = self.line.rounding() / (2.0 * a.half)
            if far and (far.size == 0.0 or seen <= 1e-3 * far.size):
                return Finding("ok", 0.0, 0.0, 1.0, seen)
        return None

    def settled(self, state: str, s: Sample, known: float = 0.0) -> Finding:
        scale = max(abs(self.claim), abs(s.slope), s.size)
        return Finding(state, self.claim, s.slope, scale, known)

    def at_the_kink(self, s: Sample) -> Finding:
        """Between the one-sided derivatives, or outside of them."""
        reach = s.gap + 4.0 * s.noise + self.slack + self.tolerance * max(abs(self.claim), s.size)
        return self.settled("kink" if abs(self.claim - s.slope) <= reach else "outside", s, s.gap)

    def weighed(self) -> Finding:
        """All steps together."""
        for k in range(-DOWN, UP + 1):
            self.look(k)
        steps = [s for k, s in sorted(self.samples.items()) if np.isfinite(s.slope) and np.isfinite(s.size)]
        if len(steps) < 3:
            return Finding("unknown", self.claim, 0.0, max(abs(self.claim), 1e-300), np.inf)
        rounding = self.line.rounding()
        value, known, at = best_of(steps, rounding)
        step = stair(steps, value, rounding, self.line.weight())
        if step > rounding and abs(self.claim - value) > known + self.slack:
            rounding = 2.0 * step
            value, known, at = best_of(steps, rounding)
        off, scale = abs(self.claim - value), max(abs(self.claim), abs(value), at.size)
        doubt = known + self.slack
        if off <= self.tolerance * scale + doubt:
            zero = self.claim == 0.0 and doubt <= 1e-3 * self.usual
            state = "ok" if zero or doubt <= max(abs(self.claim), abs(value)) / 3.0 else "unknown"
            return Finding(state, self.claim, value, scale, doubt)
        if self.lost(off, at, rounding):
            return Finding("unknown", self.claim, value, scale, doubt)
        kink = kink_of(steps, value, off, rounding)
        if kink:
            return self.at_the_kink(kink)
        self.habit.refused += 1
        return Finding("wrong", self.claim, value, scale, doubt)


def kink_of(steps: list[Sample], value: float, off: float, rounding: float) -> Sample | None:
    """The smallest step that can see `off` through the rounding, if there is as large a gap as with larger steps.

    The gap of a smooth function, t f'', would have become 16 times smaller over two steps, and one of rounding larger.
    """
    for k, s in enumerate(steps[:-2]):
        seen = max([rounding / 2.0, *(abs(smaller.slope - value) * smaller.half for smaller in steps[:k])])
        if 4.0 * seen / s.half <= 0.1 * off:
            same = all(0.4 * larger.gap <= s.gap <= 2.5 * larger.gap for larger in steps[k + 1:k + 3])
            return s if s.gap >= 0.1 * off and same else None
    return None


def best_of(steps: list[Sample], rounding: float) -> tuple[float, float, Sample]:
    """(the derivative, the error it may have, the step it came from) by Lepski's rule over steps in rising order."""
    slopes, halves = (np.array([getattr(s, name) for s in steps]) for name in ("slope", "half"))
    even = np.abs(halves[1:] / halves[:-1] - RATIO) < 0.01
    values = np.where(even, (16.0 * slopes[:-1] - slopes[1:]) / 15.0, slopes[:-1])
    low, high, best = -np.inf, np.inf, None
    for k, value in enumerate(values[:max(1, bends(slopes, halves, rounding) - 1)]):
        # if this is right, then all that smaller steps say otherwise is rounding
        seen = float((np.abs(slopes[:k] - value) * halves[:k]).max(initial=0.0))
        known = 3.0 * max(rounding / 2.0, seen) / halves[k] + 2.0 * abs(value - values[min(k + 1, len(values) - 1)])
        if value - 2.0 * known > high or value + 2.0 * known < low:
            break
        low, high = max(low, value - 2.0 * known), min(high, value + 2.0 * known)
        if best is None or known < best[1]:
            best = float(value), float(known), steps[k]
    assert best is not None
    return best


def bends(slopes: np.ndarray, halves: np.ndarray, rounding: float) -> int:
    """The first step at which the function bends by more than rounding; larger ones say nothing about the derivative.

    A bump is as high on its right as on its left: far enough away, D is 0, and ever more exactly so.
    """
    changes = np.abs(np.diff(slopes)) * halves[:-1]
    before = np.maximum.accumulate(np.concatenate([[rounding / 2.0], changes[:-1]]))
    found = np.flatnonzero(changes > 30.0 * before)
    return int(found[0]) + 2 if found.size else len(slopes)


def stair(steps: list[Sample], value: float, rounding: float, one: float) -> float:
    """How high the steps of a staircase are, if the function is one; else 0.

    1 + tanh x at x = -15 is a multiple of 1e-16, and flat between.  On the stair, small steps agree with each other on
    a slope that is not the function's, to the last digit; and then, from one step to the next, they do not.  A smooth
    function gets worse gradually, and a kink that is no rounding moves the value by more than rounding would: of the
    largest value along the line, or of 1, which many a formula adds and takes away again (`one`: 1, times v).
    """
    off = [abs(s.slope - value) * s.half for s in steps]
    reach = max((s.size * s.half for s in steps if s.half <= 2.0**60 * steps[0].half), default=one)
    reach = max(reach, one)
    for k in range(1, len(steps)):
        if max(off[:k]) <= 10.0 * rounding and off[k] > 1e4 * max(off[:k]) and off[k] <= 8.0 * EPS * reach:
            return off[k]
    return 0.0


def _outward(start: int) -> list[int]:
    """start, one less, one more, two less, ... within the range of steps"""
    return sorted(range(-DOWN, UP + 1), key=lambda k: (abs(k - start), k > start))
