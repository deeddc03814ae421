"""The judge's side of the student's process: start it, ask it, and leave nothing of it behind."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from minivae.coursework import wire
from minivae.coursework.nursery import START, JudgeError, Limits, Watchman, nursery
from minivae.coursework.wire import Handle, Name, Seed, WireEnd, WireError


class StudentError(AssertionError):
    """The student's code raised, ended, hung, or answered junk: the message is for the student."""


class Parts(Protocol):
    """What the student's code may ask of the judge: under.Parts."""

    student: Any

    def serve(self, part: Any, arguments: Any, keywords: Any) -> tuple[Any, ...]: ...


class Student:
    """The student's code in a process of its own.

    work      the folder with the student's package
    timeout   seconds that one request may take
    budget    seconds that all requests together may take, since the last `begin`
    parts     what the code may ask of the judge while it answers (under.py)
    """

    def __init__(self, work: Path, limits: Limits | None = None, *, timeout: float = 10.0, budget: float = 60.0,
                 parts: Parts | None = None) -> None:
        self.work, self.limits, self.timeout, self.budget = work.resolve(), limits or Limits(), timeout, budget
        self.parts = parts
        if parts is not None:
            parts.student = self
        self.hung, self.asked, self.heard, self.walls = False, 0, b"", list[str]()
        if sys.platform == "win32":
            raise JudgeError("this needs Linux or macOS; on Windows, run it in WSL (wsl --install)")
        self.begin()
        self._start()

    def begin(self) -> None:
        """The budget is whole again, and what was printed is forgotten: another test."""
        self.deadline, self.heard = time.monotonic() + self.budget, b""
        self.pulled = False            # whether something that was returned was called: a pullback
        self.last: Any = ()            # what the last call returned

    def _start(self) -> None:
        theirs_in, self.requests = os.pipe()
        self.answers, theirs_out = os.pipe()
        theirs_lease, self.lease = os.pipe()
        self.said, theirs_say = os.pipe()
        how, theirs_how = os.pipe()
        theirs = [theirs_in, theirs_out, theirs_lease, theirs_how, theirs_say]
        try:
            self.process = Watchman(nursery().start(self.work, self.limits, theirs), how)
        except BaseException:
            for fd in (self.requests, self.answers, self.lease, self.said, how):
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        os.set_blocking(self.requests, False)
        os.set_blocking(self.said, False)
        try:
            self.walls = self._answer(0, time.monotonic() + START)
        except StudentError as error:
            raise JudgeError(f"the student's process did not start: {error}\n{self.printed()}") from None
        except BaseException:                          # Ctrl-C
            self.close()
            raise

    # ── what the tests ask ────────────────────────────────────────────────────────────────────────

    def call(self, target: str | Handle, *arguments: Any, **keywords: Any) -> Any:
        """target(*arguments, **keywords) in the student's process: "minivae.ops:linear", or a handle."""
        self.pulled = self.pulled or isinstance(target, Handle)
        self.last = self._ask("call", Name(target) if isinstance(target, str) else target, arguments, keywords)
        return self.last

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

    def counted(self, name: str, textbook: str) -> Handle:
        """The student's file of that name, run where its passes over the memory are counted (confined.py).  (The text
        is for who is asked what is right.)"""
        return self._ask("counted", name)

    def counts(self) -> dict[str, Any]:
        """What was counted since this was asked before."""
        return self._ask("counts", "")

    def _ask(self, *request: Any) -> Any:
        if self.requests < 0:
            raise StudentError("the process with the code has ended")
        self.asked += 1
        number, until = self.asked, min(time.monotonic() + self.timeout, self.deadline)
        self._send(wire.pack((number, *request)), until)
        return self._answer(number, until)

    def _send(self, frame: bytes, until: float) -> None:
        try:
            wire.send(self.requests, frame, lambda: self._wait(self.requests, select.POLLOUT, until))
        except WireEnd:
            raise self._ended() from None

    def _answer(self, number: int, until: float) -> Any:
        answer = self._receive(until)
        while self.parts is not None and len(answer) == 4 and answer[0] == "ask":
            self._send(wire.pack(self.parts.serve(*answer[1:])), until)
            answer = self._receive(until)
        if not (len(answer) == 3 and isinstance(answer[1], bool)):
            raise self._junk("junk on the line")
        if answer[0] != number:
            raise self._junk("it answers what was not asked")
        if not answer[1]:
            raise StudentError(str(answer[2])[:2000])
        return answer[2]

    def _receive(self, until: float) -> tuple[Any, ...]:
        try:
            answer = wire.receive(self.answers, lambda: self._wait(self.answers, select.POLLIN, until))
        except WireEnd:
            raise self._ended() from None
        except WireError as error:
            raise self._junk(str(error)) from None
        return answer if isinstance(answer, tuple) else ()

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
        self.process.wait(1.0)                         # who watches it says how it ended
        how = self.close()
        killed = "killed: out of time or memory"
        why = {"-9": killed, "-24": "out of processor time", "memory": "killed: out of memory",
               "let go": "it closed its end of the line", "": killed}.get(how, f"exit code {how}")
        return StudentError(f"the code ended its process ({why})")

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    @property
    def alive(self) -> bool:
        return self.requests >= 0 and not self.process.wait(0.0)

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
        return self.process.end()

    def __enter__(self) -> Student:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


__all__ = ["Handle", "JudgeError", "Limits", "Seed", "Student", "StudentError"]
