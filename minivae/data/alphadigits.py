"""Binary Alphadigits, and what a hand wrote down of its 36 characters: zero-shot learning.

39 images of each of 0 … 9 and A … Z, 20×16 pixels, black or white (Lucas; Roweis).  Of each character thirteen
attributes, as of a capital in print: they are no property of an image, and an image may contradict them.

A split leaves eight characters out.  Nothing may be learned from their images, but their attributes are known.  The
images of 0 and of O are the same 39, pixel by pixel, and so are their attributes: nobody can tell one from the other,
and with one of them unseen the other would be an example of it.  So neither ever is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivae.data.dataset import DataError, Dataset
from minivae.data.formats import read_arrays, unpack

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
EACH, HELD = 39, 9                     # images of a character, and how many of them are test images
SHAPE = 20, 16
ATTRIBUTES = {                         # attribute -> the characters that have it
    "one hole": "069ADOPQR",
    "two holes": "8B",
    "vertical stroke": "1459BDEFHIJKLMNPRTUY",
    "horizontal stroke": "2457AEFGHILTZ",
    "diagonal stroke": "27AKMNQRVWXYZ",
    "curve": "0235689BCDGJOPQRSU",
    "left mirrors right": "018AHIMOTUVWXY",
    "top mirrors bottom": "038BCDEHIKOX",
    "open to the right": "256CEFGKLPSTXYZ",
    "open to the left": "23579JSTXYZ",
    "open at the top": "4HJKLMNUVWXY",
    "open at the bottom": "7AFHKMNPRTWX",
    "junction": "34689ABEFHKPQRTXY",
}
SPLITS, UNSEEN = 5, 8


def attributes() -> np.ndarray:
    """1 where a character has an attribute, else 0        -> (36, 13)"""
    return np.array([[character in those for those in ATTRIBUTES.values()] for character in CHARACTERS], dtype=float)


def unseen(split: int, known: Sequence[int] = range(len(CHARACTERS)), count: int = UNSEEN) -> np.ndarray:
    """The classes that split 0, 1, … leaves out, never 0 nor O        -> (count,)

    known   what there is, if it is not all 36: the ten digits; the seen classes, some of which play the unseen
    Drawn for ever (NEP 19 keeps a bit generator's raw stream).
    Raises ValueError for a split below 0, or if there are not more classes than that.
    """
    if split < 0:
        raise ValueError(f"split: got {split}, expected at least 0")
    may = np.array([c for c in known if CHARACTERS[c] not in "0O"])
    if not 0 < count < len(may):
        raise ValueError(f"count: got {count}, expected 1 … {len(may) - 1}")
    return np.sort(may[np.random.PCG64(split).random_raw(len(may)).argsort(kind="stable")[:count]])


def load_alphadigits(name: str, paths: list[Path]) -> Dataset:
    """30 training and 9 test images of each character; labels are places in CHARACTERS.

    paths   one file: Roweis' .mat, or an .npz of the same images, packed
    Raises DataError if that .npz holds something else.
    """
    x = _packed(paths[0]) if paths[0].suffix == ".npz" else _matlab(paths[0])
    test = np.stack([np.random.PCG64(c).random_raw(EACH).argsort(kind="stable") for c in range(len(x))]) < HELD
    labels = np.repeat(np.arange(len(x)), EACH).reshape(len(x), EACH)
    return Dataset(name, x[~test], x[test], labels[~test], labels[test], None, SHAPE, "binary")


def _matlab(path: Path) -> np.ndarray:
    """The cells of `dat`, a row for each character, a uint8 picture in each        -> (36, 39, 320)"""
    from scipy.io import loadmat  # half a second to import: for those who need it

    cells = loadmat(path, variable_names=["dat"])["dat"]
    return np.array([[picture.ravel() for picture in row] for row in cells], dtype=np.float32)


def _packed(path: Path) -> np.ndarray:
    """The same, character after character, eight pixels to the byte        -> (36, 39, 320)"""
    x = read_arrays(path).get("x", np.empty(0))
    if x.shape != (len(CHARACTERS) * EACH, 40) or x.dtype != np.uint8:
        raise DataError(f"{path} is not Binary Alphadigits: expected (1404, 40) uint8, got {x.shape} {x.dtype}")
    return unpack(x, 320).reshape(len(CHARACTERS), EACH, 320)
