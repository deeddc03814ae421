"""In the student's process: functions of earlier tasks, which the judge answers (under.py).

A task is judged with the solution's parts under it, or one mistake would be charged again and again.  But no text and
no compiled code of the solution comes here, where the student's code could read it: where such a function stood in the
student's file there is a line that asks.  Arrays go over and come back; of what else is given, a layer or a pullback,
the judge gets a handle, and may ask about it before it answers.

This file is run in the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class PartError(Exception):
    """What the part said: the message is for the student."""


class Line:
    """To the judge.  `ask` is what stands in the student's files."""

    def __init__(self, wire: Any, things: Any, requests: int, answers: int) -> None:
        self.wire, self.things, self.requests, self.answers = wire, things, requests, answers

    def ask(self, part: Any, arguments: Any, keywords: Any) -> Any:
        """part(*arguments, **keywords), of a name, or the number of a function that came back before.

        Raises PartError with what the part raised.
        """
        given = [*arguments, *keywords.values()]
        self._send(("ask", part, self.things.out(list(arguments)), self.things.out(dict(keywords))))
        while True:
            number, *rest = self.wire.receive(self.requests)
            if number == "told":
                return self._told(given, *rest)
            self._send(self._answered(number, rest))

    def _answered(self, number: int, request: Any) -> Any:
        """What the judge asks in between.  (Not watched: it is not the student's code that calls.)"""
        try:
            return (number, True, self.things.answer(request, watched=False))
        except Exception as error:
            return (number, False, f"{type(error).__name__}: {str(error)[:500]}")

    def _told(self, given: list[Any], well: bool, result: Any, changed: Any) -> Any:
        if not well:
            raise PartError(str(result))
        for i, values in changed:                      # what a part writes in place, as an optimizer does
            given[i][...] = values
        return self._back(result)

    def _back(self, x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(self._back(part) for part in x)
        if isinstance(x, self.wire.Handle):
            return self.things.kept[x.number] if x.kind == self.wire.YOURS else self.function(x.number)
        return x

    def function(self, number: int) -> Callable[..., Any]:
        """A function that came back: a pullback, mostly."""
        def part(*arguments: Any, **keywords: Any) -> Any:
            return self.ask(number, arguments, keywords)

        return part

    def _send(self, frame: Any) -> None:
        self.wire.send(self.answers, self.wire.pack(frame))


def connect(line: Line) -> None:
    """From here on, this line is asked."""
    LINES[:] = [line]
    line.things.part = line.function


LINES: list[Line] = []                                 # one, when the process serves


def ask(part: str, arguments: Any, keywords: Any) -> Any:
    """Of the judge that is there.  Arrays are sent as they are, and come back as new ones."""
    return LINES[0].ask(part, [np.asarray(x) if isinstance(x, np.generic) else x for x in arguments], keywords)
