"""What a student hands in, a folder or a zip, laid over a fresh starter tree: the files asked for, and only as text.

Nothing is unpacked: entries are looked up by name and read as far as a source file may reach.  Whatever the submission
is made of, looking at it takes bounded time and memory, follows no link, and writes nothing but the files asked for.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

LARGEST = 1 << 20                      # bytes of a file that is handed in
MOST, DEEPEST = 10_000, 30             # entries of a zip or folder that are looked at, folders in folders
CONTENTS = 1 << 22                     # bytes of a zip's table of contents
NOT_FOR_STUDENTS_CODE = shutil.ignore_patterns("answers.bin", "visible.py", "test_assignment.py", "coursework",
                                               "__pycache__")
Found = dict[str, Callable[[], bytes]]


class SubmissionError(ValueError):
    """It cannot be read: the message is for the student."""


def handed_in(submission: Path, files: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
    """The contents of these files, wherever they lie in it (at their place, below a folder, or alone), and remarks."""
    wanted = {PurePosixPath(file).name for file in files}
    found = (in_zip if submission.is_file() and zipfile.is_zipfile(submission) else in_folder)(submission, wanted)
    contents, remarks = {}, []
    for file in sorted(files):
        names = [name for name in found if PurePosixPath(name).name == PurePosixPath(file).name]
        if not names:
            remarks.append(f"{file} was not handed in: the starter's stands in for it")
            continue
        best = min(names, key=lambda name: (not f"/{name}".endswith(f"/{file}"), len(name), name))
        try:
            contents[file] = source(found[best]())
        except SubmissionError as error:
            remarks.append(f"{best} {error}: the starter's stands in for it")
            continue
        if best != file or len(names) > 1:
            others = f"; {len(names) - 1} others of that name were left out" if len(names) > 1 else ""
            remarks.append(f"{file}: taken from {best}{others}")
    return contents, remarks


@contextmanager
def laid_out(starter: Path, contents: Mapping[str, bytes], user: int | None = None) -> Iterator[Path]:
    """A fresh working tree with these files in it, for this process and that user to read; gone afterwards."""
    with TemporaryDirectory(prefix="minivae-work-") as folder:
        work = Path(folder) / "work"
        shutil.copytree(starter, work, ignore=NOT_FOR_STUDENTS_CODE)
        for file, content in contents.items():
            (work / file).write_bytes(content)
        if user is not None:
            os.chown(folder, 0, user)                  # its group: it may pass and read, and change nothing
            Path(folder).chmod(0o750)
            for path in [work, *work.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
        yield work


def source(content: bytes) -> bytes:
    """The content, if it may be a source file.  Raises SubmissionError."""
    if len(content) > LARGEST:
        raise SubmissionError(f"is longer than {LARGEST:,} bytes")
    try:
        if "\0" in content.decode():
            raise SubmissionError("is no text: it has NUL bytes in it")
    except UnicodeDecodeError:
        raise SubmissionError("is no text in UTF-8") from None
    return content


def in_folder(folder: Path, wanted: set[str]) -> Found:
    """Files of these names, in whatever folder below: never through a symbolic link, which may lead anywhere."""
    if not folder.is_dir():
        return {folder.name: lambda: _read(folder)} if folder.name in wanted else {}
    found: Found = {}
    for seen, entry in enumerate(_entries(folder)):
        if seen == MOST:
            raise SubmissionError(f"more than {MOST:,} files: only those asked for are needed")
        if entry.name in wanted and not entry.is_dir(follow_symlinks=False):
            path = Path(entry.path)
            found[path.relative_to(folder).as_posix()] = lambda path=path: _read(path)          # type: ignore[misc]
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below, but for hidden folders and virtual environments."""
    waiting = [(str(folder), 0)]
    for place, depth in waiting:                       # it grows while it is read
        with contextlib.suppress(OSError), os.scandir(place) as entries:         # not ours to read: nothing is there
            for entry in entries:
                yield entry
                hidden = entry.name.startswith(".") or os.path.lexists(os.path.join(entry.path, "pyvenv.cfg"))
                if depth < DEEPEST and not hidden and entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, depth + 1))


def _read(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SubmissionError(f"cannot be read ({error.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SubmissionError("is no plain file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(LARGEST + 1)
    finally:
        os.close(fd)


class _Careful(io.FileIO):
    """A file of which nobody reads more at once than a table of contents may take: a zip says itself how long it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        asked = CONTENTS + 1 if size is None or size < 0 else min(size, CONTENTS + 1)
        content = super().read(asked)
        if len(content) > CONTENTS:
            raise zipfile.BadZipFile(f"a table of contents of more than {CONTENTS:,} bytes")
        return content


def in_zip(path: Path, wanted: set[str]) -> Found:
    """Entries of these names, in whatever folder of the zip."""
    try:
        with _Careful(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception as error:                         # whatever a crafted zip does to zipfile
        raise SubmissionError(f"not a zip that can be read ({error})") from None
    if len(entries) > MOST:
        raise SubmissionError(f"a zip of {len(entries):,} entries: only the files asked for are needed")
    found: Found = {}
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))            # as some programs of Windows write it
        if name.name in wanted and not {"..", "__MACOSX"} & set(name.parts) and not name.is_absolute():
            found[str(name)] = lambda entry=entry: _read_entry(path, entry)                     # type: ignore[misc]
    return found


def _read_entry(path: Path, entry: zipfile.ZipInfo) -> bytes:
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise SubmissionError("is no plain file")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SubmissionError("is packed in a way that is not read: use an ordinary zip")      # a bomb, perhaps
    if entry.flag_bits & 1:
        raise SubmissionError("is encrypted")
    try:
        with _Careful(path) as file, zipfile.ZipFile(file) as archive, archive.open(entry) as member:
            return member.read(LARGEST + 1)            # no more is unpacked, whatever the entry says of its size
    except Exception as error:                         # whatever a crafted entry does to zipfile
        raise SubmissionError(f"cannot be unpacked ({error})") from None
