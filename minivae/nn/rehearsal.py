"""A rehearsal: what two threads lose to each other on this machine, and so when another thread is worth having.

Two threads share one Python.  Whenever NumPy comes back to it, a thread waits until the other lets go, and wakes up:
tens of microseconds, some sixty times in the half of a training step that threads share out (`workers`).  That loss
does not depend on how many rows they have.  What they save does: in that half every row meets every weight 1.5 times,
forwards, and backwards but in the first layer.  So a thread must have more rows × weights than the

    crossover = loss / (1.5 · seconds per multiplication)

before two are quicker than one.  Both depend on the processor, so both are measured, in about 40 ms, when threads are
first asked to share a batch; and kept, so that the same seed gives the same bits the next time.

    python -c "from minivae.nn.rehearsal import measured; print(measured())"        measures, and keeps nothing
"""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from minivae.backend import cache_folder, device, processor
from minivae.nn.arena import Arena
from minivae.nn.layers import mlp
from minivae.parallel import Team

UNMEASURED = 0             # the constants of `workers` decide: nothing could be measured, or a run is older than this
LEAST, MOST = 2**21, 2**27
MEETINGS = 1.5             # of a row and a weight, in the half of a step that threads share
LAYERS, WIDTH, ROWS = 5, 64, 32              # of a network that loses as much as a VAE of any size does
PRODUCT = (128, 128, 1280)                   # one call so long that it is nothing how long a thread takes to wake up
REPEATS, DISTURBED, SLOWER = 7, 2, 1.5       # so many may be slower than so many times the quickest
VARIABLE, FILE = "MINIVAE_CROSSOVER", "crossover.json"


@cache
def crossover() -> int:
    """How many rows × weights another thread must be given to be worth it: a power of two.

    The environment's MINIVAE_CROSSOVER, if it is set; else what is kept in the cache folder for this processor and
    these versions; else measured now, and kept.  Beside other work, when there is no second core to be had, nothing can
    be measured and nothing is kept: 0, until the next process asks.

    Raises ValueError if the variable is no whole number.
    """
    if said := os.environ.get(VARIABLE):
        if not (said.isascii() and said.isdecimal()):
            raise ValueError(f"{VARIABLE}: got {said!r} in the environment, expected a whole number of at least 0")
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


# ── measuring ─────────────────────────────────────────────────────────────────────────────────


def measured() -> int | None:
    """The crossover as it is now; None if there is no second core to be had."""
    return weighed(*rehearsed(Team(2)))


def rehearsed(team: Team) -> list[list[float]]:
    """Seconds that half a step takes one thread, and two at once; and that a long product takes one, and two."""
    rng, cpu = np.random.default_rng(0), device("cpu")
    x, (m, k, n) = rng.random((ROWS, WIDTH), np.float32), PRODUCT
    a, b, out = rng.random((m, k), np.float32), rng.random((k, n), np.float32), np.empty((2, m, n), np.float32)
    nets = [mlp(*[WIDTH] * (LAYERS + 1), rng=rng, activation="tanh") for _ in range(2)]
    arenas = [Arena(net.parameters(), cpu) for net in nets]

    def half_step(i: int) -> None:
        arenas[i].zero_grad(owes=True)
        y, pullback = nets[i](x)
        pullback(y)

    def product(i: int) -> None:
        np.matmul(a, b, out=out[i])

    works: list[Callable[[], object]] = [lambda: half_step(0), lambda: team.run(half_step, 2),
                                         lambda: product(0), lambda: team.run(product, 2)]
    rounds = [[_seconds(work) for work in works] for _ in range(REPEATS + 1)]
    return [list(times) for times in zip(*rounds[1:])]                                 # the first one warms


def weighed(half: Sequence[float], halves: Sequence[float], product: Sequence[float],
            products: Sequence[float]) -> int | None:
    """The crossover that these times tell, up to a power of two; None if they do not tell it.

    The quickest of each counts, what the machine can do.  But most must come near it, and two products must have been
    made at the same time: what was measured beside other work would be kept for quiet days.
    """
    near = [(half, min(half)), (halves, min(halves)), (product, min(product)), (products, min(product))]
    if any(sorted(times)[-1 - DISTURBED] > SLOWER * quickest for times, quickest in near):
        return None
    meeting = MEETINGS * min(product) / math.prod(PRODUCT)
    found = (min(halves) - min(half)) / meeting
    return 2**math.ceil(math.log2(min(max(found, LEAST), MOST)))


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
