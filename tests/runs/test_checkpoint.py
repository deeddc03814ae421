"""A checkpoint is whole or absent; nothing else is taken for one, and nothing in a file is ever run."""

import errno
import io
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import python

from minivae import runs
from minivae.backend import device
from minivae.nn import SGD, Adam, Momentum
from minivae.runs import (
    CHECKPOINT,
    CheckpointError,
    Position,
    checkpoint,
    load_checkpoint,
    load_parameters,
    restore_run,
    save_checkpoint,
    save_parameters,
    save_run,
    write_atomically,
)
from minivae.variants import VAEConfig

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(0.1), "empty": np.zeros((0, 3)),
          "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "every/other": np.arange(8)[::2]}
METADATA = {"text": "Σ ½ \n\"", "list": [1, 0.1, None, True], "nested": {"big": 2**100}}


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "c", ARRAYS, METADATA)
    return tmp_path / "c"


def test_round_trip(saved):
    arrays, metadata = load_checkpoint(saved)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, a in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (a.dtype, a.shape), name
        np.testing.assert_array_equal(arrays[name], a)


def test_saving_replaces_and_leaves_nothing_else(saved):
    save_checkpoint(saved, {"b": np.ones(2)}, {})
    assert load_checkpoint(saved)[0].keys() == {"b"}
    assert os.listdir(saved.parent) == ["c"]


def test_others_may_read_it(saved):
    """A file made by mkstemp is for its owner only, and so would every run folder be."""
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask


# Damaged

def test_every_truncation_is_noticed(saved):
    data = saved.read_bytes()
    for length in range(len(data)):
        saved.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_changed_byte_is_noticed(saved, flip):
    """Header, names, shapes, metadata, digest and numbers."""
    data = saved.read_bytes()
    for i in range(len(data)):
        saved.write_bytes(data[:i] + bytes([data[i] ^ flip]) + data[i + 1:])
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)


def test_more_than_it_was_is_noticed(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="truncated, damaged, or not a minivae checkpoint"):
        load_checkpoint(saved)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def torch_file(trap):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(trap))
    return buffer.getvalue()


def npy_file(trap):
    buffer = io.BytesIO()
    np.save(buffer, np.array([trap], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(("make", "said"), [
    (lambda trap: pickle.dumps(trap), "this is a pickle or a zip file"),
    (lambda trap: pickle.dumps(trap, protocol=0), "not a minivae checkpoint"),
    (torch_file, "this is a pickle or a zip file"),
    (npy_file, "not a minivae checkpoint"),
    (lambda trap: b"", "not a minivae checkpoint"),
    (lambda trap: b"{}", "not a minivae checkpoint"),
    (lambda trap: (2**63).to_bytes(8, "little") + b"{}", "not a minivae checkpoint"),
    (lambda trap: (2).to_bytes(8, "little") + b"{}", "not a minivae checkpoint"),
    (lambda trap: checkpoint.serialise({"a": np.ones(2)}), "not a minivae checkpoint"),
    (lambda trap: checkpoint.serialise({"a": np.ones(2)}, {"metadata": "{}", "sha256": ""}), "do not match its digest"),
], ids=["pickle", "old pickle", "torch", "npy", "empty", "json", "huge header", "no arrays", "another's", "no digest"])
def test_what_is_not_ours_is_refused_and_never_run(tmp_path, make, said):
    (tmp_path / "c").write_bytes(make(Trap(tmp_path / "sprung")))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(tmp_path / "c")
    assert str(tmp_path / "c") in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_works(tmp_path):
    """If it did not, the test above would prove nothing."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["missing", ".", "missing/too"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / name)


# Another model's

def model(hidden=(4,), latents=2, optimizer=None, pixels=6):
    return VAEConfig(pixels, hidden, latents).build(optimizer=optimizer or Adam(1e-3))


@pytest.mark.parametrize(("other", "said"), [
    ({"hidden": (5,)}, r"got shape \(6, 4\), expected \(6, 5\)"),
    ({"latents": 3}, r"got shape \(4, 2\), expected \(4, 3\)"),
    ({"pixels": 7}, r"got shape \(6, 4\), expected \(7, 4\)"),
    ({"hidden": (4, 4)}, "missing .*encoder.trunk.2.W"),
])
def test_parameters_of_another_model(tmp_path, other, said):
    save_parameters(tmp_path / "c", model(), {})
    target = model(**other)
    value = target.arena.value.copy()
    with pytest.raises(CheckpointError, match=f"holds another model: .*{said}"):
        load_parameters(tmp_path / "c", target)
    np.testing.assert_array_equal(target.arena.value, value)


@pytest.mark.parametrize(("optimizer", "said"), [(SGD(1e-3), "with Adam, this run uses SGD"),
                                                 (Momentum(1e-3), "with Adam, this run uses Momentum")])
def test_another_optimizer(tmp_path, optimizer, said):
    rng = np.random.default_rng(0)
    save_run(tmp_path, model(), Position(), {}, rng.bit_generator.state, rng)
    with pytest.raises(CheckpointError, match=said):
        restore_run(tmp_path, model(optimizer=optimizer), {}, rng, rng)


def test_parameters_alone_cannot_be_resumed(tmp_path):
    """best.safetensors has no moments: going on from it silently would be another run."""
    save_parameters(tmp_path / CHECKPOINT, model(), {})
    rng = np.random.default_rng(0)
    with pytest.raises(CheckpointError, match="holds parameters alone"):
        restore_run(tmp_path, model(), {}, rng, rng)


def test_everything_of_a_run_comes_back(tmp_path):
    order, noise, one, two = np.random.default_rng(1), device("cpu").rng(2), model(), model()
    one.train_step(np.ones((3, 6), np.float32), noise)
    state, position = order.bit_generator.state, Position(2, 1, 7, {"elbo": 0.1}, [{"epoch": 1, "valid_elbo": -0.3}])
    save_run(tmp_path, one, position, {"a": (1, 2)}, state, noise)
    expected = noise.random(3)
    order.random(5)
    assert restore_run(tmp_path, two, {"a": [1, 2]}, order, noise) == position
    np.testing.assert_array_equal(noise.random(3), expected)
    assert order.bit_generator.state == state
    np.testing.assert_array_equal(two.arena.value, one.arena.value)
    assert two.optimizer.steps == 1
    for name, moment in one.optimizer.arrays().items():
        np.testing.assert_array_equal(two.optimizer.arrays()[name], moment)


# The disk

def test_a_really_full_disk(saved):
    """The kernel refuses to write beyond 4,000 bytes, as a full disk would, in the middle of the file."""
    result = python("-c", f"""
import resource, signal
import numpy as np
from pathlib import Path
from minivae.runs import CheckpointError, save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
for path in (Path({str(saved)!r}), Path({str(saved.parent / "new")!r})):
    try:
        save_checkpoint(path, {{"a": np.ones(10_000)}}, {{}})
    except CheckpointError as error:
        print(error)
""")
    old, new = result.stdout.splitlines()
    assert "File too large; the checkpoint that was there is intact. Free some space" in old, result.stderr
    assert "File too large; nothing was written" in new
    assert load_checkpoint(saved)[1] == METADATA
    assert os.listdir(saved.parent) == ["c"]


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.ENOSPC), ("replace", errno.EIO),
                                              ("fsync", errno.EDQUOT)])
def test_a_disk_that_fails_late(saved, monkeypatch, call, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CheckpointError, match=os.strerror(number)):
        save_checkpoint(saved, {"a": np.ones(3)}, {})
    assert os.listdir(saved.parent) == ["c"]
    monkeypatch.undo()
    assert load_checkpoint(saved)[1] == METADATA


def test_ctrl_c_while_writing_leaves_no_half_file(saved, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, {"a": np.ones(3)}, {})
    assert os.listdir(saved.parent) == ["c"]


def test_a_full_disk_after_the_checkpoint(tmp_path, monkeypatch):
    """config.json and metrics.jsonl fail with the same kind of error, and stay whole."""
    rng = np.random.default_rng(0)
    run = (tmp_path, model(), Position(), {"a": 1}, rng.bit_generator.state, rng)
    save_run(*run)
    write = write_atomically

    def full(path, data):
        if path.name == runs.CONFIG:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(runs.folder, "write_atomically", full)
    with pytest.raises(CheckpointError, match=r"cannot save .*config\.json: No space left on device"):
        save_run(*run)
    assert json.loads((tmp_path / runs.CONFIG).read_text(encoding="utf-8")) == {"a": 1}


def test_a_folder_that_is_a_file(saved):
    with pytest.raises(CheckpointError, match=r"cannot save .*; nothing was written"):
        save_checkpoint(saved / "c", {"a": np.ones(3)}, {})
    assert load_checkpoint(saved)[1] == METADATA


def test_a_folder_that_may_not_be_written():
    """Root may write everywhere, so root becomes nobody for a moment."""
    folder = Path(tempfile.mkdtemp())
    save_checkpoint(folder / "c", ARRAYS, METADATA)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(CheckpointError, match="Permission denied; the checkpoint that was there is intact"):
            save_checkpoint(folder / "c", {"a": np.ones(3)}, {})
        folder_was = os.listdir(folder)
        assert load_checkpoint(folder / "c")[1] == METADATA
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert folder_was == ["c"]


def test_a_header_of_any_length_is_read_again(tmp_path):
    """A file starts with that length: its first byte may be 0x80 as a pickle's is, its first two PK as a zip's are."""
    starts = set()
    for n in (*range(300), *range(18_900, 19_300, 4)):
        save_checkpoint(tmp_path / "c", {"a": np.zeros(3)}, {"text": "y" * n})
        starts.add((tmp_path / "c").read_bytes()[:2])
        assert load_checkpoint(tmp_path / "c")[1] == {"text": "y" * n}
    assert b"PK" in starts
    assert any(start[0] == 0x80 for start in starts)
