"""Frames of clean speech: power spectra as rows, labelled by who speaks: for the MVAE's model of a source."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array
from minivae.data.dataset import Dataset
from minivae.data.download import PathLike
from minivae.data.named import no_rows
from minivae.data.spoken_digits import SpokenDigits, load_spoken_digits
from minivae.sound import stft

FRAME, HOP = 512, 128                  # samples: 64 ms, longer than a room's filters, and 16 ms at 8 kHz


def speech_frames(spoken: SpokenDigits) -> Dataset:
    """Every frame of every recording: |s|², in units of the recording's mean        rows (N, FRAME/2 + 1)

    Labels are speakers.  The split is that of the recordings: no frame of a test recording is trained on.
    """
    train, test = _frames(spoken.train), _frames(spoken.test)
    return Dataset("spoken_digits", train[0], test[0], train[1], test[1], None, (1, FRAME // 2 + 1), "real",
                   notes=(f"frames of {FRAME} samples, every {HOP}, of {len(spoken):,} recordings: powers",))


def load_frames(name: str, *, folder: PathLike | None = None) -> Dataset:
    """The same by the name of the recordings.  Raises ValueError for what is none, DataError if they cannot be had."""
    if no_rows(name) is None:
        raise ValueError(f"data: got {name!r}, expected recordings, spoken_digits: it is voices that model mvae learns")
    return speech_frames(load_spoken_digits(folder=folder))


def power_frames(wave: Array) -> Array:
    """|s|² of a recording, in units of its mean        (samples,) -> (frames, FRAME/2 + 1), float32"""
    power = np.abs(stft(wave, window=FRAME, hop=HOP)) ** 2
    return np.ascontiguousarray((power / power.mean()).T, dtype=np.float32)


def _frames(part: SpokenDigits) -> tuple[Array, Array]:
    spectra = [power_frames(wave) for wave in part.waves]
    return np.concatenate(spectra), np.repeat(part.speaker, [len(each) for each in spectra]).astype(np.int64)
