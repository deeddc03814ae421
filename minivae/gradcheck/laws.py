"""What an op must keep to before its numbers mean anything, and how much rounding its numbers have.

A pullback that overwrites the cotangent, or answers differently the second time, may agree with finite differences by
luck and break the first model that uses it.  So each law is asked by itself, and answered in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, to_numpy
from minivae.gradcheck.subject import (
    Subject,
    combine,
    copied,
    cotangents_like,
    flatten,
    host,
    index_of,
    leaves,
    refilled,
)

EPS = 2.0**-52
ANOTHER_NUMBER = 1e-10         # of the largest entry: what summing in another order never does, and randomness does
NOT_LINEAR = 1e-3              # likewise, where the gradient is not itself all rounding


@dataclass(frozen=True)
class Point:
    """What is known at the point before anything is moved."""

    value: list[Array]
    cotangents: list[Any]      # v, one per output
    gradients: list[Array]     # pullback(v), one per input and parameter
    slack: list[np.ndarray]    # rounding in each entry of these
    noise: list[Array]         # rounding in each entry of the value
    # other cotangents, or another pullback: the gradients
    pull: Callable[..., list[Array]] = lambda dy, pullback=None: []


class Broken(Exception):
    """The op breaks a law so badly that nothing can be measured; the sentences are its arguments."""


def examine(subject: Subject, rng: np.random.Generator) -> tuple[Point, list[str]]:
    """The point, and a sentence for every law that is broken there.

    Raises Broken where measuring would make no sense, ValueError for cotangents of the wrong number, shape or dtype.
    """
    _require_finite_inputs(subject)
    before = [x.copy() for x in subject.places]
    constants = [(k, c.copy()) for k, c in subject.constants.items() if hasattr(c, "dtype")]
    value, pullback = subject.call()
    outputs = leaves(value)
    _refuse([*_written(subject, before, constants), *_no_numbers(outputs)])
    asked = cotangents_like(value, rng)
    given = copied(asked)
    returned, added = subject.pull(pullback, given)
    _require_form(subject, returned)
    gradients = returned + added
    _refuse(list(_written(subject, before, constants)))
    random = _is_random(subject, outputs)
    if random:
        _refuse([random])
    noise, slack = _rounding(subject, asked, outputs, gradients, rng)
    broken = []
    if any(_differ(a, b, 0.0) for a, b in zip(flatten(given), flatten(asked))):
        broken.append("its pullback writes into the cotangent that it is given, which others still need: "
                      "compute dx = dy * ..., or work on dy.copy()")
    if any(_differ(a, b, 0.0) for a, b in zip(leaves(value), outputs)):
        broken.append("its pullback writes into the value that was returned, which others still need")
    broken += _pullback_again(subject, pullback, asked, gradients, slack, rng)

    def pull(dy: list[Any], pullback: Callable[..., Any] = pullback) -> list[Array]:
        return subject.gradients(pullback, refilled(asked, iter(dy)))

    return Point(outputs, flatten(asked), gradients, slack, noise, pull), broken


def _require_finite_inputs(subject: Subject) -> None:
    for name, x in zip(subject.names, subject.places):
        bad = np.flatnonzero(~np.isfinite(host(x)))
        if bad.size:
            raise ValueError(f"{subject.called}: {name} is {host(x).ravel()[bad[0]]} at {index_of(bad[0], x.shape)}; "
                             "a gradient check needs finite numbers")


def _refuse(sentences: list[str]) -> None:
    if sentences:
        raise Broken(*sentences)


def _no_numbers(outputs: list[Array]) -> Iterator[str]:
    """Outputs that nothing can be differentiated of."""
    for i, y in enumerate(outputs):
        if y.dtype.kind in "iub":
            yield f"output {i} is {y.dtype}: integers have no derivative, compute it in float64"
        elif y.dtype != np.float64:
            yield f"output {i} is {y.dtype}: an op computes in the dtype of its inputs, which is float64 here"
        else:
            bad = np.flatnonzero(~np.isfinite(to_numpy(y)))
            if bad.size:
                yield (f"output {i} is {to_numpy(y).ravel()[bad[0]]} at {index_of(bad[0], y.shape)} before anything "
                       f"was moved ({bad.size} of {y.size} entries are NaN or infinite)")


def _written(subject: Subject, before: list[Array], constants: Any) -> Iterator[str]:
    """Inputs, parameters and constants that are no longer what they were; they are put back."""
    kinds = {id(x): f"its {name}" for name, x in zip(subject.names, subject.places)}
    pairs = list(zip(subject.places, before))
    for name, old in constants:
        pairs.append((subject.constants[name], old))
        kinds[id(subject.constants[name])] = f"its constant {name}"
    for x, old in pairs:
        if _differ(x, old, 0.0):
            x[...] = old
            yield f"it writes into {kinds[id(x)]}, which belongs to the caller: work on a copy"


def _require_form(subject: Subject, returned: list[Any]) -> None:
    """One cotangent per input, of its shape and dtype.  Raises ValueError."""
    called, count = subject.called, subject.input_count
    if len(returned) != count:
        raise ValueError(f"{called}: {count} inputs, but the pullback returned {len(returned)} cotangents")
    shapes = [getattr(g, "shape", None) for g in returned]
    expected = [x.shape for x in subject.places[:count]]
    swapped = sorted(map(str, shapes)) == sorted(map(str, expected)) and shapes != expected
    for name, x, g in zip(subject.names, subject.places, returned):
        if getattr(g, "shape", None) != x.shape or g.dtype != x.dtype:
            came = f"shape {g.shape}, {g.dtype}" if hasattr(g, "shape") else type(g).__name__
            raise FormError(f"{called}, {name}: the pullback returned {came}, expected shape {x.shape}, {x.dtype}"
                            + (": these are the shapes of its inputs in another order" if swapped else ""), returned)


class FormError(ValueError):
    """A cotangent of the wrong shape or dtype; `returned` is what came."""

    def __init__(self, message: str, returned: list[Any]) -> None:
        super().__init__(message)
        self.returned = returned


def _pullback_again(subject: Subject, pullback: Callable[..., Any], v: Any, first: list[Array],
                    slack: list[np.ndarray], rng: np.random.Generator) -> Iterator[str]:
    """The laws that the pullback breaks when it is called again; how far off linear it is by rounding adds to slack."""
    u = combine(1.0, cotangents_like(v, rng), 0.0, v)
    other = subject.gradients(pullback, copied(u))
    again = subject.gradients(pullback, copied(v))
    if [getattr(g, "shape", None) for g in again] != [g.shape for g in first] or any(
            _differ(a, b, ANOTHER_NUMBER) for a, b in zip(again, first)):
        yield "its pullback gives another answer when it is called a second time with the same cotangent"
        return
    yield from _overwritten(subject, pullback, v, first)
    terms = [np.abs(host(y) * host(dy)) for y, dy in zip(subject.outputs() or [], flatten(v))]
    reach = max([1e-6, *(float(term.max(initial=0.0)) for term in terms)])
    # twice a number is rounded as the number is, so -2 shows what is not linear without any rounding in the way
    double = subject.gradients(pullback, combine(-2.0, v, 0.0, v))
    both = subject.gradients(pullback, combine(1 / 3, v, -0.6, u))
    scaled = [(k, subject.gradients(pullback, combine(k, v, 0.0, v))) for k in (0.77, 1.37)]
    for i, (g, o, d, b) in enumerate(zip(map(host, first), map(host, other), map(host, double), map(host, both))):
        off, size = np.abs(b - (g / 3 - 0.6 * o)), max(np.abs(g).max(initial=0.0), np.abs(o).max(initial=0.0))
        if not np.isfinite(size) or not np.isfinite(b).all():          # refused for that
            continue
        twice = np.abs(d + 2.0 * g).max(initial=0.0) <= ANOTHER_NUMBER * size
        for k, times_k in scaled if twice else ():    # what cancels falls on another grid, and leaves another rest
            slack[i] = np.maximum(slack[i], 8.0 * _finite(np.abs(host(times_k[i]) / k - g)))
        own = np.abs(host(subject.places[i])).max(initial=0.0)
        tells = size * own > 1e-6 * reach and size > 1e3 * slack[i].max(initial=0.0)
        if not twice or (tells and off.max() > NOT_LINEAR * size):
            yield ("its pullback is not linear in the cotangent: pullback(2 dy) must be 2 pullback(dy), and "
                   f"pullback(u + v) = pullback(u) + pullback(v); see {subject.names[i]}")
        else:
            slack[i] = np.maximum(slack[i], 8.0 * off)


def _overwritten(subject: Subject, pullback: Callable[..., Any], v: Any, first: list[Array]) -> Iterator[str]:
    """Parameters whose gradient is set by the pullback, where it should be added to."""
    before = [p.grad.copy() for p in subject.parameters.values()]
    kept = dict(zip(subject.parameters, first[subject.input_count:]))
    try:
        for name, p in subject.parameters.items():
            p.grad[...] = kept[name]
        pullback(*copied(v))
        for name, p in subject.parameters.items():
            if not _differ(p.grad, kept[name], 0.0) and host(kept[name]).any():
                yield f"its pullback overwrites the gradient of {name}, where it should add to it"
    finally:
        for p, grad in zip(subject.parameters.values(), before):
            p.grad[...] = grad


def _is_random(subject: Subject, outputs: list[Array]) -> str:
    """The sentence, or "".  Six coins fall as before once in 64 times: a small op is asked often."""
    for _ in range(8 if sum(y.size for y in outputs) < 64 else 1):
        now = subject.outputs()
        if now is None or any(a.shape != b.shape or _differ(a, b, ANOTHER_NUMBER) for a, b in zip(now, outputs)):
            return ("a second call at the same inputs gives another value: it is random, or it remembers; noise is "
                    "passed in as a constant, eps=...")
    return ""


def _rounding(subject: Subject, v: Any, outputs: list[Array], gradients: list[Array],
              rng: np.random.Generator) -> tuple[list[Array], list[np.ndarray]]:
    """(rounding in each entry of the value, and of the gradient)

    A sum of a million numbers has more rounding than one unit in the last place of its total.  So the inputs are moved
    by one such unit, as if they had been rounded once more, and what changes is what nobody can know.
    """
    noise = [EPS * np.abs(y) for y in outputs]
    slack = [4.0 * EPS * np.abs(host(g)) for g in gradients]
    for _ in range(2):
        with subject.jiggled(rng):
            value, pullback = subject.call()
            now, near = leaves(value), subject.gradients(pullback, copied(v))
        noise = [np.maximum(n, _finite(np.abs(a - b))) for n, a, b in zip(noise, now, outputs)]
        slack = [np.maximum(s, 4.0 * _finite(np.abs(host(a) - host(b)))) for s, a, b in zip(slack, near, gradients)]
    return noise, [_evened(_finite(s), np.abs(host(g))) for s, g in zip(slack, gradients)]


def _evened(slack: np.ndarray, size: np.ndarray) -> np.ndarray:
    """No entry's rounding is, by luck, far below what is usual for its size; sin(1e13) is nothing but rounding."""
    some = np.isfinite(size) & (size > 0.0)
    usual = float(np.median(slack[some] / size[some])) if some.any() else 0.0
    usual = 10.0 if usual > 0.1 else usual
    return np.maximum(slack, np.where(some, usual * size, 0.0))


def _finite(x: Array) -> Array:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


def _differ(a: Any, b: Any, relative: float) -> bool:
    """Whether two arrays are not the same numbers; NaN equals NaN."""
    x, y = to_numpy(a), to_numpy(b)
    if x.dtype.kind != "f" or not relative:
        return not np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
    size = max(float(np.abs(x).max(initial=0.0)), float(np.abs(y).max(initial=0.0)))
    if not np.isfinite(size):
        return not np.array_equal(x, y, equal_nan=True)
    return bool(float(np.abs(x - y).max(initial=0.0)) > relative * size)
