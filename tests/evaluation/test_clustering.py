"""Clusters against classes, on cases known by hand; k-means against scipy's and against what it should find."""

from itertools import permutations

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2

from minivae.data import load
from minivae.evaluation import clustering_accuracy, k_means, normalised_mutual_information
from minivae.evaluation.clustering import contingency

Y = np.arange(60) % 3
BOTH = [clustering_accuracy, normalised_mutual_information]


def by_trying(clusters, labels):
    """Accuracy under every one-to-one assignment of as many clusters as classes."""
    return max(np.mean(np.array(names)[clusters] == labels) for names in permutations(range(labels.max() + 1)))


@pytest.mark.parametrize("score", BOTH)
@pytest.mark.parametrize("names", list(permutations(range(3))))
def test_permuted_labels_are_right(score, names):
    assert score(np.array(names)[Y], Y) == pytest.approx(1.0, abs=1e-12)
    assert score(Y, 100 - 7 * Y) == pytest.approx(1.0, abs=1e-12)         # whatever they are called


def test_one_cluster_for_all_gets_the_largest_class_and_says_nothing():
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    assert clustering_accuracy(np.zeros(10, int), labels) == 0.5
    assert normalised_mutual_information(np.zeros(10, int), labels) == 0.0
    assert normalised_mutual_information(labels, np.zeros(10, int)) == 0.0
    assert [score(np.zeros(4, int), np.ones(4, int)) for score in BOTH] == [1.0, 1.0]


def test_independent_clusters_say_nothing():
    """Every pair equally often."""
    clusters, labels = np.repeat(np.arange(4), 15), np.tile(Y[:15], 4)
    assert normalised_mutual_information(clusters, labels) == pytest.approx(0.0, abs=1e-12)
    assert clustering_accuracy(clusters, labels) == pytest.approx(0.25)   # three of four clusters, a third of each


def test_a_case_by_hand():
    """Clusters {0, 0, 1}, {1, 1, 0}: 4 of 6 right; I = log 2 − H(⅓), H = log 2 of both"""
    clusters, labels = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0])
    assert clustering_accuracy(clusters, labels) == pytest.approx(4 / 6)
    third = -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    assert normalised_mutual_information(clusters, labels) == pytest.approx((np.log(2) - third) / np.log(2))


def test_the_assignment_is_one_to_one_and_best():
    """Both clusters are mostly class 0, and only one of them may be: not the first (5 + 1) but the second (4 + 8)."""
    clusters, labels = np.repeat([0, 1], 9), np.array([0] * 5 + [1] * 4 + [0] * 8 + [1])
    assert clustering_accuracy(clusters, labels) == pytest.approx(12 / 18)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        clusters, labels = rng.integers(0, 5, 40), rng.integers(0, 5, 40)
        assert clustering_accuracy(clusters, labels) == pytest.approx(by_trying(clusters, labels))


def test_more_clusters_than_classes_are_left_over_and_fewer_leave_classes_out():
    halves = np.arange(60) % 6                                            # each class in two halves
    assert clustering_accuracy(halves, Y) == pytest.approx(0.5)
    assert clustering_accuracy(Y, halves) == pytest.approx(0.5)
    assert normalised_mutual_information(halves, Y) == pytest.approx(2 * np.log(3) / (np.log(3) + np.log(6)))


def test_mutual_information_is_symmetric_and_between_0_and_1():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 200), rng.integers(0, 7, 200)
    assert normalised_mutual_information(a, b) == pytest.approx(normalised_mutual_information(b, a))
    assert 0 < normalised_mutual_information(a, b) < 0.1
    assert contingency(a, b).sum() == 200


@pytest.mark.parametrize("score", BOTH)
@pytest.mark.parametrize(("clusters", "labels", "said"), [
    (Y[:5], Y[:6], "labels: got 6, expected 5"), (Y[:0], Y[:0], r"clusters: got int64 of shape \(0,\)"),
    (1.0 * Y, Y, "clusters: got float64"), (Y, Y[:, None], r"labels: got int64 of shape \(60, 1\)")])
def test_bad_input_is_explained(score, clusters, labels, said):
    with pytest.raises(ValueError, match=said):
        score(clusters, labels)


# k-means

def blobs(n=200, k=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return 10.0 * rng.standard_normal((k, 3))[labels] + rng.standard_normal((n, 3)), labels


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_blobs(seed):
    x, labels = blobs(seed=10)
    found = k_means(x, 5, seed=seed)
    assert clustering_accuracy(found.numbers, labels) == 1.0
    for k in range(5):
        np.testing.assert_allclose(found.centres[k], x[found.numbers == k].mean(axis=0))
    assert found.inertia == pytest.approx(((x - found.centres[found.numbers]) ** 2).sum())
    np.testing.assert_array_equal(found.of(x), found.numbers)


def test_it_ends_where_nothing_moves_and_no_farther_than_scipys():
    x = np.random.default_rng(0).standard_normal((300, 2))
    found = k_means(x, 7, restarts=20)
    again, inertia = kmeans2(x, found.centres, minit="matrix", iter=5)[0], []
    np.testing.assert_allclose(again, found.centres)                      # for scipy, too, it is a fixed point
    for seed in range(20):
        drawn = x[np.random.default_rng(seed).choice(300, 7, replace=False)]
        centres, numbers = kmeans2(x, drawn, minit="matrix", iter=50)
        inertia.append(((x - centres[numbers]) ** 2).sum())
    assert found.inertia < 1.01 * min(inertia)


def test_a_centre_without_points_moves():
    """Three centres at one place, points at three: from [0, 0, 0] Lloyd alone would never leave."""
    from minivae.evaluation.clustering import _lloyd
    x = np.repeat([[0.0], [5.0], [9.0]], 4, axis=0)
    found = _lloyd(x, np.zeros((3, 1)), 50)
    assert found.inertia == 0.0
    assert sorted(found.centres.ravel()) == [0.0, 5.0, 9.0]


def test_one_centre_is_the_mean_and_as_many_as_points_are_the_points():
    x, _ = blobs(20)
    assert k_means(x, 1).centres[0] == pytest.approx(x.mean(axis=0))
    assert k_means(x, 20).inertia == pytest.approx(0, abs=1e-9)
    assert k_means(np.ones((6, 2)), 3).inertia == 0.0                     # all alike: nothing to draw by distance


def test_the_same_seed_gives_the_same_clusters():
    x = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    one, two = k_means(x, 6, seed=3), k_means(x, 6, seed=3)
    np.testing.assert_array_equal(one.numbers, two.numbers)


def test_on_digits_it_is_far_better_than_chance():
    digits = load("digits")
    found = k_means(digits.test, 10, restarts=2)
    assert 0.4 < clustering_accuracy(found.numbers, digits.test_labels) < 0.75
    assert 0.4 < normalised_mutual_information(found.numbers, digits.test_labels) < 0.7


@pytest.mark.parametrize(("call", "said"), [
    (lambda: k_means(np.ones((3, 2)), 4), r"x: got shape \(3, 2\), expected .* N at least k = 4"),
    (lambda: k_means(np.ones((3, 2)), 0), "k: got 0, expected at least 1"),
    (lambda: k_means(np.full((3, 2), np.inf), 2), "finite"), (lambda: k_means(np.ones(3), 2), r"got shape \(3,\)")])
def test_bad_points_are_explained(call, said):
    with pytest.raises(ValueError, match=said):
        call()
