"""minivae separate, from training on recordings to voices in files; and all that it refuses, before any work."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minivae.cli import main
from minivae.cli import separate as separated
from minivae.data import spectra
from minivae.data.voices import made_voices
from minivae.runs import read_history
from minivae.sound import heard, mixing_room, read_wave, write_wave

SMALL = ("--hidden", "8", "--latents", "2", "--activation", "softplus", "--batch-size", "500", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def recordings():
    """Made voices in place of the spoken digits."""
    data = made_voices(each=6)
    with pytest.MonkeyPatch.context() as patch:
        for module in (spectra, separated):
            patch.setattr(module, "load_spoken_digits", lambda folder=None: data)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--model", "mvae", "--data", "spoken_digits", *SMALL, "--epochs", "2", "--out",
                 str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Two made voices in a made room, 0.8 seconds"""
    rng, data = np.random.default_rng(0), made_voices(each=6)
    dry = [np.resize(np.concatenate([data.waves[i] for i in np.flatnonzero(data.speaker == who)[:3]]), 6400)
           for who in (0, 4)]
    x = heard(np.stack(dry).astype(float), mixing_room(2, rng=rng)).sum(axis=1)
    return write_wave(tmp_path_factory.mktemp("sound") / "mixture.wav", 0.9 * x / np.abs(x).max(), 8000)


def separate(*arguments):
    return main(["separate", *map(str, arguments)])


def test_a_run_knows_voices_and_goes_on(run, tmp_path, capsys):
    assert {path.name for path in run.glob("*.png")} == {"voices.png", "curves.png"}
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert [record["epoch"] for record in read_history(run)] == [1, 2, 3]
    capsys.readouterr()
    assert main(["evaluate", str(run), "--samples", "3"]) == 0
    assert re.search(r"ELBO .*\nNLL .*", capsys.readouterr().out)
    assert main(["sample", str(run), "--n", "6", "--given", "1", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (6, 1, 257)
    assert main(["explore", str(run), "-o", str(tmp_path / "e.html")]) == 2
    assert "a run of model mvae; the page explores images" in capsys.readouterr().err


@pytest.mark.parametrize("told", [(), ("--speakers", "made_e", "made_a")])
def test_a_mixture_becomes_a_file_for_each_source(told, run, mixture, tmp_path, capsys):
    assert separate(mixture, "--run", run, "--sweeps", 2, "--out", tmp_path / "out", *told) == 0
    out = capsys.readouterr().out
    assert "2 channels: 2 sources\nframes of 512 samples, every 128" in out
    assert ("speakers: made_e, made_a" if told else "speakers: not told, of 6") in out
    found = [read_wave(tmp_path / "out" / f"source-{i}.wav", rate=8000)[0][0] for i in (1, 2)]
    x, _ = read_wave(mixture)
    louder = found[0] + found[1]                       # they add up to microphone 1, but for a common factor
    factor = (louder @ x[0]) / (louder @ louder)
    np.testing.assert_allclose(factor * louder, x[0], atol=1e-3)
    assert separate(mixture, "--run", run, "--sweeps", 2, "--out", tmp_path / "out", *told) == 0
    assert "out-2" in capsys.readouterr().out, "no file is written over"


def test_it_refuses_what_it_cannot_do_before_any_work(run, mixture, tmp_path, capsys):
    x, _ = read_wave(mixture)
    loud = np.clip(4.0 * x, -1.0, 1.0)
    waves = {"mono": x[:1], "silent": x * np.array([[1.0], [0.0]]), "short": x[:, :1000], "clipped": loud,
             "twice": x[[0, 0]]}
    for name, wave in waves.items():
        write_wave(tmp_path / f"{name}.wav", wave, 8000)
    write_wave(tmp_path / "fast.wav", x, 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    out = tmp_path / "out"
    for name, said in (("mono", "is mono, expected a channel for each source"), ("silent", "channel 2 of .* is silent"),
                       ("short", "has 1,000 samples, expected at least 4,000"), ("clipped", "is clipped, 3 or more"),
                       ("twice", "channel 2 of .* is a copy of another: one microphone for two sources"),
                       ("fast", "has 16,000 samples a second, expected 8,000"), ("text", "is no WAV file")):
        assert separate(tmp_path / f"{name}.wav", "--run", tmp_path / "no run", "--out", out) == 2
        assert re.search(said, capsys.readouterr().err), name
    for arguments, said in ((("--speakers", "made_a"), "speakers: got 1, expected 2, one for each channel"),
                            (("--speakers", "made_a", "nobody"), "speakers: got 'nobody', expected of made_a, "),
                            (("--sweeps", "0"), "sweeps: got 0, expected at least 1")):
        assert separate(mixture, "--run", run, "--out", out, *arguments) == 2
        assert said in capsys.readouterr().err
    assert separate(mixture, "--run", tmp_path, "--out", out) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert separate(tmp_path / "nothing.wav", "--run", run, "--out", out) == 2
    assert "nothing.wav" in capsys.readouterr().err
    assert not out.exists()


def test_recordings_and_images_are_not_mistaken_for_each_other(tmp_path, capsys):
    for model, data, said in (("mvae", "digits", "data: got 'digits', expected recordings, spoken_digits"),
                              ("vae", "spoken_digits", "spoken_digits has no images as rows")):
        assert main(["train", "--model", model, "--data", data, "--out", str(tmp_path / "run")]) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "--epochs", "1", "--hidden", "4", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    write_wave(tmp_path / "x.wav", 0.1 * np.random.default_rng(0).standard_normal((2, 5000)), 8000)
    assert separate(tmp_path / "x.wav", "--run", tmp_path / "run") == 2
    assert "is a run of model vae, expected one of mvae" in capsys.readouterr().err
