"""Find a data set's files in local folders, or download them; trust only what has the right hash."""

from __future__ import annotations

import os
from pathlib import Path

import pooch
from tqdm import tqdm

from minivae.backend import cache_folder
from minivae.data.dataset import DataError
from minivae.data.sources import SOURCES, File, Source, canonical

PathLike = str | os.PathLike[str]

pooch.get_logger().setLevel("WARNING")                 # the progress bar says what is being downloaded


def fetch(name: str, *, folder: PathLike | None = None) -> list[Path]:
    """Make sure that a named data set is on this machine, and return the paths of its files.

    Looks in `folder`, then in the folder named by the environment's MINIVAE_DATA, then in the
    cache; downloads what is missing into the cache.  Every file is checked against its hash.
    A data set that the library draws has none.
    Raises ValueError for an unknown name, DataError if a file cannot be had or is not the official one.
    """
    name = canonical(name)
    source = SOURCES[name]
    if source.drawn:
        return []
    if name == "digits":
        return [checked(Path(__file__).with_name("digits.npz"), source.instead or File("digits.npz"))]
    places = search_places(source, folder)
    if source.instead and (path := find(source.instead, places)):
        return [checked(path, source.instead)]
    if not source.mirrors:
        raise DataError(
            f"{name} has no download, because no address offers it with a hash to verify. Put "
            f"{source.instead.name if source.instead else 'it'} (its images as one uint8 array) in "
            f"FOLDER/{source.folder} and set MINIVAE_DATA=FOLDER, or load your own .npz by its path"
        )
    return [_fetch_file(name, source, file, places) for file in source.files]


def search_places(source: Source, folder: PathLike | None) -> list[Path]:
    """Where to look, in order: `folder`, MINIVAE_DATA (in each the subfolder first), the cache."""
    places = []
    for label, place in (("folder", folder), ("MINIVAE_DATA", os.environ.get("MINIVAE_DATA"))):
        if not place:
            continue
        root = Path(place).expanduser()
        if not root.is_dir():                          # a typo should not start a download
            raise DataError(f"{label}={str(place)!r} is not a folder: correct it, or leave it unset")
        places += [root / source.folder, root]
    return [*places, cache_folder() / source.folder]


def find(file: File, places: list[Path]) -> Path | None:
    """The first place that holds this file, unless what lies there belongs to another data set.

    MNIST and Fashion-MNIST use the same file names, so a flat folder of one is no copy of the other.
    """
    sizes_elsewhere = {
        other.size for source in SOURCES.values() for other in source.files if other.name == file.name
    } - {file.size}
    for place in places:
        path = place / file.name
        if path.is_file() and path.stat().st_size not in sizes_elsewhere:
            return path
    return None


def checked(path: Path, file: File) -> Path:
    """`path` itself, if it has the size and the hash of `file`; else raises DataError."""
    size = path.stat().st_size
    remedy = "Delete it and retry, or put the official file in its place"
    if file.size and size != file.size:
        raise DataError(f"{path} holds {size:,} bytes, the official file {file.size:,}: truncated? {remedy}")
    if file.hash and not _has_hash(path, file):
        raise DataError(f"{path} is not the official file, whose hash is {file.hash}. {remedy}")
    return path


def _has_hash(path: Path, file: File) -> bool:
    algorithm, _, expected = file.hash.partition(":")
    return str(pooch.file_hash(str(path), alg=algorithm)) == expected


def _fetch_file(name: str, source: Source, file: File, places: list[Path]) -> Path:
    """One file: a local copy if there is one, else from the cache, else from the first mirror that works."""
    *local, cache = places
    if path := find(file, local):
        return checked(path, file)
    cached = cache / file.name                         # a damaged one here is ours to replace
    if cached.is_file() and _has_hash(cached, file):
        return cached
    failures = []
    for mirror in source.mirrors:
        try:
            return _download(mirror + file.name, file, cache)
        except (OSError, ValueError) as error:         # network, HTTP status, full disk; wrong hash
            failures.append(f"  {mirror + file.name}: {_brief(error)}")
    raise DataError(
        f"{name}: could not download {file.name} ({file.size / 1e6:.1f} MB); nothing of it was kept.\n"
        + "\n".join(failures)
        + f"\nRetry when the network is there, or put the file in FOLDER/{source.folder} and set "
        "MINIVAE_DATA=FOLDER"
    )


def _download(url: str, file: File, folder: Path) -> Path:
    """Download into `folder`.  pooch writes to a temporary name, checks the hash, and only then
    renames: an interrupted or wrong download never lies under the file's name."""
    with tqdm(desc=file.name, total=file.size, unit="B", unit_scale=True) as bar:
        # "identity": nothing on the way may unpack the .gz
        download = pooch.HTTPDownloader(progressbar=bar, headers={"Accept-Encoding": "identity"})
        return Path(pooch.retrieve(url, file.hash, file.name, folder, downloader=download))


def _brief(error: Exception) -> str:
    """One line that says what went wrong."""
    if isinstance(error, ValueError):
        return "what came has the wrong hash: it is damaged, truncated, or another file"
    return f"{type(error).__name__}: {str(error)[:160]}"
