"""Voices that nobody has: ten words of three vowels, said by six throats; for a chapter about sound without recordings.

A voice hums at a pitch and at its multiples, and the mouth lets those pass that are near its formants.  A word is three
pairs of formants, one after the other; a speaker is a pitch, a length of throat that moves all formants, and a tempo.
They are told apart far too easily: everything runs on them, and means little.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Generator
from minivae.data.spoken_digits import RATE, SpokenDigits

VOWELS = np.array([[280, 2250], [500, 1850], [730, 1090], [570, 840], [310, 870], [640, 1200]])      # hertz: ieaouʌ
WORDS = ((0, 2, 3), (5, 4, 1), (4, 4, 4), (3, 0, 0), (3, 3, 2), (2, 0, 1), (0, 1, 0), (1, 5, 1), (1, 0, 3), (2, 2, 1))
NAMES = ("made_a", "made_b", "made_c", "made_d", "made_e", "made_f")
PITCH = (95.0, 110.0, 125.0, 170.0, 195.0, 220.0)      # hertz
THROAT = (0.92, 1.05, 1.0, 1.1, 1.02, 1.18)            # what formants are multiplied by
WIDTH = 90.0                                           # hertz: of a formant


def made_voices(*, each: int = 15, seed: int = 0) -> SpokenDigits:
    """`each` recordings of every word by every voice, no two alike; those below 5 are test, as in the real ones.

    Raises ValueError unless there are some of each part.
    """
    if each <= 5:
        raise ValueError(f"each: got {each}, expected at least 6, of which 5 are test")
    rng, waves = np.random.default_rng(seed), []
    digit, speaker, index = (places.ravel() for places in np.indices((10, len(NAMES), each)))
    for word, voice in zip(digit, speaker):
        waves.append(say(word, voice, rng))
    return SpokenDigits(tuple(waves), digit, speaker, index, NAMES)


def say(word: int, voice: int, rng: Generator) -> np.ndarray:
    """One recording, float32        -> (samples,)"""
    samples = int(RATE * rng.uniform(0.3, 0.5))
    t = np.linspace(0.0, 2.0, samples)                 # where in the word: vowel 0, 1, 2
    formants = VOWELS[list(WORDS[word])] * (THROAT[voice] * rng.uniform(0.96, 1.04, (3, 2)))
    F = np.stack([np.interp(t, range(3), formants[:, j]) for j in range(2)])                  # (2, samples)
    pitch = PITCH[voice] * rng.uniform(0.92, 1.08) * (1.05 - 0.05 * t)
    k = np.arange(1, int(0.45 * RATE / pitch.max()))[:, None]                                 # multiples of the pitch
    passes = sum(1.0 / (1.0 + ((k * pitch - f) / WIDTH) ** 2) for f in F)                     # (multiples, samples)
    hum = (passes * np.sin(k * np.cumsum(2.0 * np.pi * pitch / RATE))).sum(axis=0) * np.sin(0.5 * np.pi * t) ** 0.5
    return (rng.uniform(0.2, 0.6) * hum / np.abs(hum).max()).astype(np.float32)
