"""What all tests share.  One BLAS thread per process: xdist already keeps every core busy.

Whoever compares the threads' results says how many; .ci/everywhere says it for all, with MINIVAE_TEST_THREADS.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("MINIVAE_TEST_THREADS", "1")
os.environ["MINIVAE_CROSSOVER"] = "0"                  # not measured beside other tests, nor kept for their user
os.environ["MPLBACKEND"] = "Agg"                                            # no window, no display; all before NumPy

import pytest
import standin
from matplotlib import pyplot as plt

from minivae.backend import DeviceError, device
from minivae.plots import STYLE

STYLE["savefig.dpi"] = 80                              # pictures of a quarter of the pixels: drawn sooner
ROOT = Path(__file__).parent.parent
cupy_standin = standin.cupy_standin                   # the fixture
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # nohup, a script's background job, some CI: inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)


def python(*arguments: object, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository as a user would, with warnings as errors."""
    return subprocess.run([sys.executable, "-W", "error", *map(str, arguments)], cwd=ROOT, timeout=timeout,
                          capture_output=True, check=False, encoding="utf-8",
                          env=os.environ | {"PYTHONIOENCODING": "utf-8"})


@contextmanager
def running(*arguments: object, before: Sequence[object] = (), **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same, to watch and to disturb; whatever comes of the test, the process does not outlive it.

    before   the program that starts Python
    """
    command = [*before, sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, encoding="utf-8",
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options) as process:
        try:
            yield process
        finally:
            process.kill()                            # nothing, if it has ended: or `with` would wait for it for ever


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """peak() inside of it says how many bytes Python and NumPy have held at most, of those asked for since it began."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


COLLECTED = pytest.StashKey[list[str]]()               # the ids of all tests that were found here, in their order


def pytest_collection_modifyitems(config, items):
    """Tests marked `gpu` run where a GPU answers, and say why they did not where none does."""
    config.stash[COLLECTED] = [item.nodeid for item in items]
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and (reason := _no_gpu()):
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason=reason))
    for item in items:
        if item.get_closest_marker("peers") and not _installed("torch"):
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed (extra `peers`)"))


def _no_gpu() -> str:
    try:
        device("cuda")
    except DeviceError as error:
        return f"no CUDA device: {error}"
    return ""


def _installed(name: str) -> bool:
    from importlib.util import find_spec
    return find_spec(name) is not None


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    """A picture that a test made is closed after it."""
    yield
    plt.close("all")


@contextmanager
def imported(path: Path) -> Iterator[Any]:
    """A chapter as a module, by its first letters ("ch31"): under that name its dataclasses find it meanwhile."""
    name = path.name[:4]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        yield module
