"""Finite differences against pullbacks: one harness for ops, layers, models, anybody's function.

For a function f with pullback, and a random cotangent v, the loss is L(x) = ⟨v, f(x)⟩, and

    pullback(v)  must equal  ∂L/∂x ≈ (L(x + h) − L(x − h)) / 2h,     h = 2e-6 (1 + |x|),   in float64.

Central differences err by about h² f'''/6 (truncation) and by ulp(L)/h (rounding): near h = 2e-6
both are small.  An entry where the left and the right difference disagree sits on a kink (relu at
0): no derivative exists there, so it is reported and not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivae.backend import Array, device_of, to_numpy

Function = Callable[..., tuple[Any, Callable[..., Any]]]


class GradientError(AssertionError):
    """A pullback disagrees with finite differences.  `report` holds what was measured."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Row:
    """One input or parameter: its worst entry."""

    name: str
    entries: int           # how many derivatives were compared
    kinks: int             # how many sit on a kink and were left out
    error: float           # worst |pullback − numeric| / max(|pullback|, |numeric|, scale)
    where: str             # the index of the worst entry
    pullback: float        # what the pullback says there
    numeric: float         # what finite differences say there

    def ok(self, tolerance: float) -> bool:
        """Right, and not only because every entry sat on a kink."""
        return self.error <= tolerance and (self.entries > 0 or self.kinks == 0)


@dataclass(frozen=True)
class Report:
    """What a gradient check saw; prints as a table."""

    name: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(row.ok(self.tolerance) for row in self.rows)

    @property
    def worst(self) -> float:
        return max((row.error for row in self.rows), default=0.0)

    def __str__(self) -> str:
        head = f"gradient check of {self.name}: {'passed' if self.passed else 'FAILED'}"
        lines = [f"{head} (tolerance {self.tolerance:g})",
                 f"  {'':4} {'input':<24} {'worst error':>11}  {'pullback':>15} {'finite diff.':>15}  where"]
        for row in self.rows:
            mark = "ok" if row.ok(self.tolerance) else "BAD"
            kinks = f"  ({row.kinks} of {row.kinks + row.entries} on a kink, not judged)" if row.kinks else ""
            lines.append(f"  {mark:4} {row.name:<24} {row.error:11.1e}  "
                         f"{row.pullback:15.8g} {row.numeric:15.8g}  {row.where}{kinks}")
        return "\n".join(lines)


def gradcheck(function: Function, *inputs: Any, parameters: Mapping[str, Any] | None = None,
              directions: int | None = None, tolerance: float = 1e-6, seed: int = 0,
              name: str | None = None, **constants: Any) -> Report:
    """Check `value, pullback = function(*inputs, **constants)`; raise GradientError if it is wrong.

    inputs       float64 arrays (or lists of them): every entry is moved
    parameters   name -> object with `.value` and `.grad` (a layer's `parameters()`): moved as well;
                 the pullback is expected to add their cotangents to `.grad`
    directions   None: every entry by itself.  A number: that many random directions per input, for
                 inputs with too many entries
    tolerance    worst relative error allowed
    Raises GradientError (with `.report`), TypeError for an input that is not float64, ValueError
    for a cotangent of the wrong shape, dtype or number, or if there is nothing to check.
    """
    # a stream of its own: a caller's inputs, drawn from default_rng(0) as well, would equal the cotangents,
    # and for y = a b the gradient aᵀ v = aᵀ a would be symmetric: a wrong transpose would pass
    rng = np.random.default_rng([seed, 1])
    called = str(name or getattr(function, "__name__", type(function).__name__))
    params = dict(parameters or {})
    _require_float64(called, {**{f"input {i}": x for i, x in enumerate(_flatten(inputs))},
                              **{key: p.value for key, p in params.items()}})
    inputs = _copy(inputs)                 # the caller's arrays are never moved
    points = _flatten(inputs)
    value, pullback = _call(called, function, inputs, constants)
    if not points and not params:
        raise ValueError(f"{called}: got no inputs and no parameters, so there is nothing to check")
    cotangents = _like(value, rng)
    for p in params.values():
        p.grad[...] = 0.0
    gradients = _as_tuple(pullback(*_as_tuple(cotangents)))
    gradients_flat = _flatten(gradients)
    if len(gradients_flat) != len(points):
        raise ValueError(f"{called}: {len(points)} inputs, but the pullback returned {len(gradients_flat)} cotangents")

    def loss() -> float:
        outputs = _flatten(_as_tuple(function(*inputs, **constants)[0]))
        return sum(float((v * y).sum()) for v, y in zip(_flatten(_as_tuple(cotangents)), outputs))

    targets = [(f"input {i}", x, g) for i, (x, g) in enumerate(zip(points, gradients_flat))]
    targets += [(key, p.value, p.grad.copy()) for key, p in params.items()]
    rows = []
    for key, x, g in targets:
        if getattr(g, "shape", None) != x.shape or g.dtype != x.dtype:
            came = f"shape {g.shape}, {g.dtype}" if hasattr(g, "shape") else type(g).__name__
            raise ValueError(f"{called}, {key}: the pullback returned {came}, expected shape {x.shape}, {x.dtype}")
        moves = _unit_moves(x) if directions is None else _random_moves(x, directions, rng)
        rows.append(_compare(key, x, g, moves, loss))
    report = Report(called, tolerance, rows)
    if not report.passed:
        raise GradientError(report)
    return report


def _compare(name: str, x: Array, gradient: Array, moves: Sequence[tuple[str, Any, Array]],
             loss: Callable[[], float]) -> Row:
    """The worst disagreement over all moves; the scale of the whole gradient sets what counts as small."""
    scale = max(1e-3 * float(np.abs(gradient).max()), 1e-3) if gradient.size else 1e-3
    entries, kinks, worst = 0, 0, Row(name, 0, 0, 0.0, "-", 0.0, 0.0)
    for where, index, direction in moves:
        numeric, kink = _central_difference(x, index, direction, loss, scale)
        if kink:
            kinks += 1
            continue
        entries += 1
        analytic = float((gradient[index] * direction).sum())
        small = scale if index is not ... else max(scale, _typical(gradient, direction))
        error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), small)
        if not error <= worst.error or entries == 1:      # `not <=` lets a NaN through to be seen
            worst = Row(name, 0, 0, error if np.isfinite(error) else np.inf, where, analytic, numeric)
    return Row(name, entries, kinks, worst.error, worst.where, worst.pullback, worst.numeric)


def _central_difference(x: Array, index: Any, direction: Array, loss: Callable[[], float],
                        scale: float) -> tuple[float, bool]:
    """(L(x + h) − L(x − h)) / 2h, and whether the two one-sided differences show a kink between."""
    old = x[index].copy()
    h = 2e-6 * (1.0 + float(np.abs(old).max()))

    def at(step: float) -> float:
        x[index] = old + step * direction
        return loss()

    left, middle, right = at(-h), at(0.0), at(h)
    forward, backward, central = (right - middle) / h, (middle - left) / h, (right - left) / (2 * h)
    kink = False
    if abs(forward - backward) > 1e-2 * max(abs(forward), abs(backward), scale):
        # a smooth but strongly curved loss has a jump of h f'': a tenth of h makes it ten times smaller.
        # A kink's jump stays, or vanishes if the kink lies within h but not within a tenth of it
        near = (at(0.1 * h) - middle) / (0.1 * h) - (middle - at(-0.1 * h)) / (0.1 * h)
        kink = not 0.03 < near / (forward - backward) < 0.3
    x[index] = old
    return central, kink


def _unit_moves(x: Array) -> list[tuple[str, Any, Array]]:
    one = device_of(x).array(1.0)
    return [(str(list(index)) if index else "-", index, one) for index in np.ndindex(x.shape)]


def _random_moves(x: Array, count: int, rng: np.random.Generator) -> list[tuple[str, Any, Array]]:
    """Vectors of length n^¼ for n entries: ⟨gradient, u⟩ sees every entry at once.

    Of length 1, a step would hardly move a loss of 300,000 parameters (its rounding is all one sees);
    of length n^½, every entry would move by h, and some hidden unit would cross its kink.
    """
    moves = []
    for i in range(count):
        u = rng.standard_normal(x.shape)
        moves.append((f"direction {i}", ..., device_of(x).array(u * (u.size**0.25 / np.linalg.norm(u)))))
    return moves


def _typical(gradient: Array, direction: Array) -> float:
    """The size of ⟨gradient, u⟩ for a random u: one that is small by chance must not magnify the error."""
    return float(np.linalg.norm(gradient) * np.linalg.norm(direction)) / float(gradient.size) ** 0.5


def _like(value: Any, rng: np.random.Generator) -> Any:
    """A random cotangent for every output, of its shape and on its device."""
    if isinstance(value, (tuple, list)):
        return tuple(_like(v, rng) for v in value)
    return device_of(value).array(rng.standard_normal(to_numpy(value).shape))


def _call(called: str, function: Function, inputs: Any, constants: Mapping[str, Any]) -> tuple[Any, Any]:
    result = function(*inputs, **constants)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise TypeError(f"{called}: returned {type(result).__name__}, expected the pair (value, pullback)")
    return result


def _require_float64(called: str, arrays: Mapping[str, Any]) -> None:
    for key, x in arrays.items():
        if getattr(x, "dtype", None) != np.float64:
            came = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"{called}: {key} is {came}; a gradient check needs float64 arrays")


def _copy(x: Any) -> Any:
    return type(x)(_copy(part) for part in x) if isinstance(x, (tuple, list)) else x.copy()


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return () if x is None else tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _flatten(x: Any) -> list[Array]:
    """Arrays in reading order; an input or output may itself be a list of arrays (concat, split)."""
    if isinstance(x, (tuple, list)):
        return [array for part in x for array in _flatten(part)]
    return [x]
