"""The training loop: shuffled minibatches, progress, a validation bound, checkpoints, resume.

Started by mpiexec, every process runs this loop, in step with the others; rank 0 alone writes and shows.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, Generator, rng_state, to_numpy, whole_numbers
from minivae.batch import Batch, as_batch
from minivae.distributions import bernoulli_sample
from minivae.evaluation import evaluate
from minivae.nn import Data, Model
from minivae.parallel import ALONE, Processes, ProcessesError, processes
from minivae.runs import (
    BEST,
    CHECKPOINT,
    Guard,
    NotFiniteError,
    Position,
    finite,
    restore_run,
    save_parameters,
    save_run,
)
from minivae.training.buckets import in_buckets

CHECK_EVERY = 50           # steps between two looks at the loss: a look waits for the device, and for all processes
Record = dict[str, Any]
Callback = Callable[[Record, Any], None]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the step was finished and the state saved."""


def fit(model: Any, data: Data, *, epochs: int, batch_size: int = 128, valid: Data | None = None,
        binarize: bool = False, seed: int = 0, run: Path | str | None = None, resume: bool = False,
        config: Mapping[str, Any] | None = None, progress: bool = True,
        callback: Callback | None = None, threads: int | None = None) -> list[Record]:
    """Train `model` on images (N, X), or on a Batch of all it needs; return one record per epoch, in nats per example.

    valid       the same of what is held out: its bound is recorded after each epoch
    binarize    draw x ~ Bernoulli(x) anew for every batch (Salakhutdinov and Murray 2008): of all `model.pixels_of`
    seed        of the order of the examples and of the noise
    run         folder for config.json, metrics.jsonl, a checkpoint after each epoch, and the
                parameters of the epoch with the best validation bound
    resume      go on from the checkpoint in `run`: on a CPU, bit for bit as if never interrupted
    config      JSON-able description kept with the run, and compared when it is resumed
    callback    callback(record, model) after each epoch, on rank 0
    threads     that share every batch; None: those of the model's workers (under mpiexec: this process's share)

    Under mpiexec all processes must call it alike: they share every batch, for the same result to rounding, whatever
    their number.  Only rank 0 needs to see the folder; it computes the validation bound while the others wait.

    If the data say `lengths`, of sequences, batches are of about one length each (`buckets`).

    Raises ValueError or TypeError for bad arguments, FileExistsError if `run` holds a run already,
    NotFiniteError (the last checkpoint is kept), Interrupted (Ctrl-C: saved first), CheckpointError,
    ProcessesError (the processes do not fit together).
    """
    _check_arguments(model, data, valid, epochs, batch_size, binarize, seed)
    if resume and run is None:
        raise ValueError("resume: got no run folder to go on from, expected run=...")
    run, group = Path(run) if run else None, processes()
    settings = dict(config or {}) | {"epochs": epochs, "batch_size": batch_size, "seed": seed, "binarize": binarize}
    json.dumps(settings)                               # raises TypeError now rather than after the first epoch
    device, dtype = model.device, model.dtype
    order, noise = np.random.default_rng(seed), device.rng(seed + 1)
    position = _begin(model, run, resume, settings, order, noise, group)
    if threads is not None or group.size > 1:
        model.workers.hire(group.threads if threads is None else threads, group)
    train, lengths = as_batch(data).on(device, dtype), as_batch(data).arrays.get("lengths")
    held_out = None if valid is None else as_batch(valid).on(device, dtype)

    with _CtrlC(group) as ctrl_c, tqdm(total=epochs * math.ceil(len(train) / batch_size), initial=position.step,
                                       disable=not progress or group.rank > 0, unit="step", dynamic_ncols=True) as bar:
        while position.epoch < epochs:
            start, order_state = time.perf_counter(), rng_state(order) or {}
            bar.set_description(f"epoch {position.epoch + 1}/{epochs}")
            rows = order.permutation(len(train))
            if lengths is not None:
                rows = in_buckets(rows, lengths, batch_size, order)
            shuffled = device.asarray(rows)
            epoch = _Epoch(model, train, shuffled, batch_size, noise, binarize, group)
            epoch.run(position, bar, ctrl_c)
            if epoch.stopped:
                if run:
                    group.once(partial(save_run, run, model, position, settings, order_state, noise))
                raise Interrupted(f"stopped after step {position.step}"
                                  + (f"; saved in {run}: resume from there" if run else ""))
            bound = group.once(lambda: _validate(model, held_out, seed))
            _finish(position, len(train), bound, time.perf_counter() - start)
            group.once(lambda: _keep(run, model, position, settings, order, noise, callback))
    return position.history


def _begin(model: Model, run: Path | None, resume: bool, settings: Record, order: Generator, noise: Generator,
           group: Processes) -> Position:
    """All processes start from the same place: the checkpoint, or the parameters of rank 0."""
    on_cpu = np.array([model.device.name == "cpu"], dtype=float)
    group.sum(on_cpu)
    if 0 < on_cpu[0] < group.size:
        raise ProcessesError(f"{on_cpu[0]:.0f} of {group.size} processes run on the CPU, the others on a GPU: "
                             "give --device, and each process of a machine a GPU of its own")
    if run and resume:
        return restore_run(run, model, settings, order, noise, group)
    if run and group.once((run / CHECKPOINT).exists):
        raise FileExistsError(f"{run} holds a run already: resume it, or choose another folder")
    if group.size > 1:
        for network in model.networks.values():
            value = network.arena.value
            value[...] = model.device.array(group.once(partial(to_numpy, value)))
    return Position()


def _keep(run: Path | None, model: Model, position: Position, settings: Record, order: Generator, noise: Generator,
          callback: Callback | None) -> None:
    """Write the finished epoch to the run folder, and tell the caller."""
    record = position.history[-1]
    if run:                                            # the best first: killed between the two, the epoch is run again
        if record.get("valid_elbo") == max(r.get("valid_elbo", math.inf) for r in position.history):
            save_parameters(run / BEST, model, settings)
        save_run(run, model, position, settings, rng_state(order) or {}, noise)
    if callback:
        callback(record, model)


class _Epoch:
    """One pass over the images: steps, and every so often a look at whether all is well."""

    def __init__(self, model: Model, data: Batch, order: Array, batch_size: int, noise: Generator,
                 binarize: bool, group: Processes) -> None:
        self.model, self.data, self.order, self.batch_size = model, data, order, batch_size
        self.noise, self.binarize, self.group = noise, binarize, group
        self.guard = Guard(model, noise)
        self.pending: list[tuple[int, dict[str, Array]]] = []      # metrics still on the device
        self.every = CHECK_EVERY if group.size == 1 else 1         # steps until the next look
        self.looked, self.stopped = time.perf_counter(), False

    def run(self, position: Position, bar: tqdm, ctrl_c: _CtrlC) -> None:
        for batch in self.batches(position.batch):
            with np.errstate(all="ignore"):            # the guard says it better than NumPy's warnings
                self.pending.append((len(batch), self.model.train_step(batch, self.noise)))
            position.step, position.batch = position.step + 1, position.batch + 1
            bar.update()
            if len(self.pending) >= self.every or (ctrl_c.pressed and self.group.size == 1):
                self.look(position, bar, ctrl_c.pressed)
            if self.stopped:
                return
        self.look(position, bar, ctrl_c.pressed)

    def batches(self, first: int) -> Iterator[Batch]:
        """Minibatches in the shuffled order, from number `first` on."""
        for start in range(first * self.batch_size, len(self.data), self.batch_size):
            batch = self.data[self.order[start:start + self.batch_size]]
            if self.binarize:
                batch = batch.but(**{name: bernoulli_sample(batch.arrays[name], rng=self.noise)
                                     for name in self.model.pixels_of})
            yield batch

    def look(self, position: Position, bar: tqdm, pressed: bool) -> None:
        """Bring the metrics to the host and add them up.  Raises NotFiniteError, naming the first cause."""
        metrics, alike = self.together(pressed)
        good = all(math.isfinite(value) for _, m in metrics for value in m.values())
        if not (good and finite(self.model)):          # the last step's loss came before its move
            step, batch = position.step - len(metrics), position.batch - len(metrics)
            if self.group.size > 1:
                self.model.workers.processes = ALONE   # each takes the whole batches again, and all find the same
            cause = self.guard.blame(enumerate(self.batches(batch), start=step + 1))
            raise NotFiniteError(f"the loss or a parameter is not finite; {cause}. The last checkpoint is kept. "
                                 "Try a smaller learning rate, or clip the gradient (max_norm)")
        if not alike:
            raise ProcessesError(f"rank {self.group.rank}'s parameters are no longer those of the other ranks: "
                                 "all must take the same steps, from the same seeds. The last checkpoint is kept")
        for n, m in metrics:
            for name, value in m.items():
                position.sums[name] = position.sums.get(name, 0.0) + n * value
        if metrics:
            bar.set_postfix(elbo=f"{np.mean([m['elbo'] for _, m in metrics]):.1f} nats")
        self.pending.clear()
        self.guard.remember()

    def together(self, pressed: bool) -> tuple[list[tuple[int, dict[str, float]]], bool]:
        """The metrics of the whole batches, and whether all ranks hold the same parameters.

        Each rank knows its rows' share of the metrics, and whether Ctrl-C reached it: one small sum over the ranks, and
        all know the same, so that all do the same.
        """
        names = list(self.pending[0][1]) if self.pending else []
        shares = [[float(m[name]) for name in names] for _, m in self.pending]
        digest = _digest(self.model) if self.group.size > 1 else 0
        now, steps = time.perf_counter(), max(len(shares), 1)
        sums = np.array([pressed, digest, (now - self.looked) / steps, *np.ravel(shares)])
        self.group.sum(sums)
        self.looked, self.stopped = now, sums[0] > 0
        if self.group.size > 1:                        # about a second until the next look, which sees a Ctrl-C
            self.every = min(max(int(self.group.size / max(sums[2], 1e-9)), 1), CHECK_EVERY)
        rows = sums[3:].reshape(len(shares), len(names)).tolist()
        return ([(n, dict(zip(names, row))) for (n, _), row in zip(self.pending, rows)],
                sums[1] == self.group.size * digest)


def _digest(model: Model) -> int:
    """A number that two models share only if all their parameters are alike."""
    digest = 0
    for network in model.networks.values():
        digest = zlib.crc32(to_numpy(network.arena.value).data, digest)
    return digest


def _finish(position: Position, examples: int, valid: Record, seconds: float) -> None:
    """Close the epoch: its record joins the history."""
    position.epoch, position.batch = position.epoch + 1, 0
    record: Record = {"epoch": position.epoch, "step": position.step}
    record |= {f"train_{name}": total / examples for name, total in position.sums.items()}
    record |= valid | {"seconds": round(seconds, 3)}
    position.sums = {}
    position.history.append(record)


def _validate(model: Model, held_out: Batch | None, seed: int) -> Record:
    """The bound on what is held out, with the same noise after every epoch."""
    if held_out is None:
        return {}
    bound = evaluate(model, held_out, seed=seed + 2)
    return {"valid_elbo": bound.elbo.mean, "valid_nll": bound.nll.mean, "valid_kl": bound.kl.mean}


def _check_arguments(model: Any, data: Any, valid: Any, epochs: int, batch_size: int, binarize: bool,
                     seed: int) -> None:
    whole_numbers(epochs=epochs, batch_size=batch_size)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, expected a whole number of at least 0")
    model.check(data, "images")
    for pixels in (as_batch(data).arrays[name] for name in model.pixels_of if binarize):
        if not 0.0 <= float(pixels.min()) <= float(pixels.max()) <= 1.0:
            raise ValueError("binarize: images have pixels outside [0, 1], expected probabilities of ink")
    if valid is not None:
        model.check(valid, "valid")


class _CtrlC:
    """While inside, Ctrl-C only raises a flag, so that no step is cut in half; a second one interrupts.

    Under mpiexec it reaches each process at another step, perhaps twice: they agree when they look, and the second is
    mpiexec's affair.
    """

    def __init__(self, group: Processes) -> None:
        self.group, self.pressed = group, False

    def __enter__(self) -> _CtrlC:
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self.main:
            signal.signal(signal.SIGINT, self.before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed and self.group.size == 1:
            raise KeyboardInterrupt
        self.pressed = True
