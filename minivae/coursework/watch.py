"""Watch over the student's process from outside, and leave nothing of it behind.

Who watches is the parent of the student's process, and inherits whatever that leaves running.  All of it is ended when
the process has ended, when too much memory is taken in all, or when the judge is done with it or dead.

This file is run beside the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
CHILDREN = Path("/proc/thread-self/children")          # not every Linux has it


def gather_orphans() -> None:
    """Children of children come to this process when their parents end, not to the system's first."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def until_the_end(child: int, lease: int, megabytes: int, user: int | None) -> str:
    """Wait, end everything, and say how the child ended: its exit code, below zero for a signal, or in a word."""
    says, seen = "", time.monotonic()
    while not says and not select.select([lease], [], [], 0.02)[0]:
        says = _ended(child)
        if not says and time.monotonic() > seen + 0.2:
            seen = time.monotonic()
            says = "memory" if sum(map(memory, descendants())) > megabytes << 20 else ""
    end(child, user)
    return says or "let go"


def _ended(child: int) -> str:
    """Its exit code, if it has ended; it is not waited for yet where that can be, so that its number stays its own."""
    if hasattr(os, "waitid"):
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return "" if ended is None else str(ended.si_status * (1 if ended.si_code == os.CLD_EXITED else -1))
    found, status = os.waitpid(child, os.WNOHANG)      # macOS
    return str(os.waitstatus_to_exitcode(status)) if found else ""


def end(child: int, user: int | None, seconds: float = 5.0) -> None:
    """Kill the child's group, what descends from it, and all that belongs to its user, until there is nothing left."""
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)               # its number is its own until it is waited for
    deadline, again = time.monotonic() + seconds, sys.platform != "linux"      # there orphans do not come to us
    while time.monotonic() < deadline:
        for pid in {child, *descendants()} if child else descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if user is not None and again:
            _kill_all_of(user)
        time.sleep(0.005)
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                child = 0 if pid == child else child
        except ChildProcessError:                      # nobody is left: whoever lost its parent is our child
            return
        again = True


def _kill_all_of(user: int) -> None:
    """As that user: every process that it may signal, at once."""
    try:
        killer = os.fork()
    except OSError:                                    # the child was the first of its world: nothing in it is left
        return
    if killer == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def descendants() -> list[int]:
    """The processes that descend from this one (Linux; elsewhere none are known)."""
    found, parents = [os.getpid()], {} if CHILDREN.exists() else _parents()
    for pid in found:                                  # it grows while it is read
        found += [child for child, parent in parents.items() if parent == pid] if parents else _children(pid)
    return found[1:]


def _children(pid: int) -> list[int]:
    """As the system lists them, of each of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*/children"):
        with contextlib.suppress(OSError):             # it has ended
            found += map(int, task.read_text(encoding="utf-8").split())
    return found


def _parents() -> dict[int, int]:
    """Child -> parent, of all processes that there are, where the system has no such lists."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int(_stat(folder.name)[1])
    return parents


def memory(pid: int) -> int:
    """Bytes that a process has in memory; 0 if it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(_stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _stat(pid: int | str) -> list[str]:
    """What the system says of a process, from the third field on: the second is its name, and may be anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace", encoding="utf-8").rpartition(")")[2].split()
