"""A run on disk, and what watches over it.

    checkpoint       named arrays and JSON in one file: whole or not at all
    folder           config, metrics and checkpoints of a run, of models with any number of networks
    guard            finds the first thing that is not finite

Whatever is written is written under a temporary name and renamed: nothing is ever half there.
"""

from minivae.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, write_atomically
from minivae.runs.folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    METRICS,
    Position,
    free_folder,
    load_parameters,
    read_history,
    restore_run,
    save_parameters,
    save_run,
)
from minivae.runs.guard import Guard, NotFiniteError, finite

__all__ = [
    "BEST", "CHECKPOINT", "CONFIG", "METRICS", "CheckpointError", "Guard", "NotFiniteError", "Position", "finite",
    "free_folder", "load_checkpoint", "load_parameters", "read_history", "restore_run", "save_checkpoint",
    "save_parameters", "save_run", "write_atomically",
]
