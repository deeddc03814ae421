"""Where features lie on average, class by class: of real examples, and of made ones.

    m_c = E[f | real, class c],    m̃_c = E[f | made, class c]

A batch has few examples of a class, and the square of a noisy difference is too large by its variance, which only a
generator that makes all examples of a class alike could lower.  So both are moving averages over batches,

    n ← γ n + (1 − γ) mean over the batch of [c],    s ← γ s + (1 − γ) mean over the batch of [c] f,    m_c = s / n

with [c] = 1 for examples of class c, else 0.  n, s and s̃ are parameters of a network whose optimizer is
`nn.MovingAverage`, and what `tally` adds to their "gradients" are these means: so threads and processes add them up,
checkpoints keep them, and a resumed run goes on with the same centres.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback, at_least_one
from minivae.nn import Layer, Parameter
from minivae.nn.parameter import Product

LEAST = 1e-12              # of a share: a class that never came has its centres at 0, where nothing pulls


class Centres(Layer):
    """½‖m̃ − m‖², the made features' share in it        f (B, F), y one-hot (B, C) -> (B,)

    The tangent in m̃ at the moving averages: ½‖m̃_c − m_c‖² + (m̃_c − m_c)·(f − m̃_c), whose mean over many made examples
    of a class is the half square, and its derivative that of the half square with respect to their mean.  The moving
    averages are constants to it.

    classes, features   C centres of F numbers, of each kind
    Raises ValueError for a size below 1.
    """

    def __init__(self, classes: int, features: int) -> None:
        at_least_one(classes=classes, features=features)
        self.share = Parameter(np.zeros(classes))
        self.real, self.made = (Parameter(np.zeros((classes, features))) for _ in range(2))

    def centres(self) -> tuple[Array, Array]:
        """m and m̃, (C, F) (C, F)"""
        share = np.maximum(self.share.value, LEAST)[:, None]
        return self.real.value / share, self.made.value / share

    def __call__(self, f: Array, *, y: Array) -> tuple[Array, Pullback]:
        real, made = self.centres()
        apart = y @ (made - real)

        def pullback(dterm: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            return apart * dterm[:, None]                                        # ∂/∂f = m̃_c − m_c

        return 0.5 * (apart * apart).sum(axis=1) + (apart * (f - y @ made)).sum(axis=1), pullback

    def tally(self, real: Array, made: Array, *, y: Array, weight: Array) -> None:
        """Add a batch's part to what the moving averages take        features (B, F) ×2, y (B, C), weight (B,)"""
        weighed = y * weight[:, None]
        self.real.add(Product(weighed.T, real))
        self.made.add(Product(weighed.T, made))
        self.share.add(weighed.sum(axis=0))
