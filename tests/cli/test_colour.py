"""A folder of pictures in colour, from the files to every picture that a run leaves."""

import json
import re
import shutil

import matplotlib.image
import numpy as np
import pytest
from coloured import folder_of

from minivae.backend import device
from minivae.cli import main
from minivae.data import load
from minivae.explorer.views import VIEWS
from minivae.training import load_run
from minivae.training.batches import OF_SENTENCES
from minivae.training.models import MODELS

SMALL = ("--size", "8", "--hidden", "12", "--latents", "2", "--batch-size", "50", "--epochs", "2", "--device", "cpu")
OPTIONS = {
    "vae": ("--network", "conv", "--filters", "4", "6", "--dense", "16", "--likelihood", "logistic_shared"),
    "two_stage": ("--likelihood", "gaussian_shared", "--first-epochs", "1", "--second-hidden", "8"),
    "cvae": ("--baseline-epochs", "1"), "m2": ("--labels", "20"), "m1m2": ("--labels", "20", "--first-epochs", "1"),
    "gmvae": ("--components", "3", "--vae-epochs", "1"), "infinite": ("--components", "3", "--first-epochs", "1"),
    "vq_vae": ("--likelihood", "gaussian_shared", "--first-epochs", "1", "--codes", "4", "--prior-channels", "8",
               "--prior-blocks", "1"),
    "vae_gan": ("--likelihood", "gaussian_fixed", "--features", "16"),
}
REFUSED = {"structured": "model: photos is in colour, and structured residuals are of grey images",
           "mvae": "expected recordings, spoken_digits: it is voices that model mvae learns"}
IN_COLOUR = [model for model in MODELS if model not in REFUSED.keys() | set(OF_SENTENCES)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of 16×16, in four folders."""
    return folder_of(tmp_path_factory.mktemp("colour") / "photos", 140)


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """A run of every model."""
    folder = tmp_path_factory.mktemp("runs")
    for model in IN_COLOUR:
        assert main(["train", "--data", str(photos), "--model", model, *SMALL, *OPTIONS.get(model, ()),
                     "--out", str(folder / model)]) == 0
    return folder


@pytest.mark.parametrize("model", IN_COLOUR)
def test_pictures_of_a_run_are_in_colour(model, runs):
    """Nearly all: curves have no images, and clusters of two latents are points."""
    drawn = [path for path in (runs / model).glob("*.png") if path.stem not in ("curves", "latents")]
    assert drawn
    for path in drawn:
        page = matplotlib.image.imread(path)[..., :3]
        assert (np.ptp(page, axis=-1) > 0.1).mean() > 0.05, path
    assert json.loads((runs / model / "config.json").read_text(encoding="utf-8"))["size"] == 8


@pytest.mark.parametrize("model", IN_COLOUR)
def test_what_is_drawn_and_judged(model, runs, tmp_path, capsys):
    """Of these pictures, and of the size that the run was made with."""
    assert main(["evaluate", str(runs / model), "--images", "5"]) == 0
    assert re.search(r"[Nn]ats", capsys.readouterr().out)
    assert main(["sample", str(runs / model), "--n", "7", "--out", str(tmp_path / "s.npz")]) == 0
    images = np.load(tmp_path / "s.npz")["images"]
    assert images.shape == (7, 8, 8, 3)
    assert np.isfinite(images).all()
    assert np.ptp(images, axis=-1).max() > 0.02
    assert load(tmp_path / "s.npz").image_shape == (8, 8, 3), "and can be read again"


@pytest.mark.parametrize("model", sorted(REFUSED))
def test_a_model_of_something_else_says_so(model, photos, tmp_path, capsys):
    assert main(["train", "--data", str(photos), "--model", model, *SMALL, "--likelihood", "gaussian_pixel",
                 "--out", str(tmp_path / "run")]) == 2
    assert REFUSED[model] in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_train_says_of_the_folder(photos, tmp_path, capsys):
    (photos / "colour0" / "list.txt").write_text("names", encoding="utf-8")
    assert main(["train", "--data", str(photos), *SMALL, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out.splitlines()
    (photos / "colour0" / "list.txt").unlink()
    assert said[:3] == ["photos: 126 train + 14 test images of 8×8×3, colour in [0, 1], 4 classes",
                        "classes: 0 colour0, 1 colour1, 2 colour2, 3 colour3",
                        "1 of 141 files left out, no .png, .jpg or .jpeg: colour0/list.txt"]


def test_the_default_folder_of_a_run_is_named_after_the_pictures(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", f"{photos}/", *SMALL, "--epochs", "1"]) == 0
    assert (tmp_path / "runs" / "photos" / "config.json").exists()
    capsys.readouterr()


def test_runs_in_colour_stand_side_by_side(runs, tmp_path, capsys):
    models = [model for model in IN_COLOUR if model != "cvae"]
    assert main(["compare", *(str(runs / model) for model in models), "--out", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^test images +14", out, re.M)
    assert "Fréchet" not in out
    page = matplotlib.image.imread(tmp_path / "c" / "comparison.png")[..., :3]
    assert (np.ptp(page, axis=-1) > 0.1).mean() > 0.05


@pytest.mark.parametrize("model", [model for model in IN_COLOUR if model in ("vae", *VIEWS)])
def test_its_latents_can_be_explored(model, runs, tmp_path, capsys):
    assert main(["explore", str(runs / model), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    spec = json.loads(re.search(r'id="spec">(.*?)</script>', page)[1])
    assert (spec["shape"], spec["mean"]["scale"]) == ([8, 8, 3], 1.0)
    capsys.readouterr()


def test_without_its_pictures_a_run_wants_to_know_their_shape(runs, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs / "vae", run)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}), encoding="utf-8")
    explore = ["explore", str(run), "-o", str(tmp_path / "page.html")]
    assert main(explore) == 2
    assert "give --shape, height and width, and 3 if they are in colour" in capsys.readouterr().err
    assert main([*explore, "--shape", "8", "8", "3"]) == 0
    assert "without test images: " in capsys.readouterr().out


def test_a_run_goes_on_with_its_size(photos, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--data", str(photos), *SMALL, "--epochs", "1", "--out", str(run)]) == 0
    assert main(["train", "--resume", str(run), "--epochs", "2", "--device", "cpu"]) == 0
    assert load_run(run, device("cpu"))[1].image_shape == (8, 8, 3)
    assert main(["train", "--resume", str(run), "--size", "16"]) == 2
    assert "size: got 16, and" in capsys.readouterr().err


def test_the_folder_is_described(photos, capsys):
    assert main(["data", str(photos), "--size", "8"]) == 0
    assert "126 train + 14 test images of 8×8×3" in capsys.readouterr().out
