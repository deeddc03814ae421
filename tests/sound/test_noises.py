"""Noises are as loud as was asked for, as coloured as was asked for, and a room falls silent when it should."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.sound import at_snr, babble, coloured, even, heard_in, room


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 20.0])
def test_the_ratio_is_what_was_asked_for(decibels):
    rng = np.random.default_rng(0)
    wave, noise = rng.standard_normal(500) * 0.1, rng.standard_normal(500) * 7
    mixed = at_snr(wave, noise, decibels)
    assert 10 * np.log10((wave**2).sum() / ((mixed - wave) ** 2).sum()) == pytest.approx(decibels)
    assert at_snr(wave.astype(np.float32), noise.astype(np.float32), 3.0).dtype == np.float32


def test_silence_has_no_ratio():
    for wave, noise in ((np.zeros(5), np.ones(5)), (np.ones(5), np.zeros(5))):
        with pytest.raises(ValueError, match="5 samples of silence, expected a sound"):
            at_snr(wave, noise, 0.0)
    with pytest.raises(ValueError, match=r"noise: got shape \(4,\), expected that of the wave, \(5,\)"):
        at_snr(np.ones(5), np.ones(4), 0.0)
    with pytest.raises(ValueError, match="0 samples of silence"):
        even(np.zeros(0))


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_colour_is_how_power_falls(slope):
    rng = np.random.default_rng(1)
    power = np.mean([np.abs(np.fft.rfft(coloured(4096, rng, slope=slope))) ** 2 for _ in range(60)], axis=0)
    f = np.arange(8, 2000)
    found = -np.polyfit(np.log(f), np.log(power[f]), 1)[0]
    assert found == pytest.approx(slope, abs=0.05)
    assert np.mean(coloured(1000, rng, slope=slope) ** 2) == pytest.approx(1)
    assert abs(coloured(1000, rng, slope=slope).mean()) < 1e-12


def test_babble_is_made_of_the_voices_and_of_nothing_else():
    waves = [np.full(300, 2.0), np.full(200, 5.0)]
    said = babble(waves, 1000, np.random.default_rng(2), voices=3)
    assert said == pytest.approx(np.ones(1000)), "each as loud, all together of mean square 1"
    waves = [np.random.default_rng(k).standard_normal(50) for k in range(4)]
    a, b = (babble(waves, 700, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a, b)
    assert np.mean(a**2) == pytest.approx(1)
    with pytest.raises(ValueError, match="waves: got none"):
        babble([], 100, np.random.default_rng(0))


def test_a_room():
    rng = np.random.default_rng(4)
    response = room(8000, rng, seconds=0.5, direct=6.0)
    assert (len(response), response[0]) == (4000, 1.0)
    assert 10 * np.log10(1 / (response[1:] ** 2).sum()) == pytest.approx(6.0)
    early, late = (np.mean(response[part] ** 2) for part in (slice(1, 401), slice(3600, 4000)))
    assert 10 * np.log10(early / late) == pytest.approx(60 * 3600 / 4000, abs=1.5), "60 dB in all of it"
    wave = rng.standard_normal(600)
    assert heard_in(wave, np.array([1.0, 0.0, 0.0])) == pytest.approx(wave)
    assert heard_in(wave, np.array([0.0, 0.0, 0.5]))[2:] == pytest.approx(0.5 * wave[:-2])
    assert heard_in(wave.astype(np.float32), response).dtype == np.float32
