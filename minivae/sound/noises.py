"""What speech meets on its way: other voices, rustling, a room; each as loud as was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivae.backend import Array, Generator


def power(wave: Array) -> float:
    """The mean square.  Raises ValueError for silence, which is neither loud nor soft."""
    found = float(np.mean(np.square(wave, dtype=np.float64))) if wave.size else 0.0
    if not found > 0.0:
        raise ValueError(f"wave: got {wave.size:,} samples of silence, expected a sound")
    return found


def even(wave: Array) -> Array:
    """The wave with a mean square of 1: how near somebody stood to a microphone is no longer in it."""
    return wave / wave.dtype.type(np.sqrt(power(wave)))


def at_snr(wave: Array, noise: Array, decibels: float) -> Array:
    """wave + g · noise,   10 log₁₀( ‖wave‖² / ‖g · noise‖² ) = decibels        both (samples,)

    Raises ValueError for different lengths, or if one of them is silent.
    """
    if wave.shape != noise.shape:
        raise ValueError(f"noise: got shape {noise.shape}, expected that of the wave, {wave.shape}")
    gain = np.sqrt(power(wave) / power(noise) / 10.0 ** (decibels / 10.0))
    return wave + wave.dtype.type(gain) * noise


def coloured(samples: int, rng: Generator, *, slope: float = 1.0) -> Array:
    """Noise whose power falls as 1 / f^slope, of mean square 1: 0 white, 1 pink, 2 brown        -> (samples,)"""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    f = np.arange(len(spectrum))
    return even(np.fft.irfft(spectrum * np.where(f > 0, np.maximum(f, 1) ** (-0.5 * slope), 0.0), samples))


def babble(waves: Sequence[Array], samples: int, rng: Generator, *, voices: int = 6) -> Array:
    """Several people who talk at once, each of these as loud, on and on, mean square 1        -> (samples,)

    waves   recordings of which `voices` voices say some at random, one after the other
    """
    if not waves:
        raise ValueError("waves: got none, expected recordings of those who talk")
    total = np.zeros(samples)
    for _ in range(voices):
        said: list[Array] = []
        while sum(map(len, said)) < 2 * samples:
            said.append(even(waves[int(rng.integers(len(waves)))]))
        whole = np.concatenate(said)
        begin = int(rng.integers(len(whole) - samples + 1))
        total += whole[begin:begin + samples]
    return even(total)


def room(rate: int, rng: Generator, *, seconds: float = 0.3, direct: float = 0.0) -> Array:
    """An impulse response: the sound itself, then echoes that fall by 60 dB in so many seconds        -> (samples,)

    direct   how much louder the sound itself is than all echoes together, in decibels
    """
    samples = max(2, int(seconds * rate))
    tail = rng.standard_normal(samples) * 10.0 ** (-3.0 * np.arange(samples) / samples)
    tail[0] = 0.0
    tail *= 10.0 ** (-direct / 20.0) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    return tail


def heard_in(wave: Array, response: Array) -> Array:
    """The wave as it is heard where this is the impulse response, cut to its length        (samples,) -> (samples,)"""
    from scipy.signal import fftconvolve  # half a second to import: for those who need it

    return fftconvolve(wave, response)[:len(wave)].astype(wave.dtype)
