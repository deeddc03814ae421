"""What keeps the student's code where it belongs: limits, a user of its own, and walls around files and network.

`restrict` is called by the student's process about itself, before it reads a line of the student's code, and cannot be
taken back.  Every wall that the system offers is put up; the names of those that stand are returned, so that the report
can say what is promised.  Linux has them all; elsewhere some are missing, and the report says so.

    limits        of processor time, memory, files, processes
    own world     process numbers, network and shared memory of its own (worlds.py)
    own root      a file system with nothing but Python, NumPy and the work folder, all to read (worlds.py)
    own user      that owns nothing (if the judge is root)
    Landlock      the same files, and all to read, by another mechanism
    seccomp       no writing, no processes, no signals, no network (seccomp.py)

This file is run inside the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import seccomp  # type: ignore[import-not-found]
import worlds  # type: ignore[import-not-found]

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446           # system calls, the same on every processor
READ, READ_FOLDER = 1 << 2, 1 << 3                                         # rights that Landlock gives
OFFERED = ("numpy", "threadpoolctl", "tqdm")                               # what the starter's pyproject.toml names
LOOKS_ROUND = ("threadpoolctl",)                                           # when it is run: in each process for itself
COMPILED: dict[str, Any] = {}                                              # name -> what it is, and its code
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", f"{sys.base_prefix}/lib")

Walls = list[str]
Plan = list[tuple[Path, bool]]


def restrict(work: Path, *, seconds: int, megabytes: int, processes: int, user: int | None,
             without: Sequence[str] = (), own_world: bool = False) -> Walls:
    """Shut this process in: it may read `work`, Python and NumPy, and write nothing.  Returns the walls that stand.

    seconds     of processor time, after which the system kills it
    megabytes   of memory
    processes   at once, threads included
    user        become this user, if root: one that owns nothing
    without     walls that are left out, to test the others
    own_world   this is the first process of a world of its own
    """
    os.setsid()                                        # out of reach of signals to the judge's group, and it of ours
    walls, plan = _limits(seconds, megabytes), _needed(work)
    readable = [*_readable_python(), (work, True), (Path("/proc/self/maps"), False)]       # threadpoolctl reads these
    if own_world and worlds.leave():
        walls.append("own world")
        if "own root" not in without and worlds.own_root(plan):
            walls.append("own root")
    _run_what_was_read()
    import_packages(*OFFERED)                          # now: later the folder in which they lie cannot be searched
    _forget_the_folders_of_packages()
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)                                # of root: for good, and all its rights with it
        walls.append("own user")
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    if sys.platform == "linux":
        _no_rights()
        walls += [] if "Landlock" in without else _landlock(readable)
        walls += [] if "seccomp" in without else seccomp.shut()
    return walls


def prepare() -> None:
    """What is the same for all that are forked from this process: done once, before."""
    import_packages("numpy", "numpy.random", "numpy.linalg", "numpy.testing", "tqdm")
    for name in LOOKS_ROUND:
        with contextlib.suppress(ImportError):
            _read(name)
    _readable_python()
    worlds.would_work()


def _read(name: str) -> None:
    """Compile a module, and do not run it yet."""
    spec = importlib.util.find_spec(name)
    if spec is not None and isinstance(spec.loader, importlib.abc.InspectLoader):
        COMPILED[name] = spec, spec.loader.get_code(name)


def _run_what_was_read() -> None:
    """In the new process: what was compiled before."""
    for name, (spec, code) in COMPILED.items():
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        exec(code, vars(module))


def import_packages(*names: str) -> None:
    """These, as far as they are installed."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _forget_the_folders_of_packages() -> None:
    """Modules are looked for in the standard library alone: an editable install names the solution's own folder.

    What is offered has been imported; its parts are found by way of its __path__.
    """
    standard = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    sys.path[:] = [path for path in sys.path if any(Path(path).is_relative_to(folder) for folder in standard)
                   and Path(path).name not in ("site-packages", "dist-packages")]


def _limits(seconds: int, megabytes: int) -> Walls:
    """Files of no more than 64 kB: where nothing else forbids it, they are at least small."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")  # if memory runs out, this one goes first
    for name, limit in (("CPU", seconds), ("AS", megabytes << 20), ("FSIZE", 1 << 16), ("CORE", 0), ("NOFILE", 64),
                        ("MSGQUEUE", 0)):
        with contextlib.suppress(ValueError, OSError, AttributeError):     # a system that does not know it
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    return ["limits" if sys.platform == "linux" else "limits (not of memory)"]


def _no_rights() -> None:
    """No rights of root in its own world, none by running a program; and it ends when who watches it ends."""
    libc = ctypes.CDLL(None)
    libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _needed(work: Path) -> Plan:
    """What is read: (path, seen), or (path, not seen) for what lies in those before it, where the solution may be."""
    return [*_python(), (work, True)]


@cache
def _python() -> Plan:
    """The same, of Python and what is offered with it."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    libraries = [folder for folder in dict.fromkeys(map(Path, LIBRARIES)) if folder.is_dir()]
    pythons = [path for folder in libraries for path in sorted(folder.glob("python*"))]
    packages = [stdlib / "site-packages", stdlib / "dist-packages"]
    offered = [path for name in OFFERED if (spec := importlib.util.find_spec(name)) and spec.origin
               for path in _parts_of(Path(spec.origin), name)]
    return [*((path, True) for path in libraries), *((path, False) for path in pythons), (stdlib, True),
            *((path, False) for path in packages), *((path, True) for path in offered)]


def _parts_of(origin: Path, name: str) -> list[Path]:
    """A package, with the libraries that lie beside it: numpy/ and numpy.libs/"""
    folder = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    return sorted(folder.glob(f"{name}*"))


def _readable(plan: Plan) -> Iterator[Path]:
    """The same without exceptions: for a folder with something hidden in it, what else is in it."""
    hidden = {path for path, seen in plan if not seen}
    for path in (path for path, seen in plan if seen):
        if any(other.parent == path for other in hidden):
            yield from (child for child in path.iterdir() if child not in hidden)
        else:
            yield path


@cache
def _readable_python() -> list[tuple[Path, bool]]:
    """Of Python and what is offered with it: (path, is it a folder?)"""
    return [(path, path.is_dir()) for path in _readable(_python())]


def _landlock(readable: list[tuple[Path, bool]]) -> Walls:
    """Everything that Landlock can forbid is forbidden, but for reading these: (path, is it a folder?)"""
    libc = ctypes.CDLL(None)
    version = libc.syscall(LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return []
    files = (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15
    attribute = struct.pack("QQQ", files, 0b11, 0b11)[:8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc.syscall(LANDLOCK_CREATE, attribute, len(attribute), 0)
    for path, folder in readable:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", READ | READ_FOLDER if folder else READ, fd)
            libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0)
            os.close(fd)
    stands = libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return ["Landlock"] if stands else []
