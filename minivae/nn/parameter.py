"""A parameter: an array that learns, and where its gradient is added up."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array


class Parameter:
    """An array that learns: its `value`, and `grad`, where pullbacks add ∂loss/∂value.

    A parameter is born alone, in float64 on the host; an Arena then moves it into its vectors.

    The gradient of a weight is a sum of products xᵀ dy, one for each use of it and for each thread's rows of the batch.
    That is one product of all rows, Σ aᵢ bᵢ = [a₁ a₂ …] [b₁; b₂; …].  So in a training step (`Workers`) a product is
    *owed*: its factors are kept until somebody asks for the gradient, or threads make some rows of it each.
    """

    def __init__(self, value: np.ndarray | float) -> None:
        self.value: Array = np.array(value, dtype=np.float64, order="C")
        self.grad = np.zeros_like(self.value)

    @property
    def grad(self) -> Array:
        self.make()
        self.made()
        return self._grad

    @grad.setter
    def grad(self, array: Array) -> None:
        self._grad, self._blank = array, False
        self._owes, self._owed = False, list[tuple[Array, Array]]()

    def zero_grad(self, *, owes: bool = False) -> None:
        """Forget the gradient.  owes: products that are added from now on wait until they are asked for."""
        self._blank = True                            # what lies there is the step before's
        self._owes, self._owed = owes, []

    def add(self, gradient: Array) -> None:
        """grad += gradient"""
        if self._blank:
            self._grad[...] = gradient
            self._blank = False
        else:
            self._grad += gradient

    def add_product(self, a: Array, b: Array) -> Array:
        """grad += a b        (I, N) (N, O); returns the matrix (I, O) where the gradient lies once it is made

        a and b must stay as they are until then: it is made at once or, if owed, by the end of the training step.
        Raises ValueError if a b is no matrix of the value's size and columns.
        """
        matrix = self._matrix()
        if matrix.shape != (len(a), b.shape[-1]):
            raise ValueError(f"add_product: got a product of shape {(len(a), b.shape[-1])}, "
                             f"expected {matrix.shape} for a parameter of shape {self.value.shape}")
        self._owed.append((a, b))
        if not self._owes:
            self.make()
            self.made()
        return matrix

    def take(self, other: Parameter) -> None:
        """grad += other.grad, which is then forgotten there; what was owed there is owed here."""
        if not other._blank:
            self.add(other._grad)
        self._owed += other._owed
        other.zero_grad()

    def make(self, rows: slice = slice(None)) -> None:
        """Make these rows of the gradient: what was added, and what is owed."""
        room, blank = self._matrix()[rows], self._blank
        for a, b in self._products(rows):
            if blank:
                np.matmul(a, b, out=room)
                blank = False
            else:
                room += a @ b
        if blank:                                     # nobody added anything
            room[...] = 0.0

    def made(self) -> None:
        """All rows were made."""
        self._blank, self._owed = False, []

    def _products(self, rows: slice) -> list[tuple[Array, Array]]:
        """What is owed for these rows: stacked to one product, unless that moves more numbers than adding would."""
        factors = [(a[rows], b) for a, b in self._owed]
        stacked = sum(a.size + b.size for a, b in factors)
        if sum(len(a) * b.shape[1] for a, b in factors[1:]) <= stacked:
            return factors
        return [(np.concatenate([a for a, _ in factors], axis=1), np.concatenate([b for _, b in factors]))]

    def _matrix(self) -> Array:
        """The gradient as a matrix: a convolution's (k, k, C, F) as (k·k·C, F), a vector as one row."""
        return self._grad.reshape(-1, self._grad.shape[-1] if self._grad.ndim else 1)
