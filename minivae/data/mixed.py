"""Two data sets or more as one: "digits+fashion_mnist"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivae.data.dataset import DataError, Dataset, hold_out, kind_of


def mix(datasets: Sequence[Dataset]) -> Dataset:
    """All of them in one, equally many images of each: as many as the smallest has, drawn once and for all.

    The labels of one follow those of the one before: those of "digits+fashion_mnist" are 0 … 9 and 10 … 19.  A data set
    without labels is one class.  (Of parts for validation nothing is left: training holds some out.)
    Raises DataError for images of different shapes.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if other.image_shape != first.image_shape:
            raise DataError(f"{other.name} has images of {_size(other)}, {first.name} of {_size(first)}: only images "
                            "of one shape can be mixed")
    train, train_labels = _together(datasets, "train")
    test, test_labels = _together(datasets, "test")
    return Dataset("+".join(d.name for d in datasets), train, test, train_labels, test_labels, None, first.image_shape,
                   kind_of(train, test))


def _together(datasets: Sequence[Dataset], part: str) -> tuple[np.ndarray, np.ndarray]:
    count, offset = min(len(getattr(d, part)) for d in datasets), 0
    images, labels = [], []
    for dataset in datasets:
        x, y = getattr(dataset, part), getattr(dataset, f"{part}_labels")
        some = hold_out(len(x), count)[1] if count < len(x) else np.arange(count)
        images.append(x[some])
        labels.append(offset + (np.zeros(count, np.int64) if y is None else y[some]))
        offset += 1 if dataset.train_labels is None else int(dataset.train_labels.max()) + 1
    return np.concatenate(images), np.concatenate(labels)


def _size(dataset: Dataset) -> str:
    return "×".join(map(str, dataset.image_shape))
