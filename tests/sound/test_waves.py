"""WAV files: what is written is read again, and what is no such file is refused with words that help."""

from __future__ import annotations

import io
import os
import wave as wav

import numpy as np
import pytest

from minivae.sound import decode_wave, encode_wave, read_wave, write_wave


def file_of(samples: bytes, *, width: int = 2, channels: int = 1, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wav.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", "not compressed"))
        out.writeframes(samples)
    return file.getvalue()


def test_every_sample_of_sixteen_bits_comes_back(tmp_path):
    samples = np.arange(-32768, 32768).astype("<i2")
    wave, rate = decode_wave(file_of(samples.tobytes()), name="all")
    assert (wave.dtype, wave.shape, rate) == (np.float32, (1, 65536), 8000)
    assert (wave.min(), wave.max()) == (-1.0, 32767 / 32768)
    assert np.array_equal(wave[0] * 32768, samples)
    write_wave(tmp_path / "all.wav", wave, rate)
    with wav.open(str(tmp_path / "all.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 65536)
        assert file.readframes(65536) == samples.tobytes()


def test_channels_lie_apart_in_memory_and_interleaved_on_the_disk(tmp_path):
    left, right = np.array([0.5, 0.25, -1.0]), np.array([0.0, 1.0, -0.125])
    path = write_wave(tmp_path / "folder" / "both.wav", np.stack([left, right]), 44_100)
    with wav.open(str(path)) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [16384, 0, 8192, 32767, -32768, -4096]
    wave, rate = read_wave(path)
    assert wave.shape == (2, 3)
    assert rate == 44_100
    assert np.abs(wave - [left, right]).max() <= 1 / 32768
    one, _ = read_wave(write_wave(tmp_path / "one.wav", left, 8000))
    assert one.shape == (1, 3)


def test_scipy_reads_the_same(tmp_path):
    from scipy.io import wavfile

    wave = np.random.default_rng(0).uniform(-1, 1, (2, 500))
    rate, theirs = wavfile.read(write_wave(tmp_path / "a.wav", wave, 16_000))
    assert rate == 16_000
    assert np.array_equal(theirs.T / np.float32(32768), read_wave(tmp_path / "a.wav")[0])


@pytest.mark.parametrize(("data", "says"), [
    (b"", "no WAV file that can be read"),
    (b"RIFF\x04\0\0\0WAVE", "no WAV file that can be read"),
    (b"ID3" + bytes(100), "no WAV file that can be read"),
    (file_of(bytes(4), width=1), "8 bits a sample: 16-bit PCM is expected"),
    (file_of(bytes(6), width=3), "24 bits a sample"),
    (file_of(b""), "0 samples, its header promises 0: empty or truncated"),
    (file_of(bytes(400))[:-100], "150 samples, its header promises 200"),
])
def test_what_is_no_wav_of_sixteen_bits_is_refused(tmp_path, data, says):
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(ValueError, match=says) as caught:
        read_wave(tmp_path / "x.wav")
    assert str(tmp_path / "x.wav") in str(caught.value)


def test_another_rate_and_no_file_are_refused(tmp_path):
    path = write_wave(tmp_path / "x.wav", np.zeros(10), 16_000)
    assert read_wave(path, rate=16_000)[1] == 16_000
    with pytest.raises(ValueError, match="16,000 samples a second, expected 8,000"):
        read_wave(path, rate=8_000)
    with pytest.raises(FileNotFoundError):
        read_wave(tmp_path / "nothing.wav")


@pytest.mark.parametrize(("wave", "rate", "says"), [
    (np.zeros(0), 8000, r"shape \(0,\), expected \(samples,\) or \(channels, samples\)"),
    (np.zeros((1, 1, 5)), 8000, r"shape \(1, 1, 5\)"),
    (np.array([0.0, 1.25]), 8000, r"largest sample is 1\.25, expected numbers in \[-1, 1\]"),
    (np.array([0.0, np.nan]), 8000, "largest sample is nan"),
    (np.zeros(5), 0, "rate: got 0"),
])
def test_what_cannot_be_written_is_refused_and_what_was_there_stays(tmp_path, wave, rate, says):
    path = write_wave(tmp_path / "x.wav", np.full(5, 0.5), 8000)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=says):
        write_wave(path, wave, rate)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_wave(tmp_path / "x.wav", np.full(5, 0.5), 8000)
    before = path.read_bytes()

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_wave(path, np.zeros(9), 8000)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


def test_the_bytes_are_a_file(tmp_path):
    wave = np.linspace(-0.9, 0.9, 7)
    write_wave(tmp_path / "x.wav", wave, 8000)
    assert (tmp_path / "x.wav").read_bytes() == encode_wave(wave, 8000)
