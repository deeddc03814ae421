"""Spoken digits: people who say zero … nine into a microphone, 8,000 samples a second, cut close (the FSDD).

Jakobovski's Free Spoken Digit Dataset, CC BY-SA 4.0: each speaker says each digit up to 50 times, and recordings 0 … 4
of these are for testing, as its authors have it.  What is downloaded is release 1.0.9, five speakers, each digit fifty
times; the file that is taken instead where it is found has six, and the first fifteen of each.

A recording is no row of a table: they are as long as somebody spoke.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivae.data.dataset import DataError
from minivae.data.download import PathLike, fetch
from minivae.data.formats import read_arrays
from minivae.sound import decode_wave
from minivae.sound.waves import FULL

RATE = 8_000                           # samples a second
HELD = 5                               # recordings 0 … 4 of a speaker's digit are test
NAMED = re.compile(r".*/recordings/(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True, eq=False)
class SpokenDigits:
    """Recordings, and what is known of each.

    waves      N arrays (samples,), float32 in [-1, 1], RATE samples a second
    digit      (N,) what is said
    speaker    (N,) who says it: a place in `speakers`
    index      (N,) which of that speaker's recordings of that digit
    """

    waves: tuple[np.ndarray, ...]
    digit: np.ndarray
    speaker: np.ndarray
    index: np.ndarray
    speakers: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("digit", "speaker", "index"):
            if getattr(self, name).shape != (len(self.waves),):
                raise DataError(f"spoken_digits: {name} has shape {getattr(self, name).shape} for {len(self.waves):,} "
                                "recordings")

    def __len__(self) -> int:
        return len(self.waves)

    def only(self, which: np.ndarray | Sequence[int]) -> SpokenDigits:
        """Some of them, in that order: their places, or a mask (N,)."""
        places = np.arange(len(self))[np.asarray(which)]
        return SpokenDigits(tuple(self.waves[i] for i in places), self.digit[places], self.speaker[places],
                            self.index[places], self.speakers)

    @property
    def train(self) -> SpokenDigits:
        """Recordings 5, 6, … of each speaker's digit."""
        return self.only(self.index >= HELD)

    @property
    def test(self) -> SpokenDigits:
        """Recordings 0 … 4."""
        return self.only(self.index < HELD)

    def __str__(self) -> str:
        minutes = sum(map(len, self.waves)) / RATE / 60
        return (f"spoken_digits: {len(self.train):,} train + {len(self.test):,} test recordings of "
                f"{len(self.speakers)} speakers ({', '.join(self.speakers)}), 10 digits, {RATE:,} Hz, "
                f"{minutes:.1f} minutes")


def load_spoken_digits(*, folder: PathLike | None = None) -> SpokenDigits:
    """All recordings, sorted by digit, speaker and index; found, or downloaded, as `load` does it.

    Raises DataError if they cannot be had or are not right.
    """
    path = fetch("spoken_digits", folder=folder)[0]
    return read_packed(path) if path.suffix == ".npz" else read_release(path)


def read_packed(path: Path) -> SpokenDigits:
    """An .npz of all samples in one array, and where each recording begins."""
    z = read_arrays(path)
    if not set(z) >= {"audio", "offsets", "digit", "speaker", "index", "speaker_names"}:
        raise DataError(f"{path} is not the spoken digits: it holds {', '.join(z) or 'nothing'}")
    waves = np.split((z["audio"] / np.float32(FULL)).astype(np.float32), z["offsets"][1:-1])
    digit, speaker, index = (z[name].astype(np.int64) for name in ("digit", "speaker", "index"))
    return SpokenDigits(tuple(waves), digit, speaker, index, tuple(map(str, z["speaker_names"])))


def read_release(path: Path) -> SpokenDigits:
    """A release as GitHub packs it: recordings/DIGIT_SPEAKER_INDEX.wav in a .tar.gz."""
    found = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                named = NAMED.fullmatch(member.name)
                if named and (file := archive.extractfile(member)):
                    wave, _ = decode_wave(file.read(), name=f"{path}: {member.name}", rate=RATE)
                    found.append((int(named[1]), named[2], int(named[3]), wave[0]))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it, get it again") from error
    if not found:
        raise DataError(f"{path} is not the spoken digits: no recordings/DIGIT_SPEAKER_INDEX.wav in it")
    found.sort(key=lambda recording: recording[:3])
    digits, names, indices, waves = zip(*found)
    speakers = tuple(sorted(set(names)))
    return SpokenDigits(waves, np.array(digits), np.array([speakers.index(name) for name in names]), np.array(indices),
                        speakers)
