"""Ops that are right, and ways to make them wrong: what the harness is judged by, at every size and scale.

Each is a plain op, written here and nowhere else, with the inputs it is asked at: `make(n, scale, rng)` gives inputs of
about n entries, of that size.  `spoilt(op, mistake)` is the op with one mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Inputs = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Op:
    """A right op, and where to ask it."""

    name: str
    op: Callable[..., Any]
    make: Callable[[int, float, np.random.Generator], Inputs]
    dropped: Callable[..., Any] | None = None      # the same with a term of its pullback forgotten


# ── inputs ────────────────────────────────────────────────────────────────────────────────────


def any_number(n, scale, rng):
    return (scale * rng.standard_normal(n),)


def two(n, scale, rng):
    return tuple(scale * rng.standard_normal((2, max(1, n // 2))))


def three(n, scale, rng):
    return tuple(scale * rng.standard_normal((3, max(1, n // 3))))


def positive(n, scale, rng):
    return (scale * (0.1 + rng.random(n)),)


def two_positive(n, scale, rng):
    return tuple(scale * (0.1 + rng.random((2, max(1, n // 2)))))


def rows(n, scale, rng):
    width = min(10, max(1, n))
    return (scale * rng.standard_normal((max(1, n // width), width)),)


def square(n, scale, rng):
    side = max(1, int(n**0.5))
    return (scale * rng.standard_normal((side, side)),)


def two_rows(n, scale, rng):
    return (*rows(max(1, n // 2), scale, rng), *rows(max(1, n // 2), scale, rng))


def matrices(n, scale, rng):
    side = max(1, int((n / 2) ** 0.5))
    return scale * rng.standard_normal((side, side)), scale * rng.standard_normal((side, side))


def layer(n, scale, rng):
    width = max(1, min(100, int(n**0.5)))
    return (scale * rng.standard_normal((max(1, n // width), width)), scale * rng.standard_normal((width, width)),
            scale * rng.standard_normal(width))


def system(n, scale, rng):
    side = max(1, min(30, int(n**0.5)))
    A = rng.standard_normal((side, side)) + 2.0 * side * np.eye(side)
    return scale * A, scale * rng.standard_normal((side, 2))


# ── ops ───────────────────────────────────────────────────────────────────────────────────────


def elementwise(f, df):
    """y = f(x), with f'(x)"""
    return lambda x: (f(x), lambda dy: df(x) * dy)


def sigma(x):
    return np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x)))


def product(a, b, c):
    return a * b * c, lambda dy: (b * c * dy, a * c * dy, a * b * dy)


def division(a, b):
    return a / b, lambda dy: (dy / b, -a / b**2 * dy)


def linear(x, W, b):
    return x @ W + b, lambda dy: (dy @ W.T, x.T @ dy, dy.sum(axis=0))


def dense(x, W, b):
    y = np.tanh(x @ W + b)

    def pullback(dy):
        da = dy * (1.0 - y * y)
        return da @ W.T, x.T @ da, da.sum(axis=0)

    return y, pullback


def solve(A, B):
    Y = np.linalg.solve(A, B)

    def pullback(dY):
        dB = np.linalg.solve(A.T, dY)
        return -dB @ Y.T, dB

    return Y, pullback


def gram(x):
    return x.T @ x, lambda dy: x @ (dy + dy.T)


def gram_half(x):
    return x.T @ x, lambda dy: x @ dy


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, lambda dy: p * (dy - (p * dy).sum(axis=-1, keepdims=True))


def softmax_diagonal(x):
    p = softmax(x)[0]
    return p, lambda dy: p * (1.0 - p) * dy


def logsumexp(x):
    top = x.max(axis=-1, keepdims=True)
    y = top + np.log(np.exp(x - top).sum(axis=-1, keepdims=True))
    return y[..., 0], lambda dy: np.exp(x - y) * dy[..., None]


def log_softmax(x):
    y = x - logsumexp(x)[0][..., None]
    return y, lambda dy: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


def log_softmax_half(x):
    y = x - logsumexp(x)[0][..., None]
    return y, lambda dy: dy - np.exp(y) * dy


def gaussian_kl(mean, logvar):
    var = np.exp(logvar)
    return (0.5 * (mean**2 + var - logvar - 1.0).sum(axis=-1),
            lambda dy: (mean * dy[..., None], 0.5 * (var - 1.0) * dy[..., None]))


def gaussian_kl_half(mean, logvar):
    return gaussian_kl(mean, logvar)[0], lambda dy: (mean * dy[..., None], 0.5 * np.exp(logvar) * dy[..., None])


def bernoulli_nll(a):
    x = 1.0 * (np.arange(a.size).reshape(a.shape) % 2)
    return (np.logaddexp(0.0, a) - x * a).sum(axis=-1), lambda dy: (sigma(a) - x) * dy[..., None]


def bernoulli_nll_half(a):
    return bernoulli_nll(a)[0], lambda dy: sigma(a) * dy[..., None]


def gaussian_nll(mean, logvar):
    off = 1.0 - mean
    e = off**2 * np.exp(-logvar)
    return (0.5 * (np.log(2 * np.pi) + logvar + e).sum(axis=-1),
            lambda dy: (-off * np.exp(-logvar) * dy[..., None], 0.5 * (1.0 - e) * dy[..., None]))


def reparameterize(mean, logvar):
    eps = np.cos(np.arange(mean.size)).reshape(mean.shape)
    noise = np.exp(0.5 * logvar) * eps
    return mean + noise, lambda dz: (dz, 0.5 * noise * dz)


def mean_square(a, b):
    return np.asarray(((a - b) ** 2).mean()), lambda dy: (2.0 * (a - b) / a.size * dy, -2.0 * (a - b) / a.size * dy)


def variance(x):
    off = x - x.mean(axis=0)
    return (off**2).mean(axis=0), lambda dy: 2.0 * off / len(x) * dy


def standardise(x):
    off = x - x.mean(axis=-1, keepdims=True)
    std = np.sqrt((off**2).mean(axis=-1, keepdims=True) + 1e-300)
    y = off / std

    def pullback(dy):
        return (dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True)) / std

    return y, pullback


def standardise_half(x):
    y, _ = standardise(x)
    std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-300)
    return y, lambda dy: (dy - dy.mean(axis=-1, keepdims=True)) / std


def length(x):
    y = np.linalg.norm(x)
    return np.asarray(y), lambda dy: x / y * dy


def quadratic(x, A, b):
    return np.asarray(np.vdot(x @ A, x) + 0.0 * b[0]), lambda dy: ((x @ A + x @ A.T) * dy, x.T @ x * dy, 0.0 * b)


def quadratic_half(x, A, b):
    return quadratic(x, A, b)[0], lambda dy: ((x @ A) * dy, x.T @ x * dy, 0.0 * b)


def gather(x):
    index = np.arange(2 * len(x)) % len(x)

    def pullback(dy):
        dx = np.zeros_like(x)
        np.add.at(dx, index, dy)
        return dx

    return x[index], pullback


def gather_once(x):
    return gather(x)[0], lambda dy: dy[:len(x)]


def used_twice(x):
    return x * x + 3.0 * x, lambda dy: (2.0 * x + 3.0) * dy


def bias_beside_products(x, W, b):
    """products of 1e12 and a bias of 1, at scale 1"""
    return 1e12 * (x @ W) + b, lambda dy: (1e12 * dy @ W.T, 1e12 * x.T @ dy, dy.sum(axis=0))


def concat(a, b):
    return np.concatenate([a, b]), lambda dy: (dy[:len(a)], dy[len(a):])


def loss_as_float(x):
    return float((x * x).sum()), lambda dy: 2.0 * x * dy


def two_outputs(x):
    return (x * x, 3.0 * x), lambda da, db: 2.0 * x * da + 3.0 * db


def two_outputs_half(x):
    return two_outputs(x)[0], lambda da, db: 2.0 * x * da


def library(name):
    """An op of the library, where it lies now."""
    from minivae import ops
    return getattr(ops, name)


ELEMENTWISE = {
    "identity": (lambda x: x, np.ones_like, any_number),
    "minus": (np.negative, lambda x: -np.ones_like(x), any_number),
    "three x": (lambda x: 3.0 * x, lambda x: np.full_like(x, 3.0), any_number),
    "x + 1": (lambda x: x + 1.0, np.ones_like, any_number),
    "square": (np.square, lambda x: 2.0 * x, any_number),
    "cube": (lambda x: x**3, lambda x: 3.0 * x**2, any_number),
    "exp": (np.exp, np.exp, any_number),
    "exp of a million x": (lambda x: np.exp(1e6 * x), lambda x: 1e6 * np.exp(1e6 * x), any_number),
    "expm1": (np.expm1, np.exp, any_number),
    "log": (np.log, lambda x: 1.0 / x, positive),
    "log1p": (np.log1p, lambda x: 1.0 / (1.0 + x), positive),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), positive),
    "one over x": (lambda x: 1.0 / x, lambda x: -1.0 / x**2, positive),
    "x log x": (lambda x: x * np.log(x), lambda x: np.log(x) + 1.0, positive),
    "tanh": (np.tanh, lambda x: 1.0 / np.cosh(np.clip(x, -350.0, 350.0)) ** 2, any_number),
    "sigmoid": (sigma, lambda x: sigma(x) * sigma(-x), any_number),
    "softplus": (lambda x: np.logaddexp(0.0, x), sigma, any_number),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: 1.0 * (x > 0.0), any_number),
    "relu squared": (lambda x: np.maximum(x, 0.0) ** 2, lambda x: 2.0 * np.maximum(x, 0.0), any_number),
    "leaky relu": (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1.0, 0.1), any_number),
    "absolute": (np.abs, np.sign, any_number),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
            lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0))), any_number),
    "sin": (np.sin, np.cos, any_number),
    "sin of ten thousand x": (lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x), any_number),
    "arctan": (np.arctan, lambda x: 1.0 / (1.0 + x**2), any_number),
    "x / (1 + x^2)": (lambda x: x / (1.0 + x**2), lambda x: (1.0 - x**2) / (1.0 + x**2) ** 2, any_number),
    "huber": (lambda x: np.where(np.abs(x) < 1.0, 0.5 * x**2, np.abs(x) - 0.5), lambda x: np.clip(x, -1.0, 1.0),
              any_number),
    "log cosh": (lambda x: np.logaddexp(x, -x) - np.log(2.0), np.tanh, any_number),
    "a million beside x": (lambda x: x + 1e6, np.ones_like, any_number),
}

OPS = [
    *(Op(name, elementwise(f, df), make) for name, (f, df, make) in ELEMENTWISE.items()),
    Op("gelu", lambda x: library("gelu")(x), any_number),
    Op("add", lambda a, b: (a + b, lambda dy: (dy, dy)), two),
    Op("subtract", lambda a, b: (a - b, lambda dy: (dy, -dy)), two),
    Op("multiply", lambda a, b: (a * b, lambda dy: (b * dy, a * dy)), two),
    Op("divide", division, two_positive, lambda a, b: (a / b, lambda dy: (dy / b, 0.0 * b))),
    Op("product of three", product, three, lambda a, b, c: (a * b * c, lambda dy: (b * dy, a * c * dy, a * b * dy))),
    Op("used twice", used_twice, any_number, lambda x: (x * x + 3.0 * x, lambda dy: 2.0 * x * dy)),
    Op("matrix product", lambda x, W: (x @ W, lambda dy: (dy @ W.T, x.T @ dy)), matrices),
    Op("linear", linear, layer, lambda x, W, b: (x @ W + b, lambda dy: (dy @ W.T, x.T @ dy, dy[0]))),
    Op("dense with tanh", dense, layer,
       lambda x, W, b: (dense(x, W, b)[0], lambda dy: (dy @ W.T, x.T @ dy, dy.sum(axis=0)))),
    Op("bias beside products", bias_beside_products, layer,
       lambda x, W, b: (bias_beside_products(x, W, b)[0], lambda dy: (1e12 * dy @ W.T, 1e12 * x.T @ dy, 0.0 * b))),
    Op("solve", solve, system, lambda A, B: (solve(A, B)[0], lambda dY: (0.0 * A, np.linalg.solve(A.T, dY)))),
    Op("gram", gram, rows, gram_half),
    Op("quadratic form", quadratic, layer, quadratic_half),
    Op("transpose", lambda x: (x.T, lambda dy: dy.T), square),
    Op("reshape", lambda x: (x.reshape(-1), lambda dy: dy.reshape(x.shape)), rows),
    Op("concat", concat, two),
    Op("gather", gather, any_number, gather_once),
    Op("cumsum", lambda x: (np.cumsum(x), lambda dy: np.cumsum(dy[::-1])[::-1]), any_number,
       lambda x: (np.cumsum(x), lambda dy: dy)),
    Op("sum", lambda x: (np.asarray(x.sum()), lambda dy: np.full_like(x, 1.0) * dy), any_number),
    Op("mean", lambda x: (np.asarray(x.mean()), lambda dy: np.full_like(x, 1.0 / x.size) * dy), any_number),
    Op("sum over rows", lambda x: (x.sum(axis=0), lambda dy: 1.0 * np.broadcast_to(dy, x.shape)), rows),
    Op("mean over rows", lambda x: (x.mean(axis=0), lambda dy: np.broadcast_to(dy, x.shape) / len(x)), rows),
    Op("loss as a float", loss_as_float, any_number),
    Op("two outputs", two_outputs, any_number, two_outputs_half),
    Op("mean square", mean_square, two),
    Op("variance", variance, rows),
    Op("standardise", standardise, rows, standardise_half),
    Op("length", length, any_number),
    Op("softmax", softmax, rows, softmax_diagonal),
    Op("logsumexp", logsumexp, rows),
    Op("log softmax", log_softmax, rows, log_softmax_half),
    Op("Gaussian KL", gaussian_kl, two_rows, gaussian_kl_half),
    Op("Gaussian nll", gaussian_nll, two_rows),
    Op("Bernoulli nll", bernoulli_nll, rows, bernoulli_nll_half),
    Op("reparameterize", reparameterize, two_rows),
]


# ── mistakes ──────────────────────────────────────────────────────────────────────────────────


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def first_changed(change):
    """The first input's gradient, changed."""
    return lambda op: lambda *inputs: _with(op(*inputs), lambda gs: (change(gs[0]), *gs[1:]))


def last_changed(change):
    return lambda op: lambda *inputs: _with(op(*inputs), lambda gs: (*gs[:-1], change(gs[-1])))


def _with(result, change):
    value, pullback = result
    return value, lambda *dy: change(as_tuple(pullback(*dy)))


MISTAKES = {
    "twice": first_changed(lambda g: 2.0 * g),
    "half of the last": last_changed(lambda g: 0.5 * g),
    "sign of the last": last_changed(lambda g: -g),
    "one per cent": first_changed(lambda g: 1.01 * g),
    "transpose": first_changed(lambda g: g.T.copy() if g.ndim == 2 and g.shape[0] == g.shape[1] else g),
    "nothing": last_changed(lambda g: 0.0 * g),
}


def spoilt(op: Op) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(the mistake, the op with it)"""
    for name, mistake in MISTAKES.items():
        yield name, mistake(op.op)
    if op.dropped:
        yield "a term dropped", op.dropped


def differs(right: Callable[..., Any], wrong: Callable[..., Any], inputs: Inputs) -> bool:
    """Whether the mistake can be one at this point.

    Some entry's is 1e-4 of the largest derivative of its input, and 1e4 times what one unit in the last place of the
    inputs changes there; and were the entry moved by its own size, it would change the value by 1e-9 of the value, and
    by 1e5 times the rounding of the value.
    """
    rng = np.random.default_rng(9)
    with np.errstate(all="ignore"):
        (value, pull), (_, pull_wrong) = right(*inputs), wrong(*inputs)
        value = as_tuple(value)
        dy = [rng.standard_normal(np.shape(y)) if np.ndim(y) else float(rng.standard_normal()) for y in value]
        hidden = max(1e-9 * max(float(np.abs(y).max()) for y in value), 1e5 * rounding(right, inputs), 1e-300)
        _, pull_near = right(*(np.nextafter(x, np.inf) for x in inputs))
        for x, a, b, c in zip(inputs, as_tuple(pull(*dy)), as_tuple(pull_wrong(*dy)), as_tuple(pull_near(*dy))):
            least = max(1e-4 * np.abs(a).max(), 1e4 * np.abs(a - c).max())
            seen = (np.abs(a - b) > least) & (np.abs((a - b) * x) > hidden)
            if seen.any() and np.isfinite(b).all():
                return True
    return False


def rounding(op: Callable[..., Any], inputs: Inputs) -> float:
    """How far the value is from what it is with 19 digits, here and nearby; 0 where the op cannot be computed so."""
    found = [0.0]
    for near in (1.0, 1.001, 0.998, 1.003):
        there = tuple(near * x for x in inputs)
        try:
            exact = op(*(x.astype(np.longdouble) for x in there))[0]
        except (TypeError, np.linalg.LinAlgError):             # LAPACK knows two precisions
            return 0.0
        found += [float(np.abs(a - b).max()) for a, b in zip(as_tuple(op(*there)[0]), as_tuple(exact))]
    return max(found)
