"""Distances between many points: all pairs by one matrix product, some rows at a time.

    ‖x − y‖² = ‖x‖² − 2 xᵀy + ‖y‖²

A tree finds neighbours sooner in a plane; in dozens of dimensions it looks at nearly all points, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ROWS = 500                             # points that are compared with all others at once


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖xᵢ − yⱼ‖² in float64, never below 0        (N, D) (M, D) -> (N, M)

    Both are moved by the mean of y first: of large numbers that hardly differ the squares would leave nothing.
    """
    centre = y.mean(axis=0, dtype=np.float64)
    x, y = x - centre, y - centre
    squares = (x * x).sum(axis=1)[:, None] - 2.0 * x @ y.T + (y * y).sum(axis=1)
    return np.maximum(squares, 0.0, out=squares)


def distances_by_rows(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows, ‖xᵢ − yⱼ‖² of these rows of x and all of y): memory does not grow with x"""
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, squared_distances(x[rows], y)
