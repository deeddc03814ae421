"""Layers: a thin shell around an op.  They own parameters and add to their gradients.

`y, pullback = layer(x)`, as for an op, but the pullback returns only dx: the cotangents of the
parameters are *added* to `parameter.grad`, so a layer may be used twice in one step.  Every
layer's pullback takes two keywords that save work: with `need_dx=False` it may return None, with
`need_dp=False` it leaves the gradients of the parameters alone.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import numpy as np

from minivae import ops
from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.nn.parameter import Parameter, Product, Uses

Op = Callable[[Array], tuple[Array, Pullback]]
Initialiser = Callable[[int, int, Generator], np.ndarray]


def glorot(inputs: int, outputs: int, rng: Generator) -> np.ndarray:
    """Var W = 2 / (I + O): a compromise that keeps the variance of y = x W near that of x on the
    way up (1/I would), and that of dx = dy Wᵀ near that of dy on the way down (1/O would).
    For tanh and linear layers.  Glorot and Bengio 2010, eq. 16 (uniform)."""
    limit = np.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-limit, limit, (inputs, outputs))


def he(inputs: int, outputs: int, rng: Generator) -> np.ndarray:
    """Var W = 2 / I: relu zeroes half of its inputs, so twice the variance keeps the signal's size.
    He et al. 2015, eq. 10 (normal)."""
    return rng.standard_normal((inputs, outputs)) * np.sqrt(2.0 / inputs)


class Layer:
    """Anything with parameters.  They are found by walking the attributes."""

    def parameters(self, prefix: str = "") -> dict[str, Parameter]:
        """Every parameter at or below this layer, by its path: {"trunk.0.W": ..., ...}."""
        found: dict[str, Parameter] = {}
        for name, part in vars(self).items():
            if isinstance(part, Parameter):
                found[prefix + name] = part
            elif isinstance(part, Layer):
                found |= part.parameters(f"{prefix}{name}.")
        return found

    def learning(self) -> Self:
        """This network as it learns: itself, unless one of its layers learns from a whole batch (BatchNorm).

        Then it is a network of the same parameters, whose such layers look at the batch they are given and remember it.
        So `judge.learning()(x)` looks at the batch, and `judge(x)` at every row by itself, in the same step, too.
        """
        parts = {name: _learning(part) for name, part in vars(self).items()}
        if all(part is vars(self)[name] for name, part in parts.items()):
            return self
        new = copy.copy(self)
        vars(new).update(parts)
        return new

    def __call__(self, *inputs: Any, **constants: Any) -> tuple[Any, Pullback]:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")


def _learning(part: Any) -> Any:
    """A layer as it learns; several of them; anything else as it is."""
    if isinstance(part, Layer):
        return part.learning()
    if isinstance(part, tuple):
        several = tuple(map(_learning, part))
        return part if all(map(operator.is_, several, part)) else several
    return part


class Linear(Layer):
    """y = x W + b        (B, inputs) -> (B, outputs)

    rng and init draw W; b starts at zero.  Raises ValueError for a size below 1.
    """

    def __init__(self, inputs: int, outputs: int, *, rng: Generator, init: Initialiser = glorot) -> None:
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if size < 1:
                raise ValueError(f"Linear: {name} is {size}, expected at least 1")
        self.W = Parameter(init(inputs, outputs, rng))
        self.b = Parameter(np.zeros(outputs))

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = ops.linear(x, self.W.value, self.b.value)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            if not need_dp:
                return pull(dy, need_dx=need_dx, need_dp=False)[0]
            dx, dW, db = pull(dy, need_dx=need_dx, matmul=Product)
            self.W.add(dW)
            self.b.add(db)
            return dx

        return y, pullback


class Embedding(Layer):
    """y = table[codes]: a vector for each number        integers (…) -> (…, dimensions)

    rng draws the table, N(0, 1).  Raises ValueError for a size below 1.
    """

    def __init__(self, codes: int, dimensions: int, *, rng: Generator) -> None:
        at_least_one(codes=codes, dimensions=dimensions)
        self.table = Parameter(rng.standard_normal((codes, dimensions)))

    def __call__(self, *, codes: Array) -> tuple[Array, Pullback]:
        y, pull = ops.embedding(self.table.value, codes=codes)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> None:
            if need_dp:
                self.table.add(pull(dy, matmul=Product, add_up=Uses))

        return y, pullback


class Activation(Layer):
    """An op of one input as a layer: Activation(ops.tanh), Activation(ops.leaky_relu, slope=0.2)."""

    def __init__(self, op: Callable[..., tuple[Array, Pullback]], **constants: Any) -> None:
        self.op = op
        self.constants = constants

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull = self.op(x, **self.constants)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            return pull(dy) if need_dx else None

        return y, pullback


class Several(Layer):
    """Layers that belong together, by number.

    Raises ValueError for an empty list.
    """

    def __init__(self, *layers: Any) -> None:
        if not layers:
            raise ValueError(f"{type(self).__name__}: got no layers, expected at least one")
        self.layers = layers

    def parameters(self, prefix: str = "") -> dict[str, Parameter]:
        return {name: p for i, layer in enumerate(self.layers)
                for name, p in layer.parameters(f"{prefix}{i}.").items()}


class Sequential(Several):
    """y = fₙ(… f₂(f₁(x))): the chain rule is the same list, read backwards."""

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        pulls = []
        for layer in self.layers:
            x, pull = layer(x)
            pulls.append(pull)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            last = 0 if need_dx else self._first_to_learn()           # what comes before it has nobody to tell
            for pull in reversed(pulls[last + 1:]):
                dy = pull(dy, need_dp=need_dp)
            return pulls[last](dy, need_dx=need_dx, need_dp=need_dp)

        return x, pullback

    def _first_to_learn(self) -> int:
        return next((i for i, layer in enumerate(self.layers) if layer.parameters()), 0)


class Residual(Layer):
    """y = x + f(x)        (B, …) -> (B, …)        (He et al. 2016)"""

    def __init__(self, f: Layer) -> None:
        self.f = f

    def __call__(self, x: Array) -> tuple[Array, Pullback]:
        y, pull_f = self.f(x)

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            through = pull_f(dy, need_dx=need_dx, need_dp=need_dp)
            return dy + through if need_dx else None                  # x was used twice

        return x + y, pullback


def mlp(*sizes: int, rng: Generator, activation: str = "relu", last: bool = False) -> Sequential:
    """Linear layers of the given sizes with activations between: mlp(784, 400, 20, rng=rng).

    activation   "relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid" or "softplus"
    last         whether an activation also follows the last layer
    """
    ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: got {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    init = glorot if activation in ("tanh", "sigmoid") else he
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs, rng=rng, init=init), Activation(getattr(ops, activation))]
    return Sequential(*(layers if last else layers[:-1]))
