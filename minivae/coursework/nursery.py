"""Students' processes soon: forked from one that has read Python and NumPy, and never a line of a student's code.

A nursery is a process (student_process.py) that the judge starts once and asks for others.  Each of these gets its
pipes, its work folder and its limits, as if it had been started alone, and has nothing of the nursery's but its memory.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PROCESS = Path(__file__).parent / "student_process.py"
START = 30.0                           # seconds until Python and NumPy are there


class JudgeError(OSError):
    """The student's process could not be started: nobody's code is to blame, and nobody loses points."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use."""

    seconds: int = 60
    """of processor time in one process"""
    megabytes: int = 3000
    """of memory"""
    processes: int = 64
    """at once, threads included"""
    user: int | None = None
    """the user that its process becomes, if the judge is root"""
    without: tuple[str, ...] = ()
    """walls that are left out, to test the others"""


class Nursery:
    """The process from which others are forked.  Raises JudgeError if there can be none."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair()
        self.line.settimeout(START)
        # one thread: the sums have the same order on every machine, and no limit of processes is met
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
                       "MKL_NUM_THREADS": "1", "TMPDIR": tempfile.gettempdir()}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(PROCESS), str(theirs.fileno())], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, cwd="/",
                pass_fds=[theirs.fileno()], start_new_session=True)

    def start(self, work: Path, limits: Limits, fds: list[int]) -> int:
        """The number of a new process, which watches the student's.  Raises JudgeError."""
        order = json.dumps({"work": str(work), "limits": asdict(limits)}) + "\n"
        try:
            socket.send_fds(self.line, [order.encode()], fds)
            answer = self.line.recv(100)
        except OSError as error:
            answer = str(error).encode()
        if not answer.isdigit():
            says = self.close()
            raise JudgeError(f"the student's process did not start: {answer.decode()}\n{says}")
        return int(answer)

    def close(self) -> str:
        """End it, and return what it said of its end."""
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.communicate(timeout=1.0)[1].decode(errors="replace")[-2000:]
        self.process.kill()
        return self.process.communicate()[1].decode(errors="replace")[-2000:]


_nursery: Nursery | None = None


def nursery() -> Nursery:
    """This process's own, started when it is first asked for, and again if it has ended."""
    global _nursery
    if _nursery is not None and _nursery.process.poll() is not None:
        close()
    if _nursery is None:
        _nursery = Nursery()
    return _nursery


@atexit.register
def close() -> None:
    """End it, if there is one."""
    global _nursery
    if _nursery is not None:
        _nursery.close()
        _nursery = None


@dataclass
class Watchman:
    """The process that watches a student's: `said` tells how that ended, and closes when both are gone."""

    pid: int
    said: int
    heard: bytes = b""
    gone: bool = False

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after so many seconds at most."""
        until = time.monotonic() + seconds
        while not self.gone and select.select([self.said], [], [], max(0.0, until - time.monotonic()))[0]:
            part = os.read(self.said, 1000)
            self.heard += part
            if not part:
                self.gone = True
                os.close(self.said)
        return self.gone

    def end(self) -> str:
        """Wait until it has ended, make it if it does not, and return how the student's process ended."""
        if not self.wait(10.0):                        # it is stuck: the system ends its child with it
            os.kill(self.pid, signal.SIGKILL)
            self.wait(10.0)
        return self.heard.decode().strip()
