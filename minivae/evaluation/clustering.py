"""Do clusters find classes that nobody named?  Accuracy by best assignment, mutual information; k-means as the rival.

A model that was never told the labels numbers its clusters as it likes, so nothing may depend on their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import at_least_one
from minivae.evaluation.neighbours import distances_by_rows, squared_distances


def clustering_accuracy(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The share of examples whose cluster is their label's, under the best one-to-one assignment        (N,) (N,)

        max over injections π of  (1/N) Σₙ [ π(clusterₙ) = labelₙ ]

    exactly (scipy's linear_sum_assignment).  With more clusters than classes, those left over are wrong altogether.
    Compare with the share of the largest class, which one cluster for all reaches.
    Raises ValueError for arrays that do not fit, or none.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import: for those who need it

    counts = contingency(clusters, labels)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def normalised_mutual_information(clusters: np.ndarray, labels: np.ndarray) -> float:
    """NMI = I(c; y) / ½ (H(c) + H(y)), in [0, 1]: 1 if each tells the other, 0 if neither tells anything   (N,) (N,)

    Of two constants, each tells all there is of the other: 1.  Of independent clusters it is above 0, the more of them
    the more: a finite sample always shows some information.
    Raises ValueError for arrays that do not fit, or none.
    """
    joint = contingency(clusters, labels) / len(labels)
    h_joint, h_clusters, h_labels = (_entropy(p) for p in (joint.ravel(), joint.sum(axis=1), joint.sum(axis=0)))
    if h_clusters + h_labels == 0.0:
        return 1.0
    return float(max(2.0 * (h_clusters + h_labels - h_joint) / (h_clusters + h_labels), 0.0))


def contingency(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many examples of each cluster have each label        (N,) (N,) -> (K, C), of those that occur"""
    for name, array in (("clusters", clusters), ("labels", labels)):
        if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu":
            raise ValueError(f"{name}: got {array.dtype} of shape {array.shape}, expected whole numbers (N,) with N at "
                             "least 1")
    if len(clusters) != len(labels):
        raise ValueError(f"labels: got {len(labels)}, expected {len(clusters)}, as many as there are clusters' numbers")
    found, of_cluster = np.unique(clusters, return_inverse=True)
    classes, of_label = np.unique(labels, return_inverse=True)
    cells = np.bincount(of_cluster * len(classes) + of_label, minlength=len(found) * len(classes))
    return cells.reshape(len(found), len(classes))


def _entropy(p: np.ndarray) -> float:
    """H = −Σ p log p, in nats"""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


@dataclass(frozen=True)
class Clusters:
    """What k-means found."""

    centres: np.ndarray                # (K, D)
    numbers: np.ndarray                # (N,) which centre is nearest
    inertia: float                     # Σₙ ‖xₙ − its centre‖²

    def of(self, x: np.ndarray) -> np.ndarray:
        """The nearest centre of other points        (M, D) -> (M,)"""
        return nearest(x, self.centres)[0]


def k_means(x: np.ndarray, k: int, *, restarts: int = 10, steps: int = 300, seed: int = 0) -> Clusters:
    """The best of `restarts` runs of Lloyd's algorithm, each from centres drawn by k-means++        (N, D)

    Each run goes on until nothing moves, or for `steps` steps; a centre that no point is near moves to the point
    that is worst off.  (scipy's kmeans2 takes a fixed number of steps, and leaves empty centres where they are.)
    Lloyd 1982; Arthur and Vassilvitskii 2007.
    Raises ValueError for k below 1 or above N, or points that are not finite.
    """
    at_least_one(k=k, restarts=restarts, steps=steps)
    if x.ndim != 2 or len(x) < k or not np.isfinite(x).all():
        raise ValueError(f"x: got shape {x.shape}, expected finite numbers (N, D) with N at least k = {k}")
    rng = np.random.default_rng(seed)
    runs = (_lloyd(x.astype(np.float64), _spread_centres(x, k, rng), steps) for _ in range(restarts))
    return min(runs, key=lambda run: run.inertia)


def _spread_centres(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: each next centre is a point drawn with probability ∝ its squared distance to the nearest so far."""
    centres = [x[rng.integers(len(x))]]
    squared = np.full(len(x), np.inf)
    for _ in range(1, k):
        squared = np.minimum(squared, squared_distances(x, centres[-1][None])[:, 0])
        total = squared.sum()
        centres.append(x[rng.choice(len(x), p=squared / total if total > 0 else None)])
    return np.array(centres, dtype=np.float64)


def _lloyd(x: np.ndarray, centres: np.ndarray, steps: int) -> Clusters:
    """Points to their nearest centre, centres to the mean of their points, and again."""
    numbers, squared = nearest(x, centres)
    for _ in range(steps):
        member = numbers == np.arange(len(centres))[:, None]
        sizes = member.sum(axis=1)
        centres = (member @ x) / np.maximum(sizes, 1)[:, None]
        empty = np.flatnonzero(sizes == 0)
        centres[empty] = x[np.argsort(-squared)[:len(empty)]]
        before, (numbers, squared) = numbers, nearest(x, centres)
        if (before == numbers).all():
            break
    return Clusters(centres, numbers, float(squared.sum()))


def nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(its number, ‖x − it‖²) of each point's nearest centre, the first of equals        (N, D) (K, D) -> (N,) (N,)"""
    found = [(d.argmin(axis=1), d.min(axis=1)) for _, d in distances_by_rows(x, centres)]
    numbers, squared = zip(*found)
    return np.concatenate(numbers), np.concatenate(squared)
