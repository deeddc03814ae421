"""Codebooks: the nearest word, words that follow what chooses them, words that nobody chooses."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.backend import device
from minivae.nn import Arena, MovingAverage
from minivae.parts import Codebook, perplexity

RNG = np.random.default_rng(0)


def book(codes=5, dimensions=3, dtype=np.float64):
    made = Codebook(codes, dimensions, rng=np.random.default_rng(1))
    return made, Arena(made.parameters(), device("cpu"), dtype)


def test_the_nearest_word_is_that_of_brute_force():
    words, z = book()[0], RNG.standard_normal((4, 2, 3, 3))
    distances = np.square(z[..., None, :] - words.words()).sum(axis=-1)
    np.testing.assert_array_equal(words.nearest(z), distances.argmin(axis=-1))
    (e, apart), _ = words(z)
    np.testing.assert_array_equal(e, words.words()[words.nearest(z)])
    np.testing.assert_allclose(apart, distances.min(axis=-1).sum(axis=(1, 2)), rtol=1e-12)


def test_of_words_as_near_it_is_the_first():
    words, _ = book(3, 1)
    words.sums.value[...], words.counts.value[...] = [[1.0], [-1.0], [1.0]], 1.0
    assert words.nearest(np.array([[0.0], [2.0], [-0.1]])).tolist() == [0, 0, 1]


def test_the_derivative_goes_straight_through_and_the_commitment_s_is_its_own():
    words, z = book()[0], RNG.standard_normal((2, 2, 2, 3))
    (e, _), pull = words(z)
    de, dapart = RNG.standard_normal(e.shape), RNG.standard_normal(2)
    np.testing.assert_array_equal(pull(de, 0.0 * dapart), de)
    np.testing.assert_allclose(pull(0.0 * de, dapart), 2.0 * (z - e) * dapart[:, None, None, None])


def test_the_pullback_tallies_what_chose_each_word():
    (words, arena), z = book(), RNG.standard_normal((2, 2, 2, 3))
    (e, _), pull = words(z)
    codes, found = words.nearest(z), []
    for tally in (lambda: words.tally(z, codes=codes), lambda: pull(e, np.ones(2)),
                  lambda: pull(e, np.ones(2), need_dp=False)):
        arena.zero_grad()
        tally()
        found.append(arena.grad.copy())
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(words.counts.value.shape, np.bincount(codes.ravel(), minlength=5).shape)
    assert found[0][-5:].tolist() == np.bincount(codes.ravel(), minlength=5).tolist()
    assert not found[2].any()


def test_without_a_memory_a_step_is_one_of_k_means():
    words, arena = book(4, 2)
    z = RNG.standard_normal((50, 2))
    chose = words.nearest(z)
    arena.zero_grad()
    for part in (z[:20], z[20:]):                      # as two threads would
        words.tally(part, codes=words.nearest(part))
    MovingAverage(0.0).step(arena)
    for k in np.unique(chose):
        np.testing.assert_allclose(words.words()[k], z[chose == k].mean(axis=0), rtol=1e-3)
    np.testing.assert_array_equal(words.counts.value, np.bincount(chose, minlength=4))


def test_a_memory_is_the_mean_of_what_chose_the_word_the_latest_weighing_most():
    words, arena = book(1, 1)
    words.sums.value[...], words.counts.value[...] = 0.0, 1.0
    for z in (1.0, 5.0):
        arena.zero_grad()
        words.tally(np.array([[z], [z]]), codes=np.array([0, 0]))
        MovingAverage(0.75).step(arena)
    sums, counts = 0.75 * 0.25 * 2.0 + 0.25 * 10.0, 0.75 * (0.75 + 0.25 * 2.0) + 0.25 * 2.0
    np.testing.assert_allclose(words.words(), sums / counts, rtol=1e-12)


def test_words_that_nobody_chooses_are_drawn_from_the_batch_and_others_stay():
    words, _ = book(4, 2)
    words.counts.value[...] = 0.0, 3.0, 0.5, 8.0
    before, z = words.words().copy(), RNG.standard_normal((6, 2)) + 10.0
    words.restart(z, np.random.default_rng(2), least=1.0)
    after = words.words()
    np.testing.assert_allclose(after[[1, 3]], before[[1, 3]], rtol=1e-4)
    for k in (0, 2):
        assert np.abs(z - after[k]).max(axis=1).min() < 1e-3, "one of the batch"
    assert (words.counts.value >= 1.0).all()
    assert np.isfinite(after).all()


def test_a_word_with_no_count_is_no_division_by_zero():
    words, _ = book(3, 2)
    words.counts.value[...] = 0.0, 1.0, 1.0
    assert np.isfinite(words.words()).all()


@pytest.mark.parametrize(("counts", "expected"), [([7, 7, 7, 7], 4.0), ([9, 0, 0], 1.0), ([1, 1, 0, 0], 2.0),
                                                  ([3, 1], 4.0 / 3.0**0.75)])
def test_perplexity_by_hand(counts, expected):
    assert perplexity(np.array(counts)) == pytest.approx(expected)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="codes: got 0, expected at least 1"):
        Codebook(0, 2, rng=RNG)
