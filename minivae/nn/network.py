"""A network: parameters that learn together, the arena they live in, and the optimizer that moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array, Device
from minivae.nn.arena import Arena
from minivae.nn.optimizers import Optimizer
from minivae.nn.parameter import Parameter


@dataclass(frozen=True)
class Moment:
    """All that a network's next steps depend on."""

    value: Array
    state: dict[str, Array]
    steps: int


class Network:
    """An arena and its optimizer.  A model has one or several; nobody but the model knows what each is for.

    parameters   name -> Parameter, such as `layer.parameters("critic.")`
    Raises ValueError for no parameters.
    """

    def __init__(self, parameters: Mapping[str, Parameter], optimizer: Optimizer, *, device: Device,
                 dtype: type) -> None:
        self.arena, self.optimizer = Arena(parameters, device, dtype), optimizer

    def twin(self, parameters: Mapping[str, Parameter]) -> Network:
        """For a copy of the layers: the same values in the same memory, gradients of its own, the same optimizer."""
        other = object.__new__(Network)
        other.arena, other.optimizer = self.arena.twin(parameters), self.optimizer
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all that is kept, on the host: "parameter/decoder.0.W", "optimizer/squares"."""
        return ({f"parameter/{name}": a for name, a in self.arena.arrays().items()}
                | {f"optimizer/{name}": a for name, a in self.optimizer.arrays().items()})

    def moment(self) -> Moment:
        """A copy of the values and of the optimizer's memory."""
        return Moment(self.arena.value.copy(), {name: a.copy() for name, a in self.optimizer.state.items()},
                      self.optimizer.steps)

    def go_back(self, moment: Moment) -> None:
        """Be again as at that moment."""
        self.arena.value[...] = moment.value
        self.optimizer.state = {name: a.copy() for name, a in moment.state.items()}
        self.optimizer.steps = moment.steps
