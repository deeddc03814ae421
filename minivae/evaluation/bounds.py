"""How good is a model?  The test ELBO, the importance-weighted bound, active units.

All are lower bounds on log p(x), or statements about q, in nats per image.  They run in chunks:
memory does not grow with the number of images or samples.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, Generator, at_least_one, to_numpy
from minivae.batch import Batch, as_batch
from minivae.nn import Data, Model, team_on
from minivae.ops import logsumexp

R = TypeVar("R")
ROWS = {"cpu": 400, "cuda": 20_000}        # images × samples of a part, which has random numbers of its own
DRAWS = {"cpu": 1000, "cuda": 20_000}      # of one image at once: a model asks its encoder once for all of them


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its standard error (how far it would move with other test images)."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        values = np.asarray(values, dtype=np.float64)
        spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return cls(float(values.mean()), float(spread))

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.standard_error:.2f}"


@dataclass(frozen=True)
class Evaluation:
    """The ELBO of a set of images and its two terms: elbo = −(nll + kl)."""

    elbo: Estimate
    nll: Estimate
    kl: Estimate
    images: int

    def __str__(self) -> str:
        return f"ELBO {self.elbo} nats = −(nll {self.nll} + kl {self.kl}), {self.images:,} images"


def evaluate(model: Model, x: Data, *, samples: int = 1, seed: int = 0) -> Evaluation:
    """The ELBO of images (N, X), or of a Batch of whatever the model needs, with `samples` draws of z each.

    Raises ValueError if there are none, or if the model needs what they lack.
    """
    nll, kl = terms_by_image(model, x, samples=samples, seed=seed)
    return Evaluation(Estimate.of(-(nll + kl)), Estimate.of(nll), Estimate.of(kl), len(nll))


def terms_by_image(model: Model, x: Data, *, samples: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """nll and kl of every image: its ELBO is −(nll + kl)        -> (N,) (N,)

    Two models are compared by `Estimate.of(one − other)`, image by image.
    """
    def terms(part: Batch, rng: Generator) -> tuple[np.ndarray, ...]:
        return tuple(to_numpy(term).astype(np.float64) for term in model.terms(part, rng, samples))

    nll, kl = (np.concatenate(term) for term in zip(*over_parts(model, x, terms, samples=samples, seed=seed)))
    return nll, kl


def importance_weighted_bound(model: Model, x: Data, *, samples: int = 5000, seed: int = 0,
                              progress: bool = False) -> Estimate:
    """`log_likelihoods`, averaged over images.  Its negative is what papers call the NLL."""
    return Estimate.of(log_likelihoods(model, x, samples=samples, seed=seed, progress=progress))


def log_likelihoods(model: Model, x: Data, *, samples: int = 5000, seed: int = 0,
                    progress: bool = False) -> np.ndarray:
    """log (1/K) Σₖ p(x, zₖ) / q(zₖ|x),  zₖ ~ q(z|x), of every image: ELBO at K = 1, log p(x) as K → ∞        -> (N,)

    Burda et al. 2015, eq. 8.  Two models are compared by `Estimate.of(one − other)`, image by image.
    Raises ValueError if there are no images, or samples < 1.
    """
    return log_mean_weights(model.log_weights, model, x, samples=samples, seed=seed, progress=progress)


def log_mean_weights(log_weights: Callable[[Batch, Generator, int], Array], model: Model, x: Data, *, samples: int,
                     seed: int = 0, progress: bool = False) -> np.ndarray:
    """log (1/K) Σₖ wₖ of every example, of any weights: log_weights(part, rng, K) -> (K, B)        -> (N,)

    In chunks of draws and of examples: memory grows with neither.  Raises ValueError as `log_likelihoods`.
    """
    at_least_one(samples=samples)
    at_once = -(-samples // -(-samples // DRAWS[model.device.name]))             # in equal chunks

    def bounds(part: Batch, rng: Generator) -> np.ndarray:
        total = None
        for done in range(0, samples, at_once):
            weights = log_weights(part, rng, min(at_once, samples - done))             # (K, B)
            chunk = logsumexp(weights.T)[0].astype(np.float64)
            total = chunk if total is None else np.logaddexp(total, chunk)
        return to_numpy(total) - np.log(samples)

    label = f"IW({samples})" if progress else ""
    return np.concatenate(over_parts(model, x, bounds, samples=at_once, seed=seed, label=label))


def posterior_means(model: Any, x: Data) -> np.ndarray:
    """E[z|x] of every image, on the host        (N, X) -> (N, Z) float64"""
    means = over_parts(model, x, lambda part, rng: to_numpy(model.encode(part)[0]))
    return np.concatenate(means).astype(np.float64)


def latent_variances(model: Any, x: Data) -> np.ndarray:
    """Var over images of the posterior mean of each latent        (N, X) -> (Z,)"""
    return posterior_means(model, x).var(axis=0)


def active_units(model: Any, x: Data, *, threshold: float = 0.01) -> np.ndarray:
    """Which latents the encoder uses: Var over images of E[z|x] above 0.01        -> (Z,) bool

    Burda et al. 2015, section 5.2.
    """
    return latent_variances(model, x) > threshold


def over_parts(model: Model, x: Data, work: Callable[[Batch, Generator], R], *, samples: int = 1,
               seed: int = 0, label: str = "") -> list[R]:
    """work(part, rng) for every part of the data, in their order; the threads take parts in turn.

    A part is a batch of about ROWS rows of work, on the model's device and in its dtype, and has random numbers of its
    own: the results do not depend on the number of threads.
    """
    at_least_one(samples=samples)
    model.check(x)
    data, device = as_batch(x), model.device
    size, team = max(1, ROWS[device.name] // samples), team_on(device)
    starts = range(0, len(data), size)

    def one(i: int) -> R:
        part = data[starts[i]:starts[i] + size]
        return work(part.on(device, model.dtype), device.rng([seed, i]))

    results: dict[int, R] = {}
    still = getattr(model, "still", nullcontext)       # whoever has no prior need not say so
    with still(), tqdm(total=len(starts), disable=not label, unit="part", desc=label) as bar:
        left, lock = iter(range(len(starts))), Lock()

        def following() -> int | None:
            with lock:                                 # a Python without a GIL may give a number to two threads
                return next(left, None)

        def take(_: int) -> None:                      # whoever is free takes the next part: nobody waits for another
            try:
                while (i := following()) is not None:
                    results[i] = one(i)
                    bar.update()
            finally:                                   # after an error nobody goes on; else none is left
                while following() is not None:
                    pass

        team.run(take, min(team.threads, len(starts)))
    return [results[i] for i in range(len(starts))]
