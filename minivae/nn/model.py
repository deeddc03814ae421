"""What the training loop, the evaluation, checkpoints and the command line ask of every model, and nothing else.

A model is layers, one or several networks that share them out among optimizers, and a `train_step` that says who hears
which term of the objective.  A small one (tests/models has three, each a file of less than eighty lines):

    class Mine(Model):
        needs = ("x", "y")

        def __init__(self, …, device, dtype=np.float32):
            self.encoder, self.decoder = …
            self.learns(vae=self.parameters(), device=device, dtype=dtype)

        def train_step(self, batch, rng):
            def share(model, rows):                    # these rows: gradients are added, means come back in parts
                …
            return dict(zip(("elbo", "nll", "kl"), self.workers.step(share, len(batch))))

        def terms(self, batch, rng, samples=1):
            …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from minivae.backend import Array, Device, Generator
from minivae.batch import Batch, as_batch
from minivae.nn.arena import Arena
from minivae.nn.layers import Layer
from minivae.nn.network import Network
from minivae.nn.optimizers import Adam, Optimizer
from minivae.nn.parameter import Parameter
from minivae.nn.workers import Workers
from minivae.parallel import Team

Data = Array | Batch                                   # an array alone is x


class Model(Layer):
    """Layers with networks.

    needs         what a batch must have, by name
    pixels_of     which of its arrays are pixels, that may be drawn black and white
    whole_batch   whether a training step looks at all rows of a batch together, so that rows cannot be shared out
    networks      by name, each with an arena and an optimizer of its own
    workers       who share a training step
    """

    needs: tuple[str, ...] = ("x",)
    pixels_of: tuple[str, ...] = ("x",)
    networks: dict[str, Network]
    workers: Workers

    def learns(self, *, device: Device, dtype: type, optimizers: Mapping[str, Optimizer] | None = None,
               rows_each: int | None = None, uses: int = 1, **networks: Mapping[str, Parameter]) -> None:
        """Move the parameters into arenas, one for each named network.

        networks     name=parameters, such as critic=self.critic.parameters("critic.")
        optimizers   by the same names; Adam(1e-3) for those that are not named
        rows_each    how many rows of a batch make another thread worth having; None: as this machine's crossover says
        uses         how often a step takes each row through the networks
        """
        given = optimizers or {}
        if given.keys() - networks.keys():
            raise ValueError(f"optimizers: got {sorted(given)}, expected some of {sorted(networks)}, the networks")
        self.networks = {name: Network(parameters, given.get(name) or Adam(1e-3), device=device, dtype=dtype)
                         for name, parameters in networks.items()}
        self.workers = Workers(self, rows_each=rows_each, uses=uses)

    @property
    def device(self) -> Device:
        """Where all networks live."""
        return next(iter(self.networks.values())).arena.device

    @property
    def dtype(self) -> Any:
        """Of all parameters."""
        return next(iter(self.networks.values())).arena.value.dtype

    @property
    def network(self) -> Network:
        """The only network.  Raises ValueError if there are several."""
        if len(self.networks) > 1:
            raise ValueError(f"{type(self).__name__} has several networks, {', '.join(self.networks)}: say which")
        return next(iter(self.networks.values()))

    @property
    def arena(self) -> Arena:
        """The arena of the only network."""
        return self.network.arena

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the only network."""
        return self.network.optimizer

    # ── what a model writes itself ────────────────────────────────────────────────────────────────

    def still(self) -> AbstractContextManager[None]:
        """Inside, nobody moves a parameter: what is computed from them alone may be computed once."""
        return nullcontext()

    def together(self, copies: Sequence[Any], team: Team) -> AbstractContextManager[None]:
        """Inside, each thread takes some rows of a batch with its copy of the model: what all need, they may share."""
        return nullcontext()

    @property
    def whole_batch(self) -> bool:
        return False

    def check(self, data: Data, name: str = "x") -> None:
        """Raise ValueError or TypeError unless the model can learn from these data.

        Reads every number (and waits for the GPU): once for a data set, never inside a step.
        """
        as_batch(data).require(self.needs, type(self).__name__)

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step on a batch; its mean terms, still on the device: "elbo", the true bound, and any others.

        (Of several processes each returns its part of the means: they add up.)
        """
        raise NotImplementedError(f"{type(self).__name__} must define train_step")

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and kl of every example, (B,) (B,), in nats: −(nll + kl) is a lower bound on log p."""
        raise NotImplementedError(f"{type(self).__name__} must define terms")

    @staticmethod
    def mean_of(drawn: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
        """nll and kl, averaged over draws of both        [(B,) (B,)] × L -> (B,) (B,)"""
        nll, kl = (sum(term[1:], term[0]) / len(drawn) for term in zip(*drawn))
        return nll, kl

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(x, z) − log q(z|x) for K draws of q        -> (K, B)"""
        raise NotImplementedError(f"{type(self).__name__} has no importance weights")

    def elbo(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """A lower bound on log p in nats, (B,)."""
        nll, kl = self.terms(batch, rng, samples)
        return -(nll + kl)
