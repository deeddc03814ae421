"""The hidden tests of assignment 6: other sizes and values, numbers far out, batches of another size."""

import runpy
from pathlib import Path

import numpy as np

from minivae.coursework.testing import points

SEEN = runpy.run_path(str(Path(__file__).with_name("visible.py")))
opened, passes, weights, batch, single, gradients, moves, loss, layer, steps = (SEEN[name] for name in (
    "opened", "passes", "weights", "batch", "single", "gradients", "moves", "loss", "layer", "steps"))


def sizes(rng):
    """B, X, H, Z"""
    return tuple(int(rng.integers(low, high)) for low, high in ((20, 40), (90, 150), (40, 70), (4, 9)))


@points(2, task="1.1", hidden=True, tolerance=1e-6)
def gradient_in_float32_of_any_size(lib, rng):
    """the gradients of two batches of different sizes, and no array of float64 on the way"""
    B, X, H, Z = sizes(rng)
    model = lib.call(opened(lib, "VAE"), weights(rng, X, H, Z))
    lib.call(lib.get(model, "gradient"), *batch(rng, B + 3, X, Z))
    return gradients(lib, model, *batch(rng, B, X, Z)) | {"passes": passes(lib, float64=0.0)}


@points(2, task="1.2", hidden=True, tolerance=1e-6)
def update_in_float32_of_any_size(lib, rng):
    """a step of Adam, and no array of float64 in it"""
    return moves(lib, rng, *sizes(rng)[1:], 3, float64=0.0)


def far_out(rng):
    """Logits of all sizes, batch and pixels too"""
    B, X, *_ = sizes(rng)
    logits = single(3 * rng.standard_normal((B, X)))
    logits[:, :4] = [[-300.0, 300.0, 0.0, 30.0]]
    return logits, single(rng.random((B, X)) < 0.5), single(rng.standard_normal(B))


@points(3, task="2.1", hidden=True, tolerance=1e-6)
def loss_in_few_passes_far_out(lib, rng):
    """nll and its gradient for logits up to 300, in three quarters of the bytes"""
    return loss(lib, *far_out(rng), moved=0.75)


@points(2, task="2.2", hidden=True, tolerance=1e-6)
def loss_with_one_exponential_far_out(lib, rng):
    """nll and its gradient for logits up to 300, with one exponential and one logarithm for each pixel"""
    return loss(lib, *far_out(rng), functions=0.67)


@points(2, task="3.1", hidden=True, tolerance=1e-6)
def layer_of_any_size(lib, rng):
    """a layer's value and gradients, in 60% of the bytes"""
    rows, columns = (int(n) for n in rng.permutation(np.arange(60, 90))[:2])
    return layer(lib, rng, 5, rows, columns, moved=0.6)


@points(2, task="3.2", hidden=True, tolerance=1e-6)
def no_gradient_of_other_data(lib, rng):
    """the gradient at another size, with 90% of the multiplications in matrix products"""
    X, H = int(rng.integers(250, 400)), int(rng.integers(35, 50))
    model = lib.call(opened(lib, "VAE"), weights(rng, X, H, 4))
    lib.counts()
    return gradients(lib, model, *batch(rng, 3, X, 4)) | {"passes": passes(lib, products=0.9)}


@points(2, task="4.1", hidden=True, tolerance=1e-6)
def update_in_place_of_any_size(lib, rng):
    """a later step of Adam, with no new array as large as a layer"""
    return moves(lib, rng, *sizes(rng)[1:], 4, new=0.02)


@points(3, task="4.2", hidden=True, tolerance=1e-6)
def update_in_few_passes_of_any_size(lib, rng):
    """a later step of Adam, in 25 passes over as many numbers as there are weights"""
    return moves(lib, rng, *sizes(rng)[1:], 4, moved=0.47)


@points(4, task="5.1", hidden=True, tolerance=1e-6, joined=True)
def step_in_half_the_bytes_of_any_size(lib, rng):
    """five steps of training, the last four in 54% of the bytes"""
    return steps(lib, rng, *sizes(rng), 5, moved=0.54)


@points(2, task="5.2", hidden=True, tolerance=1e-6, joined=True)
def step_with_nothing_new_of_any_size(lib, rng):
    """five steps of training, the last four without new arrays as large as a batch"""
    return steps(lib, rng, *sizes(rng), 5, new=0.03)
