"""Loops that Numba compiles: each formula reads every number once, or again while it is near.  Their results are those
of NumPy, bit by bit.

So no `fastmath`, which would let the compiler reorder or merge operations: what is gained is the memory that is not
read and written again.  `error_model="numpy"`: a division may give ∞; else each is watched, and none is vectorised.
What NumPy vectorises and Numba's wheels do not (exp, log, tanh) stays NumPy's, and so do sums and products: `inner`
calls them.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Pullback, alike_rows
from minivae.fast.inner import inner, loop, matmul, total, unary
from minivae.fast.lstm import lstm_go, lstm_heard


@loop
def _adam(value, grad, m, s, beta1, beta2, eps, rate):                         # type: ignore[no-untyped-def]
    for i in range(value.size):
        m[i] = m[i] * beta1 + grad[i]
        s[i] = s[i] * beta2 + grad[i] * grad[i]
        value[i] -= m[i] / (np.sqrt(s[i]) + eps) * rate


@loop
def _rmsprop(value, grad, s, rho, rest, eps, lr):                              # type: ignore[no-untyped-def]
    for i in range(value.size):
        s[i] = s[i] * rho + grad[i] * grad[i] * rest
        value[i] -= grad[i] / (np.sqrt(s[i]) + eps) * lr


@loop
def _relu(x, y):                                                               # type: ignore[no-untyped-def]
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]         # what is not a number stays none


@loop
def _relu_pullback(y, dy, dx):                                                 # type: ignore[no-untyped-def]
    one, zero = y.dtype.type(1.0), y.dtype.type(0.0)
    for i in range(y.size):
        dx[i] = dy[i] * (one if y[i] > zero else zero)


@loop
def _tanh_pullback(y, dy, dx):                                                 # type: ignore[no-untyped-def]
    one = y.dtype.type(1.0)
    for i in range(y.size):
        dx[i] = (one - y[i] * y[i]) * dy[i]


@loop
def _gaussian_kl(exp, add, mean, logvar, var, kl):                             # type: ignore[no-untyped-def]
    half, one, terms = mean.dtype.type(0.5), mean.dtype.type(1.0), np.empty_like(mean[0])
    unary(exp, logvar.reshape(-1), var.reshape(-1))
    for b in range(len(mean)):
        for i in range(terms.size):
            terms[i] = mean[b, i] * mean[b, i] + var[b, i] - logvar[b, i] - one
        total(add, terms, kl[b:b + 1])
        kl[b] *= half


@loop
def _gaussian_kl_pullback(mean, var, dkl, dmean, dlogvar):                     # type: ignore[no-untyped-def]
    half, one = mean.dtype.type(0.5), mean.dtype.type(1.0)
    for b in range(mean.shape[0]):
        for i in range(mean.shape[1]):
            dmean[b, i] = mean[b, i] * dkl[b]
            dlogvar[b, i] = half * (var[b, i] - one) * dkl[b]


@loop
def _bernoulli_nll(product, exp, log, logits, x, e, nll):                      # type: ignore[no-untyped-def]
    half, one, (B, X) = e.dtype.type(0.5), e.dtype.type(1.0), e.shape
    ones, sums, row = np.ones((1, X, 1), e.dtype), np.empty((1, B, 1), e.dtype), np.empty((1, X), e.dtype)
    for b in range(B):
        for i in range(X):
            e[b, i] = abs(logits[b, i])
    matmul(product, e, ones, sums)
    for b in range(B):
        nll[b] = half * sums[0, b, 0]
        for i in range(X):
            e[b, i], row[0, i] = -e[b, i], x[b, i] - half
        matmul(product, row, logits[b].reshape((1, X, 1)), sums[:, b:b + 1])
        nll[b] -= sums[0, b, 0]
    unary(exp, e.reshape(-1), e.reshape(-1))
    factors, logs = row[0], np.empty((B, max(X // 16, 1)), e.dtype)
    for b in range(B):
        for i in range(X):
            e[b, i] += one
            factors[i] = e[b, i]
        many = X
        for _ in range(4):                            # nll.sum_of_logs
            half_of = many // 2
            for i in range(half_of):
                factors[i] *= factors[half_of + i]
            if half_of and many % 2:
                factors[0] *= factors[many - 1]
            many = max(half_of, 1)
        logs[b] = factors[:many]
    unary(log, logs.reshape(-1), logs.reshape(-1))
    matmul(product, logs, ones[:, :logs.shape[1]], sums)
    for b in range(B):
        nll[b] += sums[0, b, 0]


@loop
def _bernoulli_nll_pullback(e, logits, x, dnll, dlogits):                      # type: ignore[no-untyped-def]
    one, zero = e.dtype.type(1.0), e.dtype.type(0.0)
    for b in range(e.shape[0]):
        for i in range(e.shape[1]):
            mean = abs((one if logits[b, i] < zero else zero) - one / e[b, i])
            dlogits[b, i] = (mean - x[b, i]) * dnll[b]


def adam(value: Array, grad: Array, m: Array, s: Array, *, beta1: float, beta2: float, eps: float, rate: float) -> None:
    """θ, m and s of `nn.Adam`, in place; eps is its ε / c₂, rate its lr c₁ / c₂        one pass, plain ten"""
    T = value.dtype.type
    _adam(value, grad, m, s, T(beta1), T(beta2), T(eps), T(rate))


def rmsprop(value: Array, grad: Array, s: Array, *, rho: float, eps: float, lr: float) -> None:
    """θ and s of `nn.RMSProp`, in place        one pass, plain nine"""
    T = value.dtype.type
    _rmsprop(value, grad, s, T(rho), T(1.0 - rho), T(eps), T(lr))


def relu(x: Array) -> tuple[Array, Pullback]:
    """y = max(x, 0)        a pass each way, plain one and two"""
    y = np.empty_like(x)
    _relu(x.reshape(-1), y.reshape(-1))

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(y)
        _relu_pullback(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
        return dx

    return y, pullback


def tanh(x: Array) -> tuple[Array, Pullback]:
    """y = tanh x        a pass each way, plain one and three"""
    y = np.tanh(x)

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(y)
        _tanh_pullback(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
        return dx

    return y, pullback


def gaussian_kl(mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """½ Σ (μ² + σ² − log σ² − 1)        a call each way, plain seven and four"""
    alike_rows(mean=mean, logvar=logvar)
    var, kl = np.empty_like(mean), np.empty_like(mean, shape=len(mean))
    _gaussian_kl(inner(np.exp, mean.dtype), inner(np.add, mean.dtype), mean, logvar, var, kl)

    def pullback(dkl: Array) -> tuple[Array, Array]:
        dmean, dlogvar = np.empty_like(mean), np.empty_like(mean)
        _gaussian_kl_pullback(mean, var, dkl, dmean, dlogvar)
        return dmean, dlogvar

    return kl, pullback


def bernoulli_nll(logits: Array, *, x: Array) -> tuple[Array, Pullback]:
    """Σ softplus(a) − x a        a call each way, plain twenty and six"""
    alike_rows(logits=logits, x=x)
    e, nll = np.empty_like(logits), np.empty_like(logits, shape=len(logits))
    _bernoulli_nll(*(inner(f, logits.dtype) for f in (np.matmul, np.exp, np.log)), logits, x, e, nll)

    def pullback(dnll: Array) -> Array:
        dlogits = np.empty_like(e)
        _bernoulli_nll_pullback(e, logits, x, dnll, dlogits)
        return dlogits

    return nll, pullback


def compile_all() -> None:
    """Compile every loop for both dtypes, or read it from the disk.  Raises whatever Numba raises."""
    for dtype in (np.float32, np.float64):
        a = np.ones((1, 1), dtype)
        adam(a[0].copy(), a[0], a[0].copy(), a[0].copy(), beta1=0.9, beta2=0.999, eps=1e-8, rate=1e-3)
        rmsprop(a[0].copy(), a[0], a[0].copy(), rho=0.9, eps=1e-8, lr=1e-3)
        for _, pull in (relu(a), tanh(a)):
            pull(a)
        for _, pull in (gaussian_kl(a, a), bernoulli_nll(a, x=a)):
            pull(a[0])
        gates, slopes, U = np.ones((4, 1, 1, 1), dtype), np.ones((6, 1, 1, 1), dtype), np.ones((4, 1, 1), dtype)
        states, cells, shown, all_of_it = *(np.ones((n, 1, 1), dtype) for n in (2, 2, 1)), slice(0, 1)
        lstm_go([all_of_it], gates, states, cells, shown, U, None)
        lstm_heard([all_of_it], slopes, U.copy(), gates, cells, shown, shown, a, U, None)
