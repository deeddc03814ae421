"""Spoken digits: read from a release as from the packed file, split by the official rule, and refused where wrong."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from minivae.cli import main
from minivae.data import DataError, available, load, load_spoken_digits, no_rows
from minivae.data.spoken_digits import read_packed, read_release
from minivae.sound import encode_wave

PACKED = "fsdd/fsdd_subset_900.npz"
HERE = (Path(os.environ.get("MINIVAE_DATA") or "nowhere") / PACKED).is_file()
here = pytest.mark.skipif(not HERE, reason=f"MINIVAE_DATA does not hold {PACKED}")
SAID = [(digit, name, index) for digit in (3, 0) for name in ("theo", "george") for index in (10, 2, 4, 5)]


def sounds() -> dict[tuple[int, str, int], np.ndarray]:
    rng = np.random.default_rng(0)
    return {key: rng.integers(-32768, 32768, rng.integers(5, 20)).astype(np.int16) for key in SAID}


def release(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"free-spoken-digit-dataset-1.0.9/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    return encode_wave(samples / 32768, rate)


def test_a_release_and_the_packed_file_hold_the_same(tmp_path):
    made = sounds()
    files = {f"recordings/{d}_{name}_{i}.wav": wav(samples) for (d, name, i), samples in made.items()}
    files |= {"README.md": b"read me", "acquire_data/0_x_1.wav": b""}
    found = read_release(release(tmp_path / "a.tar.gz", files))
    order = sorted(made)
    assert found.speakers == ("george", "theo")
    assert list(zip(found.digit, (found.speakers[s] for s in found.speaker), found.index)) == order
    for wave, key in zip(found.waves, order):
        assert wave.dtype == np.float32
        assert np.array_equal(wave * 32768, made[key])
    whole = [made[key] for key in order]
    np.savez(tmp_path / "a.npz", audio=np.concatenate(whole), offsets=np.cumsum([0, *map(len, whole)]),
             digit=found.digit.astype(np.uint8), speaker=found.speaker.astype(np.uint8),
             index=found.index.astype(np.uint8), speaker_names=np.array(found.speakers), sample_rate=8000)
    packed = read_packed(tmp_path / "a.npz")
    assert all(np.array_equal(a, b) for a, b in zip(packed.waves, found.waves, strict=True))
    for name in ("digit", "speaker", "index"):
        assert np.array_equal(getattr(packed, name), getattr(found, name))
        assert getattr(packed, name).dtype == np.int64
    assert packed.speakers == found.speakers


def test_the_first_five_recordings_are_for_testing(tmp_path):
    files = {f"recordings/{d}_{name}_{i}.wav": wav(samples) for (d, name, i), samples in sounds().items()}
    found = read_release(release(tmp_path / "a.tar.gz", files))
    assert sorted(set(found.test.index)) == [2, 4]
    assert sorted(set(found.train.index)) == [5, 10]
    assert len(found.test) + len(found.train) == len(found) == 16
    some = found.only([5, 1])
    assert (some.digit.tolist(), some.index.tolist()) == (found.digit[[5, 1]].tolist(), found.index[[5, 1]].tolist())
    assert some.waves[0] is found.waves[5]
    assert "8 train + 8 test recordings of 2 speakers (george, theo)" in str(found)


def test_what_is_not_the_data_is_refused(tmp_path):
    (tmp_path / "cut.tar.gz").write_bytes(release(tmp_path / "a.tar.gz", {"recordings/0_x_0.wav": bytes(999)})
                                          .read_bytes()[:60])
    for name, files in {"empty": {"README.md": b"nothing"}, "damaged": {"recordings/0_x_0.wav": b"RIFF"},
                        "rate": {"recordings/0_x_0.wav": wav(np.zeros(9), 16_000)}}.items():
        release(tmp_path / f"{name}.tar.gz", files)
    for name, says in {"cut": "cannot be read", "empty": "is not the spoken digits", "rate": "expected 8,000",
                       "damaged": r"0_x_0\.wav is no WAV file"}.items():
        with pytest.raises(DataError, match=says):
            read_release(tmp_path / f"{name}.tar.gz")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="is not the spoken digits: it holds x"):
        read_packed(tmp_path / "b.npz")


def test_recordings_are_no_rows(capsys):
    row = {row.name: row for row in available()}["spoken_digits"]
    assert (row.image_shape, row.kind) == ((), "sound")
    assert no_rows("FSDD") is load_spoken_digits
    assert no_rows("mnist") is None
    with pytest.raises(ValueError, match=r"no images as rows: minivae\.data\.load_spoken_digits\(\)"):
        load("fsdd")
    assert main(["data"]) == 0
    assert "2,250 +    250 sound" in capsys.readouterr().out


@here
def test_the_real_ones(capsys):
    data = load_spoken_digits()
    assert (len(data), len(data.train), len(data.test)) == (900, 600, 300)
    assert len(data.speakers) == 6
    assert np.bincount(data.test.digit).tolist() == [30] * 10
    assert np.bincount(data.train.speaker).tolist() == [100] * 6
    assert len(set(zip(data.digit, data.speaker, data.index))) == 900
    assert sum(map(len, data.waves)) == 3_127_443
    assert all(0.01 < np.abs(wave).max() <= 1 for wave in data.waves)
    assert main(["data", "fsdd"]) == 0
    assert "600 train + 300 test recordings of 6 speakers" in capsys.readouterr().out
