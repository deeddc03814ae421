"""A function leaves alone what is not its own: arrays that the judge sent, and those that were returned to it.

A pullback that writes into the cotangent spoils it for the next one that needs it, and a value that changes after it
was returned was never returned.  Both may agree with the right numbers by luck.  So the bytes of all that crossed are
compared after every call.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np


class Written(Exception):
    """A function wrote into what is not its own; the message is for the student."""


class Witness:
    """Remembers arrays as they were."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, bytes, str, str]] = []       # array, its bytes, whose it is, what to do

    def sent(self, thing: Any, arguments: Any, keywords: Any) -> None:
        """These are about to be given to `thing`."""
        for name, x in _named(thing, arguments, keywords):
            for array in _arrays(x):
                self._remember(array, f"{name}, which it was given and which belongs to the caller",
                               f"write a new array ({name}_new = {name} * ...), or work on {name}.copy()")

    def ended(self) -> None:
        """However it ended: nothing to do."""

    def _remember(self, array: np.ndarray, whose: str, do: str) -> None:
        if not any(known is array for known, *_ in self.seen):
            self.seen.append((array, array.tobytes(), whose, do))

    def ask(self, thing: Any, result: Any) -> None:
        """Raises Written if `thing`, which has just been called, changed any of them; remembers what came out."""
        for i, (array, before, whose, do) in enumerate(self.seen):
            now = array.tobytes()
            if now != before:
                self.seen[i] = (array, now, whose, do)                 # said once: the next call is not to blame
                raise Written(f"{_called(thing)} writes into {whose}: {do}")
        for array in _arrays(result):
            self._remember(array, "a value that was returned before, which others still need", "work on a copy of it")


def _called(thing: Any) -> str:
    """ "the pullback of tanh", of "tanh.<locals>.pullback" """
    name = str(getattr(thing, "__qualname__", type(thing).__name__))
    outer, _, inner = name.rpartition(".<locals>.")
    return f"the {inner} of {outer.removesuffix('.__call__')}" if outer else name


def _named(thing: Any, arguments: Any, keywords: Any) -> Iterator[tuple[str, Any]]:
    """(the name that the function gives it, argument)"""
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):                    # NumPy's own functions have no signature
        parameters = []
    names = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    for i, x in enumerate(arguments):
        yield (names[i] if i < len(names) else f"argument {i + 1}"), x
    yield from keywords.items()


def _arrays(x: Any) -> Iterator[np.ndarray]:
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)):
        for part in x:
            yield from _arrays(part)
    elif isinstance(x, dict):
        for part in x.values():
            yield from _arrays(part)
