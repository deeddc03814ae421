"""Mel bands share out all energy; the way there and back loses what the docstrings say, and no more."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from minivae.sound import griffin_lim, istft, log_mel, mel_filters, spread, stft
from minivae.sound.mel import FLOOR

RATE = 8000


@pytest.mark.parametrize(("bands", "rate", "window"),
                         [(40, 8000, 256), (2, 8000, 256), (24, 16_000, 512), (80, 8000, 1024)])
def test_the_filters_are_a_partition(bands, rate, window):
    filters = mel_filters(bands, rate, window=window)
    assert filters.shape == (bands, window // 2 + 1)
    assert filters.min() >= 0
    assert np.abs(filters.sum(axis=0) - 1).max() < 1e-12
    assert ((filters > 0).sum(axis=0) <= 2).all(), "two neighbours share a line, no third"
    assert (filters.sum(axis=1) > 0).all()


def test_centres_are_at_equal_steps_of_mel():
    filters = mel_filters(10, RATE, window=8192)
    peaks = np.fft.rfftfreq(8192, 1 / RATE)[filters.argmax(axis=1)]
    mel = 2595 * np.log10(1 + peaks / 700)
    assert np.diff(mel) == pytest.approx(2595 * np.log10(1 + 4000 / 700) / 9, abs=3)
    assert 2595 * np.log10(1 + 1000 / 700) == pytest.approx(1000, abs=0.1), "1,000 Hz are 1,000 mel"


def test_no_energy_is_lost_and_a_tone_is_in_its_band():
    filters = mel_filters(40, RATE)
    wave = np.random.default_rng(0).standard_normal(2000)
    energy = np.exp(log_mel(wave, filters=filters, hop=80)) - FLOOR
    assert energy.sum(axis=1) == pytest.approx((np.abs(stft(wave, hop=80)) ** 2).sum(axis=0))
    tone = np.sin(2 * np.pi * 1000 * np.arange(2000) / RATE)
    loudest = log_mel(tone, filters=filters)[5:-5].argmax(axis=1)
    assert set(loudest) == {int(filters[:, 32].argmax())}
    assert log_mel(np.zeros(500), filters=filters) == pytest.approx(np.log(FLOOR))
    assert log_mel(tone.astype(np.float32), filters=filters).dtype == np.float32


def test_too_many_bands_are_refused():
    with pytest.raises(ValueError, match=r"bands: got 100, of which number . has no line of a spectrum"):
        mel_filters(100, RATE)
    with pytest.raises(ValueError, match="bands: got 1, expected at least 2"):
        mel_filters(1, RATE)


def test_what_is_spread_has_the_energies_of_bands_that_are_smooth():
    """A spectrum that is the same everywhere comes back; whatever comes out has all the energy that went in."""
    filters = mel_filters(40, RATE)
    flat = np.full((129, 3), 2.0)
    bands = np.log(filters @ flat**2 + FLOOR).T
    assert spread(bands, filters=filters) == pytest.approx(flat)
    rng = np.random.default_rng(1)
    bands = rng.normal(1.0, 2.0, (7, 40))
    found = spread(bands, filters=filters)
    assert found.shape == (129, 7)
    assert (found**2).sum(axis=0) == pytest.approx(np.maximum(np.exp(bands) - FLOOR, 0).sum(axis=1))


def test_griffin_and_lim_come_nearer_at_every_step():
    rng, sizes = np.random.default_rng(2), {"window": 128, "hop": 32}
    target = np.abs(stft(rng.standard_normal(1500), **sizes))
    both_sides = np.full((65, 1), 2.0)
    both_sides[[0, -1]] = 1.0
    off = [(both_sides * (np.abs(stft(griffin_lim(target, samples=1500, steps=steps, **sizes), **sizes)) - target) ** 2)
           .sum() for steps in range(12)]
    assert all(b <= a for a, b in pairwise(off))
    assert off[-1] < 0.5 * off[0]


def test_with_the_true_phase_the_wave_is_there_at_once():
    wave = np.random.default_rng(3).standard_normal(900)
    spectra = stft(wave)
    for steps in (0, 3):
        assert np.abs(griffin_lim(np.abs(spectra), samples=900, start=spectra, steps=steps) - wave).max() < 1e-10
    assert np.abs(istft(spectra, samples=900) - wave).max() < 1e-10
