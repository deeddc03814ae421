"""The short-time Fourier transform against its formula, and its inverse against what an inverse is."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.sound import istft, stft

SIZES = [(256, 64), (256, 80), (200, 80), (64, 32), (64, 1)]


@pytest.mark.parametrize(("window", "hop"), SIZES)
@pytest.mark.parametrize("shape", [(1001,), (2, 640), (3, 2, 257)])
def test_the_inverse_gives_the_wave_back(window, hop, shape):
    wave = np.random.default_rng(0).standard_normal(shape)
    spectra = stft(wave, window=window, hop=hop)
    assert spectra.shape[:-1] == (*shape[:-1], window // 2 + 1)
    assert spectra.dtype == np.complex128
    back = istft(spectra, samples=shape[-1], window=window, hop=hop)
    assert back.shape == shape
    assert np.abs(back - wave).max() < 1e-10


@pytest.mark.parametrize(("window", "hop"), SIZES[:4])
def test_it_is_the_formula(window, hop):
    wave = np.random.default_rng(1).standard_normal(500)
    found = stft(wave, window=window, hop=hop)
    t = np.arange(-window // 2, window // 2)           # around the middle of the window
    hann = 0.5 + 0.5 * np.cos(2 * np.pi * t / window)
    padded = np.pad(wave, 2 * window)
    first = 1 - -(-window // 2 // hop)
    for n in range(found.shape[1]):
        middle = (first + n) * hop
        part = padded[2 * window + middle + t] * hann
        expected = [(part * np.exp(-2j * np.pi * f * t / window)).sum() for f in range(window // 2 + 1)]
        assert np.abs(found[:, n] - expected).max() < 1e-10
    after = (first + found.shape[1]) * hop             # neither the frame before the first nor that after the last ...
    for middle in (after, (first - 1) * hop):          # touches a sample
        assert np.abs(padded[2 * window + middle + t] * hann).max() == 0


def test_a_tone_is_at_its_frequency():
    t = np.arange(4000) / 8000
    spectra = np.abs(stft(np.cos(2 * np.pi * 1000 * t)))
    assert (spectra[:, 5:-5].argmax(axis=0) == 1000 * 256 // 8000).all()
    assert spectra[32, 10:20] == pytest.approx(128 / 2, rel=1e-6)          # half of the window's sum, 128


def test_the_inverse_is_least_squares():
    """No other wave's transform is nearer to one that is no transform: the residual is orthogonal to all of them."""
    rng = np.random.default_rng(2)
    wave = rng.standard_normal(400)
    target = stft(wave, window=64, hop=16)
    target = target + rng.standard_normal(target.shape) + 1j * rng.standard_normal(target.shape)
    target[[0, -1]] = target[[0, -1]].real
    nearest = istft(target, samples=400, window=64, hop=16)

    def distance(x):                                   # one side of the spectrum stands for both, its ends for one
        weight = np.full((33, 1), 2.0)
        weight[[0, -1]] = 1.0
        return (weight * np.abs(stft(x, window=64, hop=16) - target) ** 2).sum()

    for _ in range(20):
        d = rng.standard_normal(400)
        assert abs(distance(nearest + d) - distance(nearest - d)) < 1e-8 * distance(nearest)
        assert distance(nearest + 1e-3 * d) > distance(nearest)


def test_float32_stays_float32():
    wave = np.random.default_rng(3).standard_normal(900).astype(np.float32)
    spectra = stft(wave)
    assert spectra.dtype == np.complex64
    back = istft(spectra, samples=900)
    assert back.dtype == np.float32
    assert np.abs(back - wave).max() < 1e-5


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"wave: got shape \(100,\), expected \(…, samples\) with at least 128"):
        stft(np.zeros(100))
    with pytest.raises(ValueError, match="wave: got int16, expected float32 or float64"):
        stft(np.zeros(500, np.int16))
    with pytest.raises(ValueError, match="window: got 255"):
        stft(np.zeros(500), window=255)
    for hop in (0, 129):
        with pytest.raises(ValueError, match=f"hop: got {hop}, expected 1 … 128"):
            stft(np.zeros(500), hop=hop)
    spectra = stft(np.zeros(500))
    with pytest.raises(ValueError, match=r"spectra: got shape \(129, 11\), expected \(…, 129, 13\)"):
        istft(spectra, samples=600)
    with pytest.raises(ValueError, match="samples: got 3, expected at least 128"):
        istft(spectra, samples=3)
