"""`load`: a data set by its name or by the path of a file, and `available`: what there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivae.data.alphadigits import load_alphadigits
from minivae.data.dataset import DataError, Dataset, flat_grey, hold_out
from minivae.data.download import PathLike, fetch, find, search_places
from minivae.data.formats import read_amat, read_arrays, read_idx, unpack
from minivae.data.mixed import mix
from minivae.data.own import load_own
from minivae.data.pictures import load_pictures
from minivae.data.sentences import Sentences, load_own_sentences, load_sst2, load_trec
from minivae.data.sources import ALIASES, SOURCES, Source, canonical
from minivae.data.spoken_digits import load_spoken_digits
from minivae.data.sprites import load_sprites


def load(name_or_path: PathLike, *, folder: PathLike | None = None, size: int | None = None) -> Dataset:
    """A named data set ("digits", "mnist", …), several as one ("digits+sprites"), your own .npz or .npy file, or your
    own folder of pictures.

    A named one is looked for in `folder`, in the folder named by MINIVAE_DATA and in the cache, and
    downloaded where it is in none of them; "digits" is part of the package, "sprites" are drawn.
    `load_own` says what your own file may hold, `load_pictures` what your folder, and what `size` makes of it.
    Raises ValueError for an unknown name and for what is no rows (`no_rows`), DataError if the data cannot be had or is
    not right.
    """
    path = Path(name_or_path).expanduser()
    own = _is_path(name_or_path)
    if own and not path.exists() and (size is not None or not path.suffix):
        raise DataError(f"{path}: no such file or folder")
    if path.suffix in SENTENCES:
        raise DataError(f"{path} is no images but, to judge by {path.suffix}, sentences: load_sentences loads it")
    if own and path.is_dir():
        return load_pictures(path, size)
    if size is not None:
        raise ValueError(f"size: got {size}, which means nothing to {name_or_path}: it is of a folder of pictures")
    if own:
        return load_own(path)
    if "+" in str(name_or_path):
        return mix([load(name, folder=folder) for name in str(name_or_path).split("+")])
    name = canonical(str(name_or_path))
    if instead := no_rows(name):
        raise ValueError(f"{name} has no images as rows: minivae.data.{instead.__name__}() loads what it has")
    return LOADERS[name](name, fetch(name, folder=folder))


def _is_path(name_or_path: PathLike) -> bool:
    """No name of a data set has a dot or a slash, or leads to a folder."""
    text = os.fspath(name_or_path)
    return (not isinstance(name_or_path, str) or Path(text).suffix != "" or "/" in text or os.sep in text
            or (text not in SOURCES and Path(text).is_dir()))


def _load_digits(name: str, paths: list[Path]) -> Dataset:
    z = read_arrays(paths[0])
    labels = (z["train_labels"].astype(np.int64), z["test_labels"].astype(np.int64))
    return Dataset(name, flat_grey(z["train"]), flat_grey(z["test"]), *labels, None, (28, 28), "unit")


def _load_idx(name: str, paths: list[Path]) -> Dataset:
    """MNIST and Fashion-MNIST: four idx files, images and labels of train and of test."""
    train, train_labels, test, test_labels = (read_idx(path) for path in paths)
    height, width = train.shape[1:]
    labels = (train_labels.astype(np.int64), test_labels.astype(np.int64))
    return Dataset(name, flat_grey(train), flat_grey(test), *labels, None, (height, width), "unit")


def _load_binarized(name: str, paths: list[Path]) -> Dataset:
    """Three amat files, or one npz with the same rows packed.  The original has no labels."""
    if len(paths) == 1:
        z = read_arrays(paths[0])
        train, valid, test = (unpack(z[f"{part}_x"]) for part in ("train", "valid", "test"))
    else:
        train, valid, test = (read_amat(path) for path in paths)
    return Dataset(name, train, test, None, None, valid, (28, 28), "binary")


def _load_freyfaces(name: str, paths: list[Path]) -> Dataset:
    """1,965 frames of one face, shuffled with a fixed seed: neighbouring frames are nearly equal."""
    arrays = read_arrays(paths[0])
    faces = arrays.get("x", next(iter(arrays.values()), np.empty(0)))
    if faces.shape not in ((1965, 28, 20), (1965, 560)) or faces.dtype != np.uint8:
        raise DataError(
            f"{paths[0]} is not Frey Faces: expected (1965, 28, 20) uint8, got {faces.shape} {faces.dtype}"
        )
    grey = flat_grey(faces)
    kept, held = hold_out(len(grey), 200)
    return Dataset(name, grey[kept], grey[held], None, None, None, (28, 20), "unit")


LOADERS: dict[str, Callable[[str, list[Path]], Dataset]] = {
    "digits": _load_digits,
    "mnist": _load_idx,
    "fashion_mnist": _load_idx,
    "binarized_mnist": _load_binarized,
    "freyfaces": _load_freyfaces,
    "alphadigits": load_alphadigits,
    "sprites": lambda name, paths: load_sprites(name, side=28),
    "sprites64": lambda name, paths: load_sprites(name, side=64),
}
NO_ROWS: dict[str, Callable[..., Any]] = {"spoken_digits": load_spoken_digits, "sst2": load_sst2, "trec": load_trec}
SENTENCES = (".tsv", ".txt")           # endings of one's own file of them


def no_rows(name: str) -> Callable[..., Any] | None:
    """What loads the named data set, its `folder` by keyword, if it is no images as rows; None of every other name."""
    key = name.lower().replace("-", "_")
    return NO_ROWS.get(ALIASES.get(key, key))


def load_sentences(name_or_path: PathLike, *, folder: PathLike | None = None) -> Sentences | None:
    """sst2, trec, or your own file (.tsv or .txt) of a label, a tab and a sentence in each line; None of anything else.

    `load_own_sentences` says what your own file may hold.  Raises DataError if the data cannot be had or is not right.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix in SENTENCES:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        return load_own_sentences(path)
    loader = no_rows(str(name_or_path))
    return loader(folder=folder) if loader and loader in (load_sst2, load_trec) else None


@dataclass(frozen=True)
class Listing:
    """One row of `available`: what a data set is and where it would come from."""

    name: str
    where: str
    train: int
    test: int
    image_shape: tuple[int, ...]
    kind: str


def available(*, folder: PathLike | None = None) -> list[Listing]:
    """All named data sets and where they are, without reading or downloading any."""
    return [
        Listing(name, _where(name, s, folder), s.train, s.test, s.image_shape, s.kind)
        for name, s in SOURCES.items()
    ]


def _where(name: str, source: Source, folder: PathLike | None) -> str:
    if name == "digits":
        return "in the package"
    if source.drawn:
        return "drawn by the package"
    places = search_places(source, folder)
    if source.instead and (path := find(source.instead, places)):
        return str(path)
    found = [find(file, places) for file in source.files]
    missing = sum(file.size for file, path in zip(source.files, found) if path is None)
    if missing:
        return f"to download, {missing / 1e6:.1f} MB"
    return str(found[0].parent) if found and found[0] else f"not here: set MINIVAE_DATA to where {name} is"
