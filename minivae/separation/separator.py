"""The alternation: each source's model learns from what W gives it, then the source's row of W learns from the model.

A model of a source is anything that has

    variance                   v, (F, N), as it says now
    learn(power)               climb −Σ (log v + power / v), and never fall        power |y|², (F, N)

so that ILRMA (with Patterns) and the MVAE (with Voices) are one algorithm, and each step of both is a step up the same
objective (Kitamura et al. 2016; Kameoka et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from minivae.backend import Array, Generator, at_least_one
from minivae.separation.demixing import demix, log_likelihood, project, project_back
from minivae.separation.nmf import Patterns

RIDGE = 1e-8                           # of mixtures whose mean power is 1: a microphone's noise, 80 dB below it
Watch = Callable[[str, float], None]


class Source(Protocol):
    """What knows how loud a source is, frequency by frequency and frame by frame."""

    @property
    def variance(self) -> Array: ...

    def learn(self, power: Array) -> None: ...


@dataclass(frozen=True)
class Separation:
    """What was found: y(f, n) = W(f) x(f, n), as the first microphone hears it, and the objective sweep by sweep.

    W           (F, J, J), not projected back: where another alternation can go on
    sources     y, (J, F, N): they add up to the first microphone
    objective   log p(x) after each sweep (less the ridge's charge), in nats
    """

    W: Array
    sources: Array
    objective: list[float]


def separate(x: Array, models: Sequence[Source], *, sweeps: int, W: Array | None = None,
             watch: Watch | None = None, ridge: float = RIDGE) -> Separation:
    """Take a mixture apart        x (J, F, N), as many channels as models

    W       where to begin; None: every microphone hears one source
    watch   watch(step, objective) after every single step, "learn" or "project"
    Raises ValueError for arrays that do not fit, or a silent mixture.
    """
    at_least_one(sweeps=sweeps)
    unmixed, objective = check_mixture(x, len(models)), []
    W = unmixed if W is None else W

    def now(W: Array) -> float:
        return log_likelihood(W, x, np.stack([model.variance for model in models]), ridge=ridge)

    for _ in range(sweeps):
        for row, model in enumerate(models):
            model.learn(np.abs(demix(W[:, row:row + 1], x)[0]) ** 2)
            if watch:
                watch("learn", now(W))
            W = project(W, x, model.variance, row=row, ridge=ridge)
            if watch:
                watch("project", now(W))
        objective.append(now(W))
    return Separation(W, demix(project_back(W), x), objective)


def ilrma(x: Array, *, rng: Generator, patterns: int = 2, sweeps: int = 50, watch: Watch | None = None) -> Separation:
    """Independent low-rank matrix analysis: every source is a few spectra that come and go        (J, F, N)

    patterns   K of each source: few, for the more there are, the more depends on the first ones
    Kitamura et al. 2016.
    """
    models = [Patterns(*x.shape[1:], patterns=patterns, rng=rng) for _ in x]
    return separate(x, models, sweeps=sweeps, watch=watch)


def check_mixture(x: Array, sources: int) -> Array:
    """W = I, (F, J, J).  Raises ValueError unless x is a mixture of so many channels that is not silent."""
    if x.ndim != 3 or len(x) != sources or x.dtype.kind != "c":
        raise ValueError(f"x: got {x.dtype} {x.shape}, expected complex ({sources}, frequencies, frames), a channel "
                         "for each source")
    if not np.abs(x).max(axis=(1, 2)).min() > 0.0:
        raise ValueError("x: one of its channels is silent")
    eye: Array = np.eye(len(x), dtype=complex)[None].repeat(x.shape[1], axis=0)
    return eye
