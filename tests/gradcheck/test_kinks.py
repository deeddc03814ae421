"""At a kink, the pullback lies between the one-sided derivatives: no less is right, and no more is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.gradcheck import GradientError, gradcheck


def relu(at_zero):
    """max(x, 0), with this derivative at 0."""
    return lambda x: (np.maximum(x, 0.0), lambda dy: dy * np.where(x == 0.0, at_zero, x > 0.0))


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (20, 15)])
@pytest.mark.parametrize("at_zero", [0.0, 0.25, 0.5, 1.0])
def test_an_input_wholly_on_a_kink_passes(at_zero, shape):
    (row,) = gradcheck(relu(at_zero), np.zeros(shape)).rows
    assert row.verdict == "ok"
    assert row.kinks == (0 if at_zero == 0.5 else row.size)    # in the middle, nothing is seen of the kink


@pytest.mark.parametrize("at_zero", [-1.0, -0.1, 1.1, 2.0, 100.0])
def test_what_is_not_between_is_refused(at_zero):
    with pytest.raises(GradientError) as caught:
        gradcheck(relu(at_zero), np.zeros((2, 3)))
    assert caught.value.report.rows[0].wrong == 6


def test_the_sentence_says_so():
    with pytest.raises(GradientError, match="on a kink, and the pullback is not between the one-sided derivatives"):
        gradcheck(relu(2.0), np.zeros(3))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.3, 5.0])
def test_kinks_of_every_size(slope, scale):
    def kinked(at_zero):
        return lambda x: (scale * np.where(x > 0, x, slope * x),
                          lambda dy: scale * dy * np.where(x == 0.0, at_zero, np.where(x > 0, 1.0, slope)))

    at = scale * np.array([0.0, 1.0, -2.0, 0.0])
    assert gradcheck(kinked(1.0), at).rows[0].kinks == 2
    assert gradcheck(kinked(slope), at).rows[0].kinks == 2
    for outside in (max(slope, 1.0) + 0.2, min(slope, 1.0) - 0.2):
        with pytest.raises(GradientError):
            gradcheck(kinked(outside), at)


@pytest.mark.parametrize("near", [1e-12, 1e-9, 1e-6, 1e-3, -1e-12, -1e-9, -1e-6])
def test_beside_a_kink_the_derivative_is_what_it_is_there(near):
    def near_relu(right):
        return lambda x: (np.maximum(x, 0.0), lambda dy: dy * np.where(np.abs(x) < 0.1, right, x > 0.0))

    x = np.array([near, 1.0, -3.0])
    assert gradcheck(near_relu(1.0 * (near > 0.0)), x).passed
    for wrong in (0.5, 1.0 * (near < 0.0), 2.0):
        with pytest.raises(GradientError):
            gradcheck(near_relu(wrong), x)


def test_each_output_may_have_its_own_side():
    """v . relu(W x) at x = 0 with signs that cancel: the sum has no kink, and the subgradient 0 is still one."""
    W = np.array([[1.0], [-1.0]])

    def both(x):
        return np.maximum(W @ x, 0.0), lambda dy: W.T @ (dy * (W @ x > 0.0))

    for seed in range(6):
        assert not gradcheck(both, np.zeros((1, 1)), seed=seed).failed


def test_maximum_of_equals_and_the_absolute_value():
    def largest(a, b):
        return np.maximum(a, b), lambda dy: (dy * (a >= b), dy * (a < b))

    x = np.array([1.0, -2.0, 0.0])
    assert [row.kinks for row in gradcheck(largest, x, x.copy()).rows] == [3, 3]
    assert gradcheck(lambda x: (np.abs(x), lambda dy: np.sign(x) * dy), np.zeros(4)).passed   # 0, the middle


@pytest.mark.parametrize("curved", [1.0, 1e4, 1e8])
def test_strong_curvature_is_no_kink(curved):
    x = np.array([0.0, 1e-7, 1.0])
    (row,) = gradcheck(lambda x: (curved * x * x, lambda dy: 2.0 * curved * x * dy), x).rows
    assert row.kinks == 0
    with pytest.raises(GradientError):
        gradcheck(lambda x: (curved * x * x, lambda dy: 2.0 * curved * (x + 1e-4) * dy), x)
