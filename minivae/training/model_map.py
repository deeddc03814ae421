"""The map of the models: which terms of the ELBO each of them changes, what to type after `minivae train`, where it is.

models.md, beside this file, is the one place where that is written; README's table, the book's page and its picture are
made of it, and so is what `minivae models` prints.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("models.md")
UNCHANGED = "·"
CELL = re.compile(r"(?<!\\)\|")                         # a bar between cells; within one it is written \|


class Row(NamedTuple):
    """A model, in Markdown as it is written there."""

    name: str
    prior: str
    posterior: str
    likelihood: str
    weights: str
    players: str
    place: str

    @property
    def chapter(self) -> str:
        """Its number, of several the last; or nothing"""
        found = re.findall(r"chapters/ch(\d\d)_", self.name)
        return str(int(found[-1])) if found else ""

    @property
    def called(self) -> str:
        """Its name alone"""
        return re.findall(r"\*\*(.+?)\*\*", self.name)[0]

    @property
    def options(self) -> str:
        """What to type after `minivae train`; of a model that it does not train, nothing"""
        return "".join(re.findall(r"`(--[^`]+)`$", self.place))

    @property
    def files(self) -> list[str]:
        """Where it is written"""
        return re.findall(r"\]\(([^)]+)\)", self.place)


TERMS = Row._fields[1:-1]


def table() -> str:
    """As it is written, for README."""
    return FILE.read_text(encoding="utf-8")


def rows(markdown: str) -> list[Row]:
    """The models of a table, the plain VAE first.  Raises TypeError for a row with too many or too few cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in CELL.split(line)[1:-1])) for line in lines[2:]]


def plain(cell: str) -> str:
    """A cell for a console: without marks of code, and without links."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cell)
    return text.replace("` `", " ").replace("`", "").replace("**", "").replace("\\|", "|")
