"""How near are generated images to real ones?  Fréchet distance, precision and recall, on features of both.

    FD = ‖m₁ − m₂‖² + tr( C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½ )

is the squared Fréchet distance of the Gaussians N(m₁, C₁), N(m₂, C₂) fitted to them (Dowson and Landau 1982).
Heusel et al. 2017 take the features of an Inception network and call it FID; ours are of `evaluation.classifier`, and
the numbers have nothing to do with each other.  For the scale, sample_quality(digits.train[:1000], digits.test): 0.22,
and of 10,000 of MNIST's training images beside its test images 0.06 where they are spread evenly over the file, 0.13
where they are its first.  (The classifier has seen all of these but MNIST's test images.)

It is biased: from N images each, covariances are noisy, and FD is too large, by about b/N, with a b that depends on the
model (Chong and Forsyth 2020).  So numbers compare only at the same N, and both sets must have equally many images;
`frechet_by_count` shows how it falls with N, `frechet_limit` goes on to 1/N = 0.

One number cannot say whether images are bad or all alike.  Precision (the share of generated images that lie among the
real ones) and recall (the share of real images that lie among the generated) can.   Kynkäänniemi et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import at_least_one
from minivae.evaluation.classifier import digit_features
from minivae.evaluation.neighbours import distances_by_rows


@dataclass(frozen=True)
class SampleQuality:
    """Generated images beside as many real ones, on features of the library's classifier."""

    frechet: float
    precision: float
    recall: float
    images: int                        # of each

    def __str__(self) -> str:
        return (f"Fréchet distance {self.frechet:.2f}, precision {self.precision:.2f}, recall {self.recall:.2f}: "
                f"{self.images:,} generated images and as many real ones, on features of minivae's classifier (no FID)")


def sample_quality(images: Any, real: Any, *, k: int = 3) -> SampleQuality:
    """Fréchet distance, precision and recall of 28×28 images in [0, 1], as many generated as real        (N, 784) ×2

    Raises ValueError for images of another size or range, or different numbers of them.
    """
    x, y = digit_features(images), digit_features(real, "real")
    precision, recall = precision_recall(x, y, k=k)
    return SampleQuality(frechet_distance(x, y), precision, recall, len(x))


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """FD of the Gaussians fitted to two sets of features, of equally many rows        (N, D) (N, D)

    Raises ValueError for different numbers of rows or columns, fewer than two, or numbers that are not finite.
    """
    _check(x, y, least=2)
    return frechet_between(x.mean(axis=0), _covariance(x), y.mean(axis=0), _covariance(y))


def frechet_between(mean_1: np.ndarray, cov_1: np.ndarray, mean_2: np.ndarray, cov_2: np.ndarray) -> float:
    """FD of N(m₁, C₁) and N(m₂, C₂)        (D,) (D, D) (D,) (D, D)

    C₁^½ is V Λ^½ Vᵀ, of the eigenvalues of C₁ that are not noise below 0.  Then C₁^½ C₂ C₁^½ = A Aᵀ with A = C₁^½ C₂^½,
    so that the trace of its root is the sum of A's singular values: real, and exact where covariances are singular.
    """
    overlap = np.linalg.svd(_root(cov_1) @ _root(cov_2), compute_uv=False).sum()
    distance = ((mean_1 - mean_2) ** 2).sum() + np.trace(cov_1) + np.trace(cov_2) - 2.0 * overlap
    return max(float(distance), 0.0)                   # of equal ones rounding leaves ±1e-13


def frechet_by_count(x: np.ndarray, y: np.ndarray, *, parts: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(counts, FD): of all N rows, of N/2, … N/parts, where FD is the mean over disjoint parts        (N, D) ×2

    Raises ValueError as `frechet_distance` does, and for parts of fewer than two rows.
    """
    at_least_one(parts=parts)
    _check(x, y, least=2 * parts)
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(x), rng.permutation(y)
    counts = len(x) // np.arange(1, parts + 1)
    return counts, np.array([np.mean([frechet_distance(x[i * n:(i + 1) * n], y[i * n:(i + 1) * n]) for i in range(m)])
                             for m, n in enumerate(counts, start=1)])


def frechet_limit(x: np.ndarray, y: np.ndarray, *, parts: int = 5, seed: int = 0) -> float:
    """FD as N → ∞, where the line FD(N) = FD∞ + b/N through `frechet_by_count` ends        (N, D) ×2

    The line is the bias's first term: the smallest part should have several times as many rows as columns.
    May come out a little below 0.   After Chong and Forsyth 2020, who draw subsets at random.
    """
    if parts < 2:
        raise ValueError(f"parts: got {parts}, expected at least 2: a line goes through two points")
    counts, distances = frechet_by_count(x, y, parts=parts, seed=seed)
    return float(np.polyfit(1.0 / counts, distances, 1)[1])


def precision_recall(x: np.ndarray, y: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """(precision, recall) of generated features x against real ones y, equally many        (N, D) (N, D)

    A point lies among others if it is as near to one of them as that one's k-th neighbour of its own kind, or nearer.
    Kynkäänniemi et al. 2019 (there k = 3, and as many of one kind as of the other, as here).
    Raises ValueError for sets that do not fit, or k < 1, or k + 1 > N.
    """
    at_least_one(k=k)
    _check(x, y, least=k + 1)
    reach_x, reach_y = _reach(x, k), _reach(y, k)
    among_y, among_x = np.zeros(len(x), bool), np.zeros(len(y), bool)
    for rows, squared in distances_by_rows(x, y):
        among_y[rows] = (squared <= reach_y).any(axis=1)
        among_x |= (squared <= reach_x[rows, None]).any(axis=0)
    return float(among_y.mean()), float(among_x.mean())


def _reach(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of every point's k-th neighbour        (N, D) -> (N,)"""
    return np.concatenate([np.partition(squared, k, axis=1)[:, k]            # the 0-th is the point itself
                           for _, squared in distances_by_rows(x, x)])


def _covariance(x: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(x, rowvar=False, dtype=np.float64))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric C^½ with C^½ C^½ = C"""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T


def _check(x: np.ndarray, y: np.ndarray, *, least: int) -> None:
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or len(points) < least:
            raise ValueError(f"{name}: got shape {points.shape}, expected (N, D) with N at least {least}")
        if not np.isfinite(points).all():
            raise ValueError(f"{name}: holds NaN or infinite features")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"y: got {y.shape[1]} columns, expected {x.shape[1]}, as many as x has")
    if len(x) != len(y):
        raise ValueError(f"y: got {len(y):,} rows, expected {len(x):,}, as many as x has: the smaller set's noise "
                         "would be taken for a difference; use as many of both")
