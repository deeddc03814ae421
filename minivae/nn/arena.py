"""The arena: every parameter of a model is a view of one flat vector, every gradient of another.

Optimizers, clipping, checkpoints and whole-model gradient checks are then a few lines over two
vectors (on a GPU, one kernel instead of one per parameter).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minivae.backend import Array, Device, to_numpy
from minivae.nn.parameter import Parameter
from minivae.parallel import SOLO, Team, shares

TILE = 2**18               # numbers: worth a call, and still in the cache when they are moved
LEAST = 2**16              # numbers that are worth a thread, if their gradients are to be made;
MOVED = 2**19              # if they are only to be moved: to wake it takes as long as to move a hundred thousand


class Tile(NamedTuple):
    """Neighbours in the vectors: a few parameters, or some rows of one."""

    here: slice
    parts: list[tuple[Parameter, slice]]

    def make(self) -> None:
        """Make the gradient here: what is owed is multiplied out."""
        for p, rows in self.parts:
            p.make(rows)


class Arena:
    """Two flat vectors, `value` and `grad`, and the parameters that are views of them.

    parameters   name -> Parameter, in the order in which they lie in the vectors
    device       where the vectors live
    dtype        float32 to train, float64 to check gradients
    Raises ValueError if there is no parameter, or one appears under two names.
    """

    def __init__(self, parameters: Mapping[str, Parameter], device: Device, dtype: type = np.float32) -> None:
        if not parameters:
            raise ValueError("Arena: got no parameters")
        if len({id(p) for p in parameters.values()}) < len(parameters):
            raise ValueError("Arena: the same parameter appears under two names")
        flat = np.concatenate([to_numpy(p.value).ravel() for p in parameters.values()])
        self._hold(parameters, device, device.array(flat, dtype=dtype))

    def twin(self, parameters: Mapping[str, Parameter]) -> Arena:
        """An arena for a copy of the network: the same values (in the same memory), gradients of its own."""
        other = object.__new__(Arena)
        other._hold(parameters, self.device, self.value)
        return other

    def _hold(self, parameters: Mapping[str, Parameter], device: Device, value: Array) -> None:
        self.parameters, self.device, self.value = dict(parameters), device, value
        self._grad: Array = device.xp.zeros_like(value)
        self._tiles: dict[int, list[list[Tile]]] = {}
        start = 0
        for p in parameters.values():
            here = slice(start, start + p.value.size)
            p.value, p.grad = value[here].reshape(p.value.shape), self._grad[here].reshape(p.value.shape)
            start = here.stop

    @property
    def grad(self) -> Array:
        """∂loss/∂value, whole: zero where nothing was added since `zero_grad`."""
        self.make()
        return self._grad

    def make(self, team: Team = SOLO) -> None:
        """Make the gradient, each thread its tiles."""
        self.by_tiles(lambda tile: None, team)

    def by_tiles(self, use: Callable[[Tile], None], team: Team) -> None:
        """Each thread makes the gradient of its tiles, one by one, and uses it while it is near."""
        by_tiles([(self, use)], team)

    def tiles(self, threads: int) -> list[list[Tile]]:
        """For each thread (or for fewer) an equal share of the vectors, in tiles of about TILE numbers."""
        threads = min(threads, max(1, self.value.size // LEAST))
        if threads not in self._tiles:
            most = TILE if self.device.name == "cpu" else self.value.size
            self._tiles[threads] = [
                [self._tile(share.start + cut.start, share.start + cut.stop)
                 for cut in shares(share.stop - share.start, max(1, round((share.stop - share.start) / most)))]
                for share in shares(self.value.size, threads)]
        return self._tiles[threads]

    def _tile(self, start: int, stop: int) -> Tile:
        """All rows of parameters that begin in start … stop."""
        parts, here, at = list[tuple[Parameter, slice]](), list[int](), 0
        for p in self.parameters.values():
            columns = p.value.shape[-1] if p.value.ndim else 1
            first, last = (min(max(-(-(end - at) // columns), 0), p.value.size // columns) for end in (start, stop))
            if first < last:
                parts.append((p, slice(first, last)))
                here += [at + first * columns, at + last * columns]
            at += p.value.size
        return Tile(slice(min(here, default=0), max(here, default=0)), parts)

    def zero_grad(self, *, owes: bool = False) -> None:
        """Set every gradient to zero: pullbacks only add.  owes: products wait until a gradient is asked for."""
        for p in self.parameters.values():
            p.zero_grad(owes=owes)

    def owe(self, other: Arena) -> None:
        """grad += other.grad, of a twin, when it is made: until then, nobody may touch the other's."""
        for p, q in zip(self.parameters.values(), other.parameters.values(), strict=True):
            p.owe(q)

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of every parameter on the host, by name."""
        return {name: np.array(to_numpy(p.value)) for name, p in self.parameters.items()}

    def require(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise ValueError unless there is an array of the right shape for every parameter, and no other."""
        missing, unknown = self.parameters.keys() - arrays.keys(), arrays.keys() - self.parameters.keys()
        if missing or unknown:
            raise ValueError(f"parameters do not fit this model: missing {sorted(missing) or 'none'}, "
                             f"unknown {sorted(unknown) or 'none'}")
        for name, p in self.parameters.items():
            if arrays[name].shape != p.value.shape:
                raise ValueError(f"{name}: got shape {arrays[name].shape}, expected {p.value.shape}")

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set every parameter.  Raises ValueError, before anything changes, if names or shapes differ."""
        self.require(arrays)
        for name, p in self.parameters.items():
            p.value[...] = self.device.array(arrays[name], dtype=self.value.dtype)

    def first_not_finite(self) -> str | None:
        """The name of the first parameter, else gradient, that holds a NaN or an infinity."""
        for kind in ("value", "grad"):
            for name, p in self.parameters.items():
                if not np.isfinite(to_numpy(getattr(p, kind))).all():
                    return f"{'parameter' if kind == 'value' else 'gradient of'} {name}"
        return None


def by_tiles(uses: Sequence[tuple[Arena, Callable[[Tile], None]]], team: Team) -> None:
    """Arena.by_tiles of several arenas, one after the other; no thread waits for others between two of them.

    The caller does it alone, if it would take longer to wake others.
    """
    parameters = [p for arena, _ in uses for p in arena.parameters.values()]
    worth = sum(arena.value.size for arena, _ in uses) >= MOVED or any(p.pending for p in parameters)
    shared = [(arena.tiles(team.threads if worth else 1), use) for arena, use in uses]

    def work(i: int) -> None:
        for tiles, use in shared:
            for tile in tiles[i] if i < len(tiles) else []:
                tile.make()
                use(tile)

    team.run(work, max((len(tiles) for tiles, _ in shared), default=1))
    for p in parameters:
        p.made()
