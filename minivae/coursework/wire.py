"""What crosses between the judge and the student's process: frames of JSON and numbers, and nothing that can run.

A frame is two lengths, a JSON text that says how the parts fit together, and the bytes of its arrays, one after the
other.  Nothing is unpickled, unzipped or evaluated, and no length is believed: whatever the other side sends, reading
it takes a bounded time and bounded memory, and gives plain Python objects or a WireError.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HEAD, BODY = 1 << 20, 1 << 25          # the longest text and arrays that are read, in bytes
ENTRIES, AXES, DEPTH = 1 << 22, 8, 20  # the most numbers in a frame, axes of an array, lists in lists
KINDS = ("|b1", "|i1", "|u1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<i8", "<u8", "<f8")


YOURS, JUDGES = "a thing of the student's process", "a function of the judge's"        # kinds of handles, see parts


class WireError(Exception):
    """Junk on the line, or too much for it."""


class WireEnd(WireError):
    """Nobody at its other end."""


@dataclass(frozen=True)
class Seed:
    """A random generator: `numpy.random.default_rng(number)` where it arrives."""

    number: int


@dataclass(frozen=True)
class Handle:
    """A thing that stays in the student's process: a pullback, a layer, a model."""

    number: int
    kind: str = field(default="", compare=False)


@dataclass(frozen=True)
class Name:
    """A name to look up in the student's process: "minivae.ops:tanh"."""

    path: str


@dataclass(frozen=True)
class Strange:
    """Something that is neither an array, a number, text, nor made of them: its type, for the message."""

    kind: str


def pack(thing: Any) -> bytes:
    """The frame of a thing made of arrays, numbers, text, lists, tuples and dictionaries.  Raises WireError."""
    arrays: list[np.ndarray] = []
    head = json.dumps(_encode(thing, arrays)).encode()
    if len(head) > HEAD or sum(x.nbytes for x in arrays) > BODY or sum(x.size for x in arrays) > ENTRIES:
        raise WireError(f"too large to cross: {sum(x.size for x in arrays):,} numbers and {len(head):,} bytes of text; "
                        f"at most {ENTRIES:,} and {HEAD:,} may")
    body = b"".join(x.tobytes() for x in arrays)
    return struct.pack("<II", len(head), len(body)) + head + body


def _encode(x: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype.kind not in "biuf":
            return {"strange": f"array of {x.dtype}"}
        if x.ndim > AXES:
            raise WireError(f"an array of {x.ndim} axes: at most {AXES} may cross")
        arrays.append(np.asarray(x, dtype=x.dtype.newbyteorder("<") if x.dtype.itemsize <= 8 else "<f8"))
        return {"array": [arrays[-1].dtype.str, list(x.shape)]}
    if isinstance(x, (list, tuple)):
        return {"list" if isinstance(x, list) else "tuple": [_encode(part, arrays) for part in x]}
    if isinstance(x, dict):
        return {"dict": [[str(key), _encode(part, arrays)] for key, part in x.items()]}
    if isinstance(x, float):
        return {"float": x.hex()}                      # every bit of it, and JSON knows no infinity
    if x is None or isinstance(x, (bool, int, str)):
        return {"plain": x}
    if isinstance(x, Handle):
        return {"Handle": [x.number, x.kind]}
    if isinstance(x, (Seed, Name)):
        return {type(x).__name__: x.number if isinstance(x, Seed) else x.path}
    return {"strange": x.kind if isinstance(x, Strange) else type(x).__name__}


def unpack(head: bytes, body: bytes) -> Any:
    """The thing again.  Raises WireError for junk."""
    try:
        reader = _Reader(body)
        thing = reader.decode(json.loads(head, parse_constant=_no_constant), DEPTH)
        if reader.at != len(body):
            raise ValueError
    except Exception as error:                         # whatever junk does to json, to us and to NumPy
        raise WireError(f"junk on the line ({type(error).__name__})") from None
    return thing


def _no_constant(name: str) -> Any:
    raise ValueError(name)


class _Reader:
    """Every array is the next piece of the body: none may lie about its length, or be read twice."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at, self.entries = body, 0, 0

    def decode(self, x: Any, depth: int) -> Any:
        (kind, content), = x.items()
        if depth == 0:
            raise ValueError
        if kind == "array":
            return self.array(*content)
        if kind in ("list", "tuple"):
            parts = [self.decode(part, depth - 1) for part in content]
            return parts if kind == "list" else tuple(parts)
        if kind == "dict":
            return {text(key): self.decode(part, depth - 1) for key, part in content}
        if kind == "float":
            return float.fromhex(text(content)[:40])
        if kind == "plain":
            return content if content is None or isinstance(content, bool) else _whole_or_text(content)
        if kind == "Handle":
            number, what = content
            return Handle(whole(number), text(what)[:100])
        return Seed(whole(content)) if kind == "Seed" else {"Name": Name, "strange": Strange}[kind](text(content)[:200])

    def array(self, kind: str, shape: list[int]) -> np.ndarray:
        if kind not in KINDS or len(shape) > AXES or any(whole(n) < 0 for n in shape):
            raise ValueError
        size = math.prod(shape)
        self.entries += size
        if self.entries > ENTRIES:
            raise ValueError
        found = np.frombuffer(self.body, np.dtype(kind), size, self.at) if size else np.empty(0, np.dtype(kind))
        self.at += found.nbytes
        return found.reshape(shape).copy()


def whole(x: Any) -> int:
    """An int that fits into 64 bits.  Raises ValueError."""
    if type(x) is not int or abs(x) >= 1 << 63:
        raise ValueError
    return x


def text(x: Any) -> str:
    """A str that can be written anywhere: no halves of characters.  Raises ValueError."""
    if type(x) is not str:
        raise ValueError
    return x.encode(errors="replace").decode()


def _whole_or_text(x: Any) -> int | str:
    return text(x) if isinstance(x, str) else whole(x)


Wait = Callable[[], None]


def send(fd: int, frame: bytes, wait: Wait = lambda: None) -> None:
    """Write a frame.  `wait` returns when fd can take more of it, or raises.  WireEnd: nobody reads."""
    rest = memoryview(frame)
    while rest:
        wait()
        try:
            rest = rest[os.write(fd, rest[:1 << 16]):]
        except OSError as error:
            raise WireEnd(f"nobody reads ({error.strerror})") from None


def receive(fd: int, wait: Wait = lambda: None) -> Any:
    """Read a frame.  `wait` returns when there is more to read, or raises.  WireError: junk; WireEnd."""
    head, body = struct.unpack("<II", _read(fd, 8, wait))
    if head > HEAD or body > BODY:
        raise WireError("junk on the line (a frame longer than any)")
    return unpack(_read(fd, head, wait), _read(fd, body, wait))


def _read(fd: int, count: int, wait: Wait) -> bytes:
    parts = []
    while count:
        wait()
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            raise WireEnd("the process has ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
