"""What a gradient check saw, as numbers and as a table.

The text is plain ASCII whatever the mistake is called, because a console that is not UTF-8 must not crash on the one
report that matters; names given by the caller are printed as they came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ASCII = str.maketrans({"½": "1/2", "²": "^2", "σ": "sigma", "Σ": "sum", "μ": "mu", "ε": "eps", "∂": "d", "−": "-",
                       "×": "x", "→": "->", "·": "*", "ᵀ": ".T", "’": "'"})


class GradientError(AssertionError):
    """A pullback is wrong, or breaks a law of an op.  `report` holds what was measured."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Row:
    """One input or parameter: how its derivatives came out, and the worst of them."""

    name: str
    size: int              # how many entries it has
    looked: int            # how many derivatives were measured: of every entry, or of a sample and of directions
    entries: int           # of these, how many could be judged away from a kink
    kinks: int             # how many sit on a kink: there the pullback must lie between the one-sided derivatives
    unknown: int           # how many the arithmetic cannot tell: rounding would hide a factor 2 or a sign
    wrong: int             # how many are refused
    error: float           # worst |pullback - numeric| / scale, the scale as in `differences`
    allowed: float         # what the tolerance and rounding allow at that entry, on the same scale
    where: str             # the index of the worst entry, or which direction
    pullback: float        # what the pullback says there
    numeric: float         # what finite differences say there
    said: str = ""         # one line about it: the likely mistake, or why it could not be judged
    # for pictures: what the pullback says, what was measured, and how well it is known, by entry
    claims: np.ndarray | None = field(default=None, compare=False, repr=False)
    measured: np.ndarray | None = field(default=None, compare=False, repr=False)
    errors: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> str:
        """ "ok", "BAD", or "?" where nothing at all could be judged."""
        if self.wrong:
            return "BAD"
        return "?" if self.unknown and not self.entries and not self.kinks else "ok"

    def __str__(self) -> str:
        seen = f"{self.looked:,} of {self.size:,}" if self.looked < self.size else f"{self.size:,}"
        line = (f"  {self.verdict:4} {self.name:<24} {seen:>14} {self.error:11.1e} {self.pullback:15.8g} "
                f"{self.numeric:15.8g}  {self.where}")
        notes = []
        if self.kinks:
            notes.append(f"{self.kinks} of {self.looked} on a kink, between the one-sided derivatives")
        if self.unknown:
            notes.append(f"{self.unknown} of {self.looked} cannot be told: rounding would hide a factor 2")
        if not self.wrong and self.entries and self.error > 1e-6 and self.error <= self.allowed:
            notes.append(f"rounding allows {self.allowed:.0e}")
        return line + "".join(f"  ({note})" for note in notes)


@dataclass(frozen=True)
class Report:
    """What a gradient check saw; prints as a table."""

    name: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    laws: tuple[str, ...] = ()         # the laws of an op that it breaks, a sentence each
    # for pictures: steps relative to the size of the entry, and the error of the central difference with each
    curve: tuple[np.ndarray, np.ndarray, str] | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> str:
        """ "passed", "FAILED", or "cannot tell": nothing is refused, but of some input nothing could be judged."""
        if self.laws or any(row.verdict == "BAD" for row in self.rows):
            return "FAILED"
        return "cannot tell" if any(row.verdict == "?" for row in self.rows) else "passed"

    @property
    def passed(self) -> bool:
        """Judged, and right."""
        return self.verdict == "passed"

    @property
    def failed(self) -> bool:
        """Judged, and wrong: what `gradcheck` raises for."""
        return self.verdict == "FAILED"

    @property
    def worst(self) -> float:
        """The largest relative error of all that could be judged."""
        return max((row.error for row in self.rows), default=0.0)

    def __str__(self) -> str:
        lines = [f"gradient check of {self.name}: {self.verdict} (tolerance {self.tolerance:g})"]
        lines += [f"  {law}" for law in self.laws]
        if self.rows:
            lines.append(f"  {'':4} {'input':<24} {'looked at':>14} {'worst error':>11} {'pullback':>15} "
                         f"{'finite diff.':>15}  where")
        lines += [str(row) for row in self.rows]
        lines += [f"  {row.name}: {row.said.translate(ASCII)}" for row in self.rows if row.said]
        return "\n".join(lines)
