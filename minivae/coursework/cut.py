"""Cut the answers out of a source file, and leave its text as it is.

The places are found on the syntax tree, the cutting is done on the lines: what stays is what the author wrote, comments
and all.  No mark in the reference code says where to cut, so it can be read as if there were no assignments.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

Definition = ast.FunctionDef | ast.ClassDef


class CutError(ValueError):
    """There is no such function, or it cannot be cut."""


def find(tree: ast.Module, name: str) -> ast.FunctionDef:
    """The function of that qualified name: "linear", "linear.pullback", "VAE.elbo_terms".  Raises CutError."""
    node: ast.AST = tree
    for part in name.split("."):
        inside = [child for child in _statements_below(node) if isinstance(child, Definition) and child.name == part]
        if not inside:
            raise CutError(f"no function {name!r}: {part!r} is not there")
        node = inside[0]
    if not isinstance(node, ast.FunctionDef):
        raise CutError(f"{name!r} is a class, expected a function")
    return node


def _statements_below(node: ast.AST) -> Iterator[ast.AST]:
    """As ast.walk, but for expressions: there are many, and no function is defined in one."""
    waiting = [node]
    for found in waiting:                              # it grows while it is read
        if found is not node:
            yield found
        for part in ("body", "handlers", "cases", "orelse", "finalbody"):
            inside = getattr(found, part, [])
            waiting += inside if isinstance(inside, list) else []


def blank(source: str, name: str, says: str) -> str:
    """The source with that function's body gone: `raise NotImplementedError(says)` stands there instead.

    Signature and docstring stay; comments beside the signature go, because they may state the derivative.
    """
    function = find(ast.parse(source), name)
    lines = source.splitlines(keepends=True)
    first, docstring = function.body[0], ast.get_docstring(function, clean=False)
    head_end = first.lineno - 1 if docstring is None else first.end_lineno or first.lineno
    indent = " " * first.col_offset
    if docstring is None and first.lineno == function.lineno:
        raise CutError(f"{name!r} is written on one line")
    signature = _without_comments(lines[function.lineno - 1:first.lineno - 1])
    kept = [*lines[:function.lineno - 1], *signature, *lines[first.lineno - 1:head_end]]
    return "".join([*kept, f'{indent}raise NotImplementedError("{says}")\n', *lines[function.end_lineno or 0:]])


def only(source: str, names: list[str]) -> str:
    """These functions alone, with `import numpy as np`: a piece of a chapter.  Raises CutError if one is not there."""
    tree, lines = ast.parse(source), source.splitlines(keepends=True)
    parts = []
    for name in names:
        function = find(tree, name)
        parts.append("".join(lines[function.lineno - 1:function.end_lineno]))
    return "import numpy as np\n\n\n" + "\n\n".join(parts)


def offering(source: str, modules: set[str]) -> str:
    """A folder's __init__.py that imports from these of its modules alone; its docstring stays."""
    kept = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)
            and (node.module in modules or not f"{node.module}.".startswith(_package_of(modules)))]
    names = sorted(alias.asname or alias.name for node in kept for alias in node.names)
    parts = [f'"""{ast.get_docstring(ast.parse(source), clean=False) or ""}"""\n', *map(ast.unparse, kept), "",
             f"__all__ = {names!r}"]
    return "\n".join(parts) + "\n"


def _package_of(modules: set[str]) -> str:
    """ "minivae.ops." of {"minivae.ops.dense", …} """
    return min(modules).rpartition(".")[0] + "."


def without(source: str, modules: set[str]) -> str:
    """The source without what needs these modules: their imports, decorators from them, and `if`s that ask them.

    Raises CutError if something else uses them.
    """
    tree = ast.parse(source)
    gone = {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom)
            for alias in node.names if _from(node, alias) & modules}
    if not gone:
        return source
    lines = source.splitlines(keepends=True)
    for start, end, instead in sorted(_uses(tree, gone), reverse=True):
        lines[start - 1:end] = instead
    text = "".join(lines)
    left = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} & gone
    if left:
        raise CutError(f"{', '.join(sorted(left))}: used where it cannot be left out")
    return text


def _from(node: ast.ImportFrom, alias: ast.alias) -> set[str]:
    return {str(node.module), f"{node.module}.{alias.name}"}


def _uses(tree: ast.Module, gone: set[str]) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, last line, what stands there instead)"""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and {a.asname or a.name for a in node.names} & gone:
            names = ", ".join(ast.unparse(a) for a in node.names if (a.asname or a.name) not in gone)
            yield node.lineno, node.end_lineno or 0, [f"from {node.module} import {names}\n"] if names else []
        elif isinstance(node, Definition):
            for decorator in node.decorator_list:
                if _names(decorator) & gone:
                    yield decorator.lineno, decorator.end_lineno or 0, []
        elif isinstance(node, ast.If) and _names(node.test) & gone and not node.orelse:
            yield node.lineno, node.end_lineno or 0, []


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _without_comments(lines: list[str]) -> list[str]:
    """Whole lines of code, their comments cut off."""
    kept = list(lines)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("".join(lines)).readline))
    except (tokenize.TokenError, IndentationError):
        tokens = _tokens_of_an_open_block("".join(lines))
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            kept[row - 1] = kept[row - 1][:column].rstrip() + "\n"
    return [line for line, before in zip(kept, lines) if line.strip() or not before.strip()]


def _tokens_of_an_open_block(text: str) -> list[tokenize.TokenInfo]:
    """A signature alone is no whole program: the tokens up to where that is noticed."""
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            tokens.append(token)
    except (tokenize.TokenError, IndentationError):
        pass
    return tokens


def leaks(source: str, answers: set[str]) -> list[str]:
    """The statements of `source` that stand word for word in an answer, however they are laid out."""
    return sorted({text for text in statements(ast.parse(source)) if text in answers})


def statements(tree: ast.AST) -> Iterator[str]:
    """Every statement below this node that computes something, as text, without its layout."""
    sums = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.AugAssign)
    for node in ast.walk(tree):
        statement = isinstance(node, (ast.Return, ast.Assign, ast.AugAssign))
        if statement and sum(isinstance(part, sums) for part in ast.walk(node)) > 1:
            yield ast.unparse(node)
