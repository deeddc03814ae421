"""The function at one point: its outputs, its gradient there, and how much rounding is in both.

The caller's inputs are copied and never moved.  A parameter is moved where it lies, for a layer reads it there, and is
put back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minivae.backend import Array, device_of, to_numpy

Function = Callable[..., tuple[Any, Callable[..., Any]]]
LEFT_THE_DOMAIN = (ArithmeticError, ValueError, np.linalg.LinAlgError)


class Subject:
    """What is checked: `value, pullback = function(*inputs, **constants)` at these inputs and parameters."""

    def __init__(self, called: str, function: Function, inputs: Sequence[Any], parameters: Mapping[str, Any],
                 constants: Mapping[str, Any]) -> None:
        self.called, self.function, self.constants = called, function, dict(constants)
        self.inputs = copied(inputs)
        self.parameters = dict(parameters)
        points = flatten(self.inputs)
        self.names = [f"input {i}" for i in range(len(points))] + list(self.parameters)
        self.places = points + [p.value for p in self.parameters.values()]
        self.input_count = len(points)
        self._require_float64()
        if not self.places:
            raise ValueError(f"{called}: got no inputs and no parameters, so there is nothing to check")

    def _require_float64(self) -> None:
        for name, x in zip(self.names, self.places):
            if getattr(x, "dtype", None) != np.float64:
                came = getattr(x, "dtype", type(x).__name__)
                raise TypeError(f"{self.called}: {name} is {came}; a gradient check needs float64 arrays")

    def call(self) -> tuple[Any, Callable[..., Any]]:
        """(value, pullback), as the function returns them.  Raises TypeError for anything else."""
        result = self.function(*self.inputs, **self.constants)
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            raise TypeError(f"{self.called}: returned {type(result).__name__}, expected the pair (value, pullback)")
        return result

    def outputs(self) -> list[Array] | None:
        """The arrays of the value, copied; None where the function refuses the point: it has left its domain."""
        try:
            return leaves(self.function(*self.inputs, **self.constants)[0])
        except LEFT_THE_DOMAIN:
            return None

    def pull(self, pullback: Callable[..., Any], cotangents: Any) -> tuple[list[Any], list[Array]]:
        """(what the pullback returns, flat; what it adds to the gradient of every parameter)"""
        before = [p.grad.copy() for p in self.parameters.values()]
        try:
            for p in self.parameters.values():
                p.grad[...] = 0.0
            returned = flatten(as_tuple(pullback(*cotangents)))
            return ([r.copy() if hasattr(r, "copy") else r for r in returned],
                    [p.grad.copy() for p in self.parameters.values()])
        finally:
            for p, grad in zip(self.parameters.values(), before):
                p.grad[...] = grad

    def gradients(self, pullback: Callable[..., Any], cotangents: Any) -> list[Array]:
        """The gradient of every input and parameter."""
        returned, added = self.pull(pullback, cotangents)
        return returned + added

    @contextmanager
    def jiggled(self, rng: np.random.Generator) -> Iterator[None]:
        """Meanwhile every entry is one unit in the last place larger or smaller: nobody knows it better."""
        before = [x.copy() for x in self.places]
        try:
            for x in self.places:
                signs = rng.integers(0, 2, x.shape) * 2.0 - 1.0
                x[...] = x * device_of(x).array(1.0 + 2.0**-52 * signs)
            yield
        finally:
            for x, old in zip(self.places, before):
                x[...] = old


def cotangents_like(value: Any, rng: np.random.Generator) -> Any:
    """Random cotangents, one per output, of its shape and on its device; a float for a float.

    Between 1/2 and 3/2 in size: one that is nearly 0 by chance would hide what is wrong with its output.
    """
    return tuple(_like(part, rng) for part in as_tuple(value))


def _like(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_like(part, rng) for part in value)
    shape = getattr(value, "shape", ())
    dy = (0.5 + rng.random(shape)) * np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    return device_of(value).array(dy) if hasattr(value, "dtype") else float(dy)


def combine(a: float, u: Any, b: float, v: Any) -> Any:
    """a u + b v, for cotangents"""
    if isinstance(u, tuple):
        return tuple(combine(a, x, b, y) for x, y in zip(u, v))
    return a * u + b * v


def copied(x: Any) -> Any:
    """The same lists of arrays, the arrays copied; what is no array as it is."""
    if isinstance(x, (tuple, list)):
        return type(x)(copied(part) for part in x)
    if isinstance(x, np.generic):
        return np.array(x)                             # a number of NumPy's cannot be moved
    return x.copy() if hasattr(x, "copy") else x


def as_tuple(x: Any) -> tuple[Any, ...]:
    """One thing or several, as several; None is none."""
    return () if x is None else tuple(x) if isinstance(x, (tuple, list)) else (x,)


def flatten(x: Any) -> list[Any]:
    """Arrays in reading order; an input or output may itself be a list of arrays (concat, split)."""
    if isinstance(x, (tuple, list)):
        return [array for part in x for array in flatten(part)]
    return [x]


def refilled(x: Any, parts: Iterator[Any]) -> Any:
    """The same lists, with other things in them: what `flatten` took apart."""
    if isinstance(x, (tuple, list)):
        return type(x)(refilled(part, parts) for part in x)
    return next(parts)


def leaves(value: Any) -> list[Array]:
    """The arrays of a value, copied: the identity returns its input, which will be moved.  A float is an array too."""
    return [x.copy() if hasattr(x, "copy") else np.array(x) for x in flatten(as_tuple(value))]


def index_of(flat: int, shape: tuple[int, ...]) -> str:
    """ "[2, 0]", or "-" for a single number"""
    return str([int(i) for i in np.unravel_index(flat, shape)]) if shape else "-"


def host(x: Any) -> np.ndarray:
    """On the host, as float64."""
    return np.asarray(to_numpy(x), dtype=np.float64)
