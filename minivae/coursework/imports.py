"""What a file imports that is not there: read from its text, before anything of it runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
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
    certain: bool

    @property
    def what(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def not_there(contents: Mapping[str, bytes], tree: Path) -> list[str]:
    """What files import though neither they nor this tree have such a module or name: MOST of it.

    Not what stands under `try` or `if`: the file may know what to do without.
    """
    return [f"{file}, line {found.line}: {found.text:.100}: there is no {found.what:.100} in the assignment.  Only its "
            "files, NumPy and Python's own modules can be imported: begin with the file that was handed out, and fill "
            "its holes"
            for file, source in sorted(contents.items()) for found in imports(file, source)
            if found.certain and not _there(found, contents, tree)][:MOST]


def imports(file: str, source: bytes) -> list[Import]:
    """What a file imports; nothing, if it is no Python: then running it says why."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = [one for node, certain in _statements(body) for one in _of(node, file, certain)]
    return sorted(found, key=lambda one: one.line)


def _statements(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, bool]]:
    """All statements, and whether they stand neither under `try` nor `if`."""
    waiting: list[tuple[ast.AST, bool]] = [(node, True) for node in body]
    for node, certain in waiting:                      # it grows while it is read
        yield node, certain
        below = certain and not isinstance(node, (ast.Try, ast.If, ast.ExceptHandler))
        waiting += [(inner, below) for part in ("body", "handlers", "orelse", "finalbody")
                    for inner in getattr(node, part, [])]


def _of(node: ast.AST, file: str, certain: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, "", node.lineno, ast.unparse(node), certain) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        folder = PurePosixPath(file).parts[:-1]
        package = folder[:len(folder) + 1 - node.level] if node.level else ()
        module = ".".join([*package, *([node.module] if node.module else [])])
        yield from (Import(module, alias.name, node.lineno, ast.unparse(node), certain) for alias in node.names)


def _there(wanted: Import, contents: Mapping[str, bytes], tree: Path) -> bool:
    places = [f"{name.replace('.', '/')}.py" for name in (wanted.module, f"{wanted.module}.{wanted.name}")]
    if any(place in contents and not (tree / place).exists() for place in places):
        return True                                    # a file of their own
    top = wanted.module.partition(".")[0]
    path = module_file(wanted.module, tree)
    if path is None:
        return top in OFFERED or top in sys.stdlib_module_names
    if wanted.name in ("", "*") or module_file(f"{wanted.module}.{wanted.name}", tree):
        return True
    source = contents.get(path.relative_to(tree).as_posix(), path.read_bytes())
    return bool({wanted.name, "*", "__getattr__"} & _names(source))


def module_file(module: str, tree: Path) -> Path | None:
    """Where in the tree a module is written, if it is there."""
    for folder in PATHS:
        place = tree / folder / module.replace(".", "/")
        for candidate in (place.with_name(place.name + ".py"), place / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


@lru_cache(maxsize=500)
def _names(source: bytes) -> frozenset[str]:
    """All names that a module may have: whatever is bound anywhere in it; all there are, "*", if it is no Python."""
    found = {"__name__", "__file__", "__doc__"}
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset("*")
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return frozenset(found)
