"""A linear classifier: what can be told from some numbers by weighing and adding them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivae.ops import log_softmax, one_hot


class LinearClassifier:
    """Multinomial logistic regression        x (N, D), labels (N,) in 0 … classes − 1

    W = argmin Σ −log softmax(x W)[label] + ½ ridge ‖W‖² over standardised x and a column of ones, by Newton's method.
    There is one minimum, and it does not depend on the units, signs or order of the columns.
    Raises ValueError if a label is not one of the classes.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, *, classes: int, ridge: float = 1.0, steps: int = 50) -> None:
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels: got {labels.min()} … {labels.max()}, expected 0 … {classes - 1}")
        self.standard = standard(x)
        x, y = self._columns(x), one_hot(labels, classes=classes, dtype=np.float64)
        self.W = np.zeros((x.shape[1], classes))
        for _ in range(steps):
            p = np.exp(log_softmax(x @ self.W)[0])
            gradient = x.T @ (p - y) + ridge * self.W
            curvature = p[:, :, None] * (np.eye(classes) - p[:, None, :])           # ∂²/∂logits², (N, classes, classes)
            hessian = np.einsum("nck,ni,nj->icjk", curvature, x, x, optimize=True).reshape(self.W.size, self.W.size)
            step = np.linalg.solve(hessian + ridge * np.eye(self.W.size), gradient.ravel()).reshape(self.W.shape)
            self.W -= step
            if np.abs(step).max() < 1e-9:
                break

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The most probable class of every row        (N, D) -> (N,)"""
        return (self._columns(x) @ self.W).argmax(axis=1)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The share of rows whose label it guesses."""
        return float((self(x) == labels).mean())

    def _columns(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([self.standard(x), np.ones((len(x), 1))], axis=1)


def standard(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Shifts and scales every column so that those of x have mean 0 and spread 1; a constant one becomes 0."""
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-12 * (1.0 + np.abs(mean)), spread, np.inf)
    return lambda some: (some - mean) / scale
