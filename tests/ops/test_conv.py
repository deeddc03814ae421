"""Convolutions against the textbook's loops, adjoint to each other; the convolutional VAE."""

from itertools import product

import numpy as np
import pytest

from minivae import ops
from minivae.backend import device
from minivae.data import load
from minivae.evaluation import evaluate
from minivae.nn import (
    Arena,
    Conv2d,
    ConvTranspose2d,
    Planes,
    Reshape,
    Workers,
    he,
)
from minivae.ops import convolutions
from minivae.training import fit
from minivae.variants import ConvVAEConfig

SHAPES = [(k, s, p, C) for k, s, p, C in product((1, 2, 3, 4, 5), (1, 2, 3), (0, 1, 2), (1, 2, 16)) if p < k]


def textbook(x, W, stride, padding):
    """The formula of conv2d, pixel by pixel."""
    k, framed = len(W), np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((n - k) // stride + 1 for n in framed.shape[1:3])
    y = np.zeros((len(x), rows, columns, W.shape[3]))
    for i, j in product(range(rows), range(columns)):
        patch = framed[:, stride * i:stride * i + k, stride * j:stride * j + k]
        y[:, i, j] = np.einsum("btuc,tucf->bf", patch, W)
    return y


def textbook_transpose(x, W, stride, padding, extra):
    """The formula of conv_transpose2d: every pixel lays down its patch."""
    k, _, C, _ = W.shape
    rows, columns = (stride * (n - 1) + k + extra for n in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, C))
    for i, j in product(*map(range, x.shape[1:3])):
        y[:, stride * i:stride * i + k, stride * j:stride * j + k] += np.einsum("bf,tucf->btuc", x[:, i, j], W)
    return y[:, padding:rows - padding, padding:columns - padding]


@pytest.mark.parametrize(("k", "s", "p", "C"), SHAPES)
def test_a_convolution_is_the_textbooks_and_its_adjoint_the_transposed_one(k, s, p, C):
    rng = np.random.default_rng(k)
    for height, width in ((5, 7), (6, 5), (8, 8)):
        x, W, b = rng.standard_normal((2, height, width, C)), rng.standard_normal((k, k, C, 3)), rng.standard_normal(3)
        y, pull = ops.conv2d(x, W, b, stride=s, padding=p)
        np.testing.assert_allclose(y, textbook(x, W, s, p) + b, rtol=1e-11, atol=1e-11)
        other = rng.standard_normal(y.shape)
        extra = [(n + 2 * p - k) % s for n in (height, width)]
        if extra[0] == extra[1]:                      # conv_transpose2d gives back the very size that conv2d took
            back, _ = ops.conv_transpose2d(other, W, np.zeros(C), stride=s, padding=p, extra=extra[0])
            assert back.shape == x.shape
            np.testing.assert_allclose(((y - b) * other).sum(), (x * back).sum(), rtol=1e-11, atol=1e-10)
            np.testing.assert_allclose(pull(other)[0], back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("k", "s", "p", "C"), SHAPES)
def test_both_ways_to_transpose_are_the_textbooks(k, s, p, C):
    """By gathering, and (for few columns) by scattering."""
    rng = np.random.default_rng(k)
    x, W = rng.standard_normal((2, 4, 3, 3)), rng.standard_normal((k, k, C, 3))
    for extra in range(s):
        expected = textbook_transpose(x, W, s, p, extra)
        if min(expected.shape) < 1:
            continue
        y, pull = ops.conv_transpose2d(x, W, np.zeros(C), stride=s, padding=p, extra=extra)
        np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(convolutions._scatter(x, W, s, p, y.shape), expected, rtol=1e-11, atol=1e-11)
        dy = rng.standard_normal(y.shape)
        np.testing.assert_allclose((pull(dy)[0] * x).sum(), (y * dy).sum(), rtol=1e-11, atol=1e-10)


def test_gradients_are_written_where_they_belong():
    rng = np.random.default_rng(0)
    for layer, x in ((Conv2d(2, 3, kernel=4, stride=2, padding=1, rng=rng), rng.standard_normal((2, 6, 6, 2))),
                     (ConvTranspose2d(3, 2, kernel=3, stride=2, rng=rng), rng.standard_normal((2, 3, 3, 3)))):
        arena = Arena(layer.parameters(), device("cpu"), np.float64)
        y, pullback = layer(x)
        pullback(np.ones_like(y))
        once = arena.grad.copy()
        arena.grad[...] = 9.0
        arena.zero_grad()
        pullback(np.ones_like(y))
        assert np.array_equal(arena.grad, once)
        pullback(np.ones_like(y))
        np.testing.assert_allclose(arena.grad, 2.0 * once, rtol=1e-12)
        assert pullback(np.ones_like(y), need_dx=False) is None


def test_the_initial_weights_keep_the_size_of_the_signal():
    rng = np.random.default_rng(0)
    for layer, channels in ((Conv2d(16, 32, kernel=4, stride=2, padding=1, rng=rng, init=he), 16),
                            (ConvTranspose2d(32, 16, kernel=4, stride=2, padding=1, rng=rng, init=he), 32)):
        x = np.maximum(rng.standard_normal((8, 20, 20, channels)), 0.0)
        y, _ = layer(x)
        assert y[:, 2:-2, 2:-2].std() == pytest.approx(1.0, rel=0.15)


def test_larger_and_smaller():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    large, _ = ops.upsample(x, factor=3)
    assert large.shape == (2, 9, 12, 5)
    assert (large[:, 4, 7] == x[:, 1, 2]).all()
    np.testing.assert_allclose(ops.average_pool(large, factor=3)[0], x, rtol=1e-14)
    y = np.random.default_rng(1).standard_normal(large.shape)      # adjoint, but for the factor²
    np.testing.assert_allclose((large * y).sum(), 9 * (x * ops.average_pool(y, factor=3)[0]).sum(), rtol=1e-12)


# ── the convolutional VAE ─────────────────────────────────────────────────────────────────────


def test_a_small_convolutional_vae_learns():
    digits = load("digits")
    model = ConvVAEConfig(filters=(4, 8), dense=32, latents=5).build(images=digits.train[:500])
    before = evaluate(model, digits.test[:200]).elbo.mean
    fit(model, digits.train[:500], epochs=3, batch_size=25, progress=False)
    assert evaluate(model, digits.test[:200]).elbo.mean > before + 20.0
    assert model.sample(3, np.random.default_rng(0)).shape == (3, 784)


def test_threads_change_nothing_in_a_convolutional_vae():
    found = []
    for threads in (1, 2):
        model = ConvVAEConfig(height=8, width=4, channels=3, filters=(2, 3), dense=5, latents=2).build(dtype=np.float64)
        model.workers = Workers(model, rows_each=1)
        model.workers.hire(threads)
        rng = np.random.default_rng(0)
        for step in range(5):
            model.train_step(np.random.default_rng(step).random((6, 96)), rng)
        found.append(model.arena.value)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("likelihood", ["gaussian_pixel", "logistic_pixel"])
def test_in_colour_it_starts_at_the_average_colour_and_spread(likelihood):
    """All means come first, then all log-variances: what every pixel of a channel begins with is that channel's."""
    rng = np.random.default_rng(0)
    images = np.rint(255 * rng.normal((0.2, 0.5, 0.7), (0.02, 0.05, 0.09), (400, 8, 4, 3)).clip(0, 1)) / 255
    flat = images.reshape(400, -1)
    model = ConvVAEConfig(8, 4, 3, filters=(2,), dense=3, latents=2, likelihood=likelihood).build(
        images=flat, dtype=np.float64)
    model.decoder.layers[-2].W.value[...] = 0.0
    mean, spread = model.decoder(np.zeros((1, 2)))[0].reshape(2, 8, 4, 3)
    expected, _ = model.likelihood.start(flat)
    np.testing.assert_allclose(mean, np.broadcast_to(images.mean(axis=(0, 1, 2)), mean.shape), atol=1e-12)
    np.testing.assert_allclose(spread, np.broadcast_to(expected[96:].reshape(32, 3).mean(axis=0), spread.shape))
    assert (np.diff(spread[0, 0]) > 0).all() or likelihood == "gaussian_pixel"          # whose least variance is 1e-3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_planes_are_one_after_the_other(n):
    planes = np.random.default_rng(0).standard_normal((n, 4, 5, 2, 3))                  # (n, B, H, W, C)
    y, pullback = Planes(n)(np.concatenate(list(planes), axis=-1))
    assert np.array_equal(y, np.concatenate(list(planes.reshape(n, 4, 30)), axis=1))
    assert np.array_equal(pullback(y), np.concatenate(list(planes), axis=-1))
    with pytest.raises(ValueError, match=r"Planes: x has shape \(1, 2, 2, 5\), expected channels that are 2 times"):
        Planes(2)(np.zeros((1, 2, 2, 5)))


def test_it_starts_at_the_average_grey():
    images = np.random.default_rng(0).random((50, 64)) * 0.4
    model = ConvVAEConfig(height=8, width=8, filters=(2,), dense=3, latents=2).build(images=images, dtype=np.float64)
    assert model.decoder.layers[-2].b.value == pytest.approx(np.log(0.2 / 0.8), abs=0.1)
    with pytest.raises(ValueError, match=r"images: got shape \(50, 63\), expected \(N, 64\)"):
        ConvVAEConfig(height=8, width=8).build(images=images[:, :63])


@pytest.mark.parametrize(("sizes", "message"), [
    ({"height": 30}, "height: got 30, expected a multiple of 4, for 2 convolutions"),
    ({"width": 27, "filters": (4,)}, "width: got 27, expected a multiple of 2"),
    ({"filters": ()}, r"filters: got \(\), expected at least one number"),
    ({"filters": (4, 0)}, "filters: got 0, expected a whole number of at least 1"),
    ({"latents": 1.5}, "latents: got 1.5, expected a whole number"),
])
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        ConvVAEConfig(**sizes)


X, W = np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 3, 4))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ops.conv2d(X[0], W, np.zeros(4)), r"conv2d: x has shape \(5, 5, 3\), expected \(B, H, W, 3\)"),
    (lambda: ops.conv2d(X, W[:2], np.zeros(4)), r"conv2d: W has shape \(2, 3, 3, 4\), expected \(k, k, C, F\)"),
    (lambda: ops.conv2d(X, W, np.zeros(3)), r"conv2d: b has shape \(3,\), expected \(4,\)"),
    (lambda: ops.conv2d(X, W, np.zeros(4), stride=0), "conv2d: got stride 0"),
    (lambda: ops.conv2d(X[:, :2], W, np.zeros(4)), "expected images of at least 3 pixels a side"),
    (lambda: ops.conv_transpose2d(X, W, np.zeros(3)), r"conv_transpose2d: x has .*expected \(B, H, W, 4\)"),
    (lambda: ops.conv_transpose2d(np.zeros((1, 2, 2, 4)), W, np.zeros(3), extra=1), r"extra is 1, expected 0 … 0"),
    (lambda: ops.conv_transpose2d(np.zeros((1, 1, 1, 4)), W, np.zeros(3), padding=2), "cuts away everything"),
    (lambda: ops.normalise(X, *np.zeros((4, 2))), r"normalise: mean has shape \(2,\), expected \(3,\)"),
    (lambda: ops.average_pool(X), "images of 5×5 pixels do not divide by 2"),
    (lambda: Conv2d(0, 1, kernel=3, rng=np.random.default_rng(0)), "channels: got 0, expected at least 1"),
    (lambda: Reshape(3, 2)(np.zeros((4, 5))), r"Reshape: x has shape \(4, 5\), expected \(B, …\) with 6 numbers"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
