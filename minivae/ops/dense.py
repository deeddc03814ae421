"""The layer of a fully connected network: a linear map, and the nonlinearities that follow it.

Shapes: B examples, I inputs, O outputs; activations work on any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minivae.backend import Array, Pullback, array_module
from minivae.fast import twin
from minivae.ops import kernels
from minivae.ops.kernels import fused
from minivae.ops.products import product

Cotangents = tuple[Array | None, Array | None, Array | None]       # dx, dW, db; None: nobody asked
Matmul = Callable[[Array, Array], Any]        # how dW is multiplied out: at once, or later (nn.parameter.Product)


def linear(x: Array, W: Array, b: Array) -> tuple[Array, Pullback]:
    """y = x W + b        (B, I) (I, O) (O,) -> (B, O)

    Raises ValueError if the shapes do not fit.
    """
    if x.ndim != 2 or x.shape[1:] != W.shape[:1]:
        raise ValueError(f"linear: x has shape {x.shape}, expected (B, {W.shape[0]}) for W of shape {W.shape}")
    if W.ndim != 2:
        raise ValueError(f"linear: W has shape {W.shape}, expected (I, O)")
    if b.shape != W.shape[1:]:
        raise ValueError(f"linear: b has shape {b.shape}, expected ({W.shape[1]},) for W of shape {W.shape}")

    def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True, matmul: Matmul = np.matmul) -> Cotangents:
        dx = product(dy, W.T) if need_dx else None    # nobody asks for the gradient of the data
        if not need_dp:                               # nor, where only z moves, for that of the parameters
            return dx, None, None
        dW = matmul(x.T, dy)
        return dx, dW, dy.sum(axis=0)                 # b was broadcast over B: sum over B

    y = product(x, W)
    y += b
    return y, pullback


@fused(kernels.relu)
@twin
def relu(x: Array) -> tuple[Array, Pullback]:
    """y = max(x, 0)"""
    zeros = array_module(x).zeros(x.shape[1:], x.dtype)
    y = np.maximum(x, zeros)                          # NumPy is twice as quick as with 0.0

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = 1 where x > 0, else 0
        return dy * (y > 0)

    return y, pullback


def leaky_relu(x: Array, *, slope: float = 0.01) -> tuple[Array, Pullback]:
    """y = x where x > 0, else slope · x        (Maas et al. 2013)

    Raises ValueError unless slope is in [0, 1].
    """
    if not 0.0 <= slope <= 1.0:
        raise ValueError(f"leaky_relu: slope is {slope}, expected a number in [0, 1]")

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = 1 or slope, whichever is more
        return dy * np.maximum(x > 0, slope, dtype=x.dtype)

    return np.maximum(x, slope * x), pullback         # NumPy is five times as quick as with where


def hardtanh(x: Array, *, low: float = -1.0, high: float = 1.0) -> tuple[Array, Pullback]:
    """y = x, clipped to [low, high]"""
    def pullback(dy: Array) -> Array:                 # ∂y/∂x = 1 inside, 0 where it was clipped
        return dy * ((x > low) & (x < high))

    return np.minimum(np.maximum(x, low), high), pullback


def elu(x: Array, *, alpha: float = 1.0) -> tuple[Array, Pullback]:
    """y = x where x > 0, else α (eˣ − 1)        (Clevert et al. 2015)"""
    below = alpha * np.expm1(np.minimum(x, 0.0))      # the minimum keeps eˣ from overflowing

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = 1, or α eˣ = y + α
        return np.where(x > 0, dy, (below + alpha) * dy)

    return np.where(x > 0, x, below), pullback


def gelu(x: Array) -> tuple[Array, Pullback]:
    """y = ½ x (1 + tanh u),   u = √(2/π) (x + 0.044715 x³)        (Hendrycks and Gimpel 2016, tanh form)"""
    c = math.sqrt(2.0 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x * x * x))

    def pullback(dy: Array) -> Array:                 # product rule; ∂tanh u/∂u = 1 − tanh² u
        du = c * (1.0 + 3 * 0.044715 * x * x)
        return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du)

    return 0.5 * x * (1.0 + t), pullback


@fused(kernels.tanh)
@twin
def tanh(x: Array) -> tuple[Array, Pullback]:
    """y = tanh x"""
    y = np.tanh(x)

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = 1 − y²
        dx = y * y
        np.subtract(1.0, dx, out=dx)
        dx *= dy
        return dx

    return y, pullback


def sigmoid(x: Array) -> tuple[Array, Pullback]:
    """y = 1 / (1 + e⁻ˣ)"""
    e = np.exp(-np.abs(x))                            # in (0, 1]: cannot overflow
    y = np.maximum(e, x >= 0, dtype=x.dtype) / (1.0 + e)         # eˣ / (1 + eˣ) is the same number: used for x < 0

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = y (1 − y), and 1 − y(x) = y(−x)
        return dy * e / ((1.0 + e) * (1.0 + e))

    return y, pullback


def softplus(x: Array) -> tuple[Array, Pullback]:
    """y = log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)"""
    e = np.exp(-np.abs(x))

    def pullback(dy: Array) -> Array:                 # ∂y/∂x = sigmoid(x)
        return dy * np.exp(np.minimum(x, 0.0)) / (1.0 + e)

    return np.maximum(x, 0.0) + np.log1p(e), pullback


def gated(x: Array) -> tuple[Array, Pullback]:
    """y = tanh(a) · sigmoid(g), where x = [a, g]: the second half says how much of the first goes on (…, 2C) -> (…, C)

    van den Oord et al. 2016 (Conditional image generation with PixelCNN decoders), eq. 2.  Both from hyperbolic
    tangents, sigmoid(g) = ½ + ½ tanh(g/2): exact to a rounding of 1, so gates below that are closed.
    """
    C = x.shape[-1] // 2
    t, gate = np.tanh(x[..., :C]), np.tanh(0.5 * x[..., C:])          # apart: NumPy is quicker where there are no gaps
    gate *= 0.5
    gate += 0.5
    y = t * gate

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(x)
        da = t * t                                    # ∂/∂a = (1 − tanh² a) · gate
        np.subtract(1.0, da, out=da)
        da *= gate
        np.multiply(da, dy, out=dx[..., :C])
        dg = 1.0 - gate                               # ∂/∂g = tanh(a) · gate (1 − gate)
        dg *= y
        np.multiply(dg, dy, out=dx[..., C:])
        return dx

    return y, pullback
