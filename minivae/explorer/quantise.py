"""Weights in four bits each: rounding in which each unit's error is made good by those that follow.

A weight rounded to the nearest multiple of a step is off by up to half a step, and 500 such errors add up in every
output.  But nobody asks for the weights, only for the outputs x W where x are activations that occur, and those of a
decoder of two latents lie on a sheet of two dimensions in a space of 500.  So we round one input unit's weights after
another, and let the units that are still free take back what the rounding did to the outputs.  Chapter 10's flat
decoder in 243 kB: pixels are off by 0.00016 on average; rounded weight by weight to the same size they are by 0.011.
Hassibi and Stork 1993 (for pruning); Frantar et al. 2022 (GPTQ).

Shapes: N draws, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minivae.nn import Layer, Linear, Sequential

LARGEST = 32767                        # whole numbers that fit into 16 bits
RIDGE = 1e-3                           # of step² and of the mean second moment: what lies below is not worth its bits
FINEST = 2.0**-8                       # of the weights' spread: no step needs to be smaller
FINER = 2.0**-0.25                     # one step to the next that is tried


@dataclass(frozen=True)
class Rounded:
    """The weights of a linear layer: W = step · whole, and b as it is."""

    whole: np.ndarray                  # (I, O) int32, at most LARGEST
    step: np.float32
    b: np.ndarray                      # (O,) float32

    def layer(self) -> Linear:
        """The library's layer with these weights."""
        return linear(self.whole.astype(np.float32) * self.step, self.b)


def linear(W: np.ndarray, b: np.ndarray) -> Linear:
    """The library's layer with these weights, on the host, without an arena."""
    layer = Linear(*W.shape, rng=np.random.default_rng(0))
    layer.W.value, layer.b.value = W, b
    return layer


def with_feedback(x: np.ndarray, wanted: np.ndarray, *, fineness: float,
                  ) -> tuple[np.ndarray, np.float32, np.ndarray]:
    """The whole numbers Q and the step for which x (step · Q) + b is close to the outputs wanted (N, O).

    x (N, I + 1) are the inputs with a last column of ones, whose weights are the bias; it is not rounded.

    1. The real-valued weights V that serve x best: min ‖x V − wanted‖²/N + λ ‖V‖², so V = (H + λ I)⁻¹ xᵀ wanted/N with
       H = xᵀx/N.  (The layers below were rounded, so that x is not what W was learned for; and what no x sees shrinks.)
       The step is `fineness` times the spread of V.
    2. Round row j to v̂ⱼ, and move the rows k that are still free to where the outputs change least.  With the upper
       triangle U of UᵀU = H⁻¹ that is  vₖ ← vₖ − (vⱼ − v̂ⱼ) Uⱼₖ / Uⱼⱼ.  Large units first: the small ones mend finely.
    Returns Q (I, O), the step, and the bias (O,), which has made good the last of it.
    """
    n, H = x.shape[1], x.T @ x / len(x)
    H[np.diag_indices(n)] += RIDGE * fineness**2 * np.diag(H).mean()
    V = np.linalg.solve(H, x.T @ wanted / len(x))
    step = np.float32(fineness * V[:-1].std() or 1.0)
    order = np.append(np.argsort(-np.diag(H)[:-1], kind="stable"), n - 1)
    back = order[::-1]                                 # H = R Rᵀ, an upper triangle: Cholesky's, counted from the end
    U = np.linalg.inv(np.linalg.cholesky(H[np.ix_(back, back)])[::-1, ::-1])           # so H⁻¹ = UᵀU with U = R⁻¹
    V, whole = V[order], np.empty((n - 1, V.shape[1]), np.int32)
    for j, unit in enumerate(order[:-1]):
        whole[unit] = np.rint(V[j] / step).clip(-LARGEST, LARGEST)
        error = V[j] - step * whole[unit]
        V[j + 1:] -= np.outer(U[j, j + 1:] / U[j, j], error)
    return whole, step, V[-1].astype(np.float32)


def rounded(chain: Sequence[Layer], z: np.ndarray, fineness: float) -> list[Rounded]:
    """Every linear layer of a chain, from the first to the last, each on what those below it now give.

    z           latents (N, Z) at which the outputs should stay what they are
    fineness    the largest matrix gets steps of this, times the spread of its weights; smaller ones get finer steps,
                for they cost little and everything passes through them
    """
    largest = max(layer.W.value.size for layer in chain if isinstance(layer, Linear))
    found, x, wanted = [], z, z                        # what the rounded chain gives, and what the true one does
    for layer in chain:
        if isinstance(layer, Linear):
            finer = fineness * float(np.sqrt(layer.W.value.size / largest))
            wanted = layer(wanted)[0]
            found.append(Rounded(*with_feedback(_with_one(x), wanted.astype(np.float64), fineness=finer)))
            x = found[-1].layer()(x)[0]
        else:
            wanted, x = layer(wanted)[0], layer(x)[0]
    return found


def chain_of(layers: Sequence[Rounded], chain: Sequence[Layer]) -> Sequential:
    """The chain with the rounded layers in place of its own."""
    new = iter(layers)
    return Sequential(*(next(new).layer() if isinstance(layer, Linear) else layer for layer in chain))


def fitting(chain: Sequence[Layer], z: np.ndarray, *, error: Callable[[list[Rounded]], float], tolerance: float,
            size: Callable[[list[Rounded]], int], budget: int) -> list[Rounded]:
    """The layers in the finest steps whose `size` is within the budget; in finer ones where their `error` would else
    be above the tolerance."""
    fineness, best = 0.5, rounded(chain, z, 0.5)
    while fineness > FINEST:
        fineness *= FINER
        finer = rounded(chain, z, fineness)
        if size(finer) > budget and error(best) <= tolerance:
            break
        best = finer
    return best


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones_like(x[:, :1])], axis=1).astype(np.float64)
