"""The same formulas as in `ops`, `distributions` and `nn.optimizers`, each in one launch on a GPU.

A GPU computes an array expression operation by operation: each is a launch of some microseconds, and each reads and
writes whole arrays, though the arithmetic between would have cost nothing.  A fused kernel reads every number once,
computes the formula for it, and writes the result: one launch.  CuPy makes it from one line of C++ and compiles it
for the dtype of its inputs, which that line calls T, when it is first run.  (`0.1` is a double in C++, and would lift
float32's arithmetic to float64's pace; so numbers are written T(0.1).)

The plain forms stay where they are, for the CPU and the reader; `fused` puts a kernel beside one:

    @fused(kernels.gaussian_kl)
    def gaussian_kl(mean, logvar): ...        # on a GPU kernels.gaussian_kl answers; here the formula is read
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from minivae.backend import Array, Pullback, alike, alike_rows, array_module

Op = TypeVar("Op", bound=Callable[..., Any])


def on_gpu(x: Any) -> bool:
    """Is `x` an array on a GPU?"""
    return array_module(x) is not np


def fused(kernel: Callable[..., Any]) -> Callable[[Op], Op]:
    """Beside a plain op: on a GPU `kernel` answers for it.  The plain form is still there, as `op.__wrapped__`."""
    def beside(plain: Op) -> Op:
        @wraps(plain)
        def op(*inputs: Any, **constants: Any) -> Any:
            on_host = isinstance(inputs[0], np.ndarray) or not on_gpu(inputs[0])
            return (plain if on_host else kernel)(*inputs, **constants)

        return op  # type: ignore[return-value]

    return beside


@dataclass(frozen=True)
class Elementwise:
    """`body` for every element of the inputs (broadcast as in NumPy), in one launch.

    The outputs are new arrays; or, given as further arguments, are written in place, and `body` may read them too.
    """

    name: str
    inputs: str
    outputs: str
    body: str

    def __call__(self, *arguments: Any) -> Any:
        return _build(array_module(arguments[0]), self)(*arguments)


@dataclass(frozen=True)
class RowSum:
    """Σ `term` along each row, then `last` (where `a` is that sum), in one launch        (B, X) … -> (B,)"""

    name: str
    inputs: str
    output: str
    term: str
    last: str

    def __call__(self, *arguments: Any) -> Any:
        return _build(array_module(arguments[0]), self)(*arguments, axis=-1)


@cache
def _build(xp: ModuleType, kernel: Elementwise | RowSum) -> Callable[..., Any]:
    """CuPy's kernel.  It keeps one compiled form for each dtype, and on the disk for the next run."""
    if isinstance(kernel, Elementwise):
        return xp.ElementwiseKernel(kernel.inputs, kernel.outputs, kernel.body, kernel.name)
    return xp.ReductionKernel(kernel.inputs, kernel.output, kernel.term, "a + b", kernel.last, "0", kernel.name)


# ── activations ───────────────────────────────────────────────────────────────────────────────

RELU_PULLBACK = Elementwise("relu_pullback", "T y, T dy", "T dx", "dx = y > T(0) ? dy : T(0)")
TANH_PULLBACK = Elementwise("tanh_pullback", "T y, T dy", "T dx", "dx = (T(1) - y * y) * dy")


def relu(x: Array) -> tuple[Array, Pullback]:
    """y = max(x, 0)        2 launches, plain 4"""
    y = np.maximum(x, 0.0)
    return y, lambda dy: RELU_PULLBACK(y, dy)


def tanh(x: Array) -> tuple[Array, Pullback]:
    """y = tanh x        2 launches, plain 4"""
    y = np.tanh(x)
    return y, lambda dy: TANH_PULLBACK(y, dy)


# ── distributions ─────────────────────────────────────────────────────────────────────────────

REPARAMETERIZE = Elementwise(
    "reparameterize", "T mean, T logvar, T eps", "T z, T noise",
    "noise = exp(T(0.5) * logvar) * eps;   z = mean + noise")
REPARAMETERIZE_PULLBACK = Elementwise(
    "reparameterize_pullback", "T noise, T dz", "T dlogvar", "dlogvar = T(0.5) * noise * dz")

GAUSSIAN_KL = RowSum(
    "gaussian_kl", "T mean, T logvar", "T kl",
    "mean * mean + exp(logvar) - logvar - T(1)", "kl = T(0.5) * a")
GAUSSIAN_KL_PULLBACK = Elementwise(
    "gaussian_kl_pullback", "T mean, T logvar, T dkl", "T dmean, T dlogvar",
    "dmean = mean * dkl;   dlogvar = T(0.5) * (exp(logvar) - T(1)) * dkl")

BERNOULLI_NLL = RowSum(
    "bernoulli_nll", "T logit, T x", "T nll",
    "fmax(logit, T(0)) - x * logit + log1p(exp(-fabs(logit)))", "nll = a")       # softplus(a) − x a
BERNOULLI_NLL_PULLBACK = Elementwise(
    "bernoulli_nll_pullback", "T logit, T x, T dnll", "T dlogit", """
    T e = exp(-fabs(logit));                              // in (0, 1]: cannot overflow
    dlogit = ((logit < T(0) ? e : T(1)) / (T(1) + e) - x) * dnll""")            # (sigmoid(a) − x) dnll


def reparameterize(mean: Array, logvar: Array, *, eps: Array) -> tuple[Array, Pullback]:
    """z = μ + σ ε,   σ = exp(½ log σ²)        all (B, Z)        2 launches, plain 6"""
    alike(mean=mean, logvar=logvar, eps=eps)
    z, noise = REPARAMETERIZE(mean, logvar, eps)
    return z, lambda dz: (dz, REPARAMETERIZE_PULLBACK(noise, dz))


def gaussian_kl(mean: Array, logvar: Array) -> tuple[Array, Pullback]:
    """½ Σ (μ² + σ² − log σ² − 1)        (B, Z) (B, Z) -> (B,)        2 launches, plain 11"""
    alike_rows(mean=mean, logvar=logvar)
    return GAUSSIAN_KL(mean, logvar), lambda dkl: GAUSSIAN_KL_PULLBACK(mean, logvar, dkl[:, None])


def bernoulli_nll(logits: Array, *, x: Array) -> tuple[Array, Pullback]:
    """Σ softplus(a) − x a        (B, X) -> (B,)        2 launches, plain 24"""
    alike_rows(logits=logits, x=x)
    return BERNOULLI_NLL(logits, x), lambda dnll: BERNOULLI_NLL_PULLBACK(logits, x, dnll[:, None])


def bernoulli_nll_of_draws(logits: Array, *, x: Array) -> Array:
    """Its value for L draws of every image        (L·B, X) (B, X) -> (L·B,)        2 launches, plain 19"""
    alike_rows(x=x, logits=logits[:len(x)])
    return BERNOULLI_NLL(logits, array_module(x).tile(x, (len(logits) // len(x), 1)))


# ── optimizers ────────────────────────────────────────────────────────────────────────────────

ADAM = Elementwise(
    "adam", "T grad, T beta1, T beta2, T eps, T rate", "T value, T m, T s", """
    m = beta1 * m + grad;
    s = beta2 * s + grad * grad;
    value -= rate * m / (sqrt(s) + eps)""")


def adam(value: Array, grad: Array, m: Array, s: Array, *, beta1: float, beta2: float, eps: float, rate: float) -> None:
    """θ, m and s of `nn.Adam`, in place; eps is its ε / c₂, rate its lr c₁ / c₂        1 launch, plain 10"""
    ADAM(grad, beta1, beta2, eps, rate, value, m, s)
