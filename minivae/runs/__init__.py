"""A run on disk: its folder, its checkpoints, and the guard that finds the first NaN.

Whatever is written is written under a temporary name and renamed: nothing is ever half there.
"""


from minivae.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, write_atomically
from minivae.runs.folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    METRICS,
    Position,
    load_parameters,
    read_history,
    restore_run,
    save_parameters,
    save_run,
)
from minivae.runs.guard import Guard, NotFiniteError, finite

__all__ = [
    "BEST", "CHECKPOINT", "CONFIG", "METRICS", "CheckpointError", "Guard", "NotFiniteError", "Position", "finite",
    "load_checkpoint", "load_parameters", "read_history", "restore_run", "save_checkpoint", "save_parameters",
    "save_run", "write_atomically",
]
