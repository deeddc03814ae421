"""A run folder: config.json, metrics.jsonl and checkpoint.safetensors, each whole or not at all.

The checkpoint holds everything that decides how training goes on: parameters, optimizer moments,
the place in the epoch and the state of both random generators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minivae.backend import Array, Generator, rng_state
from minivae.nn import Arena, Optimizer
from minivae.parallel import ALONE, Processes
from minivae.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, write_atomically

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
CONFIG, METRICS = "config.json", "metrics.jsonl"


class Model(Protocol):
    """What the loop, the evaluation and the checkpoints ask of every model."""

    arena: Arena
    optimizer: Optimizer
    workers: Any               # who share a training step

    def check_images(self, x: Any, name: str = "x") -> None: ...
    def train_step(self, x: Array, rng: Generator) -> dict[str, Array]: ...
    def terms(self, x: Array, rng: Generator, samples: int = 1) -> tuple[Array, Array]: ...
    def log_weights(self, x: Array, rng: Generator, samples: int = 1) -> Array: ...
    def encode(self, x: Array) -> tuple[Array, Array]: ...


@dataclass
class Position:
    """Where training stands."""

    epoch: int = 0                 # epochs finished
    batch: int = 0                 # batches of the next epoch already seen
    step: int = 0                  # steps taken in all
    sums: dict[str, float] = field(default_factory=dict)           # of the unfinished epoch, over its images
    history: list[dict[str, Any]] = field(default_factory=list)    # one record per finished epoch


def save_run(folder: Path, model: Model, position: Position, config: Mapping[str, Any],
             order_state: dict[str, Any], noise: Generator) -> None:
    """Write the three files of a run.  `order_state` is the shuffling generator's at the start of the epoch."""
    arrays = {f"parameter/{name}": a for name, a in model.arena.arrays().items()}
    arrays |= {f"optimizer/{name}": a for name, a in model.optimizer.arrays().items()}
    save_checkpoint(folder / CHECKPOINT, arrays, {
        "format": 1, "config": dict(config), "position": asdict(position),
        "optimizer": {"name": type(model.optimizer).__name__, "steps": model.optimizer.steps},
        "order_state": order_state, "noise_state": rng_state(noise)})
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    write_text(folder / METRICS, "".join(json.dumps(record) + "\n" for record in position.history))


def save_parameters(path: Path, model: Model, config: Mapping[str, Any]) -> None:
    """Write the parameters alone: enough to use the model, not to train on."""
    arrays = {f"parameter/{name}": a for name, a in model.arena.arrays().items()}
    save_checkpoint(path, arrays, {"format": 1, "config": dict(config)})


def restore_run(folder: Path, model: Model, config: Mapping[str, Any], order: Generator,
                noise: Generator, group: Processes = ALONE) -> Position:
    """Set model, optimizer and generators to what the checkpoint holds; return where training stands.

    Rank 0 alone reads the file, for all.

    Raises CheckpointError, before anything changes, if it was made by another model, optimizer or config.
    """
    path = folder / CHECKPOINT
    arrays, metadata = group.once(lambda: load_checkpoint(path))
    if not metadata.keys() >= {"config", "optimizer", "position", "order_state", "noise_state"}:
        raise CheckpointError(f"{path} holds parameters alone (as {BEST} does): enough to use, not to train on")
    saved, name = metadata["config"], type(model.optimizer).__name__
    for key in saved:                                             # which may be older than a setting of today
        if key != "epochs" and _plain(config.get(key)) != saved.get(key):
            raise CheckpointError(f"{path} was made with {key} = {saved.get(key)!r}, "
                                  f"this run has {key} = {config.get(key)!r}")
    if metadata["optimizer"]["name"] != name:
        raise CheckpointError(f"{path} was made with {metadata['optimizer']['name']}, this run uses {name}")
    load_parameters(path, model.arena, arrays)
    moments = {key.removeprefix("optimizer/"): a for key, a in arrays.items() if key.startswith("optimizer/")}
    model.optimizer.load(moments, metadata["optimizer"]["steps"], model.arena)
    order.bit_generator.state = metadata["order_state"]
    if metadata["noise_state"] is not None and isinstance(noise, np.random.Generator):
        noise.bit_generator.state = metadata["noise_state"]
    return Position(**metadata["position"])


def load_parameters(path: Path, arena: Arena, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Set a model's parameters from a checkpoint.  Raises CheckpointError if they are another model's."""
    arrays = load_checkpoint(path)[0] if arrays is None else arrays
    try:
        arena.load({key.removeprefix("parameter/"): a for key, a in arrays.items() if key.startswith("parameter/")})
    except ValueError as error:
        raise CheckpointError(f"{path} holds another model: {error}") from error


def read_history(folder: Path) -> list[dict[str, Any]]:
    """One record per finished epoch.  Raises CheckpointError if the folder holds no run."""
    try:
        return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a run folder: cannot read {folder / METRICS} ({error})") from error


def write_text(path: Path, text: str) -> None:
    """Write it, or leave what was there.  Raises CheckpointError."""
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise CheckpointError(f"cannot save {path}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    """As JSON would give it back: tuples become lists."""
    return json.loads(json.dumps(value))
