"""What crosses between the judge and the student's process: frames of JSON and arrays, and nothing that can run.

A frame is two lengths, a JSON text that says how the parts fit together, and an .npz with the arrays (read with
`allow_pickle=False`).  Neither side ever unpickles anything, and the judge believes no length it is told.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import io
import json
import math
import os
import select
import struct
import time
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

HEAD, BODY = 1 << 20, 1 << 28          # the longest text and arrays that are read, in bytes
MEMORY = 1 << 28                       # the largest array, unpacked: an .npz of zeros is small


class WireError(Exception):
    """Junk on the line, or nobody at its other end."""


@dataclass(frozen=True)
class Seed:
    """A random generator: `numpy.random.default_rng(number)` where it arrives."""

    number: int


@dataclass(frozen=True)
class Handle:
    """A thing that stays in the student's process: a pullback, a layer, a model."""

    number: int


@dataclass(frozen=True)
class Name:
    """A name to look up in the student's process: "minivae.ops:tanh"."""

    path: str


@dataclass(frozen=True)
class Strange:
    """Something that is neither an array, a number, text, nor made of them: its type, for the message."""

    kind: str


def pack(thing: Any) -> bytes:
    """The frame of a thing made of arrays, numbers, text, lists, tuples and dictionaries."""
    arrays: dict[str, np.ndarray] = {}

    def encode(x: Any) -> Any:
        if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biuf":
            arrays[f"a{len(arrays)}"] = np.asarray(x)
            return {"array": f"a{len(arrays) - 1}"}
        if isinstance(x, (list, tuple)):
            return {type(x).__name__ if type(x) in (list, tuple) else "tuple": [encode(part) for part in x]}
        if isinstance(x, dict):
            return {"dict": [[str(key), encode(part)] for key, part in x.items()]}
        if isinstance(x, float):
            return {"float": x.hex()}                  # every bit of it, and JSON knows no infinity
        if x is None or isinstance(x, (bool, int, str)):
            return {"plain": x}
        for kind in (Seed, Handle):
            if isinstance(x, kind):
                return {kind.__name__: x.number}
        if isinstance(x, Name):
            return {"Name": x.path}
        return {"strange": x.kind if isinstance(x, Strange) else type(x).__name__}

    head = json.dumps(encode(thing)).encode()
    body = io.BytesIO()
    np.savez(body, **arrays)                                                     # type: ignore[arg-type]
    if len(head) > HEAD or body.tell() > BODY:
        raise WireError(f"a frame of {len(head) + body.tell():,} bytes is too long")
    return struct.pack("<II", len(head), body.tell()) + head + body.getvalue()


def unpack(head: bytes, body: bytes) -> Any:
    """The thing again.  Raises WireError for junk."""
    try:
        arrays = _arrays(body)
        return _decode(json.loads(head), arrays)
    except WireError:
        raise
    except Exception as error:                        # whatever junk does to json, zipfile and NumPy
        raise WireError(f"junk on the line ({type(error).__name__})") from None


def _arrays(body: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz, all of numbers, none larger than it says: looked at before any is unpacked."""
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        if sum(part.file_size for part in file.infolist()) > MEMORY:
            raise WireError("arrays too large")
        for part in file.infolist():
            with file.open(part) as array:
                np.lib.format.read_magic(array)
                shape, _, dtype = np.lib.format.read_array_header_1_0(array)
                if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > part.file_size:
                    raise WireError(f"junk on the line (an array of {dtype}, {shape})")
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _decode(x: Any, arrays: dict[str, np.ndarray]) -> Any:
    kind = next(iter(x))
    content = x[kind]
    if kind == "array":
        return arrays[content]
    if kind in ("list", "tuple"):
        parts = [_decode(part, arrays) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict":
        return {key: _decode(part, arrays) for key, part in content}
    if kind in ("plain", "float"):
        return content if kind == "plain" else float.fromhex(content)
    return {"Seed": Seed, "Handle": Handle, "Name": Name, "strange": Strange}[kind](content)


def send(fd: int, thing: Any) -> None:
    """Write a frame.  Raises WireError if the other side is gone."""
    frame = memoryview(pack(thing))
    try:
        while frame:
            frame = frame[os.write(fd, frame):]
    except OSError as error:
        raise WireError(f"nobody reads ({error.strerror})") from None


def receive(fd: int, seconds: float | None = None) -> Any:
    """Read a frame.  Raises TimeoutError after so many seconds, WireError for junk or if the other side is gone."""
    deadline = None if seconds is None else time.monotonic() + seconds
    head, body = struct.unpack("<II", _read(fd, 8, deadline))
    if head > HEAD or body > BODY:
        raise WireError("junk on the line (a frame longer than any)")
    return unpack(_read(fd, head, deadline), _read(fd, body, deadline))


def _read(fd: int, count: int, deadline: float | None) -> bytes:
    parts = []
    while count:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([fd], [], [], wait)[0]:
            raise TimeoutError
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            raise WireError("the process has ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
