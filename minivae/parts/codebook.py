"""A codebook: vectors that have a number, and the nearest of them.

    k(z) = argminₖ ‖z − eₖ‖²,    e = e_k(z)                      van den Oord et al. 2017, eq. 1 and 2

The number is all that is kept of z.  It changes in jumps, so its derivative is 0 or nothing; the *straight-through*
estimator gives z what e heard, dz = de, as if quantising had added a constant.  Two things keep that honest: the code
words follow the vectors that choose them, and the encoder pays a commitment ‖z − e‖² for being far from its word.

The words do not learn by a gradient.  Each is the mean of the vectors that chose it lately: sums and counts of every
batch enter moving averages,

    Nₖ ← γ Nₖ + (1 − γ) nₖ,    mₖ ← γ mₖ + (1 − γ) Σ z,    eₖ = mₖ / Nₖ       van den Oord et al. 2017, eq. 6 to 8

m and N are parameters of a network whose optimizer is `nn.MovingAverage`, and what `tally` adds to their "gradients"
are these sums: so threads and processes add them up, checkpoints keep them, and a resumed run goes on with the same
words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback, array_module, at_least_one
from minivae.nn import Layer, Parameter
from minivae.nn.parameter import Product
from minivae.ops import one_hot

SMOOTH = 1e-5              # of a word's count: one that nobody chose is no division by zero (Laplace)


class Codebook(Layer):
    """(e, ‖z − e‖²) = codebook(z)        (B, H, W, D) -> (B, H, W, D) (B,)

    codes, dimensions   K words of D numbers
    Raises ValueError for a size below 1.
    """

    def __init__(self, codes: int, dimensions: int, *, rng: Generator) -> None:
        at_least_one(codes=codes, dimensions=dimensions)
        self.sums, self.counts = Parameter(rng.standard_normal((codes, dimensions))), Parameter(np.ones(codes))

    def words(self) -> Array:
        """e, (K, D)"""
        counts = self.counts.value
        smoothed = (counts + SMOOTH) * (counts.sum() / (counts.sum() + len(counts) * SMOOTH))
        return self.sums.value / smoothed[:, None]

    def nearest(self, z: Array) -> Array:
        """The number of the nearest word; of several the first        (…, D) -> (…)"""
        words, flat = self.words(), z.reshape(-1, z.shape[-1])
        distances = flat @ (-2.0 * words).T
        distances += (words * words).sum(axis=1)       # less ‖z‖², for all words alike
        return distances.argmin(axis=1).reshape(z.shape[:-1])

    def look_up(self, codes: Array) -> Array:
        """The words of these numbers        (…) -> (…, D)"""
        return self.words()[codes]

    def __call__(self, z: Array, *, held: tuple[Array, Array] | None = None) -> tuple[tuple[Array, Array], Pullback]:
        """held   (e, e − z) from before.  Then words are no longer chosen: what is left is the function z + constant,
                  whose derivative the straight-through estimator is

        Pulling back tallies what chose each word, as in other layers it adds to the parameters' gradients.
        """
        codes: Array | None = None
        if held:
            e, y = held[0], z + held[1]
        else:
            codes = self.nearest(z)
            e = y = self.look_up(codes)
        apart = z - e

        def pullback(de: Array, dcommitment: Array) -> Array:
            return de + 2.0 * apart * dcommitment[:, None, None, None]          # straight through; ∂‖z − e‖²/∂z

        def pull(de: Array, dcommitment: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            if need_dp and codes is not None:          # no derivative: what finite differences cannot see stands apart
                self.tally(z, codes=codes)
            return pullback(de, dcommitment)

        return (y, (apart * apart).sum(axis=(1, 2, 3))), pull

    def tally(self, z: Array, *, codes: Array) -> None:
        """Add what chose each word, its sum and its count, to what the moving averages take        (…, D) (…)"""
        flat = z.reshape(-1, z.shape[-1])
        chose = one_hot(codes.reshape(-1), classes=len(self.counts.value), dtype=z.dtype)
        self.sums.add(Product(chose.T, flat))
        self.counts.add(chose.sum(axis=0))

    def restart(self, z: Array, rng: Generator, *, least: float) -> None:
        """Words that were chosen less than `least` times a batch, lately, become vectors drawn from z (…, D).

        (Dhariwal et al. 2020 do so with a count of 1; with `least` infinite all words are drawn: where they start.)
        """
        flat, counts = z.reshape(-1, z.shape[-1]), self.counts.value
        drawn = flat[rng.integers(len(flat), size=len(counts))]
        dead = counts < least
        usual = array_module(z).maximum(counts.mean(), 1.0)
        self.sums.value[...] = np.where(dead[:, None], usual * drawn, self.sums.value)
        counts[...] = np.where(dead, usual, counts)


def perplexity(counts: Any) -> Any:
    """exp of the entropy of how often each word was chosen: as many words would be in use if all were chosen alike

    Between 1 and K.  Of a small batch it says little: it is at most the number of choices.
    """
    p = counts / counts.sum()
    return np.exp(-(p * np.log(np.where(p > 0, p, 1.0))).sum())
