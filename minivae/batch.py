"""A batch: arrays that belong together row by row, each by its name.

    batch = Batch(x=images, y=labels)
    batch.x, len(batch), batch[10:20]

What a model needs is a name in `model.needs`: "x", and where there are any "y" (labels or conditions), lengths, masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minivae.backend import Array, Device


class Batch:
    """Arrays (B, …), one row of each for every example.

    Raises ValueError if there is no array, or if they have different numbers of rows.
    """

    def __init__(self, **arrays: Array) -> None:
        if not arrays:
            raise ValueError("Batch: got no arrays, expected at least one, such as x=images")
        (first, x), *others = arrays.items()
        for name, array in others:
            if len(array) != len(x):
                raise ValueError(f"{name}: got {len(array)} rows, expected {len(x)}, as many as {first} has")
        self.arrays = arrays

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def __getattr__(self, name: str) -> Array:
        arrays = self.__dict__.get("arrays", {})       # nothing, while Python copies it
        if name not in arrays:
            raise AttributeError(f"the batch has no {name}, only {', '.join(arrays)}")
        return arrays[name]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, rows: Any) -> Batch:
        """These rows of every array: a slice (a view), or an array of numbers (a copy)."""
        return Batch(**{name: array[rows] for name, array in self.arrays.items()})

    def __repr__(self) -> str:
        return f"Batch({', '.join(f'{name}: {array.dtype} {array.shape}' for name, array in self.arrays.items())})"

    def but(self, **arrays: Array) -> Batch:
        """The same with these arrays instead, or besides."""
        return Batch(**self.arrays | arrays)

    def on(self, device: Device, dtype: Any) -> Batch:
        """The same on a device, its floats in this dtype; whole numbers and masks stay what they are."""
        return Batch(**{name: device.asarray(array, dtype=dtype if array.dtype.kind == "f" else None)
                        for name, array in self.arrays.items()})

    def require(self, needs: tuple[str, ...], who: str) -> None:
        """Raise ValueError, saying what is there, unless it has an array of each of these names."""
        missing = [name for name in needs if name not in self.arrays]
        if missing:
            raise ValueError(f"{who} needs {' and '.join(map(_explained, missing))}, and the data have only "
                             f"{', '.join(self.arrays)}: choose a data set that has them, or another model")


def as_batch(data: Array | Mapping[str, Array] | Batch) -> Batch:
    """A batch as it is; a mapping from names to arrays; an array alone is x."""
    if isinstance(data, Batch):
        return data
    return Batch(**data) if isinstance(data, Mapping) else Batch(x=data)


def check_images(x: Any, pixels: int, name: str) -> Array:
    """x.  Raises TypeError or ValueError unless it is a float array (N, pixels), N at least 1."""
    if getattr(x, "dtype", None) is None or x.dtype.kind != "f":
        raise TypeError(f"{name}: got {getattr(x, 'dtype', type(x).__name__)}, "
                        "expected a float array (grey levels 0 … 255: divide by 255)")
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != pixels:
        raise ValueError(f"{name}: got shape {x.shape}, expected (N, {pixels}) with N at least 1")
    return x


def check_labels(labels: Any, classes: int, name: str, *, of: str = "whole numbers") -> None:
    """Raise ValueError, which says what they are of, unless they are whole numbers (N,) in 0 … classes − 1."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"{name}: got {labels.dtype} {labels.shape} from {labels.min()} to {labels.max()}, expected "
                         f"{of} (N,) in 0 … {classes - 1}")


def _explained(name: str) -> str:
    """ "y (labels or conditions)" """
    said = {"y": "labels or conditions", "mask": "which entries count", "lengths": "of the sequences"}
    return f"{name} ({said[name]})" if name in said else name
