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
            return self._with(nn.LSTM(layer.inputs, layer.units), bias_ih_l0=self.weight(layer.b, swapped, swapped),
                              bias_hh_l0=nn.Parameter(torch.zeros(4 * layer.units)),
                              weight_ih_l0=self.weight(layer.W, turned, turned_back),
                              weight_hh_l0=self.weight(layer.U, turned, turned_back))
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


def swapped(a: Array) -> Array:
    """The gates i, f, o, g as i, f, g, o, and back"""
    i, f, o, g = np.split(a, 4, axis=-1)
    return np.concatenate([i, f, g, o], axis=-1)


def turned(a: Array) -> Array:
    """(I, 4H) as PyTorch's (4H, I)"""
    return swapped(a).T


def turned_back(a: Array) -> Array:
    """And back"""
    return swapped(a.T)


def transposed(a: Array) -> Array:
    """aᵀ"""
    return a.T
