"""Read a user's own images from an .npz or .npy file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from minivae.data.dataset import DataError, Dataset, hold_out, kind_of
from minivae.data.formats import read_arrays

Maybe = np.ndarray | None

# (images, labels): the names that the parts may have in an .npz
TRAIN_KEYS = (("train", "train_labels"), ("x_train", "y_train"), ("x", "y"), ("images", "labels"))
TEST_KEYS = (("test", "test_labels"), ("x_test", "y_test"))


def load_own(path: Path) -> Dataset:
    """Images (N, H, W), (N, H, W, 1), in colour (N, H, W, 3), or (N, D) from an .npz or .npy file.

    The .npz holds `train` and `test` (and `train_labels`, `test_labels`), or Keras's `x_train`, …, or
    `x` or `images` (and `y` or `labels`), or one array of any name.  Without a test part, a tenth of
    the images, drawn with a fixed seed, becomes the test part.  Rows of D pixels are taken as square
    images if D is a square, else as 1 × D.  Integers must be grey levels 0 … 255 and are divided by
    255, unless all are 0 or 1; floats are kept, as float32.
    Raises DataError that says what is wrong with which array.
    """
    images, labels, test, test_labels = _parts(path)
    shape = _image_shape(images, path)
    if test is None:
        images, test, labels, test_labels = _split(images, labels, path)
    elif _image_shape(test, path) != shape:
        raise DataError(f"{path}: train has shape {images.shape}, test {test.shape}: different image sizes")
    train, test = _as_float([images, test], path)
    labels, test_labels = (_as_labels(y, path) for y in (labels, test_labels))
    return Dataset(path.stem, train, test, labels, test_labels, None, shape, kind_of(train, test))


def _parts(path: Path) -> tuple[np.ndarray, Maybe, Maybe, Maybe]:
    """The arrays of the file that are train, train_labels, test, test_labels; None where there is none."""
    if path.suffix not in (".npz", ".npy"):
        raise DataError(f"{path}: minivae reads .npz and .npy files, and folders of .png and .jpg files, not "
                        f"{path.suffix or 'this'!r}")
    arrays = read_arrays(path)
    images, labels = _pick(arrays, TRAIN_KEYS)
    if images is None and len(arrays) == 1:
        images = next(iter(arrays.values()))
    if images is None:
        names = ", ".join(arrays) or "none"
        raise DataError(f"{path} needs an array `train`, `x` or `images`; it has {names}")
    return images, labels, *_pick(arrays, TEST_KEYS)


def _pick(arrays: dict[str, np.ndarray], keys: tuple[tuple[str, str], ...]) -> tuple[Maybe, Maybe]:
    """The images and the labels under the first pair of names whose images are there."""
    for images, labels in keys:
        if images in arrays:
            return arrays[images], arrays.get(labels)
    return None, None


def _image_shape(images: np.ndarray, path: Path) -> tuple[int, ...]:
    """(height, width) of (N, H, W), (N, H, W, 1) or (N, D); (height, width, 3) of (N, H, W, 3)."""
    shape = images.shape[:-1] if images.ndim == 4 and images.shape[-1] == 1 else images.shape
    if images.size == 0:
        raise DataError(f"{path}: an array of images is empty, its shape is {images.shape}")
    if len(shape) == 3 or (len(shape) == 4 and shape[3] == 3):
        return shape[1:]
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        return (side, side) if side * side == shape[1] else (1, shape[1])
    advice = ""
    if len(shape) == 4 and shape[3] == 4:
        advice = ": the fourth channel is transparency; leave it out, images[..., :3]"
    elif len(shape) == 4 and shape[1] in (1, 3):
        advice = ": channels come last, images.transpose(0, 2, 3, 1)"
    raise DataError(f"{path}: images have shape {images.shape}, expected (N, H, W), (N, H, W, 1), (N, H, W, 3) or "
                    f"(N, D){advice}")


def _split(
    images: np.ndarray, labels: Maybe, path: Path
) -> tuple[np.ndarray, np.ndarray, Maybe, Maybe]:
    """Hold out a tenth of the images and of their labels, at least one."""
    if len(images) < 2:
        raise DataError(f"{path}: one image cannot be split into train and test")
    if labels is not None and labels.shape != (len(images),):
        raise DataError(f"{path}: labels have shape {labels.shape} for {len(images):,} images")
    kept, held = hold_out(len(images), max(1, len(images) // 10))
    if labels is None:
        return images[kept], images[held], None, None
    return images[kept], images[held], labels[kept], labels[held]


def _as_float(parts: list[np.ndarray], path: Path) -> list[np.ndarray]:
    """Flatten to (N, X) float32; integers (all parts together) to [0, 1] as `load_own` says."""
    if any(x.dtype.kind not in "buif" for x in parts):
        raise DataError(f"{path}: images are {', '.join(str(x.dtype) for x in parts)}, expected numbers")
    with np.errstate(over="ignore"):                   # too large for float32: found as inf below
        flat: list[np.ndarray]
        flat = [x.reshape(len(x), -1).astype(np.float32, order="C") for x in parts]
    if not all(np.isfinite(x).all() for x in flat):
        raise DataError(f"{path}: images contain NaN or infinity")
    if all(x.dtype.kind in "bui" for x in parts):
        if min(x.min() for x in flat) < 0 or max(x.max() for x in flat) > 255:
            raise DataError(f"{path}: integer images must be grey levels 0..255; store other data as floats")
        if max(x.max() for x in flat) > 1:
            flat = [x / 255 for x in flat]
    elif any(x.dtype.kind in "bui" for x in parts):
        raise DataError(f"{path}: train is {parts[0].dtype}, test is {parts[1].dtype}: different scales?")
    return flat


def _as_labels(labels: Maybe, path: Path) -> Maybe:
    if labels is None:
        return None
    if labels.dtype.kind not in "bui":
        raise DataError(f"{path}: labels are {labels.dtype}, expected integers, one per image")
    return labels.astype(np.int64)
