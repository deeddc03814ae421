"""Data sets: `load("digits")` works offline; others are found locally or downloaded and verified.

    from minivae.data import load
    digits = load("digits")            # digits.train: (4000, 784) float32 in [0, 1]
    mine = load("my_images.npz")
"""

from minivae.data.dataset import DataError, Dataset, hold_out
from minivae.data.download import fetch
from minivae.data.named import Listing, available, load
from minivae.data.sources import SOURCES

NAMES = tuple(SOURCES)

__all__ = ["NAMES", "DataError", "Dataset", "Listing", "available", "fetch", "hold_out", "load"]
