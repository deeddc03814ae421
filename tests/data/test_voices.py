"""Made voices: as many as were asked for, words apart, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.data import made_voices
from minivae.data.voices import PITCH, RATE, say


def test_they_are_as_the_real_ones():
    data = made_voices(each=6)
    assert (len(data), len(data.train), len(data.test)) == (360, 60, 300)
    assert all(wave.dtype == np.float32 and 0.1 < np.abs(wave).max() <= 1 and 0.2 < len(wave) / RATE < 0.6
               for wave in data.waves)
    assert np.bincount(data.digit).tolist() == [36] * 10
    again = made_voices(each=6)
    assert all(np.array_equal(a, b) for a, b in zip(data.waves, again.waves))
    assert not np.array_equal(data.waves[0][:50], made_voices(each=6, seed=1).waves[0][:50])
    with pytest.raises(ValueError, match="each: got 5, expected at least 6"):
        made_voices(each=5)


@pytest.mark.parametrize("voice", [0, 5])
def test_a_voice_hums_at_its_pitch(voice):
    wave = say(4, voice, np.random.default_rng(0))
    middle = wave[len(wave) // 2 - 400:len(wave) // 2 + 400].astype(float)
    lags = np.arange(RATE // 260, RATE // 80)
    alike = [middle[lag:] @ middle[:-lag] / (800 - lag) for lag in lags]
    assert abs(RATE / lags[np.argmax(alike)] - PITCH[voice]) < 0.1 * PITCH[voice]
