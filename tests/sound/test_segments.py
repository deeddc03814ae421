"""Segments of a spectrogram: what is cut is put together again, whatever its length."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.sound import cut, join


@pytest.mark.parametrize("frames", [1, 7, 19, 20, 21, 40, 57, 60])
@pytest.mark.parametrize("hop", [1, 3, 10, 20])
def test_there_and_back(frames, hop):
    x = np.random.default_rng(0).standard_normal((frames, 5))
    rows = cut(x, hop=hop)
    assert rows.shape[1] == 100
    assert np.abs(join(rows, frames=frames, hop=hop) - x).max() < 1e-12


def test_segments_lie_where_they_are_said_to():
    x = np.arange(45.0)[:, None] + np.array([0.0, 0.5])
    rows = cut(x, hop=20).reshape(-1, 20, 2)
    assert rows[:, 0, 0].tolist() == [0, 20, 25], "the last ends with the recording"
    assert rows[1, :, 1].tolist() == (np.arange(20, 40) + 0.5).tolist()
    short = cut(x[:3]).reshape(20, 2)
    assert short[:, 0].tolist() == [0, 1, 2] + [2] * 17


def test_where_segments_overlap_their_mean_is_taken():
    rows = np.stack([np.zeros(20), np.ones(20)])
    assert join(rows, frames=30, hop=10)[:, 0].tolist() == [0] * 10 + [0.5] * 10 + [1] * 10


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="hop: got 21, expected 1 … 20"):
        cut(np.zeros((50, 3)), hop=21)
    with pytest.raises(ValueError, match=r"rows: got shape \(2, 60\), expected \(3, 20 · bands\) for 45 frames"):
        join(np.zeros((2, 60)), frames=45)
