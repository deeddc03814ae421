"""Rooms that are made up: what they promise, and what microphones hear, convolved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.sound import heard, mixing_room
from minivae.sound.rooms import FADING, LATEST


def test_a_filter_is_a_direct_sound_and_a_tail_behind_it():
    filters = mixing_room(3, rng=np.random.default_rng(0), taps=200, reverberation=0.5)
    assert filters.shape == (3, 3, 200)
    for h in filters.reshape(9, 200):
        delay = int(np.flatnonzero(h)[0])
        assert 2 <= delay < LATEST
        assert h[delay] == 1.0
        assert np.sqrt((h[delay + 1:] ** 2).sum()) == pytest.approx(0.5)


def test_a_tail_fades_by_sixty_decibels_in_its_time():
    rooms = [mixing_room(4, rng=np.random.default_rng(seed), taps=FADING + 1, reverberation=1.0) for seed in range(40)]
    tails = np.concatenate([each.reshape(16, -1) for each in rooms])[:, LATEST:]
    power = (tails**2).mean(axis=0)
    half = len(power) // 2
    fall = 10.0 * np.log10(power[:half].sum() / power[half:].sum())
    assert fall == pytest.approx(60.0 * half / FADING, abs=1.0)


def test_without_reverberation_a_room_is_delays():
    filters = mixing_room(2, rng=np.random.default_rng(1), reverberation=0.0)
    assert ((filters == 0.0) | (filters == 1.0)).all()
    assert (filters.sum(axis=-1) == 1.0).all()


def test_what_is_heard_is_a_convolution_cut_off_at_the_end():
    rng = np.random.default_rng(2)
    sources, filters = rng.standard_normal((2, 60)), mixing_room(2, rng=rng, taps=20)
    found = heard(sources, filters)
    for m in range(2):
        for j in range(2):
            np.testing.assert_allclose(found[m, j], np.convolve(sources[j], filters[m, j])[:60], atol=1e-12)


def test_bad_input_is_named():
    rng = np.random.default_rng(3)
    for options, said in (({"sources": 0}, "sources: got 0"),
                          ({"sources": 2, "taps": 14}, "taps: got 14, expected more"),
                          ({"sources": 2, "fading": 0}, "fading: got 0, expected at least 1"),
                          ({"sources": 2, "reverberation": -1.0}, "reverberation: got -1.0, expected at least 0")):
        with pytest.raises(ValueError, match=said):
            mixing_room(**options, rng=rng)
    with pytest.raises(ValueError, match=r"filters: got shape \(2, 2, 256\), expected \(microphones, 3, taps\)"):
        heard(np.zeros((3, 400)), mixing_room(2, rng=rng))
