"""A parameter: an array that learns, and where its gradient is added up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.ops.arrays import add_by_code


class Product(NamedTuple):
    """a b, not multiplied out yet        (I, N) (N, O).  Until then neither may be written to."""

    a: Array
    b: Array

    def reshape(self, *shape: Any) -> Product:
        """Itself: a parameter knows its own shape."""
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Multiplied out, for whoever takes it for an array: `W.grad += dW`"""
        return np.asarray(self.a @ self.b, dtype)


class Uses(NamedTuple):
    """Which rows of a table were used, and what each use hears, not added up yet        (N,) (N, D)"""

    codes: Array
    dy: Array

    def add_to(self, rows: Array, first: int) -> None:
        """To these rows of a table, from the one numbered `first` on."""
        here = (self.codes >= first) & (self.codes < first + len(rows))
        add_by_code(rows, self.dy[here], self.codes[here] - first)


class Parameter:
    """An array that learns: its `value`, and `grad`, where pullbacks add ∂loss/∂value.

    A parameter is born alone, in float64 on the host; an Arena then moves it into its vectors.

    The gradient of a weight is a sum of products xᵀ dy, one for each use of it and for each thread's rows of the batch.
    That is one product of all rows, Σ aᵢ bᵢ = [a₁ a₂ …] [b₁; b₂; …].  So in a training step (`Workers`) a product of
    few rows is *owed*: its factors are kept until somebody asks for the gradient, or threads make some rows of it each.
    """

    _owed: list[Product]
    _uses: list[Uses]
    _others: list[Array]               # gradients of the same parameter of other threads

    def __init__(self, value: np.ndarray | float) -> None:
        self.value: Array = np.array(value, dtype=np.float64, order="C")
        self.grad = np.zeros_like(self.value)

    @property
    def grad(self) -> Array:
        self._make_all()
        return self._grad

    @grad.setter
    def grad(self, array: Array) -> None:
        self._grad, self._owes = array, False
        self.made()

    def zero_grad(self, *, owes: bool = False) -> None:
        """Forget the gradient.  owes: products that are added from now on wait until they are asked for."""
        self._owed, self._uses, self._others = [], [], []
        self._blank, self._owes = True, owes          # what lies there is the step before's

    def add(self, gradient: Array | Product | Uses) -> None:
        """grad += gradient; a product of few rows, and what a table's uses hear, is made later, if the parameter owes.

        Raises ValueError for a product that has not the value's size and columns.
        """
        if isinstance(gradient, Product):
            self._owe(gradient)
        elif isinstance(gradient, Uses):
            self._uses.append(gradient)
            if not self._owes:
                self._make_all()
        elif self._blank:
            self._grad[...] = gradient
            self._blank = False
        else:
            self._grad += gradient

    def _owe(self, product: Product) -> None:
        rows, columns = len(product.a), product.b.shape[-1]
        if rows * columns != self.value.size or columns != self.value.shape[-1]:
            raise ValueError(f"add: got a product of shape {(rows, columns)}, expected {self._matrix().shape} for a "
                             f"parameter of shape {self.value.shape}")
        if self._owes and 2 * (product.a.size + product.b.size) <= self._grad.size:
            self._owed.append(product)
        elif self._blank:                             # of many rows, the factors are more than what they make
            np.matmul(product.a, product.b, out=self._matrix())
            self._blank = False
        else:
            room = self._matrix()
            room += product.a @ product.b

    def owe(self, other: Parameter) -> None:
        """grad += other.grad, when it is made: until then nobody may touch the other's, that now owes nothing."""
        if not other._blank:
            self._others.append(other._matrix())
        self._owed += other._owed
        self._uses += other._uses
        other._owed = []
        other._uses = []

    @property
    def pending(self) -> bool:
        """Whether something is owed."""
        return bool(self._owed or self._uses or self._others)

    def make(self, rows: slice = slice(None)) -> None:
        """Make these rows of the gradient: what was added, and what is owed."""
        if not (self.pending or self._blank):         # all is there
            return
        room, blank = self._matrix()[rows], self._blank
        if self._owed:
            a, b = self._stacked(rows)
            if blank:
                np.matmul(a, b, out=room)
            else:
                room += a @ b
        elif blank:
            room[...] = 0.0
        for uses in self._uses:
            uses.add_to(room, rows.start or 0)
        for other in self._others:
            room += other[rows]

    def made(self) -> None:
        """All rows were made: nothing is owed."""
        self._blank = False
        self._owed, self._uses, self._others = [], [], []

    def _make_all(self) -> None:
        self.make()
        self.made()

    def _stacked(self, rows: slice) -> tuple[Array, Array]:
        """The factors of all that is owed for these rows, as of one product."""
        if len(self._owed) == 1:
            a, b = self._owed[0]
            return a[rows], b
        return np.concatenate([a[rows] for a, _ in self._owed], axis=1), np.concatenate([b for _, b in self._owed])

    def _matrix(self) -> Array:
        """The gradient as a matrix: a convolution's (k, k, C, F) as (k·k·C, F), a vector as one row."""
        return self._grad.reshape(-1, self._grad.shape[-1] if self._grad.ndim else 1)
