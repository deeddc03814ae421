"""Name the mistake in a gradient: one engine, for `gradcheck` and for the judge of the course.

A wrong gradient is nearly always the right one with one of a dozen things done to it.  So each of those is done to the
right one, and what comes out is compared: a mistake is named when it gives the student's numbers, all of them, and
never on a vague likeness.  Where two mistakes would give the same numbers, both are named; where none does, the wrong
entries are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

TOLERANCE = 1e-4           # of the length of a gradient: float32 passes, a forgotten term does not
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Context:
    """What the maths of a gradient is made of: whatever of it may be forgotten, doubled or turned round.

    terms     the parts whose sum is the gradient, by name: a value that is used twice has two
    factors   arrays of the gradient's shape (or broadcast to it) that are multiplied into all of it: "σ", "ε"
    sizes     numbers that may be wrongly multiplied or divided by: "the batch size B"
    instead   gradients that one may have computed instead, by what to say about it
    """

    terms: Arrays = field(default_factory=dict)
    factors: Arrays = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    instead: Arrays = field(default_factory=dict)


def diagnose(got: object, want: np.ndarray, context: Context | None = None, tolerance: float = TOLERANCE,
             alike: float | None = None) -> str | None:
    """None if the gradient is right, to a tolerance relative to its length, else a sentence about it.

    alike   how near it must come to what a known mistake gives (default: the tolerance)
    """
    if not isinstance(got, (np.ndarray, np.generic, float, int)):
        kind = getattr(got, "kind", "") or type(got).__name__
        if isinstance(got, (tuple, list)) and len(got) == 1:
            return f"it is a {kind} with one thing in it, expected that thing alone (a comma too many?)"
        return "nothing was returned (is a `return` missing?)" if got is None else f"it is a {kind}, expected an array"
    array = np.asarray(got, dtype=np.float64)
    if not np.isfinite(array).all():
        return _not_finite(array, context or Context())
    if same(array, want, tolerance):
        return None
    # one number alone is always some multiple of the right one: nothing can be named from it
    known = mistakes(want, context or Context(), array) if max(array.size, want.size) > 1 else ()
    found = list(dict.fromkeys(says for says, wrong in known if same(array, wrong, alike or tolerance)))
    if found:
        return " -- or ".join(found[:3])
    return unlike(array, want)


def _not_finite(array: np.ndarray, context: Context) -> str:
    """How many entries, and why, if a known mistake gives NaN and infinity in the same places, and the same numbers."""
    says = f"{np.count_nonzero(~np.isfinite(array))} of its {array.size} entries are NaN or infinite"
    finite = np.isfinite(array)
    for cause, wrong in context.instead.items():
        alike = wrong.shape == array.shape and np.array_equal(np.isfinite(wrong), finite)
        if alike and same(array[finite], wrong[finite]):
            return f"{says}: it is {cause}"
    return says


def same(a: np.ndarray, b: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Equal up to a tolerance relative to their length (default: float32's rounding), of the same shape."""
    if a.shape != b.shape:
        return False
    size = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    if size <= 1e-12 or not np.isfinite(size):
        return bool(size <= 1e-12)
    a, b = a / size, b / size          # or the squares of 1e200 would be infinite, and equal to any others that are
    return bool(np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(a), np.linalg.norm(b)) + 1e-12 / size)


def mistakes(want: np.ndarray, context: Context, got: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(what to say, the gradient it would give) for every mistake we know.  The simplest come first."""
    yield from _shapes(want, got)
    if not want.any():
        return
    yield "it is all zero: nothing reaches it", np.zeros_like(want)
    yield from ((f"it is {says}", wrong) for says, wrong in context.instead.items())
    yield from _constants(want, context)
    if want.ndim == 2 and want.shape[0] == want.shape[1]:
        yield "it is the transpose of the right one", want.T
    for name, factor in context.factors.items():
        yield from ((f"{says}", wrong) for says, wrong in _factor(name, factor, want))
    if len(context.terms) > 1:
        yield from _terms(want, context)


def _shapes(want: np.ndarray, got: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What a right gradient becomes when a sum is forgotten or one too many: those have other shapes."""
    if got.shape == want.shape:
        return
    should = f"it has shape {got.shape}, should be {want.shape}"
    if got.T.shape == want.shape:
        yield f"{should}: it is the transpose of the right one", want.T
    if got.size == want.size:
        yield f"{should}: the numbers are right (keepdims?)", want.reshape(got.shape)
    extra = got.ndim - want.ndim
    for axes in combinations(range(got.ndim), extra) if extra > 0 else ():
        if same(got.sum(axis=axes), want):
            where = "the batch (axis 0)" if axes == (0,) else f"axis {axes if len(axes) > 1 else axes[0]}"
            yield f"{should}: the sum over {where} is missing, where the value was broadcast", got
    for axis in range(want.ndim):
        if got.shape == want.sum(axis=axis).shape:
            yield f"{should}: it is summed over axis {axis}, and should not be", want.sum(axis=axis)


def _constants(want: np.ndarray, context: Context) -> Iterator[tuple[str, np.ndarray]]:
    constants = {"right but for": 1.0, "twice the right one (a missing ½, or added twice)": 2.0,
                 "half the right one (a ½ too many)": 0.5}
    for name, size in context.sizes.items():
        constants[f"{size:g} times the right one, and that is {name}: a division by it is missing"] = size
        constants[f"the right one divided by {size:g}, and that is {name}: divided once too often, or averaged "
                  "where it should be summed"] = 1.0 / size
    for says, constant in constants.items():
        if constant != 1.0:
            yield f"it is {says}", constant * want
        yield ("its sign is wrong" if constant == 1.0 else f"it is {says}, with the wrong sign"), -constant * want


def _factor(name: str, factor: np.ndarray, part: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """A factor forgotten, and one too many."""
    full = np.broadcast_to(factor, part.shape)
    if np.all(np.abs(full) > 1e-9):
        yield f"the factor {name} is missing", part / full
        yield f"the factor {name} is missing, and the sign is wrong", -part / full
    yield f"there is a factor {name} too many", part * full


def _terms(want: np.ndarray, context: Context) -> Iterator[tuple[str, np.ndarray]]:
    for name, term in context.terms.items():
        rest = want - term
        yield f"the term from {name} is missing (where a value is used twice, its derivatives add)", rest
        yield f"the term from {name} has the wrong sign", rest - term
        yield f"the term from {name} is counted twice, or lacks a ½", rest + 2.0 * term
        yield f"the term from {name} has a ½ too many", rest + 0.5 * term
        for what, size in context.sizes.items():
            yield f"the term from {name} is not divided by {what}", rest + size * term
            yield f"the term from {name} is divided by {what} once too often", rest + term / size
        for factor, array in context.factors.items():
            for says, wrong in _factor(factor, array, term):
                yield f"in the term from {name} {says}", rest + wrong


def unlike(got: np.ndarray, want: np.ndarray) -> str:
    """Where it is wrong, if no known mistake explains it."""
    if got.shape != want.shape:
        return f"it has shape {got.shape}, should be {want.shape}"
    wrong = np.abs(got - want) > 1e-4 * np.abs(want) + 1e-6 * np.abs(want).max(initial=0.0) + 1e-12
    if want.size == 1:
        return f"it is {float(got.item()):.6g}, should be {float(want.item()):.6g}"
    length, error = float(np.linalg.norm(want)), float(np.linalg.norm(got - want))
    ratio, offset = float((got / length * (want / length)).sum()) if length else 0.0, float((got - want).mean())
    nearly = "it is nearly right: " if error < 3e-3 * length else ""
    if np.linalg.norm(got - want - offset) < 1e-3 * error:             # it explains what is wrong, not only most of it
        return f"{nearly}every entry is {offset:+.4g} off: a constant is missing, or there is one too many"
    if abs(ratio - 1.0) > 0.02 and np.linalg.norm(got - ratio * want) < 1e-2 * error and same(got, ratio * want):
        return f"it is {ratio:.4g} times the right one: a constant factor is wrong"
    if nearly:
        return f"{nearly}low precision (float16?), a small constant added, or what follows from a mistake elsewhere"
    where = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    index = ", ".join(str(i) for i in where)
    return (f"{wrong.sum()} of its {want.size} entries are wrong{_pattern(wrong)}; the worst is [{index}]: "
            f"{got[where]:.6g}, should be {want[where]:.6g}")


def _pattern(wrong: np.ndarray) -> str:
    """", all in row 3" if they are."""
    for axis in range(wrong.ndim if wrong.ndim > 1 else 0):
        lines = np.flatnonzero(wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis)))
        if 0 < len(lines) <= wrong.shape[axis] // 2:
            return f", all in {('row', 'column')[axis] if wrong.ndim == 2 else f'axis {axis},'} {lines.tolist()}"
    return ""
