"""Who judges the judges?  Plants one mistake at a time in the pullbacks of a module.

Every function called `pullback` in the module's source is changed in every way that `mistakes`
knows, one change per mutant; the rest of the module stays.  The mutated source is compiled as a
module of its own; nothing on disk changes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from types import CodeType, ModuleType
from typing import Any

NO_MISTAKE = {"need_dx", "need_dp", "out"}       # keywords that ask for speed, not for another number


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake."""

    module: ModuleType
    owner: str                 # whose pullback: "linear", "Linear", "VAE.elbo_terms" (as Case.subject)
    what: str                  # "line 42: x.T @ dy → x @ dy"
    code: CodeType

    def names(self) -> dict[str, Any]:
        """What the mutated module defines, by name."""
        # its own name, because dataclass() looks its module up
        namespace = {"__name__": self.module.__name__, "__file__": self.module.__file__}
        exec(self.code, namespace)
        own = vars(self.module)
        return {name: thing for name, thing in namespace.items()
                if getattr(thing, "__module__", None) == self.module.__name__ and name in own}


def owners(module: ModuleType) -> list[str]:
    """Whose pullbacks there are in the module."""
    return list(dict.fromkeys(owner for owner, _ in pullbacks(ast.parse(inspect.getsource(module)))))


def mutants(module: ModuleType, *only: str) -> list[Mutant]:
    """Every mutant of the module, or of these owners' pullbacks in it, and none twice."""
    tree = ast.parse(inspect.getsource(module))
    return [Mutant(module, owner, what, compile(tree, f"<mutant of {module.__name__}>", "exec"))
            for owner, what in planted(tree, *only)]


def planted(tree: ast.Module, *only: str) -> Iterator[tuple[str, str]]:
    """(owner, what) for every mistake, while it stands in the tree, and none twice."""
    found: set[tuple[str, str]] = set()
    for owner, pullback in pullbacks(tree):
        if only and owner not in only:
            continue
        right = ast.unparse(pullback)
        for parent, field, index, old, new in edits(pullback):
            _put(parent, field, index, ast.fix_missing_locations(ast.copy_location(new, old)))
            key = owner, ast.unparse(pullback)
            if key not in found and key[1] != right:                  # (None, None) swapped is no mistake
                found.add(key)
                yield owner, f"line {old.lineno}: {_text(old)} → {_text(new)}"
            _put(parent, field, index, old)


def unchanged(module: ModuleType) -> Mutant:
    """The module compiled the same way, without a mistake: nothing may be wrong with it."""
    return Mutant(module, "", "nothing", compile(ast.parse(inspect.getsource(module)), "<unchanged>", "exec"))


def pullbacks(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(owner, function) for every function called `pullback`, or `heard_…` or `_heard_…` of several.

    A class owns its __call__'s and private methods'.
    """
    def inside(node: ast.AST, path: tuple[str, ...]) -> Iterator[tuple[str, ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            name = child.name.lstrip("_") if isinstance(child, ast.FunctionDef) else ""
            if name == "pullback" or name.startswith("heard_"):
                yield ".".join(takewhile(lambda name: not name.startswith("_"), path)), child
            elif isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                yield from inside(child, (*path, child.name))

    return inside(tree, ())


def edits(pullback: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None, Any, ast.AST]]:
    """(parent, field, index, old, new) for every mistake at every place of the body."""
    todo: list[tuple[ast.AST, str, int | None, Any]] = [
        (pullback, "body", i, statement) for i, statement in enumerate(pullback.body)]
    while todo:
        parent, field, index, node = todo.pop()
        for new in mistakes(node):
            yield parent, field, index, node, new
        if isinstance(node, ast.keyword) and node.arg in NO_MISTAKE:
            continue
        for name, value in ast.iter_fields(node):
            parts = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            todo += [(node, name, i, part) for i, part in parts if isinstance(part, ast.AST)]


def mistakes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that one can get wrong at this node."""
    match node:
        case ast.BinOp(left, op, right):
            yield left                                            # a factor or a term forgotten
            yield right
            others = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Div: ast.Mult}
            if type(op) in others:
                yield ast.BinOp(left, others[type(op)](), right)
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(2 * value if value else 1)
        case ast.Compare(left, [op], right):
            others = {ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Lt: ast.Gt, ast.LtE: ast.GtE}
            if type(op) in others:
                yield ast.Compare(left, [others[type(op)]()], right)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Attribute(value, "T"):
            yield value
        case ast.Call(ast.Attribute(value, "sum" | "reshape" | "mean")):
            yield value
        case ast.Call(ast.Attribute(ast.Name("np"), "matmul") | ast.Name("matmul"), [left, right]):
            yield left
            yield right
        case ast.Call(function, arguments, keywords):
            yield from _wrong_arguments(function, arguments, keywords)
        case ast.Return(ast.Tuple(parts)):
            for i in range(len(parts) - 1):                       # neighbours swapped
                yield ast.Return(ast.Tuple([*parts[:i], parts[i + 1], parts[i], *parts[i + 2:]], ast.Load()))
            for i, part in enumerate(parts):
                yield ast.Return(ast.Tuple([*parts[:i], _negative(part), *parts[i + 1:]], ast.Load()))
        case ast.Return(ast.expr() as value):
            yield ast.Return(_negative(value))
        case ast.AugAssign(target, op, value):
            yield ast.Assign([target], value)                     # += became =
            yield ast.AugAssign(target, ast.Add() if isinstance(op, ast.Sub) else ast.Sub(), value)
            yield ast.Pass()
        case ast.Assign([ast.Tuple([first, second, *rest])], value):
            yield ast.Assign([ast.Tuple([second, first, *rest], ast.Store())], value)
        case ast.Expr(ast.Call()) | ast.For():
            yield ast.Pass()


def _wrong_arguments(function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[ast.AST]:
    """A call of another pullback with a sign or the order wrong, or left out; a NumPy function left out."""
    name = ast.unparse(function)
    is_pullback = "pull" in name
    if any(isinstance(argument, ast.Starred) for argument in arguments):
        return
    if len(arguments) == 1 and not keywords and (is_pullback or name.startswith("np.") or name == "reversed"):
        yield arguments[0]
    if is_pullback:
        for i, argument in enumerate(arguments):
            yield ast.Call(function, [*arguments[:i], _negative(argument), *arguments[i + 1:]], keywords)
        for i in range(len(arguments) - 1):
            yield ast.Call(function, [*arguments[:i], arguments[i + 1], arguments[i], *arguments[i + 2:]], keywords)


def _negative(x: ast.expr) -> ast.expr:
    return x.operand if isinstance(x, ast.UnaryOp) else ast.UnaryOp(ast.USub(), x)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _text(node: ast.AST) -> str:
    return ast.unparse(node).replace("\n", "; ")
