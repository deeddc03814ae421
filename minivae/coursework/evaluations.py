"""Is a derivative derived, or measured?  While an op and its pullback run, the calls that they make are watched.

Who measures a derivative must evaluate a function beside the point at which the derivative is asked for: at x + h, or
at x + ih.  A derivation never needs to.  So at every call of a Python function the arrays that it sees are looked at:
is one of them an input of the op, moved a little, or made complex?  And is the op itself asked again by its pullback,
twice or more?  What is written without a call, (np.tanh(x + h) - np.tanh(x)) / h, is seen by `looks`, which reads the
text.

This file is run in the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

import numpy as np

SAYS = "a finite difference, not a derivation: "
STEPS = (1e-11, 1e-4, 1.5)             # a step: the least, the largest that is taken for nothing else, the largest
FLOAT32 = 1e-6                         # relative: rounding to float32 is no step


class Measured(Exception):
    """A function was evaluated beside the point; the message is for the student."""


class Watch:
    """Keeps what every op was given, and watches the op and its pullback."""

    def __init__(self) -> None:
        self.ops: dict[int, tuple[Any, list[np.ndarray]]] = {}         # of a pullback: the op, and copies of its inputs
        self.is_pullback, self.op, self.inputs = False, None, list[np.ndarray]()
        self.moved: dict[bytes, str] = {}
        self.sure, self.again, self.stopped = "", 0, False
        self.before: Any = None

    def sent(self, thing: Any, arguments: Any, keywords: Any) -> None:
        """These are about to be given to `thing`.  (An op's constants come by keyword: they are not differentiated.)"""
        self.is_pullback = id(thing) in self.ops
        given = [np.array(x) for x in arguments if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
        self.op, self.inputs = self.ops.get(id(thing), (thing, given))
        self.moved, self.sure, self.again = {}, "", 0
        self.before = sys.getprofile()
        sys.setprofile(self._called)

    def ended(self) -> None:
        """However it ended."""
        self.stopped = sys.getprofile() != self._called
        sys.setprofile(self.before)

    def ask(self, thing: Any, result: Any) -> None:
        """Raises Measured if an op or its pullback has measured; remembers the pullback of an op."""
        pullbacks = [part for part in result if callable(part)] if isinstance(result, (tuple, list)) else []
        for pullback in pullbacks:
            self.ops[id(pullback)] = (thing, self.inputs)
        if not (self.is_pullback or pullbacks):        # whoever is asked for a difference may take one
            return
        if self.stopped:
            raise Measured("it calls sys.setprofile: what it does cannot be watched")
        if self.sure or len(self.moved) > 1:
            raise Measured(SAYS + (self.sure or next(iter(self.moved.values()))))
        if self.is_pullback and self.again > 1:
            name = getattr(self.op, "__qualname__", type(self.op).__name__)
            raise Measured(f"{SAYS}the pullback calls {name} again, {self.again} times")

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and not self.sure:
            self.again += frame.f_code is code_of(self.op)
            for x in list(frame.f_locals.values()):
                if isinstance(x, np.ndarray):
                    self._look(x, frame.f_code.co_name)

    def _look(self, x: np.ndarray, name: str) -> None:
        for there in self.inputs:
            if x.shape != there.shape:
                continue
            name = "a function" if name.startswith("<") else name
            if x.dtype.kind == "c" and x.imag.any() and _close(x.real, there):
                self.sure = f"{name} is called with a complex number beside the point (a complex step)"
            elif x.dtype.kind == "f" and not _close(x, there) and STEPS[0] <= (step := _step(x, there)) <= STEPS[2]:
                says = f"{name} is called beside the point, {step:.2g} away from it"
                self.moved.setdefault(x.tobytes(), says)
                self.sure = says if step <= STEPS[1] else self.sure


def _step(x: np.ndarray, there: np.ndarray) -> float:
    """How far it was moved, if that is a step: of one entry, or a small one of many; else infinity."""
    off = np.abs(x - there)
    largest = float(off.max())
    small = bool((off <= 0.05 * np.maximum(1.0, np.abs(there))).all())
    return largest if small or (off > 0.0).sum() == 1 else np.inf


def _close(x: np.ndarray, there: np.ndarray) -> bool:
    """The same but for rounding: to float32, if it was; else to float64."""
    rounding = FLOAT32 if np.array_equal(x, x.astype(np.float32)) else 1e-15
    return bool((np.abs(x - there) <= rounding * np.abs(there)).all())


def code_of(op: Any) -> CodeType | None:
    """Of a function, or of what happens when a layer is called."""
    function = op if hasattr(op, "__code__") else vars(type(op)).get("__call__")
    return getattr(function, "__code__", None)
