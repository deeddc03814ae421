"""What value and pullback cost: the library's arithmetic for one hidden layer and relu, written out.

No layers, closures, checks or workers: the same NumPy calls in the same order, one under the other.  Adam is the
library's own, for it is no pullback.  tests/bench/test_bench.py holds the two to the same parameters after a few steps;
whoever makes an op quicker makes this quicker too, or the overhead that is reported comes out too small.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np

from minivae.backend import Array
from minivae.bench.rows import Row, Work, batches, build
from minivae.distributions import sum_of_logs
from minivae.ops.products import product


class Inline:
    """The step of 784-hidden-latents, with the library's weights to start from."""

    def __init__(self, row: Row) -> None:
        self.model = build(row)
        layers = [self.model.arena.parameters[f"{name}.{kind}"] for kind in "Wb" for name in (
            "encoder.trunk.0", "encoder.mean", "encoder.logvar", "decoder.0", "decoder.2")]
        self.values, self.grads = [p.value for p in layers], [p.grad for p in layers]

    def gradients(self, x: Array, eps: Array) -> dict[str, Array]:
        """Write the gradient of the mean of −ELBO; return its terms."""
        W1, W2, W3, W4, W5, b1, b2, b3, b4, b5 = self.values
        dW1, dW2, dW3, dW4, dW5, db1, db2, db3, db4, db5 = self.grads
        B = len(x)
        # q(z|x), and a sample of it
        zeros = np.zeros_like(b1)
        h = product(x, W1); h += b1; h = np.maximum(h, zeros)
        mean = product(h, W2); mean += b2
        logvar = product(h, W3); logvar += b3
        noise = np.exp(0.5 * logvar) * eps
        z = mean + noise
        # p(x|z)
        g = product(z, W4); g += b4; g = np.maximum(g, zeros)
        logits = product(g, W5); logits += b5
        nll, dlogits = bernoulli(logits, x, np.full(B, 1.0 / B, x.dtype))
        var = np.exp(logvar)
        kl = 0.5 * (mean * mean + var - logvar - 1.0).sum(axis=-1)
        # and back
        dg = product(dlogits, W5.T); np.matmul(g.T, dlogits, out=dW5); dlogits.sum(axis=0, out=db5)
        dg = dg * (g > 0)
        dz = product(dg, W4.T); np.matmul(z.T, dg, out=dW4); dg.sum(axis=0, out=db4)
        dmean = dz + mean * (1.0 / B)
        dlogvar = 0.5 * noise * dz + 0.5 * (var - 1.0) * (1.0 / B)
        dh = product(dmean, W2.T); np.matmul(h.T, dmean, out=dW2); dmean.sum(axis=0, out=db2)
        dh = dh + product(dlogvar, W3.T); np.matmul(h.T, dlogvar, out=dW3); dlogvar.sum(axis=0, out=db3)
        dh = dh * (h > 0)
        np.matmul(x.T, dh, out=dW1); dh.sum(axis=0, out=db1)
        return {"elbo": -(nll + kl).mean(), "nll": nll.mean(), "kl": kl.mean()}

    def step(self, x: Array, rng: np.random.Generator) -> dict[str, Array]:
        """`model.train_step`, written out."""
        terms = self.gradients(x, rng.standard_normal((len(x), self.model.latents), dtype=x.dtype))
        self.model.optimizer.step(self.model.arena)
        return terms


def bernoulli(logits: Array, x: Array, dnll: Array) -> tuple[Array, Array]:
    """distributions.bernoulli_nll and its pullback in one go: −log p(x), and its gradient"""
    e = np.abs(logits)
    nll = 0.5 * (e @ np.ones_like(e[0])) - ((x - 0.5)[:, None] @ logits[:, :, None])[:, 0, 0]
    np.exp(np.negative(e, out=e), out=e)
    e += 1.0
    nll += sum_of_logs(e)
    dlogits = np.reciprocal(e)
    np.subtract(logits < 0, dlogits, out=dlogits)
    np.abs(dlogits, out=dlogits)
    dlogits -= x
    dlogits *= dnll[:, None]
    return nll, dlogits


def inline(row: Row, threads: int) -> Work:
    """The contender."""
    step, rng, order = Inline(row), np.random.default_rng(0), cycle(batches(row))

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        step.gradients(x, eps[0])
        return {name: p.grad for name, p in step.model.arena.parameters.items()}

    return Work(lambda: step.step(next(order), rng), prove)


CONTENDERS = {"inline": inline}
