"""Our own contenders: the library, and the matrix products of its step alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, pairwise
from time import perf_counter

import numpy as np

from minivae.backend import Array
from minivae.bench import systems
from minivae.bench.rows import GivenNoise, Row, Work, batches, build, images, proof_inputs
from minivae.distributions import bernoulli_sample
from minivae.evaluation import importance_weighted_bound
from minivae.parallel import SOLO, Team, shares
from minivae.vae import VAE


def prepare(model: VAE, threads: int) -> VAE:
    """The model, told to use so many threads: the one place here that knows how that is done."""
    model.workers.hire(threads)
    return model


def minivae(row: Row, threads: int) -> Work:
    """The library as its users call it; the contest tells each process whether Numba may help (MINIVAE_FAST)."""
    if row.kind in systems.KINDS:
        return systems.minivae(row, threads)
    model, rng = prepare(build(row), threads), np.random.default_rng(0)
    if row.kind == "decode":
        z = proof_inputs(row)[1]
        return Work(lambda: model.decode(z), lambda x, z: {"probabilities": model.decode(z)})
    if row.kind == "nll":
        x = images()[:row.batch]
        importance_weighted_bound(model, x[:1], samples=1)

        def log_weights(x: Array, eps: Array) -> dict[str, Array]:
            return {"log weights": model.log_weights(x, GivenNoise(eps), len(eps))}    # type: ignore[arg-type]

        return Work(lambda: importance_weighted_bound(model, x, samples=row.samples), log_weights)

    order = cycle(batches(row))

    def step() -> None:
        x = next(order)
        model.train_step(bernoulli_sample(x, rng=rng) if row.binarize else x, rng)

    def gradients(x: Array, eps: Array) -> dict[str, Array]:
        fresh = prepare(build(row), threads)
        fresh.train_step(x, GivenNoise(eps))                                           # type: ignore[arg-type]
        return {name: p.grad for name, p in fresh.arena.parameters.items()}

    return Work(step, gradients)


def product_shapes(row: Row) -> list[tuple[int, int, int, bool]]:
    """(M, I, O, need_dx) of every affine layer: y = x W is (M, I) (I, O); a convolution's M are its patches"""
    B, Z = row.batch, row.latents
    if row.hidden:
        trunk, tail = list(pairwise((784, *row.hidden))), list(pairwise((Z, *row.hidden[::-1], 784)))
        return [(B, *trunk[0], False), *((B, *pair, True) for pair in trunk[1:]),
                *2 * [(B, row.hidden[-1], Z, True)], *((B, *pair, True) for pair in tail)]
    return [(B * 196, 16, 32, False), (B * 49, 512, 64, True), (B, 3136, 256, True), *2 * [(B, 256, Z, True)],
            (B, Z, 256, True), (B, 256, 3136, True), (B * 49, 64, 512, True), (B * 196, 32, 16, True)]


def products(row: Row, threads: int) -> Work:
    """The step's matrix products alone, into arrays that exist: nothing that makes this step can be quicker.

    With BLAS's own threads, or with a team of Python threads with one BLAS thread each: the quicker.
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32)

    layers = [(normal(M, I), normal(I, O), normal(M, O), need_dx) for M, I, O, need_dx in product_shapes(row)]
    rooms = [(np.empty_like(dy), np.empty_like(x), np.empty_like(W)) for x, W, dy, _ in layers]

    def multiply(team: Team) -> None:
        def rows_of(member: int) -> None:              # forward and dx: each member its rows of the batch
            for (x, W, dy, need_dx), (y, dx, _) in zip(layers, rooms):
                here = shares(len(x), team.threads)[member]
                np.matmul(x[here], W, out=y[here])
                if need_dx:
                    np.matmul(dy[here], W.T, out=dx[here])

        def weights_of(member: int) -> None:           # dW: each member its rows of dW
            for (x, _, dy, _), (_, _, dW) in zip(layers, rooms):
                here = shares(len(dW), team.threads)[member]
                np.matmul(x[:, here].T, dy, out=dW[here])

        team.run(rows_of)
        team.run(weights_of)

    teams = {f"{threads} BLAS threads": SOLO}
    if threads > 1:
        teams[f"a team of {threads} threads"] = Team(threads)
    quickest = min(teams, key=lambda name: _seconds(lambda: multiply(teams[name])))
    return Work(lambda: multiply(teams[quickest]), lambda x, eps: {}, about={"products": quickest})


def _seconds(work: Callable[[], None], times: int = 7) -> float:
    """The median of a few calls, after a few that warm."""
    seconds = []
    for _ in range(2 * times):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return sorted(seconds[times:])[times // 2]


CONTENDERS: dict[str, Callable[[Row, int], Work]] = {"minivae": minivae, "minivae_fast": minivae, "products": products}
