"""From a decoder's outputs to ink on the page: the mean of p(x|z) in units in which 0 is blank paper and 1 full ink."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from minivae.explorer.steps import host
from minivae.parts import Bernoulli, Gaussian, GaussianPixel, Likelihood, Logistic


def on_the_host(p_x: Likelihood) -> Likelihood:
    """A copy of p(x|z) in NumPy."""
    p_x = copy.deepcopy(p_x)
    for parameter in p_x.parameters().values():
        parameter.value = host(parameter)
    return p_x


def ink_of(p_x: Likelihood, outputs: np.ndarray, low: float, high: float,
         ) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """How outputs become ink, 0 at `low` and 1 at `high`: for decoder.js and for us.

    ink = (E[x|z] − low) / (high − low), where E[x|z] is that of a likelihood that decoder.js knows by name, or scaled
    and shifted, for data in other units.
    """
    inner, scale, shift = _unwrapped(p_x, outputs)
    said = _mean(inner) | {"scale": scale / (high - low), "shift": (shift - low) / (high - low)}
    return said, lambda outputs: (said["shift"] + said["scale"] * inner.mean(outputs)).astype(np.float32)


def _unwrapped(p_x: Likelihood, outputs: np.ndarray) -> tuple[Likelihood, float, float]:
    """The likelihood inside another one that only gives its data other units: E[x|z] = scale · inner's + shift.

    What the other one calls them it need not say: a line through both means shows them.
    """
    inside = [part for part in vars(p_x).values() if isinstance(part, Likelihood)]
    if len(inside) != 1:
        return p_x, 1.0, 0.0
    inner, scale, shift = _unwrapped(inside[0], outputs)
    theirs, ours = (np.asarray(one.mean(outputs), np.float64).ravel() for one in (inside[0], p_x))
    a, b = np.polyfit(theirs, ours, 1)
    if np.abs(a * theirs + b - ours).max() > 1e-4 * np.ptp(ours):
        raise ValueError(f"model: the page does not know the mean of a {type(p_x).__name__}: it is not that of the "
                         f"{type(inside[0]).__name__} inside, scaled and shifted")
    return inner, float(a * scale), float(a * shift + b)


def _mean(p_x: Likelihood) -> dict[str, Any]:
    """How outputs become E[x|z]: a name that decoder.js knows, and its constants."""
    if isinstance(p_x, Bernoulli):
        return {"name": "bernoulli"}
    if isinstance(p_x, (Gaussian, GaussianPixel)):
        return {"name": "gaussian"}
    if isinstance(p_x, Logistic):
        shared = [float(parameter.value) for parameter in p_x.parameters().values()]
        return {"name": "logistic", "logscale": shared[0] if shared else None}     # None: the other half of the outputs
    raise ValueError(f"model: the page does not know the mean of a {type(p_x).__name__}")


def slopes(ink: Callable[[np.ndarray], np.ndarray], outputs: np.ndarray, pixels: int) -> np.ndarray:
    """∂ink/∂output for each output by itself (N, outputs): pixel i depends on the outputs i, X + i, … alone."""
    found = np.empty(outputs.shape)
    for first in range(0, outputs.shape[1], pixels):
        h = np.zeros(outputs.shape[1])
        h[first:first + pixels] = 0.01
        found[:, first:first + pixels] = ((ink(outputs + h) - ink(outputs - h)) / 0.02)[:, :pixels]
    return found
