"""Frames of recordings: whose, of which part, in which units."""

from __future__ import annotations

import numpy as np

from minivae.data.spectra import FRAME, HOP, power_frames, speech_frames
from minivae.data.voices import made_voices
from minivae.sound import stft


def test_a_recording_has_a_mean_power_of_one_however_loud_it_was():
    wave = made_voices(each=6).waves[3]
    frames = power_frames(wave)
    assert frames.dtype == np.float32
    assert abs(frames.mean() - 1.0) < 1e-5
    np.testing.assert_allclose(power_frames(0.1 * wave), frames, rtol=1e-3, atol=1e-7)
    power = np.abs(stft(wave, window=FRAME, hop=HOP)) ** 2
    np.testing.assert_allclose(frames.T, power / power.mean(), rtol=1e-5, atol=1e-9)


def test_frames_are_labelled_by_speaker_and_split_as_recordings_are():
    data = made_voices(each=6)
    found = speech_frames(data)
    for x, y, part in ((found.train, found.train_labels, data.train), (found.test, found.test_labels, data.test)):
        counts = [len(power_frames(wave)) for wave in part.waves]
        assert x.shape == (sum(counts), FRAME // 2 + 1)
        np.testing.assert_array_equal(y, np.repeat(part.speaker, counts))
        np.testing.assert_array_equal(x[:counts[0]], power_frames(part.waves[0]))
        np.testing.assert_array_equal(x[-counts[-1]:], power_frames(part.waves[-1]))
    assert found.image_shape == (1, FRAME // 2 + 1)
    assert "frames of 512 samples" in str(found)
