"""The arena: every parameter of a model is a view of one flat vector, every gradient of another.

Optimizers, clipping, checkpoints and whole-model gradient checks are then a few lines over two
vectors (on a GPU, one kernel instead of one per parameter).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minivae.backend import Array, Device, to_numpy


class Parameter:
    """An array that learns: its `value`, and `grad`, where pullbacks add ∂loss/∂value.

    A parameter is born alone, in float64 on the host; an Arena then moves it into its vectors.

    The first gradient after `zero_grad` may be written rather than added, which saves filling the memory with
    zeros, a temporary and an addition:  d = product(…, out=p.room());  p.add(d).  `grad` shows zeros until then.
    """

    def __init__(self, value: np.ndarray | float) -> None:
        self.value: Array = np.array(value, dtype=np.float64, order="C")
        self._grad, self._blank = np.zeros_like(self.value), False

    @property
    def grad(self) -> Array:
        if self._blank:                               # what lies there is the step before's
            self._grad[...] = 0.0
            self._blank = False
        return self._grad

    @grad.setter
    def grad(self, array: Array) -> None:
        self._grad, self._blank = array, False

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self._blank = True

    def room(self) -> Array | None:
        """Where the first gradient may be written; None if one lies there already."""
        return self._grad if self._blank else None

    def add(self, gradient: Array) -> None:
        """grad += gradient; nothing is left to do for one that was written into `room()`."""
        if gradient is self._grad:
            self._blank = False
        else:
            self.grad += gradient


class Arena:
    """Two flat vectors, `value` and `grad`, and the parameters that are views of them.

    parameters   name -> Parameter, in the order in which they lie in the vectors
    device       where the vectors live
    dtype        float32 to train, float64 to check gradients
    Raises ValueError if there is no parameter, or one appears under two names.
    """

    def __init__(self, parameters: Mapping[str, Parameter], device: Device, dtype: type = np.float32) -> None:
        if not parameters:
            raise ValueError("Arena: got no parameters")
        if len({id(p) for p in parameters.values()}) < len(parameters):
            raise ValueError("Arena: the same parameter appears under two names")
        flat = np.concatenate([to_numpy(p.value).ravel() for p in parameters.values()])
        self._hold(parameters, device, device.array(flat, dtype=dtype))

    def twin(self, parameters: Mapping[str, Parameter]) -> Arena:
        """An arena for a copy of the network: the same values (in the same memory), gradients of its own."""
        other = object.__new__(Arena)
        other._hold(parameters, self.device, self.value)
        return other

    def _hold(self, parameters: Mapping[str, Parameter], device: Device, value: Array) -> None:
        self.parameters, self.device, self.value = dict(parameters), device, value
        self._grad: Array = device.xp.zeros_like(value)
        start = 0
        for p in parameters.values():
            here = slice(start, start + p.value.size)
            p.value, p.grad = value[here].reshape(p.value.shape), self._grad[here].reshape(p.value.shape)
            start = here.stop

    @property
    def grad(self) -> Array:
        """∂loss/∂value, whole: zero where nothing was added since `zero_grad`."""
        for p in self.parameters.values():
            p.grad  # noqa: B018 (asked for, so that it is zero if nothing was added)
        return self._grad

    def zero_grad(self) -> None:
        """Set every gradient to zero: pullbacks only add."""
        for p in self.parameters.values():
            p.zero_grad()

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of every parameter on the host, by name."""
        return {name: np.array(to_numpy(p.value)) for name, p in self.parameters.items()}

    def require(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise ValueError unless there is an array of the right shape for every parameter, and no other."""
        missing, unknown = self.parameters.keys() - arrays.keys(), arrays.keys() - self.parameters.keys()
        if missing or unknown:
            raise ValueError(f"parameters do not fit this model: missing {sorted(missing) or 'none'}, "
                             f"unknown {sorted(unknown) or 'none'}")
        for name, p in self.parameters.items():
            if arrays[name].shape != p.value.shape:
                raise ValueError(f"{name}: got shape {arrays[name].shape}, expected {p.value.shape}")

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set every parameter.  Raises ValueError, before anything changes, if names or shapes differ."""
        self.require(arrays)
        for name, p in self.parameters.items():
            p.value[...] = self.device.array(arrays[name], dtype=self.value.dtype)

    def first_not_finite(self) -> str | None:
        """The name of the first parameter, else gradient, that holds a NaN or an infinity."""
        for kind in ("value", "grad"):
            for name, p in self.parameters.items():
                if not np.isfinite(to_numpy(getattr(p, kind))).all():
                    return f"{'parameter' if kind == 'value' else 'gradient of'} {name}"
        return None
