"""The contest: a process per contender, proved equal first, then timed in turns, a burst at a time.

The turns matter: the machine's moods (other users, heat, clock rates) hit all contenders alike.  While one runs the
others sleep.  The parent process computes nothing.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.bench.rows import Row, to_dict

NEEDS = {"minivae": "numpy", "minivae_fast": "numba", "inline": "numpy", "products": "numpy", "jax": "jax",
         "torch": "torch", "torch_fused": "torch", "torch_compile": "torch", "torch_channels_last": "torch"}
WORKER = (sys.executable, "-m", "minivae.bench.worker")
OTHERS = 0.1           # of a burst's time may a core have worked for somebody else; above that it is measured again
AGAIN = 2              # so many times, at most
PAUSE = 0.25           # seconds between two turns, in which the last one's threads stop spinning (OpenBLAS: 0.1)
Times = dict[str, Any]


class BenchError(RuntimeError):
    """A contender computes something else, or its process died."""


class Contender:
    """A contender's process and the pipe to it."""

    def __init__(self, name: str, row: Row, threads: int) -> None:
        self.name, self.row = name, row
        self.about: dict[str, Any] = {}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")     # noqa: SIM115  (end() closes it)
        pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        # its own session: Ctrl-C is for us, who then end it; compiling in-process leaves it no children
        environment = os.environ | dict.fromkeys(pools, str(threads)) | {
            "TORCHINDUCTOR_COMPILE_THREADS": "1", "MINIVAE_FAST": str(int(name == "minivae_fast"))}
        self.process = subprocess.Popen([*WORKER, name, str(threads), json.dumps(to_dict(row))],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        env=environment, start_new_session=True, encoding="utf-8")

    def answer(self) -> dict[str, Any]:
        """Its next answer.  Raises BenchError if it died instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        tail = "".join(self.errors.readlines()[-12:]).rstrip() or "(it said nothing)"
        raise BenchError(f"{self.name} died in row {self.row.name} (exit code {code}); its last words:\n{tail}")

    def send(self, command: str) -> None:
        """Send a command: `answer` waits for what comes of it."""
        assert self.process.stdin
        with suppress(BrokenPipeError):                # it died: answer() says how
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command, wait for its answer."""
        self.send(command)
        return self.answer()

    def end(self) -> None:
        """End the process and whatever it started, whatever it is doing."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(BrokenPipeError):            # it died with our last command unread
                pipe.close()                                                   # type: ignore[union-attr]


def installed(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Which contenders can run here, and which cannot."""
    here = [name for name in names if importlib.util.find_spec(NEEDS[name])]
    return here, [name for name in names if name not in here]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(names: list[str], row: Row, threads: int) -> Iterator[dict[str, Contender]]:
    """A process for each contender, all of them ended at the end, however it comes."""
    running: dict[str, Contender] = {}
    try:
        for name in names:
            running[name] = Contender(name, row, threads)
            running[name].about = running[name].answer()       # one by one: `products` chooses its team by the clock
        yield running
    finally:
        for contender in running.values():
            contender.end()


def compete(row: Row, names: list[str], *, bursts: int, threads: int, breakdown: bool = False,
            keep: Callable[[Times], None] = lambda result: None) -> Times:
    """Prove the contenders of a row equal, warm them, let them take turns: seconds per step by contender.

    By the clock ("seconds") and of processors ("processor"); "beside": how many bursts were taken beside other work.

    keep   is given the result after each round, so that what was measured survives an interruption
    Raises BenchError if a contender dies, or computes something else than the first of them that is PyTorch's.
    """
    threads = row.threads or threads
    result: Times = {"title": row.title, "kind": row.kind, "threads": threads, "steps": row.steps,
                     "seconds": {name: [] for name in names}, "processor": {name: [] for name in names},
                     "beside": dict.fromkeys(names, 0), "memory": {}, "about": {}, "proof": {}}
    with tqdm(total=len(names) * (bursts + 2), desc=f"row {row.name}", unit="burst", leave=False) as bar, \
            processes(names, row, threads) as running:
        result["about"] = {name: contender.about for name, contender in running.items()}
        result["proof"] = prove(running, bar, row.tolerance)
        for name, contender in running.items():
            bar.set_postfix_str(f"warming {name}")
            contender.ask(f"go {row.warmup}")
            bar.update()
        for burst in range(bursts):
            turn = burst % len(names)
            for name in names[turn:] + names[:turn]:   # nobody always follows the same neighbour
                bar.set_postfix_str(name)
                answer = burst_of(running[name], row.steps)
                result["seconds"][name].append(answer["seconds"] / row.steps)
                result["processor"][name].append(answer["processor"] / row.steps)
                result["beside"][name] += disturbed(answer)
                result["memory"][name] = answer["peak"]
                bar.update()
            keep(result)
    if breakdown and "minivae" in names:
        with processes(["minivae"], row, 1) as running:
            result["breakdown"] = running["minivae"].ask("breakdown")
        keep(result)
    return result


def burst_of(contender: Contender, steps: int) -> dict[str, Any]:
    """A burst, measured again while others work on the same cores: the first undisturbed one, else the least disturbed.

    Whether it was disturbed is seen from the others' load, never from its time: to repeat what was slow would flatter.
    """
    answers: list[dict[str, Any]] = []
    while not answers or (disturbed(answers[-1]) and len(answers) <= AGAIN):
        time.sleep(PAUSE)
        answers.append(contender.ask(f"go {steps}"))
    return min(answers, key=_share_of_others)


def disturbed(answer: dict[str, Any]) -> bool:
    """Whether others took more of the cores than they may."""
    return _share_of_others(answer) > OTHERS


def _share_of_others(answer: dict[str, Any]) -> float:
    return (answer["others"] or 0.0) / answer["seconds"]       # None: the system does not tell


def prove(running: dict[str, Contender], bar: tqdm, tolerance: float) -> dict[str, float]:
    """The largest relative difference of each contender from PyTorch's (without it: the library's) arrays.

    Raises BenchError above the tolerance: times of different work are not worth taking.
    """
    arrays: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, contender in running.items():
            bar.set_postfix_str(f"proving {name}")
            file = Path(folder) / f"{name}.npz"
            contender.ask(f"prove {file}")
            with np.load(file) as found:
                if found.files:
                    arrays[name] = dict(found)
            bar.update()
    reference = next((name for name in arrays if name.startswith("torch")), next(iter(arrays), ""))
    differences = {}
    for name, found in arrays.items():
        worst, where = difference(found, arrays[reference])
        if not worst <= tolerance:
            raise BenchError(f"row {next(iter(running.values())).row.name}: {where} of {name} differs from that of "
                             f"{reference} by {worst:.1e} (at most {tolerance:.0e} is allowed): not timed")
        differences[name] = worst
    return differences


def difference(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> tuple[float, str]:
    """max over arrays of ‖found − reference‖ / ‖reference‖, and which array it was; NaN or a missing one: infinite"""
    worst, where = 0.0, ""
    for name in reference.keys() | found.keys():
        if name not in found or name not in reference or found[name].shape != reference[name].shape:
            return math.inf, name
        norm = float(np.linalg.norm(reference[name].astype(np.float64)))
        away = float(np.linalg.norm(found[name].astype(np.float64) - reference[name])) / max(norm, 1e-30)
        if not away <= worst:                          # NaN is not
            worst, where = away if math.isfinite(away) else math.inf, name
    return worst, where
