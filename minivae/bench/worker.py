"""A contender's process: `python -m minivae.bench.worker CONTENDER THREADS ROW`, started by contest.py.

It reads a command a line and answers each with a line of JSON:

    prove FILE    what it computes from the proof's inputs, into FILE.npz
    go N          N steps: {"seconds": …, "processor": seconds of all its threads, "others": seconds that its cores
                  worked for somebody else, or null, "peak": bytes above the start, or null}
    breakdown     where a step's time goes (breakdown.py)

The first line it writes, once it is built, says what it runs on.  It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TextIO

import numpy as np
from threadpoolctl import threadpool_info

from minivae.bench.machine import busy
from minivae.bench.rows import Row, Work, from_dict, proof_inputs

SETTLING = 0.2             # seconds
FILES = {"minivae": "ours", "minivae_fast": "ours", "inline": "inline", "products": "ours", "jax": "jax_peer",
         "torch": "torch_peer", "torch_fused": "torch_peer", "torch_compile": "torch_peer",
         "torch_channels_last": "torch_peer"}


def builder(contender: str) -> Callable[[Row, int], Work]:
    """The function that builds a contender.  Only here are PyTorch and JAX imported."""
    contenders: dict[str, Callable[[Row, int], Work]] = importlib.import_module(
        f"minivae.bench.{FILES[contender]}").CONTENDERS
    return contenders[contender]


def bind(threads: int) -> None:
    """Keep to so many cores, where the system lets us: JAX, for one, asks how many there are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Memory:
    """How far this process's memory has grown at most since the last `start`, where Linux tells."""

    def start(self) -> None:
        """Give back what is free, and forget the peak so far."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.before: int | None = None
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
            self.before = _status("VmRSS")

    def peak(self) -> int | None:
        """Bytes above the start; None where the system does not tell."""
        return None if self.before is None else _status("VmHWM") - self.before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def about(work: Work) -> dict[str, Any]:
    """What this process runs on: versions, and the thread pools of its libraries."""
    here = [name for name in ("numpy", "numba", "torch", "jax") if name in sys.modules]
    versions = {name: sys.modules[name].__version__ for name in here}
    pools = [{key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
             for pool in threadpool_info()]
    told = {key: value for key, value in work.about.items() if isinstance(value, str)}
    return {"versions": {"python": platform.python_version(), **versions}, "pools": pools, **told}


def timed(work: Work, steps: int) -> dict[str, float | None]:
    """Seconds that so many steps take, by the clock and of processors, and what others took of our cores meanwhile.

    Not counted is what several take at first: after a pause Linux keeps threads that sleep and wake on one core, until
    after some fifty milliseconds it sees that another is idle.
    """
    settled = perf_counter() + SETTLING
    while steps > 1 and perf_counter() < settled:
        work.step()
    work.wait()
    ours = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    worked, start, processor = busy(ours), perf_counter(), process_time()
    for _ in range(steps):
        work.step()
    work.wait()
    seconds, processor, until = perf_counter() - start, process_time() - processor, busy(ours)
    others = None if worked is None or until is None else max(until - worked - processor, 0.0) / len(ours)
    return {"seconds": seconds, "processor": processor, "others": others}


def serve(contender: str, row: Row, threads: int, commands: TextIO, answers: TextIO) -> None:
    """Build the contender, then do what is asked until nothing is."""
    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    work, memory = builder(contender)(row, threads), Memory()
    memory.start()
    answer(about(work))
    for line in commands:
        command, _, argument = line.strip().partition(" ")
        if command == "prove":
            work.prove(*proof_inputs(row))             # PyTorch's first call in a process is now and then off by 1e-5
            np.savez(argument, **work.prove(*proof_inputs(row)))                   # type: ignore[arg-type]
            memory.start()
            answer({})
        elif command == "go":
            answer({**timed(work, int(argument)), "peak": memory.peak()})
        elif command == "breakdown":
            answer(importlib.import_module("minivae.bench.breakdown").breakdown(row))


def main() -> None:
    """What libraries print goes to standard error: the real standard output carries the answers alone."""
    contender, threads, fields = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    bind(int(threads))
    serve(contender, from_dict(json.loads(fields)), int(threads), sys.stdin, answers)


if __name__ == "__main__":
    main()
