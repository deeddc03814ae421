"""Compose the library's ops at random, plant one mistake in half of them, and see whether the harness can tell.

    python tests/gradcheck/fuzzer.py 100000            as many as you like, from seed 0
    python tests/gradcheck/fuzzer.py 1000 --first 5000

A composition is a list of steps, each an op of earlier values; a value may be used twice, and so may an op.  Its
pullback goes the steps back and adds.  A mistake changes what one step hands to one of its operands.  Whether it is a
mistake at that point is decided without the harness: where it changes no derivative by more than the arithmetic can
hide, the composition counts as right.  A right one that is refused counts as lost where float64 has lost the value's
digits, or the pullback's; it is listed, and not counted as misjudged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))
import table

from minivae import distributions as D
from minivae import ops
from minivae.gradcheck import GradientError, Report, gradcheck


def layer_norm(x):
    """(x - mean) / std, over the last axis"""
    off = x - x.mean(axis=-1, keepdims=True)
    std = np.sqrt((off**2).mean(axis=-1, keepdims=True) + 1e-5)
    y = off / std

    def pullback(dy):
        return (dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True)) / std

    return y, pullback


MATRIX = [ops.relu, ops.leaky_relu, ops.elu, ops.gelu, ops.tanh, ops.sigmoid, ops.softplus, ops.log_softmax,
          table.softmax, layer_norm, table.used_twice, *(table.elementwise(*table.ELEMENTWISE[name][:2])
              for name in ("square", "cube", "exp", "sin", "arctan", "x / (1 + x^2)", "x + 1"))]
PAIR = [lambda a, b: (a + b, lambda dy: (dy, dy)), lambda a, b: (a - b, lambda dy: (dy, -dy)),
        lambda a, b: (a * b, lambda dy: (b * dy, a * dy)), D.gaussian_kl_by_latent]
END = [ops.logsumexp, D.standard_normal_log_prob, lambda x: (x.sum(axis=0), lambda dy: 0.0 * x + dy),
       lambda x: (x.mean(axis=-1), lambda dy: 0.0 * x + dy[:, None] / x.shape[1]),
       lambda x: (np.asarray(x.sum()), lambda dy: 0.0 * x + dy), lambda x: (1.0 * x, lambda dy: 1.0 * dy)]
END_PAIR = [D.gaussian_kl]


def bernoulli(logits, *, x):
    """-log p(x), for data of any dtype"""
    return D.bernoulli_nll(logits, x=x.astype(logits.dtype))


def gaussian(mean, logvar, *, x):
    """-log N(x; mean, exp(logvar)), for data of any dtype: the library's op insists on one"""
    nll, pull = D.gaussian_nll(mean, logvar, x=x.astype(mean.dtype))
    return nll, pull


MISTAKES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "twice": lambda g: 2.0 * g, "half": lambda g: 0.5 * g, "sign": lambda g: -g, "nothing": lambda g: 0.0 * g,
    "transpose": lambda g: g.T.copy() if g.ndim == 2 and g.shape[0] == g.shape[1] else 3.0 * g,
    "divided by the batch": lambda g: g / (len(g) + 1.0) if g.ndim else 0.3 * g,
    "one row": lambda g: g * (np.arange(len(g)) > 0).reshape(-1, *[1] * (g.ndim - 1)) if g.ndim else 0.0 * g,
}


@dataclass
class Step:
    """An op of earlier values."""

    op: Callable[..., Any]
    operands: tuple[int, ...]
    constants: dict[str, Any]


@dataclass
class Composition:
    """y = steps(inputs), and perhaps a mistake in one of them."""

    inputs: tuple[np.ndarray, ...]
    steps: list[Step]
    outputs: tuple[int, ...]
    mistake: tuple[int, int, str] | None = None          # of which step, for which operand, and what

    def function(self, planted: bool) -> Callable[..., Any]:
        """value, pullback = function(*inputs)"""
        def forward(*inputs):
            values, pulls = list(inputs), []
            for step in self.steps:
                y, pull = step.op(*(values[i] for i in step.operands), **step.constants)
                values.append(y)
                pulls.append(pull)

            def pullback(*cotangents):
                grads = [0.0 * v for v in values]
                for i, dy in zip(self.outputs, cotangents):
                    grads[i] = grads[i] + dy
                for k in reversed(range(len(pulls))):
                    handed = table.as_tuple(pulls[k](grads[len(inputs) + k]))
                    for j, (i, g) in enumerate(zip(self.steps[k].operands, handed)):
                        if planted and self.mistake and self.mistake[:2] == (k, j):
                            g = MISTAKES[self.mistake[2]](g)
                        grads[i] = grads[i] + g
                return tuple(grads[:len(inputs)])

            out = tuple(values[i] for i in self.outputs)
            return (out if len(out) > 1 else out[0]), pullback

        return forward


def compose(rng: np.random.Generator) -> Composition:
    """A few ops at random, on matrices (B, K), with weights (K, K) and biases (K,)."""
    B, K = (int(n) for n in rng.integers(1, 5, 2))
    wild = rng.random() < 0.2

    def scale():
        return 10.0 ** (rng.uniform(-9, 9) if wild else rng.uniform(-2, 1))

    inputs = [scale() * rng.standard_normal((B, K)) for _ in range(rng.integers(1, 3))]
    matrices, steps = list(range(len(inputs))), []
    layers = int(rng.integers(0, 3))
    for _ in range(layers):
        inputs += [scale() * rng.standard_normal((K, K)), scale() * rng.standard_normal(K)]
    weights = [(len(inputs) - 2 * layers + 2 * i, len(inputs) - 2 * layers + 2 * i + 1) for i in range(layers)]
    weights += weights[:1] if rng.random() < 0.3 else []                 # the same layer twice
    todo = [*(("layer", w) for w in weights), *(("op", ()) for _ in range(rng.integers(1, 4)))]

    def add(op, *operands, **constants):
        steps.append(Step(op, operands, constants))
        return len(inputs) + len(steps) - 1

    for i in rng.permutation(len(todo)):
        kind, w = todo[i]
        x = matrices[-1] if rng.random() < 0.7 else int(rng.choice(matrices))
        if kind == "layer":
            matrices.append(add(ops.linear, x, *w))
        elif rng.random() < 0.7:
            matrices.append(add(MATRIX[rng.integers(len(MATRIX))], x))
        else:
            matrices.append(add(PAIR[rng.integers(len(PAIR))], x, int(rng.choice(matrices))))
    ends = [_end(add, matrices[-1 - i], matrices, (B, K), rng) for i in range(1 + (rng.random() < 0.2))]
    return Composition(tuple(inputs), steps, tuple(ends))


def _end(add, x, matrices, shape, rng):
    """A loss or a density of a matrix, perhaps with data of some dtype."""
    kind = rng.integers(4)
    if kind == 0:
        bits = (rng.random(shape) < 0.5).astype([np.float64, np.float32, np.int64, np.bool_][rng.integers(4)])
        return add(bernoulli, x, x=bits)
    if kind == 1:
        data = rng.standard_normal(shape).astype([np.float64, np.float32][rng.integers(2)])
        return add(gaussian, x, int(rng.choice(matrices)), x=data)
    if kind == 2:
        return add(END_PAIR[0], x, int(rng.choice(matrices)))
    return add(END[rng.integers(len(END))], x)


def gradients(c: Composition, planted: bool, inputs: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], ...]:
    """(outputs, gradients for one cotangent)"""
    value, pull = c.function(planted)(*inputs)
    outputs = [np.asarray(y) for y in table.as_tuple(value)]
    rng = np.random.default_rng(7)
    return outputs, list(pull(*(rng.standard_normal(y.shape) for y in outputs)))


def plant(c: Composition, rng: np.random.Generator) -> bool:
    """Put a mistake in; whether it is one that can be seen at this point."""
    k = int(rng.integers(len(c.steps)))
    j = int(rng.integers(len(c.steps[k].operands)))
    c.mistake = k, j, list(MISTAKES)[rng.integers(len(MISTAKES))]
    outputs, right = gradients(c, False, c.inputs)
    _, wrong = gradients(c, True, c.inputs)
    near = tuple(x * (1.0 + 2.0**-52 * np.sign(rng.standard_normal(x.shape))) for x in c.inputs)
    moved, right_near = gradients(c, False, near)
    noise = max(float(np.max(np.maximum(np.abs(a - b), 2.0**-52 * np.abs(a)))) for a, b in zip(outputs, moved))
    # 1e-20, a million times of which is 1e-14: what is lost where an op adds 1 and takes it away again
    noise = max(noise, 1e-20, table.rounding(c.function(False), c.inputs))
    for x, a, b, n in zip(c.inputs, right, wrong, right_near):
        off = np.abs(a - b)
        seen = (off > 1e-4 * np.abs(a).max()) & (off * np.abs(x) > 1e6 * noise) & (off > 1e3 * np.abs(a - n).max())
        if np.isfinite(b).all() and seen.any():
            return True
    return False


def a_pixel_is_lost(c: Composition) -> bool:
    """Whether a likelihood adds a pixel to another so large that it leaves no trace.

    Of logits 1e60 and 1e40 the value is that of the first alone, which may be exactly 0, and no step shows the other.
    """
    values = list(c.inputs)
    with np.errstate(all="ignore"):
        for step in c.steps:
            values.append(step.op(*(values[i] for i in step.operands), **step.constants)[0])
    logits = [np.abs(values[step.operands[0]]) for step in c.steps if step.op is bernoulli]
    return any(((a > 0.0) & (a < 2.0**-52 * a.sum(axis=-1, keepdims=True))).any() for a in logits)


def pullback_is_lost(c: Composition, report: Report) -> bool:
    """Whether something that is refused is itself, with 19 digits, another number: the pullback is rounded away."""
    with np.errstate(all="ignore"):
        _, here = gradients(c, False, c.inputs)
        _, exact = gradients(c, False, tuple(x.astype(np.longdouble) for x in c.inputs))
    return any(np.abs(a - b).max() > 0.1 * np.abs(b).max() for row, a, b in zip(report.rows, here, exact) if row.wrong)


def judged(seed: int) -> tuple[str, str]:
    """("right" or "wrong" or "skipped" or "lost", "" or how it was misjudged)"""
    rng = np.random.default_rng([seed, 3])
    c = compose(rng)
    with np.errstate(all="ignore"):
        outputs, right = gradients(c, False, c.inputs)
        if not all((np.abs(a) < 1e150).all() for a in (*outputs, *right)):            # nor infinite nearby
            return "skipped", ""
        planted = bool(rng.random() < 0.5) and plant(c, rng)
    try:
        report = gradcheck(c.function(planted), *c.inputs, seed=seed)
    except GradientError as error:
        if planted:
            return "wrong", ""
        if a_pixel_is_lost(c) or pullback_is_lost(c, error.report):
            return "lost", ""
        return "right", f"a right one is refused\n{error}"
    if planted:
        return "wrong", f"{c.mistake} is not refused\n{report}"
    return "right", ""


def main() -> int:
    """Judge many, and list the misjudged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    opt = parser.parse_args()
    counts = {"right": 0, "wrong": 0, "skipped": 0, "lost": 0}
    misjudged = 0
    for seed in tqdm(range(opt.first, opt.first + opt.count), mininterval=5.0):
        kind, says = judged(seed)
        counts[kind] += 1
        if kind == "lost":
            print(f"seed {seed}: right, and refused, but lost in rounding", flush=True)
        if says:
            misjudged += 1
            print(f"seed {seed}: {says}", flush=True)
    print(f"{counts['right']:,} right and {counts['wrong']:,} wrong judged, {counts['skipped']:,} not finite, "
          f"{counts['lost']:,} right ones refused that are lost in rounding; "
          f"misjudged: {misjudged}")
    return 1 if misjudged else 0


if __name__ == "__main__":
    raise SystemExit(main())
