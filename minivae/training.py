"""The training loop: shuffled minibatches, progress, a validation bound, checkpoints, resume."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, Generator, rng_state
from minivae.evaluation import evaluate
from minivae.guard import Guard, NotFiniteError
from minivae.runs import BEST, CHECKPOINT, Model, Position, restore_run, save_parameters, save_run

CHECK_EVERY = 50           # steps between two looks at the loss: a look waits for the device
Record = dict[str, Any]
Callback = Callable[[Record, Any], None]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the step was finished and the state saved."""


def fit(model: Any, images: np.ndarray, *, epochs: int, batch_size: int = 128, valid: np.ndarray | None = None,
        binarize: bool = False, seed: int = 0, run: Path | str | None = None, resume: bool = False,
        config: Mapping[str, Any] | None = None, progress: bool = True,
        callback: Callback | None = None) -> list[Record]:
    """Train `model` on `images` (N, X); return one record per epoch, in nats per image.

    valid       images whose bound is recorded after each epoch
    binarize    draw x ~ Bernoulli(pixel) anew for every batch (Salakhutdinov and Murray 2008)
    seed        of the order of the images and of the noise
    run         folder for config.json, metrics.jsonl, a checkpoint after each epoch, and the
                parameters of the epoch with the best validation bound
    resume      go on from the checkpoint in `run`: on a CPU, bit for bit as if never interrupted
    config      JSON-able description kept with the run, and compared when it is resumed
    callback    callback(record, model) after each epoch
    Raises ValueError or TypeError for bad arguments, FileExistsError if `run` holds a run already,
    NotFiniteError (the last checkpoint is kept), Interrupted (Ctrl-C: saved first), CheckpointError.
    """
    _check_arguments(model, images, valid, epochs, batch_size, binarize, seed)
    if resume and run is None:
        raise ValueError("resume: got no run folder to go on from, expected run=...")
    run = Path(run) if run else None
    settings = dict(config or {}) | {"epochs": epochs, "batch_size": batch_size, "seed": seed, "binarize": binarize}
    json.dumps(settings)                               # raises TypeError now rather than after the first epoch
    device, dtype = model.arena.device, model.arena.value.dtype
    order, noise = np.random.default_rng(seed), device.rng(seed + 1)
    position = Position()
    if run and resume:
        position = restore_run(run, model, settings, order, noise)
    elif run and (run / CHECKPOINT).exists():
        raise FileExistsError(f"{run} holds a run already: resume it, or choose another folder")
    x = device.asarray(images, dtype=dtype)
    v = None if valid is None else device.asarray(valid, dtype=dtype)

    with _CtrlC() as ctrl_c, tqdm(total=epochs * math.ceil(len(x) / batch_size), initial=position.step,
                                  disable=not progress, unit="step", dynamic_ncols=True) as bar:
        while position.epoch < epochs:
            start, order_state = time.perf_counter(), rng_state(order) or {}
            bar.set_description(f"epoch {position.epoch + 1}/{epochs}")
            epoch = _Epoch(model, x, device.asarray(order.permutation(len(x))), batch_size, noise, binarize)
            epoch.run(position, bar, ctrl_c)
            if ctrl_c.pressed:
                if run:
                    save_run(run, model, position, settings, order_state, noise)
                raise Interrupted(f"stopped after step {position.step}"
                                  + (f"; saved in {run}: resume from there" if run else ""))
            record = _finish(position, len(x), _validate(model, v, seed), time.perf_counter() - start)
            if run:                                    # the best first: killed between the two, the epoch is run again
                if record.get("valid_elbo") == max(r.get("valid_elbo", math.inf) for r in position.history):
                    save_parameters(run / BEST, model, settings)
                save_run(run, model, position, settings, rng_state(order) or {}, noise)
            if callback:
                callback(record, model)
    return position.history


class _Epoch:
    """One pass over the images: steps, and every so often a look at whether all is well."""

    def __init__(self, model: Model, x: Array, order: Array, batch_size: int, noise: Generator,
                 binarize: bool) -> None:
        self.model, self.x, self.order, self.batch_size = model, x, order, batch_size
        self.noise, self.binarize = noise, binarize
        self.guard = Guard(model, noise)
        self.pending: list[tuple[int, dict[str, Array]]] = []      # metrics still on the device

    def run(self, position: Position, bar: tqdm, ctrl_c: _CtrlC) -> None:
        for batch in self.batches(position.batch):
            with np.errstate(all="ignore"):            # the guard says it better than NumPy's warnings
                self.pending.append((len(batch), self.model.train_step(batch, self.noise)))
            position.step, position.batch = position.step + 1, position.batch + 1
            bar.update()
            if len(self.pending) == CHECK_EVERY or ctrl_c.pressed:
                self.look(position, bar)
            if ctrl_c.pressed:
                return
        self.look(position, bar)

    def batches(self, first: int) -> Iterator[Array]:
        """Minibatches in the shuffled order, from number `first` on."""
        for start in range(first * self.batch_size, len(self.x), self.batch_size):
            batch = self.x[self.order[start:start + self.batch_size]]
            if self.binarize:
                batch = (self.noise.random(batch.shape, dtype=batch.dtype) < batch).astype(batch.dtype)
            yield batch

    def look(self, position: Position, bar: tqdm) -> None:
        """Bring the metrics to the host and add them up.  Raises NotFiniteError, naming the first cause."""
        metrics = [(n, {name: float(value) for name, value in m.items()}) for n, m in self.pending]
        good = all(math.isfinite(value) for _, m in metrics for value in m.values())
        if not (good and np.isfinite(self.model.arena.value).all()):         # the last step's loss came before its move
            step, batch = position.step - len(metrics), position.batch - len(metrics)
            cause = self.guard.blame(enumerate(self.batches(batch), start=step + 1))
            raise NotFiniteError(f"the loss or a parameter is not finite; {cause}. The last checkpoint is kept. "
                                 "Try a smaller learning rate, or clip the gradient (max_norm)")
        for n, m in metrics:
            for name, value in m.items():
                position.sums[name] = position.sums.get(name, 0.0) + n * value
        if metrics:
            bar.set_postfix(elbo=f"{np.mean([m['elbo'] for _, m in metrics]):.1f} nats")
        self.pending.clear()
        self.guard.remember()


def _finish(position: Position, images: int, valid: Record, seconds: float) -> Record:
    """Close the epoch: its record joins the history."""
    position.epoch, position.batch = position.epoch + 1, 0
    record: Record = {"epoch": position.epoch, "step": position.step}
    record |= {f"train_{name}": total / images for name, total in position.sums.items()}
    record |= valid | {"seconds": round(seconds, 3)}
    position.sums = {}
    position.history.append(record)
    return record


def _validate(model: Model, v: Array | None, seed: int) -> Record:
    """The bound on the validation images, with the same noise after every epoch."""
    if v is None:
        return {}
    bound = evaluate(model, v, seed=seed + 2)
    return {"valid_elbo": bound.elbo.mean, "valid_nll": bound.nll.mean, "valid_kl": bound.kl.mean}


def _check_arguments(model: Any, images: Any, valid: Any, epochs: int, batch_size: int, binarize: bool,
                     seed: int) -> None:
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name}: got {number!r}, expected a whole number of at least 1")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, expected a whole number of at least 0")
    model.check_images(images, "images")
    if binarize and not 0.0 <= float(images.min()) <= float(images.max()) <= 1.0:
        raise ValueError("binarize: images have pixels outside [0, 1], expected probabilities of ink")
    if valid is not None:
        model.check_images(valid, "valid")


class _CtrlC:
    """While inside, Ctrl-C only raises a flag, so that no step is cut in half; a second one interrupts."""

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> _CtrlC:
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self.main:
            signal.signal(signal.SIGINT, self.before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
