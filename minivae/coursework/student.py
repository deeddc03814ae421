"""The judge's side of the student's process: start it, ask it, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from minivae.coursework import wire
from minivae.coursework.wire import Handle, Name, Seed, WireError

STANDALONE = ("student_process.py", "sandbox.py", "things.py", "wire.py")


class StudentError(AssertionError):
    """The student's code raised, ended, hung, or answered junk: the message is for the student."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use."""

    seconds: int = 60
    """of processor time in all"""
    megabytes: int = 3000
    """of memory"""
    processes: int = 64
    """at once, threads included"""
    user: int | None = None
    """the user that its process becomes, if the judge is root"""


class Student:
    """The student's code in a process of its own.

    work      the folder with the student's package; the process may write there
    timeout   seconds that one request may take
    """

    def __init__(self, work: Path, limits: Limits | None = None, *, timeout: float = 10.0) -> None:
        self.work, self.limits, self.timeout = work.resolve(), limits or Limits(), timeout
        self.tools = Path(tempfile.mkdtemp(prefix="minivae-"))
        for name in STANDALONE:
            shutil.copy(Path(__file__).parent / name, self.tools)
        self.tools.chmod(0o755)
        self.said = tempfile.TemporaryFile()           # noqa: SIM115 (what the code prints; closed with the process)
        self.walls: list[str] = []
        self._start()

    def _start(self) -> None:
        theirs_in, self.requests = os.pipe()
        self.answers, theirs_out = os.pipe()
        command = [sys.executable, "-I", "-B", str(self.tools / STANDALONE[0]), str(theirs_in), str(theirs_out),
                   str(self.work), json.dumps(asdict(self.limits))]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.work), "TMPDIR": str(self.work), "LANG": "C.UTF-8",
                       "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said,
                                        cwd=self.work, env=environment, pass_fds=(theirs_in, theirs_out),
                                        start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        self.walls = self._answer()

    # ── what the tests ask ────────────────────────────────────────────────────────────────────────

    def call(self, target: str | Handle, *arguments: Any, **keywords: Any) -> Any:
        """target(*arguments, **keywords) in the student's process: "minivae.ops:linear", or a handle."""
        return self._ask("call", Name(target) if isinstance(target, str) else target, arguments, keywords)

    def get(self, thing: str | Handle, path: str) -> Any:
        """A part of a thing: "decoder.layers.0.W.value" """
        return self._ask("get", Name(thing) if isinstance(thing, str) else thing, path)

    def set(self, thing: Handle, path: str, values: Any) -> None:
        """thing.path[...] = values"""
        self._ask("set", thing, path, values)

    def _ask(self, *request: Any) -> Any:
        try:
            wire.send(self.requests, request)
        except WireError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = wire.receive(self.answers, self.timeout)
        except TimeoutError:
            self.close()
            raise StudentError(f"stopped after {self.timeout:g} s: an endless loop, or a Python loop over numbers "
                               "where an array operation was meant?") from None
        except WireError as error:
            if "ended" not in str(error):
                self.close()
                raise StudentError(f"the answer cannot be read: {error}") from None
            raise self._ended() from None
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], bool)):
            self.close()
            raise StudentError("the answer cannot be read: junk on the line")
        if not answer[0]:
            raise StudentError(str(answer[1])[:2000])
        return answer[1]

    def _ended(self) -> StudentError:
        code = self.close()
        why = {-signal.SIGKILL: "killed: out of time or memory", -signal.SIGXCPU: "out of processor time",
               128 + signal.SIGKILL: "killed: out of time or memory"}.get(code, f"exit code {code}")
        return StudentError(f"the code ended its process ({why})")

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def printed(self, most: int = 2000) -> str:
        """The first characters that the code printed."""
        self.said.seek(0)
        return self.said.read(most).decode(errors="replace")

    def close(self) -> int:
        """Kill the process and every process that it started; return its exit code."""
        for fd in ("requests", "answers"):
            with contextlib.suppress(OSError):
                os.close(getattr(self, fd))
            setattr(self, fd, -1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)                    # it may have ended by itself, and its code says why
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        shutil.rmtree(self.tools, ignore_errors=True)
        return code

    def __enter__(self) -> Student:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


__all__ = ["Handle", "Limits", "Seed", "Student", "StudentError"]
