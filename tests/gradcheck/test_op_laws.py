"""An op that breaks a law is told which, in a sentence of its own, whatever its numbers are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import Parameter

X = np.array([[0.3, -1.0, 2.0], [1.5, -0.7, 0.2]])


def writes_its_cotangent(x):
    def pullback(dy):
        dy[x < 0] = 0
        return dy

    return np.maximum(x, 0.0), pullback


def writes_its_input(x):
    np.maximum(x, 0.0, out=x)
    return x.copy(), lambda dy: dy * (x > 0)


def writes_its_input_in_the_pullback(x):
    def pullback(dy):
        x[...] = 2.0 * x
        return dy * x

    return x * x, pullback


def writes_its_value(x):
    y = np.exp(x)

    def pullback(dy):
        np.multiply(y, dy, out=y)
        return y.copy()

    return y, pullback


def wears_out(x):
    calls = []
    return 1.0 * x, lambda dy: dy / (calls.append(1) or len(calls))


def adds_up(x):
    total = np.zeros_like(x)

    def pullback(dy):
        nonlocal total
        total = total + dy
        return total

    return 1.0 * x, pullback


def is_random(x):
    mask = np.random.default_rng().random(x.shape) < 0.5
    return x * mask, lambda dy: dy * mask


def ignores_its_cotangent(x):
    return 2.0 * x, lambda dy: np.full_like(x, 2.0)


def takes_the_size(x):
    return 1.0 * x, lambda dy: np.abs(dy)


def squares_its_cotangent(x):
    return 1.0 * x, lambda dy: dy * np.abs(dy)


LAWS = {
    "writes into the cotangent that it is given": writes_its_cotangent,
    "it writes into its input 0": writes_its_input,
    "writes into its input 0": writes_its_input_in_the_pullback,
    "writes into the value that was returned": writes_its_value,
    "another answer when it is called a second time": wears_out,
    "gives another answer when it is called": adds_up,
    "it is random, or it remembers": is_random,
    "not linear in the cotangent": ignores_its_cotangent,
    "is not linear in the cotangent": takes_the_size,
    "pullback is not linear in the cotangent": squares_its_cotangent,
    "output 0 is int64: integers have no derivative": lambda x: (x.astype(np.int64), lambda dy: dy),
    "output 0 is bool: integers have no derivative": lambda x: (x > 0, lambda dy: 0.0 * dy),
    "output 0 is float32: an op computes in the dtype": lambda x: (x.astype(np.float32), lambda dy: 1.0 * dy),
    r"output 0 is nan at \[0, 1\] before anything was moved \(2 of 6": lambda x: (np.log(x), lambda dy: dy / x),
    r"output 0 is inf at \[1, 2\]": lambda x: (np.where(x == 0.2, np.inf, x), lambda dy: 1.0 * dy),
}


@pytest.mark.parametrize("says", LAWS)
def test_each_law_has_its_sentence(says):
    before = X.copy()
    with pytest.raises(GradientError, match=says) as caught:
        gradcheck(LAWS[says], X)
    assert caught.value.report.laws
    assert not caught.value.report.passed
    assert "kink" not in str(caught.value)
    assert np.array_equal(X, before)


def test_a_constant_that_is_written_is_named_and_put_back():
    mask = np.ones(3)

    def op(x, *, mask):
        mask[0] = 0.0
        return x * mask, lambda dy: dy * mask

    with pytest.raises(GradientError, match="it writes into its constant mask"):
        gradcheck(op, X, mask=mask)
    assert np.array_equal(mask, np.ones(3))


def test_a_pullback_that_overwrites_a_gradient_is_told_to_add():
    W = Parameter(np.ones((3, 2)))
    W.grad = np.full((3, 2), 5.0)

    def op(x):
        def pullback(dy):
            W.grad[...] = x.T @ dy
            return dy @ W.value.T

        return x @ W.value, pullback

    with pytest.raises(GradientError, match="overwrites the gradient of W, where it should add to it"):
        gradcheck(op, X, parameters={"W": W})
    assert np.array_equal(W.grad, np.full((3, 2), 5.0))        # as it was


def test_a_loss_that_is_a_python_float_is_accepted():
    seen = []

    def loss(x):
        return float((x * x).sum()), lambda dy: seen.append(dy) or 2.0 * x * dy

    assert gradcheck(loss, X).passed
    assert all(isinstance(dy, float) for dy in seen)
    with pytest.raises(GradientError):
        gradcheck(lambda x: (float((x * x).sum()), lambda dy: x * dy), X)
    assert gradcheck(lambda x: (np.float64((x * x).sum()), lambda dy: 2.0 * x * dy), X).passed


def test_an_input_that_is_not_finite_is_the_caller_s_mistake():
    for bad in (np.nan, np.inf):
        x = X.copy()
        x[1, 0] = bad
        with pytest.raises(ValueError, match=r"input 0 is (nan|inf) at \[1, 0\]; .* needs finite numbers"):
            gradcheck(lambda x: (1.0 * x, lambda dy: 1.0 * dy), x)


def test_the_order_is_seen_in_the_shapes_or_in_the_numbers():
    def product(x, W):
        return x @ W, lambda dy: (x.T @ dy, dy @ W.T)

    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="these are the shapes of its inputs in another order"):
        gradcheck(product, rng.standard_normal((4, 3)), rng.standard_normal((3, 5)))
    with pytest.raises(GradientError, match="input 0: it is the gradient of input 1: they are returned in another o"):
        gradcheck(product, *rng.standard_normal((2, 3, 3)))


def test_a_wrong_shape_is_explained():
    def linear(x, W, b):
        return x @ W + b, lambda dy: (dy @ W.T, x.T @ dy, dy)

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
    with pytest.raises(ValueError, match=r"input 2: the pullback returned shape \(4, 5\), float64, expected shape "
                                         r"\(5,\), float64: the sum over the batch \(axis 0\) is missing"):
        gradcheck(linear, *inputs)
    with pytest.raises(ValueError, match="it is the transpose of the right one"):
        gradcheck(lambda x, W: (x @ W, lambda dy: (dy @ W.T, dy.T @ x)), *inputs[:2])


def test_other_laws_are_reported_beside_the_numbers():
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda x: (1.0 * x, lambda dy: dy + 0.1), X)
    report = caught.value.report
    assert "linear" in report.laws[0]
    assert report.rows[0].wrong == 6


def test_the_report_prints_where_only_ascii_can_be_printed():
    """Windows' console, a C locale, a pipe: a report that crashes tells nobody anything."""
    code = ("import numpy as np; from minivae.gradcheck import gradcheck\n"
            "for wrong in (lambda g: 0.5 * g, lambda g: -g, lambda g: 2 * g, lambda g: g / (0.5 * np.exp(0.5 * x))):\n"
            "    x = np.random.default_rng(0).standard_normal((2, 3))\n"
            "    try: print(gradcheck(lambda x: (np.exp(x), lambda dy: wrong(dy * np.exp(x))), x))\n"
            "    except AssertionError as error: print(error)\n")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False,
                            env={"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": ":".join(sys.path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("FAILED") == 4
    assert "half the right one (a 1/2 too many)" in result.stdout
