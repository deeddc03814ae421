"""The command line as a user types it: what it writes, what it says, and its exit code."""

import json
import re
import signal
import sys
import time
from typing import get_args, get_type_hints

import numpy as np
import pytest
from conftest import python, running

import minivae.cli
from minivae.cli import main
from minivae.cli.shown import SHOWN
from minivae.gradient_table import cases, check
from minivae.runs import CHECKPOINT, METRICS, load_checkpoint, read_history
from minivae.training import Recipe, loop
from minivae.training.models import MODELS

SMALL = ("--hidden", "8", "--latents", "3", "--batch-size", "50", "--device", "cpu")
PICTURES = {"samples.png", "reconstructions.png", "interpolation.png", "manifold.png", "latents.png", "curves.png"}
FILES = {"config.json", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set of 220 small labelled images in a user's own file."""
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    rng = np.random.default_rng(0)
    np.savez(path, train=rng.random((160, 4, 3)), train_labels=np.arange(160) % 3,
             test=rng.random((60, 4, 3)), test_labels=np.arange(60) % 3)
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(data), *SMALL, "--latents", "2", "--epochs", "2", "--out", str(folder)]) == 0
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(capsys):
    """What was printed; stderr must not hold a traceback."""
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err


def test_train_keeps_a_run_and_its_pictures(run):
    assert {path.name for path in run.iterdir()} == FILES | PICTURES
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert (config["hidden"], config["latents"], config["epochs"], config["optimizer"]) == ([8], 2, 2, "adam")
    assert len((run / METRICS).read_text(encoding="utf-8").splitlines()) == 2


def test_train_takes_every_option(data, tmp_path, capsys):
    code = main(["train", "--data", str(data), "--hidden", "6", "5", "--latents", "3", "--activation", "tanh",
                 "--likelihood", "gaussian_shared", "--samples", "2", "--binarize",
                 "--epochs", "1", "--batch-size", "40", "--optimizer", "momentum", "--lr", "0.0001",
                 "--schedule", "cosine", "--max-norm", "5", "--valid", "0.2", "--seed", "3",
                 "--posterior", "full", "--objective", "iwae",
                 "--out", str(tmp_path / "run"), "--device", "cpu"])
    out, _ = shown(capsys)
    assert code == 0
    assert re.search(r"test: ELBO -?\d+\.\d\d ± \d+\.\d\d nats", out)
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config | {"data": ""} == {
        "data": "", "hidden": [6, 5], "latents": 3, "activation": "tanh", "likelihood": "gaussian_shared", "samples": 2,
        "binarize": True, "epochs": 1, "batch_size": 40, "optimizer": "momentum", "lr": 0.0001, "schedule": "cosine",
        "max_norm": 5.0, "valid": 0.2, "seed": 3, "posterior": "full", "objective": "iwae", "warm_up": 0,
        "free_bits": 0.0, "network": "mlp", "filters": [32, 64], "dense": 256, "prior": "standard", "components": 10,
        "scale": "none", "beta": 1.0, "capacity": None, "gamma": 100.0, "model": "vae", "given": "quadrants",
        "observed": 1, "baseline_epochs": 10, "alpha": 1.0, "first_epochs": 15, "second_hidden": [256, 256],
        "labels": 100, "label_weight": 1.0, "m1_latents": 50, "w_latents": 10, "vae_epochs": 10, "information": 0.0,
        "concentration": 1.0, "fixed_epochs": 5, "levels": 2, "codes": 64, "prior_channels": 32, "prior_blocks": 4,
        "by_class": False, "features": 512, "likeness": 1.0, "margin": None, "weights": [3.0, 1.0, 1.0, 1.0],
        "size": None, "words": 2000, "length": 25, "units": 64, "writer": "conditional", "forget": 0.3}


@pytest.mark.parametrize("option", [("--warm-up", "2"), ("--free-bits", "0.1"),
                                    ("--objective", "dreg", "--samples", "3")])
def test_train_climbs_other_objectives(option, data, tmp_path, capsys):
    assert main(["train", "--data", str(data), *SMALL, "--epochs", "2", "--binarize", *option,
                 "--out", str(tmp_path / "run")]) == 0
    assert "test: ELBO" in shown(capsys)[0]
    assert main(["evaluate", str(tmp_path / "run"), "--samples", "5"]) == 0


def test_train_never_overwrites(data, run, capsys):
    before = contents(run)
    assert main(["train", "--data", str(data), *SMALL, "--epochs", "1", "--out", str(run)]) == 0
    assert contents(run) == before
    assert f"run folder: {run}-2" in shown(capsys)[0]
    assert (run.parent / f"{run.name}-2" / CHECKPOINT).exists()


def test_train_goes_on_for_more_epochs(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), *SMALL, "--epochs"]
    assert main([*arguments, "2", "--out", str(tmp_path / "run")]) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--epochs", "3", "--device", "cpu"]) == 0
    assert main([*arguments, "3", "--out", str(tmp_path / "whole")]) == 0
    resumed, whole = ([record | {"seconds": 0} for record in read_history(tmp_path / name)]
                      for name in ("run", "whole"))
    assert resumed == whole
    assert len(whole) == 3


def test_evaluate(run, capsys):
    before = contents(run)
    assert main(["evaluate", str(run), "--samples", "7", "--device", "cpu"]) == 0
    out, _ = shown(capsys)
    assert re.search(r"ELBO -?\d+\.\d\d ± .* 60 images", out)
    assert re.search(r"active units: [012] of 2", out)
    assert re.search(r"NLL \d+\.\d\d ± .*7 samples, 60 images", out)
    assert main(["evaluate", str(run), "--images", "10", "--best", "--device", "cpu"]) == 0
    out, _ = shown(capsys)
    assert "10 images" in out
    assert "NLL" not in out
    assert contents(run) == before


def test_sample(run, tmp_path, capsys):
    out = tmp_path / "s.npz"
    assert main(["sample", str(run), "--n", "7", "--out", str(out), "--seed", "1", "--device", "cpu"]) == 0
    assert "7 images" in shown(capsys)[0]
    images = np.load(out)["images"]
    assert (images.shape, images.dtype) == ((7, 4, 3), np.float32)
    assert 0 <= images.min() < images.max() <= 1
    assert out.with_suffix(".png").exists()
    again = str(tmp_path / "t.npz")
    assert main(["sample", str(run), "--n", "7", "--out", again, "--seed", "1", "--device", "cpu"]) == 0
    np.testing.assert_array_equal(np.load(again)["images"], images)


def test_plot(run, tmp_path):
    assert main(["plot", str(run), "--out", str(tmp_path / "p"), "--device", "cpu"]) == 0
    assert {path.name for path in (tmp_path / "p").iterdir()} == PICTURES


@pytest.mark.parametrize("given", [("--observed", "2"), ("--given", "label")], ids=["quadrants", "label"])
def test_a_conditional_model_from_training_to_samples(given, data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--model", "cvae", *given, "--data", str(data), *SMALL, "--epochs", "3",
                 "--baseline-epochs", "1", "--binarize", "--out", str(run)]) == 0
    assert {path.name for path in run.iterdir()} == FILES | {"completions.png", "curves.png"}
    kls = [record["train_kl"] for record in read_history(run)]
    assert kls[0] == 0.0 < min(kls[1:])
    assert main(["train", "--resume", str(run), "--epochs", "4"]) == 0
    shown(capsys)
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    out, _ = shown(capsys)
    assert re.search(r"ELBO .*\nlog p\(y\|x\) of 60 examples, nats: baseline -\d.* 7 draws of p\(z\|x\)", out)
    assert main(["sample", str(run), "--n", "70", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (70, 4, 3)
    assert main(["plot", str(run), "--out", str(tmp_path / "pictures")]) == 0
    shown(capsys)
    for command, said in (("evaluate --latents", "ais, latents: got a run of a CVAE"),
                          ("evaluate --ais 5", "ais, latents: got a run of a CVAE, expected one of a VAE")):
        assert main([*command.split(), str(run)]) == 2
        assert said in shown(capsys)[1]


@pytest.mark.parametrize("model", ["m2", "m1m2"])
def test_a_semi_supervised_model_from_training_to_samples(model, data, tmp_path, capsys):
    run, m1 = tmp_path / "run", ("--m1-latents", "4", "--first-epochs", "1") if model == "m1m2" else ()
    assert main(["train", "--model", model, "--labels", "12", *m1, "--data", str(data), *SMALL, "--epochs", "2",
                 "--binarize", "--out", str(run)]) == 0
    assert {path.name for path in run.iterdir()} == FILES | {"samples.png", "analogies.png", "reconstructions.png",
                                                             "curves.png"}
    assert (read_history(run)[0]["train_cross_entropy"] == 0.0) == (model == "m1m2")
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    shown(capsys)
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    said = shown(capsys)[0]
    assert re.search(r"ELBO .*\nerror: \d+\.\d\d ± \d+\.\d\d% of 60 images\nNLL .* 7 samples, 60 images", said)
    assert main(["sample", str(run), "--n", "7", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (7, 4, 3)
    assert main(["plot", str(run), "--out", str(tmp_path / "pictures")]) == 0
    shown(capsys)
    for command, said in (("evaluate --latents", "ais, latents: got a run of a M"),
                          ("evaluate --ais 5", "ais, latents: got a run of a M"),
                          ("train --labels 12 --data DATA",
                           "labels: got 12, which means nothing to model vae: it is of model m2 or m1m2"),
                          ("train --model m2 --labels 13 --data DATA", "count: got 13, expected a multiple of 3")):
        words = command.replace("DATA", str(data)).split()
        assert main(words if words[0] == "train" else [*words, str(run)]) == 2
        assert said in shown(capsys)[1]


def test_a_semi_supervised_model_needs_labels(tmp_path, capsys):
    np.savez(tmp_path / "bare.npz", train=np.zeros((20, 3, 3)), test=np.zeros((5, 3, 3)))
    assert main(["train", "--model", "m2", "--data", str(tmp_path / "bare.npz"), "--out", str(tmp_path / "run")]) == 2
    assert "has no labels, and this model needs some" in shown(capsys)[1]
    assert not (tmp_path / "run").exists()


def test_a_two_stage_model_from_training_to_samples(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--model", "two_stage", "--likelihood", "gaussian_shared", "--data", str(data), *SMALL,
                 "--epochs", "3", "--first-epochs", "2", "--second-hidden", "6", "--latents", "2", "--out",
                 str(run)]) == 0
    assert {path.name for path in run.iterdir()} == FILES | PICTURES | {"samples_of_the_first_stage.png"}
    assert main(["evaluate", str(run), "--samples", "5"]) == 0
    assert re.search(r"active units: \d of 2\nNLL -?\d", shown(capsys)[0])
    assert main(["sample", str(run), "--n", "5", "--out", str(tmp_path / "s.npz")]) == 0
    assert main(["evaluate", str(run), "--latents"]) == 2
    assert "ais, latents: got a run of a TwoStage, expected one of a VAE" in shown(capsys)[1]


@pytest.mark.parametrize(("options", "said"), [
    ("--observed 2", "observed: got 2, which means nothing to model vae: it is of model cvae"),
    ("--model cvae --beta 4", "beta: got 4.0, which means nothing to model cvae: it is of model vae"),
    ("--model two_stage --alpha 0.5", "alpha: got 0.5, which means nothing to model two_stage: it is of model cvae")])
def test_a_setting_of_another_model_is_refused(options, said, data, tmp_path, capsys):
    assert main(["train", "--data", str(data), *options.split(), "--out", str(tmp_path / "run")]) == 2
    assert said in shown(capsys)[1]
    assert not (tmp_path / "run").exists()


def test_clusters_from_training_to_samples(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--model", "gmvae", "--components", "4", "--w-latents", "2", "--vae-epochs", "1",
                 "--information", "0.5", "--data", str(data), *SMALL, "--latents", "2", "--epochs", "2",
                 "--binarize", "--out", str(run)]) == 0
    found = r"ELBO .* kl of z .* of w .* of c .*\nclusters: \d of 4 in use; accuracy by the best assignment [\d.]+%"
    assert re.search(f"test: {found}", shown(capsys)[0])
    assert {path.name for path in run.iterdir()} == FILES | {"clusters.png", "curves.png", "latents.png"}
    of_c = [record["train_kl_c"] for record in read_history(run)]
    assert of_c[0] == 0.0 < of_c[1]
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert main(["evaluate", str(run), "--samples", "7", "--ais", "3"]) == 0
    out, _ = shown(capsys)
    assert re.search(found, out)
    assert "7 samples, 60 images" in out
    assert main(["sample", str(run), "--n", "10", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (10, 4, 3)
    assert main(["plot", str(run), "--out", str(tmp_path / "pictures")]) == 0
    shown(capsys)
    assert main(["evaluate", "--latents", str(run)]) == 2
    assert "latents: got a run of a GMVAE" in shown(capsys)[1]


def test_as_many_vaes_as_the_data_ask_for(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--model", "infinite", "--components", "4", "--concentration", "2", "--first-epochs", "1",
                 "--data", str(data), *SMALL, "--latents", "2", "--epochs", "3", "--binarize", "--out", str(run)]) == 0
    shown(capsys)
    assert {path.name for path in run.iterdir()} == FILES | {"atlas.png", "clusters.png", "curves.png",
                                                             "reconstructions.png"}
    components = [record["train_components"] for record in read_history(run)]
    assert components[0] == 0.0 < components[-1] <= 4.0
    assert main(["train", "--resume", str(run), "--epochs", "4"]) == 0
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    out, _ = shown(capsys)
    assert re.search(r"components: \d in use, of [\d, ]+ training images\n60 examples: [\d.]+% are of the class", out)
    assert re.search(r"active units: \d of 2\nNLL", out)
    assert main(["sample", str(run), "--n", "9", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (9, 4, 3)
    assert main(["train", "--model", "infinite", "--concentration", "0", "--data", str(data)]) == 2
    assert "concentration: got 0.0, expected a number > 0" in shown(capsys)[1]


def test_residuals_of_neighbours_from_training_to_samples(data, tmp_path, capsys):
    run = tmp_path / "run"
    train = ("train", "--model", "structured", "--data", str(data), *SMALL, "--latents", "2", "--out", str(run))
    assert main([*train, "--epochs", "3"]) == 2
    assert "likelihood: got 'bernoulli'; model structured wants gaussian_pixel" in shown(capsys)[1]
    assert main([*train, "--likelihood", "gaussian_pixel", "--epochs", "3", "--first-epochs", "1", "--fixed-epochs",
                 "1"]) == 0
    assert {path.name for path in run.iterdir()} == FILES | PICTURES | {"residuals.png"}
    assert main(["train", "--resume", str(run), "--epochs", "4"]) == 0
    assert main(["evaluate", str(run), "--samples", "7", "--ais", "3"]) == 0
    out, _ = shown(capsys)
    assert re.search(r"active units: \d of 2\nNLL -?\d", out)
    assert "annealed importance sampling, 3 temperatures" in out
    assert main(["sample", str(run), "--n", "5", "--out", str(tmp_path / "s.npz")]) == 0


def test_pictures_of_numbers_from_training_to_samples(data, tmp_path, capsys):
    run, mine = tmp_path / "run", tmp_path / "square.npz"
    np.savez(mine, train=np.load(data)["train"][:, :, [0, 0, 1, 1]], test=np.load(data)["test"][:, :, [0, 0, 1, 1]])
    train = ("train", "--model", "vq_vae", "--data", str(mine), "--codes", "5", "--prior-channels", "4",
             "--prior-blocks", "1", "--batch-size", "32", "--out", str(run))
    assert main([*train, "--levels", "3"]) == 2
    assert "height: got 4, expected a multiple of 8, for 3 levels" in shown(capsys)[1]
    assert main([*train, "--epochs", "3", "--first-epochs", "2"]) == 0
    assert {path.name for path in run.iterdir()} == FILES | {"codes.png", "curves.png", "reconstructions.png",
                                                             "samples.png"}
    assert main(["train", "--resume", str(run), "--epochs", "4"]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert re.search(r"2×2 numbers: \d of 5 words in use, perplexity [\d.]+; 9 bits", shown(capsys)[0])
    assert main(["sample", str(run), "--n", "5", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (5, 4, 4)
    shown(capsys)
    assert main(["sample", str(run), "--given", "1", "--out", str(tmp_path / "none.npz")]) == 2
    assert "label: got 1, expected None: this model's priors are told no class" in shown(capsys)[1]
    assert main(["explore", str(run)]) == 2
    assert "a run of model vq_vae" in shown(capsys)[1]
    assert main(["evaluate", str(run), "--latents"]) == 2
    assert "got a run of a VQVAE, expected one of a VAE" in shown(capsys)[1]


def test_pictures_of_numbers_of_a_class_from_training_to_samples(data, tmp_path, capsys):
    run, mine, parts = tmp_path / "run", tmp_path / "square.npz", dict(np.load(data))
    np.savez(mine, **parts | {part: parts[part][:, :, [0, 0, 1, 1]] for part in ("train", "test")})
    train = ("train", "--model", "vq_vae", "--by-class", "--codes", "5", "--prior-channels", "4", "--prior-blocks", "1",
             "--batch-size", "32", "--out", str(run))
    assert main([*train, "--data", str(mine), "--epochs", "3", "--first-epochs", "2"]) == 0
    assert main(["train", "--resume", str(run), "--epochs", "4"]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert main(["sample", str(run), "--n", "5", "--given", "2", "--out", str(tmp_path / "s.npz")]) == 0
    shown(capsys)
    assert main(["sample", str(run), "--given", "3", "--out", str(tmp_path / "t.npz")]) == 2
    assert "label: got 3, expected a class from 0 to 2" in shown(capsys)[1]
    np.savez(tmp_path / "bare.npz", train=np.load(mine)["train"], test=np.load(mine)["test"])
    assert main([*train[:-1], str(tmp_path / "other"), "--data", str(tmp_path / "bare.npz")]) == 2
    assert "has no labels, and this model needs some" in shown(capsys)[1]


def test_a_game_from_training_to_samples(data, tmp_path, capsys):
    run = tmp_path / "run"
    train = ("train", "--model", "vae_gan", "--data", str(data), *SMALL, "--latents", "2", "--features", "6",
             "--optimizer", "rmsprop", "--out", str(run))
    assert main([*train, "--margin", "0"]) == 2
    assert "margin: got 0.0, expected a number > 0, or None" in shown(capsys)[1]
    assert main([*train, "--epochs", "2", "--margin", "0.3", "--likeness", "2"]) == 0
    assert {path.name for path in run.iterdir()} == FILES | PICTURES
    assert all({"train_game", "train_likeness", "train_fooled"} <= record.keys() for record in read_history(run))
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    assert re.search(r"active units: \d of 2\nNLL \d", shown(capsys)[0])
    assert main(["sample", str(run), "--n", "5", "--out", str(tmp_path / "s.npz")]) == 0


def test_a_game_of_convolutions_from_training_to_samples(data, tmp_path, capsys):
    run, mine, parts = tmp_path / "run", tmp_path / "square.npz", dict(np.load(data))
    np.savez(mine, **parts | {part: parts[part][:, :, [0, 0, 1, 1]] for part in ("train", "test")})
    train = ("train", "--model", "vae_gan", "--network", "conv", "--filters", "3", "4", "--dense", "6", "--latents",
             "2", "--features", "6", "--optimizer", "rmsprop", "--batch-size", "50", "--device", "cpu", "--out",
             str(run))
    assert main([*train, "--data", str(data)]) == 2
    assert "width: got 3, expected a multiple of 4" in shown(capsys)[1]
    assert main([*train, "--data", str(mine), "--epochs", "2"]) == 0
    assert {path.name for path in run.iterdir()} == FILES | PICTURES
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    assert re.search(r"active units: \d of 2\nNLL \d", shown(capsys)[0])
    assert main(["sample", str(run), "--n", "5", "--out", str(tmp_path / "s.npz")]) == 0
    assert np.load(tmp_path / "s.npz")["images"].shape == (5, 4, 4)


def test_four_players_from_training_to_samples(data, run, tmp_path, capsys):
    other, run = run, tmp_path / "run"
    train = ("train", "--model", "cvae_gan", "--data", str(data), *SMALL, "--latents", "2", "--features", "6",
             "--optimizer", "rmsprop", "--out", str(run))
    assert main([*train, "--weights", "1", "1", "-1", "1"]) == 2
    assert "weights: got (1.0, 1.0, -1.0, 1.0), expected four numbers of at least 0" in shown(capsys)[1]
    assert main([*train, "--margin", "0.5"]) == 2
    assert "margin: got 0.5, which means nothing to model cvae_gan" in shown(capsys)[1]
    assert main([*train, "--epochs", "2", "--weights", "2", "1", "0.5", "0.5"]) == 0
    assert {path.name for path in run.iterdir()} == FILES | {"analogies.png", "reconstructions.png", "samples.png",
                                                             "curves.png"}
    assert all({"train_game", "train_pairwise", "train_centres_c"} <= record.keys() for record in read_history(run))
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert main(["evaluate", str(run), "--samples", "7"]) == 0
    assert re.search(r"ELBO .*\nerror: \d+\.\d\d ± \d+\.\d\d% of 60 images\nNLL .*", shown(capsys)[0])
    for given, name in ((("--given", "2"), "s"), ((), "t")):
        assert main(["sample", str(run), "--n", "6", *given, "--out", str(tmp_path / f"{name}.npz")]) == 0
    one, all_of_them = (np.load(tmp_path / f"{name}.npz")["images"] for name in "st")
    np.testing.assert_array_equal(one[2::3], all_of_them[2::3])      # the same draws of z; every third is of class 2
    assert not np.array_equal(one[0], all_of_them[0])
    assert main(["compare", str(run), str(other), "--out", str(tmp_path / "c.png")]) == 0
    shown(capsys)
    assert main(["sample", str(run), "--given", "3", "--out", str(tmp_path / "u.npz")]) == 2
    assert "label: got 3, expected a class from 0 to 2" in shown(capsys)[1]


def test_no_class_is_given_to_a_model_that_is_told_none(run, tmp_path, capsys):
    assert main(["sample", str(run), "--given", "0", "--out", str(tmp_path / "s.npz")]) == 2
    assert "given: got 0, a class, and model vae is told none" in shown(capsys)[1]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Sentences of a user's own file: what is good and what is bad has words of its own."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "mine.tsv"
    words = {"good": ["fine", "nice", "film", "a"], "bad": ["dull", "poor", "film", "a"]}
    path.write_text("".join(f"{label}\t{' '.join(rng.choice(words[label], 1 + i % 6))}\n" for i in range(60)
                            for label in words), encoding="utf-8")
    return path


def test_sentences_from_training_to_samples(lines, data, run, tmp_path, capsys):
    out, images = tmp_path / "run", run
    train = ("train", "--model", "m2_text", "--data", str(lines), "--labels", "10", "--units", "6", "--latents", "2",
             "--words", "50", "--length", "8", "--batch-size", "20", "--device", "cpu")
    assert main([*train, "--out", str(out), "--forget", "2"]) == 2
    assert "forget: got 2.0, expected a number in [0, 1.0]" in shown(capsys)[1]
    assert main([*train, "--epochs", "2", "--warm-up", "1", "--out", str(out)]) == 0
    assert re.search(r"test: ELBO .* error \d+\.\d+ ± \d+\.\d+%, 12 sentences", shown(capsys)[0])
    assert {path.name for path in out.iterdir()} == FILES | {"vocabulary.json", "curves.png"}
    assert set(json.loads((out / "vocabulary.json").read_text(encoding="utf-8"))[3:]) == {
        "fine", "nice", "film", "a", "dull", "poor"}
    assert main(["train", "--resume", str(out), "--epochs", "3"]) == 0
    assert main([*train, "--epochs", "3", "--warm-up", "1", "--out", str(tmp_path / "whole")]) == 0
    left, right = (load_checkpoint(folder / CHECKPOINT)[0] for folder in (out, tmp_path / "whole"))
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)
    shown(capsys)
    assert main(["evaluate", str(out), "--samples", "3"]) == 0
    assert re.search(r"perplexity \d+\.\d at most: \d+ words .*\nactive units: \d of 2\nNLL ", shown(capsys)[0])
    assert main(["sample", str(out), "--n", "3", "--given", "1", "--out", str(tmp_path / "s.npz")]) == 0
    assert len(re.findall(r"^good\t", shown(capsys)[0], re.M)) == 3
    assert (tmp_path / "s.tsv").read_text(encoding="utf-8").count("\n") == 3
    assert main(["sample", str(out), "--out", str(tmp_path / "s.npz")]) != 0
    assert "exists already" in shown(capsys)[1]
    for command, says in ((("compare", str(out), str(images)), "explains no whole images"),
                          (("explore", str(out)), "a run of model m2_text"),
                          (("train", "--data", str(lines)), "mine has sentences, which model vae does not know"),
                          (("train", "--data", str(data), "--model", "m2_text"), "mine has images, which model m2"),
                          ((*train, "--binarize"), "binarize: got a model of sentences")):
        assert main([*command]) != 0
        assert says in shown(capsys)[1]


def test_a_run_of_sentences_keeps_its_words(lines, tmp_path, capsys):
    """Other sentences in the same file have other words: the run's codes still mean what they meant."""
    mine, run = tmp_path / "mine.tsv", tmp_path / "run"
    mine.write_bytes(lines.read_bytes())
    assert main(["train", "--model", "m2_text", "--data", str(mine), "--labels", "10", "--units", "4", "--latents", "2",
                 "--words", "6", "--length", "8", "--epochs", "1", "--device", "cpu", "--out", str(run)]) == 0
    kept = json.loads((run / "vocabulary.json").read_text(encoding="utf-8"))
    mine.write_text("good\tother words\nbad\tthan these\n" * 30, encoding="utf-8")
    shown(capsys)
    assert main(["sample", str(run), "--n", "4", "--out", str(tmp_path / "s.npz")]) == 0
    said = {word for line in (tmp_path / "s.tsv").read_text(encoding="utf-8").splitlines()
            for word in line.partition("\t")[2].split()}
    assert said <= set(kept)


def test_every_model_says_and_shows_something():
    assert SHOWN.keys() == MODELS.keys() == set(get_args(get_type_hints(Recipe)["model"]))


def test_data_lists_and_describes(data, capsys):
    assert main(["data"]) == 0
    out, _ = shown(capsys)
    for name in ("digits", "mnist", "fashion_mnist", "binarized_mnist", "freyfaces", "alphadigits", "sprites",
                 "sprites64", "sst2", "trec"):
        assert re.search(rf"^{name} ", out, re.M)
    assert main(["data", "digits"]) == 0
    assert "4,000 train + 1,000 test images of 28×28" in shown(capsys)[0]
    assert main(["data", str(data)]) == 0
    assert "160 train + 60 test images of 4×3" in shown(capsys)[0]


# gradcheck

OPS = """
def right(x, W):
    return x @ W, lambda dy: (dy @ W.T, x.T @ dy)

def wrong(x, W):
    return x @ W, lambda dy: (dy @ W.T, -x.T @ dy)

def square(x):
    return x * x, lambda dy: 2 * x * dy
"""


@pytest.fixture
def ops(tmp_path):
    (tmp_path / "my_ops.py").write_text(OPS, encoding="utf-8")
    return tmp_path / "my_ops.py"


def test_gradcheck_of_a_reader_s_op(ops, capsys):
    assert main(["gradcheck", f"{ops}:right", "--shapes", "3,4", "4,5"]) == 0
    assert "passed" in shown(capsys)[0]
    assert main(["gradcheck", f"{ops}:square", "--shapes", "scalar"]) == 0
    assert main(["gradcheck", "minivae.ops:tanh", "--shapes", "3"]) == 0


def test_gradcheck_of_a_wrong_op_shows_where(ops, capsys):
    assert main(["gradcheck", f"{ops}:wrong", "--shapes", "3,4", "4,5"]) == 1
    out, _ = shown(capsys)
    assert "FAILED" in out
    assert re.search(r"ok +input 0 ", out)
    assert re.search(r"BAD +input 1 ", out)


def test_gradcheck_of_the_library(capsys):
    assert main(["gradcheck", "gaussian_kl"]) == 0
    out, _ = shown(capsys)
    assert re.search(r"^(\d+) of \1 passed$", out, re.M)
    # what rounding makes of a right gradient is allowed whatever the tolerance is
    assert main(["gradcheck", "gaussian_kl", "--tolerance", "1e-30"]) == 0


def test_gradcheck_asks_for_every_row(monkeypatch, capsys):
    """What each answers is asked in test_gradients.py, one by one."""
    asked = []
    report = check(cases()[0])
    monkeypatch.setattr("minivae.cli.check.check", lambda case, **_: asked.append(case.name) or report)
    assert main(["gradcheck"]) == 0
    assert asked == [case.name for case in cases()]
    assert f"\n{len(asked)} of {len(asked)} passed\n" in shown(capsys)[0]


@pytest.mark.slow
def test_gradcheck_of_everything(capsys):
    assert main(["gradcheck"]) == 0
    out, _ = shown(capsys)
    assert int(re.search(r"^(\d+) of \1 passed$", out, re.M)[1]) > 50


# Wrong input: exit code 2, one line that says what, nothing written

@pytest.mark.parametrize(("arguments", "said"), [
    ("train --data nmist", "unknown data set 'nmist': did you mean 'mnist'?"),
    ("train --data DATA --epochs 0", "epochs: got 0, expected a whole number of at least 1"),
    ("train --data DATA --batch-size 0", "batch_size"),
    ("train --data DATA --lr -1", "lr: got -1.0, expected a finite number > 0"),
    ("train --data DATA --lr nan", "lr: got nan, expected a finite number > 0"),
    ("train --data DATA --max-norm 0", "max_norm: got 0.0, expected a number > 0"),
    ("train --data DATA --latents 0", "latents: got 0, expected a whole number of at least 1"),
    ("train --data DATA --hidden 0", "hidden: got 0, expected a whole number of at least 1"),
    ("train --data DATA --samples 0", "samples: got 0, expected a whole number of at least 1"),
    ("train --data DATA --valid 1", "valid: got 1.0, expected a share in [0, 1)"),
    ("train --data DATA --device cuda", 'device "cuda"'),
    ("train --resume TMP/none", "is not a run folder"),
    ("train --model gmvae --posterior full", "posterior: got 'full', which means nothing to model gmvae: it is of"),
    ("train --components 3 --information 1", "information: got 1.0, which means nothing to model vae: it is of model"),
    ("train --model gmvae --information -1", "information: got -1.0, expected at least 0"),
    ("evaluate TMP/none", "is not a run folder"),
    ("evaluate RUN --images 0", "images: got 0, expected at least 1"),
    ("evaluate RUN --samples -1", "samples: got -1, expected at least 1"),
    ("sample TMP/none", "is not a run folder"),
    ("sample RUN --n 0 --out TMP/s.npz", "n: got 0, expected at least 1"),
    ("plot TMP/none --out TMP/p", "is not a run folder"),
    ("gradcheck nothing_like_it", "no op is called 'nothing_like_it'; yours would be file.py:function"),
    ("gradcheck TMP/none.py:f --shapes 3", "target: cannot find"),
    ("gradcheck minivae.ops:nothing --shapes 3", "target: cannot find 'minivae.ops:nothing'"),
    ("gradcheck minivae.ops:tanh --shapes 3,x", "shapes: got '3,x', expected sizes such as 3,4 or the word scalar"),
    ("data nmist", "did you mean 'mnist'?"),
    ("data TMP/none.npz", "none.npz"),
])
def test_wrong_values(arguments, said, data, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    for word, path in (("DATA", data), ("RUN", run), ("TMP", tmp_path)):
        arguments = arguments.replace(word, str(path))
    before = contents(run)
    assert main(arguments.split()) == 2
    _, err = shown(capsys)
    assert err.startswith("minivae: ")
    assert said in err
    assert list(tmp_path.iterdir()) == []
    assert contents(run) == before


@pytest.mark.parametrize("arguments", [
    "train --likelihood poisson", "train --activation swish", "train --optimizer lion", "train --schedule linear",
    "train --device tpu", "train --latents two", "train --nonsense 3", "evaluate", "nonsense", "", "sample RUN --n x"])
def test_wrong_words(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert arguments.split()[-1] in out + err if arguments else True


def test_a_damaged_checkpoint(run, tmp_path, capsys):
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-1] if path.name == CHECKPOINT else path.read_bytes())
    assert main(["evaluate", str(tmp_path), "--device", "cpu"]) == 2
    assert "truncated, damaged, or not a minivae checkpoint" in shown(capsys)[1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_training_that_explodes(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), *SMALL, "--optimizer", "sgd", "--lr", "1e30"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 1
    assert "not finite" in shown(capsys)[1]


# Help

OPTIONS = {
    "train": ["--data", "--hidden", "--latents", "--activation", "--likelihood", "--samples", "--binarize", "--epochs",
              "--batch-size", "--optimizer", "--lr", "--schedule", "--max-norm", "--valid", "--seed", "--out",
              "--resume", "--device", "--folder", "--threads", "gaussian_pixel", "leaky_relu",
              "minivae train --resume"],
    "evaluate": ["--samples", "--images", "--best", "--seed", "--device", "--folder", "minivae evaluate"],
    "compare": ["--samples", "--images", "--best", "--out", "--seed", "--device", "--folder", "minivae compare runs/"],
    "sample": ["--n", "--out", "--given", "--seed", "--device", "--folder", "minivae sample"],
    "plot": ["--out", "--device", "--folder", "minivae plot"],
    "models": ["minivae models iwae vamp"],
    "gradcheck": ["--shapes", "--tolerance", "--seed", "my_ops.py:my_op"],
    "data": ["--folder", "minivae data mnist"],
    "bench": ["--rows", "--contenders", "--bursts", "--threads", "--out", "--quick", "minivae bench --rows a b"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_tells_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert [option for option in OPTIONS[command] if option not in out] == []


def test_help_from_a_shell():
    result = python("-m", "minivae", "--help")
    assert result.returncode == 0, result.stderr
    assert all(command in result.stdout for command in OPTIONS)
    assert python("-m", "minivae", "nonsense").returncode == 2


# Ctrl-C

def test_ctrl_c_from_a_shell_and_going_on(data, tmp_path):
    """Exit code 130; the message says how to go on; going on ends as if nothing had happened."""
    folder, arguments = tmp_path / "run", ["train", "--data", str(data), *SMALL, "--epochs", "60", "--out"]
    with running("-m", "minivae", *arguments, folder) as process:
        while not (folder / METRICS).exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert re.search(r"stopped after step \d+; saved in \S+run: resume from there", err)
    assert "Traceback" not in err
    assert len((folder / METRICS).read_text(encoding="utf-8").splitlines()) < 60
    assert main(["train", "--resume", str(folder), "--device", "cpu"]) == 0
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    for name in ("checkpoint.safetensors", "best.safetensors"):
        one, two = (training_state(tmp_path / run / name) for run in ("run", "whole"))
        assert one == two


def training_state(path):
    from minivae.runs import load_checkpoint
    arrays, metadata = load_checkpoint(path)
    for record in metadata.get("position", {}).get("history", []):
        del record["seconds"]
    return {name: a.tobytes() for name, a in arrays.items()}, metadata


def test_ctrl_c_elsewhere_is_quiet(run, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(minivae.cli.shown, "evaluate", interrupted)
    assert main(["evaluate", str(run), "--device", "cpu"]) == 130
    shown(capsys)


def test_a_run_stopped_in_its_first_epoch_can_be_drawn_later(data, tmp_path, monkeypatch, capsys):
    """It has a checkpoint but no finished epoch: no curve to draw, and that is said."""
    batches = loop._Epoch.batches

    def stopping(self, first):
        signal.raise_signal(signal.SIGINT)
        return batches(self, first)

    monkeypatch.setattr(loop._Epoch, "batches", stopping)
    assert main(["train", "--data", str(data), *SMALL, "--out", str(tmp_path / "run")]) == 130
    monkeypatch.undo()
    shown(capsys)
    assert main(["evaluate", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert main(["plot", str(tmp_path / "run"), "--out", str(tmp_path / "p"), "--device", "cpu"]) in (0, 2)
    shown(capsys)
