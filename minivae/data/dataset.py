"""What every data set looks like once it is loaded, and how raw pixels become that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minivae.batch import Batch


class DataError(Exception):
    """Data could not be had or is not what it should be; the message says what to do about it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as rows, ready for a model: float32, C-contiguous, X = height × width, in colour height × width × 3.

    train, test, valid     (N, X); `valid` is None where a data set has no official one
    *_labels               (N,) int64, or None
    image_shape            (height, width), or (height, width, 3) in colour, to draw a row as a picture
    kind                   "binary": only 0 and 1; "unit": numbers in [0, 1]; "real": anything else
    notes                  what was done to the user's pictures on the way in, line by line
    Raises DataError if the parts do not fit together.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    valid: np.ndarray | None
    image_shape: tuple[int, ...]
    kind: str
    valid_labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> Batch:
        """ "train", "valid" or "test" as a batch: x, and y if there are labels.  Raises ValueError if there is none."""
        x = getattr(self, name, None) if name in ("train", "valid", "test") else None
        if x is None:
            raise ValueError(f"{self.name} has no part {name!r}")
        labels = getattr(self, f"{name}_labels")
        return Batch(x=x) if labels is None else Batch(x=x, y=labels)

    @property
    def has(self) -> tuple[str, ...]:
        """What a model can be given of each example, by name."""
        return self.part("train").names

    def __post_init__(self) -> None:
        pixels = math.prod(self.image_shape)
        for part, labels in (("train", self.train_labels), ("test", self.test_labels),
                             ("valid", self.valid_labels)):
            images = getattr(self, part)
            if images is not None and (images.ndim != 2 or images.shape[1] != pixels):
                raise DataError(f"{self.name}: {part} has shape {images.shape}, expected (N, {pixels})")
            if images is not None and not (images.dtype == np.float32 and images.flags.c_contiguous):
                raise DataError(f"{self.name}: {part} must be C-contiguous float32, got {images.dtype}")
            if labels is not None and labels.shape != (len(images),):
                raise DataError(
                    f"{self.name}: {part}_labels has shape {labels.shape} for {len(images):,} images"
                )

    def __str__(self) -> str:
        valid = "" if self.valid is None else f" + {len(self.valid):,} valid"
        unit = "grey in [0, 1]" if len(self.image_shape) == 2 else "colour in [0, 1]"
        values = {"binary": "0 or 1", "unit": unit, "real": "real-valued"}[self.kind]
        classes = "" if self.train_labels is None else f", {len(np.unique(self.train_labels))} classes"
        return "\n".join((
            f"{self.name}: {len(self.train):,} train{valid} + {len(self.test):,} test images of "
            f"{'×'.join(map(str, self.image_shape))}, {values}{classes}", *self.notes))


def hold_out(count: int, held: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 … count−1 at random into (kept, held) index arrays: `x[kept], x[held]`.

    The same seed gives the same split for ever: NumPy promises that the raw stream of a bit
    generator never changes (NEP 19); of `Generator.permutation` it does not.
    Raises ValueError unless 0 < held < count.
    """
    if not 0 < held < count:
        raise ValueError(f"hold_out: cannot hold out {held} of {count}")
    order = np.random.PCG64(seed).random_raw(count).argsort(kind="stable")
    return order[held:], order[:held]


def flat_grey(images: np.ndarray) -> np.ndarray:
    """Grey levels 0 … 255 as uint8, (N, ...), to float32 in [0, 1], (N, X)."""
    flat = images.reshape(len(images), -1).astype(np.float32, order="C")
    flat /= 255
    return flat


def kind_of(*parts: np.ndarray) -> str:
    """The narrowest of "binary", "unit", "real" that holds every value of all parts."""
    if all(((x == 0) | (x == 1)).all() for x in parts):
        return "binary"
    return "unit" if all(x.min() >= 0 and x.max() <= 1 for x in parts) else "real"
