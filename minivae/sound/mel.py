"""Log-mel spectrograms: how loud it is in bands that an ear finds equally wide; and the way back to a wave.

A mel is a step of pitch: m = 2595 log₁₀(1 + f / 700), f in hertz (O'Shaughnessy 1987).  Bands have their centres at
equal steps of it, from 0 to half the rate, and each is a triangle that ends where its neighbours have their centres.
So at every frequency all bands add up to 1: energy is shared out, none is lost and none counted twice.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array
from minivae.sound.fourier import HOP, WINDOW, istft, stft

FLOOR = 0.01                           # is added to the energy of a band: what is below is silence


def mel_filters(bands: int, rate: int, *, window: int = WINDOW) -> Array:
    """What share of each line of a spectrum is each band's: columns add up to 1        -> (bands, window/2 + 1)

    Raises ValueError for fewer than two bands, or so many that one has no line of the spectrum.
    """
    if bands < 2:
        raise ValueError(f"bands: got {bands}, expected at least 2")
    lines = np.fft.rfftfreq(window, 1.0 / rate)                                        # hertz
    centres = 700.0 * (10.0 ** (np.linspace(0.0, np.log10(1.0 + rate / 1400.0), bands)) - 1.0)
    filters = np.stack([np.interp(lines, centres, one) for one in np.eye(bands)])
    if not filters.sum(axis=1).all():
        empty = int(filters.sum(axis=1).argmin())
        raise ValueError(f"bands: got {bands}, of which number {empty} has no line of a spectrum of {window} samples: "
                         "expected fewer, or a longer window")
    return filters


def log_mel(wave: Array, *, filters: Array, window: int = WINDOW, hop: int = HOP) -> Array:
    """y[n, b] = log( Σ_f filters[b, f] |X[f, n]|² + floor ),   X = stft(wave)        (samples,) -> (frames, bands)"""
    power = np.abs(stft(wave, window=window, hop=hop)) ** 2
    return np.log(filters @ power + FLOOR).T.astype(wave.dtype)


def spread(log_bands: Array, *, filters: Array) -> Array:
    """|X| of the smoothest spectrum with these energies, nearly        (frames, bands) -> (window/2 + 1, frames)

    Each band's energy lies evenly on its lines: |X[f]|² = Σ_b filters[b, f] E_b / Σ_f filters[b, f].  What a log-mel
    spectrogram no longer says, the multiples of a voice's pitch between two bands, stays away.
    """
    energy = np.maximum(np.exp(log_bands.T) - FLOOR, 0.0)
    return np.sqrt((filters / filters.sum(axis=1, keepdims=True)).T @ energy)


def griffin_lim(magnitude: Array, *, samples: int, start: Array | None = None, steps: int = 30, window: int = WINDOW,
                hop: int = HOP) -> Array:
    """A wave whose spectrogram has nearly these magnitudes        (window/2 + 1, frames) -> (samples,)

    Of a wave every spectrogram is consistent; magnitudes with any phase are not.  So in turn: the nearest wave (istft),
    its phase, the wanted magnitudes.  ‖ |stft(x)| − magnitude ‖ never rises (Griffin and Lim 1984).
    start   phases to begin with, as the complex spectrogram that has them; all 0 if None
    """
    phase = np.ones_like(magnitude) if start is None else unit(start)
    for _ in range(steps):
        wave = istft(magnitude * phase.astype(np.complex128), samples=samples, window=window, hop=hop)
        phase = unit(stft(wave, window=window, hop=hop))
    return istft(magnitude * phase, samples=samples, window=window, hop=hop)


def unit(spectra: Array) -> Array:
    """X / |X|, 1 where X is 0"""
    size = np.abs(spectra)
    return np.where(size > 0.0, spectra / np.where(size > 0.0, size, 1.0), 1.0)
