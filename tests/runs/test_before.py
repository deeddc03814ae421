"""Runs made by the version before (one network, which its checkpoints did not name) are used and gone on with.

before/digits     minivae train --data digits --hidden 2 --latents 2 --epochs 2 --batch-size 512 --seed 3 --threads 1
before/coupling   a coupling flow, whose own networks come first in the arena, so that the moments' order shows
The numbers below are what that version printed when it went on.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from minivae.backend import device
from minivae.cli import main
from minivae.evaluation import evaluate
from minivae.nn import Adam
from minivae.runs import BEST, CheckpointError, load_checkpoint, load_parameters, read_history, save_checkpoint
from minivae.training import fit, load_run
from minivae.variants import VAEConfig

BEFORE = Path(__file__).parent / "before"


@pytest.fixture
def digits_run(tmp_path):
    return Path(shutil.copytree(BEFORE / "digits", tmp_path / "digits"))


def coupling():
    x = (np.random.default_rng(0).random((40, 16)) < 0.4).astype(np.float32)
    return VAEConfig(16, (3,), 2, "tanh", posterior="coupling").build(seed=1, optimizer=Adam(1e-3)), x


def test_a_run_is_loaded_and_evaluated(digits_run):
    model, dataset, recipe = load_run(digits_run, device("cpu"))
    assert (recipe.hidden, recipe.latents, recipe.prior, recipe.beta) == ((2,), 2, "standard", 1.0)
    bound = evaluate(model, recipe.test(dataset))
    assert (bound.elbo.mean, bound.kl.mean) == pytest.approx((-239.27, 2.39), abs=0.006)
    best = load_run(digits_run, device("cpu"), best=True)[0]
    assert best.arena.value.shape == model.arena.value.shape


def test_a_run_goes_on(digits_run, capsys):
    assert main(["train", "--resume", str(digits_run), "--epochs", "3", "--device", "cpu", "--threads", "1"]) == 0
    last = read_history(digits_run)[-1]
    assert last["step"] == 24
    assert last["train_elbo"] == pytest.approx(-235.6104726, rel=1e-5)               # float32, on any processor
    assert last["valid_kl"] == pytest.approx(3.178165425, rel=1e-4)


def test_a_flow_goes_on(tmp_path):
    """Adam's moments are kept as one flat vector: in another order of the parameters they would be others'."""
    run = Path(shutil.copytree(BEFORE / "coupling", tmp_path / "run"))
    model, x = coupling()
    history = fit(model, x[8:], valid=x[:8], epochs=3, batch_size=8, seed=2, run=run, progress=False, threads=1,
                  config={"data": "none"}, resume=True)
    assert history[-1]["train_elbo"] == pytest.approx(-11.391548157, rel=1e-5)
    assert np.abs(model.arena.value).sum() == pytest.approx(432.09152, rel=1e-6)
    assert "vae/parameter/decoder.0.W" in load_checkpoint(run / "checkpoint.safetensors")[0]


def test_its_best_epoch_is_loaded_too():
    model, x = coupling()
    load_parameters(BEFORE / "coupling" / BEST, model)
    assert evaluate(model, x).elbo.mean > -13


def test_a_format_of_the_future_is_refused_in_a_sentence(tmp_path):
    model, _ = coupling()
    arrays, metadata = load_checkpoint(BEFORE / "coupling" / BEST)
    save_checkpoint(tmp_path / "new", arrays, json.loads(json.dumps(metadata)) | {"format": 7})
    with pytest.raises(CheckpointError, match="has format 7, this version of minivae knows 1 and 2"):
        load_parameters(tmp_path / "new", model)
