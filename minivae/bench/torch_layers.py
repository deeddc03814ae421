"""PyTorch's modules for the library's layers, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minivae import nn as ours
from minivae.backend import Array

To = Callable[[Array], Array]
Layouts = dict[int, tuple[nn.Parameter, To]]           # by id of our parameter: PyTorch's, and how its gradient is ours


class Twins:
    """PyTorch's modules for the library's layers, with the same weights."""

    def __init__(self) -> None:
        self.layouts: Layouts = {}

    def weight(self, p: ours.Parameter, there: To, back: To) -> nn.Parameter:
        """A parameter of PyTorch's with our value; `there` and `back` change the layout."""
        theirs = nn.Parameter(torch.from_numpy(np.array(there(p.value), order="C")))
        self.layouts[id(p)] = theirs, back
        return theirs

    def of(self, layer: Any) -> nn.Module:
        """The module of a layer, and of those below it."""
        if isinstance(layer, ours.Sequential):
            return nn.Sequential(*map(self.of, layer.layers))
        if isinstance(layer, ours.Residual):
            return Residual(self.of(layer.f))
        if isinstance(layer, ours.Activation):
            slope = layer.constants.get("slope", 0.01)
            return {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(slope)}[layer.op.__name__]
        if isinstance(layer, ours.Embedding):
            K, D = layer.table.value.shape
            return self._with(nn.Embedding(K, D), weight=self.weight(layer.table, same, same))
        if isinstance(layer, ours.LSTM):
            return self._with(nn.LSTM(layer.inputs, layer.units), bias_ih_l0=self.weight(layer.b, flat_gates, gates),
                              bias_hh_l0=nn.Parameter(torch.zeros(4 * layer.units)),
                              weight_ih_l0=self.weight(layer.W, flat_gate_weights, gate_weights),
                              weight_hh_l0=self.weight(layer.U, flat_gate_weights, gate_weights))
        if isinstance(layer, ours.MaskedConv2d):
            return self._masked(layer)
        if isinstance(layer, ours.Linear):
            O, I = layer.W.value.T.shape
            return self._with(nn.Linear(I, O), weight=self.weight(layer.W, transposed, transposed),
                              bias=self.weight(layer.b, same, same))
        return self._convolution(layer)

    def _convolution(self, layer: Any) -> nn.Module:
        k, _, C, F_ = layer.W.value.shape
        kind, (inputs, outputs) = ((nn.Conv2d, (C, F_)) if isinstance(layer, ours.Conv2d)
                                   else (nn.ConvTranspose2d, (F_, C)))
        return self._with(kind(inputs, outputs, k, layer.stride, layer.padding),
                          weight=self.weight(layer.W, lambda a: a.transpose(3, 2, 0, 1),
                                             lambda a: a.transpose(2, 3, 1, 0)),
                          bias=self.weight(layer.b, same, same))

    def _masked(self, layer: Any) -> nn.Module:
        """Taps that fill a rectangle above or to the left: a small kernel on a picture that is moved."""
        downs, rights = (sorted({tap[i] for tap in layer.taps}) for i in (0, 1))
        n, C, F_ = layer.W.value.shape
        kernel = len(downs), len(rights)
        frame = -rights[0], max(rights[-1], 0), -downs[0], 0
        conv = self._with(nn.Conv2d(C, F_, kernel), bias=self.weight(layer.b, same, same), weight=self.weight(
            layer.W, lambda a: a.reshape(*kernel, C, F_).transpose(3, 2, 0, 1),
            lambda a: a.transpose(2, 3, 1, 0).reshape(n, C, F_)))
        return Moved(conv, frame)

    @staticmethod
    def _with(module: nn.Module, **parameters: nn.Parameter) -> nn.Module:
        for name, p in parameters.items():
            setattr(module, name, p)
        return module

    def gradients(self, parameters: dict[str, ours.Parameter]) -> dict[str, Array]:
        """PyTorch's gradients in our names and layouts, of those that it has."""
        return {name: np.array(back(theirs.grad.numpy())) for name, p in parameters.items()
                if id(p) in self.layouts for theirs, back in [self.layouts[id(p)]] if theirs.grad is not None}


class Residual(nn.Module):
    """x + f(x)"""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x + self.f(x)


class Moved(nn.Module):
    """A convolution of the picture with a frame of zeros, cut to the picture's size."""

    def __init__(self, conv: nn.Module, frame: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv, self.frame = conv, frame

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, F, H, W)"""
        return self.conv(F.pad(x, self.frame))[:, :, :x.shape[2], :x.shape[3]]


def same(a: Array) -> Array:
    """a"""
    return a


THEIR_ORDER = [0, 1, 3, 2]             # of an LSTM's gates: i, f, g, o; the same again gives ours


def flat_gates(b: Array) -> Array:
    """(4, H) as PyTorch's (4H,)"""
    return b[THEIR_ORDER].ravel()


def gates(b: Array) -> Array:
    """And back"""
    return b.reshape(4, -1)[THEIR_ORDER]


def flat_gate_weights(W: Array) -> Array:
    """(4, I, H) as PyTorch's (4H, I)"""
    return W[THEIR_ORDER].swapaxes(1, 2).reshape(-1, W.shape[1])


def gate_weights(W: Array) -> Array:
    """And back"""
    return W.reshape(4, -1, W.shape[1])[THEIR_ORDER].swapaxes(1, 2)


def transposed(a: Array) -> Array:
    """aᵀ"""
    return a.T
