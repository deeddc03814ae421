"""Compiled twins of a few formulas, where Numba is installed (the extra `fast`): the same bits, sooner.

NumPy computes an expression operation by operation, and each reads and writes whole arrays, though the arithmetic
between would have cost next to nothing.  A compiled loop reads every number once.  The plain forms stay where they are,
for the reader and for whoever has no Numba; `twin` puts loops beside one:

    @twin
    def tanh(x): ...                     # with Numba loops.tanh answers; here the formula is read

    loops    the loops, as Numba compiles them, once: they are kept on the disk for the next run
    lstm     an LSTM's
    inner    NumPy's own loops, tanh's or a product's, for those that need one in their midst

The interpreter serves one thread at a time, and whoever comes back from a short call to NumPy waits for it.  A compiled
loop asks for it at its end: an LSTM's sixty products in a row are one call, which two threads make side by side.

MINIVAE_FAST=0 in the environment leaves Numba alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from minivae.backend import Array

Op = TypeVar("Op", bound=Callable[..., Any])
_asked = ContextVar("whether loops are asked", default=True)        # which a team's threads take over
LEAST = 2**10              # numbers: of fewer, NumPy's few calls take no longer


def twin(plain: Op) -> Op:
    """Beside a plain op of one output: where it can, the loop of its name answers for it.

    The plain form is still there, as `op.__wrapped__`.
    """
    @wraps(plain)
    def op(*inputs: Any, **constants: Any) -> Any:
        loops = compiled(*inputs, *constants.values())
        if loops is None:
            return plain(*inputs, **constants)
        y, pull = getattr(loops, plain.__name__)(*inputs, **constants)
        return y, lambda dy: pull(_laid_out(dy, y))

    return op  # type: ignore[return-value]


def _laid_out(dy: Array, y: Array) -> Array:
    """dy, in memory as y: itself, mostly"""
    if _plain_memory(y.dtype, dy) and dy.shape == y.shape:
        return dy
    return np.ascontiguousarray(np.broadcast_to(dy, y.shape), y.dtype)


@contextmanager
def plainly() -> Iterator[None]:
    """Inside, the plain forms answer: NumPy says where a number overflows, a loop does not."""
    before = _asked.set(False)
    try:
        yield
    finally:
        _asked.reset(before)


def compiled(*arrays: Array) -> ModuleType | None:
    """The compiled loops, if they can work on these arrays and it pays; else None."""
    pays = _asked.get() and _wanted() and arrays[0].size >= LEAST and arrays[0].dtype in (np.float32, np.float64)
    return _loops() if pays and _plain_memory(arrays[0].dtype, *arrays) else None


def _plain_memory(dtype: Any, *arrays: Array) -> bool:
    """Whether these lie in the host's memory without gaps, and are all of this dtype."""
    return all(isinstance(a, np.ndarray) and a.dtype == dtype and a.flags.c_contiguous for a in arrays)


@cache
def _wanted() -> bool:
    """Whether Numba is installed, and nobody says to leave it alone."""
    return os.environ.get("MINIVAE_FAST") != "0" and importlib.util.find_spec("numba") is not None


@cache
def _loops() -> ModuleType | None:
    """loops.py, compiled; None where it does not work."""
    try:
        loops = importlib.import_module("minivae.fast.loops")
        loops.compile_all()
    except Exception as error:         # a NumPy too new for it, no compiler for this machine: Numba has many a class
        warnings.warn(f"Numba is installed, but does not work here ({type(error).__name__}: {error}): going on without "
                      "it, somewhat slower.  MINIVAE_FAST=0 in the environment says so from the start", RuntimeWarning,
                      stacklevel=2)
        return None
    return loops
