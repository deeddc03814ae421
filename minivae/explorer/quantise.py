"""Weights in few bits each: rounding in which each unit's error is made good by those that follow.

A weight rounded to the nearest multiple of a step is off by up to half a step, and 500 such errors add up in every
output.  But nobody asks for the weights, only for the outputs x W where x are activations that occur, and those of a
decoder of two latents lie on a sheet of two dimensions in a space of 500.  So we round one input unit's weights after
another, and let the units that are still free take back what the rounding did to the outputs.  Chapter 10's flat
decoder in 243 kB: pixels are off by 0.00016 on average; rounded weight by weight to the same size they are by 0.011.
Hassibi and Stork 1993 (for pruning); Frantar et al. 2022 (GPTQ).

A convolution is rows times a matrix as well: the rows are the patches that its outputs see.

Shapes: N draws, or patches of them; I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from minivae.explorer.steps import WEIGHTED, through, with_values
from minivae.nn import Activation, Conv2d, ConvTranspose2d, Layer, Linear, Sequential
from minivae.ops import relu

LARGEST = 32767                        # whole numbers that fit into 16 bits
RIDGE = 1e-3                           # of step² and of the mean second moment: what lies below is not worth its bits
COARSEST = 2.0                         # of the weights' spread: the first step that is tried
FINEST = 2.0**-8                       # of the weights' spread: no step needs to be smaller
FINER = 2.0**-0.25                     # one step to the next that is tried
BLOCK = 32                             # units that are rounded before those behind them hear of it
PATCHES = 8192                         # that a convolution is judged by, of all draws and places

Seen = tuple[np.ndarray, np.ndarray]   # rows (N, I + 1), the last column ones, and the outputs wanted for them (N, O)


@dataclass(frozen=True)
class Rounded:
    """The weights of a layer: W = step · whole, and b as it is."""

    whole: np.ndarray                  # int32 in the shape of W, at most LARGEST
    step: np.float32
    b: np.ndarray                      # float32

    def into(self, layer: Layer) -> Layer:
        """A layer like this one with these weights."""
        return with_values(layer, W=self.whole.astype(np.float32) * self.step, b=self.b)


def with_feedback(seen: Sequence[Seen], *, fineness: float) -> tuple[list[np.ndarray], np.float32, np.ndarray]:
    """The whole numbers Q and the step for which x (step · Q) + b is close to the outputs wanted.

    Several matrices share a step and the bias, each with rows x (N, I + 1) of its own.  The last column of x is ones,
    whose weights are the bias; it is not rounded.

    1. The real-valued weights V that serve x best: min ‖x V − wanted‖²/N + λ ‖V‖², so V = (H + λ I)⁻¹ xᵀ wanted/N with
       H = xᵀx/N.  (The layers below were rounded, so that x is not what W was learned for; and what no x sees shrinks.)
       The step is `fineness` times the spread of V.
    2. Round row j to v̂ⱼ, and move the rows k that are still free to where the outputs change least.  With the upper
       triangle U of UᵀU = H⁻¹ that is  vₖ ← vₖ − (vⱼ − v̂ⱼ) Uⱼₖ / Uⱼⱼ.  Large units first: the small ones mend finely.
    Returns every Q (I, O), the step, and the bias (O,), which has made good the last of it.
    """
    solved = [_best(x, wanted, fineness) for x, wanted in seen]
    step = np.float32(fineness * np.concatenate([V[:-1].ravel() for _, V in solved]).std() or 1.0)
    done = [_rounded_rows(H, V, step) for H, V in solved]
    return [whole for whole, _ in done], step, np.mean([b for _, b in done], axis=0).astype(np.float32)


def _best(x: np.ndarray, wanted: np.ndarray, fineness: float) -> tuple[np.ndarray, np.ndarray]:
    """H + λ I and V: what 1. says."""
    H = x.T @ x / len(x)
    H[np.diag_indices(len(H))] += RIDGE * fineness**2 * np.diag(H).mean()
    return H, np.linalg.solve(H, x.T @ wanted / len(x))


def _rounded_rows(H: np.ndarray, V: np.ndarray, step: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Q and the last row of V: what 2. says."""
    n = len(H)
    order = np.append(np.argsort(-np.diag(H)[:-1], kind="stable"), n - 1)
    back = order[::-1]                                 # H = R Rᵀ, an upper triangle: Cholesky's, counted from the end
    U = np.linalg.inv(np.linalg.cholesky(H[np.ix_(back, back)])[::-1, ::-1])           # so H⁻¹ = UᵀU with U = R⁻¹
    U /= np.diag(U)[:, None]
    V, Q, errors = V[order], np.empty((n, V.shape[1])), np.empty_like(V)
    for first in range(0, n - 1, BLOCK):               # far rows hear of a whole block at once: one product
        last = min(first + BLOCK, n - 1)
        for j in range(first, last):
            Q[j] = np.rint(V[j] / step).clip(-LARGEST, LARGEST)
            errors[j] = V[j] - step * Q[j]
            V[j + 1:last] -= np.outer(U[j, j + 1:last], errors[j])
        V[last:] -= U[first:last, last:].T @ errors[first:last]
    return Q[np.argsort(order)][:-1].astype(np.int32), V[-1]


def activations(chain: Sequence[Layer], z: np.ndarray) -> list[np.ndarray]:
    """What goes into each layer of a chain, and last what comes out."""
    return list(accumulate(chain, lambda x, layer: through(layer, x), initial=z))


def rounded(chain: Sequence[Layer], true: Sequence[np.ndarray], fineness: float) -> list[Rounded]:
    """Every layer of a chain that has weights, from the first to the last, each on what those below it now give.

    true        the chain's activations at latents (N, Z) where the outputs should stay what they are
    fineness    the largest matrix gets steps of this, times the spread of its weights; smaller ones get finer steps,
                for they cost little and everything passes through them
    """
    largest = max(layer.W.value.size for layer in chain if isinstance(layer, WEIGHTED))
    found, x = [], true[0]                             # x: what the rounded chain gives so far
    for i, layer in enumerate(chain):
        if isinstance(layer, WEIGHTED):
            finer = fineness * float(np.sqrt(layer.W.value.size / largest))
            found.append(_rounded_layer(layer, x, true[i], finer, relu=_is_relu(chain[i + 1:])))
            layer = found[-1].into(layer)
        x = through(layer, x)
    return found


def _is_relu(above: Sequence[Layer]) -> bool:
    return bool(above) and isinstance(above[0], Activation) and above[0].op is relu


def _rounded_layer(layer: Any, x: np.ndarray, true: np.ndarray, fineness: float, *, relu: bool) -> Rounded:
    """One layer, for what it now sees of x to give what it gave for the true inputs.

    Units that a relu silences at every draw may as well say 0: so do weights of 0, which cost nothing.
    """
    W, b, seen, indices = layer.W.value, layer.b.value, [], []
    for rows, true_rows, index in as_rows(layer, x, true):
        wanted = (true_rows @ W.ravel()[index] + b).astype(np.float64)
        if relu and isinstance(layer, Linear):
            wanted[:, wanted.max(axis=0) <= 0.0] = 0.0
        seen.append((_with_one(rows), wanted))
        indices.append(index)
    matrices, step, bias = with_feedback(seen, fineness=fineness)
    whole = np.zeros(W.size, np.int32)
    for index, matrix in zip(indices, matrices):
        whole[index] = matrix
    return Rounded(whole.reshape(W.shape), step, bias)


def as_rows(layer: Any, x: np.ndarray, true: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A layer's outputs as rows times matrices: rows of x and of true (N, I), and which of W's numbers is where (I, O).

    A transposed convolution of stride s gives every s-th pixel from the same weights: s×s matrices, no two of which
    share a weight.  Pixel s·q + a − p hears the inputs q, q − 1, … through the taps a, a + s, …
    """
    W = layer.W.value
    number = np.arange(W.size).reshape(W.shape)
    if isinstance(layer, Linear):
        yield x, true, number
    elif isinstance(layer, Conv2d):
        k, s, p = len(W), layer.stride, layer.padding
        places = [range(0, n + 2 * p - k + 1, s) for n in x.shape[1:3]]
        yield *_patches((x, true), (p, p), (k, k), places), number.reshape(-1, W.shape[-1])
    else:
        assert isinstance(layer, ConvTranspose2d)
        s, p, size = layer.stride, layer.padding, layer(x[:1])[0].shape[1:3]
        for a, b in np.ndindex(min(s, len(W)), min(s, len(W))):
            index = number[a::s, b::s][::-1, ::-1]                           # a patch begins with the farthest behind
            taps = index.shape[:2]
            places = [[q for q in range(n + m - 1) if 0 <= s * q + c - p < outer]
                      for n, m, c, outer in zip(x.shape[1:3], taps, (a, b), size)]
            yield (*_patches((x, true), (taps[0] - 1, taps[1] - 1), taps, places),
                   index.transpose(0, 1, 3, 2).reshape(-1, W.shape[2]))


def _patches(images: Sequence[np.ndarray], frame: tuple[int, int], size: tuple[int, int],
             places: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Patches of this size that begin at these rows and columns of framed images, one row each; PATCHES at random."""
    rng, inputs = np.random.default_rng(0), size[0] * size[1] * images[0].shape[-1]
    sizes = (len(images[0]), len(places[0]), len(places[1]))
    some = rng.permutation(np.prod(sizes))[:max(PATCHES, 8 * inputs)]
    draw, row, column = np.unravel_index(some, sizes)
    at = draw, np.asarray(places[0])[row], np.asarray(places[1])[column]
    found = []
    for image in images:
        framed = np.pad(image, ((0, 0), (frame[0],) * 2, (frame[1],) * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(framed, size, axis=(1, 2))          # (N, H', W', C, k, k)
        found.append(windows[at].transpose(0, 2, 3, 1).reshape(len(some), -1))
    return found


def chain_of(layers: Sequence[Rounded], chain: Sequence[Layer]) -> Sequential:
    """The chain with the rounded layers in place of its own."""
    new = iter(layers)
    return Sequential(*(next(new).into(layer) if isinstance(layer, WEIGHTED) else layer for layer in chain))


def fitting(chain: Sequence[Layer], z: np.ndarray, *, error: Callable[[list[Rounded]], float], tolerance: float,
            size: Callable[[list[Rounded]], int], budget: int) -> list[Rounded]:
    """The layers in the finest steps whose `size` is within the budget; in finer ones where their `error` would else
    be above the tolerance."""
    true, fineness = activations(chain, z), COARSEST
    best = rounded(chain, true, fineness)
    while fineness > FINEST:
        fineness *= FINER
        finer = rounded(chain, true, fineness)
        if size(finer) > budget and error(best) <= tolerance:
            break
        best = finer
    return best


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones_like(x[:, :1])], axis=1).astype(np.float64)
