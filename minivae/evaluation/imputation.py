"""Missing pixels, filled in by a chain: explain the whole image, draw it anew, keep what was observed.

    ξ ~ q(ξ | x̃),     x̃_missing ~ p(x | ξ),     x̃_observed stays

Were q the true posterior, this would be Gibbs sampling of (ξ, x_missing) given x_observed, and x̃ would tend to a draw
of p(x_missing | x_observed), whatever it started from.  With the encoder's q it tends to something near.
Rezende, Mohamed and Wierstra 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.backend import Generator, to_numpy
from minivae.batch import Batch
from minivae.evaluation.bounds import over_parts
from minivae.vae import VAE


def impute(model: Any, x: np.ndarray, missing: np.ndarray, *, steps: int = 20, start: np.ndarray | None = None,
           seed: int = 0, record: Sequence[int] = (), progress: bool = False) -> np.ndarray:
    """Images whose missing pixels are E[x|ξ] for the last step's ξ        (N, X) -> (N, X)

    x         images (N, X); what lies in missing pixels is not looked at (it may be NaN)
    missing   True where a pixel is missing, (N, X) or (X,)
    start     what missing pixels hold at first, (N, X), (X,) or a number; None: a draw of the model, x ~ p(x|z)
    record    steps, such as (1, 5, 15): the images after each of these instead, (len(record), N, X)
    Observed pixels come back bit for bit.  Works for every VAE of the library; the same seed gives the same images.

    Raises ValueError or TypeError for bad arguments.
    """
    _check(model, x, missing, start, steps, seed, record)
    wanted, found = tuple(record) or (steps,), {}                              # step -> its images
    seeds = np.random.default_rng(seed).integers(2**31, size=steps + 1).tolist()
    if start is None:
        start = _from_the_model(model, x, seeds[0])
    filled = np.where(missing, start, x).astype(x.dtype)
    model.check(filled, "x, filled with start")
    for step in tqdm(range(1, max(wanted) + 1), disable=not progress, unit="step", desc="imputation"):
        drawn, means = _redraw(model, filled, seeds[step])
        if step in wanted:
            found[step] = np.where(missing, means, x).astype(x.dtype)
        filled = np.where(missing, drawn, x).astype(x.dtype)
    return np.stack([found[step] for step in record]) if record else found[steps]


def _redraw(model: VAE, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x' ~ p(x|ξ) and E[x|ξ] for ξ ~ q(ξ|x)        (N, X) -> (N, X) (N, X)"""
    def work(part: Batch, rng: Generator) -> tuple[np.ndarray, ...]:
        eps = rng.standard_normal((1, len(part), model.latents), dtype=model.dtype)
        outputs = model.decoder(model.posterior_samples(x=part.x, eps=eps)[0][0])[0]
        return to_numpy(model.likelihood.sample(outputs, rng)), to_numpy(model.likelihood.mean(outputs))

    drawn, means = zip(*over_parts(model, x, work, seed=seed))
    return np.concatenate(drawn), np.concatenate(means)


def _from_the_model(model: VAE, x: np.ndarray, seed: int) -> np.ndarray:
    """x ~ p(x|z), z ~ p(z), as many as there are images"""
    rng = model.device.rng(seed)
    z = model.prior.sample(len(x), rng, dtype=model.dtype)
    return to_numpy(model.likelihood.sample(model.decoder(z)[0], rng))


def _check(model: Any, x: Any, missing: Any, start: Any, steps: int, seed: int, record: Sequence[int]) -> None:
    if not isinstance(model, VAE):
        raise TypeError(f"model: got {type(model).__name__}, expected a VAE")
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or x.ndim != 2 or x.shape[1] != model.pixels or len(x) == 0:
        raise ValueError(f"x: got {getattr(x, 'dtype', type(x).__name__)} of shape {np.shape(x)}, "
                         f"expected floats of shape (N, {model.pixels}) with N at least 1")
    if not isinstance(missing, np.ndarray) or missing.dtype != bool or missing.shape not in (x.shape, x.shape[1:]):
        raise ValueError(f"missing: got {getattr(missing, 'dtype', type(missing).__name__)} of shape "
                         f"{np.shape(missing)}, expected bool of shape {x.shape} or {x.shape[1:]}")
    if start is not None and np.shape(start) not in ((), x.shape[1:], x.shape):
        raise ValueError(f"start: got shape {np.shape(start)}, expected {x.shape}, {x.shape[1:]} or ()")
    for name, value, least in (("steps", steps, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name}: got {value}, expected at least {least}")
    if any(not 1 <= step <= steps for step in record):
        raise ValueError(f"record: got {tuple(record)}, expected steps from 1 to {steps}")
