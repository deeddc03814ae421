"""A decoder as the steps that the page can run: one kind of step for each kind of layer.

A new kind of layer costs an entry in KINDS, which says what the page must be told of it, and a function of its name in
steps.js.  A layer with weights also says in quantise.py how its outputs are rows times a matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivae.backend import to_numpy
from minivae.nn import (
    Activation,
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Layer,
    Linear,
    Parameter,
    Planes,
    Reshape,
    Sequential,
)

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")      # as in steps.js
WEIGHTED = (Linear, Conv2d, ConvTranspose2d)           # these are rounded; BatchNorm's few numbers stay what they are
PART = 512                                             # draws that go through a layer at a time
Shape = tuple[int, ...]                                # of one example: (units,) or (height, width, channels)


def chain_of_layers(decoder: Any) -> list[Layer]:
    """The layers of a decoder from first to last, on the host, in float32, as they are outside of training.

    Raises ValueError, which names the layer, if the page does not know one.
    """
    if type(decoder) is Sequential:
        return [layer for part in decoder.layers for layer in chain_of_layers(part)]
    known = type(decoder) in KINDS
    name = f"layer of type {type(decoder).__name__}"
    if known and isinstance(decoder, Activation) and decoder.op.__name__ not in (*ACTIVATIONS, "upsample"):
        known, name = False, f"{name} of {decoder.op.__name__}"
    if not known:
        raise ValueError(f"model: its decoder has a {name}; the page can run only a Sequential of "
                         f"{', '.join(kind.__name__ for kind in KINDS)}, with the activations {', '.join(ACTIVATIONS)} "
                         "and upsample")
    return [with_values(decoder, **{name: host(parameter) for name, parameter in decoder.parameters().items()})]


def host(parameter: Parameter) -> np.ndarray:
    """Its value in NumPy, in float32."""
    return to_numpy(parameter.value).astype(np.float32)


def with_values(layer: Layer, **values: np.ndarray) -> Layer:
    """A layer like this one with these parameters, in their dtype, without an arena."""
    new = copy.copy(layer)
    for name, value in values.items():
        parameter = Parameter(0.0)
        parameter.value = value
        setattr(new, name, parameter)
    return new


def through(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The layer's outputs, some draws at a time: the patches of thousands would fill the memory."""
    return np.concatenate([layer(x[i:i + PART])[0] for i in range(0, len(x), PART)])


def shapes(chain: Sequence[Layer], latents: int) -> list[Shape]:
    """What goes into each layer, and last what comes out."""
    x = np.zeros((1, latents), np.float32)
    found: list[Shape] = [x.shape[1:]]
    for layer in chain:
        x = layer(x)[0]
        found.append(x.shape[1:])
    return found


def steps(chain: Sequence[Layer], latents: int) -> list[dict[str, Any]]:
    """Every layer as the page is told of it: its kind, a key of KINDS in steps.js, and its sizes and constants."""
    sizes = shapes(chain, latents)
    return [KINDS[type(layer)](layer, list(before), list(after))
            for layer, before, after in zip(chain, sizes, sizes[1:])]


def _linear(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
    return {"kind": "linear", "from": before, "to": after}


def _conv(kind: str) -> Callable[..., dict[str, Any]]:
    def said(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
        return {"kind": kind, "from": before, "to": after, "kernel": len(layer.W.value), "stride": layer.stride,
                "padding": layer.padding}
    return said


def _activation(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
    name = layer.op.__name__
    if name == "upsample":
        return {"kind": name, "from": before, "to": after, "factor": after[0] // before[0]}
    return {"kind": "activation", "name": name, "to": after, **layer.constants}


def _normalise(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
    return {"kind": "normalise", "to": after}


def _reshape(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
    return {"kind": "reshape", "to": after}


def _planes(layer: Any, before: list[int], after: list[int]) -> dict[str, Any]:
    return {"kind": "planes", "from": before, "to": after, "n": layer.n}


KINDS: dict[type, Callable[..., dict[str, Any]]] = {
    Linear: _linear, Conv2d: _conv("conv2d"), ConvTranspose2d: _conv("conv_transpose2d"), BatchNorm: _normalise,
    Reshape: _reshape, Planes: _planes, Activation: _activation,
}


def scale_and_shift(layer: Layer, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Outside of training BatchNorm is y = scale · x + shift, channel by channel: (channels,) each."""
    shift, both = layer(np.array([[0.0], [1.0]]).repeat(channels, axis=1))[0]
    return (both - shift).astype(np.float32), shift.astype(np.float32)
