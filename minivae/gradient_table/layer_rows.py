"""The rows of layers and likelihoods."""

from __future__ import annotations

import numpy as np

from minivae import nn, ops, parts
from minivae.backend import Generator
from minivae.gradient_table.case import Case, layer_row, off_zero, row
from minivae.parts.pixel_cnn import Blocks


def layer_cases(rng: Generator) -> list[Case]:
    """nn/layers.py"""
    n, L = rng.standard_normal, nn
    twice = L.Linear(3, 3, rng=rng)
    two = L.Sequential(L.Linear(3, 4, rng=rng), L.Activation(ops.tanh), L.Linear(4, 2, rng=rng))
    return [
        layer_row(rng, L.Linear(3, 5, rng=rng), n((4, 3))),
        layer_row(rng, L.Linear(2, 2, rng=rng), n((1, 2)), note="one row"),
        layer_row(rng, L.Embedding(4, 3, rng=rng), codes=np.array([[3, 0], [0, 1]])),
        layer_row(rng, L.Residual(L.mlp(3, 2, 3, rng=rng, activation="tanh")), n((4, 3))),
        layer_row(rng, L.Activation(ops.tanh), n((3, 4))),
        layer_row(rng, L.Activation(ops.leaky_relu, slope=0.2), off_zero(n((3, 4))), note="with a constant"),
        layer_row(rng, L.Sequential(L.Linear(3, 2, rng=rng)), n((4, 3)), note="one layer"),
        layer_row(rng, L.Sequential(L.Activation(ops.tanh), *two.layers), n((4, 3)), note="the first learns nothing"),
        layer_row(rng, two, n((4, 3))),
        layer_row(rng, L.Sequential(twice, L.Activation(ops.tanh), twice), n((4, 3)),
                  note="one layer used twice", parameters=twice.parameters()),
        *(layer_row(rng, L.mlp(3, 4, 2, rng=rng, activation=name), n((3, 3)), note=f"mlp {name}")
          for name in ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")),
        layer_row(rng, L.mlp(2, 3, 3, rng=rng, activation="tanh", last=True), n((1, 2)),
                  note="mlp tanh to the last"),
    ]


def recurrent_layer_cases(rng: Generator) -> list[Case]:
    """nn/recurrent_layers.py"""
    n, plain, told = rng.standard_normal, nn.LSTM(2, 2, rng=rng), nn.LSTM(1, 2, condition=3, rng=rng)
    mask, y = np.array([[True, True], [False, True], [True, False]]), n((2, 3))
    return [
        layer_row(rng, plain, n((2, 3, 2)), n((3, 2)), n((3, 2))),
        layer_row(rng, plain, n((3, 2, 2)), n((2, 2)), n((2, 2)), mask=mask, note="with a mask"),
        layer_row(rng, told, n((3, 2, 1)), n((2, 2)), n((2, 2)), mask=mask, y=y, note="that hears a condition"),
    ]


def image_layer_cases(rng: Generator) -> list[Case]:
    """nn/image_layers.py and nn/batch_norm.py"""
    n, L = rng.standard_normal, nn
    twice, norm, learner = L.Conv2d(2, 2, kernel=3, padding=1, rng=rng), L.BatchNorm(3), L.BatchNorm(3).learning()
    between = L.Sequential(L.BatchNorm(2).learning(), L.Activation(ops.tanh))
    heard = {name: p for name, p in between.parameters().items() if "running" not in name}
    moving = {name: p for name, p in norm.parameters().items() if not name.startswith("running")}
    for layer in (norm, learner):
        layer.running_mean.value[...], layer.running_var.value[...] = n(3), 0.5 + rng.random(3)
    return [
        layer_row(rng, L.Conv2d(2, 3, kernel=4, stride=2, padding=1, rng=rng), n((2, 4, 4, 2))),
        layer_row(rng, L.ConvTranspose2d(3, 2, kernel=4, stride=2, padding=1, rng=rng), n((2, 2, 2, 3))),
        layer_row(rng, L.ConvTranspose2d(2, 1, kernel=3, stride=2, extra=1, rng=rng), n((1, 2, 3, 2)),
                  note="one extra"),
        layer_row(rng, L.MaskedConv2d(2, 3, taps=((-1, 0), (-1, 1), (0, -1)), rng=rng), n((2, 3, 3, 2))),
        layer_row(rng, nn.Sequential(twice, nn.Activation(ops.tanh), twice), n((2, 3, 3, 2)),
                  note="one convolution used twice", parameters=twice.parameters()),
        layer_row(rng, norm, n((4, 2, 2, 3)), parameters=moving),
        layer_row(rng, learner, n((4, 2, 2, 3)), parameters={name: learner.parameters()[name] for name in moving}),
        *(layer_row(rng, how(between), n((3, 2)), n((2, 2)), parameters=heard) for how in (L.Apart, L.Mixed)),
        layer_row(rng, L.Reshape(2, 3, 1), n((2, 6))),
        layer_row(rng, L.Planes(2), n((2, 2, 3, 6))),
    ]


def likelihood_cases(rng: Generator) -> list[Case]:
    """parts/: every likelihood"""
    n, p, grey = rng.standard_normal, parts, np.array([[0.0, 0.2, 1.0], [0.4, 0.0, 0.6]])
    judge, learner = p.GaussianOptimal(), p.GaussianOptimal().learning()
    judge.running_var.value[...] = 0.6                                     # the running average does not learn
    return [
        layer_row(rng, p.Bernoulli(), n((4, 3)), x=1.0 * (rng.random((4, 3)) < 0.5)),
        layer_row(rng, p.GaussianFixed(0.5), n((4, 3)), x=n((4, 3))),
        layer_row(rng, p.GaussianShared(), n((4, 3)), x=n((4, 3))),
        layer_row(rng, p.GaussianPixel(), n((4, 6)), x=n((4, 3))),
        layer_row(rng, p.GaussianPixel(), n((1, 2)), x=n((1, 1)), note="one row, one pixel"),
        layer_row(rng, p.StructuredGaussian((2, 3)), n((2, 36)), x=n((2, 6))),
        layer_row(rng, p.StructuredGaussian((1, 2)), n((1, 12)), x=n((1, 2)), note="one row, two pixels"),
        row(judge, n((4, 3)), x=n((4, 3))),
        row(learner, n((4, 3)), x=n((4, 3))),
        row(p.InUnits(p.GaussianPixel(), np.array([0.5, -9.0, 0.0]), np.array([20.0, 1.0, 0.3])), n((4, 6)),
            x=n((4, 3))),
        row(p.InUnits(p.Bernoulli(), np.zeros(3), np.full(3, 255.0)), n((2, 3)), x=255.0 * grey, note="a mass"),
        layer_row(rng, p.LogisticShared(), n((2, 3)), x=grey),
        layer_row(rng, p.LogisticPixel(), n((2, 6)), x=grey),
        layer_row(rng, p.LogisticPixel(), n((1, 2)), x=grey[:1, 1:2], note="one row, one pixel"),
    ]


def pixel_cnn_cases(rng: Generator) -> list[Case]:
    """parts/pixel_cnn.py, parts/codebook.py, parts/centres.py"""
    n, p = rng.standard_normal, parts
    block, blocks = p.GatedBlock(2, rng=rng), Blocks(p.GatedBlock(1, rng=rng), p.GatedBlock(1, rng=rng))
    top, bottom = p.PixelCNN(3, channels=2, blocks=1, rng=rng), p.PixelCNN(2, upper=3, channels=1, blocks=2, rng=rng)
    told = p.PixelCNN(2, upper=3, classes=3, size=(2, 2), channels=1, blocks=1, rng=rng)
    book, z = p.Codebook(4, 2, rng=rng), n((2, 2, 3, 2))
    e = book.look_up(book.nearest(z))
    centres = p.Centres(3, 2)
    for parameter in centres.parameters().values():
        parameter.value[...] = 0.5 + rng.random(parameter.value.shape)
    return [
        layer_row(rng, block, n((2, 2, 3, 2)), n((2, 2, 3, 2)), n((2, 2, 3, 4)), n((2, 2, 3, 4))),
        layer_row(rng, blocks, n((1, 2, 2, 1)), n((1, 2, 2, 1)), n((1, 2, 2, 8))),
        layer_row(rng, top, codes=rng.integers(0, 3, (2, 2, 3)), above=np.zeros((2, 2, 3), int), note="nothing above"),
        layer_row(rng, bottom, codes=rng.integers(0, 2, (1, 4, 4)), above=rng.integers(0, 3, (1, 2, 2))),
        layer_row(rng, told, codes=rng.integers(0, 2, (3, 4, 4)), above=rng.integers(0, 3, (3, 2, 2)),
                  labels=np.array([2, 0, 2]), note="told a class"),
        row(bottom.logits, parameters=bottom.parameters(), codes=np.array([[[1, 0], [0, 0]]]),
            above=np.array([[[2]]])),
        row(book, z, held=(e, e - z), note="the words held"),          # they do not learn by a gradient, nor do centres
        row(centres, n((4, 2)), y=ops.one_hot(np.array([0, 2, 2, 1]), classes=3, dtype=float)),
    ]
