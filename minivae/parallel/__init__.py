"""The same work on different rows at the same time: threads of one process (team), processes of one machine or many.

Nothing here knows of networks or images; who shares the work of a training step is decided in nn.workers.
"""


from minivae.parallel.mpi import ALONE, Processes, ProcessesError, processes
from minivae.parallel.team import SOLO, Team, quiet_blas, shares

__all__ = [
    "ALONE", "SOLO", "Processes", "ProcessesError", "Team", "processes", "quiet_blas", "shares",
]
