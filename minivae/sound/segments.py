"""Spectrograms as rows: pieces of equal length, cut with an overlap, and put together again."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array

LENGTH = 20                            # frames: 200 ms if they are 10 ms apart


def starts(frames: int, *, length: int = LENGTH, hop: int = LENGTH) -> Array:
    """Where segments begin: every `hop` frames, and the last where it ends with the recording        -> (segments,)

    Raises ValueError unless 0 < hop ≤ length, for then frames would be left out.
    """
    if not 0 < hop <= length:
        raise ValueError(f"hop: got {hop}, expected 1 … {length}, the length of a segment")
    last = max(0, frames - length)
    return np.unique(np.append(np.arange(0, last + 1, hop), last))


def cut(spectrogram: Array, *, length: int = LENGTH, hop: int = LENGTH) -> Array:
    """Segments as rows        (frames, bands) -> (segments, length · bands)

    A recording shorter than one segment goes on with its last frame.
    """
    frames, bands = spectrogram.shape
    padded = np.pad(spectrogram, ((0, max(0, length - frames)), (0, 0)), mode="edge")
    at = starts(frames, length=length, hop=hop)
    return padded[at[:, None] + np.arange(length)].reshape(len(at), length * bands)


def join(rows: Array, *, frames: int, length: int = LENGTH, hop: int = LENGTH) -> Array:
    """The spectrogram that these are the segments of; where they overlap, their mean        -> (frames, bands)

    Raises ValueError unless there are as many rows as `cut` makes of so many frames.
    """
    at = starts(frames, length=length, hop=hop)
    if rows.ndim != 2 or len(rows) != len(at) or rows.shape[1] % length:
        raise ValueError(f"rows: got shape {rows.shape}, expected ({len(at)}, {length} · bands) for {frames} frames")
    total = np.zeros((max(frames, length), rows.shape[1] // length), rows.dtype)
    count = np.zeros((len(total), 1), rows.dtype)
    for start, row in zip(at, rows.reshape(len(at), length, -1)):
        total[start:start + length] += row
        count[start:start + length] += 1
    return (total / count)[:frames]
