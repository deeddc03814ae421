"""What the command line names: a shape, somebody's function."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any


def shape(text: str) -> tuple[int, ...]:
    """3,4 -> (3, 4); scalar -> ().  Raises ValueError."""
    try:
        return () if text == "scalar" else tuple(int(n) for n in text.split(","))
    except ValueError:
        raise ValueError(f"shapes: got {text!r}, expected sizes such as 3,4 or the word scalar") from None


def look_up(target: str) -> Callable[..., Any]:
    """my_ops.py:my_op or package.module:my_op"""
    place, _, name = target.rpartition(":")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None:
                raise ImportError(f"cannot load {place}")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        return getattr(module, name)
    except (OSError, ImportError, AttributeError) as error:
        raise ValueError(f"target: cannot find {target!r} ({error})") from error
