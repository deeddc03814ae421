"""A run folder: config.json, metrics.jsonl and checkpoint.safetensors, each whole or not at all.

The checkpoint holds everything that decides how training goes on: of every network its parameters and its optimizer's
moments, the place in the epoch, the state of both random generators, and the crossover by which threads shared a batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import Generator, rng_state
from minivae.nn import UNMEASURED, Model
from minivae.parallel import ALONE, Processes
from minivae.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, write_atomically

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
CONFIG, METRICS = "config.json", "metrics.jsonl"
FORMAT = 2                 # of checkpoints: networks by name


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
    arrays = {f"{key}/{name}": a for key, network in model.networks.items() for name, a in network.arrays().items()}
    networks = {key: {"optimizer": type(network.optimizer).__name__, "steps": network.optimizer.steps}
                for key, network in model.networks.items()}
    save_checkpoint(folder / CHECKPOINT, arrays, {
        "format": FORMAT, "config": dict(config), "position": asdict(position), "networks": networks,
        "order_state": order_state, "noise_state": rng_state(noise), "crossover": model.workers.crossover})
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    write_text(folder / METRICS, "".join(json.dumps(record) + "\n" for record in position.history))


def save_parameters(path: Path, model: Model, config: Mapping[str, Any]) -> None:
    """Write the parameters alone: enough to use the model, not to train on."""
    arrays = {f"{key}/parameter/{name}": a for key, network in model.networks.items()
              for name, a in network.arena.arrays().items()}
    networks = {key: {"steps": network.optimizer.steps} for key, network in model.networks.items()}
    save_checkpoint(path, arrays, {"format": FORMAT, "config": dict(config), "networks": networks})


def restore_run(folder: Path, model: Model, config: Mapping[str, Any], order: Generator,
                noise: Generator, group: Processes = ALONE) -> Position:
    """Set networks, optimizers and generators to what the checkpoint holds; return where training stands.

    Rank 0 alone reads the file, for all.

    Raises CheckpointError, before anything changes, if it was made by another model, optimizer or config.
    """
    path = folder / CHECKPOINT
    arrays, metadata = group.once(lambda: _read(path, model))
    if not metadata.keys() >= {"config", "networks", "position", "order_state", "noise_state"}:
        raise CheckpointError(f"{path} holds parameters alone (as {BEST} does): enough to use, not to train on")
    saved = metadata["config"]
    for key in saved:                                             # which may be older than a setting of today
        if key != "epochs" and _plain(config.get(key)) != saved.get(key):
            raise CheckpointError(f"{path} was made with {key} = {saved.get(key)!r}, "
                                  f"this run has {key} = {config.get(key)!r}")
    _require(path, model, arrays, metadata["networks"])
    for key, network in model.networks.items():
        network.arena.load(_below(f"{key}/parameter/", arrays))
        network.optimizer.load(_below(f"{key}/optimizer/", arrays), metadata["networks"][key]["steps"], network.arena)
    order.bit_generator.state = metadata["order_state"]
    if metadata["noise_state"] is not None and isinstance(noise, np.random.Generator):
        noise.bit_generator.state = metadata["noise_state"]
    model.workers.crossover = metadata.get("crossover", UNMEASURED)          # older runs were shared out so
    return Position(**metadata["position"])


def load_parameters(path: Path, model: Model) -> None:
    """Set a model's parameters from a checkpoint, and how many steps made them: which of its networks have learned.

    Raises CheckpointError if they are another model's.
    """
    arrays, metadata = _read(path, model)
    _require(path, model, arrays, {})
    made = metadata.get("networks", {})                           # the best epoch's file did not always say it
    for key, network in model.networks.items():
        network.arena.load(_below(f"{key}/parameter/", arrays))
        network.optimizer.steps = made.get(key, {}).get("steps", 0)


def _read(path: Path, model: Model) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A checkpoint as today's are: those of format 1 knew one network, and did not name it."""
    arrays, metadata = load_checkpoint(path)
    if metadata.get("format") not in (1, FORMAT):
        raise CheckpointError(f"{path} has format {metadata.get('format')!r}, this version of minivae knows 1 "
                              f"and {FORMAT}")
    if metadata["format"] == 1 and len(model.networks) == 1:
        (key,) = model.networks
        arrays = {f"{key}/{name}": a for name, a in arrays.items()}
        if "optimizer" in metadata:
            made = metadata.pop("optimizer")
            metadata["networks"] = {key: {"optimizer": made["name"], "steps": made["steps"]}}
    return arrays, metadata


def _require(path: Path, model: Model, arrays: Mapping[str, np.ndarray], made: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless all fits: networks, parameters and, as far as they are told, optimizers."""
    try:
        theirs = {name.partition("/")[0] for name in arrays}
        if theirs != model.networks.keys():
            raise ValueError(f"it has the networks {sorted(theirs)}, expected {sorted(model.networks)}")
        for key, network in model.networks.items():
            network.arena.require(_below(f"{key}/parameter/", arrays))
    except ValueError as error:
        raise CheckpointError(f"{path} holds another model: {error}") from error
    for key, how in made.items():
        optimizer = model.networks[key].optimizer
        if how["optimizer"] != type(optimizer).__name__:
            raise CheckpointError(f"{path} was made with {how['optimizer']}, this run uses {type(optimizer).__name__}")
        optimizer.require(_below(f"{key}/optimizer/", arrays), model.networks[key].arena)


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names start so, by what follows."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def read_history(folder: Path) -> list[dict[str, Any]]:
    """One record per finished epoch.  Raises CheckpointError if the folder holds no run."""
    try:
        return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a run folder: cannot read {folder / METRICS} ({error})") from error


def free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, … that is missing or empty: nothing is overwritten."""
    number, folder = 1, wanted
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def write_text(path: Path, text: str) -> None:
    """Write it, or leave what was there.  Raises CheckpointError."""
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise CheckpointError(f"cannot save {path}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    """As JSON would give it back: tuples become lists."""
    return json.loads(json.dumps(value))
