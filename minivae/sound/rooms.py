"""Rooms that are made up: filters from every source to every microphone, and what the microphones hear.

A filter is a direct sound, a few samples late, and a tail of noise that fades away,

    h[t] = δ[t − delay] + r[t],    r[t] ∝ e[t] 10^(−3 t / fading),    ‖r‖ = reverberation        e white, t > delay

shorter than the frame of a spectrogram: then to filter is, nearly, to multiply each frequency by a complex number,
which is what demixing takes a room for.  A real room is longer, and nobody's tail is white; delays are drawn microphone
by microphone, as if these stood in no order.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Generator, at_least_one

TAPS, FADING = 256, 480                # samples: of a filter; until a tail is 60 dB down.  32 ms and 60 ms at 8 kHz
LATEST = 14                            # samples that a direct sound may take: 60 cm at 8 kHz


def mixing_room(sources: int, *, rng: Generator, taps: int = TAPS, fading: int = FADING,
                reverberation: float = 0.5) -> Array:
    """Filters from so many sources to as many microphones        -> (microphones, sources, taps)

    fading          samples until a tail is 60 dB down
    reverberation   how loud the tail is, beside a direct sound of 1
    Raises ValueError for sizes below 1, fewer taps than a direct sound may take, or a negative reverberation.
    """
    at_least_one(sources=sources, fading=fading)
    if taps <= LATEST:
        raise ValueError(f"taps: got {taps}, expected more than {LATEST}, the latest direct sound")
    if not reverberation >= 0.0:
        raise ValueError(f"reverberation: got {reverberation}, expected at least 0")
    t, shape = np.arange(taps), (sources, sources, 1)
    delay = rng.integers(2, LATEST, shape)
    tail = rng.standard_normal((*shape[:2], taps)) * 10.0 ** (-3.0 * t / fading) * (t > delay)
    tail *= reverberation / np.sqrt((tail**2).sum(axis=-1, keepdims=True))
    filters: Array = tail + (t == delay)
    return filters


def heard(sources: Array, filters: Array) -> Array:
    """What each microphone hears of each source        (J, samples) (M, J, taps) -> (M, J, samples)

    Their sum over sources is the mixture, (M, samples).  What would sound after the last sample is cut off.
    Raises ValueError for filters of another number of sources.
    """
    from scipy.signal import fftconvolve  # half a second to import: for those who need it

    if filters.ndim != 3 or sources.ndim != 2 or filters.shape[1] != len(sources):
        raise ValueError(f"filters: got shape {filters.shape}, expected (microphones, {len(sources)}, taps)")
    whole: Array = fftconvolve(filters, sources[None], axes=-1)
    return whole[..., :sources.shape[1]]
