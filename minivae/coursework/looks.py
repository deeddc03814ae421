"""Read a pullback instead of running it: is a step added, and then divided by?  Is there a complex number?

The second judge of whether a derivative was derived.  `evaluations` sees what a pullback calls; this sees what it
writes without a call: (np.tanh(x + h) - np.tanh(x - h)) / (2 * h).  It looks at the function that was asked for, and at
those of the same file that it names.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Protocol

SAYS = "a finite difference, not a derivation: "
STEP = 2e-2                            # the largest number that is taken for one


class Written(Protocol):
    """A task: what is written, "file:function"."""

    @property
    def id(self) -> str: ...
    @property
    def write(self) -> tuple[str, ...]: ...


def looks_of(tasks: Iterable[Written], read: Callable[[str], str]) -> dict[str, str]:
    """Task -> what is said of its functions, if they measure.  `read` gives the text of a file that was handed in."""
    found: dict[str, str] = {}
    for task in tasks:
        for file, _, name in (target.partition(":") for target in task.write):
            says = look(read(file), name) if name else None
            if says:
                found.setdefault(task.id, f"{SAYS}{file}, {says}")
    return found


def look(source: str, name: str) -> str | None:
    """Where the function of that qualified name, or one that it calls, takes a step; None if none does."""
    tree, small = _read(source)
    for function in _reached(tree, name):
        says = _complex(function) or _quotient(function, small)
        if says:
            return says
    return None


@lru_cache(maxsize=16)
def _read(source: str) -> tuple[ast.Module, set[str]]:
    """A file, and its names of small numbers: it is asked for once for each task in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):     # running it will say so
        tree = ast.Module([], [])
    return tree, set(_small_names(tree))


def _reached(tree: ast.Module, name: str) -> Iterator[ast.AST]:
    """The function, and all functions of the file that it names, directly or not."""
    there: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            there.setdefault(node.name, []).append(node)
    asked = _find(tree, name.split("."))
    waiting, seen = [asked] if asked else list[ast.AST](), set[int]()
    for function in waiting:                           # it grows while it is read
        if id(function) not in seen:
            seen.add(id(function))
            yield function
            for part in ast.walk(function):
                called = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
                waiting += there.get(called, []) if called != "pullback" else []


def _find(node: ast.AST, path: list[str]) -> ast.AST | None:
    for child in ast.walk(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and child.name == path[0] and child is not node:
            return _find(child, path[1:]) if path[1:] else child
    return None


def _small_names(tree: ast.AST) -> Iterator[str]:
    """Names that stand for a small number: h = 1e-6, def slope(f, x, h=1e-6), up to products of such."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _pairs(target, node.value)]
            yield from (target.id for target, value in pairs if isinstance(target, ast.Name) and _is_small(value))
        elif isinstance(node, ast.AnnAssign) and node.value and _is_small(node.value):
            yield from [node.target.id] if isinstance(node.target, ast.Name) else []
        elif isinstance(node, ast.arguments):
            after = node.args[len(node.args) - len(node.defaults):]
            for argument, value in [*zip(after, node.defaults), *zip(node.kwonlyargs, node.kw_defaults)]:
                if value and _is_small(value):
                    yield argument.arg


def _pairs(target: ast.AST, value: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """h, d = 1e-6, dy[:, None] assigns twice."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts)
    else:
        yield target, value


def _is_small(node: ast.AST) -> bool:
    """1e-6, 10 ** -6, or 2 ** -20"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.left, ast.Constant) and isinstance(node.right, ast.UnaryOp)
    return isinstance(node, ast.Constant) and type(node.value) is float and 0.0 < node.value <= STEP


def _factors(node: ast.AST) -> Iterator[ast.AST]:
    """Of a product; 2 * h, h * e, (h + h) and -h have the factor h."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from (*_factors(node.left), *_factors(node.right))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and ast.dump(node.left) == ast.dump(node.right):
        yield from _factors(node.left)
    elif isinstance(node, ast.UnaryOp):
        yield from _factors(node.operand)
    else:
        yield node


def _steps(node: ast.AST, small: set[str]) -> bool:
    return any(_is_small(part) or (isinstance(part, ast.Name) and part.id in small) for part in _factors(node))


def _quotient(function: ast.AST, small: set[str]) -> str | None:
    """A small number that is added somewhere (what it is divided by apart), and by which something is divided."""
    divisors = [node.right if isinstance(node, ast.BinOp) else node.value for node in ast.walk(function)
                if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)]
    below = {id(part) for divisor in divisors for part in ast.walk(divisor)}
    added = [node.lineno for node in ast.walk(function) if id(node) not in below
             and isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, (ast.Add, ast.Sub))
             and (_steps(node.right if isinstance(node, ast.BinOp) else node.value, small)
                  or (isinstance(node, ast.BinOp) and _steps(node.left, small)))]
    divided = [divisor.lineno for divisor in divisors if _steps(divisor, small)]
    if added and divided:
        return f"line {added[0]} adds a small step, and line {divided[0]} divides by it"
    return None


def _complex(function: ast.AST) -> str | None:
    for node in ast.walk(function):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, complex)
        word = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if literal or word in ("imag", "complex", "complex128", "complex64"):
            return f"line {getattr(node, 'lineno', 0)} computes with complex numbers (a complex step)"
    return None
