"""The loop: it climbs the bound, an interrupted run ends bit for bit like an undisturbed one, a NaN is found."""

import json
import os
import signal
from itertools import count

import numpy as np
import pytest
from conftest import python, running

from minivae import nn
from minivae.data import load
from minivae.evaluation import evaluate
from minivae.nn import Activation, Sequential
from minivae.runs import (
    BEST,
    CHECKPOINT,
    CONFIG,
    METRICS,
    CheckpointError,
    NotFiniteError,
    load_checkpoint,
    load_parameters,
)
from minivae.training import Interrupted, fit, loop
from minivae.variants import VAEConfig

OPTIMIZERS = {"adam": lambda: nn.Adam(1e-3), "momentum": lambda: nn.Momentum(1e-4, max_norm=50.0),
              "adagrad": lambda: nn.AdaGrad(nn.cosine(1e-2, steps=30)), "sgd": lambda: nn.SGD(1e-4)}


@pytest.fixture(scope="module")
def digits():
    return load("digits").train[:400]


@pytest.fixture
def train(digits):
    """train(run, …) fits a new small model on 300 digits, 10 steps an epoch, and returns it and its history."""
    def train(run=None, *, optimizer="adam", model=None, prepare=None, **options):
        model = model or new(optimizer)
        if prepare:
            prepare(model)
        options = {"epochs": 3, "batch_size": 30, "seed": 3, "progress": False} | options
        return model, fit(model, digits[:300], valid=digits[300:], run=run, **options)
    return train


def new(optimizer="adam", hidden=(8,)):
    return VAEConfig(784, hidden, 2).build(seed=1, optimizer=OPTIMIZERS[optimizer]())


def state(model, history, run):
    """Everything that must not depend on interruptions, as bytes and text."""
    best, metadata = load_checkpoint(run / BEST)
    lines = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    for record in (*history, *lines):
        record.pop("seconds")
    arrays = model.arena.arrays() | model.optimizer.arrays() | {f"best/{name}": a for name, a in best.items()}
    return ({name: a.tobytes() for name, a in arrays.items()}, model.optimizer.steps, history, lines,
            metadata, (run / CONFIG).read_text(encoding="utf-8"))


def after_step(number, act):
    """Let a model call `act` when it has taken its step of that number."""
    def prepare(model):
        step, numbers = model.train_step, count(1)

        def train_step(x, rng):
            terms = step(x, rng)
            if next(numbers) == number:
                act()
            return terms
        model.train_step = train_step
    return prepare


def ctrl_c(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


# What a run does and keeps

def test_it_climbs_the_bound(train):
    _, history = train(optimizer="adam", epochs=5)
    assert history[-1]["valid_elbo"] > history[0]["valid_elbo"] + 50
    assert history[-1]["train_elbo"] > history[0]["train_elbo"] + 50


def test_records_are_averages_over_images(train, digits):
    """An average over batches would count the images of a short last batch twice."""
    seen = []

    def prepare(model):
        step = model.train_step
        model.train_step = lambda x, rng: seen.append((len(x), step(x, rng))) or seen[-1][1]

    model, (record,) = train(epochs=1, batch_size=70, prepare=prepare)
    assert [n for n, _ in seen] == [70, 70, 70, 70, 20]
    for name in ("elbo", "nll", "kl"):
        assert record[f"train_{name}"] == pytest.approx(sum(n * float(t[name]) for n, t in seen) / 300, rel=1e-12)
    scores = evaluate(model, digits[300:], seed=3 + 2)
    assert record["valid_elbo"] == pytest.approx(scores.elbo.mean, rel=1e-6)
    assert record["valid_elbo"] == pytest.approx(-(record["valid_nll"] + record["valid_kl"]))
    assert (record["epoch"], record["step"]) == (1, 5)


def test_every_image_once_per_epoch_in_a_new_order(train, digits):
    batches = []

    def prepare(model):
        step = model.train_step
        model.train_step = lambda batch, rng: batches.append(batch.x.copy()) or step(batch, rng)

    train(epochs=2, prepare=prepare)
    one, two = np.concatenate(batches[:10]), np.concatenate(batches[10:])
    assert not np.array_equal(one, two)
    for epoch in (one, two):
        assert sorted(row.tobytes() for row in epoch) == sorted(row.tobytes() for row in digits[:300])


def test_binarize_draws_anew_for_every_batch(train, digits):
    batches = []

    def prepare(model):
        step = model.train_step
        model.train_step = lambda batch, rng: batches.append(batch.x.copy()) or step(batch, rng)

    train(epochs=20, binarize=True, prepare=prepare)
    drawn = np.concatenate(batches)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(digits[:300].mean(), abs=1e-3)
    assert len({row.tobytes() for row in drawn}) == len(drawn), "some draw came twice"


def test_what_is_in_the_run_folder(train, tmp_path):
    seen = []
    model, history = train(tmp_path / "a" / "run", config={"name": "mine", "sizes": (1, 2)},
                           callback=lambda record, model: seen.append((record, model)))
    run = tmp_path / "a" / "run"
    assert {path.name for path in run.iterdir()} == {CHECKPOINT, BEST, CONFIG, METRICS}
    assert [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()] == history
    assert json.loads((run / CONFIG).read_text(encoding="utf-8")) == {
        "name": "mine", "sizes": [1, 2], "epochs": 3, "batch_size": 30, "seed": 3, "binarize": False}
    assert [record["epoch"] for record, _ in seen] == [1, 2, 3]
    assert all(given is model for _, given in seen)
    assert [record for record, _ in seen] == history


def test_best_is_the_epoch_of_the_best_bound(train, tmp_path, monkeypatch):
    """The last epoch is often not the best one."""
    bounds, values = iter([-9.0, -3.0, -5.0]), []
    monkeypatch.setattr(loop, "_validate", lambda *_: {"valid_elbo": next(bounds)})
    train(tmp_path / "run", callback=lambda record, model: values.append(model.arena.value.copy()))
    best = new()
    load_parameters(tmp_path / "run" / BEST, best)
    np.testing.assert_array_equal(best.arena.value, values[1])


def test_the_seed_decides(train):
    runs = [train(seed=seed, epochs=1)[0].arena.value for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_threads_share_a_batch():
    """… for the same result to rounding, and the same bits every time."""
    images = np.concatenate([load("digits").train[:600]] * 2)
    found = []
    for threads in (1, 2, 2):
        model = new()
        fit(model, images, epochs=3, batch_size=600, seed=3, progress=False, threads=threads)
        assert model.workers.team.threads == threads
        found.append(model.arena.value.copy())
    assert np.array_equal(found[1], found[2])
    assert not np.array_equal(found[0], found[1]), "nothing was shared"
    assert np.linalg.norm(found[1] - found[0]) < 1e-5 * np.linalg.norm(found[0])


def test_threads_that_make_no_sense_are_refused_before_anything_is_written(train, tmp_path):
    with pytest.raises(ValueError, match="threads: got 0, expected at least 1"):
        train(tmp_path / "run", threads=0)
    assert not (tmp_path / "run").exists()


# Interrupted

@pytest.mark.parametrize(("optimizer", "binarize", "step"), [
    ("adam", True, 13), ("momentum", False, 1), ("adagrad", True, 29), ("sgd", False, 10)])
def test_ctrl_c_then_resume_is_as_if_nothing_had_happened(train, tmp_path, optimizer, binarize, step, monkeypatch):
    monkeypatch.setattr(loop, "CHECK_EVERY", 4)
    options = {"optimizer": optimizer, "binarize": binarize}
    whole = state(*train(tmp_path / "whole", **options), tmp_path / "whole")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=f"stopped after step {step}; saved in .*: resume from there"):
        train(tmp_path / "cut", **options, prepare=after_step(step, ctrl_c))
    assert signal.getsignal(signal.SIGINT) is before
    assert state(*train(tmp_path / "cut", **options, resume=True), tmp_path / "cut") == whole


def test_ctrl_c_many_times(train, tmp_path):
    whole = state(*train(tmp_path / "whole"), tmp_path / "whole")
    for resume, step in ((False, 3), (True, 1), (True, 8), (True, 9)):
        with pytest.raises(Interrupted):
            train(tmp_path / "cut", resume=resume, prepare=after_step(step, ctrl_c))
    assert state(*train(tmp_path / "cut", resume=True), tmp_path / "cut") == whole


def test_a_second_ctrl_c_does_not_wait(train, tmp_path):
    train(tmp_path / "run", epochs=1)
    kept = (tmp_path / "run" / CHECKPOINT).read_bytes()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(tmp_path / "run", epochs=2, resume=True, prepare=after_step(3, lambda: ctrl_c(2)))
    assert not isinstance(caught.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == kept


def test_without_a_folder_ctrl_c_says_that_nothing_is_saved(train):
    with pytest.raises(Interrupted) as caught:
        train(prepare=after_step(2, ctrl_c))
    assert str(caught.value) == "stopped after step 2"


SCRIPT = """
import os, signal, sys
from pathlib import Path
from minivae import nn
from minivae.training import loop as training
from minivae.data import load
from minivae.variants import VAEConfig
images = load("digits").train[:400]
model = VAEConfig(784, (8,), 2).build(seed=1, optimizer=nn.Adam(1e-3))
{setup}
try:
    training.fit(model, images[:300], valid=images[300:], epochs={epochs}, batch_size=30, seed=3, run=Path({run!r}),
                 progress=False, callback=lambda record, model: print(record["epoch"], flush=True))
except training.Interrupted as stop:
    print(stop)
    raise SystemExit(130)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_process_stopped_by_a_signal_goes_on_where_it_was(train, tmp_path, number, code):
    """A real signal to a real process, whenever it happens to arrive."""
    whole = state(*train(tmp_path / "whole", epochs=60), tmp_path / "whole")
    script = SCRIPT.format(setup="", epochs=60, run=str(tmp_path / "cut"))
    with running("-c", script, stderr=None) as process:
        while process.stdout.readline().strip() != "3":
            assert process.poll() is None
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == code
    assert ("saved in" in rest) == (number == signal.SIGINT)
    records = len((tmp_path / "cut" / METRICS).read_text(encoding="utf-8").splitlines())
    assert 3 <= records < 60
    assert state(*train(tmp_path / "cut", epochs=60, resume=True), tmp_path / "cut") == whole


def test_killed_between_the_two_files_of_an_epoch(train, tmp_path):
    """If the checkpoint came first, the resumed run would skip the epoch and keep an old best."""
    whole = state(*train(tmp_path / "whole"), tmp_path / "whole")
    setup = """
numbers = iter(range(9))
def killed_in_epoch_2(*a, save=training.save_{0}):
    if next(numbers) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    save(*a)
training.save_{0} = killed_in_epoch_2
"""
    for part in ("run", "parameters"):
        run = tmp_path / part
        result = python("-c", SCRIPT.format(setup=setup.format(part), epochs=3, run=str(run)))
        assert (result.returncode, result.stdout.split()) == (-signal.SIGKILL, ["1"]), result.stderr
        assert state(*train(run, resume=True), run) == whole


def test_a_finished_run_may_be_made_longer(train, tmp_path):
    whole = state(*train(tmp_path / "whole", epochs=4), tmp_path / "whole")
    train(tmp_path / "run", epochs=2)
    _, history = train(tmp_path / "run", epochs=2, resume=True)
    assert len(history) == 2, "nothing was left to do"
    assert state(*train(tmp_path / "run", epochs=4, resume=True), tmp_path / "run") == whole


# Refused

def contents(run):
    return {path.name: path.read_bytes() for path in run.iterdir()}


def test_a_run_is_never_overwritten(train, tmp_path):
    train(tmp_path / "run", epochs=1)
    before = contents(tmp_path / "run")
    with pytest.raises(FileExistsError, match="holds a run already: resume it, or choose another folder"):
        train(tmp_path / "run", epochs=1)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(("change", "said"), [
    ({"batch_size": 20}, "batch_size = 30, this run has batch_size = 20"),
    ({"seed": 4}, "seed = 3, this run has seed = 4"),
    ({"binarize": True}, "binarize = False, this run has binarize = True"),
    ({"config": {"lr": 0.1}}, "lr = 0.5, this run has lr = 0.1"),
    ({"config": {}}, "lr = 0.5, this run has lr = None"),
    ({"optimizer": "sgd"}, "was made with Adam, this run uses SGD"),
    ({"hidden": (9,)}, r"another model: .*got shape \(784, 8\), expected \(784, 9\)"),
    ({"hidden": (8, 8)}, "another model: parameters do not fit this model: missing"),
], ids=str)
def test_another_run_is_refused_before_anything_changes(train, tmp_path, change, said):
    train(tmp_path / "run", epochs=1, config={"lr": 0.5})
    files = contents(tmp_path / "run")
    model = new(change.pop("optimizer", "adam"), change.pop("hidden", (8,)))
    value = model.arena.value.copy()
    with pytest.raises(CheckpointError, match=said):
        train(tmp_path / "run", model=model, resume=True, **{"config": {"lr": 0.5}} | change)
    np.testing.assert_array_equal(model.arena.value, value)
    assert (model.optimizer.steps, model.optimizer.arrays()) == (0, {})
    assert contents(tmp_path / "run") == files


def test_nothing_to_resume(train, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        train(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


# Not finite

def exploding(model):
    """Plant an op that divides by zero in step 17, however often that is repeated."""
    def explode(x):
        y = x / np.float32(model.optimizer.steps != 16)
        return y, lambda dy: dy
    model.decoder = Sequential(*model.decoder.layers, Activation(explode))


def poisoned(model, name):
    model.arena.parameters[name].value.flat[0] = np.nan


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("prepare", "said"), [
    (exploding, r"step 17: divide by zero .* in explode \(test_training\.py:\d+\): y = x / np"),
    (lambda m: setattr(m.optimizer, "lr", 1e30), r"step \d+: overflow .* in \w+ \(\w+\.py:\d+\): "),
    (lambda m: poisoned(m, "decoder.2.b"), r"step 1: parameter decoder\.2\.b, before the step"),
], ids=["op", "learning rate", "parameter"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_cause_is_named(train, tmp_path, prepare, said, threads, monkeypatch):
    """`loss is nan` at step 5,000 tells nobody what went wrong, nor where."""
    monkeypatch.setattr(loop, "CHECK_EVERY", 4)
    model = new()
    model.workers.rows_each = 1
    model.workers.hire(threads)
    with pytest.raises(NotFiniteError, match=said):
        train(tmp_path / "run", model=model, prepare=prepare)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_was_good_is_kept(train, tmp_path, monkeypatch):
    """The model stays as it was before the guilty step, the folder as it was after the epoch before."""
    monkeypatch.setattr(loop, "CHECK_EVERY", 4)
    values = []
    reference, _ = train(epochs=2, prepare=lambda m: spy(m, values))
    model = new()
    with pytest.raises(NotFiniteError, match=r"The last checkpoint is kept\. Try a smaller learning rate"):
        train(tmp_path / "run", model=model, prepare=exploding)
    np.testing.assert_array_equal(model.arena.value, values[15])       # after 16 steps
    assert model.optimizer.steps == 16
    restored, history = train(tmp_path / "run", epochs=2, resume=True)
    assert [record["epoch"] for record in history] == [1, 2]
    np.testing.assert_array_equal(restored.arena.value, reference.arena.value)


def spy(model, values):
    step = model.train_step
    model.train_step = lambda x, rng: (step(x, rng), values.append(model.arena.value.copy()))[0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_parameter_lost_in_the_last_step_of_an_epoch_is_not_saved(train, tmp_path):
    """That step's loss was computed before its move and is finite: the parameters must be looked at too."""
    model = new()
    with pytest.raises(NotFiniteError, match="it did not happen again when the steps were repeated"):
        train(tmp_path / "run", model=model, prepare=after_step(20, lambda: poisoned(model, "decoder.0.W")))
    arrays, metadata = load_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert metadata["position"]["epoch"] == 1
    assert all(np.isfinite(a).all() for a in (*arrays.values(), model.arena.value))


def test_sigint_goes_to_this_process():
    """If it did not, the tests above would prove nothing."""
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
