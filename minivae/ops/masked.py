"""Convolutions that see a part of their window: those of autoregressive models, which must not see what comes later.

A masked convolution (van den Oord et al. 2016) is one whose kernel is zero at some places.  Here these places are left
out instead: `taps` lists the others, as (down, right) from the pixel that is computed, and each has its own matrix in
W (n, C, F).  Nothing is multiplied by zero, and no zero must be kept zero.   Images are (B, H, W, C).
"""

from __future__ import annotations

from minivae.backend import Array, Pullback
from minivae.ops.dense import Cotangents
from minivae.ops.patches import Patches, Taps, correlate, heard_by_all


def masked_conv2d(x: Array, W: Array, b: Array, *, taps: Taps) -> tuple[Array, Pullback]:
    """y[i, j] = Σₙ x[i + downₙ, j + rightₙ] W[n] + b        (B, H, W, C) (n, C, F) (F,) -> (B, H, W, F)

    Outside of the image x is zero.
    Raises ValueError if the shapes do not fit.
    """
    if W.ndim != 3 or len(W) != len(taps):
        raise ValueError(f"masked_conv2d: W has shape {W.shape}, expected ({len(taps)}, C, F) for {len(taps)} taps")
    taps, (C, F) = tuple((down, right) for down, right in taps), W.shape[1:]
    if x.ndim != 4 or x.shape[3] != C:
        raise ValueError(f"masked_conv2d: x has shape {x.shape}, expected (B, H, W, {C}) for W of shape {W.shape}")
    if b.shape != (F,):
        raise ValueError(f"masked_conv2d: b has shape {b.shape}, expected ({F},) for W of shape {W.shape}")

    def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Cotangents:
        return heard_by_all(dy, x, W, taps=taps, need_dx=need_dx, need_dp=need_dp)

    return correlate(Patches(x, taps=taps, size=x.shape[1:3], beside=F), W, b), pullback
