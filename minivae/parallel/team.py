"""A team of threads: the same work on different rows, at the same time.

NumPy lets other threads run while it computes.  Where a batch is large, two threads with half of it each beat one
thread whose matrix products alone use both cores: everything between the products is shared too.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

R = TypeVar("R")
MOST = 8                   # threads that share a minibatch of a hundred images before each has too little


class Team:
    """`threads` threads (the caller is one of them), each with one BLAS thread.

    threads   None: as many as NumPy's matrix products would use (OMP_NUM_THREADS, else one per core), at most 8
    Raises ValueError for less than one.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads: got {threads}, expected at least 1")
        self.blas = [] if threads == 1 else ThreadpoolController().select(user_api="blas").lib_controllers
        self.threads = threads or min(max((blas.num_threads for blas in self.blas), default=1), MOST)
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
        before = [blas.num_threads for blas in self.blas]
        for blas in self.blas:
            blas.set_num_threads(1)
        try:
            for i, queue in enumerate(queues, start=1):
                queue.put((i, work, finished, contextvars.copy_context()))   # the context carries NumPy's errstate
            answers = [_answer(0, work), *(finished.get() for _ in queues)]
        finally:
            for blas, threads in zip(self.blas, before):
                blas.set_num_threads(threads)
        answers.sort(key=lambda answer: answer[0])
        for _, _, error in answers:
            if error is not None:
                raise error
        return [result for _, result, _ in answers]


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
