"""Python with nothing in it but what can be counted: how a file is read and run whose NumPy has a meter (`counted`).

The meter runs in the process of the code that it watches.  So that code must not reach it, nor NumPy's own arrays,
which nobody counts.  Before a line of it has run its text is read: names that lead behind things (`__class__`,
`__globals__`, a frame, a traceback) are refused, with their line; and it runs with builtins that lead nowhere: no
`getattr`, no `eval`, no file, and no import but of the NumPy that is counted.

A file that finds out that it is counted gains nothing: its numbers are compared in the very run that is counted.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

DUNDERS = frozenset({f"__{name}__" for name in (
    "init", "call", "len", "getitem", "setitem", "iter", "contains", "name", "slots", "all", "repr", "enter", "exit",
    "doc", "future")})
BEHIND = frozenset({"f_back", "f_globals", "f_locals", "f_builtins", "f_code", "format", "format_map", "mro", "ufunc",
                    "obj", "with_traceback"})
FAMILIES = ("gi_", "cr_", "ag_", "tb_", "co_")
IMPORTED = ("numpy", "math", "__future__")
OFFERED = (
    "abs", "all", "any", "bool", "callable", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int",
    "isinstance", "iter", "len", "list", "map", "max", "min", "next", "pow", "print", "property", "range", "repr",
    "reversed", "round", "set", "slice", "sorted", "staticmethod", "classmethod", "str", "sum", "super", "tuple", "zip",
    "object", "None", "True", "False", "NotImplemented", "Ellipsis", "__build_class__", "Exception", "ArithmeticError",
    "AssertionError", "AttributeError", "ImportError", "IndexError", "KeyError", "NotImplementedError", "RuntimeError",
    "StopIteration", "TypeError", "ValueError", "ZeroDivisionError")


class Refused(Exception):
    """The text says what cannot be counted; the message is for the student."""


def refusal(text: str, name: str) -> str:
    """The first thing in a text that is not confined, with its line; empty if there is none."""
    nodes = list(ast.walk(ast.parse(text)))
    own = {found for node in nodes for found in _bound(node)}
    for node in nodes:
        says = _unconfined(node, own)
        if says:
            return (f"{name}, line {getattr(node, 'lineno', 1)}: {says} is not there when the passes of this file are "
                    "counted: arithmetic with NumPy's arrays is all that is judged")
    return ""


@lru_cache(maxsize=8)
def _read(text: str, file: str, name: str) -> tuple[types.CodeType, str]:
    return compile(text, file, "exec"), refusal(text, name)


def _bound(node: ast.AST) -> list[str]:
    """Names that the text itself gives to something: `id` may be one."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store) else []
    return [node.arg] if isinstance(node, ast.arg) else []


def _unconfined(node: ast.AST, own: set[str]) -> str:
    if isinstance(node, (ast.Match, ast.AsyncFunctionDef, ast.Await)):         # a pattern names attributes too
        return type(node).__name__.lower().removesuffix("functiondef")
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [node.module or "."] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        strange = [module for module in modules if module not in IMPORTED]
        return f"import {strange[0]}" if strange else ""
    names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname")]
    names += node.names if isinstance(node, (ast.Global, ast.Nonlocal)) else []
    for found in names:
        if isinstance(found, str) and found.startswith("__") and found not in DUNDERS:
            return found
    if isinstance(node, ast.Attribute) and (node.attr in BEHIND or node.attr.startswith(FAMILIES)):
        return node.attr
    if isinstance(node, ast.Name) and hasattr(builtins, node.id) and node.id not in {*OFFERED, *own}:
        return node.id
    return ""


class Bench:
    """Where a file is run and counted.

    counted, meter   the modules of that name: alone in the student's process, minivae's in the judge's
    """

    def __init__(self, counted: Any, meter: Any) -> None:
        self.counted, self.meter = counted, meter.Meter()

    def opened(self, name: str, text: str | None = None) -> Outside:
        """The module `name` of this text, or of the file of that name here.  Raises Refused, SyntaxError, OSError."""
        path = Path(f"{name}.py").resolve()
        file, text = (f"<{name}>", text) if text is not None else (str(path), path.read_text(encoding="utf-8"))
        code, says = _read(text, file, f"{name}.py")
        if says:
            raise Refused(says)
        self.counted.METER, module = self.meter, types.ModuleType(name)
        self.meter.file, self.meter.lines = file, text.splitlines()
        offered = {each: getattr(builtins, each) for each in OFFERED if hasattr(builtins, each)}
        module.__dict__["__builtins__"] = offered | {"__import__": self._import}
        exec(code, module.__dict__)
        self.counts()
        return Outside(module, self.counted)

    def _import(self, name: str, *_: Any) -> Any:
        if name not in IMPORTED:
            raise ImportError(f"{name} is not there when passes are counted")
        return self.counted.numpy if name == "numpy" else importlib.import_module(name)

    def counts(self) -> dict[str, Any]:
        """What was counted since this was asked before."""
        found = self.meter.told()
        self.meter.reset()
        return found


class Outside:
    """A thing of counted code, for who is not counted: plain arrays go in and come out."""

    def __init__(self, thing: Any, counted: Any) -> None:
        self.thing, self.counted = thing, counted
        self.__qualname__ = getattr(thing, "__qualname__", type(thing).__name__)
        try:
            self.__signature__ = inspect.signature(thing)
        except (TypeError, ValueError):                # a thing that is not called
            self.__signature__ = inspect.Signature()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._out(self.thing(*map(self._into, arguments), **{key: self._into(x) for key, x in keywords.items()}))

    def __getattr__(self, name: str) -> Any:
        return self._out(getattr(self.thing, name))

    def _into(self, x: Any) -> Any:
        if isinstance(x, Outside):
            return x.thing
        if isinstance(x, dict):
            return {key: self._into(part) for key, part in x.items()}
        return type(x)(map(self._into, x)) if type(x) in (list, tuple) else self.counted.counted(x)

    def _out(self, x: Any) -> Any:
        if isinstance(x, self.counted.Array):
            return x.__plain__
        if type(x) is dict:
            return {key: self._out(part) for key, part in x.items()}
        if type(x) in (list, tuple):
            return type(x)(map(self._out, x))
        return x if x is None or isinstance(x, (bool, int, float, str)) else Outside(x, self.counted)
