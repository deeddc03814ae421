"""How much may be moved: what was counted of a student's code (`meter`), against what the textbook's moves.

    return {"gradient": …, "passes": Budget(lib.counts(), moved=1 / 3, float64=0.0)}

The solution of such a test is the textbook: its numbers are those that must come out, and a share of what it moves is
the most that may be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNITS = {"moved": "bytes are read and written", "new": "bytes of new arrays are made", "float64": "bytes are float64",
         "functions": "exponentials and logarithms are evaluated",
         "products": "multiplications are made in matrix products", "calls": "times NumPy is called"}


class Budget:
    """What was counted, and the share of what the textbook needs that it may be, for each of UNITS that is asked."""

    def __init__(self, counts: Mapping[str, Any], **shares: float) -> None:
        self.counts, self.shares = dict(counts), shares


def over(got: Any, textbook: Mapping[str, Any], shares: Mapping[str, float]) -> str | None:
    """What is over the budget, and, on lines of their own, where most of it is; None if nothing is."""
    if not isinstance(got, dict):
        return "nothing was counted"
    for what, share in shares.items():
        most = share * textbook[what]
        if got[what] > most:
            return f"{_number(got[what])} {UNITS[what]}: {_but(what, textbook[what], most)}\n  {_where(what, got)}"
    return None


def _but(what: str, textbook: float, most: float) -> str:
    if most == 0.0:
        return "none should be"
    return f"{_number(textbook)} in the textbook, at most {_number(most)} are asked for"


def _where(what: str, got: Mapping[str, Any]) -> str:
    if what == "float64" and got["leaks"]:
        return "\n    ".join(["it comes in at", *got["leaks"]])
    return "\n    ".join(["most of it:", *(f"{text} ({_number(n)})" for text, n in got[f"lines of {what}"])])


def _number(n: float) -> str:
    return f"{n / 1e6:.3g} million" if n >= 1e6 else f"{n:,.0f}"
