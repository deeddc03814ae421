"""The rows of ops: dense, arrays, softmax, those of sequences, and those of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Generator
from minivae.gradcheck import Function
from minivae.gradient_table.case import Case, off_zero, row
from minivae.ops.recurrent import STEPS
from minivae.parallel import Team, lent


def op_cases(rng: Generator) -> list[Case]:
    """ops/dense.py, ops/arrays.py, ops/softmax.py"""
    n = rng.standard_normal
    over_classes = (ops.logsumexp, ops.log_mean_exp, ops.log_softmax)
    smooth = (ops.elu, ops.gelu, ops.tanh, ops.sigmoid, ops.softplus)
    kinked = np.array([[-1.0, 0.0, 2.0], [0.0, -0.0, 0.5]])
    return [
        row(ops.linear, n((4, 3)), n((3, 5)), n(5)),
        row(ops.linear, n((1, 2)), n((2, 3)), n(3), note="one row"),
        row(ops.linear, 5.0 * n((3, 3)), n((3, 3)), n(3), note="all square"),
        row(ops.linear, n((5, 1)), n((1, 1)), n(1), note="one number to one number"),
        *(row(op, off_zero(n((3, 4)))) for op in (ops.relu, ops.leaky_relu)),
        *(row(op, off_zero(n((1, 3))), note="one row") for op in (ops.relu, ops.leaky_relu)),
        *(row(op, kinked, note="on the kink") for op in (ops.relu, ops.leaky_relu)),
        row(ops.hardtanh, np.array([[-3.0, -1.1, -0.9], [0.2, 0.9, 1.2]])),
        row(ops.hardtanh, np.array([[-0.2, 0.1, 0.7, 1.5]]), low=0.0, note="one row, from 0 to 1"),
        row(ops.hardtanh, np.array([[0.0, 1.0], [0.5, -0.0]]), low=0.0, note="on the kink"),
        row(ops.leaky_relu, off_zero(n((2, 3, 2))), slope=0.3, note="slope 0.3"),
        *(row(op, n((3, 4))) for op in smooth),
        *(row(op, n((1, 3)), note="one row") for op in smooth),
        *(row(op, 8.0 * n((2, 3, 2)), note="3-D, large") for op in smooth),
        *(row(op, kinked, note="at 0") for op in smooth),
        row(ops.elu, off_zero(n((3, 4))), alpha=0.7, note="alpha 0.7"),
        row(ops.elu, kinked, alpha=0.7, note="alpha 0.7, on the kink"),
        row(ops.concat, n((3, 2)), n((3, 4))),
        row(ops.concat, n((1, 2, 3)), n((1, 2, 1)), n((1, 2, 2)), note="three, 3-D"),
        row(ops.concat, n((2, 3)), note="one part"),
        row(ops.split, n((3, 6)), sizes=(2, 4)),
        row(ops.split, n((1, 3, 6)), sizes=(1, 2, 3), note="three, 3-D"),
        row(ops.repeat_each, n((3, 2)), n((3, 1)), samples=4),
        row(ops.repeat_each, n((1, 2)), samples=1, note="one part, once"),
        row(ops.repeat, n((3, 2)), samples=4),
        row(ops.repeat, n((1, 2)), samples=1, note="one row once"),
        row(ops.repeat, n((2, 2, 3)), samples=2, note="3-D"),
        row(ops.embedding, n((5, 3)), codes=np.array([4, 0, 0, 2])),
        row(ops.embedding, n((2, 1)), codes=np.array([[[1, 0]], [[1, 1]]]), note="images of numbers"),
        row(ops.embedding, n((300, 2)), codes=np.array([[7, 299], [7, 0]]), note="a vocabulary", directions=40),
        row(ops.gated, n((3, 4))),
        row(ops.gated, 3.0 * n((1, 2, 2)), note="3-D, large"),
        *(row(op, n((3, 4))) for op in over_classes),
        *(row(op, n(5), note="1-D") for op in over_classes),
        *(row(op, 5.0 * n((2, 3, 4)), note="3-D, large") for op in over_classes),
        *(row(op, n((3, 1)), note="one class") for op in over_classes),
    ]


def recurrent_cases(rng: Generator) -> list[Case]:
    """ops/recurrent.py"""
    def states(T: int, B: int, I: int, H: int, *each: int) -> list[Any]:
        shapes = (T, B, I), (B, H), (B, H), (4, I, H), (4, H, H), (4, *each, H)
        return [rng.standard_normal(shape) for shape in shapes]

    gaps = np.array([[True, False, True], [True, False, False], [False, False, True], [True, False, True]])
    return [
        row(ops.lstm, *states(3, 2, 2, 2)),
        row(ops.lstm, *states(1, 1, 1, 1), note="one of each"),
        row(ops.lstm, *states(4, 3, 2, 2), mask=gaps, note="gaps, and one without a step"),
        row(ops.lstm, *states(2, 3, 1, 2, 3), note="a b for each sequence"),
        row(ops.lstm, *states(3, 2, 2, 1, 2), mask=np.array([[True, True], [True, False], [True, False]]),
            note="both"),
        row(beside(ops.lstm), *states(2 * STEPS + 1, 1, 2, 1), note="by two threads"),
        row(beside(ops.lstm), *states(STEPS + 1, 2, 1, 1, 2), mask=rng.random((STEPS + 1, 2)) < 0.7,
            note="both, by two threads"),
    ]


class Late(Team):
    """Two threads, of which the other does nothing before somebody waits for it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.threads = 2

    def run(self, work: Callable[[int], Any], n: int | None = None) -> list[Any]:
        return [work(i) for i in range(n or self.threads)]

    def aside(self, work: Callable[[], Any]) -> Callable[[], Any]:
        return work


def beside(op: Function) -> Function:
    """An op, where a thread is spare."""
    @wraps(op)
    def function(*given: Any, **constants: Any) -> Any:
        with lent(Late()):
            value, pullback = op(*given, **constants)

        def late(*dy: Any, **asked: Any) -> Any:
            with lent(Late()):
                return pullback(*dy, **asked)

        return value, late

    return function


def convolution_cases(rng: Generator) -> list[Case]:
    """ops/convolutions.py, ops/masked.py and ops/normalisation.py"""
    n = rng.standard_normal
    shapes = [(3, 1, 0, 2), (4, 2, 1, 2), (3, 2, 1, 5), (2, 3, 1, 1), (1, 1, 0, 2), (5, 2, 2, 16)]
    rows = []
    for k, stride, padding, C in shapes:
        note = f"kernel {k}, stride {stride}, padding {padding}, {C} channels"
        sizes: dict[str, Any] = {"stride": stride, "padding": padding, "note": note}
        rows += [row(ops.conv2d, n((2, 5, 6, C)), n((k, k, C, 3)), n(3), **sizes),
                 row(ops.conv_transpose2d, n((2, 3, 2, 3)), n((k, k, C, 3)), n(C), extra=stride - 1, **sizes)]
    return [
        *rows,
        row(ops.conv2d, n((1, 2, 2, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        row(ops.conv_transpose2d, n((1, 1, 1, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        row(ops.masked_conv2d, n((2, 3, 4, 2)), n((4, 2, 3)), n(3), taps=((-1, -1), (-1, 0), (-1, 1), (0, -1))),
        row(ops.masked_conv2d, n((1, 2, 2, 1)), n((3, 1, 2)), n(2), taps=((0, 0), (1, -2), (-5, 0)), note="outside"),
        row(ops.batch_moments, n((3, 2, 2, 4))),
        row(ops.batch_moments, 3.0 * n((5, 2)), note="rows"),
        row(ops.normalise, n((3, 2, 2, 4)), n(4), 0.5 + rng.random(4), n(4), n(4)),
        row(ops.normalise, n((5, 2)), n(2), 0.1 + rng.random(2), n(2), n(2), eps=0.3, note="rows, eps 0.3"),
        row(ops.upsample, n((2, 2, 3, 2))),
        row(ops.upsample, n((1, 1, 2, 1)), factor=3, note="factor 3"),
        row(ops.average_pool, n((2, 4, 2, 3))),
        row(ops.average_pool, n((1, 3, 6, 1)), factor=3, note="factor 3"),
    ]
