"""In the judge: the solution's parts under a task, so that one mistake is charged once.

The student's files are laid out with a line in the place of every function of an earlier task: it asks the judge, who
runs the solution's function here.  So the student's process has nothing of the solution to read, and an earlier task's
part cannot tell a later one's answer, because later ones are not offered.  What it can do is ask: for values and
pullbacks of functions that lie under the task, at points of its choice.

Numbers that come from there are looked at before the solution computes with them: plain arrays, few and small.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np

from minivae.coursework.assignment import Task
from minivae.coursework.cut import CutError, find
from minivae.coursework.wire import JUDGES, YOURS, Handle

ENTRIES, WHOLE, ASKED, DEEP = 2048, 10_000, 2_000, 20      # the most numbers in an array, the largest int, questions


class Refused(Exception):
    """What was asked is not offered, or asked with what is not looked at."""


def functions_under(tasks: tuple[Task, ...], task: str) -> frozenset[str]:
    """ "file:function", what a task may rest on: all that earlier tasks write, but for what it writes itself."""
    ids = [one.id for one in tasks]
    at = ids.index(task)
    own, earlier = set(tasks[at].write), {target for one in tasks[:at] for target in one.write}
    found = {outer(target) for target in earlier if target.startswith("minivae/") and ":" in target}
    return frozenset(found - {outer(target) for target in own})


def outer(target: str) -> str:
    """ "…:linear" of "…:linear.pullback": with a pullback goes the function around it."""
    return target.removesuffix(".pullback")


def laid_under(functions: Collection[str], read: Callable[[str], str]) -> dict[str, bytes]:
    """file -> its text, with a line that asks in the place of each of these; no line moves."""
    found: dict[str, str] = {}
    for function in sorted(functions):
        file, _, name = function.partition(":")
        text = found.get(file) or read(file)
        try:
            node = find(ast.parse(text), name)
        except (CutError, SyntaxError, ValueError, RecursionError):    # then it runs, or does not, as it is
            continue
        lines = text.splitlines(keepends=True)
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        line = f"def {node.name}(*a, **k): import judges_parts; return judges_parts.ask({function!r}, a, k)\n"
        blank = "\n" * ((node.end_lineno or node.lineno) - first)
        found[file] = "".join([*lines[:first - 1], " " * node.col_offset, line, blank, *lines[node.end_lineno or 0:]])
    return {file: text.encode(errors="replace") for file, text in found.items()}


class Far:
    """A thing in the student's process, for the solution's code to call and ask."""

    def __init__(self, parts: Parts, handle: Handle) -> None:
        self.__dict__["_at"] = (parts, handle)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        parts, handle = self._at
        return parts.near(parts.student._ask("call", handle, *parts.out([list(arguments), keywords])))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):                      # NumPy asks whether this is an array
            raise AttributeError(name)
        parts, handle = self._at
        return parts.near(parts.student._ask("get", handle, name))


class Parts:
    """The solution's functions under one task, for one student's process."""

    def __init__(self, functions: Collection[str]) -> None:
        self.functions, self.kept = functions, list[Callable[..., Any]]()
        self.asked, self.depth = 0, 0
        self.student: Any = None

    def serve(self, part: Any, arguments: Any, keywords: Any) -> tuple[str, bool, Any, list[Any]]:
        """The answer to a question: ("told", whether it went well, what came out, arrays that were written into)."""
        self.asked, self.depth = self.asked + 1, self.depth + 1
        try:
            if self.asked > ASKED or self.depth > DEEP:
                raise Refused("asked too often")
            function = self._function(part)
            given, named = self.near(arguments), self.near(keywords)
            arrays = [(i, x, x.copy()) for i, x in enumerate([*given, *named.values()]) if isinstance(x, np.ndarray)]
            result = self.out(function(*given, **named))
            changed = [[i, x] for i, x, before in arrays if x.tobytes() != before.tobytes()]
            return "told", True, result, changed
        except Exception as error:                     # of the solution's code with what it was given
            if not self.student.alive:
                raise
            name = part if isinstance(part, str) else "a pullback"
            says = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {str(error)[:300]}"
            return "told", False, f"{name}, the judge's, which stands for yours here: {says}", []
        finally:
            self.depth -= 1

    def _function(self, part: Any) -> Callable[..., Any]:
        if type(part) is int and 0 <= part < len(self.kept):
            return self.kept[part]
        if not isinstance(part, str) or part not in self.functions:
            raise Refused("this is not offered")
        file, _, name = part.partition(":")
        thing: Any = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for piece in name.split("."):
            thing = getattr(thing, piece)
        return cast(Callable[..., Any], thing)

    def near(self, x: Any) -> Any:
        """What came from the student's process, as the solution may see it.  Raises Refused."""
        if isinstance(x, np.ndarray):
            if x.size > ENTRIES or max(x.shape, default=0) > ENTRIES:
                raise Refused(f"an array of shape {x.shape}: at most {ENTRIES} numbers are computed with here")
            return x
        if isinstance(x, (list, tuple)) and len(x) <= ENTRIES:
            return type(x)(self.near(part) for part in x)
        if isinstance(x, dict) and len(x) <= ENTRIES:
            return {key: self.near(part) for key, part in x.items()}
        if isinstance(x, Handle):
            return Far(self, x)
        if x is None or isinstance(x, (bool, float)) or (isinstance(x, int) and abs(x) <= WHOLE):
            return x
        raise Refused(f"a {type(x).__name__}: arrays and numbers are computed with here")

    def out(self, x: Any) -> Any:
        """What the solution returned or gives, as it may cross."""
        if isinstance(x, Far):
            return Handle(x._at[1].number, YOURS)
        if isinstance(x, np.ndarray) or x is None or isinstance(x, (bool, int, float, np.generic)):
            return x
        if hasattr(x, "__array__"):                    # a product that is not multiplied out yet
            return np.asarray(x)
        if isinstance(x, (list, tuple)):
            return type(x)(self.out(part) for part in x)
        if isinstance(x, Mapping):
            return {key: self.out(part) for key, part in x.items()}
        self.kept.append(x)
        return Handle(len(self.kept) - 1, JUDGES)
