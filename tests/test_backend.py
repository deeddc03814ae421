"""Devices: what answers to a name, what is said when nothing does, and no CuPy where none is asked for."""

import sys

import numpy as np
import pytest
import standin
from conftest import python

from minivae.backend import DeviceError, alike, alike_rows, array_module, device, device_of, rng_state, to_numpy

F32, F64 = np.zeros((2, 3), np.float32), np.zeros((2, 3))


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)    # `import cupy` raises ImportError


def test_the_cpu():
    cpu = device("cpu")
    assert (cpu.name, cpu.xp) == ("cpu", np)
    assert cpu.asarray(F32) is F32
    copy = cpu.array(F32)
    assert copy is not F32
    assert not np.shares_memory(copy, F32)
    assert cpu.array([1, 2], dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(cpu.rng(3).random(4), np.random.default_rng(3).random(4))


@pytest.mark.parametrize("name", ["tpu", "CPU", "cuda:0", "", None, 0])
def test_an_unknown_device_is_named(name):
    with pytest.raises(ValueError, match=r'device: got .*, expected "auto", "cpu" or "cuda"'):
        device(name)


def test_auto_without_cupy_is_the_cpu(no_cupy):
    assert device("auto").name == "cpu"
    assert device().name == "cpu"
    with pytest.raises(DeviceError, match=r'device "cuda" needs CuPy: python -m pip install "minivae\[cuda12\]"'):
        device("cuda")


@pytest.mark.parametrize(("devices", "said"), [
    (0, "CuPy is installed, but no GPU answers .*no CUDA-capable device is detected"),
    (None, "CuPy is installed, but no GPU answers .*CUDA driver version is insufficient")])
def test_an_installed_cupy_without_a_gpu_proves_nothing(monkeypatch, devices, said):
    standin.install(monkeypatch, devices=devices)
    assert device("auto").name == "cpu"
    with pytest.raises(DeviceError, match=f'{said}.*Check `nvidia-smi`, or use device "cpu"'):
        device("cuda")


def test_a_gpu_that_cannot_add_is_refused(monkeypatch):
    cp = standin.install(monkeypatch)
    monkeypatch.setattr(cp, "ones", cp.zeros)
    with pytest.raises(DeviceError, match="1 \\+ 1 did not give 2"):
        device("cuda")


def test_auto_takes_the_gpu_that_answers(cupy_standin):
    for name in ("auto", "cuda"):
        gpu = device(name)
        assert (gpu.name, gpu.xp) == ("cuda", cupy_standin)
    x = gpu.array(F32)
    assert isinstance(x, cupy_standin.ndarray)
    assert gpu.asarray(x) is x
    assert isinstance(gpu.rng(0).standard_normal(3), cupy_standin.ndarray)


def test_arrays_know_where_they_are(cupy_standin):
    x = cupy_standin.asarray(F32)
    assert (array_module(F32), array_module(np.float32(1)), array_module(x)) == (np, np, cupy_standin)
    assert (device_of(F32).name, device_of(x).name) == ("cpu", "cuda")
    assert to_numpy(F32) is F32
    assert isinstance(to_numpy(x), np.ndarray)
    assert isinstance(device("cpu").asarray(x), np.ndarray)
    for stranger in ([1.0], 1.0, None):
        with pytest.raises(TypeError, match=f"expected a NumPy or CuPy array, got {type(stranger).__name__}"):
            array_module(stranger)


def test_the_state_of_a_generator(cupy_standin):
    rng = device("cpu").rng(0)
    state = rng_state(rng)
    first = rng.random(3)
    rng.bit_generator.state = state
    np.testing.assert_array_equal(rng.random(3), first)
    assert rng_state(device("cuda").rng(0)) is None


def test_alike_says_which_array_is_not(cupy_standin):
    """NumPy would broadcast a (3,) against a (2, 3), or lift float32 to float64, without a word."""
    alike(mean=F32, logvar=F32.copy(), eps=F32)
    for other, error, said in (
            (F32[0], ValueError, r"eps: got shape \(3,\), expected \(2, 3\), the shape of mean"),
            (F32[:1], ValueError, r"eps: got shape \(1, 3\), expected \(2, 3\), the shape of mean"),
            (F64, TypeError, "eps: got dtype float64, expected float32, the dtype of mean"),
            (cupy_standin.asarray(F32), TypeError, "eps: lives on cuda, expected cpu, the device of mean")):
        with pytest.raises(error, match=said):
            alike(mean=F32, logvar=F32, eps=other)


def test_alike_rows_wants_a_row_for_each_example():
    alike_rows(mean=F32, logvar=F32.copy())
    for mean in (F32[0], F32[None]):
        with pytest.raises(ValueError, match=r"mean: got shape \(.*3,?\), expected two axes, a row for each example"):
            alike_rows(mean=mean, logvar=mean)
    with pytest.raises(ValueError, match=r"logvar: got shape \(1, 3\), expected \(2, 3\), the shape of mean"):
        alike_rows(mean=F32, logvar=F32[:1])


def test_a_file_mapped_into_memory_lives_on_the_cpu(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=F32.shape)
    alike(mean=F32, x=mapped)
    with pytest.raises(TypeError, match="x: got dtype float32, expected float64, the dtype of mean"):
        alike(mean=F64, x=mapped)


def test_training_on_the_cpu_never_imports_cupy(tmp_path):
    """A broken CuPy beside NumPy must not matter to someone without a GPU; who draws nothing loads no Matplotlib."""
    (tmp_path / "cupy.py").write_text("raise SystemExit('somebody imported cupy')", encoding="utf-8")
    result = python("-c", f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import numpy as np, minivae.cli
from minivae.evaluation import evaluate
from minivae.variants import VAEConfig
model, x = VAEConfig(6, (5,), 2).build(), np.ones((3, 6), np.float32)
model.train_step(x, np.random.default_rng(0)); evaluate(model, x)
assert not {{"cupy", "matplotlib", "scipy"}} & sys.modules.keys()
print("trained")
""")
    assert (result.returncode, result.stdout) == (0, "trained\n"), result.stderr
