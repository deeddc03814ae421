"""minivae separate: a recording of several microphones, taken apart by a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivae.backend import Array, at_least_one, device
from minivae.cli.shared import OK
from minivae.data import load_spoken_digits
from minivae.data.spectra import FRAME, HOP
from minivae.data.spoken_digits import RATE
from minivae.runs import free_folder
from minivae.separation import beginnings, mvae
from minivae.sound import istft, read_wave, stft, write_wave
from minivae.training import load_run, read_recipe

LOUDEST, CLIPPED = 1.0 - 2.0**-15, 3   # the largest sample of 16 bits; so many of it in a row are no accident


@dataclass
class Separate:
    """Take a recording of two microphones or more apart: a source for each, written as WAV.

    It wants a run of model mvae, which knows the voices; who speaks can be named, and is looked for otherwise.

    Example: minivae separate mixture.wav --run runs/spoken_digits --speakers jackson theo
    """

    mixture: Annotated[Path, tyro.conf.Positional]
    """WAV file of 16 bits, as many channels as there are sources"""
    run: Path
    """run folder, of `minivae train --model mvae --data spoken_digits`"""
    speakers: tuple[str, ...] = ()
    """who speaks, one for each channel, in any order; default: nobody knows"""
    sweeps: int = 40
    """of the alternation: no step of these falls"""
    out: Path | None = None
    """folder for source-1.wav, source-2.wav, …; default: the first free out/separate, out/separate-2, …"""
    seed: int = 0
    """of ILRMA's beginning"""
    folder: Path | None = None
    """where the data files lie, if not in MINIVAE_DATA or the cache"""

    def __call__(self) -> int:
        wave = checked(self.mixture, self.sweeps)
        if (recipe := read_recipe(self.run)).model != "mvae":
            raise ValueError(f"run: {self.run} is a run of model {recipe.model}, expected one of mvae")
        names = load_spoken_digits(folder=self.folder).speakers
        who = places(self.speakers, names, len(wave))
        model, _, _ = load_run(self.run, device("cpu"), folder=self.folder)
        print(f"{len(wave)} channels: {len(wave)} sources\nframes of {FRAME} samples, every {HOP}: a room's filters "
              f"are taken to be shorter\nspeakers: {', '.join(self.speakers) or f'not told, of {len(names)}'}")
        x = stft(wave.astype(float), window=FRAME, hop=HOP)
        size = np.sqrt((np.abs(x) ** 2).mean())
        x, rng = x / size, np.random.default_rng(self.seed)
        found, voices = mvae(x, model, starts=beginnings(x, rng=rng), speakers=who, sweeps=self.sweeps)
        sources = istft(found.sources * size, samples=wave.shape[1], window=FRAME, hop=HOP)
        out = free_folder(self.out or Path("out/separate"))
        out.mkdir(parents=True, exist_ok=True)
        for i, (source, voice) in enumerate(zip(sources / max(1.0, np.abs(sources).max()), voices), start=1):
            path, most = write_wave(out / f"source-{i}.wav", source, RATE), voice.speaker.argmax()
            print(f"{path}: {names[most]}" + (f" ({100 * voice.speaker[most]:.0f}%)" if voice.free else ""))
        return OK


def checked(path: Path, sweeps: int) -> Array:
    """The recording (channels, samples), once it is known that it can be taken apart.  Raises ValueError."""
    at_least_one(sweeps=sweeps)
    wave, _ = read_wave(path, rate=RATE)
    if len(wave) < 2:
        raise ValueError(f"mixture: {path} is mono, expected a channel for each source, two at least: what one "
                         "microphone heard is taken apart by other methods")
    if wave.shape[1] < RATE // 2:
        raise ValueError(f"mixture: {path} has {wave.shape[1]:,} samples, expected at least {RATE // 2:,}, half "
                         "a second")
    for i, channel in enumerate(wave, start=1):
        if not np.abs(channel).max() > 0.0:
            raise ValueError(f"mixture: channel {i} of {path} is silent, expected a source for each channel")
        if longest_run(np.abs(channel) >= LOUDEST) >= CLIPPED:
            raise ValueError(f"mixture: channel {i} of {path} is clipped, {CLIPPED} or more samples in a row at the "
                             "largest that there is: no filter gives back what is cut off.  Record it again, less loud")
    for i in range(1, len(wave)):
        if any(np.array_equal(wave[i], other) for other in wave[:i]):
            raise ValueError(f"mixture: channel {i + 1} of {path} is a copy of another: one microphone for two sources")
    return wave


def longest_run(marked: Array) -> int:
    """of places that are marked        (samples,)"""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return int(np.diff(edges)[::2].max(initial=0))


def places(speakers: tuple[str, ...], names: tuple[str, ...], channels: int) -> list[int] | None:
    """Which of the names these are; None if nobody is named.  Raises ValueError for a stranger, or too few."""
    for name in speakers:
        if name not in names:
            raise ValueError(f"speakers: got {name!r}, expected of {', '.join(names)}: the run knows no other voice")
    if speakers and len(speakers) != channels:
        raise ValueError(f"speakers: got {len(speakers)}, expected {channels}, one for each channel")
    return [names.index(name) for name in speakers] if speakers else None
