"""minivae models: the map of the models on a console."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Annotated

import tyro

from minivae.cli.shared import OK
from minivae.training.model_map import TERMS, UNCHANGED, Row, plain, rows, table


@dataclass
class Models:
    """The models: which terms of the ELBO each of them changes, and what to type after `minivae train`.

    A line each: minivae models

    Some of them, term by term: minivae models iwae vamp
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """as the table has them, or as an option of `minivae train` calls them; a line each without"""

    def __call__(self) -> int:
        every = rows(table())
        found = [row for name in self.names for row in called(name, every)]
        print("\n\n".join(told(row, every[0]) for row in dict.fromkeys(found)) if found else in_lines(every))
        return OK


def called(name: str, every: list[Row]) -> list[Row]:
    """The models of this name.  Raises ValueError if there are none."""
    names = {row: {key(row.called), *map(key, re.findall(r"(?<= )[a-z]\w+", row.options))} for row in every}
    found = [row for row in every if key(name) == key(row.called)] or [row for row in every if key(name) in names[row]]
    if not found:
        close = difflib.get_close_matches(key(name), sorted(set().union(*names.values())), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"names: got {name!r}: {hint}`minivae models` lists them")
    return found


def key(name: str) -> str:
    """A name without what one may type in another way: Two-Stage VAE, two_stage vae"""
    return re.sub(r"[\W_]+", "", name.casefold())


def in_lines(every: list[Row]) -> str:
    """A line for each: an x where it changes a term."""
    head = "".join(f"{term:^12}" for term in TERMS)
    lines = [f"{'':22}{head}{'chapter':^9}  minivae train …"]
    for row in every:
        marks = "".join(f"{'.' if getattr(row, term) == UNCHANGED or row is every[0] else 'x':^12}" for term in TERMS)
        lines.append(f"{row.called:22}{marks}{row.chapter:^9}  {row.options}".rstrip())
    return "\n".join([*lines, "", "x: changed, beside the VAE in the first line.  Term by term: minivae models IWAE"])


def told(row: Row, first: Row) -> str:
    """What it changes, term by term, and what it leaves."""
    where = f", chapter {row.chapter}" if row.chapter else ""
    trained = row.options or row is first
    how = f"minivae train {row.options}".rstrip() if trained else "`minivae train` has no option for it"
    changed = [term for term in TERMS if getattr(row, term) != UNCHANGED]
    left = [term for term in TERMS if term not in changed]
    lines = [f"{row.called}{where}: {how}", *(f"  {term:12}{plain(getattr(row, term))}" for term in changed)]
    lines += [f"  {'as the VAE':12}{', '.join(left)}"] if left else []
    return "\n".join([*lines, f"  {'written in':12}{', '.join(row.files)}"])
