"""The judge's side of the student's process: start it, ask it, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from minivae.coursework import wire
from minivae.coursework.wire import Handle, Name, Seed, WireEnd, WireError

PROCESS = Path(__file__).parent / "student_process.py"
START = 30.0                           # seconds until Python and NumPy are there


class StudentError(AssertionError):
    """The student's code raised, ended, hung, or answered junk: the message is for the student."""


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


class Student:
    """The student's code in a process of its own.

    work      the folder with the student's package
    timeout   seconds that one request may take
    budget    seconds that all requests together may take, since the last `begin`
    """

    def __init__(self, work: Path, limits: Limits | None = None, *, timeout: float = 10.0,
                 budget: float = 60.0) -> None:
        self.work, self.limits, self.timeout, self.budget = work.resolve(), limits or Limits(), timeout, budget
        self.hung, self.asked, self.heard, self.walls = False, 0, b"", list[str]()
        if sys.platform == "win32":
            raise JudgeError("this needs Linux or macOS; on Windows, run it in WSL (wsl --install)")
        self.begin()
        self._start()

    def begin(self) -> None:
        """The budget is whole again, and what was printed is forgotten: another test."""
        self.deadline, self.heard = time.monotonic() + self.budget, b""
        self.pulled = False            # whether something that was returned was called: a pullback

    def _start(self) -> None:
        theirs_in, self.requests = os.pipe()
        self.answers, theirs_out = os.pipe()
        theirs_lease, self.lease = os.pipe()
        self.said, theirs_say = os.pipe()
        theirs = (theirs_in, theirs_out, theirs_lease)
        command = [sys.executable, "-I", "-B", str(PROCESS), *map(str, theirs), str(self.work),
                   json.dumps(asdict(self.limits))]
        # one thread: the sums have the same order on every machine, and no limit of processes is met
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.work), "TMPDIR": str(self.work), "LANG": "C.UTF-8",
                       "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs_say,
                                        env=environment, cwd="/", pass_fds=theirs, start_new_session=True)
        for fd in (*theirs, theirs_say):
            os.close(fd)
        os.set_blocking(self.requests, False)
        os.set_blocking(self.said, False)
        try:
            self.walls = self._answer(START)
        except StudentError as error:
            raise JudgeError(f"the student's process did not start: {error}\n{self.printed()}") from None
        except BaseException:                          # Ctrl-C
            self.close()
            raise

    # ── what the tests ask ────────────────────────────────────────────────────────────────────────

    def call(self, target: str | Handle, *arguments: Any, **keywords: Any) -> Any:
        """target(*arguments, **keywords) in the student's process: "minivae.ops:linear", or a handle."""
        self.pulled = self.pulled or isinstance(target, Handle)
        return self._ask("call", Name(target) if isinstance(target, str) else target, arguments, keywords)

    def get(self, thing: str | Handle, path: str) -> Any:
        """A part of a thing: "decoder.layers.0.W.value" """
        return self._ask("get", Name(thing) if isinstance(thing, str) else thing, path)

    def set(self, thing: Handle, path: str, values: Any) -> None:
        """thing.path[...] = values"""
        self._ask("set", thing, path, values)

    def module(self, name: str, source: str) -> Handle:
        """A module made of this source in the student's process.  (Sent before any of the student's code has run, its
        text is seen by nobody there.)"""
        return self._ask("module", name, source)

    def _ask(self, *request: Any) -> Any:
        if self.requests < 0:
            raise StudentError("the process with the code has ended")
        self.asked += 1
        frame = wire.pack((self.asked, *request))
        until = min(time.monotonic() + self.timeout, self.deadline)
        try:
            wire.send(self.requests, frame, lambda: self._wait(self.requests, select.POLLOUT, until))
        except WireEnd:
            raise self._ended() from None
        return self._answer()

    def _answer(self, seconds: float | None = None) -> Any:
        until = time.monotonic() + seconds if seconds else min(time.monotonic() + self.timeout, self.deadline)
        try:
            answer = wire.receive(self.answers, lambda: self._wait(self.answers, select.POLLIN, until))
        except WireEnd:
            raise self._ended() from None
        except WireError as error:
            raise self._junk(str(error)) from None
        if not (isinstance(answer, tuple) and len(answer) == 3 and isinstance(answer[1], bool)):
            raise self._junk("junk on the line")
        if answer[0] != self.asked:
            raise self._junk("it answers what was not asked")
        if not answer[1]:
            raise StudentError(str(answer[2])[:2000])
        return answer[2]

    def _wait(self, fd: int, event: int, until: float) -> None:
        """Until fd is ready; meanwhile listen to what the code prints, or it would stop at a full pipe."""
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self.said, select.POLLIN)
        while True:
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if self.said in ready and not self._listen():
                poll.unregister(self.said)
            if time.monotonic() >= until:
                self.hung = True
                self.close()
                seconds = min(self.timeout, self.budget)
                raise StudentError(f"stopped after {seconds:g} s: an endless loop, or a Python loop over numbers where "
                                   "an array operation was meant?")
            if fd in ready:
                return

    # ── what went wrong ───────────────────────────────────────────────────────────────────────────

    def _junk(self, says: str) -> StudentError:
        self.close()
        return StudentError(f"the answer cannot be read: {says}")

    def _ended(self) -> StudentError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)                     # who watches it says how it ended
        how = self.close()
        killed = "killed: out of time or memory"
        why = {"-9": killed, "-24": "out of processor time", "memory": "killed: out of memory",
               "let go": "it closed its end of the line", "": killed}.get(how, f"exit code {how}")
        return StudentError(f"the code ended its process ({why})")

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    @property
    def alive(self) -> bool:
        return self.requests >= 0 and self.process.poll() is None

    def _listen(self) -> bool:
        """Read what was printed, and keep the beginning.  False at the end."""
        try:
            part = os.read(self.said, 1 << 16)
        except BlockingIOError:
            return True
        self.heard = (self.heard + part)[:10_000]
        return part != b""

    def printed(self, most: int = 2000) -> str:
        """The first characters that the code printed since `begin`."""
        if self.said >= 0:
            self._listen()
        return self.heard.decode(errors="replace")[:most]

    def close(self) -> str:
        """End the process and every process that it started; return how it ended."""
        if self.requests < 0:
            return ""
        self.printed()
        for name in ("requests", "answers", "said", "lease"):
            os.close(getattr(self, name))
            setattr(self, name, -1)
        try:
            how = self.process.communicate(timeout=10.0)[0]
        except subprocess.TimeoutExpired:              # who watches it is stuck: the system ends its child with it
            self.process.kill()
            how = self.process.communicate()[0]
        return how.decode().strip()

    def __enter__(self) -> Student:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


__all__ = ["Handle", "JudgeError", "Limits", "Seed", "Student", "StudentError"]
