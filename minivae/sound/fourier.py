"""The short-time Fourier transform, by SciPy: what is in a sound, frequency by frequency, moment by moment.

    X[f, n] = Σ_t x[t] w[t − n·hop] exp(−2πi f (t − n·hop) / window)

w is Hann's window of so many samples, with its middle at t = n·hop; nothing is scaled.  Line f of 0 … window/2 is at
f · rate / window hertz.  Frames are all that touch a sample: n runs from 1 − ⌈window/2 / hop⌉ on, and what lies before
the first sample and after the last is 0.

The inverse is the least squares solution, x = argmin ‖stft(x) − X‖², for whatever X: exact where X is the transform of
a wave, and the nearest one where it is not (Griffin and Lim 1984).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array

WINDOW, HOP = 256, 64                  # samples: 32 ms and 8 ms at 8 kHz


def stft(wave: Array, *, window: int = WINDOW, hop: int = HOP) -> Array:
    """The spectrogram of a wave        (…, samples) -> (…, window/2 + 1, frames), complex, in the precision of the wave

    Raises ValueError for another window or hop than `transform` takes, fewer samples than half a window, or integers.
    """
    wave = np.asarray(wave)
    if wave.ndim == 0 or wave.shape[-1] < window // 2:
        raise ValueError(f"wave: got shape {wave.shape}, expected (…, samples) with at least {window // 2} samples")
    if wave.dtype not in (np.float32, np.float64):
        raise ValueError(f"wave: got {wave.dtype}, expected float32 or float64")
    spectra: Array = transform(window, hop).stft(wave)
    return spectra.astype(np.complex64 if wave.dtype == np.float32 else np.complex128)


def istft(spectra: Array, *, samples: int, window: int = WINDOW, hop: int = HOP) -> Array:
    """The wave whose spectrogram is nearest to this one        (…, window/2 + 1, frames) -> (…, samples)

    samples   how many the wave had: frames alone do not say
    Raises ValueError for a shape that is not that of so many samples.
    """
    of = transform(window, hop)
    if samples < window // 2:
        raise ValueError(f"samples: got {samples}, expected at least {window // 2}")
    expected = window // 2 + 1, of.p_num(samples)
    if np.shape(spectra)[-2:] != expected:
        raise ValueError(f"spectra: got shape {np.shape(spectra)}, expected (…, {expected[0]}, {expected[1]}): "
                         f"{samples:,} samples, a window of {window}, every {hop}")
    wave: Array = of.istft(spectra, k1=samples)
    return wave.astype(np.float32 if spectra.dtype == np.complex64 else np.float64)


def transform(window: int, hop: int) -> Any:
    """SciPy's object of both.  Raises ValueError unless window is even and 0 < hop ≤ window/2."""
    from scipy.signal import ShortTimeFFT, get_window  # half a second to import: for those who need it

    if window < 2 or window % 2:
        raise ValueError(f"window: got {window}, expected an even number of samples")
    if not 0 < hop <= window // 2:
        raise ValueError(f"hop: got {hop}, expected 1 … {window // 2}, half a window")
    return ShortTimeFFT(get_window("hann", window), hop, fs=1.0)
