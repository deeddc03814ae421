"""Weights in few bits each: rounding in which each unit's error is made good by those that follow.

A weight rounded to the nearest multiple of a step is off by up to half a step, and 500 such errors add up in every
output.  But nobody asks for the weights, only for the outputs x W where x are activations that occur, and those of a
decoder of two latents lie on a sheet of two dimensions in a space of 500.  So we round one input unit's weights after
another, and let the units that are still free take back what the rounding did to the outputs.
Hassibi and Stork 1993 (for pruning); Frantar et al. 2022 (GPTQ).

And nobody asks for all outputs alike: the corner of an image of a digit is white whatever its logit, and a unit that a
relu silences may say anything.  Each output's step is the wider the less the image moves with it, and each layer's the
finer the more its error would cost.  A convolutional decoder of two latents, 837,000 weights in 236 kB: pixels are off
by 0.0003 on average.

Shapes: N draws, or patches of them; I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from minivae.explorer.rows import as_rows
from minivae.explorer.steps import PART, WEIGHTED, through, with_values
from minivae.nn import ConvTranspose2d, Layer, Sequential

LARGEST = 32767                        # whole numbers that fit into 16 bits
RIDGE = 1e-3                           # of step² and of the mean second moment: what lies below is not worth its bits
COARSEST = 2.0                         # of the weights' spread: the first step that is tried
FINEST = 2.0**-8                       # no step needs to be smaller
SMALLEST = 2.0**-10                    # of one layer, however critical it is: whole numbers must stay below LARGEST
FINER = 2.0**-0.25                     # one step to the next that is tried
PILOT = 2.0**-2                        # the step that layers are compared at
PER_OCTAVE = 4                         # steps of outputs differ by powers of 2^(1/4),
OCTAVES = 6                            # by a factor of 64 at most
BLOCK = 32                             # units that are rounded before those behind them hear of it

Seen = tuple[np.ndarray, np.ndarray]   # rows (N, I + 1), the last column ones or zeros; what they should give (N, O)


@dataclass(frozen=True)
class Rounded:
    """The weights of a layer: W = step · 2^(octaves / PER_OCTAVE) · whole, and b as it is."""

    whole: np.ndarray                  # int32 in the shape of W, at most LARGEST
    step: np.float32
    octaves: np.ndarray                # (O,) int32, at least 0
    b: np.ndarray                      # (O,) float32

    def into(self, layer: Layer) -> Layer:
        """A layer like this one with these weights."""
        steps = _wide(self.octaves) * self.step
        W = self.whole.astype(np.float32) * (steps[:, None] if isinstance(layer, ConvTranspose2d) else steps)
        return with_values(layer, W=W, b=self.b)


@dataclass(frozen=True)
class Aim:
    """A chain of layers, and what rounding it must keep.

    true      what goes into each layer at some draws of the latents, and last what comes out
    octaves   of each layer with weights, how much wider than the finest an output's step may be
    shares    of each layer with weights, how fine its step is to be if that of the least critical layer is 1
    """

    chain: Sequence[Layer]
    true: Sequence[np.ndarray]
    octaves: Sequence[np.ndarray]
    shares: Sequence[float]


def aim_at(chain: Sequence[Layer], z: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]) -> Aim:
    """What to keep at the latents z (N, Z).  `slope` says of a chain's outputs how far a pixel moves with each."""
    true = list(accumulate(chain, lambda x, layer: through(layer, x), initial=z))
    few = [x[:2 * PART] for x in true]
    slopes = slope(few[-1])
    octaves = _importance(chain, few[0], slopes)
    return Aim(chain, true, octaves, _shares(chain, few, slopes, octaves))


def _importance(chain: Sequence[Layer], z: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
    """How far the image moves if an output of a layer does: as `Aim.octaves`, 0 for the one that matters most.

    With random signs s the pullback of Σᵢ sᵢ xᵢ is Σᵢ sᵢ ∂xᵢ/∂h, whose mean square over s is Σᵢ (∂xᵢ/∂h)².
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], slopes.shape)
    squares: list[Any] = [0.0] * len(chain)
    for first in range(0, len(z), PART):
        x, pulls, part = z[first:first + PART], [], slice(first, first + PART)
        for layer in chain:
            x, pull = layer(x)
            pulls.append(pull)
        dy = (signs[part] * slopes[part]).astype(np.float32)
        for i in reversed(range(len(chain))):
            squares[i] = squares[i] + np.square(dy).reshape(-1, dy.shape[-1]).sum(axis=0)
            dy = pulls[i](dy, need_dp=False)
    found = []
    for layer, square in zip(chain, squares):
        if isinstance(layer, WEIGHTED):
            tiny = np.finfo(np.float32).tiny
            below = -0.5 * np.log2(np.maximum(square, tiny) / max(float(square.max()), tiny))
            found.append(np.rint(PER_OCTAVE * below).clip(0, PER_OCTAVE * OCTAVES).astype(np.int32))
    return found


def _shares(chain: Sequence[Layer], true: Sequence[np.ndarray], slopes: np.ndarray,
            octaves: Sequence[np.ndarray]) -> list[float]:
    """`Aim.shares`.  A layer of n weights whose step alone is PILOT moves the image by e, in the mean square.

    A bit more for each of its weights halves e and costs n, so for a number of bits Σ e² is smallest if all e²/n are
    equal: steps in proportion to √n / e.
    """
    found, some = [], iter(octaves)
    for i, layer in enumerate(chain):
        if isinstance(layer, WEIGHTED):
            x = through(_rounded_layer(layer, true[i], true[i], PILOT, next(some)).into(layer), true[i])
            for above in chain[i + 1:]:
                x = through(above, x)
            off = float(np.sqrt(np.square(slopes * (x - true[-1])).mean()))
            found.append(np.sqrt(layer.W.value.size) / off if off > 0.0 else np.inf)
    finite = [share for share in found if share < np.inf]
    return [min(1.0, share / max(finite, default=1.0)) for share in found]


def rounded(aim: Aim, fineness: float) -> list[Rounded]:
    """Every layer of the chain that has weights, from the first to the last, each on what those below it now give.

    fineness    the step of the least critical layer, times the spread of its weights
    """
    found: list[Rounded] = []
    x = aim.true[0]                                    # what the rounded chain gives so far
    for i, layer in enumerate(aim.chain):
        if isinstance(layer, WEIGHTED):
            n = len(found)
            step = max(SMALLEST, fineness * aim.shares[n])
            found.append(_rounded_layer(layer, x, aim.true[i], step, aim.octaves[n]))
            layer = found[-1].into(layer)
        x = through(layer, x)
    return found


def _rounded_layer(layer: Any, x: np.ndarray, true: np.ndarray, fineness: float, octaves: np.ndarray) -> Rounded:
    """One layer, for what it now sees of x to give what it gave for the true inputs."""
    W, b, wide = layer.W.value, layer.b.value, _wide(octaves).astype(np.float64)
    parts = list(as_rows(layer, x, true))
    shared = len(parts) > 1                            # then no matrix may have the bias for itself
    seen = [(_with_last(rows, 0.0 if shared else 1.0), (true_rows @ W.ravel()[index] + (0.0 if shared else b)) / wide)
            for rows, true_rows, index in parts]
    matrices, step, bias = with_feedback(seen, fineness=fineness)
    if shared:                                         # but for what all of them have left over
        bias = b / wide + np.mean([(wanted - rows[:, :-1] @ (step * matrix)).mean(axis=0)
                                   for (rows, wanted), matrix in zip(seen, matrices)], axis=0)
    whole = np.zeros(W.size, np.int32)
    for (_, _, index), matrix in zip(parts, matrices):
        whole[index] = matrix
    return Rounded(whole.reshape(W.shape), step, octaves, (bias * wide).astype(np.float32))


def with_feedback(seen: Sequence[Seen], *, fineness: float) -> tuple[list[np.ndarray], np.float32, np.ndarray]:
    """The whole numbers Q and the step for which x (step · Q) + b is close to the outputs wanted.

    Several matrices share a step, each with rows x (N, I + 1) of its own.  The last column of x is ones, whose weights
    are the bias, or zeros if there is none; it is not rounded.

    1. The real-valued weights V that serve x best: min ‖x V − wanted‖²/N + λ ‖V‖², so V = (H + λ I)⁻¹ xᵀ wanted/N with
       H = xᵀx/N.  (The layers below were rounded, so that x is not what W was learned for; and what no x sees shrinks.)
       The step is `fineness` times the spread of V.
    2. Round row j to v̂ⱼ, and move the rows k that are still free to where the outputs change least.  With the upper
       triangle U of UᵀU = H⁻¹ that is  vₖ ← vₖ − (vⱼ − v̂ⱼ) Uⱼₖ / Uⱼⱼ.  Large units first: the small ones mend finely.
    Returns every Q (I, O), the step, and the (mean) bias (O,), which has made good the last of it.
    """
    solved = [_best(x, wanted, fineness) for x, wanted in seen]
    step = np.float32(fineness * np.concatenate([V[:-1].ravel() for _, V in solved]).std() or 1.0)
    done = [_rounded_rows(H, V, step) for H, V in solved]
    return [whole for whole, _ in done], step, np.mean([b for _, b in done], axis=0)


def _best(x: np.ndarray, wanted: np.ndarray, fineness: float) -> tuple[np.ndarray, np.ndarray]:
    """H + λ I and V: what 1. says."""
    H = x.T @ x / len(x)
    H[np.diag_indices_from(H)] += RIDGE * fineness**2 * np.diag(H).mean()
    return H, np.linalg.solve(H, x.T @ wanted / len(x))


def _rounded_rows(H: np.ndarray, V: np.ndarray, step: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Q and the last row of V: what 2. says."""
    n = len(H)
    order = np.append(np.argsort(-np.diag(H)[:-1], kind="stable"), n - 1)
    back = order[::-1]                                 # H = R Rᵀ, an upper triangle: Cholesky's, counted from the end
    U = np.linalg.inv(np.linalg.cholesky(H[np.ix_(back, back)])[::-1, ::-1])           # so H⁻¹ = UᵀU with U = R⁻¹
    U /= np.diag(U)[:, None]
    V, Q = V[order], np.zeros(V.shape, np.int32)
    error = np.empty_like(V)
    for first in range(0, n - 1, BLOCK):               # what lies behind a block hears of all of it at once
        last = min(first + BLOCK, n - 1)
        for j in range(first, last):
            Q[order[j]] = np.rint(V[j] / step).clip(-LARGEST, LARGEST)
            error[j] = V[j] - step * Q[order[j]]
            V[j + 1:last] -= np.outer(U[j, j + 1:last], error[j])
        V[last:] -= U[first:last, last:].T @ error[first:last]
    return Q[:-1], V[-1]


def chain_of(layers: Sequence[Rounded], chain: Sequence[Layer]) -> Sequential:
    """The chain with the rounded layers in place of its own."""
    new = iter(layers)
    return Sequential(*(next(new).into(layer) if isinstance(layer, WEIGHTED) else layer for layer in chain))


def fitting(aim: Aim, *, error: Callable[[list[Rounded]], float], tolerance: float,
            size: Callable[[list[Rounded]], int], budget: int) -> list[Rounded]:
    """The layers in the finest steps whose `size` is within the budget; in finer ones where their `error` would else
    be above the tolerance."""
    tried = [COARSEST * FINER**k for k in range(1 + round(math.log(FINEST / COARSEST, FINER)))]
    low, high, found = 0, len(tried) - 1, {0: rounded(aim, COARSEST)}
    while low < high:                                  # the last one that is within the budget
        k = (low + high + 1) // 2
        found[k] = rounded(aim, tried[k])
        low, high = (k, high) if size(found[k]) <= budget else (low, k - 1)
    while error(found[low]) > tolerance and low < len(tried) - 1:
        low += 1
        found[low] = rounded(aim, tried[low])
    return found[low]


def _wide(octaves: np.ndarray) -> np.ndarray:
    return (2.0**(octaves / PER_OCTAVE)).astype(np.float32)


def _with_last(x: np.ndarray, value: float) -> np.ndarray:
    return np.concatenate([x, np.full_like(x[:, :1], value)], axis=1).astype(np.float64)
