"""The Chinese restaurant process: its probabilities, and that a sweep draws from what it says."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from minivae.variants import crp_log_prob, crp_sweep


def one_after_another(seats, concentration):
    """log P by the sequential rule, in the order in which the guests stand in `seats`."""
    total = 0.0
    for i, table in enumerate(seats):
        there = np.count_nonzero(seats[:i] == table)
        total += np.log((there or concentration) / (i + concentration))
    return total


def partitions(n):
    """All ways to seat n guests, tables numbered as they are opened."""
    ways = [[0]]
    for _ in range(n - 1):
        ways = [[*way, table] for way in ways for table in range(max(way) + 2)]
    return [np.array(way) for way in ways]


@pytest.mark.parametrize("concentration", [0.3, 1.0, 5.0])
def test_the_joint_probability_is_the_same_in_any_order(concentration):
    seats = np.array([0, 0, 1, 2, 1, 0])
    expected = crp_log_prob(seats, concentration=concentration)
    for order in list(permutations(range(6)))[::37]:
        assert one_after_another(seats[list(order)], concentration) == pytest.approx(expected, abs=1e-12)
    assert crp_log_prob(7 - seats, concentration=concentration) == pytest.approx(expected, abs=1e-12)   # other names


@pytest.mark.parametrize("concentration", [0.3, 2.0])
def test_all_ways_to_sit_have_probability_one_and_so_many_tables_on_average(concentration):
    ways = partitions(6)
    assert len(ways) == 203                                                  # Bell's number
    p = np.exp([crp_log_prob(way, concentration=concentration) for way in ways])
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    tables = sum(concentration / (concentration + i) for i in range(6))
    assert (p * [way.max() + 1 for way in ways]).sum() == pytest.approx(tables, abs=1e-12)


def test_sweeps_draw_from_the_posterior():
    """Four guests, three tables' worth of likelihoods that depend on nothing but who is asked: a chain of sweeps visits
    each way to sit as often as prior × likelihood says."""
    rng, n, room = np.random.default_rng(0), 4, 4
    seats, visits = np.full(n, -1), Counter()
    flat = np.zeros((n, room + 1))
    sweeps = 4_000
    for _ in range(sweeps):
        seats, _ = crp_sweep(flat, seats, guests=rng.permutation(n), concentration=0.8,
                             gumbel=rng.gumbel(size=flat.shape))
        first = {}
        visits[tuple(first.setdefault(table, len(first)) for table in seats)] += 1
    for way in partitions(n):
        p = np.exp(crp_log_prob(way, concentration=0.8))
        assert abs(visits[tuple(way)] / sweeps - p) < 5 * np.sqrt(10 * p * (1 - p) / sweeps)      # a chain: fewer draws


def test_a_guest_goes_where_it_is_explained_and_counts_weigh():
    log_p = np.array([[0.0, np.log(2.0), -np.inf, -9.0]])
    seats = np.array([0, 0, 0, 1, -1])
    drawn = Counter()
    rng = np.random.default_rng(1)
    for _ in range(4000):
        now, _ = crp_sweep(log_p, seats, guests=np.array([4]), concentration=1.0, gumbel=rng.gumbel(size=(1, 4)))
        drawn[int(now[4])] += 1
        assert (now[:4] == seats[:4]).all()
    assert abs(drawn[0] / 4000 - 3 / 5) < 0.04                               # 3 · 1 against 1 · 2
    assert drawn[0] + drawn[1] > 3990


def test_a_new_table_is_a_free_one_and_those_after_may_join():
    """The first guest opens, for the new is all that explains it; the second, alike, finds a table of one."""
    log_p = np.array([[-50.0, -50.0, -50.0, 0.0]] * 2)
    seats, opened = crp_sweep(log_p, np.array([0, 0, 1, -1, -1]), guests=np.array([3, 4]), concentration=1e-6,
                              gumbel=np.zeros((2, 4)))
    assert opened == [2]
    assert seats.tolist() == [0, 0, 1, 2, 2]
    full, none = crp_sweep(log_p[:, [0, 1, 3]], np.array([0, 0, 1, -1, -1]), guests=np.array([3, 4]),
                           concentration=1e-6, gumbel=np.zeros((2, 3)))
    assert none == []                                                        # no room: the larger of the two
    assert full.tolist() == [0, 0, 1, 0, 0]


def test_who_leaves_last_leaves_a_free_table():
    seats, opened = crp_sweep(np.array([[0.0, -90.0, -90.0]]), np.array([0, 0, 1]), guests=np.array([2]),
                              concentration=1.0, gumbel=np.zeros((1, 3)))
    assert (seats.tolist(), opened) == ([0, 0, 0], [])
    again, opened = crp_sweep(np.array([[-90.0, 0.0, -3.0]]), np.array([0, 0, 1]), guests=np.array([2]),
                              concentration=1.0, gumbel=np.zeros((1, 3)))
    assert (again.tolist(), opened) == ([0, 0, 1], [1])                      # alone it was: what it had there is gone


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="concentration: got 0, expected a number > 0"):
        crp_log_prob(np.array([0]), concentration=0)
