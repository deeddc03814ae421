"""Memory that a step frees is there for the next one: the system is not asked for it, page by page, again."""

import platform

import pytest
from conftest import python

from minivae.parallel.memory import WISHES

PAGE_FAULTS = """
import resource
import sys

import numpy as np

from minivae.parallel import keep_memory
from minivae.variants import ConvVAEConfig

def step():
    arrays = [np.ones((1000, 1000), np.float32) for _ in range(20)]          # 80 MB, alive together

if "keep" in sys.argv:
    ConvVAEConfig().build()                                                  # whoever builds a model has it
    assert keep_memory()
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""

STEPS = """
import gc
import resource
import tracemalloc

import numpy as np

from minivae.variants import VAEConfig

model, rng = VAEConfig(784, (400,), 20).build(), np.random.default_rng(0)
x = rng.random((128, 784), np.float32)

def steps(n):
    for _ in range(n):
        model.train_step(x, rng)

steps(20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps(50)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 50)
tracemalloc.start()
steps(5)
gc.collect()
before, _ = tracemalloc.get_traced_memory()
steps(50)
gc.collect()
print(tracemalloc.get_traced_memory()[0] - before)
"""


@pytest.fixture
def told_by_nobody(monkeypatch):
    """An environment that does not say what malloc shall do."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc's malloc can be told to keep memory")
    for name in WISHES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("told_by_nobody")
def test_a_step_asks_the_system_for_no_memory_that_it_had_before():
    kept, given_back = (int(python("-c", PAGE_FAULTS, *arguments).stdout) for arguments in (["keep"], []))
    assert kept < 100
    assert given_back > 10 * max(kept, 100)


@pytest.mark.usefixtures("told_by_nobody")
def test_a_training_step_takes_the_memory_of_the_one_before_and_leaves_nothing_behind():
    """The benchmark's row (a), of which 4 MB are alive at once."""
    faults, left = map(int, python("-c", STEPS).stdout.split())
    assert faults < 100                                # pages; 300 to 600 with MALLOC_MMAP_THRESHOLD_=65536
    assert left < 8192                                 # bytes, after fifty steps, of some that stay anyway


def test_it_is_left_alone_where_the_environment_says_what_malloc_shall_do(monkeypatch):
    for name in WISHES:
        with monkeypatch.context() as patch:
            patch.setenv(name, "glibc.malloc.trim_threshold=131072" if name == "GLIBC_TUNABLES" else "131072")
            said = python("-c", "from minivae.parallel import keep_memory; print(keep_memory())").stdout
        assert said.strip() == "False", name
