"""One row of the gradient table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np

from minivae.backend import Array, Generator
from minivae.gradcheck import Function, Report, gradcheck
from minivae.nn import Layer, Parameter


@dataclass(frozen=True)
class Case:
    """One row: a function with pullback and the point at which it is checked."""

    name: str
    function: Function
    inputs: tuple[Any, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    directions: int | None = None      # None: every entry by itself

    @property
    def subject(self) -> str:
        """What the row is about: "linear", "Linear", "VAE.elbo_terms"."""
        if isinstance(self.function, MethodType):
            return self.function.__func__.__qualname__           # of the class that wrote it
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def check(case: Case, tolerance: float = 1e-6, plot: Path | None = None) -> Report:
    """Finite differences against the pullback of one row, and a picture of it.  Raises GradientError if it is wrong."""
    return gradcheck(case.function, *case.inputs, parameters=case.parameters, directions=case.directions,
                     tolerance=tolerance, name=case.name, plot=plot, **case.constants)


def row(function: Function, *inputs: Any, note: str = "", parameters: Mapping[str, Parameter] | None = None,
        directions: int | None = None, **constants: Any) -> Case:
    """A row, named after its function."""
    case = Case("", function, inputs, constants, parameters or {}, directions)
    return replace(case, name=case.subject + (f" ({note})" if note else ""))


def layer_row(rng: Generator, layer: Layer, *inputs: Array, note: str = "",
              parameters: Mapping[str, Parameter] | None = None, **constants: Any) -> Case:
    """A row for a layer, its parameters drawn anew: at birth a bias is zero, and zero hides mistakes."""
    own = parameters or layer.parameters()
    for p in own.values():
        p.value[...] = rng.standard_normal(p.value.shape)
    return row(layer, *inputs, note=note, parameters=own, **constants)


def off_zero(x: Array) -> Array:
    """x moved away from 0, where relu has its kink."""
    return x + np.copysign(0.1, x)
