"""What a student hands in, a folder or a zip, laid over a fresh starter tree: the files asked for, and only as text."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

LARGEST = 1 << 20                      # bytes of a file that is handed in
MOST = 10_000                          # entries of a zip that are looked at


class SubmissionError(ValueError):
    """It cannot be read: the message is for the student."""


@contextmanager
def laid_out(submission: Path, starter: Path, files: set[str],
             user: int | None = None) -> Iterator[tuple[Path, list[str]]]:
    """A fresh working tree with the submission's files in it, and remarks; gone afterwards, with all that was written.

    user   who may write in it, if this process is root
    """
    with TemporaryDirectory(prefix="minivae-work-") as folder:
        work = Path(folder) / "work"
        shutil.copytree(starter, work)
        remarks = []
        for file in sorted(files):
            content, remark = _find(submission, file)
            if content is not None:
                (work / file).write_bytes(content)
            if remark:
                remarks.append(remark)
        Path(folder).chmod(0o711)
        for path in [work, *work.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            if user is not None and os.getuid() == 0:
                os.chown(path, user, user)
        yield work, remarks


def _find(submission: Path, file: str) -> tuple[bytes | None, str]:
    """A file of the submission, wherever it lies in it: at its place, below a folder, or alone by its name."""
    found = (_in_zip if submission.is_file() and zipfile.is_zipfile(submission) else _in_folder)(submission, file)
    if not found:
        return None, f"{file} was not handed in: the starter's stands in for it"
    best = min(found, key=lambda name: (not name.endswith(file), len(name)))
    content = found[best]()
    if content is None:
        return None, f"{best} is not a plain text file of at most {LARGEST:,} bytes: the starter's stands in for it"
    others = f"; {len(found) - 1} others of that name were left out" if len(found) > 1 else ""
    return content, f"{file}: taken from {best}{others}" if best != file or others else ""


def _in_folder(folder: Path, file: str) -> dict[str, Callable[[], bytes | None]]:
    """Never through a symbolic link: it may lead anywhere."""
    if not folder.is_dir():
        name = folder.name
        return {name: lambda: _read(folder)} if name == Path(file).name else {}
    found: dict[str, Callable[[], bytes | None]] = {}
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(file).name in names:
            path = Path(place) / Path(file).name
            found[path.relative_to(folder).as_posix()] = lambda path=path: _read(path)         # type: ignore[misc]
    return found


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return _text(file.read(LARGEST + 1))


def _in_zip(path: Path, file: str) -> dict[str, Callable[[], bytes | None]]:
    """Entries are read by name and never unpacked to a path of their own choice."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SubmissionError(f"{path.name}: not a zip that can be read ({error})") from error
    if len(entries) > MOST:
        raise SubmissionError(f"{path.name}: {len(entries):,} entries, expected at most {MOST:,}")
    found: dict[str, Callable[[], bytes | None]] = {}
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.name == PurePosixPath(file).name and ".." not in name.parts and "__MACOSX" not in name.parts:
            found[entry.filename] = lambda entry=entry: _read_entry(path, entry)                # type: ignore[misc]
    return found


def _read_entry(path: Path, entry: zipfile.ZipInfo) -> bytes | None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return None
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            return _text(file.read(LARGEST + 1))       # no more is unpacked, whatever the entry says of its size
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return None


def _text(content: bytes) -> bytes | None:
    if len(content) > LARGEST or b"\0" in content:
        return None
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return content
