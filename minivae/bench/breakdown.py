"""Where our own step spends its time, on one thread, where times add.

Method.  The model's layers, likelihood, optimizer and generator are wrapped in clocks and the step is taken as
always.  The matrix products are then made alone, on the same shapes (`ours.products`).  So

    matrix products   measured alone
    elementwise       layers and likelihood by their clocks, less the products: biases, activations, sums,
                      patches gathered and laid down, gradients added
    random numbers    the generator's clock
    optimizer         its clock
    rest              the step without any clock, less all of these: Python, and the operations on latents

The first four are measured, and the rest is what is missing, so it has a check of its own: `python`, the same step
of a model of the same make with one image, one pixel and one unit a layer, where there is next to nothing to compute.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import cycle
from time import perf_counter
from typing import Any

import numpy as np

from minivae.bench.ours import prepare, products
from minivae.bench.rows import Row, batches, build
from minivae.distributions import bernoulli_sample
from minivae.nn import Layer, Sequential
from minivae.vae import VAE
from minivae.variants import ConvVAEConfig, VAEConfig

ROUNDS = 15


class Clock:
    """Seconds spent inside what it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, f: Callable[..., Any], pulls: bool = False) -> Callable[..., Any]:
        """f, timed; with `pulls` the pullback that it returns beside its value is timed too."""
        def timed(*args: Any, **options: Any) -> Any:
            start = perf_counter()
            result = f(*args, **options)
            self.seconds += perf_counter() - start
            return (result[0], self.around(result[1])) if pulls else result

        return timed

    def read(self) -> float:
        """The seconds so far; starts again at zero."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


class Clocked(Layer):
    """A layer with a clock around it and its pullback."""

    def __init__(self, layer: Any, clock: Clock) -> None:
        self.timed = clock.around(layer, pulls=True)
        self.clocked = layer                           # here its parameters are found
        self.scaled = getattr(layer, "scaled", None)   # a likelihood's, for data in units of their own

    def __call__(self, *inputs: Any, **constants: Any) -> Any:
        return self.timed(*inputs, **constants)


class ClockedGenerator:
    """A generator with a clock around the draws that a step makes."""

    def __init__(self, rng: np.random.Generator, clock: Clock) -> None:
        self.plain, self.standard_normal = rng, clock.around(rng.standard_normal)


def clocked(model: VAE, layers: Clock, optimizer: Clock) -> VAE:
    """The model with clocks around every layer, the likelihood and the optimizer."""
    encoder: Any = model.encoder
    for part in (encoder.trunk, model.decoder):
        assert isinstance(part, Sequential)
        part.layers = tuple(Clocked(layer, layers) for layer in part.layers)
    encoder.mean, encoder.logvar = Clocked(encoder.mean, layers), Clocked(encoder.logvar, layers)
    model.likelihood = Clocked(model.likelihood, layers)                       # type: ignore[assignment]
    model.optimizer.update = optimizer.around(model.optimizer.update)          # type: ignore[method-assign]
    return model


def breakdown(row: Row) -> dict[str, float]:
    """Milliseconds per step of each piece, of the whole, and of the same step with nothing to compute."""
    layers, optimizer, random = Clock(), Clock(), Clock()
    plain, watched = prepare(build(row), 1), clocked(prepare(build(row), 1), layers, optimizer)
    rng = np.random.default_rng(0)
    watching: Any = ClockedGenerator(rng, random)
    tiny, alone, order = _tiny(row), products(row, 1), cycle(batches(row))
    one = np.ones((1, tiny.pixels), np.float32)

    def step(model: VAE, x: np.ndarray, rng: Any) -> None:
        model.train_step(_binarized(x, rng, random) if row.binarize else x, rng)

    times: dict[str, list[float]] = {}
    for turn in range(-2, ROUNDS):                      # the first two rounds warm
        measured = {"whole": _seconds(lambda: step(plain, next(order), rng), row.steps)}
        for clock in (layers, optimizer, random):
            clock.read()
        _seconds(lambda: step(watched, next(order), watching), row.steps)
        measured |= {"layers": layers.read(), "optimizer": optimizer.read(), "random numbers": random.read()}
        measured["matrix products"] = _seconds(alone.step, row.steps)
        measured["python"] = _seconds(lambda: step(tiny, one, rng), row.steps)
        if turn >= 0:
            for name, seconds in measured.items():
                times.setdefault(name, []).append(1e3 * seconds / row.steps)
    ms = {name: statistics.median(t) for name, t in times.items()}
    pieces = {"matrix products": ms["matrix products"], "elementwise": ms["layers"] - ms["matrix products"],
              "random numbers": ms["random numbers"], "optimizer": ms["optimizer"]}
    return {**pieces, "rest": ms["whole"] - sum(pieces.values()), "whole": ms["whole"], "python": ms["python"]}


def _tiny(row: Row) -> VAE:
    """A model of the same make in which every size is one (a convolutional one: the smallest picture)."""
    if row.hidden:
        return prepare(VAEConfig(1, (1,) * len(row.hidden), 1, row.activation).build(), 1)
    return prepare(ConvVAEConfig(height=4, width=4, filters=(1, 1), dense=1, latents=1).build(), 1)


def _binarized(x: np.ndarray, rng: Any, clock: Clock) -> np.ndarray:
    """Draws and comparison together are what a binarized batch costs."""
    if isinstance(rng, ClockedGenerator):
        return clock.around(bernoulli_sample)(x, rng=rng.plain)
    return bernoulli_sample(x, rng=rng)


def _seconds(work: Callable[[], Any], times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        work()
    return perf_counter() - start
