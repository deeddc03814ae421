"""A team of threads: the same work on different rows, at the same time.

NumPy lets other threads run while it computes, so two threads with half a batch each share all of its work, not the
matrix products alone.  Those then use one thread each (`quiet_blas`).  Where a batch is too small for that, the other
threads are lent to the first, for what it can put aside (`lent`).
"""

from __future__ import annotations

import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from minivae.backend import at_least_one

R = TypeVar("R")
PATIENCE = 1e-4            # seconds
MOST = 8                   # threads that share a minibatch of a hundred images before each has too little


@cache
def quiet_blas() -> int:
    """From now on the matrix products of this process use one thread; returns how many they would have used.

    BLAS's own threads spin while they wait for each other, each for one that may have no core: beside another program
    that computes, a training step with two of them takes five to thirty times as long, where twice would be fair.  The
    threads of a team sleep.  (Whoever wants BLAS's threads back: `threadpoolctl.threadpool_limits`.)
    """
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    before = max((blas.num_threads for blas in libraries), default=1)
    for blas in libraries:
        blas.set_num_threads(1)
    return before


def hand_over_soon() -> None:
    """From now on a thread of this process that waits for Python asks for it after a tenth of a millisecond.

    NumPy lets go of Python while it computes, and takes it back for the next call.  Whoever waits is woken when it is
    let go, but is often too late: the other's call was short.  Then it asks, and is given its turn; by default after
    five milliseconds, a whole step.  (Whoever wants these back: `sys.setswitchinterval`.)
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), PATIENCE))


class Team:
    """`threads` threads (the caller is one of them); matrix products use one thread each, in the whole process.

    threads   None: as many as NumPy's matrix products would have used (OMP_NUM_THREADS, else one per core), at most 8
    Raises ValueError for less than one.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None:
            at_least_one(threads=threads)
        self.threads = threads or min(quiet_blas(), MOST)
        if self.threads > 1:
            quiet_blas()
            hand_over_soon()
        self.queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(self.threads - 1)]
        for queue in self.queues:
            threading.Thread(target=_serve, args=(queue,), daemon=True).start()
        weakref.finalize(self, _dismiss, self.queues)

    def run(self, work: Callable[[int], R], n: int | None = None) -> list[R]:
        """[work(0), work(1), …, work(n − 1)], one call per thread; n is at most (and by default) their number.

        The first error, in this order, is raised again.
        """
        queues = self.queues[:self.threads - 1 if n is None else n - 1]
        if not queues:
            return [work(0)]
        finished: SimpleQueue[Any] = SimpleQueue()
        for i, queue in enumerate(queues, start=1):
            queue.put((i, work, finished, contextvars.copy_context()))       # the context carries NumPy's errstate
        answers = [_answer(0, work), *(finished.get() for _ in queues)]
        answers.sort(key=lambda answer: answer[0])
        for _, _, error in answers:
            if error is not None:
                raise error
        return [result for _, result, _ in answers]

    def aside(self, work: Callable[[], R]) -> Callable[[], R]:
        """Begin work() on another thread, after what was begun there before; without one, do it now.

        Returns who waits for its result; there an error is raised again.
        """
        if not self.queues:
            result = work()
            return lambda: result
        finished: SimpleQueue[Any] = SimpleQueue()
        self.queues[0].put((1, lambda i: work(), finished, contextvars.copy_context()))

        def wait() -> R:
            _, result, error = finished.get()
            if error is not None:
                raise error
            return result

        return wait


def shares(n: int, parts: int) -> list[slice]:
    """0 … n cut into contiguous parts whose sizes differ by at most one; some are empty if n < parts."""
    cuts = [n * i // parts for i in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(cuts)]


def _serve(queue: SimpleQueue[Any]) -> None:
    while (job := queue.get()) is not None:
        i, work, finished, context = job
        finished.put(context.run(_answer, i, work))
        del job, work, finished, context              # what they hold is freed now, not when the next job comes


def _answer(i: int, work: Callable[[int], R]) -> tuple[int, R | None, BaseException | None]:
    try:
        return i, work(i), None
    except BaseException as error:
        return i, None, error


def _dismiss(queues: list[SimpleQueue[Any]]) -> None:
    for queue in queues:
        queue.put(None)


SOLO = Team(1)             # the caller alone


class _Lent(threading.local):
    """To each thread of its own."""

    team = SOLO


_lent = _Lent()


@contextmanager
def lent(team: Team) -> Iterator[None]:
    """Inside, the other threads of a team have nothing to do but what this one gives them (`spare_team`)."""
    before, _lent.team = _lent.team, team
    try:
        yield
    finally:
        _lent.team = before


def spare_team() -> Team:
    """This thread, and those that were lent to it: for an op that has something to do aside."""
    return _lent.team


def shared_out(work: Callable[[slice], R], n: int) -> list[R]:
    """work(part) for parts of 0 … n, one for each of these threads, but none empty."""
    team = spare_team()
    parts = shares(n, max(1, min(n, team.threads)))
    return team.run(lambda i: work(parts[i]), len(parts))
