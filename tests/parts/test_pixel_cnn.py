"""The gated PixelCNN: who hears whom, without a blind spot; probabilities; draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from minivae import nn, ops
from minivae.parts import PixelCNN

RNG = np.random.default_rng(0)


def prior(codes=3, **sizes):
    made = PixelCNN(codes, **{"channels": 4, "blocks": 2, **sizes}, rng=np.random.default_rng(1))
    for i, p in enumerate(made.parameters().values()):
        p.value[...] += 0.3 * np.random.default_rng(i).standard_normal(p.value.shape)
    return made


def heard(logits, codes, i):
    """Which pixels' logits move if pixel i does        -> (H·W,)"""
    other = codes.copy()
    other.reshape(-1)[i] = (other.reshape(-1)[i] + 1) % 3
    return np.abs(logits(codes) - logits(other)).max(axis=-1).reshape(-1) > 0.0


def test_no_pixel_hears_itself_or_a_later_one_and_each_hears_all_earlier_ones():
    model, codes = prior(channels=8, blocks=4), RNG.integers(0, 3, (1, 5, 5))
    for i in range(25):
        who = heard(lambda c: model.logits(codes=c, above=np.zeros_like(c))[0], codes, i)
        assert not who[:i + 1].any()
        assert who[i + 1:].all(), "no blind spot"


def test_one_stack_of_masked_convolutions_has_a_blind_spot():
    """What two stacks are for: three by three, the left and the upper half.  Pixel (1, 4) is never heard at (2, 1)."""
    rng, taps = np.random.default_rng(0), ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    layers = [nn.Embedding(3, 4, rng=rng), nn.MaskedConv2d(4, 4, taps=taps, rng=rng)]
    layers += [nn.MaskedConv2d(4, 4, taps=(*taps, (0, 0)), rng=rng) for _ in range(6)]

    def logits(codes):
        h = layers[0](codes=codes)[0]
        for layer in layers[1:]:
            h = ops.tanh(layer(h)[0])[0]
        return h

    codes = RNG.integers(0, 3, (1, 5, 5))
    who = heard(logits, codes, 9).reshape(5, 5)                      # pixel (1, 4)
    assert who[2:, 2:].any()
    assert not who[2, :3].any(), "blind, however many layers there are"


@pytest.mark.parametrize("upper", [1, 2])
def test_the_probabilities_of_all_pictures_sum_to_one(upper):
    model = prior(2, upper=upper)
    codes = np.array(list(product(range(2), repeat=4))).reshape(16, 2, 2)
    above = np.full((16, 1, 1), upper - 1)
    assert np.exp(-model(codes=codes, above=above)[0]).sum() == pytest.approx(1.0, abs=1e-12)


def test_draws_are_as_frequent_as_they_are_probable():
    model, n = prior(2, upper=2), 20_000
    above = np.full((n, 1, 1), 1)
    drawn = model.sample(above, np.random.default_rng(3), shape=(2, 2))
    kinds = np.array(list(product(range(2), repeat=4))).reshape(16, 2, 2)
    p = np.exp(-model(codes=kinds, above=above[:16])[0])
    found = np.bincount(drawn.reshape(n, 4) @ [8, 4, 2, 1], minlength=16) / n
    assert np.abs(found - p).max() < 5.0 * np.sqrt(p * (1.0 - p) / n).max()


@pytest.mark.parametrize("shape", [(5, 7), (4, 2), (1, 3)])
def test_what_is_computed_for_a_pixel_alone_is_what_the_whole_picture_would_say(shape):
    """Drawn by computing everything anew for every pixel: the same codes."""
    model, (H, W), n = prior(4, upper=2), shape, 3
    above = RNG.integers(0, 2, (n, H, W))
    drawn, rng = model.sample(above, np.random.default_rng(5), shape=shape), np.random.default_rng(5)
    codes = np.zeros((n, H, W), int)
    for i, j in product(range(H), range(W)):
        logits = model.logits(codes=codes, above=above)[0][:, i, j]
        codes[:, i, j] = (logits - np.log(rng.standard_exponential(logits.shape) + 1e-30)).argmax(axis=1)
    np.testing.assert_array_equal(drawn, codes)
    np.testing.assert_array_equal(drawn, model.sample(above, np.random.default_rng(5), shape=shape))


def test_a_pixel_costs_what_it_sees_and_not_the_picture(monkeypatch):
    """Of a picture of 6 × 20 a block is never shown more than two columns of h, nor two rows of v."""
    shapes, masked = [], nn.MaskedConv2d.__call__
    monkeypatch.setattr(nn.MaskedConv2d, "__call__", lambda self, x: (shapes.append(x.shape), masked(self, x))[1])
    prior().sample(np.zeros((1, 6, 20), int), RNG, shape=(6, 20))
    assert len(shapes) == (1 + 2) * (6 + 6 * 20), "the first and two blocks, of each row and of each pixel"
    assert {shape[1] for shape in shapes if shape[2] == 20} <= {1, 2, 3}
    assert max(shape[2] for shape in shapes if shape[1] == 1 and shape[2] < 20) == 3


def test_it_is_told_what_is_above():
    model, codes = prior(upper=3), RNG.integers(0, 3, (1, 4, 4))
    one, two = (model(codes=codes, above=np.full((1, 2, 2), k))[0] for k in (0, 2))
    assert one != two


# ── told a class ──────────────────────────────────────────────────────────────────────────────


def of_classes(codes=2, classes=3, **sizes):
    """Its pictures of classes drawn, too: at first they are zero"""
    return prior(codes, classes=classes, **sizes)


def test_it_is_told_a_class_and_starts_as_if_it_were_not():
    model, codes = of_classes(size=(4, 4)), RNG.integers(0, 2, (1, 4, 4))
    one, two = (model(codes=codes, above=np.zeros_like(codes), labels=np.array([k]))[0] for k in (0, 2))
    assert one != two
    new = PixelCNN(2, classes=3, size=(4, 4), channels=4, blocks=2, rng=np.random.default_rng(1))
    old = PixelCNN(2, channels=4, blocks=2, rng=np.random.default_rng(1))
    for labels in (np.array([0]), np.array([2])):
        np.testing.assert_array_equal(new.logits(codes=codes, above=0 * codes, labels=labels)[0],
                                      old.logits(codes=codes, above=0 * codes)[0])


def test_the_probabilities_of_each_class_sum_to_one():
    model = of_classes(upper=2)
    codes = np.array(list(product(range(2), repeat=4))).reshape(16, 2, 2)
    for k in range(3):
        nll, _ = model(codes=codes, above=np.full((16, 1, 1), 1), labels=np.full(16, k))
        assert np.exp(-nll).sum() == pytest.approx(1.0, abs=1e-12)


def test_classes_by_other_names_say_the_same():
    model, codes = of_classes(4, size=(3, 3)), RNG.integers(0, 4, (5, 3, 3))
    labels, other = np.array([2, 0, 1, 1, 2]), np.array([1, 2, 0])
    nll, pullback = model(codes=codes, above=0 * codes, labels=labels)
    pullback(np.arange(5.0))
    heard = model.kind.table.grad.copy()
    model.kind.table.value[...], model.kind.table.grad[...] = model.kind.table.value[np.argsort(other)], 0.0
    again, pullback = model(codes=codes, above=0 * codes, labels=other[labels])
    pullback(np.arange(5.0))
    np.testing.assert_allclose(again, nll, rtol=1e-12)
    np.testing.assert_allclose(model.kind.table.grad, heard[np.argsort(other)], rtol=1e-12)


def test_who_hears_whom_is_the_same_for_every_class():
    model, codes = of_classes(3, size=(5, 5), channels=8, blocks=4), RNG.integers(0, 3, (1, 5, 5))
    for i in (0, 12, 23):
        who = heard(lambda c: model.logits(codes=c, above=np.zeros_like(c), labels=np.array([1]))[0], codes, i)
        assert not who[:i + 1].any()
        assert who[i + 1:].all()


def test_draws_of_a_class_are_what_the_whole_picture_would_say():
    model, (H, W), labels = of_classes(4, upper=2, size=(3, 5)), (3, 5), np.array([2, 0, 1])
    above = RNG.integers(0, 2, (3, H, W))
    drawn = model.sample(above, np.random.default_rng(5), shape=(H, W), labels=labels)
    codes, rng = np.zeros((3, H, W), int), np.random.default_rng(5)
    for i, j in product(range(H), range(W)):
        logits = model.logits(codes=codes, above=above, labels=labels)[0][:, i, j]
        codes[:, i, j] = (logits - np.log(rng.standard_exponential(logits.shape) + 1e-30)).argmax(axis=1)
    np.testing.assert_array_equal(drawn, codes)


def test_a_class_that_is_not_told_is_missed():
    codes = np.zeros((1, 2, 2), int)
    with pytest.raises(ValueError, match="labels: got none, and this prior is told one of 3 classes"):
        of_classes(size=(2, 2)).logits(codes=codes, above=codes)
    with pytest.raises(ValueError, match="labels: got some, and this prior is told one of 0 classes"):
        prior().sample(codes, RNG, shape=(2, 2), labels=np.array([0]))


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="blocks: got 0, expected at least 1"):
        PixelCNN(3, blocks=0, rng=RNG)
