"""Where a student's code runs: a fresh starter tree with the student's files in it, and nothing of the judge's.

The starter's own files are read and compiled once, for all the trees and processes that will have them.  The student's
are written as they are: to compile what somebody has thought up can end the process that does it.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

LEFT_OUT = ("answers.bin", "handed_out.json", "visible.py", "test_assignment.py")
FOLDERS_LEFT_OUT = ("coursework", "__pycache__")


@contextmanager
def workplace() -> Iterator[None]:
    """A folder that holds whatever temporary files are made meanwhile, and is gone afterwards.

    Ctrl-C in the midst of making a tree or of clearing it away leaves it behind, and so does a worker that is killed:
    the whole folder goes at the end of a command, when nobody works in it any more.
    """
    with tempfile.TemporaryDirectory(prefix="minivae-course-") as folder:
        Path(folder).chmod(0o711)                      # students' users pass through to their trees, and list no others
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextmanager
def laid_out(starter: Path, contents: Mapping[str, bytes], user: int | None = None) -> Iterator[Path]:
    """A fresh working tree with these files in it, for this process and that user to read; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="minivae-work-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        for file in _files(starter):
            if file not in contents:
                text, compiled = _read(starter / file, os.stat(starter / file).st_mtime_ns)
                _write(work / file, text)
                if compiled:
                    _write(Path(importlib.util.cache_from_source(str(work / file))), compiled)
        for file, content in contents.items():
            _write(work / file, content)
        if user is not None:
            os.chown(folder, 0, user)                  # its group: it may pass and read, and change nothing
            Path(folder).chmod(0o750)
            for place, _, files in os.walk(work):
                os.chmod(place, 0o755)
                for name in files:
                    os.chmod(os.path.join(place, name), 0o644)
        yield work


def _files(starter: Path) -> Iterator[str]:
    """What of a starter tree student's code may see."""
    for place, folders, files in os.walk(starter):
        folders[:] = sorted(name for name in folders if name not in FOLDERS_LEFT_OUT)
        for name in sorted(files):
            if name not in LEFT_OUT:
                yield Path(place, name).relative_to(starter).as_posix()


@lru_cache(maxsize=2000)
def _read(path: Path, changed: int) -> tuple[bytes, bytes]:
    """A file of the starter, and what Python makes of it.

    changed   when it was changed: another one, another file
    """
    if path.suffix != ".py":
        return path.read_bytes(), b""
    with tempfile.TemporaryDirectory(prefix="minivae-pyc-") as folder:
        made = py_compile.compile(str(path), f"{folder}/a.pyc", quiet=2,
                                  invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        return path.read_bytes(), Path(made).read_bytes() if made else b""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
