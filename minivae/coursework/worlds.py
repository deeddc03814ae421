"""Worlds of its own for the student's process: process numbers, network, and a root with nothing in it but Python.

They are Linux's namespaces.  Root may make them, and so may others where the system allows it (many containers do not).
When the first process of such a world ends, so do all the others in it; and what is not in its root cannot be read.

This file is run inside the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND, ALL_BELOW, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
ROOT = Path("/proc")                   # where the new root is put: any folder would do, and this one has to go anyway


def enter() -> bool:
    """The next child of this process is the first of a world of its own.  False: the system does not allow it."""
    return would_work() and _own_numbers()


@cache
def would_work() -> bool:
    """Tried once, in a child that ends: some systems let one begin, and then nothing can be undone."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if _own_numbers() and leave() else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _own_numbers() -> bool:
    """Process numbers that start at 1; without root, in a world where this user has all rights, and is nobody else."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(NEW_PIDS | (NEW_USER if uid else 0)) != 0:
        return False
    try:
        for file, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            if uid:
                Path("/proc/self", file).write_text(content, encoding="utf-8")
    except OSError:
        return False
    return True


def leave() -> bool:
    """In the first process of the new world: no network, no shared memory, no mounts in common with the old one."""
    return ctypes.CDLL(None).unshare(NEW_MOUNTS | NEW_NET | NEW_IPC) == 0


def own_root(plan: list[tuple[Path, bool]]) -> bool:
    """From here on there is nothing but what `plan` names, (path, seen) by (path, hidden in it); all of it to read.

    False if the system does not let us mount: then everything is where it was, but for ROOT.
    """
    libc, mounts = ctypes.CDLL(None), [ROOT]
    if libc.mount(None, b"/", None, ALL_BELOW | PRIVATE, None) or _empty(ROOT):
        return False
    for path, seen in plan:
        inside = ROOT / path.relative_to("/")
        if not seen and (inside.is_symlink() or not inside.is_dir()):
            continue
        if seen:
            _place_for(path, inside)
        mounts.append(inside)
        if libc.mount(bytes(path), bytes(inside), None, BIND | ALL_BELOW, None) if seen else _empty(inside):
            return False
    if any(_read_only(path) for path in mounts):
        return False
    os.chroot(ROOT)
    os.chdir("/")
    return True


def _empty(path: Path) -> int:
    return ctypes.CDLL(None).mount(b"none", bytes(path), b"tmpfs", NO_SUID | NO_DEVICES, b"mode=755,size=1m")


def _place_for(path: Path, inside: Path) -> None:
    """A thing can only be mounted on another of its kind."""
    if path.is_dir():
        inside.mkdir(parents=True, exist_ok=True)
    elif not inside.exists():
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.touch()


def _read_only(path: Path) -> int:
    """Nobody writes here any more, whoever owns it: the mount says no."""
    kept = os.statvfs(path).f_flag & (NO_SUID | NO_DEVICES | NO_PROGRAMS)      # what may not be given up in a world
    return ctypes.CDLL(None).mount(None, bytes(path), None, REMOUNT | BIND | READ_ONLY | kept, None)
