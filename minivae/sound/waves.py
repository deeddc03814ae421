"""WAV files: 16 bits a sample on the disk, float32 in [-1, 1] in memory.

A sample of -32768 … 32767 is divided by 32768, so that what was read and is written again is the same file of samples,
bit for bit.  The format itself is the business of Python's `wave`.
"""

from __future__ import annotations

import io
import wave as wav
from pathlib import Path

import numpy as np

from minivae.backend import Array
from minivae.runs import write_atomically

FULL = 32768                           # what is 1 in memory: 2¹⁵
ADVICE = "16-bit PCM is expected: `ffmpeg -i IN -c:a pcm_s16le OUT.wav` makes it of nearly everything"


def read_wave(path: Path | str, *, rate: int | None = None) -> tuple[Array, int]:
    """A WAV file: its samples, float32 in [-1, 1], and their rate in hertz        -> (channels, samples), rate

    rate   what it must be, if the caller needs a certain one: nothing is resampled
    Raises FileNotFoundError, and ValueError for what is no WAV file of 16 bits, is cut off, empty, or of another rate.
    """
    path = Path(path)
    return decode_wave(path.read_bytes(), name=str(path), rate=rate)


def decode_wave(data: bytes, *, name: str, rate: int | None = None) -> tuple[Array, int]:
    """The same of the bytes of a file.

    name   what errors call it
    """
    try:
        with wav.open(io.BytesIO(data)) as file:
            channels, width, found, frames = file.getparams()[:4]
            raw = file.readframes(frames)
    except (wav.Error, EOFError) as error:
        raise ValueError(f"{name} is no WAV file that can be read ({error or 'it ends too soon'}): {ADVICE}") from error
    if width != 2:
        raise ValueError(f"{name} has {8 * width} bits a sample: {ADVICE}")
    if frames == 0 or len(raw) != frames * channels * width:
        raise ValueError(f"{name} holds {len(raw) // (channels * width):,} samples, its header promises {frames:,}: "
                         "empty or truncated? Get it again")
    if rate is not None and found != rate:
        raise ValueError(f"{name} has {found:,} samples a second, expected {rate:,}: "
                         f"`ffmpeg -i IN -ar {rate} -c:a pcm_s16le OUT.wav` resamples it")
    samples = np.frombuffer(raw, "<i2").reshape(frames, channels).T
    return (samples / np.float32(FULL)).astype(np.float32, order="C"), found


def write_wave(path: Path | str, wave: Array, rate: int) -> Path:
    """Write samples in [-1, 1] as 16-bit WAV, whole or not at all: (channels, samples), or (samples,) for one channel.

    rate   samples a second
    Raises ValueError for what `encode_wave` refuses, OSError (disk full, no permission).
    """
    path = Path(path)
    write_atomically(path, encode_wave(wave, rate))
    return path


def encode_wave(wave: Array, rate: int) -> bytes:
    """The bytes of that file.

    Raises ValueError for another shape, no samples, a rate below 1, NaN, or a sample outside of [-1, 1]: how loud a
    sound is is the caller's to say, and one whose peaks are cut off cracks.
    """
    wave = np.asarray(wave)
    if wave.ndim not in (1, 2) or wave.size == 0:
        raise ValueError(f"wave: got shape {wave.shape}, expected (samples,) or (channels, samples), at least one")
    if rate < 1:
        raise ValueError(f"rate: got {rate}, expected at least 1 sample a second")
    peak = float(np.abs(wave).max())
    if not peak <= 1.0:                                # NaN is refused as well
        raise ValueError(f"wave: its largest sample is {peak:.3g}, expected numbers in [-1, 1]: divide by it first")
    samples = np.minimum(np.rint(wave * np.float64(FULL)), FULL - 1).astype("<i2")
    file = io.BytesIO()
    with wav.open(file, "wb") as out:
        out.setparams((1 if wave.ndim == 1 else len(wave), 2, rate, 0, "NONE", "not compressed"))
        out.writeframes(samples.T.tobytes())
    return file.getvalue()
