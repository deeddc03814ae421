"""The visible tests of assignment 6: the numbers are the textbook's, and what is moved for them is counted.

`lib.counted` runs step.py with a NumPy whose every call is counted; `lib.counts` is what was counted since it was asked
before.  The recording beside this file holds the textbook's numbers and counts.
"""

from pathlib import Path

import numpy as np

from minivae.coursework.testing import Budget, Expected, points, returned

TEXTBOOK = Path(__file__).with_name("textbook.py").read_text(encoding="utf-8")
LAYERS = ("pixels", "hidden", "mean", "logvar", "trunk")               # from the loss backwards: the first is the cause
NAMES = [f"{layer}_{key}" for layer in LAYERS for key in "Wb"]


def passes(lib, **shares):
    """What was counted, and what of the textbook's it may be: many more calls than the textbook's are a Python loop."""
    return Budget(lib.counts(), **shares, calls=4.0)


def opened(lib, name):
    """A class or function of step.py; what it does is counted from here on."""
    return lib.get(lib.counted("step", TEXTBOOK), name)


def weights(rng, X, H, Z):
    """As large as they are when a model begins, and no bias zero"""
    shapes = {"trunk": (X, H), "mean": (H, Z), "logvar": (H, Z), "hidden": (Z, H), "pixels": (H, X)}
    found = {}
    for name, (rows, columns) in shapes.items():
        found[f"{name}_W"] = single(rng.standard_normal((rows, columns)) / np.sqrt(rows))
        found[f"{name}_b"] = single(0.1 * rng.standard_normal(columns))
    return found


def batch(rng, B, X, Z):
    """Black and white pixels, and noise"""
    return single(rng.random((B, X)) < 0.3), single(rng.standard_normal((B, Z)))


def single(x):
    return np.asarray(x, dtype=np.float32)


def double(x):
    """What came in float32, to be compared to 10⁻⁶ of its length"""
    return np.array(x, dtype=np.float64) if isinstance(x, np.ndarray) else x


def read(lib, model, part):
    """A copy of every weight or gradient"""
    found = lib.get(model, part)
    return {name: double(found[name]) for name in NAMES}


def gradients(lib, model, x, eps):
    """What `gradient` returns, and what is in `grads` then"""
    nll, kl = returned(lib.call(lib.get(model, "gradient"), x, eps), "nll", "kl")
    return {"nll, kl": np.array([nll, kl], np.float64)} | {
        f"gradient of {name}": Expected(g, "gradient", g, len(x)) for name, g in read(lib, model, "grads").items()}


def moves(lib, rng, X, H, Z, updates, **shares):
    """How far the last of so many updates moves each weight, each with another gradient; and what that one took"""
    model = lib.call(opened(lib, "VAE"), weights(rng, X, H, Z), lr=0.5)
    for _ in range(updates):
        before = read(lib, model, "weights")
        for name in NAMES:
            lib.set(model, f"grads.{name}", single(1 + 0.5 * rng.standard_normal(before[name].shape)))
        lib.counts()
        lib.call(lib.get(model, "update"))
    after, counted = read(lib, model, "weights"), passes(lib, **shares)
    return {f"Δ {name}": Expected(after[name] - before[name], "update", after[name] - before[name], updates)
            for name in NAMES} | {"passes": counted}


# ── 1: float64 ────────────────────────────────────────────────────────────────────────────────


@points(2, task="1.1", tolerance=1e-6)
def gradient_in_float32(lib, rng):
    """the gradient of a batch, and no array of float64 on the way"""
    model = lib.call(opened(lib, "VAE"), weights(rng, 60, 20, 5))
    lib.counts()
    return gradients(lib, model, *batch(rng, 16, 60, 5)) | {"passes": passes(lib, float64=0.0)}


@points(2, task="1.2", tolerance=1e-6)
def update_in_float32(lib, rng):
    """the second step of Adam, and no array of float64 in it"""
    return moves(lib, rng, 60, 20, 5, 2, float64=0.0)


# ── 2: the loss ───────────────────────────────────────────────────────────────────────────────


def loss(lib, logits, x, dnll, **shares):
    """nll, its gradient, the gradient of another cotangent; and what the first two took"""
    nll, pull = returned(lib.call(opened(lib, "bernoulli_nll"), logits, x), "nll", "its pullback")
    dlogits = lib.call(pull, dnll)
    counted, again = passes(lib, **shares), lib.call(pull, 2 * dnll)
    given = [double(a) for a in (logits, x, dnll)]
    return {"nll": Expected(double(nll), "nll", *given[:2]), "dlogits": Expected(double(dlogits), "dlogits", *given),
            "dlogits, asked again": double(again), "passes": counted}


@points(3, task="2.1", tolerance=1e-6)
def loss_in_few_passes(lib, rng):
    """nll and its gradient, in three quarters of the bytes"""
    logits, x, dnll = 2 * rng.standard_normal((24, 80)), rng.random((24, 80)) < 0.3, rng.standard_normal(24)
    return loss(lib, single(logits), single(x), single(dnll), moved=0.75)


@points(2, task="2.2", tolerance=1e-6)
def loss_with_one_exponential(lib, rng):
    """nll and its gradient, with one exponential and one logarithm for each pixel"""
    logits, x, dnll = 2 * rng.standard_normal((24, 80)), rng.random((24, 80)) < 0.3, rng.standard_normal(24)
    return loss(lib, single(logits), single(x), single(dnll), functions=0.67)


# ── 3: the layers ─────────────────────────────────────────────────────────────────────────────


def layer(lib, rng, B, rows, columns, **shares):
    """y, dx, dW and db of the second of two batches, and what they took; what the first returned must still be there"""
    W, b = single(rng.standard_normal((rows, columns))), single(rng.standard_normal(columns))
    linear = lib.call(opened(lib, "Linear"), W, b)
    for _ in range(2):
        x, dy = (single(rng.standard_normal((B, size))) for size in (rows, columns))
        lib.set(linear, "dW", 0.0)
        lib.set(linear, "db", 0.0)
        lib.counts()
        y, pull = returned(lib.call(linear, x), "y", "its pullback")
        dx = lib.call(pull, dy)
    db, dW = (double(lib.get(linear, name)) for name in ("db", "dW"))
    counted = passes(lib, **shares)
    return {"y": double(y), "db": Expected(db, "layer", B), "dW": Expected(dW, "layer", B), "dx": double(dx),
            "passes": counted}


@points(3, task="3.1", tolerance=1e-6)
def layer_in_few_passes(lib, rng):
    """a layer's value and gradients, in 60% of the bytes"""
    return layer(lib, rng, 6, 80, 60, moved=0.6)


@points(2, task="3.2", tolerance=1e-6)
def no_gradient_of_the_data(lib, rng):
    """the gradient, with 90% of the multiplications in matrix products"""
    model = lib.call(opened(lib, "VAE"), weights(rng, 300, 40, 3))
    lib.counts()
    return gradients(lib, model, *batch(rng, 3, 300, 3)) | {"passes": passes(lib, products=0.9)}


# ── 4: Adam ───────────────────────────────────────────────────────────────────────────────────


@points(2, task="4.1", tolerance=1e-6)
def update_in_place(lib, rng):
    """the third step of Adam, with no new array as large as a layer"""
    return moves(lib, rng, 60, 20, 5, 3, new=0.02)


@points(2, task="4.2", tolerance=1e-6)
def update_in_few_passes(lib, rng):
    """the third step of Adam, in 25 passes over as many numbers as there are weights"""
    return moves(lib, rng, 60, 20, 5, 3, moved=0.47)


# ── 5: all of it ──────────────────────────────────────────────────────────────────────────────


def steps(lib, rng, B, X, H, Z, count, **shares):
    """So many steps of training, each on another batch: what is told, where the weights are, what all but the first took.

    The steps are small: where a gradient is no more than rounding, Adam's step is as long as anywhere.
    """
    model, found = lib.call(opened(lib, "VAE"), weights(rng, X, H, Z), lr=2e-6), {}
    for t in range(1, count + 1):
        told = lib.call(lib.get(model, "train_step"), *batch(rng, B, X, Z))
        found[f"nll, kl of step {t}"] = np.array([told["nll"], told["kl"]], np.float64)
        if t == 1:
            lib.counts()
    found |= {f"{name} after {count} steps": w for name, w in read(lib, model, "weights").items()}
    return found | {"passes": passes(lib, **shares)}


@points(3, task="5.1", tolerance=1e-6, joined=True)
def step_in_half_the_bytes(lib, rng):
    """four steps of training, the last three in 54% of the bytes"""
    return steps(lib, rng, 32, 120, 60, 8, 4, moved=0.54)


@points(2, task="5.2", tolerance=1e-6, joined=True)
def step_with_nothing_new(lib, rng):
    """four steps of training, the last three without new arrays as large as a batch"""
    return steps(lib, rng, 32, 120, 60, 8, 4, new=0.03)
