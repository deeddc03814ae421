"""Processes that train one model together, each on its rows of every batch: started by mpiexec.

    mpiexec -n 4 python -m minivae train

Every process runs the same program from the same seeds, on one machine or on many, and knows only its number (its
rank) and how many there are.  All hold the same parameters and draw the same batches and the same noise; each takes
its rows; one sum of the gradients over all ranks (an all-reduce) makes every step the step of the whole batch.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from minivae.backend import Array, array_module
from minivae.parallel.team import quiet_blas, shares

T = TypeVar("T")
PATIENCE = 3.0             # seconds that an error waits for the other ranks to make it too
STARTERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")    # how many mpiexec or srun started


class ProcessesError(RuntimeError):
    """The processes that were started cannot work together."""


class Processes:
    """One process alone.

    rank, size   this process's number, and how many there are
    here         how many of them share this machine
    threads      that each of these may use, so that they do not fight for the cores; None: no need to share
    """

    rank, size, here = 0, 1, 1
    threads: int | None = None

    def rows(self, n: int) -> slice:
        """This rank's rows of a batch of `n`: none if there are fewer rows than ranks."""
        return shares(n, self.size)[self.rank]

    def sum(self, array: Array) -> None:
        """array ← Σ over ranks, on every rank.  All ranks must call it, in the same order."""

    def once(self, act: Callable[[], T]) -> T:
        """act() on rank 0, while the others wait: all get what it returns, or raise what it raises."""
        return act()

    def leave(self, text: str, code: int) -> int:
        """Tell an error, once; return the exit code."""
        if text:
            sys.stderr.write(text + "\n")             # in one piece: several ranks may write
        return code


ALONE = Processes()


class Joined(Processes):
    """The processes of an MPI communicator."""

    def __init__(self, MPI: Any) -> None:
        self.MPI, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        neighbours = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.here, self.local_rank = neighbours.size, neighbours.rank
        self.threads = min(quiet_blas(), max((os.cpu_count() or 1) // self.here, 1))
        self.exit = self.comm.Dup()                   # who waits at the exit is not mistaken for one who sums
        self.nccl: Any = None

    def sum(self, array: Array) -> None:
        if array_module(array).__name__ == "numpy":
            self.comm.Allreduce(self.MPI.IN_PLACE, array)
        else:
            self._sum_on_gpu(array)

    def once(self, act: Callable[[], T]) -> T:
        answer, error = None, None
        if self.rank == 0:
            try:
                answer = act()
            except (Exception, SystemExit) as e:
                error = e
        self._meet(self.comm)
        answer, error = self.comm.bcast((answer, error))
        if error is not None:
            raise error
        return answer

    def leave(self, text: str, code: int) -> int:
        """An error that all ranks made is told once, by rank 0.  One that others did not make ends them."""
        if self._meet(self.exit, PATIENCE):
            return super().leave(text, code) if self.rank == 0 else code
        sys.stderr.write(f"rank {self.rank} of {self.size}: {text}\n")
        sys.stderr.flush()
        time.sleep(0.5)                               # for mpiexec to pass it on: what it has not read is lost
        self.comm.Abort(code)                         # the others wait for this rank, in a sum that never comes
        return code

    def _meet(self, comm: Any, patience: float = float("inf")) -> bool:
        """Wait for all ranks, asleep (MPI's own waiting keeps a core busy).  False if some do not come in time."""
        barrier, latest = comm.Ibarrier(), time.monotonic() + patience
        while not barrier.Test():
            if time.monotonic() > latest:
                return False
            time.sleep(0.001)
        return True

    def _sum_on_gpu(self, array: Any) -> None:
        """The same sum by NCCL, between GPUs.  UNVERIFIED: it has never run, for want of two GPUs."""
        cuda: Any = array_module(array).cuda
        if not getattr(cuda.nccl, "available", False):
            raise ProcessesError("several processes on GPUs need NCCL, which this CuPy does not find: "
                                 'python -m pip install nvidia-nccl-cu12 (or -cu13), or use device "cpu"')
        if self.nccl is None:
            key = self.comm.bcast(cuda.nccl.get_unique_id() if self.rank == 0 else None)
            self.nccl = cuda.nccl.NcclCommunicator(self.size, key, self.rank)
        kind = {"float32": cuda.nccl.NCCL_FLOAT32, "float64": cuda.nccl.NCCL_FLOAT64}[array.dtype.name]
        self.nccl.allReduce(array.data.ptr, array.data.ptr, array.size, kind, cuda.nccl.NCCL_SUM,
                            cuda.get_current_stream().ptr)


@cache
def processes() -> Processes:
    """The processes that mpiexec (or srun) started with this one, or this one alone.

    Raises ProcessesError if there are several, but MPI cannot join them.
    """
    started = next((int(os.environ[name]) for name in STARTERS if name in os.environ), None)
    if started == 1 or (started is None and "PMIX_RANK" not in os.environ):
        return ALONE
    try:
        MPI = importlib.import_module("mpi4py.MPI")                                  # joins, on import
    except (ImportError, RuntimeError) as error:
        raise ProcessesError(f"{started or 'several'} processes were started, and need mpi4py to work together: "
                             f'python -m pip install "minivae[mpi]" mpich ({error})') from error
    if started and MPI.COMM_WORLD.size != started:
        raise ProcessesError(f"{started} processes were started, but mpi4py's MPI ({MPI.get_vendor()[0]}) sees "
                             f"{MPI.COMM_WORLD.size}: use the mpiexec of the MPI that mpi4py loads")
    group = Joined(MPI)
    _take_gpu(group.local_rank)
    sys.excepthook = lambda kind, error, trace: _end(group, error)
    return group


def _end(group: Processes, error: BaseException) -> None:
    """An error that nobody caught: without this, the other ranks would wait for ever."""
    group.leave("".join(traceback.format_exception(error)).rstrip(), 1)


def _take_gpu(number: int) -> None:
    """Each process of a machine sees one GPU, its own.  Only before CuPy has looked for one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number)] if visible is None else visible.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
