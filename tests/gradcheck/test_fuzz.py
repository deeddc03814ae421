"""Five hundred random compositions of the library's ops, half of them with a mistake: none is misjudged."""

from __future__ import annotations

import fuzzer
import pytest

PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_none_is_misjudged(part):
    found = [(seed, *fuzzer.judged(seed)) for seed in range(500 * part // PARTS, 500 * (part + 1) // PARTS)]
    assert [(seed, says) for seed, _, says in found if says] == []
    kinds = [kind for _, kind, _ in found]
    assert kinds.count("right") >= 10
    assert kinds.count("wrong") >= 8


def test_a_composition_is_decided_by_its_seed():
    one, two = fuzzer.compose(fuzzer.np.random.default_rng(5)), fuzzer.compose(fuzzer.np.random.default_rng(5))
    assert [s.operands for s in one.steps] == [s.operands for s in two.steps]
    assert all((a == b).all() for a, b in zip(one.inputs, two.inputs))


@pytest.mark.parametrize("seed", [4763, 42994, 56759, 68138, 69084, 71326, 81417, 85119, 2002597])
def test_what_was_misjudged_once_is_not_again(seed):
    """Found by hundred thousands, each for a reason of its own: sines of 1e12, a rest of what cancels, far stairs."""
    assert fuzzer.judged(seed)[1] == ""
