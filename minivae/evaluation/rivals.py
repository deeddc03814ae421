"""Simple rivals of semi-supervised models: what the labelled images alone can do, without a model of images.

Whoever has a hundred labels should beat these, on the same hundred:

    few_labels               which examples keep their labels, as many of each class
    some_labels              or each class as many as it comes up
    logistic_regression      linear in the pixels (or in a VAE's latents), by the hand-derived gradient of ops and nll
    nearest_neighbours       the label of the nearest labelled image
    error_rate               the share of wrong answers, and its standard error
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import at_least_one
from minivae.distributions import categorical_nll
from minivae.evaluation.bounds import Estimate
from minivae.evaluation.neighbours import distances_by_rows
from minivae.ops import linear, log_softmax


def error_rate(predicted: np.ndarray, labels: np.ndarray) -> Estimate:
    """The share of wrong labels and its standard error over examples        (N,) (N,)

    It does not say how far other labelled examples or another seed would move it: for that, several runs.
    Raises ValueError for arrays that do not fit, or none.
    """
    if predicted.shape != labels.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"predicted: got shape {predicted.shape}, expected {labels.shape}, a label for each of at "
                         "least 1 example")
    return Estimate.of(predicted != labels)


def few_labels(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Which `count` examples keep their labels, equally many of each class, drawn at random        (N,) -> (count,)

    As in Kingma et al. 2014, section 4.1.
    Raises ValueError unless every class can give its equal share.
    """
    at_least_one(count=count)
    classes, sizes = np.unique(labels, return_counts=True)
    each = count // len(classes)
    if each * len(classes) != count or each > sizes.min():
        raise ValueError(f"count: got {count}, expected a multiple of {len(classes)}, the number of classes, of which "
                         f"the smallest has {sizes.min()} examples")
    rng = np.random.default_rng(seed)
    return rng.permutation(np.concatenate([rng.choice(np.flatnonzero(labels == c), each, replace=False)
                                           for c in classes]))


def some_labels(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Which `count` examples keep their labels, drawn from all alike, but of each class at least one   (N,) -> (count,)

    Raises ValueError for fewer than there are classes, or more than there are examples.
    """
    classes, size = np.unique(labels), len(labels)
    if not len(classes) <= count <= size:
        raise ValueError(f"count: got {count}, expected {len(classes)}, one of each class, … {size}")
    order = np.random.default_rng(seed).permutation(size)
    first = np.array([order[labels[order] == c][0] for c in classes])
    return np.concatenate([first, order[~np.isin(order, first)]])[:count]


@dataclass(frozen=True)
class LogisticRegression:
    """p(y|x) = softmax(x W + b)"""

    W: np.ndarray                      # (D, C)
    b: np.ndarray                      # (C,)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(y|x) of every class        (N, D) -> (N, C)"""
        return log_softmax(linear(x.astype(np.float64), self.W, self.b)[0])[0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The likeliest class        (N, D) -> (N,)"""
        return self.log_prob(x).argmax(axis=1)


def logistic_regression(x: np.ndarray, y: np.ndarray, *, classes: int | None = None,
                        decay: float = 1.0, steps: int = 1000) -> LogisticRegression:
    """The W and b that minimise  Σₙ −log p(yₙ|xₙ) + ½ decay ‖W‖²        x (N, D), y (N,) whole numbers

    That is the likeliest W under a prior N(0, I/decay).  The sum is convex; scipy's L-BFGS walks down it, on the
    gradient that `ops.linear` and `categorical_nll` pull back.  Without decay, classes that a plane can divide have no
    best W: it grows for ever.
    classes   None: as many as the largest label says
    Raises ValueError for arrays that do not fit, a decay below 0, or if `steps` steps did not suffice.
    """
    from scipy.optimize import minimize  # half a second to import: for those who need it

    at_least_one(steps=steps)
    if x.ndim != 2 or len(x) == 0 or y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ValueError(f"y: got {y.dtype} of shape {y.shape} for x of shape {x.shape}, expected (N,) whole numbers "
                         "for (N, D), with N at least 1")
    if not decay >= 0.0:
        raise ValueError(f"decay: got {decay}, expected a number of at least 0")
    x, D, C = x.astype(np.float64), x.shape[1], classes or int(y.max()) + 1

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        W, b = flat[:D * C].reshape(D, C), flat[D * C:]
        logits, pull_linear = linear(x, W, b)
        nll, pull_nll = categorical_nll(logits, labels=y)
        _, dW, db = pull_linear(pull_nll(np.ones_like(nll)), need_dx=False)
        return nll.sum() + 0.5 * decay * (W * W).sum(), np.concatenate([(dW + decay * W).ravel(), db])

    found = minimize(loss, np.zeros((D + 1) * C), jac=True, method="L-BFGS-B", options={"maxiter": steps,
                                                                                     "maxfun": 2 * steps})
    if not found.success:
        raise ValueError(f"steps: {steps} did not suffice ({found.message}); expected more, or a larger decay")
    return LogisticRegression(found.x[:D * C].reshape(D, C), found.x[D * C:])


def nearest_neighbours(x: np.ndarray, y: np.ndarray, points: np.ndarray, *, k: int = 1) -> np.ndarray:
    """The label that most of each point's k nearest neighbours in x have        x (N, D), y (N,), points (M, D) -> (M,)

    Of labels that are equally many, the one whose neighbour is nearest.
    Raises ValueError for arrays that do not fit, or k above N.
    """
    at_least_one(k=k)
    if x.ndim != 2 or y.shape != (len(x),) or points.ndim != 2 or points.shape[1] != x.shape[1] or k > len(x):
        raise ValueError(f"x: got {x.shape} with y {y.shape}, points {points.shape} and k = {k}, expected (N, D), "
                         "(N,), (M, D) and k at most N")
    return np.concatenate([_most_common(y[np.argsort(d, axis=1, kind="stable")[:, :k]])
                           for _, d in distances_by_rows(points, x)])


def _most_common(labels: np.ndarray) -> np.ndarray:
    """Of each row the label that occurs most often, the first of equals        (M, k) -> (M,)"""
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)           # how often each one's label occurs
    return labels[np.arange(len(labels)), votes.argmax(axis=1)]
