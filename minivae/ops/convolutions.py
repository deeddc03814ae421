"""Convolutions as matrix products; larger and smaller images.

Images are (B, H, W, C): the channels of a pixel lie side by side, so that a patch of k×k pixels is k runs of k·C
numbers, and a convolution is one product of all patches with one matrix.  Weights are (k, k, C, F), where C are the
channels of the larger image, F the filters of the smaller one.  The laws are those of ops.

`conv2d` is linear in x.  Its adjoint, ⟨conv x, y⟩ = ⟨x, convᵀ y⟩, is `conv_transpose2d` with the same weights: each is
the other's pullback.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback
from minivae.ops.dense import Cotangents
from minivae.ops.patches import Patches, correlate, heard_by_all, heard_by_bias, heard_by_both, heard_by_weights, window
from minivae.ops.products import by_lines


def conv2d(x: Array, W: Array, b: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Pullback]:
    """y[i, j] = Σₜᵤ x[s·i + t − p, s·j + u − p] W[t, u] + b        (B, H, W, C) (k, k, C, F) (F,) -> (B, H', W', F)

    with H' = ⌊(H + 2p − k) / s⌋ + 1.  Outside the image x is zero.
    Raises ValueError if the shapes do not fit.
    """
    k = _check("conv2d", x, W, b, "C", stride, padding)[0]
    if min(x.shape[1:3]) + 2 * padding < k:
        raise ValueError(f"conv2d: x has shape {x.shape}, expected images of at least {k - 2 * padding} pixels a side")
    size = [(n + 2 * padding - k) // stride + 1 for n in x.shape[1:3]]
    taps = window(k, -padding)
    seen = Patches(x, taps=taps, size=size, stride=stride, beside=W.shape[-1])

    def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Cotangents:
        if stride == 1 and need_dx:
            return heard_by_all(dy, x, W, taps=taps, need_dx=True, need_dp=need_dp)
        dx = _spread(dy, W, stride, padding, x.shape) if need_dx else None
        if not need_dp:
            return dx, None, None
        return dx, heard_by_weights(dy, seen).reshape(W.shape), heard_by_bias(dy)

    return correlate(seen, W, b), pullback


def conv_transpose2d(x: Array, W: Array, b: Array, *, stride: int = 1, padding: int = 0,
                     extra: int = 0) -> tuple[Array, Pullback]:
    """y[s·i + t − p, s·j + u − p] += x[i, j] W[t, u]ᵀ, and y += b     (B, H', W', F) (k, k, C, F) (C,) -> (B, H, W, C)

    Every pixel of x lays down a patch; patches overlap, and add.  The adjoint of conv2d with the same W.
    H = s (H' − 1) + k − 2p + extra: conv2d gives H' for each extra = 0 … s − 1, and one must say which was meant.
    Raises ValueError if the shapes do not fit.
    """
    k, _, C, _ = _check("conv_transpose2d", x, W, b, "F", stride, padding)
    if not 0 <= extra < stride:
        raise ValueError(f"conv_transpose2d: extra is {extra}, expected 0 … {stride - 1}, less than the stride")
    height, width = (stride * (n - 1) + k - 2 * padding + extra for n in x.shape[1:3])
    if min(height, width) < 1:
        raise ValueError(f"conv_transpose2d: padding {padding} cuts away everything of an image of shape {x.shape}")

    def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Cotangents:
        taps = window(k, -padding)                     # of dy each pixel of x hears what conv2d would see there
        dx, dW = heard_by_both(dy, x, W, taps=taps, stride=stride, need_dx=need_dx, need_dp=need_dp)
        return dx, dW, heard_by_bias(dy) if need_dp else None

    y = _spread(x, W, stride, padding, (len(x), height, width, C))
    y += b
    return y, pullback


def upsample(x: Array, *, factor: int = 2) -> tuple[Array, Pullback]:
    """Every pixel becomes factor × factor equal ones        (B, H, W, C) -> (B, f·H, f·W, C)"""
    B, H, W, C = _images("upsample", x)

    def pullback(dy: Array) -> Array:                      # a pixel was used factor² times: derivatives add
        return dy.reshape(B, H, factor, W, factor, C).sum(axis=(2, 4))

    return np.repeat(np.repeat(x, factor, axis=1), factor, axis=2), pullback


def average_pool(x: Array, *, factor: int = 2) -> tuple[Array, Pullback]:
    """The mean of every factor × factor pixels        (B, H, W, C) -> (B, H/f, W/f, C)

    Raises ValueError unless factor divides H and W.
    """
    B, H, W, C = _images("average_pool", x)
    if H % factor or W % factor:
        raise ValueError(f"average_pool: images of {H}×{W} pixels do not divide by {factor}")

    def pullback(dy: Array) -> Array:                      # ∂y/∂x = 1/factor² for each of its pixels
        return np.repeat(np.repeat(dy / factor**2, factor, axis=1), factor, axis=2)

    return x.reshape(B, H // factor, factor, W // factor, factor, C).mean(axis=(2, 4)), pullback


def _spread(y: Array, W: Array, stride: int, padding: int, shape: tuple[int, ...]) -> Array:
    """The adjoint of `correlate` for images of this shape        (B, H', W', F) -> (B, H, W, C)

    Written as scattering, patches would be added onto overlapping places.  But a pixel at s·q + a hears only those
    W[a + s·m] whose patch began m places before: so gather, for each q, the m = 0 … ⌈k/s⌉ − 1 outputs behind it.  Every
    s-th line of x has the same a: of these one product makes s neighbouring pixels for each place.
    """
    (k, _, C, F), (B, H, width, _), s = W.shape, shape, stride
    if C == 1:                                                            # a product of few columns: scatter instead
        return _scatter(y, W, stride, padding, shape)
    M, first, cut = -(-k // s), padding // s, padding % s
    down, right = (-(-(n + padding) // s) - first for n in (H, width))    # q = first … first + places − 1
    kernel = np.zeros_like(W, shape=(M * s, M * s, C, F))
    kernel[:k, :k] = W
    kernel = kernel.reshape(M, s, M, s, C, F)[::-1, :, ::-1]              # a window begins with the farthest behind
    kernel = kernel.transpose(1, 0, 2, 5, 3, 4).reshape(s, M * M * F, s * C)
    seen = Patches(y, taps=window(M, first - (M - 1)), size=(down, right), beside=2 * s * C)
    if s == 1:                                                            # all lines are of one kind
        return correlate(seen, kernel[0])
    x = np.empty_like(y, shape=shape, order="C")
    lines = x.reshape(B, H, width * C)
    for some, rows in seen:
        rows = rows.reshape(-1, down, right, M * M * F)
        for line in range(min(s, H)):                                     # s·q + a − cut, from its first q on
            q, a = divmod(line + cut, s)
            heard = (M + (a - k) // s) * M * F                            # before: W[a + s·m] that are beyond k, and 0
            made = by_lines(rows[:, q:q + -(-(H - line) // s), :, heard:], kernel[a, heard:])
            lines[some, line::s] = made.reshape(*made.shape[:2], -1)[:, :, cut * C:(cut + width) * C]
    return x


def _scatter(y: Array, W: Array, stride: int, padding: int, shape: tuple[int, ...]) -> Array:
    """The same, tap by tap: all patches' pixels (t, u) are added at once, s apart."""
    (k, _, C, F), (B, H, width, _) = W.shape, shape
    _, rows, columns, _ = y.shape
    patches = (y.reshape(-1, F) @ W.reshape(-1, F).T).reshape(B, rows, columns, k, k, C)
    size = [max(n + 2 * padding, stride * (m - 1) + k) for n, m in zip((H, width), (rows, columns))]
    x = np.zeros_like(y, shape=(B, *size, C))
    for t in range(k):
        for u in range(k):
            x[:, t:t + stride * rows:stride, u:u + stride * columns:stride] += patches[:, :, :, t, u]
    return x[:, padding:padding + H, padding:padding + width].copy()


def _images(name: str, x: Array) -> tuple[int, ...]:
    """Raise unless x is (B, H, W, C); return its shape."""
    if x.ndim != 4:
        raise ValueError(f"{name}: x has shape {x.shape}, expected images (B, H, W, C)")
    return x.shape


def _check(name: str, x: Array, W: Array, b: Array, channels: str, stride: int, padding: int) -> tuple[int, ...]:
    """Raise unless x (B, H, W, `channels`), W (k, k, C, F) and b fit; return W's shape."""
    if W.ndim != 4 or W.shape[0] != W.shape[1]:
        raise ValueError(f"{name}: W has shape {W.shape}, expected (k, k, C, F)")
    inside, outside = (W.shape[2], W.shape[3]) if channels == "C" else (W.shape[3], W.shape[2])
    if x.ndim != 4 or x.shape[3] != inside:
        raise ValueError(f"{name}: x has shape {x.shape}, expected (B, H, W, {inside}) for W of shape {W.shape}")
    if b.shape != (outside,):
        raise ValueError(f"{name}: b has shape {b.shape}, expected ({outside},) for W of shape {W.shape}")
    if stride < 1 or padding < 0:
        raise ValueError(f"{name}: got stride {stride} and padding {padding}, expected at least 1 and 0")
    return W.shape
