"""Read a user's own pictures: a folder of PNG and JPEG files.  Pillow decodes them."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from minivae.data.dataset import DataError, Dataset, flat_grey, kind_of

ENDINGS = (".png", ".jpg", ".jpeg")
PARTS = {"train", "test"}              # folders of these names are no classes
MOST = 2**20                           # numbers of a picture that are read without being asked for a size
BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error,       # what Pillow raises of a bad file
          Image.DecompressionBombWarning, Image.DecompressionBombError)

PALETTE, SIXTEEN, ALPHA = "had a palette: read in its colours", "had 16 bits a channel: read as 8", \
    "had transparent places: laid on white"
CROPPED, ENLARGED, GREY = "were not square: their middle is kept", "were smaller: enlarged", \
    "are grey among coloured ones: three equal channels"


class Listed(NamedTuple):
    """A file, the folder that is its class ("" for none), and whether its folder says that it is for testing."""

    path: Path
    name: str
    label: str
    test: bool | None


def load_pictures(folder: Path, size: int | None = None) -> Dataset:
    """All .png, .jpg and .jpeg files of a folder, as uint8/255.

    Each is cut to the largest square about its middle and resampled (Lanczos) to size × size; without a size all must
    have one shape already.  Folders in it are classes, 0, 1, … by name; folders named train and test are the two parts,
    and have the classes in them.  Without these the tenth of the pictures whose names have the lowest SHA-256, at least
    one, becomes the test part: another picture more hardly moves any other.
    Pictures are grey, (H, W), if the three channels of every one are equal, else (H, W, 3).  What is transparent is
    laid on white, palettes and 16 bits become 8 bits a channel, a photo is turned as its camera says.  What cannot be
    read is left out.  `notes` of the data set say of how many all this is true.
    Raises DataError for a folder without two pictures that can be read, for shapes that differ, and for pictures beside
    folders of pictures; ValueError for a size below 1.
    """
    if size is not None and size < 1:
        raise ValueError(f"size: got {size}, expected a whole number of at least 1")
    listed, others = _listing(folder)
    read, x, notes = _read_all(folder, listed, size)
    notes |= {"left out, no .png, .jpg or .jpeg": others} if others else {}
    grey = (x == x[..., :1]).all(axis=(1, 2, 3))
    if grey.any() and not grey.all():
        notes[GREY] = [one.name for one, is_grey in zip(read, grey) if is_grey]
    x = x[..., 0] if grey.all() else x
    labels, classes = _labels(folder, read)
    test, flat = _test_part(folder, read), flat_grey(x)
    said = tuple(f"{len(names):,} of {len(listed) + len(others):,} files {what}: {_few(names)}"
                 for what, names in notes.items())
    if classes:
        said = (f"classes: {', '.join(f'{i} {name}' for i, name in enumerate(classes))}", *said)
    return Dataset(folder.resolve().name, flat[~test], flat[test], None if labels is None else labels[~test],
                   None if labels is None else labels[test], None, x.shape[1:], kind_of(flat), notes=said)


def _listing(folder: Path) -> tuple[list[Listed], list[str]]:
    """The pictures of a folder by name, and the names of its other files; hidden ones are nobody's business."""
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.parts)]
    pictures = [name for name in names if name.suffix.lower() in ENDINGS]
    split = {name.parts[0] if name.parent.parts else "" for name in pictures} == PARTS
    found = []
    for name in pictures:
        above = name.parent.parts[1:] if split else name.parent.parts
        found.append(Listed(folder / name, name.as_posix(), above[0] if above else "",
                            name.parts[0] == "test" if split else None))
    return found, [name.as_posix() for name in names if name.suffix.lower() not in ENDINGS]


def _read_all(folder: Path, listed: Sequence[Listed],
              size: int | None) -> tuple[list[Listed], np.ndarray, dict[str, list[str]]]:
    """Those that can be read, their pixels (N, H, W, 3) uint8, and the names of which something is to be said."""
    read: list[Listed] = []
    images: list[np.ndarray] = []
    notes: dict[str, list[str]] = {}
    for one in tqdm(listed, desc=f"reading {folder.name}", unit="picture", delay=2, leave=False):
        try:
            image, said = read_picture(one.path, size)
        except BROKEN as error:
            notes.setdefault("left out, they cannot be read", []).append(f"{one.name} ({error or 'damaged'})")
            continue
        if images and image.shape != images[0].shape:
            raise DataError(f"{folder}: {read[0].name} is {_size(images[0])}, {one.name} is {_size(image)}: say to "
                            "which square all are to be cut and resampled, such as --size 32")
        read.append(one)
        images.append(image)
        for what in said:
            notes.setdefault(what, []).append(one.name)
    if len(images) < 2:
        why = "".join(f"; {what}: {_few(names)}" for what, names in notes.items())
        raise DataError(f"{folder}: got {len(images)} pictures ({', '.join(ENDINGS)}), expected at least 2{why}")
    return read, np.stack(images), notes


def read_picture(path: Path, size: int | None = None) -> tuple[np.ndarray, list[str]]:
    """One picture as (H, W, 3) uint8, and what was done to it.  Raises one of BROKEN if it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                # of metadata that nobody asks for
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG", "JPEG")) as opened:
            image = ImageOps.exif_transpose(opened)
            said = [PALETTE] * (opened.mode == "P") + [SIXTEEN] * _is_16_bit(path)
        if image.mode.startswith("I"):                 # 16 bits of grey, 0 … 65535
            image = Image.fromarray(np.rint(np.asarray(image) / 257.0).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                said.append(ALPHA)
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if size is None:
        if 3 * image.width * image.height > MOST:
            raise DataError(f"{path}: {image.height}×{image.width} is more than these networks can take in; say to "
                            "which square all pictures are to be cut and resampled, such as --size 32")
        return np.array(image), said
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    said += [CROPPED] * (image.width != image.height) + [ENLARGED] * (side < size)
    square = image.crop((left, top, left + side, top + side))        # first, or resampling sees what lies outside
    return np.array(square.resize((size, size), Image.Resampling.LANCZOS)), said


def _is_16_bit(path: Path) -> bool:
    """What the header of a PNG says: Pillow makes 8 of 16 bits of colour without a word."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[12:16] == b"IHDR" and header[24] == 16


def _labels(folder: Path, read: Sequence[Listed]) -> tuple[np.ndarray | None, list[str]]:
    """The class of each picture, and their names; (None, []) if there are not two."""
    classes = sorted({one.label for one in read})
    if "" in classes and len(classes) > 1:
        beside = next(one.name for one in read if not one.label)
        raise DataError(f"{folder}: {beside} lies beside folders of pictures ({_few(classes[1:])}), which are classes; "
                        "put every picture into the folder of its class, or all into one")
    if len(classes) < 2:
        return None, []
    return np.array([classes.index(one.label) for one in read], np.int64), classes


def _test_part(folder: Path, read: Sequence[Listed]) -> np.ndarray:
    """Which pictures are held out        -> (N,) bool"""
    if read[0].test is not None:
        test = np.array([bool(one.test) for one in read])
        if test.all() or not test.any():
            raise DataError(f"{folder}: no picture in {'train' if test.all() else 'test'} can be read")
        return test
    order = np.argsort([sha256(one.name.encode()).hexdigest() for one in read], kind="stable")
    test = np.zeros(len(read), dtype=bool)
    test[order[:max(1, len(read) // 10)]] = True
    return test


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}×{image.shape[1]}"
