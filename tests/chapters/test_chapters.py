"""Every chapter runs, shows what it promised, and has the shape that the book and the notebooks rely on."""

import ast
import html
import importlib.util
import os
import re
import runpy
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import standin
from conftest import ROOT, python

from minivae import chapter
from minivae.chapter import options, parser
from minivae.data import download
from minivae.sound import read_wave

CHAPTERS = {path.stem: path for path in sorted((ROOT / "chapters").glob("ch*.py"))}


def test_numbers_are_fixed_and_names_importable():
    """A chapter that is not written yet leaves its number free."""
    numbers = [int(re.match(r"ch(\d\d)_", name)[1]) for name in CHAPTERS]
    assert numbers == sorted(set(numbers))
    assert numbers[:10] == list(range(1, 11))
    assert all(name.isidentifier() for name in CHAPTERS)


BOOK = os.environ.get("MINIVAE_BOOK")                 # built just now: every chapter has run there, with --quick


@pytest.mark.parametrize("name", CHAPTERS)
def test_it_runs_and_ends_with_what_was_seen(name, tmp_path, monkeypatch, capsys):
    """Every fifth as a program, the others as one in this process, where warnings are errors too, and everything that
    they import is there already; of these, after `.ci/run` has built the book, the page is read."""
    arguments = [str(CHAPTERS[name]), "--quick", "--out", str(tmp_path / "out")]
    if int(name[2:4]) % 5 == 1:
        result = python(*arguments)
        assert result.returncode == 0, result.stderr
        out, err = result.stdout, result.stderr
    elif BOOK:
        assert_the_book_shows_it(name)
        return
    else:
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
        out, err = capsys.readouterr()
    assert "Warning" not in err
    assert re.search(r"^Seen: .*\d", out, re.M), "a sentence with a number in it"
    assert "nan" not in out.split("Seen:")[1]
    pictures = list((tmp_path / "out").rglob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
    said = re.findall(r"^picture: (.*)$", out, re.M)
    assert sorted(said) == sorted(str(picture) for picture in pictures)


def assert_the_book_shows_it(name):
    page = (Path(BOOK) / f"{name}.html").read_text(encoding="utf-8")
    seen = re.search(r"^Seen: .*\d[\s\S]{0,1500}", html.unescape(re.sub(r"<[^>]*>", "", page)), re.M)
    assert seen, "a sentence with a number in it"
    assert " nan" not in seen[0]
    assert "<figure" in page


@pytest.mark.parametrize("name", CHAPTERS)
def test_its_text_is_made_of_cells(name):
    """Text cells become the pages of the book: all comments, title first, three exercises last."""
    text = CHAPTERS[name].read_text(encoding="utf-8")
    number = int(name[2:4])
    doc = ast.get_docstring(ast.parse(text))
    assert doc.startswith(f"Chapter {number} · ")
    assert all(word in doc for word in ("The question", "What is new", "What you'll see"))
    cells = re.split(r"^# %%", text, flags=re.M)[1:]
    prose = [cell for cell in cells if cell.startswith(" [markdown]\n")]
    code = [cell for cell in cells if not cell.startswith(" [markdown]")]
    assert len(prose) >= 3
    assert code
    assert all(not line or line.startswith("#") for cell in prose for line in cell.splitlines()[1:])
    assert re.match(rf" \[markdown\]\n# # {number} · ", prose[0])
    assert prose[-1] is cells[-1]
    assert prose[-1].startswith(" [markdown]\n# ## Exercises\n")
    assert re.findall(r"^# (\d)\. ", prose[-1], re.M) == ["1", "2", "3"]
    for cell in prose:
        assert cell.count("$") % 2 == 0, "a formula that never ends"
    for cell in code:
        ast.parse(cell)


@pytest.mark.parametrize("name", CHAPTERS)
def test_it_says_how_to_be_used(name, capsys):
    """In this process: that it runs as a program is tested above."""
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(CHAPTERS[name]), run_name=name)["main"](["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in ("--device", "--seed", "--epochs", "--data", "--out", "--quick", "--show", "--figures"):
        assert option in said
    assert "The question" in said


NAME = "ch02_linear"                                  # they all share one parser; that all use it is tested above


@pytest.mark.parametrize(("arguments", "said"), [
    (("--data", "nmist"), "--data: unknown data set 'nmist': did you mean 'mnist'?"),
    (("--data", "no/such/file.npz"), "no/such/file.npz"),
    (("--epochs", "0"), "--epochs: got 0, expected at least 1"),
    (("--seed", "-1"), "--seed: got -1, expected at least 0"),
    (("--device", "tpu"), "invalid choice: 'tpu'"),
    (("--nonsense",), "unrecognized arguments: --nonsense"),
])
def test_bad_options_are_explained(arguments, said, tmp_path, monkeypatch, capsys):
    """In this process: what leaves it is the exit code that a shell would see, and no other exception."""
    monkeypatch.setattr(sys, "argv", [str(CHAPTERS[NAME]), *arguments, "--quick", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(CHAPTERS[NAME]), run_name="__main__")
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_lecture_gets_every_picture_for_its_slides(tmp_path):
    result = python(CHAPTERS[NAME], "--quick", "--figures", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    pictures = sorted(path.stem for path in tmp_path.glob("*.png"))
    for ending, begins in ((".svg", b"<?xml"), (".pdf", b"%PDF")):
        made = sorted(tmp_path.glob(f"*{ending}"))
        assert [path.stem for path in made] == pictures
        assert all(path.read_bytes().startswith(begins) for path in made)
    assert re.search(r"<dc:title>\w+ [^<]*</dc:title>", made[0].with_suffix(".svg").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_asks_for_its_data_in_the_same_way(name):
    """A chapter that calls load() itself answers a wrong name with a traceback."""
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(CHAPTERS[name].read_text(encoding="utf-8")))
              if isinstance(node, ast.Call)}
    assert called & {"opt.images", "opt.digits", "opt.sentences", "opt.recordings"}
    assert not called & {"load", "load_spoken_digits"}


def test_a_chapter_takes_a_reader_s_own_images(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.integers(0, 256, (200, 8, 6), dtype=np.uint8))
    result = python(CHAPTERS["ch10_train_vae"], "--quick", "--data", tmp_path / "mine.npz", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "images of 8×6" in result.stdout


def test_recordings_are_had_or_made_or_the_chapter_says_what_is_wrong(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("MINIVAE_DATA", raising=False)
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", no_network)
    p = parser("ch33", "", data="auto")
    made = options(p, ["--quick"])[0].recordings()
    assert "made voices instead" in capsys.readouterr().out
    assert made.speakers[0] == "made_a"
    assert len(options(p, ["--data", "made_voices"])[0].recordings()) == 900
    for name, says in (("mnist", "needs recordings"), ("spoken_digits", "could not download v1.0.9.tar.gz")):
        with pytest.raises(SystemExit) as stop:
            options(p, ["--data", name])[0].recordings()
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def no_network(*args, **kwargs):
    raise OSError("the test has no network")


def test_a_chapter_s_sound_is_a_file_and_in_a_notebook_a_player(monkeypatch, tmp_path, capsys):
    opt, _ = options(parser("ch33", ""), ["--out", str(tmp_path)])
    wave = np.sin(np.arange(800) / 5)
    opt.save_sound(wave, 8000, "tone", alt="a tone")
    assert capsys.readouterr().out == f"sound: {tmp_path / 'tone.wav'}\n"
    assert np.abs(read_wave(tmp_path / "tone.wav", rate=8000)[0][0] - wave).max() <= 1 / 32768
    shown = []
    monkeypatch.setattr(chapter, "in_notebook", lambda: True)
    monkeypatch.setattr(chapter, "show_page", shown.append)
    opt.save_sound(wave, 8000, "tone", alt="a tone")
    assert shown[0].startswith('<figure class="sound"><audio controls')
    assert capsys.readouterr().out == ""


# ── a GPU ─────────────────────────────────────────────────────────────────────────────────────────

STAYS = {"ch01_gradient", "ch02_linear", "ch03_chains", "ch05_likelihoods", "ch07_elbo", "ch08_kl", "ch17_em",
         "ch18_where_the_time_goes", "ch19_processes"}
AT_ONCE = STAYS | {"ch04_optimisation", "ch09_reparameterization"}            # the others take their time


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in AT_ONCE))
                                  for name in CHAPTERS])
def test_it_goes_to_the_gpu_or_says_why_not(name, tmp_path, cupy_standin, monkeypatch, capsys):
    """On the stand-in, where an array that is on the wrong side raises."""
    spec = importlib.util.spec_from_file_location(name, CHAPTERS[name])
    monkeypatch.setitem(sys.modules, name, chapter := importlib.util.module_from_spec(spec))
    spec.loader.exec_module(chapter)
    arguments = ["--quick", "--device", "cuda", "--out", str(tmp_path / "out")]
    if name in STAYS:
        with pytest.raises(SystemExit) as stop:
            chapter.main(arguments)
        assert stop.value.code == 2
        assert "--device cuda: this chapter stays on the CPU: it" in capsys.readouterr().err
        return
    with standin.record() as seen:
        chapter.main(arguments)
    assert "Seen: " in capsys.readouterr().out
    assert seen["launch"] > 100
    assert seen["h2d"] > 0
    assert list((tmp_path / "out").rglob("*.png"))


def test_auto_is_the_cpu_where_a_chapter_stays_there(cupy_standin):
    p = parser("ch01", "", cpu_because="it is small")
    assert options(p, ["--device", "auto"])[0].device.name == "cpu"
    assert options(parser("ch06", ""), ["--device", "auto"])[0].device.name == "cuda"
    assert "cpu: it is small" in p.format_help()
