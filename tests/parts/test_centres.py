"""Centres of features: the means of what came, whoever brings them; what they pull at; why not those of one batch."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.backend import device
from minivae.nn import Arena, MovingAverage
from minivae.ops import one_hot
from minivae.parts import Centres

C, F = 3, 2


def centres():
    made = Centres(C, F)
    return made, Arena(made.parameters(), device("cpu"), np.float64)


def classes(*labels):
    return one_hot(np.array(labels), classes=C, dtype=float)


def test_without_a_memory_they_are_the_means_of_the_batch():
    rng, (where, arena) = np.random.default_rng(0), centres()
    real, made, y = rng.standard_normal((6, F)), rng.standard_normal((6, F)), classes(0, 2, 2, 0, 0, 2)
    arena.zero_grad()
    for rows in (slice(0, 2), slice(2, 6)):            # as two threads would
        where.tally(real[rows], made[rows], y=y[rows], weight=np.full(len(y[rows]), 1 / 6))
    MovingAverage(0.0).step(arena)
    for found, features in zip(where.centres(), (real, made)):
        for c in (0, 2):
            np.testing.assert_allclose(found[c], features[y[:, c] == 1].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(where.share.value, [0.5, 0.0, 0.5])


def test_a_memory_weighs_the_latest_most_and_waits_for_a_class_that_does_not_come():
    where, arena = centres()
    for f, c in ((1.0, 0), (5.0, 0), (9.0, 1)):
        arena.zero_grad()
        where.tally(np.full((1, F), f), np.full((1, F), -f), y=classes(c), weight=np.ones(1))
        MovingAverage(0.5).step(arena)
    real, made = where.centres()
    np.testing.assert_allclose(real[:, 0], [(0.5 * 1.0 + 5.0) / 1.5, 9.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(made, -real)


def test_before_anything_came_nothing_pulls():
    where, _ = centres()
    value, pullback = where(np.ones((2, F)), y=classes(0, 1))
    assert not value.any()
    assert not pullback(np.ones(2)).any()


def test_what_they_pull_at_is_the_half_square_of_the_means_distance():
    """Where the moving averages are those of a batch, the mean of what its examples hear is ½‖m̃ − m‖², and what they
    hear is its derivative with respect to each."""
    rng, (where, arena) = np.random.default_rng(0), centres()
    real, made, y = rng.standard_normal((4, F)), rng.standard_normal((4, F)), classes(1, 1, 1, 1)
    where.tally(real, made, y=y, weight=np.full(4, 0.25))
    MovingAverage(0.0).step(arena)

    def half_square(f):
        return 0.5 * np.square(f.mean(axis=0) - real.mean(axis=0)).sum()

    value, pullback = where(made, y=y)
    assert value.mean() == pytest.approx(half_square(made), rel=1e-12)
    df, h = pullback(np.full(4, 0.25)), 1e-6
    for i, j in np.ndindex(4, F):
        up, down = made.copy(), made.copy()
        up[i, j] += h
        down[i, j] -= h
        assert df[i, j] == pytest.approx((half_square(up) - half_square(down)) / (2 * h), abs=1e-8)


def squeeze(pull, rounds=2000, size=6):
    """E of what a spread σ of made features hears, (∂/∂σ), where made and real ones are both N(0, 1): 0 is right."""
    rng, found = np.random.default_rng(0), []
    for _ in range(rounds):
        real, made = rng.standard_normal((2, size, 1))
        found.append(float((pull(real, made) * made).sum()))
    return np.mean(found), np.std(found) / np.sqrt(rounds)


def test_the_centres_of_one_batch_would_make_all_alike():
    """A famous mistake: E ‖m̃ − m‖² of a few examples holds their variance over their number, which gets less where the
    generator's images of a class are alike.  Centres of other batches know nothing of this one's noise."""
    where, arena = Centres(1, 1), None
    arena = Arena(where.parameters(), device("cpu"), np.float64)

    def of_one_batch(real, made):
        return np.full_like(made, (made.mean() - real.mean()) / len(made))

    def of_those_before(real, made):
        y, weight = np.ones((len(made), 1)), np.full(len(made), 1 / len(made))
        df = where(made, y=y)[1](weight)
        arena.zero_grad()
        where.tally(real, made, y=y, weight=weight)
        MovingAverage(0.9).step(arena)
        return df

    mean, error = squeeze(of_one_batch)
    assert mean == pytest.approx(1 / 6, abs=4 * error)              # ½ (1 + σ²) / 6, by σ
    assert mean > 10 * error
    mean, error = squeeze(of_those_before)
    assert abs(mean) < 4 * error


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="classes: got 0, expected at least 1"):
        Centres(0, 3)
