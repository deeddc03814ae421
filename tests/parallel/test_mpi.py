"""Many processes, one model: the same result as one, and one end for all.  Real ranks, started by a real mpiexec."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, python, running

from minivae.data import load
from minivae.parallel import ALONE, ProcessesError, processes
from minivae.parallel import mpi as module
from minivae.parallel.mpi import Joined
from minivae.runs import BEST, CHECKPOINT, CONFIG, METRICS, load_checkpoint

MPIEXEC = next((str(path) for path in (Path(sys.executable).with_name("mpiexec"), shutil.which("mpiexec"))
                if path and Path(path).is_file()), None)
missing = [name for name, there in (("mpi4py (extra `mpi`)", importlib.util.find_spec("mpi4py")),
                                    ("mpiexec (python -m pip install mpich)", MPIEXEC)) if not there]
mpi = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")

# tanh: a relu within rounding of 0 may fall on either side, and Adam takes a parameter's first gradient at full length
SMALL = ("--device", "cpu", "--threads", "1", "--hidden", "32", "--latents", "4", "--valid", "0.1", "--seed", "3",
         "--activation", "tanh")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """700 digits to train and judge on, 100 to test on: 630 and 70 of the first, so 21 steps of 30."""
    digits, path = load("digits"), tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, train=digits.train[:700], test=digits.test[:100])
    return path


# Open MPI refuses root, and more ranks than cores, unless told otherwise
ALLOW = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
         "OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


def mpiexec(n, *arguments):
    """n ranks of Python in the repository, with warnings as errors; without compiled loops, which take long to load."""
    return running(*arguments, before=(MPIEXEC, "-n", n), env=os.environ | ALLOW | {"MINIVAE_FAST": "0"})


def run(n, *arguments, seconds=300):
    """The same, to its end: exit code, what was printed, what was complained about (without colours)."""
    with mpiexec(n, *arguments) as process:
        out, err = process.communicate(timeout=seconds)
    return process.returncode, out, re.sub(r"\x1b\[[0-9;]*m", "", err)


def train(n, folder, data, *arguments):
    return run(n, "-m", "minivae", "train", "--data", data, "--out", folder, *SMALL, *arguments)


def state(folder):
    """The parameters and moments of a run, one long vector each, and its records."""
    arrays, metadata = load_checkpoint(folder / CHECKPOINT)
    records = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    for record in records:
        record.pop("seconds")
    return arrays, metadata, records


def assert_same(one, other, tolerance=1e-5):
    """Equal to rounding: every array within `tolerance` of its size, every record within the same of its number."""
    (a, meta_a, records_a), (b, meta_b, records_b) = one, other
    assert a.keys() == b.keys()
    for name in a:
        assert np.linalg.norm(a[name] - b[name]) <= tolerance * np.linalg.norm(a[name]), name
    assert [meta_a[key] for key in ("order_state", "noise_state")] == [meta_b[key] for key in ("order_state",
                                                                                             "noise_state")]
    assert len(records_a) == len(records_b) >= 1
    for r, s in zip(records_a, records_b):
        assert s == pytest.approx(r, rel=tolerance)


# The same result

@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """What one process without MPI makes of the recipes below."""
    made = {}

    def alone(*arguments):
        if arguments not in made:
            folder = tmp_path_factory.mktemp("alone") / "run"
            result = python("-m", "minivae", "train", "--data", data, "--out", folder, *SMALL, *arguments)
            assert result.returncode == 0, result.stderr
            made[arguments] = state(folder)
        return made[arguments]
    return alone


AT_ONCE = {(2, "plain"), (1, "uneven"), (2, "uneven"), (4, "uneven")}
PLAIN = ("--epochs", "1", "--batch-size", "30")
UNEVEN = ("--epochs", "2", "--batch-size", "157", "--binarize", "--samples", "2", "--max-norm", "5")     # 4·157 + 2

INFINITE = ("--model", "infinite", "--epochs", "2", "--batch-size", "157", "--first-epochs", "1", "--components", "3")


@mpi
@pytest.mark.parametrize(("n", "recipe"), [
    pytest.param(n, recipe, id=f"{n}-{name}", marks=[pytest.mark.slow] * ((n, name) not in AT_ONCE))
    for n in (1, 2, 4) for name, recipe in (("plain", PLAIN), ("uneven", UNEVEN), ("infinite", INFINITE))])
def test_any_number_of_processes_gives_the_same_model(n, recipe, data, alone, tmp_path):
    """The last batch of `uneven` has two rows: two of four ranks get none.

    One and four of the plain recipe are slow: one is no different from `uneven`'s, and four wait for each other on two
    cores at each of 21 steps.  So are the VAEs of an infinite one, each
    shared out as any; of few images each, they learn the rounding, too.
    """
    code, out, err = train(n, tmp_path / "run", data, *recipe)
    assert code == 0, err
    assert out.count("run folder:") == out.count("test: ELBO") == 1, "every rank printed"
    assert f"processes: {n}" in out
    assert len(re.findall(r"(?:^|[\r\n]) *0%", err)) == 1, "every rank showed its progress"
    assert {CHECKPOINT, BEST, CONFIG, METRICS} < {path.name for path in (tmp_path / "run").iterdir()}
    assert_same(alone(*recipe), state(tmp_path / "run"), tolerance=1e-3 if recipe is INFINITE else 1e-5)


def test_the_comparison_sees_a_difference(alone):
    """If it did not, the test above would prove nothing."""
    arrays, metadata, records = alone(*PLAIN)
    name = next(iter(arrays))
    with pytest.raises(AssertionError):
        assert_same((arrays, metadata, records), (arrays | {name: arrays[name] * (1 + 1e-4)}, metadata, records))
    with pytest.raises(AssertionError):
        assert_same((arrays, metadata, records), (arrays, metadata, [records[0] | {"train_kl": 1.0}]))


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from minivae import nn
from minivae.training import loop as training
from minivae.data import load
from minivae.parallel import processes
from minivae.variants import VAEConfig
group = processes()
images = load("digits").train[:400]
model = VAEConfig(784, (16,), 2).build(seed=1, optimizer=nn.Adam(1e-3))
options = dict(valid=images[300:], epochs=3, batch_size=30, seed=3, progress=False, threads=1)
def say(*words):                                              # in one piece: several ranks write
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def every_step(act, step=model.train_step):
    def train_step(x, rng):
        terms = step(x, rng)
        act()
        return terms
    model.train_step = train_step
"""


def script(n, text, *arguments):
    return run(n, "-c", SCRIPT + text, *arguments)


@mpi
def test_one_sum_of_the_gradient_a_step():
    """… and one small one per look, of the metrics and whatever else all must agree on."""
    code, out, err = script(2, """
sizes, add = [], type(group).sum
type(group).sum = lambda self, array: (sizes.append(array.size), add(self, array))[1]
training.fit(model, images[:300], **options)
large = [size for size in sizes if size == model.arena.grad.size]
say("rank", group.rank, len(large), len(sizes) - len(large), max(s for s in sizes if s not in large))
""")
    assert code == 0, err
    for rank in (0, 1):
        large, small, largest = map(int, re.search(rf"rank {rank} (\d+) (\d+) (\d+)", out).groups())
        assert large == 30
        assert small <= 1 + 30 + 3
        assert largest < 200


@mpi
def test_a_sum_is_the_same_on_every_rank_and_every_time():
    code, out, err = script(3, """
import zlib
rng = np.random.default_rng(group.rank)
for dtype in (np.float32, np.float64):
    parts = [np.random.default_rng(rank).standard_normal(100_003).astype(dtype) for rank in range(group.size)]
    seen = set()
    for _ in range(5):
        total = parts[group.rank].copy()
        group.sum(total)
        seen.add(zlib.crc32(total.data))
    say("seen", seen)
    np.testing.assert_allclose(total, sum(parts[1:], parts[0]), rtol=1e-5, atol=1e-6)
""")
    assert code == 0, err
    seen = re.findall(r"seen \{(\d+)\}", out)
    assert len(seen) == 6
    assert len(set(seen)) == 2, "one for each dtype"


@mpi
def test_the_ranks_of_a_machine_share_its_cores(monkeypatch):
    """Two ranks that use all cores each are slower than one: their threads wait for each other."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name)
    code, out, err = run(2, "-c", """
import os
import numpy, threadpoolctl
blas = threadpoolctl.ThreadpoolController().select(user_api="blas")
before = max(info["num_threads"] for info in blas.info())
from minivae.parallel import processes
group = processes()
after = max(info["num_threads"] for info in blas.info())
os.write(1, f"{group.here} {before} {after} {group.threads}\\n".encode())
""")
    assert code == 0, err
    for line in out.splitlines():
        here, before, after, threads = map(int, line.split())
        assert here == 2
        assert after == 1
        assert threads == min(before, max(os.cpu_count() // 2, 1))


@mpi
@pytest.mark.parametrize("threads", [1, 2])
def test_all_go_by_the_crossover_of_rank_0(threads):
    """… if there are threads to share a batch with: it says which rows each of them takes, and so the last bits."""
    code, out, err = script(2, f"""
import os
os.environ["MINIVAE_CROSSOVER"] = str(1000 + group.rank)
training.fit(model, images[:300], **options | {{"epochs": 1, "threads": {threads}}})
say("rank", group.rank, model.workers.crossover)
""")
    assert code == 0, err
    assert [re.search(rf"rank {rank} (\w+)", out)[1] for rank in (0, 1)] == ["None" if threads == 1 else "1000"] * 2


@mpi
def test_only_rank_0_needs_to_see_the_folder_and_the_callback_is_called_there():
    code, out, err = script(2, """
import tempfile
folder = Path(tempfile.mkdtemp()) / "run"                     # another one for each rank
training._validate = lambda *a, validate=training._validate: (say("validation"), validate(*a))[1]
training.fit(model, images[:300], run=folder, callback=lambda record, model: say("epoch", record["epoch"]), **options)
training.fit(model, images[:300], run=folder, resume=True, **options | {"epochs": 4})
say("rank", group.rank, folder.exists(), model.optimizer.steps)
""")
    assert code == 0, err
    assert re.findall(r"epoch (\d)", out) == ["1", "2", "3"]
    assert out.count("validation") == 4
    assert sorted(re.findall(r"rank .*", out)) == ["rank 0 True 40", "rank 1 False 40"]


@mpi
def test_all_start_from_the_parameters_of_rank_0():
    code, out, err = script(2, """
model = VAEConfig(784, (16,), 2).build(seed=group.rank, optimizer=nn.Adam(1e-3))
training.fit(model, images[:300], **options)
say("ends at", model.arena.value.sum())
""")
    assert code == 0, err
    one, other = re.findall(r"ends at (.*)", out)
    assert one == other


@mpi
def test_ranks_share_a_model_of_two_networks(tmp_path):
    """One sum for each network; both ranks end alike, and where one process alone ends, to rounding."""
    text = f"""
sys.path.insert(0, {str(ROOT / "tests" / "models")!r})
from two_players import TwoPlayers
from minivae.backend import device
model = TwoPlayers(784, 16, 2, device=device("cpu"), dtype=np.float64)
training.fit(model, images[:300].astype(np.float64), **options | {{"valid": None}})
say("ends at", *(f"{{np.abs(network.arena.value).sum():.10f}}" for network in model.networks.values()))
"""
    ends = []
    for n in (1, 2):
        code, out, err = script(n, text)
        assert code == 0, err
        ends += re.findall(r"ends at (.*)", out)
    assert len(ends) == 3
    assert ends[1] == ends[2]
    np.testing.assert_allclose(np.fromstring(ends[0], sep=" "), np.fromstring(ends[1], sep=" "), rtol=1e-9)


# Stopped

def stop_after(folder, epochs, process, act, seconds=300):
    """Wait until a run has finished so many epochs, then act."""
    latest = time.monotonic() + seconds
    while not (folder / METRICS).exists() or len((folder / METRICS).read_text(encoding="utf-8").splitlines()) < epochs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < latest
        time.sleep(0.01)
    act()


@mpi
def test_ctrl_c_saves_once_and_the_resumed_run_ends_bit_for_bit_like_an_undisturbed_one(data, tmp_path):
    """Ctrl-C reaches mpiexec, which tells every rank, each in a step of its own."""
    if "Open MPI" in subprocess.run([MPIEXEC, "--version"], capture_output=True, check=True, encoding="utf-8").stdout:
        pytest.skip("Open MPI's mpiexec passes no Ctrl-C on: it ends the ranks")
    arguments = ("--epochs", "25", "--batch-size", "30")
    code, _, err = train(2, tmp_path / "whole", data, *arguments)
    assert code == 0, err
    command = ("-m", "minivae", "train", "--data", data, "--out", tmp_path / "cut", *SMALL, *arguments)
    with mpiexec(2, *command) as process:
        stop_after(tmp_path / "cut", 3, process, lambda: process.send_signal(signal.SIGINT))
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert len(re.findall(r"stopped after step \d+; saved in .*cut: resume from there", err)) == 1
    assert "Traceback" not in err
    assert "Abort" not in err
    position = load_checkpoint(tmp_path / "cut" / CHECKPOINT)[1]["position"]
    assert 3 <= position["epoch"] < 25
    code, _, err = run(2, "-m", "minivae", "train", "--resume", tmp_path / "cut", "--device", "cpu", "--threads", "1")
    assert code == 0, err
    assert_same(state(tmp_path / "whole"), state(tmp_path / "cut"), 0.0)


@mpi
def test_a_ctrl_c_that_reached_one_rank_stops_all_at_the_same_step():
    """… even one that came twice: the terminal and mpiexec may both send it."""
    code, out, err = script(3, """
every_step(lambda: group.rank == 1 and model.optimizer.steps == 13 and (signal.raise_signal(2), signal.raise_signal(2)))
try:
    training.fit(model, images[:300], **options | {"epochs": 500})
except training.Interrupted as stop:
    say(stop)
""")
    assert code == 0, err
    first, *others = re.findall(r"stopped after step (\d+)", out)
    assert others == [first, first]
    assert 13 <= int(first) < 5000


@mpi
def test_slow_steps_are_not_counted_to_fifty_before_a_ctrl_c_is_seen():
    """Impatient, one presses again, and mpiexec ends the ranks without a checkpoint."""
    code, out, err = script(2, """
every_step(lambda: time.sleep(0.1) or (group.rank == 1 and model.optimizer.steps == 3 and signal.raise_signal(2)))
try:
    training.fit(model, images[:300], **options | {"batch_size": 3})
except training.Interrupted as stop:
    say(stop)
""")
    assert code == 0, err
    steps = re.findall(r"stopped after step (\d+)", out)
    assert len(steps) == 2
    assert 3 <= int(steps[0]) < 20


@mpi
def test_a_run_may_go_on_with_another_number_of_processes(data, alone, tmp_path):
    code, _, err = train(4, tmp_path / "run", data, "--epochs", "1", *UNEVEN[2:])
    assert code == 0, err
    code, _, err = run(2, "-m", "minivae", "train", "--resume", tmp_path / "run", "--epochs", "2", "--threads", "1",
                       "--device", "cpu")
    assert code == 0, err
    assert_same(alone(*UNEVEN), state(tmp_path / "run"))


FIT = """
def trouble():
    if model.optimizer.steps == 25 and group.rank in ranks:
        act()
every_step(trouble)
training.fit(model, images[:300], run=Path(sys.argv[1]), **options)
"""


@mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job_and_the_last_checkpoint_is_whole(rank, tmp_path):
    start = time.monotonic()
    code, out, err = script(2, f"ranks, act = [{rank}], lambda: os.kill(os.getpid(), signal.SIGKILL)" + FIT,
                            tmp_path / "run")
    assert time.monotonic() - start < 200
    assert code not in (0, 130)
    assert "signal 9" in out + err, "mpiexec's own words"
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)[1]["position"]["epoch"] == 2


@mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_rank_names_it_and_ends_the_job(rank, tmp_path):
    start = time.monotonic()
    code, _, err = script(2, f"ranks = [{rank}]\ndef act(): raise RuntimeError('only here')" + FIT, tmp_path / "run")
    assert time.monotonic() - start < 200
    assert code == 1
    assert f"rank {rank} of 2: Traceback" in err
    assert err.count("RuntimeError: only here") == 1
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)[1]["position"]["epoch"] == 2


# Refused, once

@mpi
def test_an_error_that_all_ranks_make_is_told_once(tmp_path):
    code, _, err = script(3, "ranks = [0, 1, 2]\ndef act(): raise RuntimeError('everywhere')" + FIT, tmp_path / "run")
    assert code == 1
    assert err.count("RuntimeError: everywhere") == err.count("Traceback") == 1
    assert "Abort" not in err


@mpi
@pytest.mark.parametrize(("arguments", "said"), [
    (("train", "--lr", "fast"), "Error parsing --lr"),
    (("train", "--data", "nmist"), "minivae: unknown data set 'nmist': did you mean 'mnist'?"),
    (("train", "--threads", "0", "--device", "cpu"), "minivae: threads: got 0, expected at least 1"),
    (("train", "--resume", "no/such/run"), "minivae: no/such/run is not a run folder"),
    (("evaluate", "no/such/run"), "minivae: 2 processes were started, but only `train` can share its work"),
], ids=lambda value: value[1] if isinstance(value, tuple) and len(value) > 1 else "")
def test_bad_input_is_explained_once(arguments, said, tmp_path):
    if "--threads" in arguments:
        arguments += ("--out", tmp_path / "run")
    code, _, err = run(2, "-m", "minivae", *arguments)
    assert code == 2
    assert err.count(said) == 1
    assert "Traceback" not in err
    assert "Abort" not in err
    assert not (tmp_path / "run").exists()


@mpi
def test_what_rank_0_alone_can_see_is_refused_by_all(tmp_path):
    """Its folder holds a run, and later a broken one; the others wait for its word."""
    code, out, err = script(2, """
from minivae.runs import CheckpointError
folder = Path(sys.argv[1]) / str(group.rank)
training.fit(model, images[:300], run=folder, **options)
for resume, error in ((False, FileExistsError), (True, CheckpointError)):
    try:
        training.fit(model, images[:300], run=folder, resume=resume, **options)
    except error as e:
        say("rank", group.rank, type(e).__name__)
    if group.rank == 0:
        (folder / "checkpoint.safetensors").write_bytes(b"broken")
""", tmp_path)
    assert code == 0, err
    assert sorted(re.findall("rank .*", out)) == [f"rank {rank} {name}" for rank in (0, 1)
                                                  for name in ("CheckpointError", "FileExistsError")]


@mpi
@pytest.mark.parametrize(("text", "said"), [
    ("model.optimizer.lr = 1e30", r"NotFiniteError: the loss or a parameter is not finite; step \d+: overflow .* in "),
    ("every_step(lambda: group.rank == 1 and model.optimizer.steps == 7 and model.arena.value.fill(np.nan))",
     "NotFiniteError: .*it did not happen again"),
    ("every_step(lambda: group.rank == 1 and model.optimizer.steps == 7 and model.arena.value.__imul__(1.001))",
     "ProcessesError: rank 0's parameters are no longer those of the other ranks"),
    ("model.arena.device = __import__('dataclasses').replace(model.arena.device, name='cuda' if group.rank else 'cpu')",
     "ProcessesError: 1 of 2 processes run on the CPU, the others on a GPU"),
], ids=["learning rate", "one rank's NaN", "one rank's way", "one rank's device"])
def test_what_goes_wrong_is_agreed_on(text, said, tmp_path):
    code, _, err = script(2, text + "\ntraining.fit(model, images[:300], run=Path(sys.argv[1]), **options)", tmp_path)
    assert code == 1
    assert len(re.findall(said, err)) == 1, err
    assert "Abort" not in err
    assert not (tmp_path / CHECKPOINT).exists()


# Without MPI

@pytest.fixture
def started(monkeypatch):
    """started(…) pretends that mpiexec set these variables."""
    def started(**variables):
        for name in (*module.STARTERS, "PMIX_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return processes()
    processes.cache_clear()
    yield started
    processes.cache_clear()


@pytest.mark.parametrize("variables", [{}, {"PMI_SIZE": "1"}, {"OMPI_COMM_WORLD_SIZE": "1", "PMIX_RANK": "0"}], ids=str)
def test_one_process_needs_no_mpi(started, variables, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    group = started(**variables)
    assert group is ALONE
    assert (group.rank, group.size, group.here) == (0, 1, 1)
    assert group.rows(7) == slice(0, 7)
    assert group.once(lambda: 3) == 3
    total = np.arange(3.0)
    group.sum(total)
    np.testing.assert_array_equal(total, np.arange(3.0))


@pytest.mark.parametrize("variables", [{"PMI_SIZE": "4"}, {"OMPI_COMM_WORLD_SIZE": "4"}, {"SLURM_STEP_NUM_TASKS": "4"},
                                       {"PMIX_RANK": "0"}], ids=str)
def test_without_mpi4py_several_processes_are_refused(started, variables, monkeypatch):
    """Each would train the whole model, into the same folder."""
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(ProcessesError, match=r'(4|several) processes were started, and need mpi4py .*minivae\[mpi\]'):
        started(**variables)


def test_an_mpiexec_of_another_mpi_is_found_out(started, monkeypatch):
    class Other:
        class COMM_WORLD:
            size = 1

        @staticmethod
        def get_vendor():
            return "Open MPI", (5, 0, 0)

    monkeypatch.setitem(sys.modules, "mpi4py", Other)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", Other)
    with pytest.raises(ProcessesError, match=r"4 processes were started, but mpi4py's MPI \(Open MPI\) sees 1"):
        started(PMI_SIZE="4")


@pytest.mark.parametrize("n", [0, 1, 3, 4, 10, 157])
def test_every_row_belongs_to_one_rank(n):
    rows = []
    for rank in range(4):
        group = object.__new__(Joined)
        group.rank, group.size = rank, 4
        rows.append(np.arange(n)[group.rows(n)])
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(n))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


# On GPUs

@pytest.mark.parametrize(("visible", "own"), [
    (None, ["0", "1", "2"]), ("4,6,7", ["4", "6", "7"]), ("5", ["5", "5", "5"]), ("", ["", "", ""])])
def test_each_process_takes_a_gpu_of_its_own(visible, own, monkeypatch):
    """A launcher may show all of a machine's to each of its processes, or one, or none."""
    for number in range(3):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        module._take_gpu(number)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == own[number]


def test_a_device_array_is_summed_by_nccl(cupy_standin, monkeypatch):
    """What is asked of NCCL, by CuPy's names; no GPU has answered yet."""
    asked = []

    class Nccl:
        available, NCCL_FLOAT32, NCCL_FLOAT64, NCCL_SUM = True, 7, 8, 0

        @staticmethod
        def get_unique_id():
            return "key"

        @staticmethod
        def NcclCommunicator(size, key, rank):
            return SimpleNamespace(allReduce=lambda *call: asked.append((size, key, rank, *call)))

    cuda = SimpleNamespace(nccl=Nccl, get_current_stream=lambda: SimpleNamespace(ptr=99))
    monkeypatch.setattr(cupy_standin, "cuda", cuda, raising=False)
    group = object.__new__(Joined)
    group.rank, group.size, group.nccl, group.comm = 0, 2, None, SimpleNamespace(bcast=lambda key: key)
    array = cupy_standin.ones(5, dtype=np.float32)
    monkeypatch.setattr(type(array), "data", SimpleNamespace(ptr=42), raising=False)
    group.sum(array)
    assert asked == [(2, "key", 0, 42, 42, 5, Nccl.NCCL_FLOAT32, Nccl.NCCL_SUM, 99)]
    Nccl.available = False
    with pytest.raises(ProcessesError, match="several processes on GPUs need NCCL, which this CuPy does not find"):
        group.sum(array)
