"""What lies in a folder, a zip, a tar, and in archives inside of these: names, and how to read them.

Nothing is unpacked: entries are listed, and read as far as is asked for.  Whatever it is made of, listing it takes
bounded time and memory, follows no link, and writes nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

MOST, DEEPEST = 10_000, 30             # entries that are looked at, folders in folders
CONTENTS = 1 << 22                     # bytes of a zip's table of contents
ARCHIVE = 1 << 24                      # bytes of an archive in an archive, and of what a tar holds in all
ARCHIVES, NESTED = 10, 2               # archives that are opened in one submission, one inside the other
ZIPS, TARS = (".zip",), (".tar", ".tar.gz", ".tgz")
Read = Callable[[int], bytes]


class SubmissionError(ValueError):
    """It cannot be read: the message is for the student."""


@dataclass(frozen=True)
class Entry:
    """A file of a submission."""

    path: str
    """where it lies: "a1.zip/minivae/ops/dense.py" """
    read: Read
    """its first bytes, at most so many; raises SubmissionError"""
    file: Path | None = None
    """where it is, if it is in no archive"""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


def entries(path: Path) -> tuple[list[Entry], list[str]]:
    """All files of a submission, those in its archives too, and remarks about archives that cannot be read.

    Raises SubmissionError if the submission itself is such an archive, or has too many files.
    """
    folder = path.is_dir() and not path.is_symlink()
    waiting = [(entry, 0) for entry in (in_folder(path) if folder else [_plain_file(path, path.name)])]
    found, remarks, opened = list[Entry](), list[str](), 0
    for entry, depth in waiting:                       # it grows while it is read
        try:
            inside = _inside(entry) if depth <= NESTED and opened < ARCHIVES else None
        except SubmissionError as error:
            if entry.file == path:
                raise
            remarks.append(f"{entry.path}: {error}")
            continue
        if inside is None:
            found.append(entry)
            continue
        opened += 1
        prefix = "" if entry.file == path else f"{entry.path}/"
        waiting += [(Entry(prefix + inner.path, inner.read), depth + 1) for inner in inside]
        if len(waiting) > MOST:
            raise SubmissionError(f"more than {MOST:,} files: only those asked for are needed")
    return found, remarks


def _plain_file(path: Path, name: str) -> Entry:
    return Entry(name, partial(_read, path), path)


def _inside(entry: Entry) -> list[Entry] | None:
    """What is in an archive; None if it is none."""
    low, file = entry.name.lower(), entry.file
    if file is not None and file.is_file() and not file.is_symlink() and zipfile.is_zipfile(file):
        return in_zip(lambda: open(file, "rb"))
    if low.endswith((*ZIPS, *TARS)):
        content = entry.read(ARCHIVE + 1)
        _refuse_large(content)
        return in_zip(lambda: io.BytesIO(content)) if low.endswith(ZIPS) else in_tar(content)
    if low.endswith((".rar", ".7z", ".tar.xz", ".tar.bz2", ".gz")):
        raise SubmissionError("is packed in a way that is not read: use an ordinary zip")
    return None


def _refuse_large(content: bytes) -> None:
    if len(content) > ARCHIVE:
        raise SubmissionError(f"an archive of more than {ARCHIVE:,} bytes: only the files asked for are needed")


# ── folders ───────────────────────────────────────────────────────────────────────────────────


def in_folder(folder: Path) -> list[Entry]:
    """Its files, in whatever folder below: never through a symbolic link, which may lead anywhere."""
    found: list[Entry] = []
    for seen, entry in enumerate(_scan(folder)):
        if seen == MOST:
            raise SubmissionError(f"more than {MOST:,} files: only those asked for are needed")
        if not entry.is_dir(follow_symlinks=False):
            path = Path(entry.path)
            found.append(_plain_file(path, path.relative_to(folder).as_posix()))
    return found


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below, but for hidden folders and virtual environments."""
    waiting = [(str(folder), 0)]
    for place, depth in waiting:                       # it grows while it is read
        with contextlib.suppress(OSError), os.scandir(place) as scanned:         # not ours to read: nothing is there
            for entry in scanned:
                yield entry
                hidden = entry.name.startswith(".") or os.path.lexists(os.path.join(entry.path, "pyvenv.cfg"))
                if depth < DEEPEST and not hidden and entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, depth + 1))


def _read(path: Path, most: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SubmissionError(f"cannot be read ({error.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SubmissionError("is no plain file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


# ── archives ──────────────────────────────────────────────────────────────────────────────────


class _Careful:
    """A file of which nobody reads more at once than a table of contents may take: a zip says itself how long it is."""

    def __init__(self, file: Any) -> None:
        self.file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size: int | None = -1) -> bytes:
        asked = CONTENTS + 1 if size is None or size < 0 else min(size, CONTENTS + 1)
        content = self.file.read(asked)
        if len(content) > CONTENTS:
            raise zipfile.BadZipFile(f"a table of contents of more than {CONTENTS:,} bytes")
        return content


def in_zip(opened: Callable[[], Any]) -> list[Entry]:
    """The files of a zip; `opened` opens it, once for each file that is read."""
    try:
        with opened() as file, zipfile.ZipFile(_Careful(file)) as archive:
            members = archive.infolist()
    except Exception as error:                         # whatever a crafted zip does to zipfile
        raise SubmissionError(f"not a zip that can be read ({error})") from None
    if len(members) > MOST:
        raise SubmissionError(f"a zip of {len(members):,} entries: only the files asked for are needed")
    found = {}
    for member in members:                             # of a name that is there twice, the last one counts
        name = _plain(member.filename.replace("\\", "/"))                  # as some programs of Windows write it
        if name and not member.is_dir():
            found[name] = Entry(name, partial(_read_zipped, opened, member))
    return list(found.values())


def _read_zipped(opened: Callable[[], Any], member: zipfile.ZipInfo, most: int) -> bytes:
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise SubmissionError("is no plain file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SubmissionError("is packed in a way that is not read: use an ordinary zip")      # a bomb, perhaps
    if member.flag_bits & 1:
        raise SubmissionError("is encrypted")
    try:
        with opened() as file, zipfile.ZipFile(_Careful(file)) as archive, archive.open(member) as content:
            return content.read(most)                  # no more is unpacked, whatever the entry says of its size
    except Exception as error:                         # whatever a crafted entry does to zipfile
        raise SubmissionError(f"cannot be unpacked ({error})") from None


def in_tar(content: bytes) -> list[Entry]:
    """The files of a tar, gzipped or not: it is unpacked in memory first, as far as ARCHIVE."""
    try:
        if content[:2] == b"\x1f\x8b":
            unpacking = zlib.decompressobj(31)
            content = unpacking.decompress(content, ARCHIVE + 1)
            _refuse_large(content)
        with tarfile.TarFile(fileobj=io.BytesIO(content)) as archive:
            members = [member for _, member in zip(range(MOST), archive) if member.isreg() and not member.issparse()]
        return [Entry(name, partial(_part, content, member.offset_data, member.size)) for member in members
                if (name := _plain(member.name))]
    except SubmissionError:
        raise
    except Exception as error:                         # whatever a crafted tar does to tarfile
        raise SubmissionError(f"not a tar that can be read ({error})") from None


def _part(content: bytes, start: int, size: int, most: int) -> bytes:
    return content[start:start + min(size, most)]


def _plain(name: str) -> str:
    """The path of an entry; empty if it leads out of the archive, or is a Mac's shadow of another file."""
    path = PurePosixPath(name)
    return "" if {"..", "__MACOSX"} & set(path.parts) or path.is_absolute() else str(path)
