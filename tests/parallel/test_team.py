"""Threads that wait for Python are soon given it; and what is put aside for one of them is done."""

import sys
import threading
import time

import numpy as np
import pytest

from minivae.parallel import SOLO, Team, lent, shared_out, spare_team
from minivae.parallel.team import PATIENCE
from minivae.variants import VAEConfig


@pytest.fixture
def interval():
    """What this process had, back again afterwards."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("before", "after"), [(5e-3, PATIENCE), (1e-5, 1e-5)])
def test_threads_of_a_team_hand_python_over_soon(before, after, interval):
    sys.setswitchinterval(before)
    Team(1)
    assert sys.getswitchinterval() == pytest.approx(before)
    assert Team(2).run(lambda i: i) == [0, 1]
    assert sys.getswitchinterval() == pytest.approx(after)


def test_what_is_put_aside_is_done_by_another_thread_in_order():
    done, team = [], Team(2)

    def work(k):
        time.sleep(0.01 * (3 - k))
        done.append(k)
        return threading.get_ident()

    waits = [team.aside(lambda k=k: work(k)) for k in range(3)]
    assert threading.get_ident() not in {wait() for wait in waits}
    assert done == [0, 1, 2]


def test_without_another_thread_it_is_done_at_once():
    done = []
    wait = SOLO.aside(lambda: done.append(threading.get_ident()))
    assert done == [threading.get_ident()]
    assert wait() is None


def test_an_error_aside_is_raised_where_it_is_waited_for():
    team = Team(2)
    wait, after = team.aside(lambda: 1 / 0), team.aside(lambda: "went on")
    with pytest.raises(ZeroDivisionError):
        wait()
    assert after() == "went on"


def test_aside_numpy_warns_as_it_does_here():
    with np.errstate(divide="ignore"):
        assert np.isinf(Team(2).aside(lambda: np.ones(1) / 0.0)()).all()
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        Team(2).aside(lambda: np.ones(1) / 0.0)()


def test_threads_are_lent_to_one_thread_only():
    team = Team(2)
    with lent(team):
        assert spare_team() is team
        assert team.run(lambda i: spare_team()) == [team, SOLO]
        with pytest.raises(RuntimeError), lent(SOLO):
            raise RuntimeError
        assert spare_team() is team
    assert spare_team() is SOLO


def test_what_is_shared_out_is_done_once_by_each_thread_that_gets_some():
    def part(of):
        return threading.get_ident(), list(range(10))[of]

    assert shared_out(part, 4) == [(threading.get_ident(), [0, 1, 2, 3])]
    with lent(Team(3)):
        for n, parts in ((7, [[0, 1], [2, 3], [4, 5, 6]]), (2, [[0], [1]]), (1, [[0]]), (0, [[]])):
            threads, done = zip(*shared_out(part, n), strict=True)
            assert list(done) == parts
            assert len(set(threads)) == len(parts)


@pytest.mark.parametrize(("rows", "spare"), [(8, 2), (64, 1)])
def test_a_batch_too_small_to_share_has_threads_to_spare(rows, spare):
    model = VAEConfig(4, (3,), 2).build()
    model.workers.rows_each = 32
    model.workers.hire(2)
    seen = []
    model.workers.gradient(lambda model, rows: (seen.append(spare_team().threads), (np.zeros(()),))[1], rows)
    assert set(seen) == {spare}
