"""The change of variables: maps that say how much they stretch space.

If y = g(z) is invertible and differentiable, densities go along with it:  log p(y) = log p(z) − log |det ∂y/∂z|.
So such a map returns both, `(y, logdet), pullback = map(z, …)`, and its pullback takes both back: dz gets a part from
dy, through the map, and a part from dlogdet, because how much space is stretched depends on the place.  Maps one after
the other multiply their determinants: their logdets add.

Rezende and Mohamed 2015; Dinh, Sohl-Dickstein and Bengio 2017.   Shapes: z and y (B, Z), logdet (B,).  Nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivae.backend import Array, Pullback, alike_rows
from minivae.ops import softplus

Mapped = tuple[Array, Array]           # y and logdet
STILL = math.log(math.e - 1.0)         # softplus(STILL) = 1: where a planar map with u = 0 is the identity


def affine(z: Array, mean: Array, logvar: Array) -> tuple[Mapped, Pullback]:
    """y = μ + σ z,   log |det| = ½ Σ log σ²: the reparameterization of chapter 9        (B, Z) ×3 -> (B, Z) (B,)"""
    alike_rows(z=z, mean=mean, logvar=logvar)
    std = np.exp(0.5 * logvar)
    scaled = std * z

    def pullback(dy: Array, dlogdet: Array) -> tuple[Array, Array, Array]:
        return std * dy, dy, 0.5 * (scaled * dy + dlogdet[:, None])

    return (mean + scaled, 0.5 * logvar.sum(axis=1)), pullback


def couple(z: Array, raw: Array, shift: Array) -> tuple[Mapped, Pullback]:
    """y = z exp(s) + shift,   s = 2 tanh(½ raw),   log |det| = Σ s        (B, Z) ×3 -> (B, Z) (B,)

    One half of an affine coupling: `raw` and `shift` come from a network that has seen the other half only, which is
    handed on as it is; so the Jacobian is triangular.  |s| < 2 keeps one step from stretching space without bound.
    """
    alike_rows(z=z, raw=raw, shift=shift)
    half = np.tanh(0.5 * raw)
    scale = np.exp(2.0 * half)

    def pullback(dy: Array, dlogdet: Array) -> tuple[Array, Array, Array]:
        ds = dy * z * scale + dlogdet[:, None]
        return dy * scale, ds * (1.0 - half * half), dy            # ∂s/∂raw = 1 − tanh²(½ raw)

    return (z * scale + shift, 2.0 * half.sum(axis=1)), pullback


def planar(z: Array, u: Array, w: Array, b: Array, *, offset: float = 0.0) -> tuple[Mapped, Pullback]:
    """y = z + û tanh(a),   a = wᵀz + b,   log |det| = log(1 + (1 − tanh² a) wᵀû)     (B, Z) ×3, (B, 1) -> (B, Z) (B,)

    It stretches space along û, around the plane wᵀz = −b.  Invertible if wᵀû > −1, so û is u, moved along w until
    wᵀû = m(wᵀu) = softplus(wᵀu + offset) − 1.   Rezende and Mohamed 2015, appendix A.1, with offset 0.
    There m(0) = −0.31: with u = 0 space is still squeezed, and û grows like 1/‖w‖.  With offset STILL m(0) = 0.
    """
    alike_rows(z=z, u=u, w=w)
    if b.shape != (len(z), 1):
        raise ValueError(f"planar: b has shape {b.shape}, expected {(len(z), 1)}")
    square = (w * w).sum(axis=1, keepdims=True) + 1e-12                               # ‖w‖²; we divide by it
    inner = (w * u).sum(axis=1, keepdims=True)
    rising, pull_rising = softplus(inner + offset)                                    # 1 + wᵀû
    along = (rising - 1.0 - inner) / square
    u_hat = u + along * w
    t = np.tanh((w * z).sum(axis=1, keepdims=True) + b)
    slope = 1.0 - t * t
    stretch = t * t + slope * rising                  # = 1 + slope · wᵀû, which would round to 0, or below, in float32

    def pullback(dy: Array, dlogdet: Array) -> tuple[Array, Array, Array, Array]:
        dstretch = dlogdet[:, None] / stretch
        du_hat = dy * t
        dt = (dy * u_hat).sum(axis=1, keepdims=True) + 2.0 * t * (1.0 - rising) * dstretch     # slope = 1 − t²
        da = slope * dt
        dalong = (du_hat * w).sum(axis=1, keepdims=True)
        dinner = pull_rising(dalong / square + slope * dstretch) - dalong / square
        dsquare = -dalong * along / square
        dw = da * z + along * du_hat + dinner * u + 2.0 * dsquare * w                 # w is used four times
        return dy + da * w, du_hat + dinner * w, dw, da

    return (z + u_hat * t, np.log(stretch)[:, 0]), pullback


def chain(z: Array, *parameters: Array, maps: Sequence[tuple[Callable[..., Any], int]]) -> tuple[Mapped, Pullback]:
    """y = gₙ(… g₂(g₁(z))),   log |det ∂y/∂z| = Σᵢ log |det ∂gᵢ|: maps one after the other, which are a map again

    maps   (g, how many of the parameters are its own), in the order in which z goes through them
    Raises ValueError if the parameters are not as many as the maps take.
    """
    alike_rows(z=z)
    if sum(n for _, n in maps) != len(parameters):
        raise ValueError(f"chain: got {len(parameters)} parameters, expected {sum(n for _, n in maps)} for these maps")
    logdet, pulls, left = np.zeros_like(z[:, 0]), [], parameters
    for g, n in maps:
        own, left = left[:n], left[n:]
        (z, more), pull = g(z, *own)
        logdet = logdet + more
        pulls.append(pull)

    def pullback(dy: Array, dlogdet: Array) -> tuple[Array, ...]:
        carried: tuple[Array, ...] = (dy,)            # dz so far, then dparameters
        for pull in reversed(pulls):                  # the last map first; all of them added to logdet
            carried = pull(carried[0], dlogdet) + carried[1:]
        return carried

    return (z, logdet), pullback
