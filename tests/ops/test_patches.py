"""Patches against the textbook's loops: whatever the taps, however many images are near at a time."""

import numpy as np
import pytest

from minivae import ops
from minivae.ops import patches
from minivae.ops.patches import Patches, correlate, heard_by_weights, window

SQUARE = window(3, -1)
TAPS = [SQUARE, SQUARE[:4], SQUARE[:5], ((-2, -1), (-2, 0), (-1, -1), (-1, 0)), ((0, 0),), ((0, 0), (0, 0)),
        ((1, -2), (-5, 0), (0, 3)), ((2, 1), (2, 2)), ((-1, 0), (0, 0), (1, 0))]


def textbook(x, taps, size, stride):
    """The formula of Patches, number by number."""
    (B, H, width, C), seen = x.shape, np.zeros((len(x), *size, len(taps), x.shape[3]))
    for i in range(size[0]):
        for j in range(size[1]):
            for n, (down, right) in enumerate(taps):
                row, column = stride * i + down, stride * j + right
                if 0 <= row < H and 0 <= column < width:
                    seen[:, i, j, n] = x[:, row, column]
    return seen.reshape(B, *size, len(taps) * C)


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize(("size", "stride"), [((4, 5), 1), ((3, 2), 2), ((6, 1), 1), ((1, 1), 3)])
@pytest.mark.parametrize("near", [1, 400, 2**20])
def test_every_place_sees_its_taps_of_some_images_at_a_time(taps, size, stride, near, monkeypatch):
    monkeypatch.setattr(patches, "NEAR", near)
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((5, 4, 5, 2)), rng.standard_normal((len(taps), 2, 3))
    seen, expected = Patches(x, taps=taps, size=size, stride=stride), textbook(x, taps, size, stride)
    for _ in range(2):                                 # as often as one likes
        found = [(some, rows.copy()) for some, rows in seen]
        assert [i for some, _ in found for i in range(*some.indices(5))] == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in found]).reshape(expected.shape), expected)
    dy = rng.standard_normal((5, *size, 3))
    np.testing.assert_allclose(correlate(seen, W), expected @ W.reshape(-1, 3), rtol=1e-12, atol=1e-12)
    dW = np.einsum("bijn,bijf->nf", expected, dy)
    np.testing.assert_allclose(heard_by_weights(dy, seen), dW, rtol=1e-12, atol=1e-12)


def test_of_many_images_no_more_are_made_than_are_near(monkeypatch):
    monkeypatch.setattr(patches, "NEAR", 4 * 5 * 9 * 2 * 3)              # three images' patches
    x = np.zeros((8, 4, 5, 2))
    assert [len(rows) // 20 for _, rows in Patches(x, taps=SQUARE, size=(4, 5))] == [3, 3, 2]
    few = Patches(x[:3], taps=SQUARE, size=(4, 5))
    assert np.shares_memory(next(iter(few))[1], next(iter(few))[1]), "few are kept"
    alone = next(iter(Patches(x, taps=((0, 0),), size=(4, 5))))[1]
    assert np.shares_memory(alone, x), "a pixel that sees itself alone is not copied"


@pytest.mark.parametrize(("taps", "rectangles"), [
    (SQUARE, [(-1, -1, 3, 3)]), (SQUARE[:4], [(-1, -1, 1, 3), (0, -1, 1, 1)]), (SQUARE[::-1], [
        (1, 1, 1, 1), (1, 0, 1, 1), (1, -1, 1, 1), (0, 1, 1, 1), (0, 0, 1, 1), (0, -1, 1, 1), (-1, 1, 1, 1),
        (-1, 0, 1, 1), (-1, -1, 1, 1)]), (((-1, 0), (0, 0)), [(-1, 0, 2, 1)]), (SQUARE[:2] + SQUARE[3:6], [
            (-1, -1, 1, 2), (0, -1, 1, 3)])])
def test_taps_that_follow_each_other_are_copied_together(taps, rectangles):
    assert patches._rectangles(taps) == rectangles


@pytest.mark.parametrize("taps", TAPS)
def test_a_masked_convolution_is_the_textbooks(taps):
    rng = np.random.default_rng(1)
    x, W, b = rng.standard_normal((2, 4, 5, 2)), rng.standard_normal((len(taps), 2, 3)), rng.standard_normal(3)
    y, pull = ops.masked_conv2d(x, W, b, taps=taps)
    np.testing.assert_allclose(y, textbook(x, taps, (4, 5), 1) @ W.reshape(-1, 3) + b, rtol=1e-12, atol=1e-12)
    dy, other = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    moved, _ = ops.masked_conv2d(other, W, 0.0 * b, taps=taps)
    np.testing.assert_allclose((pull(dy)[0] * other).sum(), (dy * moved).sum(), rtol=1e-11)      # its adjoint
