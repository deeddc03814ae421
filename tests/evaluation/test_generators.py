"""Fréchet distance, precision and recall on cases whose answers are known, and on digits spoiled on purpose."""

import numpy as np
import pytest
from scipy import linalg

from minivae.data import load
from minivae.evaluation import (
    frechet_between,
    frechet_by_count,
    frechet_distance,
    frechet_limit,
    generators,
    neighbours,
    precision_recall,
    sample_quality,
)

RNG = np.random.default_rng(0)


def covariance(D, rank=None, seed=0):
    A = np.random.default_rng(seed).standard_normal((rank or D, D))
    return A.T @ A / len(A)


# Two Gaussians

def test_diagonal_covariances_have_a_closed_form():
    """‖m₁ − m₂‖² + Σ (σ₁ − σ₂)²"""
    one, two = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.7])
    found = frechet_between(np.array([1.0, 0.0, 2.0]), np.diag(one**2), np.array([0.0, 0.0, 4.0]), np.diag(two**2))
    assert found == pytest.approx(1 + 4 + ((one - two) ** 2).sum(), rel=1e-12)


def test_in_one_dimension():
    assert frechet_between(np.array([2.0]), np.array([[9.0]]), np.array([-1.0]), np.array([[4.0]])) == pytest.approx(10)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_formula_with_scipys_matrix_roots(seed):
    one, two, mean = covariance(6, seed=seed), covariance(6, seed=seed + 50), np.random.default_rng(seed).random((2, 6))
    root = linalg.sqrtm(one)
    expected = ((mean[0] - mean[1]) ** 2).sum() + np.trace(one + two - 2 * linalg.sqrtm(root @ two @ root))
    assert frechet_between(mean[0], one, mean[1], two) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_commute():
    """Multiples of one another: tr C (a − b)²"""
    C = covariance(5)
    assert frechet_between(np.zeros(5), 4 * C, np.zeros(5), 9 * C) == pytest.approx(np.trace(C), rel=1e-12)


def test_it_is_symmetric_and_zero_only_for_equals():
    one, two, m = covariance(4), covariance(4, seed=1), np.ones(4)
    assert frechet_between(m, one, 0 * m, two) == pytest.approx(frechet_between(0 * m, two, m, one), rel=1e-12)
    assert frechet_between(m, one, m, one) == pytest.approx(0, abs=1e-13)
    assert frechet_between(m, one, m, 1.1 * one) > 1e-3


@pytest.mark.parametrize(("rank_one", "rank_two"), [(2, 2), (1, 3), (6, 2)])
def test_singular_covariances_work(rank_one, rank_two):
    """scipy's root of a singular matrix may be complex, or fail; here the limit of nearly singular ones is reached."""
    one, two, m = covariance(6, rank_one), covariance(6, rank_two, seed=1), np.zeros(6)
    found = frechet_between(m, one, m, two)
    assert isinstance(found, float)
    nearly = frechet_between(m, one + 1e-12 * np.eye(6), m, two + 1e-12 * np.eye(6))
    assert found == pytest.approx(nearly, rel=1e-4)
    assert frechet_between(m, one, m, one) == pytest.approx(0, abs=1e-12)


def test_two_lines_at_a_right_angle_share_nothing():
    assert frechet_between(np.zeros(2), np.diag([4.0, 0.0]), np.zeros(2), np.diag([0.0, 9.0])) == pytest.approx(13)


# Two samples

def test_a_shared_rotation_and_shift_change_nothing():
    x, y = RNG.standard_normal((2, 300, 5)) * np.array([1, 2, 3, 0.1, 0.5])
    rotation = np.linalg.qr(RNG.standard_normal((5, 5)))[0]
    moved = frechet_distance(x @ rotation + 7, y @ rotation + 7)
    assert moved == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert frechet_distance(x @ rotation, y) != pytest.approx(frechet_distance(x, y), rel=0.1)


def test_it_is_that_of_the_fitted_gaussians():
    x, y = RNG.standard_normal((2, 50, 3))
    expected = frechet_between(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(x[:, :1], y[:, :1]) == pytest.approx(
        (x[:, 0].mean() - y[:, 0].mean()) ** 2 + (x[:, 0].std(ddof=1) - y[:, 0].std(ddof=1)) ** 2)


def test_equal_samples_have_none_and_samples_of_equals_tend_to_none():
    x, y = np.random.default_rng(1).standard_normal((2, 16_000, 4))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    few, many = frechet_distance(x[:100], y[:100]), frechet_distance(x, y)
    assert 0 < many < 0.05 * few


def test_of_samples_it_tends_to_that_of_their_gaussians():
    rng, one, two = np.random.default_rng(2), covariance(4), covariance(4, seed=3)
    x, y = rng.multivariate_normal(np.zeros(4), one, 40_000), rng.multivariate_normal(np.ones(4), two, 40_000)
    assert frechet_distance(x, y) == pytest.approx(frechet_between(np.zeros(4), one, np.ones(4), two), rel=0.02)


# Its bias

def test_the_bias_falls_as_one_over_n_and_the_limit_takes_it_out():
    """Of two samples of one Gaussian the truth is 0: N times FD stays the same, and the line ends near 0."""
    x, y = np.random.default_rng(3).standard_normal((2, 6000, 10))
    counts, distances = frechet_by_count(x, y)
    assert counts.tolist() == [6000, 3000, 2000, 1500, 1200]
    assert (np.diff(distances) > 0).all(), "fewer images, larger distances"
    products = counts * distances
    assert products.max() < 1.3 * products.min()
    assert abs(frechet_limit(x, y)) < 0.2 * distances[0]


def test_the_limit_of_different_gaussians_is_nearer_to_the_truth():
    """Of N(0, I) and N(0, diag σ²), over 20 draws of 400 points each."""
    rng, std, m = np.random.default_rng(0), np.linspace(0.5, 1.5, 10), np.zeros(10)
    draws = [(rng.standard_normal((400, 10)), rng.standard_normal((400, 10)) * std) for _ in range(20)]
    truth = frechet_between(m, np.eye(10), m, np.diag(std**2))
    plain = np.mean([frechet_distance(x, y) for x, y in draws]) - truth
    limit = np.mean([frechet_limit(x, y) for x, y in draws]) - truth
    assert plain > 0.1 * truth
    assert abs(limit) < 0.5 * plain


def test_each_part_is_used_once():
    """Of two parts of two rows each, FD is the mean over the parts."""
    x = RNG.standard_normal((4, 2))
    counts, distances = frechet_by_count(x, x + 3.0, parts=2)
    assert counts.tolist() == [4, 2]
    assert distances[0] == pytest.approx(18)
    assert np.isfinite(distances[1])
    assert frechet_by_count(x, x, parts=1)[1] == pytest.approx(0, abs=1e-12)


# Precision and recall

LINE = np.arange(20.0)[:, None]


def test_identical_sets_are_all_among_each_other():
    assert precision_recall(LINE, LINE) == (1.0, 1.0)


def test_disjoint_sets_share_nothing():
    assert precision_recall(LINE, LINE + 1000.0) == (0.0, 0.0)


def test_a_subset_is_right_and_not_everything():
    """Real: 0 … 9 and 100 … 109; generated: 0, ½, … 9½, of which 9½ is within 3 of 9, so all are among the real ones.

    Their third neighbours are at most 1½ away: they reach 0 … 9, and none of 100 … 109.
    """
    real, generated = np.concatenate([LINE[:10], LINE[:10] + 100.0]), 0.5 * LINE
    assert precision_recall(generated, real) == (1.0, 0.5)
    assert precision_recall(real, generated) == (0.5, 1.0)


def test_the_kth_neighbour_says_how_far_a_point_reaches():
    """Real points at 0, 1, 3, 7 with k = 1 reach 1, 1, 2, 4: up to −1 and 11; the border counts."""
    real = np.array([[0.0], [1.0], [3.0], [7.0]])
    for at, inside in ((-1.0, True), (-1.01, False), (11.0, True), (11.01, False), (5.0, True)):
        precision, _ = precision_recall(np.full((4, 1), at), real, k=1)
        assert precision == inside, at
    assert precision_recall(np.full((4, 1), 12.0), real, k=2)[0] == 1.0          # 7 reaches 6 then: up to 13


def test_one_image_again_and_again_is_right_and_recalls_nothing():
    real = np.random.default_rng(5).standard_normal((50, 3))
    assert precision_recall(np.tile(real[:1], (50, 1)), real) == (1.0, 0.02)     # it recalls itself


def test_blocks_change_nothing(monkeypatch):
    x, y = RNG.standard_normal((2, 90, 4))
    whole = precision_recall(x, y)
    monkeypatch.setattr(neighbours, "ROWS", 7)
    assert precision_recall(x, y) == whole
    assert 0 < whole[0] < 1


def test_distances_are_those_by_hand_even_far_from_the_origin():
    x, y = RNG.standard_normal((2, 12, 3))
    direct = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(neighbours.squared_distances(x, y), direct, rtol=1e-12)
    np.testing.assert_allclose(neighbours.squared_distances(x + 1e6, y + 1e6), direct, rtol=1e-6)


# Bad input

A = np.zeros((10, 3))


@pytest.mark.parametrize(("call", "said"), [
    (lambda: frechet_distance(A, A[:9]), "y: got 9 rows, expected 10, as many as x has: the smaller set's noise"),
    (lambda: precision_recall(A[:9], A), "y: got 10 rows, expected 9"),
    (lambda: frechet_distance(A, A[:, :2]), "y: got 2 columns, expected 3"),
    (lambda: frechet_distance(A[:1], A[:1]), r"x: got shape \(1, 3\), expected \(N, D\) with N at least 2"),
    (lambda: frechet_distance(A[0], A[0]), r"x: got shape \(3,\)"),
    (lambda: frechet_distance(A, A * np.nan), "y: holds NaN"),
    (lambda: frechet_by_count(A, A, parts=6), "expected .* N at least 12"),
    (lambda: frechet_by_count(A, A, parts=0), "parts: got 0, expected at least 1"),
    (lambda: frechet_limit(A, A, parts=1), "parts: got 1, expected at least 2"),
    (lambda: precision_recall(A, A, k=0), "k: got 0, expected at least 1"),
    (lambda: precision_recall(A, A, k=10), "N at least 11"),
])
def test_bad_input_is_explained(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# Digits

@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_nearer_to_digits_than_spoiled_ones(digits):
    """The more noise, the farther."""
    real, others = digits.test[:500], digits.train[:500]
    noise = np.random.default_rng(0).standard_normal(others.shape).astype(np.float32)
    good, some, much = (sample_quality((others + s * noise).clip(0, 1), real) for s in (0.0, 0.2, 0.5))
    assert good.frechet < 0.3 * some.frechet < 0.1 * much.frechet
    assert good.precision > some.precision + 0.1 > much.precision + 0.4
    assert min(good.precision, good.recall) > 0.8
    assert str(good).startswith(f"Fréchet distance {good.frechet:.2f}, precision")
    assert "500 generated images and as many real ones" in str(good)


def test_half_of_the_digits_are_right_and_not_everything(digits):
    few = sample_quality(digits.train[digits.train_labels < 5][:500], digits.test[:500])
    assert few.precision > 0.8
    assert 0.3 < few.recall < 0.65
    one = sample_quality(np.tile(digits.train[:1], (500, 1)), digits.test[:500])
    assert one.precision in (0.0, 1.0)
    assert one.recall < 0.01
    assert one.frechet > few.frechet


def test_what_is_no_digit_is_not_taken_for_one(digits):
    """Pixels shuffled, ink for paper, noise: features near 0 would lie within reach of a digit that is hard to read."""
    rng, others = np.random.default_rng(0), digits.train[:500]
    for images in (others[:, rng.permutation(784)], 1.0 - others, rng.random(others.shape)):
        quality = sample_quality(images, digits.test[:500])
        assert quality.precision < 0.05
        assert quality.frechet > 20.0


def test_the_number_of_digits_must_be_equal(digits):
    with pytest.raises(ValueError, match="y: got 400 rows, expected 500"):
        sample_quality(digits.test[:500], digits.test[:400])


def test_nobody_calls_it_fid():
    assert not any("fid" in name.lower() for name in vars(generators))
