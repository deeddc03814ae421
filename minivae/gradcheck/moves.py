"""Which derivatives are looked at: every entry, or where there are too many, a sample and random directions.

<gradient, u> for a random direction u sees every entry at once: one wrong entry among a million right ones is a
thousandth of it, and the check looks at millionths.  The sample says how single entries look, so that a mistake can be
named; a direction that fails is halved until the entry is found that is to blame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, device_of
from minivae.gradcheck.subject import host, index_of

ENTRIES = 10_000               # so many of one input are each looked at,
NUMBERS = 200_000_000          # if that asks for no more numbers than this in all; about ten seconds
DIRECTIONS, BLOCK, LARGEST = 8, 64, 16


@dataclass(frozen=True)
class Move:
    """A line to look along: an entry, or a direction."""

    where: str
    index: Any                 # of x; ... for all of it
    step: Any                  # the size of the entry, or u
    flat: int                  # the entry's place in x.ravel(); -1 for a direction


@dataclass(frozen=True)
class Plan:
    """What is looked at in one input."""

    entries: np.ndarray        # places in x.ravel()
    directions: int
    block: tuple[np.ndarray, ...] | None      # a sample is a block of these indices along each axis


def plan(x: Array, gradient: np.ndarray, numbers: int, directions: int | None, rng: np.random.Generator) -> Plan:
    """numbers: how many numbers go in and come out at each evaluation.

    directions=None chooses; 0 is every entry, however many; more than 0 is so many directions and nothing else.
    """
    if directions:
        return Plan(np.arange(0), directions, None)
    if directions == 0 or (x.size <= ENTRIES and x.size * numbers <= NUMBERS):
        return Plan(np.arange(x.size), 0, None)
    block = sample_block(x.shape, rng)
    inside = np.ravel_multi_index(np.ix_(*block), x.shape).ravel()
    largest = np.argpartition(np.nan_to_num(np.abs(gradient.ravel()), nan=np.inf), -LARGEST)[-LARGEST:]
    return Plan(np.unique(np.concatenate([inside, largest])), DIRECTIONS, block)


def sample_block(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Indices along each axis, about BLOCK entries in all; the same along equal axes, so that a transpose is seen."""
    each = {1: BLOCK, 2: 8, 3: 4}.get(sum(n > 1 for n in shape), 3)
    kept: dict[int, np.ndarray] = {}
    for n in shape:
        if n not in kept:
            kept[n] = np.sort(rng.choice(n, size=min(n, each), replace=False))
    return tuple(kept[n] for n in shape)


def sizes_of(x: Array) -> np.ndarray:
    """By how much each entry is moved, times t: the geometric mean of its own size and the usual one.

    So a small entry among large ones moves by little, and a zero by the usual size.
    """
    size = np.abs(host(x))
    some = size[size > 0.0]
    usual = float(np.median(some)) if some.size else 1.0
    return np.where(size > 0.0, np.sqrt(size) * usual**0.5, usual)


def moves(x: Array, plan: Plan, rng: np.random.Generator) -> Iterator[Move]:
    """The lines of a plan, single entries first."""
    sizes = sizes_of(x)
    steps = sizes.ravel()
    for flat in plan.entries:
        index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
        yield Move(index_of(int(flat), x.shape), index, float(steps[flat]), int(flat))
    for i in range(plan.directions):
        yield along(x, sizes * rng.standard_normal(x.shape), f"direction {i}")


def along(x: Array, u: np.ndarray, where: str) -> Move:
    """A move of all entries together."""
    return Move(where, ..., device_of(x).array(u), -1)
