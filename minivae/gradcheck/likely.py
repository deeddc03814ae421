"""What the gradient of a function that nobody has described may be made of, so that its mistake can be named.

The course's tests say which terms and factors a gradient has.  Here only numbers are known: the inputs, the outputs,
the cotangent, and the derivatives that were measured.  From these come the gradients that one computes by one of the
usual mistakes, and the engine in `mistakes` names one if it gives the pullback's numbers, all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minivae.gradcheck.differences import FIRST, Line
from minivae.gradcheck.laws import FormError, Point
from minivae.gradcheck.mistakes import Context, diagnose
from minivae.gradcheck.moves import Plan, sizes_of
from minivae.gradcheck.report import Row
from minivae.gradcheck.subject import Function, Subject, copied, cotangents_like, flatten, host, leaves

EXACT = 1e-5                   # relative to the length of a gradient: a named mistake gives these numbers
MEASURED_AGAIN = 2000          # up to so many entries, the whole Jacobian is asked for its diagonal


def named(subject: Subject, point: Point, rows: Sequence[Row], plans: Sequence[Plan], tolerance: float) -> list[Row]:
    """The rows with a line about what is wrong."""
    wants = [row.measured for row in rows]
    found = []
    for i, (row, chosen) in enumerate(zip(rows, plans)):
        said = row.said
        if row.wrong and not said and row.claims is not None and row.measured is not None:
            if chosen.block is not None:
                inside = np.ix_(*chosen.block)
                context = Context(sizes=dict(_sizes(subject, point)), factors=dict(_factors(subject, i, inside)))
                said = _name(row.claims[inside], row.measured[inside], context, "in a sample of it, ")
            elif np.isfinite(row.measured).all():
                said = _name(row.claims, row.measured, _context(subject, point, i, wants))
        found.append(replace(row, said=said))
    return found


def _name(got: np.ndarray, want: np.ndarray, context: Context, where: str = "") -> str:
    """The engine's sentence; both are brought to size 1 first, because it takes 1e-12 for 0."""
    size = float(np.abs(want).max(initial=0.0)) or float(np.nan_to_num(np.abs(got)).max(initial=0.0)) or 1.0
    scaled = Context({k: x / size for k, x in context.terms.items()}, context.factors, context.sizes,
                     {k: x / size for k, x in context.instead.items()})
    says = diagnose(got / size, want / size, scaled, EXACT)
    if says and " should be " in says and got.size > 1:
        says = says.partition("; the worst is ")[0]        # the table shows the worst, not divided by anything
    return where + says if says else ""


def _context(subject: Subject, point: Point, target: int, wants: Sequence[np.ndarray | None]) -> Context:
    want = wants[target]
    assert want is not None
    terms, diagonal = _again(subject, point, target) if want.size <= MEASURED_AGAIN else ({}, None)
    instead: dict[str, np.ndarray] = {}
    if diagonal is not None:
        instead["what the diagonal of the Jacobian alone gives: every output depends on several inputs"] = diagonal
    instead.update(_handed_on(subject, point, target))
    instead.update(_by_sigma(host(subject.places[target]), want))
    for j, other in enumerate(wants):
        if j != target and other is not None and other.shape == want.shape and np.isfinite(other).all():
            instead[f"the gradient of {subject.names[j]}: they are returned in another order"] = other
    return Context(terms, dict(_factors(subject, target)), dict(_sizes(subject, point)), instead)


def _sizes(subject: Subject, point: Point) -> Iterator[tuple[str, float]]:
    """Numbers that a mean has divided by: entries and lengths of axes."""
    seen: set[int] = {0, 1, 2}                             # 2 and 1/2 have names of their own
    arrays = [*zip(subject.names, subject.places), *((f"output {i}", y) for i, y in enumerate(point.value))]
    for name, x in arrays:
        for axis, n in enumerate(x.shape):
            if n not in seen:
                seen.add(n)
                yield f"the length of axis {axis} of {name}", float(n)
    for name, x in arrays:
        if x.size not in seen:
            seen.add(int(x.size))
            yield f"the number of entries of {name}", float(x.size)


def _factors(subject: Subject, target: int, inside: Any = ...) -> Iterator[tuple[str, np.ndarray]]:
    """Inputs of the gradient's own shape, which may have been forgotten as a factor."""
    for j, (name, x) in enumerate(zip(subject.names, subject.places)):
        if x.shape == subject.places[target].shape and x.size > 1:
            exp = np.exp(np.clip(host(x)[inside], -300.0, 300.0))
            yield ("the input itself" if j == target else name), host(x)[inside]
            if np.abs(exp - 1.0).max() > 0.1:              # else it is hardly a factor
                yield f"exp({'the input' if j == target else name})", exp


def _handed_on(subject: Subject, point: Point, target: int) -> Iterator[tuple[str, np.ndarray]]:
    """What comes of it if the derivative of an activation at the end is forgotten."""
    if len(point.value) != 1:
        return
    dy, shape = host(point.cotangents[0]), subject.places[target].shape
    yield "dy as it came: the derivative of the function itself is missing", dy
    forgotten = ": the derivative of the activation is missing"
    if dy.ndim == 2 and shape == dy.shape[1:]:
        yield f"dy summed over the batch{forgotten}", dy.sum(axis=0)
    for j, other in enumerate(map(host, subject.places)):
        if j == target or other.ndim != 2 or dy.ndim != 2:
            continue
        if other.shape[0] == dy.shape[0] and shape == (other.shape[1], dy.shape[1]):
            yield f"{subject.names[j]}.T @ dy{forgotten}", other.T @ dy
        if other.shape[1] == dy.shape[1] and shape == (dy.shape[0], other.shape[0]):
            yield f"dy @ {subject.names[j]}.T{forgotten}", dy @ other.T


def _by_sigma(x: np.ndarray, want: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """An input that is a logarithm: the derivative with respect to what it is the logarithm of."""
    e = np.exp(np.clip(x, -300.0, 300.0))
    yield ("the derivative with respect to σ, if the input is log σ²: a factor ½ σ is missing", want / (0.5 * e**0.5))
    yield ("the derivative with respect to σ², if the input is log σ²: a factor σ² is missing", want / e)


def _again(subject: Subject, point: Point, target: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """(the part of the gradient that comes from each output, what the diagonal of the Jacobian alone would give)"""
    x, outputs = subject.places[target], point.value
    parts = np.zeros((len(outputs), x.size))
    square = len(outputs) == 1 and outputs[0].shape == x.shape and x.size > 1
    diagonal = np.zeros(x.size) if square else None
    if len(outputs) == 1 and not square:
        return {}, None
    for flat, step in enumerate(sizes_of(x).ravel()):
        index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
        line = Line(subject, point, target, index, float(step))
        (up, right), (down, left) = line.at(FIRST), line.at(-FIRST)
        for o, (v, a, b) in enumerate(zip(point.cotangents, up or outputs, down or outputs)):
            parts[o, flat] = float((v * (a - b)).sum()) / (right - left)
            if diagonal is not None:
                diagonal[flat] = host(v).flat[flat] * (host(a).flat[flat] - host(b).flat[flat]) / (right - left)
    terms = {f"output {o}": part.reshape(x.shape) for o, part in enumerate(parts)} if len(outputs) > 1 else {}
    return terms, None if diagonal is None else diagonal.reshape(x.shape)


def of_the_form(function: Function, inputs: Any, parameters: Mapping[str, Any], constants: Mapping[str, Any],
                error: FormError, seed: int) -> str:
    """What is likely the matter with a cotangent of the wrong shape: ": the sum over the batch is missing", or ""."""
    rng = np.random.default_rng([seed, 1])                 # the same cotangents as the check's own
    subject = Subject("", function, inputs, parameters, constants)
    value, _ = subject.call()
    outputs = leaves(value)
    point = Point(outputs, flatten(copied(cotangents_like(value, rng))), [], [], [0.0 * y for y in outputs])
    for target, got in enumerate(error.returned):
        x = subject.places[target]
        if not hasattr(got, "shape") or got.shape == x.shape or x.size > MEASURED_AGAIN:
            continue
        steps = sizes_of(x).ravel()
        want = np.array([Line(subject, point, target, tuple(map(int, np.unravel_index(flat, x.shape))),
                              float(steps[flat])).slope(FIRST).slope for flat in range(x.size)]).reshape(x.shape)
        says = _name(host(got), want, Context()) if np.isfinite(want).all() else ""
        if f"should be {want.shape}: " in says:
            return ": " + says.partition(f"should be {want.shape}: ")[2]
    return ""
