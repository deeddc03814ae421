"""Optimizers: how a flat vector of parameters moves against its gradient.

Each is a few in-place lines over the arena's two vectors.  `lr` is a number, or a schedule: a
function from the step (0, 1, 2, …) to a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from minivae.backend import Array, to_numpy
from minivae.fast import compiled
from minivae.nn.arena import Arena, Tile
from minivae.nn.schedules import Schedule
from minivae.ops import kernels
from minivae.parallel import SOLO, Team


class Optimizer:
    """What all share: the learning rate, the count of steps, clipping, and the state a checkpoint keeps.

    max_norm   if given, the whole gradient is scaled down to at most this Euclidean length
    Raises ValueError for a learning rate that is not a positive number, or max_norm <= 0.
    """

    moments: tuple[str, ...] = ()      # the names of the vectors an optimizer remembers

    def __init__(self, lr: float | Schedule = 1e-3, *, max_norm: float | None = None) -> None:
        if not callable(lr) and not (isinstance(lr, Real) and math.isfinite(lr) and lr > 0):
            raise ValueError(f"lr: got {lr!r}, expected a finite number > 0")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm: got {max_norm}, expected a number > 0")
        self.lr, self.max_norm, self.steps = lr, max_norm, 0
        self.state: dict[str, Array] = {}

    def step(self, arena: Arena, team: Team = SOLO) -> None:
        """Move `arena.value` once, against `arena.grad`: each thread makes and moves its tiles."""
        arena.by_tiles(self.begin(arena, team, lr=self.rate()), team)

    def rate(self) -> float:
        """The learning rate of the next step.  Raises ValueError unless it is finite, and at least 0."""
        lr = self.lr(self.steps) if callable(self.lr) else self.lr
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"lr: the schedule gave {lr} at step {self.steps}, expected a finite number >= 0")
        return float(lr)

    def begin(self, arena: Arena, team: Team, *, lr: float) -> Callable[[Tile], None]:
        """Begin a step; returns who moves a tile, once its gradient is made."""
        for name in self.moments:
            if name not in self.state:
                self.state[name] = arena.device.xp.zeros_like(arena.value)
        if self.max_norm is not None:
            arena.make(team)
            clip_norm(arena.grad, self.max_norm)
        if self.steps % 128 == 127:
            # A moment whose gradient stays 0 fades as βᵗ into float32's denormals, on which a CPU is many
            # times slower.  From 1e-30 that takes more than 128 steps at β = 0.9; below it nobody can tell.
            for name in self.moments:
                self.state[name] *= np.abs(self.state[name]) > 1e-30
        self.steps += 1
        vectors = (arena.value, arena._grad, *(self.state[name] for name in self.moments))

        def move(tile: Tile) -> None:
            parts = [vector[tile.here] for vector in vectors]
            self.update(*parts, np.empty_like(parts[0]), lr=lr)

        return move

    def update(self, *vectors: Any, **rate: Any) -> None:
        """update(value, grad, *moments, scratch, lr=…): move a part of `value`, given that part of the others."""
        raise NotImplementedError(f"{type(self).__name__} must define update")

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the moments on the host; none before the first step."""
        return {name: np.array(to_numpy(self.state[name])) for name in self.moments if name in self.state}

    def require(self, arrays: Mapping[str, np.ndarray], arena: Arena) -> None:
        """Raise ValueError unless these are the moments of such an optimizer, or none, for this arena."""
        if arrays and arrays.keys() != set(self.moments):
            raise ValueError(f"optimizer: the checkpoint holds {sorted(arrays)}, "
                             f"{type(self).__name__} needs {sorted(self.moments)}")
        for name, array in arrays.items():
            if array.shape != arena.value.shape:
                raise ValueError(f"optimizer {name}: got shape {array.shape}, expected {arena.value.shape}")

    def load(self, arrays: Mapping[str, np.ndarray], steps: int, arena: Arena) -> None:
        """Take up where `arrays()` and `steps` were saved.  Raises ValueError, before anything changes."""
        self.require(arrays, arena)
        self.state = {name: arena.device.array(a, dtype=arena.value.dtype) for name, a in arrays.items()}
        self.steps = steps


class SGD(Optimizer):
    """θ ← θ − lr g        (Robbins and Monro 1951)"""

    def update(self, value: Array, grad: Array, scratch: Array, *, lr: float) -> None:
        value -= np.multiply(grad, lr, out=scratch)


class Momentum(Optimizer):
    """v ← β v + g,   θ ← θ − lr v        (Polyak 1964)"""

    moments = ("velocity",)

    def __init__(self, lr: float | Schedule = 1e-2, *, beta: float = 0.9, max_norm: float | None = None) -> None:
        super().__init__(lr, max_norm=max_norm)
        self.beta = _fraction("beta", beta)

    def update(self, value: Array, grad: Array, v: Array, scratch: Array, *, lr: float) -> None:
        v *= self.beta
        v += grad
        value -= np.multiply(v, lr, out=scratch)


class AdaGrad(Optimizer):
    """s ← s + g²,   θ ← θ − lr g / (√s + ε)        (Duchi et al. 2011)

    The optimizer of Kingma and Welling 2013, with an lr of 0.01, 0.02 or 0.1.
    """

    moments = ("squares",)

    def __init__(self, lr: float | Schedule = 1e-2, *, eps: float = 1e-8, max_norm: float | None = None) -> None:
        super().__init__(lr, max_norm=max_norm)
        self.eps = eps

    def update(self, value: Array, grad: Array, s: Array, scratch: Array, *, lr: float) -> None:
        s += np.multiply(grad, grad, out=scratch)
        np.sqrt(s, out=scratch)
        scratch += self.eps
        np.divide(grad, scratch, out=scratch)
        scratch *= lr
        value -= scratch


class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g²,   θ ← θ − lr g / (√s + ε)        (Tieleman and Hinton 2012)

    Adam without momentum, and without the correction of the first steps.
    """

    moments = ("squares",)

    def __init__(self, lr: float | Schedule = 1e-3, *, rho: float = 0.9, eps: float = 1e-8,
                 max_norm: float | None = None) -> None:
        super().__init__(lr, max_norm=max_norm)
        self.rho, self.eps = _fraction("rho", rho), eps

    def update(self, value: Array, grad: Array, s: Array, scratch: Array, *, lr: float) -> None:
        if loops := compiled(value, grad, s):
            loops.rmsprop(value, grad, s, rho=self.rho, eps=self.eps, lr=lr)
            return
        np.multiply(grad, grad, out=scratch)
        scratch *= 1.0 - self.rho
        s *= self.rho
        s += scratch
        np.sqrt(s, out=scratch)
        scratch += self.eps
        np.divide(grad, scratch, out=scratch)
        scratch *= lr
        value -= scratch


class Adam(Optimizer):
    """m ← β₁ m + (1−β₁) g,   s ← β₂ s + (1−β₂) g²,   θ ← θ − lr m̂ / (√ŝ + ε)

    with m̂ = m / (1 − β₁ᵗ), ŝ = s / (1 − β₂ᵗ): both start at zero, and dividing takes that bias out.
    Kingma and Ba 2014, algorithm 1.  Kept are the sums m / (1−β₁) = Σ β₁ᵗ⁻ⁱ gᵢ and s / (1−β₂) = Σ β₂ᵗ⁻ⁱ gᵢ²:
    all the factors meet in two numbers, and of fourteen passes over the memory ten are left.
    """

    moments = ("gradients", "squares")

    def __init__(self, lr: float | Schedule = 1e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, max_norm: float | None = None) -> None:
        super().__init__(lr, max_norm=max_norm)
        self.beta1, self.beta2, self.eps = _fraction("beta1", beta1), _fraction("beta2", beta2), eps

    def update(self, value: Array, grad: Array, m: Array, s: Array, scratch: Array, *, lr: float) -> None:
        # m̂ = c₁ m and √ŝ = c₂ √s, so that m̂ / (√ŝ + ε) = (c₁ / c₂) m / (√s + ε / c₂)
        c1 = (1.0 - self.beta1) / (1.0 - self.beta1**self.steps)
        c2 = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**self.steps))
        eps, rate = self.eps / c2, lr * c1 / c2
        if kernels.on_gpu(value):
            kernels.adam(value, grad, m, s, beta1=self.beta1, beta2=self.beta2, eps=eps, rate=rate)
            return
        if loops := compiled(value, grad, m, s):
            loops.adam(value, grad, m, s, beta1=self.beta1, beta2=self.beta2, eps=eps, rate=rate)
            return
        m *= self.beta1
        m += grad
        s *= self.beta2
        s += np.multiply(grad, grad, out=scratch)
        np.sqrt(s, out=scratch)
        scratch += eps
        np.divide(m, scratch, out=scratch)
        scratch *= rate
        value -= scratch


class MovingAverage(Optimizer):
    """θ ← γ θ + (1 − γ) g: an average of what the steps say, of which the latest weigh most

    For parameters that no loss pulls at: their "gradient" is what a batch counts (parts.codebook).  There is no
    learning rate but 1 − γ.
    """

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__(1.0)
        self.decay = _fraction("decay", decay)

    def update(self, value: Array, grad: Array, scratch: Array, *, lr: float) -> None:
        value *= self.decay
        value += np.multiply(grad, 1.0 - self.decay, out=scratch)


def clip_norm(grad: Array, max_norm: float) -> Array:
    """Scale `grad` in place so that ‖grad‖ <= max_norm; returns the norm before (Pascanu et al. 2013)."""
    norm = np.sqrt((grad * grad).sum())
    grad *= np.minimum(max_norm / (norm + 1e-12), 1.0)
    return norm


def _fraction(name: str, value: float) -> float:
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name}: got {value}, expected a number in [0, 1)")
    return value
