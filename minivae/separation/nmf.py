"""A source of few patterns: v = T V + ε, K spectra that come and go.  With it, demixing is ILRMA.

T (F, K) are spectra, V (K, N) says when each of them sounds.  −Σ (log v + |y|²/v) climbs by multiplication,

    T ← T ∘ √( (P/v²) Vᵀ / (1/v) Vᵀ ),     V ← V ∘ √( Tᵀ (P/v²) / Tᵀ (1/v) ),        P = |y|²

a majoriser's minimum each time, so that it never falls (Févotte and Idier 2011, β = 0: the Itakura-Saito divergence;
Kitamura et al. 2016, without their partitioning function).  ε is a pattern that does not learn: no v is below it, and
the proof is untouched.

Shapes: F frequencies, N frames, K patterns.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Generator, at_least_one

LEAST = 1e-6                           # ε: of mixtures whose mean power is 1, 60 dB below it


class Patterns:
    """A source's power spectrogram as a product of two matrices of positive numbers.

    variance   v, (F, N)
    Raises ValueError for sizes below 1.
    """

    def __init__(self, frequencies: int, frames: int, *, patterns: int = 2, rng: Generator,
                 least: float = LEAST) -> None:
        at_least_one(frequencies=frequencies, frames=frames, patterns=patterns)
        self.spectra = rng.uniform(0.1, 1.0, (frequencies, patterns))
        self.activity = rng.uniform(0.1, 1.0, (patterns, frames))
        self.least = least

    @property
    def variance(self) -> Array:
        return self.spectra @ self.activity + self.least

    def learn(self, power: Array) -> None:
        """Spectra first, then when they sound        (F, N)"""
        T, V, v = self.spectra, self.activity, self.variance
        T = T * np.sqrt((power / v**2) @ V.T / ((1.0 / v) @ V.T))
        v = T @ V + self.least
        V = V * np.sqrt(T.T @ (power / v**2) / (T.T @ (1.0 / v)))
        self.spectra, self.activity = T, V
