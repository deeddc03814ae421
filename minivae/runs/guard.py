"""Finding the first thing that is not finite.

A training step never waits for its loss, so a NaN is noticed some steps late.  The guard keeps a
copy of the last good state; when the loss goes wrong it goes back there, takes the steps again one
by one, and repeats the guilty one with NumPy told to stop at the first overflow.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from minivae.backend import Generator, rng_state
from minivae.batch import Batch
from minivae.fast import plainly
from minivae.nn import Model


class NotFiniteError(ArithmeticError):
    """The loss, a parameter or a gradient became NaN or infinite."""


def finite(model: Model) -> bool:
    """Whether every parameter of every network is finite (which waits for the device)."""
    return all(bool(np.isfinite(network.arena.value).all()) for network in model.networks.values())


class Guard:
    """Remembers the last good state of a model and its noise generator."""

    def __init__(self, model: Model, noise: Generator) -> None:
        self.model, self.noise = model, noise
        self.remember()

    def remember(self) -> None:
        """Now is good."""
        self.moments = {name: network.moment() for name, network in self.model.networks.items()}
        self.noise_state = rng_state(self.noise)

    def go_back(self) -> None:
        """Return to the last good state."""
        for name, network in self.model.networks.items():
            network.go_back(self.moments[name])
        if self.noise_state is not None:
            self.noise.bit_generator.state = self.noise_state

    def blame(self, batches: Iterable[tuple[int, Batch]]) -> str:
        """Take the steps again from the last good state; say which went wrong, and where.

        Leaves the model as it was before the guilty step.
        """
        self.go_back()
        for step, batch in batches:
            self.remember()
            if not finite(self.model):
                return f"step {step}: {self._first_array()}, before the step"
            with np.errstate(all="ignore"):
                metrics = self.model.train_step(batch, self.noise)
            if not (all(math.isfinite(float(v)) for v in metrics.values()) and finite(self.model)):
                after = self._first_array()
                self.go_back()
                return f"step {step}: {self._first_op(batch) or after or 'the loss overflowed'}"
        return "a step since the last check (it did not happen again when the steps were repeated)"

    def _first_array(self) -> str | None:
        """The first parameter, else gradient, that is not finite."""
        return next(filter(None, (network.arena.first_not_finite() for network in self.model.networks.values())), None)

    def _first_op(self, batch: Batch) -> str | None:
        """Repeat a step with floating-point errors raised: the innermost frame of ours is the op."""
        try:
            with plainly(), np.errstate(over="raise", invalid="raise", divide="raise"):
                self.model.train_step(batch, self.noise)
        except FloatingPointError as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = [f for f in frames if "numpy" not in Path(f.filename).parts][-1]     # a sum runs inside NumPy
            return f"{error}, in {where.name} ({Path(where.filename).name}:{where.lineno}): {where.line}"
        finally:
            self.go_back()
        return None
