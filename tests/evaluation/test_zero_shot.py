"""Zero-shot accuracies by hand; the linear rival against its objective; Bayes' error with the true generator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minivae.batch import Batch
from minivae.evaluation import (
    ZeroShot,
    by_neighbours,
    by_probability,
    choose_eszsl,
    class_accuracy,
    eszsl,
    harmonic_mean,
    self_train,
    softmax_classifier,
    zero_shot_accuracy,
)
from minivae.evaluation.zero_shot import GAMMAS, LAMBDAS
from minivae.training import fit
from minivae.variants import ZeroVAEGANConfig

# classes on a grid of attributes; features are attributes, turned and spread; three of the classes are unseen
ATTRIBUTES = np.array([[i, j] for i in (-1.0, 0.0, 1.0, 2.0) for j in (-1.0, 0.0, 1.0)])
UNSEEN = np.array([4, 7, 8])
MAP = np.array([[2.0, 1.0, 0.5], [-1.0, 2.0, 0.3]])
SEEN = np.setdiff1d(np.arange(12), UNSEEN)


def drawn(labels, rng, std=1.0):
    return ATTRIBUTES[labels] @ MAP + std * rng.standard_normal((len(labels), 3))


def test_accuracy_is_averaged_over_classes_not_over_images():
    """Ten of one class, all right; two of another, one right: 75%, where images alone would say 92%."""
    labels = np.array([0] * 10 + [1] * 2)
    predicted = np.where(np.arange(12) == 11, 0, labels)
    assert class_accuracy(predicted, labels) == 0.75
    assert (predicted == labels).mean() == pytest.approx(11 / 12)
    with pytest.raises(ValueError, match=r"predicted: got shape \(3,\), expected \(12,\)"):
        class_accuracy(predicted[:3], labels)


def test_the_harmonic_mean_by_hand():
    assert harmonic_mean(0.8, 0.2) == pytest.approx(0.32)
    assert harmonic_mean(0.5, 0.5) == 0.5
    assert harmonic_mean(1.0, 0.0) == 0.0 == harmonic_mean(0.0, 0.0)
    assert ZeroShot(0.9, 0.6, 0.3).harmonic == pytest.approx(0.4)


def test_both_tasks_by_hand():
    """Scores are the features: class 2 is unseen, and taken for class 0 if that is asked for, too."""
    seen = np.array([[3.0, 1.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]]), np.array([0, 1])
    x = np.array([[5.0, 0.0, 1.0, 0.0], [0.0, 0.0, 9.0, 1.0], [0.0, 0.0, 1.0, 7.0], [1.0, 0.0, 9.0, 1.0]])
    unseen = x, np.array([2, 2, 3, 3])
    found = zero_shot_accuracy(lambda x: x, seen=seen, unseen=unseen)
    assert found == ZeroShot(alone=0.75, seen=0.5, unseen=0.5)


def test_eszsl_is_where_its_objective_has_no_slope():
    """‖X V Sᵀ − Y‖² + γ ‖V Sᵀ‖² + λ ‖X V‖² + γ λ ‖V‖², by central differences in every entry of V."""
    rng, gamma, ridge = np.random.default_rng(0), 0.7, 1.3
    y = np.repeat(SEEN, 2)
    x = drawn(y, rng)
    V, S, Y = eszsl(x, y, ATTRIBUTES, gamma=gamma, ridge=ridge).V, ATTRIBUTES[SEEN], 2.0 * (y[:, None] == SEEN) - 1.0

    def objective(V):
        return (((x @ V @ S.T - Y) ** 2).sum() + gamma * ((V @ S.T) ** 2).sum() + ridge * ((x @ V) ** 2).sum()
                + gamma * ridge * (V * V).sum())

    for place in np.ndindex(V.shape):
        step = np.zeros(V.shape)
        step[place] = 1e-4
        assert abs(objective(V + step) - objective(V - step)) / 2e-4 < 1e-6
    with pytest.raises(ValueError, match=r"gamma, ridge: got 0\.0 and 1\.0, expected numbers > 0"):
        eszsl(x, y, ATTRIBUTES, gamma=0.0, ridge=1.0)


def test_its_weights_are_chosen_on_divisions_of_seen_classes():
    rng = np.random.default_rng(0)
    divisions = []
    for out in (SEEN[:2], SEEN[4:6]):
        rows, left = np.repeat(np.setdiff1d(SEEN, out), 20), np.repeat(out, 20)
        divisions.append(((drawn(rows, rng), rows), (drawn(left, rng), left)))

    def right(gamma, ridge):
        found = []
        for known, (x, y) in divisions:
            out, model = np.unique(y), eszsl(*known, ATTRIBUTES, gamma=gamma, ridge=ridge)
            found.append(class_accuracy(out[model.scores(x)[:, out].argmax(axis=1)], y))
        return sum(found)

    chosen = choose_eszsl(divisions, ATTRIBUTES)
    assert right(*chosen) == max(right(gamma, ridge) for gamma in GAMMAS for ridge in LAMBDAS)
    with pytest.raises(ValueError, match="divisions: got none"):
        choose_eszsl([], ATTRIBUTES)
    with pytest.raises(ValueError, match="divisions: class 0 is learned from, and is to be unseen"):
        choose_eszsl([(some := (np.ones((1, 3)), np.array([0])), some)], ATTRIBUTES)


def bayes(x, classes):
    """The likeliest of these classes of N(a M, I)"""
    return classes[((x[:, None] - ATTRIBUTES[classes] @ MAP) ** 2).sum(axis=2).argmin(axis=1)]


def test_with_the_true_generator_the_classifier_reaches_bayes_error():
    rng = np.random.default_rng(0)
    real, made, labels = np.repeat(SEEN, 300), np.repeat(UNSEEN, 300), np.repeat(np.arange(12), 2000)
    data = drawn(np.concatenate([real, made]), rng), np.concatenate([real, made])
    scores, x = softmax_classifier(data, classes=12, decay=1.0), drawn(labels, rng)
    best = class_accuracy(bayes(x, np.arange(12)), labels)
    assert 0.6 < best < 0.9, "the classes overlap"
    assert abs(class_accuracy(scores(x).argmax(axis=1), labels) - best) < 0.01
    among = np.isin(labels, UNSEEN)
    alone = class_accuracy(UNSEEN[scores(x[among])[:, UNSEEN].argmax(axis=1)], labels[among])
    assert abs(alone - class_accuracy(bayes(x[among], UNSEEN), labels[among])) < 0.01


def test_a_trained_generator_comes_near_it():
    """Nine seen classes of 60 examples teach it features of three that it never saw; chance is a third."""
    rng = np.random.default_rng(0)
    y = np.repeat(SEEN, 60)
    model = ZeroVAEGANConfig(3, 2, 9, (32,), 3).build(seed=0, jitter=0.3)
    x, a = drawn(y, rng).astype(np.float32), ATTRIBUTES.astype(np.float32)
    fit(model, Batch(x=x, a=a[y], y=np.searchsorted(SEEN, y)), epochs=60, batch_size=60, progress=False, threads=1)
    made = np.repeat(UNSEEN, 200)
    data = np.concatenate([x, model.generate(a[made], rng)]), np.concatenate([y, made])
    labels = np.repeat(UNSEEN, 1000)
    test = drawn(labels, rng)
    found = zero_shot_accuracy(softmax_classifier(data, classes=12, decay=1.0), seen=(x, y), unseen=(test, labels))
    assert found.alone > class_accuracy(bayes(test, UNSEEN), labels) - 0.1
    assert found.unseen > class_accuracy(bayes(test, np.arange(12)), labels) - 0.1


@pytest.mark.parametrize("guess", [by_probability, by_neighbours])
def test_self_training_moves_a_wrong_generator_to_where_the_images_are(guess):
    """Made features are off by a fixed step; the unlabelled images pull the classifier back."""
    rng = np.random.default_rng(0)
    real, made, labels = np.repeat(SEEN, 100), np.repeat(UNSEEN, 20), np.repeat(UNSEEN, 200)
    off = drawn(made, rng, 0.3) + np.array([0.9, -0.9, 0.0])
    data = np.concatenate([drawn(real, rng, 0.3), off]), np.concatenate([real, made])
    x = drawn(labels, rng, 0.3)

    def classify(data):
        return softmax_classifier(data, classes=12, decay=1.0)

    right = [class_accuracy(scores(x).argmax(axis=1), labels)
             for scores in (classify(data), self_train(data, x, UNSEEN, classify=classify, guess=guess))]
    assert right[1] > right[0] + 0.05


def test_the_surest_join_first_with_their_guessed_labels():
    """By hand: two classes on a line, four images, two rounds: the two nearest their centres, then all."""
    asked = []
    data = np.array([[-1.0], [1.0]]), np.array([0, 1])

    def classify(data):
        asked.append(data)
        return lambda x: np.concatenate([-x, x], axis=1) - math.log(2.0)

    x = np.array([[-0.9], [-0.1], [0.2], [1.5]])
    for guess, first in ((by_probability, [-0.9, 1.5]), (by_neighbours, [-0.9, 1.5])):
        asked.clear()
        self_train(data, x, [0, 1], classify=classify, guess=guess, rounds=2)
        assert [len(features) for features, _ in asked] == [2, 4, 6]
        np.testing.assert_array_equal(asked[1][0][2:, 0], first)
        np.testing.assert_array_equal(asked[1][1], [0, 1, 0, 1])
        np.testing.assert_array_equal(sorted(asked[2][0][2:, 0]), [-0.9, -0.1, 0.2, 1.5])
