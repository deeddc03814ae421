"""JAX's side: the whole step, noise and hand-written Adam with it, under one jit whose buffers are donated."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from minivae.backend import Array
from minivae.bench.rows import LEARNING_RATE, Row, Work, batches, build, images, proof_inputs

ROWS = 2000            # images × samples at once in the NLL
Parameters = dict[str, Any]


def network(row: Row) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """encode(p, x) -> mean, logvar and decode(p, z) -> logits, over the library's parameters by name."""
    f, depth = getattr(jax.nn, row.activation), len(row.hidden)

    def linear(p: Parameters, name: str, x: Any) -> Any:
        return x @ p[f"{name}.W"] + p[f"{name}.b"]

    def heads(p: Parameters, h: Any) -> Any:
        return linear(p, "encoder.mean", h), linear(p, "encoder.logvar", h)

    def encode(p: Parameters, x: Any) -> Any:
        for i in range(depth):
            x = f(linear(p, f"encoder.trunk.{2 * i}", x))
        return heads(p, x)

    def decode(p: Parameters, z: Any) -> Any:
        for i in range(depth):
            z = f(linear(p, f"decoder.{2 * i}", z))
        return linear(p, f"decoder.{2 * depth}", z)

    # the convolutional one: its parameters in the order in which they are listed
    def values(p: Parameters, part: str) -> list[Any]:
        return [value for name, value in p.items() if name.startswith(part)]

    layout = ("NHWC", "HWIO", "NHWC")

    def conv_encode(p: Parameters, x: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = values(p, "encoder.trunk")
        h = x.reshape(-1, 28, 28, 1)
        for W, b in ((W1, b1), (W2, b2)):
            h = f(lax.conv_general_dilated(h, W, (2, 2), [(1, 1), (1, 1)], dimension_numbers=layout) + b)
        return heads(p, f(h.reshape(len(h), -1) @ W3 + b3))

    def conv_decode(p: Parameters, z: Any) -> Any:
        W1, b1, W2, b2, W3, b3, W4, b4 = values(p, "decoder")
        h = f(f(z @ W1 + b1) @ W2 + b2).reshape(-1, 7, 7, 64)
        for W, b, last in ((W3, b3, False), (W4, b4, True)):          # the adjoint of a stride-2 convolution with W
            flipped = W[::-1, ::-1].transpose(0, 1, 3, 2)
            h = lax.conv_general_dilated(h, flipped, (1, 1), [(2, 2), (2, 2)], lhs_dilation=(2, 2),
                                         dimension_numbers=layout) + b
            h = h if last else f(h)
        return h.reshape(len(z), -1)

    return (encode, decode) if row.hidden else (conv_encode, conv_decode)


def bernoulli_nll(logits: Any, x: Any) -> Any:
    """−log p(x), summed over pixels."""
    return (jax.nn.softplus(logits) - logits * x).sum(axis=-1)


def peer(row: Row, threads: int) -> Work:
    """JAX's work for a row, from the library's weights.  Its threads are the cores the process may use."""
    p = {name: jnp.asarray(value) for name, value in build(row).arena.arrays().items()}
    encode, decode = network(row)
    if row.kind == "decode":
        run, latents = jax.jit(lambda p, z: jax.nn.sigmoid(decode(p, z))), jnp.asarray(proof_inputs(row)[1])
        return Work(lambda: run(p, latents).block_until_ready(), lambda x, z: {"probabilities": np.asarray(run(p, z))})
    if row.kind == "nll":
        return _nll(p, encode, decode, row)

    def loss(p: Parameters, x: Any, eps: Any) -> Any:
        mean, logvar = encode(p, x)
        z = mean + jnp.exp(0.5 * logvar) * eps
        kl = 0.5 * (mean**2 + jnp.exp(logvar) - logvar - 1).sum(axis=-1)
        return (bernoulli_nll(decode(p, z), x) + kl).mean()

    @partial(jax.jit, donate_argnums=(0,))
    def step(state: Any, x: Any) -> Any:
        p, m, s, t, key = state
        key, noise, pixels = jax.random.split(key, 3)
        if row.binarize:
            x = (jax.random.uniform(pixels, x.shape) < x).astype(x.dtype)
        value, grad = jax.value_and_grad(loss)(p, x, jax.random.normal(noise, (len(x), row.latents)))
        return (*adam(p, m, s, t + 1, grad), key), value

    order = cycle([jnp.asarray(x) for x in batches(row)])
    state: Any = None

    def one() -> None:
        nonlocal state
        if state is None:
            zeros = jax.tree.map(jnp.zeros_like, p)
            state = jax.tree.map(jnp.array, (p, zeros, zeros, jnp.float32(0), jax.random.key(0)))
        state, _ = step(state, next(order))

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        return {name: np.asarray(d) for name, d in jax.jit(jax.grad(loss))(p, x, eps[0]).items()}

    return Work(one, prove, wait=lambda: jax.block_until_ready(state[3]))


def adam(p: Any, m: Any, s: Any, t: Any, grad: Any) -> tuple[Any, ...]:
    """Kingma and Ba 2014, algorithm 1."""
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
    s = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, s, grad)
    c1, c2 = 1 - 0.9**t, 1 - 0.999**t
    p = jax.tree.map(lambda p, m, s: p - LEARNING_RATE * (m / c1) / (jnp.sqrt(s / c2) + 1e-8), p, m, s)
    return p, m, s, t


def _nll(p: Parameters, encode: Callable[..., Any], decode: Callable[..., Any], row: Row) -> Work:
    x, at_once = jnp.asarray(images()[:row.batch]), min(row.samples, 100)
    size = max(1, min(ROWS // at_once, row.batch))

    def log_weights(p: Parameters, x: Any, eps: Any) -> Any:                           # (B, X), (K, B, Z) -> (K, B)
        mean, logvar = encode(p, x)
        z = mean + jnp.exp(0.5 * logvar) * eps
        logits = decode(p, z.reshape(-1, row.latents)).reshape(*z.shape[:2], -1)
        return -bernoulli_nll(logits, x) + 0.5 * (eps**2 + logvar - z**2).sum(axis=-1)

    @jax.jit
    def part_bound(p: Parameters, x: Any, key: Any) -> Any:
        def chunk(total: Any, key: Any) -> Any:
            weights = log_weights(p, x, jax.random.normal(key, (at_once, len(x), row.latents)))
            return jnp.logaddexp(total, jax.nn.logsumexp(weights, axis=0)), None

        keys = jax.random.split(key, row.samples // at_once)                           # K is a multiple of at_once
        return lax.scan(chunk, jnp.full(len(x), -jnp.inf), keys)[0] - math.log(row.samples)

    key = jax.random.key(0)
    compiled = part_bound.lower(p, x[:size], key).compile()

    def bound() -> float:
        nonlocal key
        total = 0.0
        for start in range(0, len(x), size):                                           # B is a multiple of size
            key, here = jax.random.split(key)
            total += float(compiled(p, x[start:start + size], here).sum())
        return total / len(x)

    return Work(bound, lambda x, eps: {"log weights": np.asarray(jax.jit(log_weights)(p, x, eps))})


CONTENDERS: dict[str, Callable[[Row, int], Work]] = {"jax": peer}
