"""A run on disk: its folder, its checkpoints, and the guard that finds the first NaN.

    folder           config, metrics and checkpoint of a run, and what every model offers to be saved
    checkpoint       one file for all of it, whole or not there: safetensors, written beside and renamed
    guard            says which epoch, which part and which number was the first that is not finite

The names of the files are a promise to the runs that people have kept: a change must still read the old ones.
"""

from minivae.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, write_atomically
from minivae.runs.folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    METRICS,
    Model,
    Position,
    load_parameters,
    read_history,
    restore_run,
    save_parameters,
    save_run,
)
from minivae.runs.guard import Guard, NotFiniteError

__all__ = [
    "BEST", "CHECKPOINT", "CONFIG", "METRICS", "CheckpointError", "Guard", "Model", "NotFiniteError", "Position",
    "load_checkpoint", "load_parameters", "read_history", "restore_run", "save_checkpoint", "save_parameters",
    "save_run", "write_atomically",
]
