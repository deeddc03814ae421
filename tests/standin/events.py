"""What a GPU would pay for: every event is logged, counted by `record`, an error under `forbid`."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("sync", "d2h", "h2d", "loop", "float64")
events: list[tuple[str, str]] = []                    # (kind, "file.py:line"), the latest last
_counters: list[Counter[str]] = []
_forbidden: list[str] = []
_INSIDE = tuple(str(Path(file).parent / "x")[:-1] for file in (__file__, np.__file__))     # ours, and NumPy's


def note(kind: str) -> None:
    """Log one event; raise where it is forbidden."""
    frame: Any = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_INSIDE):
        frame = frame.f_back
    line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    events.append((kind, line))
    for counter in _counters:
        counter[kind] += 1
    if kind in _forbidden:
        raise AssertionError(f"{kind} at {line}")


def launch() -> None:
    """Count one launch: the price of every operation, so it is no event, and cannot be forbidden."""
    for counter in _counters:
        counter["launch"] += 1


@contextmanager
def record() -> Iterator[Counter[str]]:
    """Count the events inside: `with record() as seen: ...`, then `seen["sync"]`, and `seen["launch"]`."""
    counter: Counter[str] = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters[:] = [other for other in _counters if other is not counter]


@contextmanager
def forbid(*kinds: str) -> Iterator[None]:
    """An event of these kinds (of any kind, if none is named) raises AssertionError with its line."""
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"forbid: got {sorted(unknown)}, expected some of {KINDS}")
    before = list(_forbidden)
    _forbidden.extend(kinds or KINDS)
    try:
        yield
    finally:
        _forbidden[:] = before
