"""The error of a semi-supervised model, and the support vector machine beside it: answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.batch import Batch
from minivae.evaluation import classification_error, support_vectors
from minivae.variants import M2Config


def test_the_error_is_the_share_of_wrong_answers_in_percent():
    """A classifier that says the first pixel's class: 3 of 8 labels disagree, in however many parts."""
    model = M2Config(2, 2, (3,), 1).build()
    model.classify = lambda x: x[:, 0].astype(int)
    x = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 0], [1, 1], [0, 1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 1, 0, 0, 1, 0, 1])
    found = classification_error(model, Batch(x=x, labelled=x, labels=labels))
    assert found.mean == pytest.approx(37.5)
    assert found.standard_error == pytest.approx(100 * np.sqrt(3 / 8 * 5 / 8 / 7))
    many = classification_error(model, Batch(**{name: np.tile(a, (500,) + (1,) * (a.ndim - 1)) for name, a in (
        ("x", x), ("labelled", x), ("labels", labels))}))
    assert many.mean == pytest.approx(37.5)


def test_two_points_by_hand():
    """By symmetry α is the same for both, and t f = α (k(x, x) − k(x, x′)) = 1 on each: α = 1 / (1 − exp(−γ d²))."""
    x, y = np.array([[0.0], [2.0]]), np.array([0, 1])
    machine = support_vectors(x, y, cost=100.0, gamma=0.3)
    alpha = 1.0 / (1.0 - np.exp(-0.3 * 4.0))
    np.testing.assert_allclose(machine.weights, [[alpha, -alpha], [-alpha, alpha]], rtol=2e-3)
    np.testing.assert_allclose(machine.scores(x), [[1.0, -1.0], [-1.0, 1.0]], atol=5e-3)
    assert np.array_equal(machine.predict(np.array([[0.9], [1.1]])), [0, 1])


@pytest.mark.parametrize("cost", [0.3, 10.0])
def test_its_answer_is_optimal(cost):
    """Karush, Kuhn, Tucker: beyond the margin no weight, inside of it the full one, between the two on the margin."""
    rng = np.random.default_rng(1)
    y = np.arange(60) % 3
    x = rng.standard_normal((60, 2)) + 1.2 * np.array([[0, 0], [2, 0], [0, 2]])[y]
    machine = support_vectors(x, y, cost=cost)
    t = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    alpha, margin = machine.weights * t, t * machine.scores(x)
    assert alpha.min() >= 0.0
    assert alpha.max() <= cost
    assert (margin[alpha == 0.0] > 1.0 - 2e-3).all()
    assert (margin[alpha == cost] < 1.0 + 2e-3).all()
    np.testing.assert_allclose(margin[(alpha > 0.0) & (alpha < cost)], 1.0, atol=2e-3)
    assert np.mean(machine.predict(x) != y) < 0.25


def test_bad_input_is_named():
    x, y = np.zeros((3, 2)), np.array([0, 1, 0])
    with pytest.raises(ValueError, match=r"y: got int64 of shape \(2,\) for x of shape \(3, 2\)"):
        support_vectors(x, y[:2])
    with pytest.raises(ValueError, match=r"cost, gamma: got 0\.0"):
        support_vectors(x, y, cost=0.0)
    with pytest.raises(ValueError, match="steps: 1 did not suffice"):
        support_vectors(np.random.default_rng(0).standard_normal((20, 2)), np.arange(20) % 2, steps=1)
