"""A support vector machine: the classifier that is hard to beat where examples with labels are few.

For each class c, against all others (t = +1 for the class, −1 else), with the kernel k(x, x′) = exp(−γ ‖x − x′‖²) + 1,

    f(x) = Σₙ αₙ tₙ k(x, xₙ),        α minimises  ½ Σ αₙ αₘ tₙ tₘ k(xₙ, xₘ)  −  Σ αₙ     over 0 ≤ αₙ ≤ cost

which is the dual of ½ ‖f‖² + cost Σ max(0, 1 − tₙ f(xₙ)): Cortes and Vapnik 1995.  The + 1 is the bias, with a price
like the rest of f.  The answer is the class with the largest f.   Shapes: N examples of D numbers, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import at_least_one
from minivae.evaluation.neighbours import distances_by_rows, squared_distances


@dataclass(frozen=True)
class SupportVectors:
    """f of every class: kernel(x) @ weights."""

    x: np.ndarray                      # (N, D)
    weights: np.ndarray                # α t, (N, C)
    gamma: float

    def scores(self, points: np.ndarray) -> np.ndarray:
        """f of every class        (M, D) -> (M, C)"""
        return np.concatenate([_kernel(d, self.gamma) @ self.weights for _, d in distances_by_rows(points, self.x)])

    def predict(self, points: np.ndarray) -> np.ndarray:
        """The class with the largest f        (M, D) -> (M,)"""
        return self.scores(points).argmax(axis=1)


def support_vectors(x: np.ndarray, y: np.ndarray, *, classes: int | None = None, cost: float = 10.0,
                    gamma: float | None = None, steps: int = 2000, tolerance: float = 1e-3) -> SupportVectors:
    """The support vector machine of these examples        x (N, D), y (N,) whole numbers

    gamma     None: 1 / (D · variance of all numbers of x), a kernel about as wide as the data
    cost      of a unit of margin that is missing
    For a few hundred examples: it holds all pairs.  Class by class, scipy's L-BFGS-B walks down to where no constraint
    is off by more than `tolerance`.
    Raises ValueError for arrays that do not fit, cost or gamma not above 0, or if `steps` steps did not suffice.
    """
    at_least_one(steps=steps)
    if x.ndim != 2 or len(x) == 0 or y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ValueError(f"y: got {y.dtype} of shape {y.shape} for x of shape {x.shape}, expected (N,) whole numbers "
                         "for (N, D), with N at least 1")
    width = 1.0 / max(x.shape[1] * x.var(dtype=np.float64), 1e-12) if gamma is None else gamma
    if not (cost > 0.0 and width > 0.0):
        raise ValueError(f"cost, gamma: got {cost} and {width}, expected numbers > 0")
    t = np.where(y[:, None] == np.arange(classes or int(y.max()) + 1), 1.0, -1.0)                        # (N, C)
    K = _kernel(squared_distances(x, x), width)
    alpha = np.stack([_multipliers(K * np.outer(sign, sign), cost, steps, tolerance) for sign in t.T], axis=1)
    return SupportVectors(x, alpha * t, width)


def _multipliers(Q: np.ndarray, cost: float, steps: int, tolerance: float) -> np.ndarray:
    """The α that minimises ½ αᵀ Q α − Σ α over 0 ≤ α ≤ cost        (N, N) -> (N,)"""
    from scipy.optimize import minimize  # half a second to import: for those who need it

    def dual(alpha: np.ndarray) -> tuple[float, np.ndarray]:
        slope = Q @ alpha - 1.0
        return 0.5 * alpha @ (slope - 1.0), slope

    alpha = minimize(dual, np.zeros(len(Q)), jac=True, method="L-BFGS-B", bounds=[(0.0, cost)] * len(Q), options={
        "maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": 0.1 * tolerance}).x
    slope = dual(alpha)[1]
    off = np.where(alpha <= 0.0, -slope, np.where(alpha >= cost, slope, np.abs(slope))).max()
    if off > tolerance:
        raise ValueError(f"steps: {steps} did not suffice, a constraint is off by {off:.1g}; expected more, or a lower "
                         "cost")
    return alpha


def _kernel(squared: np.ndarray, gamma: float) -> np.ndarray:
    return np.exp(-gamma * squared) + 1.0
