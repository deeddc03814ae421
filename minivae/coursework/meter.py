"""What NumPy's calls cost: bytes read, written and newly taken, in all and by line of the file that calls.

What is counted is counted alike on every machine, and by nobody's clock.

    moved       bytes read and written: an array that a call is given is read once, what it makes is written once
    new         bytes of arrays that are made, not written into one that is there
    float64     bytes of those moved that are float64
    functions   exponentials, logarithms and their like that are evaluated, one for each entry
    products    multiplications in matrix products
    calls       of NumPy

Nothing is said of caches: a byte that lies near costs as much as one that lies far.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

WHAT = ("moved", "new", "float64", "functions", "products", "calls")
SEEN = 5                               # lines that are told of each
EXPENSIVE = {**dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sin", "cos", "sinh",
                              "cosh", "arctan", "arctanh", "power", "float_power", "hypot"), 1),
             "logaddexp": 2}           # an exponential and a logarithm
UNWRITTEN = ("empty", "empty_like")    # memory is taken, and nothing written into it


class Meter:
    """What was counted since `reset`, in all and by line of the file that is counted."""

    def __init__(self) -> None:
        self.file, self.lines = "", list[str]()
        self.reset()

    def reset(self) -> None:
        self.by_line: dict[int, dict[str, float]] = {}
        self.leaks: dict[int, float] = {}              # line -> bytes of float64 made of none

    def add(self, name: str, read: list[np.ndarray], made: Any, out: list[np.ndarray], gathered: int = 0) -> None:
        """A call has read these and made that: new, or one of `out`, or a view of what it read.

        gathered    bytes that were read here and there, out of an array that was not read whole
        """
        read = [] if name.endswith("_like") else read          # of those only the shape
        results = [x for x in (made if isinstance(made, tuple) else (made,)) if isinstance(x, (np.ndarray, np.generic))]
        written = [x for x in results if any(x is o for o in out) or not any(np.may_share_memory(x, r) for r in read)]
        moved = [*({_place(x): x for x in read}.values() if written or not results else ()),
                 *(written if name not in UNWRITTEN else ())]
        there = self.by_line.setdefault(line := self._line(), dict.fromkeys(WHAT, 0.0))
        there["calls"] += 1
        there["moved"] += sum(map(_bytes, moved)) + gathered
        there["new"] += sum(x.nbytes for x in written if not any(x is o for o in out))
        there["float64"] += sum(_bytes(x) for x in moved if _is_double(x))
        there["functions"] += EXPENSIVE.get(name, 0) * max((x.size for x in [*read, *written]), default=0)
        there["products"] += _multiplications(name, read, written)
        if any(map(_is_double, written)) and not any(map(_is_double, read)):
            self.leaks[line] = self.leaks.get(line, 0.0) + sum(map(_bytes, written))

    def _line(self) -> int:
        """Of the file that is counted, where this call is made; 0: nowhere in it."""
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.file:
            frame = frame.f_back                       # type: ignore[assignment]
        return 0 if frame is None else frame.f_lineno

    def told(self) -> dict[str, Any]:
        """All of it: a number for each of WHAT, the lines that most of it is in, and where float64 comes from."""
        found: dict[str, Any] = {what: sum(there[what] for there in self.by_line.values()) for what in WHAT}
        for what in WHAT:
            lines = sorted(self.by_line.items(), key=lambda item: (-item[1][what], item[0]))[:SEEN]
            found[f"lines of {what}"] = [[self._shown(line), there[what]] for line, there in lines if there[what]]
        found["leaks"] = [self._shown(line) for line, _ in sorted(self.leaks.items())[:SEEN]]
        return found

    def _shown(self, line: int) -> str:
        text = self.lines[line - 1].strip() if 0 < line <= len(self.lines) else "what the judge asked for"
        return f"line {line}: {text:.80}"


def _bytes(x: Any) -> int:
    """Of what lies in memory: an array that was broadcast is as large as before."""
    return int(x.itemsize * math.prod(n for n, stride in zip(x.shape, x.strides) if stride or n == 0))


def _multiplications(name: str, read: list[np.ndarray], written: list[Any]) -> int:
    """Of a product of two arrays: each entry of the result sums over what the two have in common."""
    if name.startswith("einsum ") and len(read) == 2:
        given = name.removeprefix("einsum ").replace(" ", "").partition("->")[0].split(",")
        return math.prod({letter: n for letters, x in zip(given, read) for letter, n in zip(letters, x.shape)}.values())
    product = name in ("matmul", "dot", "inner", "vdot") and written and read and read[0].ndim
    return written[0].size * read[0].shape[-1] if product else 0


def _is_double(x: Any) -> bool:
    """(One number alone makes no array larger than it is; but it may lift one, and that one is seen.)"""
    return bool(x.dtype == np.float64 and x.size > 1)


def _place(x: np.ndarray) -> tuple[Any, ...]:
    """What is given twice, g * g, is read once."""
    return x.__array_interface__["data"][0], x.shape, x.strides, x.dtype.str
