"""What keeps the student's code where it belongs: limits, a user of its own, and walls around files and network.

`restrict` is called by the student's process about itself, before it reads a line of the student's code, and cannot be
taken back.  Every wall that the system offers is put up; the names of those that stand are returned, so that the report
can say what was promised.  Linux has them all; elsewhere some are missing, and the report says so.

This file is run inside the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
PRIVATE, BIND = 0x44000, 0x5000                                            # of mounts, with all below them
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446           # system calls, the same on every processor
READ = 1 << 0 | 1 << 2 | 1 << 3                                            # execute, read a file, read a directory
EVERYTHING = (1 << 13) - 1                                                 # all file rights of the first version

Walls = list[str]


def restrict(work: Path, *, seconds: int, megabytes: int, processes: int, user: int | None) -> Walls:
    """Shut this process in: it may write below `work`, and read Python and NumPy.  Returns the walls that stand.

    seconds     of processor time, after which the system kills it
    megabytes   of memory; files may be a tenth of it
    processes   at once, threads included
    user        become this user, if root: one that owns nothing but `work`
    """
    walls = _limits(seconds, megabytes)
    walls += _worlds(user)
    if user is not None and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        walls.append("user")
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return walls + _landlock(work)


def _limits(seconds: int, megabytes: int) -> Walls:
    size = megabytes << 20
    for what, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, size), (resource.RLIMIT_FSIZE, size // 10),
                        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 256)):
        with contextlib.suppress(ValueError, OSError):                     # a system that does not know it
            resource.setrlimit(what, (limit, limit))
    return ["time", "memory", "file size", "processes"]


def _worlds(user: int | None) -> Walls:
    """Processes, network, mounts and shared memory of its own.  When its first process ends, so do all others of it."""
    libc, uid, gid = _libc(), os.getuid(), os.getgid()
    wanted = NEW_PIDS | NEW_NET | NEW_IPC | NEW_MOUNTS | (NEW_USER if uid else 0)
    if sys.platform != "linux" or libc.unshare(wanted) != 0:
        return []
    if uid:                                            # in a world of its own it stays who it was
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    child = os.fork()                                  # who asked for the new world stays outside: its child is in it
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    libc.mount(None, b"/", None, PRIVATE, None)
    libc.mount(b"proc", b"/proc", b"proc", 0, None)
    if user is not None and uid == 0:
        for path in (Path(sys.base_prefix), Path(sys.prefix)):
            _open_up(path)
    return ["network", "nothing left behind"]


def _open_up(path: Path) -> None:
    """If others may not pass to Python (it lies in root's home, perhaps): an empty folder in the way, Python in it.

    Only in this process's own world, and only Python: the rest of that home is gone from it.
    """
    closed = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 1]
    if not closed:
        return
    libc, fd = _libc(), os.open(path, os.O_PATH)
    libc.mount(b"tmpfs", bytes(closed[0]), b"tmpfs", 0, b"mode=755")
    path.mkdir(parents=True)
    libc.mount(f"/proc/self/fd/{fd}".encode(), bytes(path), None, BIND, None)
    os.close(fd)


def _landlock(work: Path) -> Walls:
    """Files: everything below `work`; of the rest only Python and NumPy, to read."""
    libc, attribute = _libc(), struct.pack("Q", EVERYTHING)
    ruleset = libc.syscall(LANDLOCK_CREATE, attribute, len(attribute), 0) if sys.platform == "linux" else -1
    if ruleset < 0:
        return []
    for path, rights in [(work, EVERYTHING), *((path, READ) for path in _needed())]:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = rights if path.is_dir() else rights & ~(1 << 3) & 0b111
        rule = struct.pack("=Qi", allowed, fd)
        libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0)
        os.close(fd)
    stands = libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return ["files"] if stands else []


def _needed() -> list[Path]:
    """What Python and NumPy read: not the folder of installed packages, in which the solution may lie."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    packages = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")} | {
        stdlib / "site-packages", stdlib / "dist-packages"}
    numpy = [path for folder in packages for name in ("numpy*", "threadpoolctl*") for path in folder.glob(name)]
    libraries = [Path(path) for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")]
    system = [path for folder in libraries if folder.is_dir() for path in folder.iterdir()
              if not path.name.startswith("python")]
    return [*(path for path in stdlib.iterdir() if path not in packages), *numpy, *system,
            *map(Path, ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/dev/null",
                        "/dev/urandom", "/etc/localtime", "/usr/share/zoneinfo")),
            Path(sys.executable).resolve(), Path(__file__).parent]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
