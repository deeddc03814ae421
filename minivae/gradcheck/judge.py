"""The verdict on one derivative.

1. One step, of 2^-17 of the entry's size.  If the pullback agrees to the tolerance, it is right: that a wrong number
   agrees to six digits by chance does not happen.  Two evaluations, and nearly every entry ends here.
2. If not, other steps are tried, each a quarter or four times the last; again agreement ends it.  But not of large
   steps: of x + tanh x those see a slope of 1, and would agree with whoever forgot the tanh.  Where two steps agree
   with each other far better than with the pullback, and a third, far larger, does too, it is wrong: that ends it.
3. If neither, all steps together say what can be known, up to the one where the function bends: `best_of`.  The
   pullback is refused if it lies outside of tolerance and three times the error together.
4. Nobody is refused against the smallest step that could tell (`refuted`), nor for what would be lost in the rounding
   of outputs that did not move (`hidden`), nor by steps far away where the pullback, asked there, agrees with them, or
   for the third digit (`excused`), nor where the value is all rounding.
5. Is the error so large that a factor 2 would hide in it, then nobody can tell, and it says so.

At a kink, left and right derivatives differ however small the step.  A pullback may return either, or anything between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minivae.gradcheck.differences import DOWN, FIRST, RATIO, UP, Line, Sample, best_of, kink_of, stair
from minivae.gradcheck.laws import EPS

SMALL = 5                      # up to 2^-7 of the entry's size, a step that agrees is enough, see `judge`
ENOUGH = 5                     # so many entries of an input that are wrong without doubt


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


@dataclass
class Habit:
    """What earlier entries of the same input have taught: where to begin, and how often all steps were needed."""

    start: int = 0             # the step to begin with is RATIO^start times the first
    clear: int = 0             # entries that were refused without doubt: the rest needs no more proof


def judge(line: Line, claim: float, slack: float, usual: float, tolerance: float, habit: Habit) -> Finding:
    """The verdict on one derivative.

    claim      what the pullback says
    slack      how much of the claim is rounding of the pullback
    usual      the largest claim of this input: a zero beside it is a zero where rounding is far smaller
    """
    first = line.slope(FIRST * RATIO**habit.start)
    if not np.isfinite(claim):
        return Finding("wrong", claim, first.slope, 1.0, 0.0)
    if first.agrees(claim, tolerance) and (habit.start <= SMALL or _nearby(line, claim, habit.start - 3)):
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
        found = self.looked()
        doubtful = found.state in ("wrong", "outside") and self.all_rounding()
        return replace(found, state="unknown") if doubtful else found

    def all_rounding(self) -> bool:
        """Whether the value has not three digits, and the entry, moved by its own size, changes it by no more.

        Such a value is sin(1e14), and steps of all sizes only throw the dice again.
        """
        rounding = self.line.rounding(everywhere=True)
        moved = (s.size * s.half for s in self.samples.values() if s.half <= self.line.own() and np.isfinite(s.size))
        return rounding > 1e-3 * self.line.weight() and max(moved, default=0.0) <= 1e3 * rounding

    def looked(self) -> Finding:
        """The verdict, if values are more than rounding."""
        quick = self.quick()
        if quick:
            return quick
        for k in _outward(min(self.habit.start, SMALL)):
            s = self.look(k)
            # beside the kink of relu a step says 1/2, and to as many digits as one likes
            if s.agrees(self.claim, self.tolerance) and s.gap <= 0.2 * s.size:
                self.habit.start = k       # the next entry may well need the same
                return self.settled("ok", s)
        return self.weighed()

    def still(self) -> Finding:
        """Nothing ever moved by more than rounding: the derivative is 0, or so small that it is lost in the value."""
        # or it swings, as 1e7 + sin(1e6 x) / 1e9 does: too small to be seen, and steep
        state = "unknown" if self.lost(abs(self.claim), 1e6) else "wrong"
        state = "ok" if abs(self.claim) <= self.slack else state
        return Finding(state, self.claim, 0.0, max(abs(self.claim), self.slack), 0.0)

    def lost(self, slope: float, times: float = 30.0, rounding: float = 0.0) -> bool:
        """Whether the rounding of all outputs, or this, would hide this slope, were the entry moved by its own size."""
        # formulas add 1 and take it away again
        rounding = max(rounding, self.line.rounding(everywhere=True), EPS * self.line.weight())
        return slope * self.line.own() <= times * rounding

    def hidden(self, value: float, doubt: float) -> bool:
        """Whether all is right with the outputs that moved, and what is claimed beyond would be lost in the others.

        1e117 does not move when 1e90 is added, and the pullback may well be right that it is.
        """
        claim = self.line.claim_of_moved()
        right = claim != self.claim and abs(claim - value) <= doubt + 1e-3 * max(abs(claim), abs(value))
        return right and self.lost(abs(self.claim - value))

    def refuted(self, value: float) -> bool:
        """Whether the smallest step that can tell the claim from this value through the rounding is not for the claim.

        Of 1e9 x + sin(1e9 x) larger steps agree on a slope of 1e9, and it is not the derivative.
        """
        off, rounding = abs(self.claim - value), max(self.line.rounding(), EPS * self.line.weight())
        for k in range(-DOWN, UP + 1):
            if 10.0 * rounding <= off * FIRST * RATIO**k * self.line.own() and (self.look(k).size > 0.0 or not value):
                return not abs(self.look(k).slope - self.claim) <= 0.3 * off
        return True

    def quick(self) -> Finding | None:
        """Where two steps, one of them 16 times the other, leave no doubt."""
        k = self.habit.start if self.habit.start <= SMALL else 0     # large steps agree with each other elsewhere, too
        a = self.look(k)
        off = abs(self.claim - a.slope)
        if self.habit.clear >= ENOUGH and a.size and 4.0 * a.noise + a.gap + self.slack <= 0.02 * min(off, a.size):
            return self.settled("wrong", a)
        b = self.look(k - 2)
        if not (np.isfinite(a.slope) and np.isfinite(b.slope)):
            return None
        if 0.0 < 0.1 * off <= b.gap and max(a.noise, b.noise) <= 0.05 * b.gap and all(
                0.5 * b.gap <= s.gap <= 2.0 * b.gap for s in (a, self.look(k + 2))):
            return self.at_the_kink(b, a)
        alike = 0.0 < abs(a.size - b.size) + b.size <= 1.1 * b.size  # of sin(1e9 x), both would be anything, and small
        doubt = abs(a.slope - b.slope) + 4.0 * (a.noise + b.noise) + a.gap + self.slack
        if alike and doubt <= 0.02 * min(off, b.size) and self.borne_out(a, b, self.look(k + 7)):
            self.habit.clear += 1
            return self.settled("wrong", a)
        if self.claim == 0.0 == a.size == b.size:                    # does it move at all, and would we have seen it?
            far = next((s for s in (self.look(18), self.look(8)) if np.isfinite(s.size)), None)
            seen = self.line.rounding() / (2.0 * a.half)
            if far and (far.size == 0.0 or seen <= 1e-3 * far.size):
                return Finding("ok", 0.0, 0.0, 1.0, seen)
        return None

    def borne_out(self, a: Sample, b: Sample, c: Sample) -> bool:
        """Whether a third step, far larger, and all else confirm two that agree with each other, not with the claim.

        Small steps may all lie on one stair, see `stair`.  What only large ones move may be large, and so its rounding.
        """
        off = abs(self.claim - a.slope)
        if abs(a.slope - c.slope) > 0.1 * off or self.hidden(a.slope, 0.1 * off) or not self.refuted(a.slope):
            return False
        return self.line.rounding() <= 0.01 * min(off, b.size) * b.half

    def settled(self, state: str, s: Sample, known: float = 0.0) -> Finding:
        scale = max(abs(self.claim), abs(s.slope), s.size)
        return Finding(state, self.claim, s.slope, scale, known)

    def at_the_kink(self, s: Sample, larger: Sample) -> Finding:
        """Between the one-sided derivatives, or outside of them, as far as two steps agree on these."""
        known = 4.0 * s.noise + abs(s.slope - larger.slope) + abs(s.gap - larger.gap)
        reach = s.gap + known + self.slack + self.tolerance * max(abs(self.claim), s.size)
        return self.settled("kink" if abs(self.claim - s.slope) <= reach else "outside", s, s.gap)

    def weighed(self) -> Finding:
        """All steps together."""
        for k in range(-DOWN, UP + 1):
            self.look(k)
        rounding = self.line.rounding()
        if not any(s.size * s.half > 10.0 * max(rounding, EPS * self.line.weight()) for s in self.samples.values()):
            return self.still()
        steps = [s for k, s in sorted(self.samples.items()) if np.isfinite(s.slope) and np.isfinite(s.size)]
        if len(steps) < 3:
            return Finding("unknown", self.claim, 0.0, max(abs(self.claim), 1e-300), np.inf)
        value, doubt, at, rounding = self.above_stairs(steps, rounding)
        off, scale = abs(self.claim - value), max(abs(self.claim), abs(value), at.size)
        if off <= self.tolerance * scale + doubt:
            zero = self.claim == 0.0 and doubt <= 1e-3 * self.usual
            state = "ok" if zero or doubt <= max(abs(self.claim), abs(value)) / 3.0 else "unknown"
            if state == "ok" and at.agrees(self.claim, self.tolerance):
                self.habit.start = next(k for k, s in self.samples.items() if s is at)
            return Finding(state, self.claim, value, scale, doubt)
        if off <= self.tolerance * scale + 3.0 * doubt or self.excused(value, doubt, at, rounding):
            return Finding("unknown", self.claim, value, scale, doubt)
        kink = kink_of(steps, value, off, rounding)
        return self.at_the_kink(*kink) if kink else Finding("wrong", self.claim, value, scale, doubt)

    def above_stairs(self, steps: list[Sample], rounding: float) -> tuple[float, float, Sample, float]:
        """`best_of`, with the rounding raised to the height of the stairs, if these stand in the way of an answer.

        Returns the derivative, the error it may have, the step it came from, and the rounding.
        """
        for _ in range(3):                                           # on a stair, another may stand
            value, known, at = best_of(steps, rounding)
            step = stair(steps, value, at, rounding, self.line.weight())
            doubt = known + self.slack
            told = abs(self.claim - value) <= doubt <= max(abs(self.claim), abs(value)) / 3.0
            if step <= rounding or told:
                return value, doubt, at, rounding
            rounding = 2.0 * step
        value, known, at = best_of(steps, rounding)
        return value, known + self.slack, at, rounding

    def excused(self, value: float, doubt: float, at: Sample, rounding: float) -> bool:
        """Whether the claim may be right all the same, though far from the value, which came from the step `at`."""
        off, own = abs(self.claim - value), self.line.own()
        if at.half > 4.0 * own and self.right_far_away(at, 0.1 * off):
            return True
        # far beyond the entry's own size, what a bent function does says nothing about how it began, nor more than
        # two digits what a straight one does
        elsewhere = at.size == 0.0 or (at.half > 4.0 * own and (
            off <= 0.005 * max(abs(self.claim), abs(value), at.size) or at.gap > 0.3 * at.size
            or at.size * at.half <= 10.0 * rounding))
        hidden = self.lost(off, rounding=rounding) if elsewhere else self.hidden(value, doubt)
        return hidden or not self.refuted(value)

    def right_far_away(self, at: Sample, tolerance: float) -> bool:
        """Whether the pullback, asked at steps as large as this one, says what they see: D is its mean along the line.

        Of x / (x^2 + 1e-18), large steps see the slope of 1/x.  If that is what the pullback says where they are, they
        have nothing against what it says here; who forgets a factor forgets it there, too.
        """
        t = at.half / self.line.own()
        mean = 0.5 * (self.line.claim_at(t / 3.0**0.5) + self.line.claim_at(-t / 3.0**0.5))        # Gauss, two points
        return abs(mean - at.slope) <= tolerance


def _outward(start: int) -> list[int]:
    """start, one less, one more, two less, ... as far as steps are small"""
    return sorted(range(-DOWN, SMALL + 1), key=lambda k: (abs(k - start), k > start))


def _nearby(line: Line, claim: float, k: int) -> bool:
    """Whether a much smaller step agrees as well, as far as its rounding lets it."""
    s = line.sample(FIRST * RATIO**k)
    return abs(s.slope - claim) <= 10.0 * s.noise + 1e-3 * s.size
