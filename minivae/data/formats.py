"""Readers of file formats: gzipped idx (MNIST), amat text (binarized MNIST), NumPy's npz and npy.

Each returns plain arrays, or raises DataError that names the file.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minivae.data.dataset import DataError


def read_idx(path: Path) -> np.ndarray:
    """A gzipped idx file of unsigned bytes: uint8, (N,) for labels or (N, H, W) for images.

    Layout: 0, 0, 8 (unsigned byte), number of dimensions d; then d big-endian uint32 sizes; then data.
    """
    try:
        with gzip.open(path) as file:
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:   # not gzip, cut off, or damaged inside
        raise DataError(f"{path} is not a complete gzip file ({error}): delete it, get it again") from error
    if raw[:3] != b"\0\0\x08" or len(raw) < 4:
        raise DataError(f"{path} is not an idx file of unsigned bytes: it starts with {raw[:4]!r}")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + int(np.prod(shape, dtype=object))
    if len(raw) != expected:
        raise DataError(f"{path} holds {len(raw):,} bytes, its header promises {expected:,}: truncated?")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def read_amat(path: Path, pixels: int = 784) -> np.ndarray:
    """A text file with one image per line, "0 1 0 … 1": float32 zeros and ones, (N, pixels).

    Every pixel is one digit and one separator, so the file *is* an array of bytes: no text is
    parsed, and the file is mapped, not read into memory.
    """
    width = 2 * pixels
    size = path.stat().st_size
    if size == 0 or size % width:
        raise DataError(f"{path} holds {size:,} bytes, not whole lines of {width}: truncated?")
    text = np.memmap(path, np.uint8, mode="r").reshape(-1, pixels, 2)
    bits = text[:, :, 0] - np.uint8(ord("0"))
    separators = np.full(pixels, ord(" "), np.uint8)
    separators[-1] = ord("\n")
    if bits.max() > 1 or not (text[:, :, 1] == separators).all():
        raise DataError(f"{path} is not lines of {pixels} zeros and ones separated by one space")
    return bits.astype(np.float32, order="C")


def unpack(packed: np.ndarray, pixels: int = 784) -> np.ndarray:
    """Eight pixels to the byte, (N, ⌈pixels/8⌉) uint8, to float32 zeros and ones, (N, pixels)."""
    return np.unpackbits(packed, axis=1, count=pixels).astype(np.float32, order="C")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; the one of an .npy under the name "images".

    A pickle is never opened, under whatever name it comes: opening one can run any code.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise DataError(
                f"{path} is a pickle, holds Python objects, or is no NumPy file: minivae never opens a "
                "pickle, because that can run any code. Save arrays: np.savez(path, train=..., test=...)"
            ) from error
        raise DataError(f"{path} is damaged ({error}): save or get it again") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): truncated? Save or get it again") from error
