"""What a file imports that is not there: read from its text, before anything of it runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

OFFERED = ("numpy", "threadpoolctl", "tqdm", "__future__")
MOST = 5                               # that are told: the rest is seen when these are mended
PATHS = ("", "chapters/")              # of a working tree, where modules are looked for


@dataclass(frozen=True)
class Import:
    """`import module`, or `from module import name`."""

    module: str
    name: str
    line: int
    text: str

    @property
    def what(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def not_there(contents: Mapping[str, bytes], tree: Path) -> list[str]:
    """What files import though this tree has no such module, or the module no such name: MOST of them."""
    return [f"{file}, line {found.line}: {found.text:.100}: there is no {found.what:.100} in the assignment.  Only its "
            "files, NumPy and Python's own modules can be imported: begin with the file that was handed out, and fill "
            "its holes"
            for file, source in sorted(contents.items()) for found in imports(file, source)
            if not _there(found, tree)][:MOST]


def imports(file: str, source: bytes) -> list[Import]:
    """What a file imports for certain: not under `try` or `if`, where it may know what to do without.

    Nothing, if the file is no Python: then running it says why.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [found for node in _statements(body) for found in _of(node, file)]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.With)):
            yield from _statements(node.body)


def _of(node: ast.stmt, file: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, "", node.lineno, ast.unparse(node)) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        folder = PurePosixPath(file).parts[:-1]
        package = folder[:len(folder) + 1 - node.level] if node.level else ()
        module = ".".join([*package, *([node.module] if node.module else [])])
        yield from (Import(module, alias.name, node.lineno, ast.unparse(node)) for alias in node.names)


def _there(wanted: Import, tree: Path) -> bool:
    top = wanted.module.partition(".")[0]
    path = module_file(wanted.module, tree)
    if path is None:
        return top in OFFERED or top in sys.stdlib_module_names
    if wanted.name in ("", "*") or module_file(f"{wanted.module}.{wanted.name}", tree):
        return True
    try:
        return bool({wanted.name, "*", "__getattr__"} & _names(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return True


def module_file(module: str, tree: Path) -> Path | None:
    """Where in the tree a module is written, if it is there."""
    for folder in PATHS:
        place = tree / folder / module.replace(".", "/")
        for candidate in (place.with_name(place.name + ".py"), place / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _names(module: ast.Module) -> set[str]:
    """All names that a module may have: whatever is bound anywhere in it."""
    found = {"__name__", "__file__", "__doc__"}
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found
