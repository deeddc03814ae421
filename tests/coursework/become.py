"""Run a program as another user, in a world in which everybody may pass to this Python (it may lie in root's home).

    python become.py USER PROGRAM ARGUMENT...          USER: a number; 0 stays root
"""

import ctypes
import os
import sys
from pathlib import Path

NEW_MOUNTS, PRIVATE_TO_THE_LEAVES, BIND_WITH_ALL_BELOW = 0x00020000, 0x44000, 0x5000


def open_the_way(python: Path) -> None:
    """In this process's world, the first closed folder above is empty but for the way to `python`."""
    closed = [folder for folder in reversed(python.parents) if not folder.stat().st_mode & 1]
    if closed:
        libc = ctypes.CDLL(None)
        libc.unshare(NEW_MOUNTS)
        libc.mount(None, b"/", None, PRIVATE_TO_THE_LEAVES, None)
        fd = os.open(python, os.O_PATH)
        libc.mount(b"tmpfs", bytes(closed[0]), b"tmpfs", 0, b"mode=755")
        python.mkdir(parents=True)
        libc.mount(f"/proc/self/fd/{fd}".encode(), bytes(python), None, BIND_WITH_ALL_BELOW, None)
        os.close(fd)


user = int(sys.argv[1])
open_the_way(Path(sys.base_prefix))
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
os.execv(sys.argv[2], sys.argv[2:])
