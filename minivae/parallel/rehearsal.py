"""A rehearsal: what two threads lose to each other on this machine, and so when another thread is worth having.

Two threads share one Python.  Whenever NumPy comes back to it, a thread waits until the other lets go, and wakes up:
tens of microseconds, some sixty times in the half of a training step that threads share out (`nn.workers`).  That loss
does not depend on how many rows they have.  What they save does: a multiplication of a weight for every row.  So

    crossover = loss / seconds per multiplication

is how many multiplications a thread must take over before two are quicker than one.  Both depend on the processor, so
both are measured, in some 40 ms, when threads are first asked to share a batch; and kept, so that the same seed gives
the same bits the next time.

    python -c "from minivae.parallel.rehearsal import measured; print(measured())"        measures, and keeps nothing
"""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from minivae.backend import cache_folder
from minivae.parallel.team import Team

UNMEASURED = 2**24         # where nothing can be measured, and in runs that kept nothing: two AVX2 cores
LEAST, MOST = 2**21, 2**27
CALLS = 60                 # of NumPy, in the half of a step that threads share
LINKS, ROWS, WIDTH = 10, 32, 128             # of the rehearsal's chain: a product and two small calls each
REPEATS = 9
VARIABLE, FILE = "MINIVAE_CROSSOVER", "crossover.json"


@cache
def crossover() -> int:
    """How many multiplications another thread must be given to be worth it: a power of two.

    The environment's MINIVAE_CROSSOVER, if it is set; else what is kept in the cache folder for this processor and
    these versions; else measured now, and kept.  Beside other work, when there is no second core to be had, nothing can
    be measured and nothing is kept: 2²⁴ until the next process asks.

    Raises ValueError if the variable is no whole number of at least 1.
    """
    if said := os.environ.get(VARIABLE):
        if not said.isdecimal() or int(said) < 1:
            raise ValueError(f"{VARIABLE}: got {said!r} in the environment, expected a whole number of at least 1")
        return int(said)
    path, here = cache_folder() / FILE, machine()
    kept = _read(path)
    if here not in kept and (found := measured()):
        kept[here] = found
        _write(path, kept)
    return kept.get(here, UNMEASURED)


def machine() -> str:
    """What the measurement depends on: processor, cores, Python, NumPy and its BLAS."""
    blas = sorted({f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
                   for pool in threadpool_info() if pool["user_api"] == "blas"})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([processor(), f"{cores} cores", f"Python {platform.python_version()}", f"NumPy {np.__version__}",
                      *blas])


def processor() -> str:
    """The processor's model, as far as the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


# ── measuring ─────────────────────────────────────────────────────────────────────────────────


def measured() -> int | None:
    """The crossover as it is now; None if there is no second core to be had."""
    return weighed(*rehearsed(Team(2)))


def rehearsed(team: Team) -> tuple[list[float], list[float], list[float], list[float]]:
    """Seconds that a chain of small calls takes one thread, and two at once; and one call as long, one and two."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32(WIDTH**-0.5)
    wide, xs = np.tile(W, LINKS), [rng.random((ROWS, WIDTH), np.float32) for _ in range(2)]

    def chain(i: int) -> None:
        h = xs[i]
        for _ in range(LINKS):
            h = np.float32(1.1) * np.maximum(h @ W, 0.0)

    def one_call(i: int) -> None:
        np.matmul(xs[i], wide)

    works: list[Callable[[], object]] = [lambda: chain(0), lambda: team.run(chain, 2),
                                         lambda: one_call(0), lambda: team.run(one_call, 2)]
    rounds = [[_seconds(work) for work in works] for _ in range(REPEATS + 1)]          # the first one warms
    chains, pair, call, calls = map(list, zip(*rounds[1:]))
    return chains, pair, call, calls


def weighed(chain: Sequence[float], chains: Sequence[float], call: Sequence[float],
            calls: Sequence[float]) -> int | None:
    """The crossover that these times tell, to a power of two; None if two calls were not made at the same time.

    The quickest of each counts, what the machine can do; but most must show that there are two cores.
    """
    if statistics.median(calls) > 1.5 * statistics.median(call):
        return None
    loss = (min(chains) - min(chain)) * CALLS / (3 * LINKS)
    multiplication = min(chain) / (LINKS * ROWS * WIDTH**2)
    return 2**round(math.log2(min(max(loss / multiplication, LEAST), MOST)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ── keeping ───────────────────────────────────────────────────────────────────────────────────


def _read(path: Path) -> dict[str, int]:
    """What is kept, by machine; nothing if there is no such file, or not one of ours."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {here: value for here, value in kept.items() if type(value) is int and value >= 1}
    except (OSError, ValueError, AttributeError):
        return {}


def _write(path: Path, kept: dict[str, int]) -> None:
    """Whole or not at all; where it cannot be written, the next process measures again."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

