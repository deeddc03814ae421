"""What is given, and what is to be predicted: images made into pairs (x, y) for a conditional model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.batch import Batch


@dataclass(frozen=True)
class Quadrants:
    """Given some quadrants of an image, predict the others.

    shape      (height, width) of the images, or (height, width, 3)
    observed   how many are given: 1, the lower left; 2, the left half; 3, all but the lower right
    Raises ValueError for another number, or images of less than two pixels a side.
    """

    shape: tuple[int, ...]
    observed: int = 1

    def __post_init__(self) -> None:
        if self.observed not in (1, 2, 3):
            raise ValueError(f"observed: got {self.observed}, expected 1, 2 or 3 quadrants")
        if min(self.shape[:2]) < 2:
            raise ValueError(f"shape: got {self.shape}, expected images of at least two pixels a side")

    @property
    def given(self) -> np.ndarray:
        """Which pixels are given, all channels of each        -> (height · width · channels,) bool"""
        (height, width, *_), mask = self.shape, np.zeros(self.shape, dtype=bool)
        top, left = height // 2, width // 2
        for rows, columns in ((slice(top, None), slice(left)), (slice(top), slice(left)),
                              (slice(top), slice(left, None)))[:self.observed]:
            mask[rows, columns] = True
        return mask.ravel()

    @property
    def sizes(self) -> tuple[int, int]:
        """How many pixels are given, how many to predict: X, Y"""
        given = int(self.given.sum())
        return given, len(self.given) - given

    def ask(self, part: Batch) -> Batch:
        """x: the given pixels, y: the others        (N, X + Y) -> (N, X), (N, Y)"""
        return Batch(x=np.ascontiguousarray(part.x[:, self.given]), y=np.ascontiguousarray(part.x[:, ~self.given]))

    def whole(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Both in their places        (N, X) (N, Y) -> (N, X + Y)"""
        images = np.empty((len(x), len(self.given)), dtype=y.dtype)
        images[:, self.given], images[:, ~self.given] = x, y
        return images


@dataclass(frozen=True)
class ByLabel:
    """Given the label of an image, one-hot, predict the image.

    classes   how many labels there are: 0 … classes − 1
    pixels    of an image
    """

    classes: int
    pixels: int

    @property
    def sizes(self) -> tuple[int, int]:
        """X, Y"""
        return self.classes, self.pixels

    def ask(self, part: Batch) -> Batch:
        """x: a one for the label, y: the image.  Raises ValueError for images without labels, or one too large."""
        part.require(("x", "y"), "a question by label")
        if not 0 <= part.y.min() <= part.y.max() < self.classes:
            raise ValueError(f"y: got labels {part.y.min()} … {part.y.max()}, expected 0 … {self.classes - 1}")
        return Batch(x=np.eye(self.classes, dtype=part.x.dtype)[part.y], y=part.x)

    def whole(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The image: nothing of it was given."""
        return y
