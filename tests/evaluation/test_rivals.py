"""Rivals of semi-supervised models, on cases known by hand."""

import numpy as np
import pytest
from scipy.special import log_softmax

from minivae.data import load
from minivae.evaluation import error_rate, few_labels, logistic_regression, nearest_neighbours

RNG = np.random.default_rng(0)
Y = np.arange(90) % 3


def test_the_error_rate_and_its_standard_error():
    error = error_rate(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 1]))
    assert error.mean == 0.5
    assert error.standard_error == pytest.approx(np.sqrt(0.25 * 4 / 3 / 4))
    with pytest.raises(ValueError, match=r"predicted: got shape \(3,\), expected \(4,\)"):
        error_rate(np.zeros(3), np.zeros(4))


def test_few_labels_are_balanced_different_and_drawn_anew_by_the_seed():
    labels = np.repeat([0, 1, 2], [50, 20, 30])
    one, two, again = few_labels(labels, 12), few_labels(labels, 12, seed=1), few_labels(labels, 12)
    assert np.bincount(labels[one]).tolist() == [4, 4, 4]
    assert len(set(one)) == 12
    assert set(one) != set(two)
    np.testing.assert_array_equal(one, again)
    assert len(few_labels(labels, 60)) == 60


@pytest.mark.parametrize("count", [10, 63])
def test_few_labels_that_cannot_be_balanced(count):
    with pytest.raises(ValueError, match=rf"count: got {count}, expected a multiple of 3, .* smallest has 20"):
        few_labels(np.repeat([0, 1, 2], [50, 20, 30]), count)


# Logistic regression

def test_without_inputs_it_is_the_classes_shares():
    """Its best b are their logarithms, up to a constant."""
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    fitted = logistic_regression(np.zeros((100, 2)), labels)
    assert not fitted.W.any()
    np.testing.assert_allclose(np.exp(fitted.log_prob(np.zeros((1, 2)))), [[0.1, 0.3, 0.6]], rtol=1e-3)


def test_at_the_minimum_the_gradient_vanishes():
    """Σ xᵀ (p − one-hot) + decay W = 0, Σ (p − one-hot) = 0: by formula, not by what found it."""
    x, y = RNG.standard_normal((80, 4)), RNG.integers(0, 3, 80)
    fitted = logistic_regression(x, y, decay=0.5)
    p = np.exp(log_softmax(x @ fitted.W + fitted.b, axis=1))
    np.testing.assert_allclose(np.exp(fitted.log_prob(x)), p, rtol=1e-12)
    offset = p - np.eye(3)[y]
    assert np.abs(x.T @ offset + 0.5 * fitted.W).max() < 0.02
    assert np.abs(offset.sum(axis=0)).max() < 0.02


def test_it_recovers_the_odds_that_made_the_labels():
    W, b = np.array([[1.0, -1.0], [0.5, -0.5]]), np.array([0.3, -0.3])
    x = np.random.default_rng(1).standard_normal((20_000, 2))
    p = np.exp(log_softmax(x @ W + b, axis=1))
    y = (np.random.default_rng(2).random(len(x)) > p[:, 0]).astype(int)
    fitted = logistic_regression(x, y)
    np.testing.assert_allclose(fitted.W[:, 0] - fitted.W[:, 1], [2.0, 1.0], atol=0.1)
    assert fitted.b[0] - fitted.b[1] == pytest.approx(0.6, abs=0.1)


def test_a_plane_divides_what_a_plane_can():
    x = RNG.standard_normal((90, 2)) + 8.0 * np.array([[0, 0], [1, 0], [0, 1]])[Y]
    fitted = logistic_regression(x, Y)
    assert error_rate(fitted.predict(x), Y).mean == 0.0
    assert np.linalg.norm(logistic_regression(x, Y, decay=100.0).W) < np.linalg.norm(fitted.W)
    assert logistic_regression(x, Y, classes=5).predict(x).max() == 2


@pytest.mark.parametrize(("call", "said"), [
    (lambda: logistic_regression(np.ones((4, 2)), np.zeros(3, int)), r"y: got int64 of shape \(3,\)"),
    (lambda: logistic_regression(np.ones((4, 2)), np.zeros(4)), "y: got float64"),
    (lambda: logistic_regression(np.ones((4, 2)), np.zeros(4, int), decay=-1), "decay: got -1, expected"),
    (lambda: logistic_regression(np.ones((4, 2)), np.full(4, 3), classes=2), "labels lie in 3 … 3"),
    (lambda: logistic_regression(RNG.random((90, 5)), Y, decay=0, steps=1), "steps: 1 did not suffice"),
    (lambda: nearest_neighbours(np.ones((4, 2)), Y[:4], np.ones((3, 3))), r"points \(3, 3\) and k = 1, expected"),
    (lambda: nearest_neighbours(np.ones((4, 2)), Y[:3], np.ones((3, 2))), r"with y \(3,\)"),
    (lambda: nearest_neighbours(np.ones((4, 2)), Y[:4], np.ones((3, 2)), k=5), "k = 5, expected .* k at most N"),
    (lambda: nearest_neighbours(np.ones((4, 2)), Y[:4], np.ones((3, 2)), k=0), "k: got 0"),
])
def test_bad_input_is_explained(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# Nearest neighbours

def test_neighbours_by_hand():
    x, y = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]]), np.array([5, 5, 7, 8, 8])
    points = np.array([[-3.0], [1.6], [5.9], [6.1]])
    assert nearest_neighbours(x, y, points).tolist() == [5, 7, 7, 8]
    assert nearest_neighbours(x, y, points, k=3).tolist() == [5, 5, 7, 8]    # 5.9 sees 2, 10, 1: a tie, 2 is nearest
    assert nearest_neighbours(x, y, points, k=2).tolist() == [5, 7, 7, 8]       # ties again


def test_every_point_is_its_own_nearest_neighbour():
    x = RNG.standard_normal((700, 5)) + 1e4
    assert (nearest_neighbours(x, np.arange(700), x) == np.arange(700)).all()


def test_on_digits_a_hundred_labels_do_what_is_known_of_them():
    """Far better than chance, far from right; four thousand do better."""
    digits = load("digits")
    few = few_labels(digits.train_labels, 100)
    x, y, test, truth = digits.train[few], digits.train_labels[few], digits.test[:500], digits.test_labels[:500]
    for predicted in (logistic_regression(x, y).predict(test), nearest_neighbours(x, y, test)):
        assert 0.15 < error_rate(predicted, truth).mean < 0.45
    everyone = nearest_neighbours(digits.train, digits.train_labels, test)
    assert error_rate(everyone, truth).mean < 0.1
