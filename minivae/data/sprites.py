"""Sprites: black and white pictures of which everything is known, drawn here from five independent factors.

    shape      square, ellipse, heart
    scale      6: the circle around the shape has a radius of 1/8 … 1/4 of the image's side
    rotation   20: equal steps over one turn after which the shape looks as before: a quarter of a circle for the
               square, half of one for the ellipse, all of it for the heart
    x, y       16 each: the centre, from 1/4 to 3/4 of the side; x to the right, y downwards

A picture is its factors and its factors are one number, written with digits of bases 3, 6, 20, 16 and 16: there are
92,160 of them.  Fix some digits, draw the others, and the factors that are fixed are known.

dSprites (Matthey et al. 2017) is of the same kind, with 40 rotations and 32 × 32 places.  It turns every shape through
the whole circle: there a square has four codes, an ellipse two, and no encoder could tell which.  Here all pictures are
different at 64×64; at 28×28 some neighbours are not (89,296 are), small squares mostly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivae.backend import Generator
from minivae.data.dataset import Dataset

SIZES = {"shape": 3, "scale": 6, "rotation": 20, "x": 16, "y": 16}
COUNT = 92_160                         # their product
TRAIN, TEST = 20_000, 2_000            # of them in the data set: all would be 290 MB at 28×28, 1.5 GB at 64×64
SAMPLES = 3                            # a side, in each pixel: an odd number of points, so that none is half covered
AT_ONCE = 32                           # images that are drawn together: what a core's cache holds


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which points (u, v), v upwards, lie inside: this shape and the others just fit the circle of radius 1."""
    return np.maximum(np.abs(u), np.abs(v)) <= 0.5**0.5


def ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Twice as wide as it is high."""
    return u * u + 4.0 * v * v <= 1.0


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(p² + q² − 1)³ ≤ p² q³, moved to the middle of the circle around it."""
    p2, q = (1.25 * u) ** 2, 1.25 * v + 0.25
    r = p2 + q * q - 1.0
    return r * r * r <= p2 * q * q * q


Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]
SHAPES: tuple[tuple[Inside, float], ...] = (           # and the turn after which it looks as before
    (square, 0.5 * np.pi), (ellipse, np.pi), (heart, 2.0 * np.pi))


def factors(numbers: np.ndarray) -> np.ndarray:
    """The digits of each number: its shape, scale, rotation, x and y        (N,) -> (N, 5)

    Raises ValueError for a number that is not in 0 … 92,159.
    """
    numbers = np.asarray(numbers)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < COUNT:
        raise ValueError(f"numbers: got {numbers.min()} … {numbers.max()}, expected 0 … {COUNT - 1:,}")
    return np.stack(np.unravel_index(numbers, tuple(SIZES.values())), axis=-1)


def numbers(factors: np.ndarray) -> np.ndarray:
    """The number with these digits        (N, 5) -> (N,).   Raises ValueError for digits that do not exist."""
    return np.ravel_multi_index(tuple(_digits(factors).T), tuple(SIZES.values()))


def some(n: int, rng: Generator, **fixed: int) -> np.ndarray:
    """n draws of the factors, those that are named fixed and the others uniform: some(64, rng, shape=2)     -> (n, 5)

    Raises ValueError for an unknown factor or a value that it has not.
    """
    unknown = fixed.keys() - SIZES.keys()
    if unknown:
        raise ValueError(f"fixed: got {', '.join(sorted(unknown))}, expected some of {', '.join(SIZES)}")
    drawn = [np.full(n, fixed[name]) if name in fixed else rng.integers(size, size=n) for name, size in SIZES.items()]
    return _digits(np.stack(drawn, axis=-1))


def draw(factors: np.ndarray, *, side: int = 28) -> np.ndarray:
    """The pictures, of side × side pixels        (N, 5) -> (N, side²), float32 zeros and ones

    A pixel is black if most of 3 × 3 points in it lie inside of the shape: antialiased, then thresholded.
    Raises ValueError for digits that do not exist, or a side of less than 8 pixels.
    """
    factors = _digits(factors)
    if side < 8:
        raise ValueError(f"side: got {side}, expected at least 8 pixels")
    images = np.zeros((len(factors), side, side), dtype=np.float32)
    for shape, (inside, turn) in enumerate(SHAPES):
        (mine,) = np.nonzero(factors[:, 0] == shape)
        for start in range(0, len(mine), AT_ONCE):
            rows = mine[start:start + AT_ONCE]
            _, scale, rotation, x, y = factors[rows].T
            shown = inside, (5 + scale) / 40, turn * rotation / 20, 0.25 + x / 30, 0.25 + y / 30
            (top, left), ink = _drawn(*shown, side=side)
            images[rows[:, None, None], top[:, :, None], left[:, None, :]] = ink
    return images.reshape(len(factors), -1)


def _drawn(inside: Inside, radius: np.ndarray, angle: np.ndarray, x: np.ndarray, y: np.ndarray, *,
           side: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Shapes, turned to the left, in windows that hold them        (N,) ×4 -> rows and columns (N, W), ink (N, W, W)"""
    (column, across), (row, down) = _window(x, side), _window(y, side)
    right, up = (across - x[:, None]) / radius[:, None], (y[:, None] - down) / radius[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b, c, d = (part.astype(np.float32) for part in (cos * right, sin * up, -sin * right, cos * up))
    hits = inside(a[:, None, :] + b[:, :, None], c[:, None, :] + d[:, :, None]).view(np.uint8)     # (N, points, points)
    hits = np.add.reduce([hits[:, i::SAMPLES] for i in range(SAMPLES)])
    hits = np.add.reduce([hits[:, :, i::SAMPLES] for i in range(SAMPLES)])                         # of 9 in every pixel
    return (row, column), 2 * hits > SAMPLES * SAMPLES


def _window(center: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels around a centre that any shape can reach, and the points in them        (N,) -> (N, W), (N, 3 W)"""
    width = side // 2 + 1
    first = np.minimum(np.floor((center - 0.25) * side).astype(np.int64), side - width)[:, None]
    points = first * SAMPLES + np.arange(width * SAMPLES) + 0.5
    return first + np.arange(width), points / (side * SAMPLES)


def parts() -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training and of the test images, 20,000 and 2,000 that are drawn once and for all.

    `factors(parts()[0])` are those of the training images, row by row.  No number of one part is in the other; at 28×28
    34 of the test images have the pixels of a training image all the same.
    """
    order = np.random.PCG64(0).random_raw(COUNT).argsort(kind="stable")      # the same for ever: see dataset.hold_out
    return order[TEST:TEST + TRAIN], order[:TEST]


def load_sprites(name: str, side: int) -> Dataset:
    """The data set: 20,000 + 2,000 of the pictures, labelled by shape."""
    train, test = (factors(part) for part in parts())
    return Dataset(name, draw(train, side=side), draw(test, side=side), train[:, 0], test[:, 0], None, (side, side),
                   "binary")


def _digits(factors: np.ndarray) -> np.ndarray:
    factors = np.asarray(factors)
    sizes = tuple(SIZES.values())
    if factors.ndim != 2 or factors.shape[1] != len(sizes) or factors.dtype.kind not in "iu":
        raise ValueError(f"factors: got {factors.dtype} of shape {factors.shape}, expected whole numbers (N, "
                         f"{len(sizes)}): {', '.join(SIZES)}")
    if ((factors < 0) | (factors >= sizes)).any():
        raise ValueError(f"factors: got values outside of 0 … size − 1, where the sizes are "
                         f"{', '.join(f'{name} {size}' for name, size in SIZES.items())}")
    return factors
