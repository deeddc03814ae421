"""When another thread is worth having: measured once, kept by the machine, and by the run."""

import json
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from conftest import python

from minivae.backend import cache_folder
from minivae.nn import UNMEASURED, crossover, rehearsal
from minivae.nn import workers as nn_workers
from minivae.nn.rehearsal import LEAST, MEETINGS, MOST, PRODUCT, REPEATS, rehearsed, weighed
from minivae.parallel import Processes, Team
from minivae.runs import CHECKPOINT, load_checkpoint, save_checkpoint
from minivae.training import fit
from minivae.variants import ConvVAEConfig, TwoStageConfig, VAEConfig


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has measured nothing yet, and what it will find; a new process is `machine.restart()`."""
    machine = SimpleNamespace(finds=[2**22], asked=0, file=tmp_path / "cache" / "crossover.json",
                              restart=crossover.cache_clear)

    def measured():
        machine.asked += 1
        return machine.finds[min(machine.asked, len(machine.finds)) - 1]

    monkeypatch.delenv("MINIVAE_CROSSOVER")
    monkeypatch.setattr(rehearsal, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(rehearsal, "measured", measured)
    machine.restart()
    yield machine
    machine.restart()


# ── measuring ─────────────────────────────────────────────────────────────────────────────────


def times(loss, *, rate=2e10, products=1.1, slow=(0, 0, 0, 0)):
    """A machine of so many multiplications a second, on which two threads lose so many seconds in half a step.

    slow   so many of the times of each are ten times as long
    """
    half, product = 1e-3, math.prod(PRODUCT) / rate
    return [[10 * t] * n + [1.3 * t] * (REPEATS - 1 - n) + [t]
            for t, n in zip((half, half + loss, product, products * product), slow)]


@pytest.mark.parametrize("loss", [4e-4, 7e-4, 1e-3, 1.4e-3])
@pytest.mark.parametrize("rate", [1e10, 4e10])
def test_it_is_the_loss_in_rows_times_weights(loss, rate):
    found = weighed(*times(loss, rate=rate))
    assert found / 2 < loss * rate / MEETINGS <= found
    assert weighed(*times(2 * loss, rate=rate)) == weighed(*times(loss, rate=2 * rate)) == 2 * found


@pytest.mark.parametrize(("loss", "expected"), [(-1e-3, LEAST), (0.0, LEAST), (1e-9, LEAST), (10.0, MOST)])
def test_it_stays_within_reason(loss, expected):
    assert weighed(*times(loss)) == expected


def test_without_a_second_core_nothing_is_found():
    """Two products at once take as long as one after the other: beside other work, or where there is one core."""
    assert weighed(*times(1e-3, products=1.1)) is not None
    assert weighed(*times(1e-3, products=1.9)) is None


@pytest.mark.parametrize("which", range(4))
def test_what_was_disturbed_more_than_twice_tells_nothing(which):
    """Kept, it would slow the quiet days down: of 40 beside other work, six found two or four times too much."""
    slow = [0] * 4
    for slow[which], known in ((1, True), (2, True), (3, False), (6, False)):
        assert (weighed(*times(1e-3, slow=slow)) is not None) == known


def test_a_real_rehearsal():
    found = rehearsed(Team(2))
    assert [len(times) for times in found] == [REPEATS] * 4
    assert all(0.0 < seconds < 60.0 for times in found for seconds in times)
    assert rehearsal.measured() in {None, *(2**i for i in range(21, 28))}
    assert (LEAST, MOST) == (2**21, 2**27)


def test_the_cache_is_where_downloads_are():
    assert cache_folder() == Path(pooch.os_cache("minivae"))


# ── keeping ───────────────────────────────────────────────────────────────────────────────────


def test_it_is_measured_once_and_kept(machine):
    machine.finds = [2**22, 2**25]
    assert crossover() == crossover() == 2**22
    machine.restart()
    assert crossover() == 2**22
    assert machine.asked == 1
    assert json.loads(machine.file.read_text(encoding="utf-8")) == {rehearsal.machine(): 2**22}
    assert [path.name for path in machine.file.parent.iterdir()] == [machine.file.name]


def test_another_machine_measures_for_itself(machine, monkeypatch):
    """Home may be the same folder on all of them."""
    machine.finds, here = [2**22, 2**25], rehearsal.machine()
    crossover()
    monkeypatch.setattr(rehearsal, "processor", lambda: "another")
    machine.restart()
    assert crossover() == 2**25
    assert json.loads(machine.file.read_text(encoding="utf-8")) == {here: 2**22, rehearsal.machine(): 2**25}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"HERE": true}', '{"HERE": "16"}', '{"HERE": 0}',
                                  '{"HERE": null}', '{"HERE": 1.5}', "\xff"])
def test_what_is_not_ours_is_measured_again(machine, text):
    machine.file.parent.mkdir()
    machine.file.write_bytes(text.replace("HERE", rehearsal.machine()).encode("latin-1"))
    assert crossover() == 2**22
    assert json.loads(machine.file.read_text(encoding="utf-8")) == {rehearsal.machine(): 2**22}


def test_a_folder_that_cannot_be_written_is_no_error(machine):
    machine.file.parent.write_text("a file", encoding="utf-8")
    for asked in (1, 2):
        machine.restart()
        assert crossover() == 2**22
        assert machine.asked == asked


def test_beside_other_work_nothing_is_kept(machine):
    machine.finds = [None, 2**23]
    assert crossover() == crossover() == UNMEASURED
    assert not machine.file.exists()
    machine.restart()
    assert crossover() == 2**23


def test_two_who_write_at_once_do_no_harm(machine):
    def write(i):
        for k in range(40):
            rehearsal._write(machine.file, {f"machine {i}": 2**22 + k} | {f"filler {j}": 1 for j in range(200)})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    seen = [rehearsal._read(machine.file) for _ in range(200)]
    for thread in threads:
        thread.join()
    assert all(len(kept) in (0, 201) for kept in seen), "half a file"
    assert len(rehearsal._read(machine.file)) == 201
    assert len(list(machine.file.parent.iterdir())) == 1


def test_the_environment_has_the_last_word(machine, monkeypatch):
    monkeypatch.setenv("MINIVAE_CROSSOVER", "12345")
    assert crossover() == 12345
    assert (machine.asked, machine.file.exists()) == (0, False)


def test_the_environment_may_say_that_nothing_is_measured(machine, monkeypatch):
    monkeypatch.setenv("MINIVAE_CROSSOVER", "0")
    assert crossover() == UNMEASURED
    assert (machine.asked, machine.file.exists()) == (0, False)


@pytest.mark.parametrize("said", ["-3", "1e6", "many", "1.5", "²", " "])
def test_nonsense_in_the_environment_is_named(machine, monkeypatch, said):
    monkeypatch.setenv("MINIVAE_CROSSOVER", said)
    with pytest.raises(ValueError, match=f"MINIVAE_CROSSOVER: got '{said}' in the environment, expected a"):
        crossover()


def test_a_new_process_finds_what_was_kept(tmp_path, monkeypatch):
    """The real thing, in the cache of a user who has none yet: what two processes agree on is in the file, if any."""
    monkeypatch.delenv("MINIVAE_CROSSOVER")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))                  # Linux
    monkeypatch.setenv("HOME", str(tmp_path))                            # macOS
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))                    # Windows
    code = "from minivae.nn import crossover; print(crossover())"
    one = python("-c", code)
    assert one.returncode == 0, one.stderr
    for path in tmp_path.rglob("crossover.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert list(kept.values()) == [int(one.stdout)]
        assert python("-c", code).stdout == one.stdout
        return
    assert int(one.stdout) == UNMEASURED


# ── who asks ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(monkeypatch):
    """Each time that workers ask for the crossover, which is what `asked.found` says."""
    asked = SimpleNamespace(times=0, found=2**24)

    def ask():
        asked.times += 1
        return asked.found

    monkeypatch.setattr(nn_workers, "crossover", ask)
    return asked


def step(model, rows=128):
    model.train_step(np.random.default_rng(0).random((rows, model.pixels), dtype=np.float32), np.random.default_rng(0))
    return len(model.workers.copies)


def test_only_threads_that_share_a_batch_ask(asked):
    model = VAEConfig(100, (20,), 2).build()
    model.workers.hire(1)
    step(model)
    assert (asked.times, model.workers.crossover) == (0, None)
    conv = ConvVAEConfig(8, 8, filters=(2,), dense=4, latents=2).build()                 # says how many rows itself
    conv.workers.hire(2)
    assert step(conv) == 2
    assert asked.times == 0
    model.workers.hire(2)
    step(model)
    step(model)
    assert (asked.times, model.workers.crossover) == (1, 2**24)


def test_it_decides_how_many_threads_share(asked):
    """128 rows of 784-200-8, 319,600 weights: two threads, if 64 rows are worth one."""
    found = {}
    for asked.found in (0, 2**21, 2**24, 2**25, 2**26):
        model = VAEConfig(784, (200,), 8).build()
        model.workers.hire(2)
        found[asked.found] = (model.workers.rows_worth(), step(model))
    assert found == {0: (52, 2), 2**21: (32, 2), 2**24: (37, 2), 2**25: (74, 1), 2**26: (148, 1)}


@pytest.mark.parametrize(("hidden", "rows"), [(32, 91), (128, 49), (400, 32), (1024, 32)])
def test_fewer_rows_are_worth_it_the_larger_the_network(asked, hidden, rows):
    """Measured: at 64 rows each, two threads are slower with 32 units, and quicker with the others."""
    assert VAEConfig(784, (hidden,), 20).build().workers.rows_worth() == rows
    assert VAEConfig(784, (hidden,), 20).build(samples=8).workers.rows_worth() == rows // 8


class Rank(Processes):
    """A rank of two, whose neighbour has so many threads, and rank 0's answer."""

    size = 2

    def __init__(self, others, answer=None):
        self.others, self.answer, self.asked = others, answer, 0

    def sum(self, array):
        array += float(self.others > 1)

    def once(self, act):
        self.asked += 1
        return act() if self.answer is None else self.answer


@pytest.mark.parametrize(("mine", "others", "agreed"), [(1, 1, None), (1, 2, 2**21), (2, 1, 2**21), (2, 2, 2**21)])
def test_processes_go_by_rank_0(asked, mine, others, agreed):
    model, rank = VAEConfig(100, (20,), 2).build(), Rank(others, answer=2**21)
    model.workers.hire(mine, rank)
    assert model.workers.crossover == agreed
    assert (rank.asked, asked.times) == (agreed is not None, 0)


@pytest.mark.parametrize("kept", [UNMEASURED, 2**23])
def test_rank_0_says_what_a_run_kept(asked, kept):
    model = VAEConfig(100, (20,), 2).build()
    model.workers.crossover = kept
    model.workers.hire(2, Rank(2))
    assert (model.workers.crossover, asked.times) == (kept, 0)


# ── a run keeps it ────────────────────────────────────────────────────────────────────────────


def trained(run, epochs, *, resume=False):
    images = (np.random.default_rng(1).random((96, 784)) < 0.2).astype(np.float32)
    model = VAEConfig(784, (200,), 4).build(seed=1)
    fit(model, images, epochs=epochs, batch_size=96, seed=3, progress=False, threads=2, run=run, resume=resume)
    return model


def crossover_of(run):
    return load_checkpoint(run / CHECKPOINT)[1]["crossover"]


def test_a_run_goes_on_as_it_began_on_another_machine(asked, tmp_path):
    """Where one thread would do all: the rows of a batch are shared out as before, for the same bits."""
    asked.found = 2**22
    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "cut", 2)
    assert crossover_of(tmp_path / "cut") == 2**22
    asked.found = 2**26
    other = trained(tmp_path / "other", 4)
    cut = trained(tmp_path / "cut", 4, resume=True)
    assert [len(model.workers.copies) for model in (whole, cut, other)] == [2, 2, 1]
    assert np.array_equal(cut.arena.value, whole.arena.value)
    assert not np.array_equal(other.arena.value, whole.arena.value), "it makes no difference here"
    assert crossover_of(tmp_path / "cut") == 2**22


def test_a_run_from_before_goes_on_by_the_rule_of_then(asked, tmp_path):
    asked.found = UNMEASURED
    whole = trained(tmp_path / "whole", 3)
    trained(tmp_path / "old", 1)
    arrays, metadata = load_checkpoint(tmp_path / "old" / CHECKPOINT)
    del metadata["crossover"]
    save_checkpoint(tmp_path / "old" / CHECKPOINT, arrays, metadata)
    asked.found, asked.times = 2**26, 0
    old = trained(tmp_path / "old", 3, resume=True)
    assert asked.times == 0
    assert np.array_equal(old.arena.value, whole.arena.value)


def test_a_run_of_one_thread_has_chosen_nothing(asked, tmp_path):
    images = np.zeros((96, 784), np.float32)
    how = {"batch_size": 96, "progress": False, "run": tmp_path / "run"}
    fit(VAEConfig(784, (20,), 4).build(), images, epochs=1, threads=1, **how)
    assert crossover_of(tmp_path / "run") is None
    fit(VAEConfig(784, (20,), 4).build(), images, epochs=2, threads=2, resume=True, **how)
    assert crossover_of(tmp_path / "run") == 2**24


@pytest.mark.parametrize("first_steps", [0, 5])
def test_both_vaes_of_two_stages_keep_it(asked, first_steps):
    """Whichever of them asked, and both go on by it."""
    build = TwoStageConfig(VAEConfig(100, (9,), 3, likelihood="gaussian_shared"), (8,)).build
    model = build(first_steps=first_steps)
    assert model.workers.crossover is None
    model.workers.hire(2)
    model.train_step(np.random.default_rng(0).random((64, 100), dtype=np.float32), np.random.default_rng(0))
    assert model.workers.crossover == 2**24
    other = build(first_steps=first_steps)
    other.workers.crossover = 2**22
    assert (other.first.workers.crossover, other.second.workers.crossover) == (2**22, 2**22)
