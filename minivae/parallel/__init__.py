"""The same work on different rows at the same time.

    team             threads of one process
    memory           what is freed stays with the process
    mpi              processes, on one machine or on many, started by mpiexec

Nothing here knows of networks or images: who shares the work of a training step is decided in `nn.workers`.
"""

from minivae.parallel.memory import keep_memory
from minivae.parallel.mpi import ALONE, Processes, ProcessesError, processes
from minivae.parallel.team import SOLO, Team, lent, quiet_blas, shared_out, shares, spare_team

__all__ = [
    "ALONE", "SOLO", "Processes", "ProcessesError", "Team", "keep_memory", "lent", "processes", "quiet_blas",
    "shared_out", "shares", "spare_team",
]
