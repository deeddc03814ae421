"""How good is a model?  The test ELBO, the importance-weighted bound, active units.

All are lower bounds on log p(x), or statements about q, in nats per image.  They run in chunks:
memory does not grow with the number of images or samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, to_numpy
from minivae.ops import logsumexp
from minivae.runs import Model

ROWS = 2000        # images × samples that go through the decoder at once: a few MB


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


def evaluate(model: Model, x: np.ndarray, *, samples: int = 1, seed: int = 0) -> Evaluation:
    """The ELBO of images (N, X) with `samples` draws of z each.  Raises ValueError if there are none."""
    rng = model.arena.device.rng(seed)
    parts = [[to_numpy(term) for term in model.terms(part, rng, samples)] for part in _parts(model, x, samples)]
    nll, kl = (np.concatenate(term).astype(np.float64) for term in zip(*parts))
    return Evaluation(Estimate.of(-(nll + kl)), Estimate.of(nll), Estimate.of(kl), len(nll))


def importance_weighted_bound(model: Model, x: np.ndarray, *, samples: int = 5000, seed: int = 0,
                              progress: bool = False) -> Estimate:
    """log (1/K) Σₖ p(x, zₖ) / q(zₖ|x),  zₖ ~ q(z|x), averaged over images: ELBO at K = 1, log p(x) as K → ∞

    Burda et al. 2015, eq. 8.  Its negative is what papers call the NLL.
    Raises ValueError if there are no images, or samples < 1.
    """
    if samples < 1:
        raise ValueError(f"samples: got {samples}, expected at least 1")
    rng, bounds = model.arena.device.rng(seed), []
    at_once = min(samples, 100)
    parts = tqdm(_parts(model, x, at_once), total=-(-len(x) // _size(at_once)), disable=not progress, unit="part",
                 desc=f"IW({samples})")
    for part in parts:
        total = None
        for done in range(0, samples, at_once):
            weights = model.log_weights(part, rng, min(at_once, samples - done))       # (K, B)
            chunk = logsumexp(weights.T)[0].astype(np.float64)
            total = chunk if total is None else np.logaddexp(total, chunk)
        bounds.append(to_numpy(total) - np.log(samples))
    return Estimate.of(np.concatenate(bounds))


def latent_variances(model: Model, x: np.ndarray) -> np.ndarray:
    """Var over images of the posterior mean of each latent        (N, X) -> (Z,)"""
    means = [to_numpy(model.encode(part)[0]) for part in _parts(model, x, 1)]
    return np.concatenate(means).astype(np.float64).var(axis=0)


def active_units(model: Model, x: np.ndarray, *, threshold: float = 0.01) -> np.ndarray:
    """Which latents the encoder uses: Var over images of E[z|x] above 0.01        -> (Z,) bool

    Burda et al. 2015, section 5.2.
    """
    return latent_variances(model, x) > threshold


def _parts(model: Model, x: np.ndarray, samples: int) -> Iterator[Array]:
    """The images in chunks of about ROWS rows of work, on the model's device and in its dtype."""
    if samples < 1:
        raise ValueError(f"samples: got {samples}, expected at least 1")
    model.check_images(x)
    size, arena = _size(samples), model.arena
    for start in range(0, len(x), size):
        yield arena.device.asarray(x[start:start + size], dtype=arena.value.dtype)


def _size(samples: int) -> int:
    """How many images go into a chunk."""
    return max(1, ROWS // samples)
