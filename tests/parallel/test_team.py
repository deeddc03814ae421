"""Threads that wait for Python are soon given it; whoever wanted it sooner still gets it sooner."""

import sys

import pytest

from minivae.parallel import Team
from minivae.parallel.team import PATIENCE


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
