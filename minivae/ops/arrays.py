"""Taking arrays apart and putting them together: concat, split, repeat, one-hot rows, rows by number.

The laws are those of ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivae.backend import Array, Pullback, array_module
from minivae.ops.dense import Matmul

FEW_ROWS = 256                         # of a table: below, a product that can wait for other threads is as quick


def concat(*parts: Array) -> tuple[Array, Pullback]:
    """y = [x₁, x₂, …] side by side along the last axis        (B, I₁) (B, I₂) … -> (B, I₁ + I₂ + …)"""
    sizes = [part.shape[-1] for part in parts]

    def pullback(dy: Array) -> Array | tuple[Array, ...]:
        cuts = np.cumsum(sizes)[:-1].tolist()
        dparts = tuple(part.copy() for part in np.split(dy, cuts, axis=-1))
        return dparts if len(dparts) > 1 else dparts[0]

    return np.concatenate(parts, axis=-1), pullback


def split(x: Array, *, sizes: Sequence[int]) -> tuple[tuple[Array, ...], Pullback]:
    """(y₁, y₂, …): the last axis of x cut into pieces of the given sizes; the inverse of concat

    Raises ValueError if the sizes do not add up to the last axis.
    """
    if sum(sizes) != x.shape[-1]:
        raise ValueError(f"split: sizes {tuple(sizes)} add up to {sum(sizes)}, expected {x.shape[-1]}")

    def pullback(*dparts: Array) -> Array:
        return np.concatenate(dparts, axis=-1)

    return tuple(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=-1)), pullback


def repeat(x: Array, *, samples: int) -> tuple[Array, Pullback]:
    """y = the batch, `samples` times over: y[l·B + i] = x[i]        (B, …) -> (samples · B, …)"""
    if samples < 1:
        raise ValueError(f"repeat: samples is {samples}, expected at least 1")
    if samples == 1:
        return x, lambda dy: dy

    def pullback(dy: Array) -> Array:                 # x[i] was used in every copy: derivatives add
        return dy.reshape(samples, *x.shape).sum(axis=0)

    return np.broadcast_to(x, (samples, *x.shape)).reshape(-1, *x.shape[1:]), pullback


def repeat_each(*parts: Array, samples: int) -> tuple[tuple[Array, ...], Pullback]:
    """(y₁, y₂, …): every part `samples` times over, as `repeat` does        (B, I₁) … -> (samples · B, I₁) …"""
    repeated = [repeat(part, samples=samples) for part in parts]

    def pullback(*dys: Array) -> tuple[Array, ...]:
        return tuple(pull(dy) for (_, pull), dy in zip(repeated, dys))

    return tuple(y for y, _ in repeated), pullback


def one_hot(labels: Array, *, classes: int, dtype: Any) -> Array:
    """(B,) integers -> (B, classes) zeros with a one in each row: a constant, so it has no pullback."""
    return (labels[:, None] == array_module(labels).arange(classes)).astype(dtype)


def embedding(table: Array, *, codes: Array) -> tuple[Array, Pullback]:
    """y = table[codes]: a row for each number        (K, D) and integers (…) -> (…, D)

    Numbers below 0 or from K on are nobody's: they are not looked for here (NumPy raises IndexError, or counts from the
    end).  Raises ValueError unless the table has two axes.
    """
    if table.ndim != 2:
        raise ValueError(f"embedding: table has shape {table.shape}, expected (K, D)")
    flat, (K, D) = codes.reshape(-1), table.shape
    few = K <= FEW_ROWS or array_module(table) is not np

    def added_up(codes: Array, dy: Array) -> Array:
        total = np.zeros_like(dy, shape=(K, D))
        add_by_code(total, dy, codes)
        return total

    def pullback(dy: Array, matmul: Matmul = np.matmul, add_up: Callable[[Array, Array], Any] = added_up) -> Any:
        # A row that was used often hears from all its uses: Σ of dy where codes = k.  Of few rows, or on a GPU, that is
        # one product with zeros and ones; of a vocabulary these would be nearly all zeros
        dy = dy.reshape(len(flat), D)
        if few:
            return matmul(one_hot(flat, classes=K, dtype=dy.dtype).T, dy)
        return add_up(flat, dy)

    return table[codes], pullback


def add_by_code(total: Array, dy: Array, codes: Array) -> None:
    """total[k] += Σ of dy where codes = k, one after the other, in place        (K, D) (N, D) (N,)

    Number by number, which NumPy does sooner than row by row.  Of 3,000 rows of 64 and 960 codes: 0.1 ms; as a product,
    6 ms.
    """
    D = dy.shape[1]
    places = codes.astype(np.intp)[:, None] * D + np.arange(D)       # codes may be of a type too small for these
    np.add.at(total.reshape(-1), places.ravel(), dy.ravel())
