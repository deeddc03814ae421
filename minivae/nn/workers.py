"""Who shares the work of a training step: threads of this process, and other processes.

The gradient of a sum over examples is the sum of the gradients of its parts.  So in the first half of a step every
worker takes some rows of the batch forwards and backwards through the same network, with gradients of its own.  The
products xᵀ dy that make the weights' gradients are only noted down (`Product`).  In the second half the weights are
shared out instead: each thread makes the gradient of its tiles, of all rows, and moves them while they are near
(`Arena.by_tiles`).  Whatever is added up is added in the same order: the result does not depend on who was first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from minivae.backend import Array, Device, device_of
from minivae.nn.arena import by_tiles
from minivae.nn.network import Network
from minivae.nn.rehearsal import crossover
from minivae.parallel import ALONE, SOLO, Processes, Team, keep_memory, lent, quiet_blas, shares

FEW, MANY = 32, 64         # rows: a product of fewer takes hardly less time; more are worth a thread in any network
WORK = 2**24               # between: rows × weights.  Right on two AVX2 cores; both hold where nothing was measured
AT_ONCE = {"cpu": 250, "cuda": 20_000}         # rows through a network: what a core's cache holds, what fills a GPU
ROW = 2**17                # weights: a row costs as much as so many more, for its pixels' exponentials and logarithms
Share = Callable[[Any, slice], tuple[Array, ...]]


@cache
def _everybody() -> Team:
    return Team()


def team_on(device: Device) -> Team:
    """The threads that all models share: on a CPU as many as NumPy would use; one drives a GPU."""
    return _everybody() if device.name == "cpu" else SOLO


class Workers:
    """The threads that work for a model, each with a copy of its networks, and the processes beside this one.

    A copy shares the values of the parameters; it has its own gradients.

    rows_each   how many rows a thread must have to be worth it; None: by the crossover
    uses        how often a step takes every row through the networks (L draws, say), which makes fewer rows worth it
    crossover   how many rows × weights a thread must have, for handing Python over costs, too; a run keeps it.  None
                until threads are asked to share a batch: then this machine's (`rehearsal`)
    """

    def __init__(self, model: Any, *, rows_each: int | None = None, uses: int = 1) -> None:
        self.model, self.uses = model, uses
        self.rows_each = None if rows_each is None else max(1, rows_each // uses)
        self.crossover: int | None = None
        self.copies = [model]
        self.by_batch = model.learning() is not model      # a layer goes by the whole batch
        self.hire()

    def hire(self, threads: int | None = None, processes: Processes = ALONE) -> None:
        """From now on: so many threads (None: those that all models share), and these processes.

        Several processes call it together: all go by the crossover of rank 0.
        """
        self.team = team_on(self.model.device) if threads is None else Team(threads)
        self.processes = processes
        quiet_blas()                                  # a single thread is one thread, too
        keep_memory()
        if processes.size > 1:
            teams = np.array([float(self.team.threads > 1)])
            processes.sum(teams)
            if teams[0] > 0:
                self.crossover = processes.once(self._crossover)

    def step(self, share: Share, rows: int, names: Sequence[str] | None = None) -> list[Array]:
        """Set the gradients, as below, and let optimizers take a step; return this process's part of the values.

        names   of the networks that move; None: all
        Raises ValueError for a name that is no network's, before anything changes; and for a learning rate that is
        none, before anything moves.
        """
        networks = self.model.networks
        if names is not None and not networks.keys() >= set(names):
            raise ValueError(f"names: got {list(names)}, expected some of {list(networks)}")
        values = self.gradient(as_it_learns(share) if self.by_batch else share, rows)
        moving = [networks[name] for name in (networks if names is None else names)]
        rates = [network.optimizer.rate() for network in moving]
        by_tiles([(network.arena, network.optimizer.begin(network.arena, self.team, lr=lr))
                  for network, lr in zip(moving, rates)], self.team)
        return values

    def gradient(self, share: Share, rows: int) -> list[Array]:
        """Set the networks' gradients to those of a batch of `rows` rows; return this process's part of the values.

        share   share(model, rows) adds the gradients of these rows (a slice) to those of the model's networks, and
                returns their part of the values.  Over all processes the parts add up to the batch's

        What threads share is made when somebody asks for it: an optimizer, another process, `arena.grad`.
        """
        mine = self.processes.rows(rows)
        if self.processes.size > 1 and self.undivided:
            raise ValueError("batch normalisation and gaussian_optimal, and objectives such as free bits look at the "
                             "whole batch: of several processes each sees a part")
        if mine.start == mine.stop:                   # fewer rows than processes: the first row, counted for nothing
            values = [0.0 * value for value in share(self.model, slice(0, 1))]
            self._zero_grad(self.model)
        else:
            values = self._over_threads(share, mine)
        if self.processes.size > 1:
            for network in self.model.networks.values():
                network.arena.make(self.team)
                self.processes.sum(network.arena.grad)
        return values

    def _over_threads(self, share: Share, mine: slice) -> list[Array]:
        copies = self._copies(self._threads(mine))
        parts = [slice(mine.start + part.start, mine.start + part.stop)
                 for part in shares(mine.stop - mine.start, len(copies))]

        def work(i: int) -> tuple[Array, ...]:
            self._zero_grad(copies[i])
            return share(copies[i], parts[i])

        with self.model.together(copies, self.team), lent(self.team if len(copies) == 1 else SOLO):
            values = self.team.run(work, len(copies))
        for other in copies[1:]:
            for name, network in self.model.networks.items():
                network.arena.owe(other.networks[name].arena)
        return [sum(value[1:], value[0]) for value in zip(*values)]

    def _threads(self, mine: slice) -> int:
        if self.undivided or self.team.threads == 1:
            return 1
        return min(self.team.threads, max(1, (mine.stop - mine.start) // self.rows_worth()))

    def rows_worth(self) -> int:
        """How many rows a thread must have to be worth it: fewer, the more numbers each is multiplied by."""
        if self.rows_each is not None:
            return self.rows_each
        self.crossover = self._crossover()
        size = sum(network.arena.value.size for network in self.model.networks.values())
        rows = self.crossover // (size + ROW) if self.crossover else min(MANY, WORK // size)
        return max(1, max(FEW, rows) // self.uses)

    def _crossover(self) -> int:
        return crossover() if self.crossover is None else self.crossover

    @property
    def undivided(self) -> bool:
        """Whether something looks at the whole batch, so that it cannot be shared out."""
        return self.by_batch or self.model.whole_batch

    def _zero_grad(self, model: Any) -> None:
        """Products wait where there is somebody to share them with: to one thread they are nearer now than later."""
        for network in model.networks.values():
            network.arena.zero_grad(owes=self.team.threads > 1)

    def _copies(self, n: int) -> list[Any]:
        while len(self.copies) < n:
            self.copies.append(self._copy())
        return self.copies[:n]

    def _copy(self) -> Any:
        """The model again: its values are the model's own memory, its gradients are not."""
        networks: dict[str, Network] = self.model.networks
        known: dict[int, Any] = {id(p.value): p.value for network in networks.values()
                                 for p in network.arena.parameters.values()}
        known |= {id(self): None, id(networks): {}}
        other = copy.deepcopy(self.model, known)                     # known holds the copy of everything from now on
        other.networks = {name: network.twin({key: known[id(p)] for key, p in network.arena.parameters.items()})
                          for name, network in networks.items()}
        return other


def as_it_learns(share: Share) -> Share:
    """share of a model whose layers that learn from a whole batch do so."""
    return lambda model, rows: share(model.learning(), rows)


class Crew:
    """The workers of a model that is made of models: whoever is hired works for all of these."""

    def __init__(self, *each: Workers) -> None:
        self.each = each

    def hire(self, threads: int | None = None, processes: Processes = ALONE) -> None:
        """As Workers.hire: the same threads for all."""
        self.each[0].hire(threads, processes)
        for workers in self.each[1:]:
            workers.team, workers.processes, workers.crossover = self.team, processes, self.each[0].crossover

    @property
    def team(self) -> Team:
        return self.each[0].team

    @property
    def crossover(self) -> int | None:
        return next((workers.crossover for workers in self.each if workers.crossover is not None), None)

    @crossover.setter
    def crossover(self, crossover: int | None) -> None:
        for workers in self.each:
            workers.crossover = crossover

    @property
    def processes(self) -> Processes:
        return self.each[0].processes

    @processes.setter
    def processes(self, processes: Processes) -> None:
        for workers in self.each:
            workers.processes = processes


def by_rows(function: Callable[[Array], Array], x: Array, *, shape: tuple[int, ...] = (), team: Team = SOLO,
            multiple: int = 1, out: Array | None = None) -> Array:
    """function(x), some rows at a time: what lies between stays in the cache, and the threads take parts in turn.

    (N, …) -> (N, *shape)        multiple   how many rows belong together: B, if draws of B examples lie side by side
                                 out        where it is written; a new array of x's dtype if None
    Raises ValueError for an `out` of another shape, dtype or device.
    """
    due = (len(x), *shape)
    if out is not None and (out.shape, out.dtype, device_of(out)) != (due, x.dtype, device_of(x)):
        raise ValueError(f"out: got shape {out.shape}, {out.dtype}, on {device_of(out).name}, "
                         f"expected {due}, {x.dtype}, on {device_of(x).name}")
    most = AT_ONCE["cpu" if isinstance(x, np.ndarray) else "cuda"]
    if out is None and len(x) <= most:
        return function(x)
    each = max(1, most // multiple) * multiple
    y, starts = np.empty_like(x, shape=due) if out is None else out, range(0, len(x), each)

    def work(i: int) -> None:
        for start in starts[i::team.threads]:
            y[start:start + each] = function(x[start:start + each])

    team.run(work)
    return y
