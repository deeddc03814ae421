"""The rows of ops, convolutions and densities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import conv, ops
from minivae import distributions as D
from minivae.backend import Generator
from minivae.gradient_table.case import Case, off_zero, row


def op_cases(rng: Generator) -> list[Case]:
    """ops.py"""
    n = rng.standard_normal
    over_classes = (ops.logsumexp, ops.log_mean_exp, ops.log_softmax)
    smooth = (ops.elu, ops.gelu, ops.tanh, ops.sigmoid, ops.softplus)
    kinked = np.array([[-1.0, 0.0, 2.0], [0.0, -0.0, 0.5]])
    return [
        row(ops.linear, n((4, 3)), n((3, 5)), n(5)),
        row(ops.linear, n((1, 2)), n((2, 3)), n(3), note="one row"),
        row(ops.linear, 5.0 * n((3, 3)), n((3, 3)), n(3), note="all square"),
        row(ops.linear, n((5, 1)), n((1, 1)), n(1), note="one number to one number"),
        *(row(op, off_zero(n((3, 4)))) for op in (ops.relu, ops.leaky_relu)),
        *(row(op, off_zero(n((1, 3))), note="one row") for op in (ops.relu, ops.leaky_relu)),
        *(row(op, kinked, note="on the kink") for op in (ops.relu, ops.leaky_relu)),
        row(ops.leaky_relu, off_zero(n((2, 3, 2))), slope=0.3, note="slope 0.3"),
        *(row(op, n((3, 4))) for op in smooth),
        *(row(op, n((1, 3)), note="one row") for op in smooth),
        *(row(op, 8.0 * n((2, 3, 2)), note="3-D, large") for op in smooth),
        *(row(op, kinked, note="at 0") for op in smooth),
        row(ops.elu, off_zero(n((3, 4))), alpha=0.7, note="alpha 0.7"),
        row(ops.elu, kinked, alpha=0.7, note="alpha 0.7, on the kink"),
        row(ops.concat, n((3, 2)), n((3, 4))),
        row(ops.concat, n((1, 2, 3)), n((1, 2, 1)), n((1, 2, 2)), note="three, 3-D"),
        row(ops.concat, n((2, 3)), note="one part"),
        row(ops.split, n((3, 6)), sizes=(2, 4)),
        row(ops.split, n((1, 3, 6)), sizes=(1, 2, 3), note="three, 3-D"),
        row(ops.repeat, n((3, 2)), samples=4),
        row(ops.repeat, n((1, 2)), samples=1, note="one row once"),
        row(ops.repeat, n((2, 2, 3)), samples=2, note="3-D"),
        *(row(op, n((3, 4))) for op in over_classes),
        *(row(op, n(5), note="1-D") for op in over_classes),
        *(row(op, 5.0 * n((2, 3, 4)), note="3-D, large") for op in over_classes),
        *(row(op, n((3, 1)), note="one class") for op in over_classes),
    ]


def conv_cases(rng: Generator) -> list[Case]:
    """conv.py"""
    n = rng.standard_normal
    shapes = [(3, 1, 0, 2), (4, 2, 1, 2), (3, 2, 1, 5), (2, 3, 1, 1), (1, 1, 0, 2), (5, 2, 2, 16)]
    rows = []
    for k, stride, padding, C in shapes:
        note = f"kernel {k}, stride {stride}, padding {padding}, {C} channels"
        sizes: dict[str, Any] = {"stride": stride, "padding": padding, "note": note}
        rows += [row(conv.conv2d, n((2, 5, 6, C)), n((k, k, C, 3)), n(3), **sizes),
                 row(conv.conv_transpose2d, n((2, 3, 2, 3)), n((k, k, C, 3)), n(C), extra=stride - 1, **sizes)]
    return [
        *rows,
        row(conv.conv2d, n((1, 2, 2, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        row(conv.conv_transpose2d, n((1, 1, 1, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        row(conv.batch_moments, n((3, 2, 2, 4))),
        row(conv.batch_moments, 3.0 * n((5, 2)), note="rows"),
        row(conv.normalise, n((3, 2, 2, 4)), n(4), 0.5 + rng.random(4), n(4), n(4)),
        row(conv.normalise, n((5, 2)), n(2), 0.1 + rng.random(2), n(2), n(2), eps=0.3, note="rows, eps 0.3"),
        row(conv.upsample, n((2, 2, 3, 2))),
        row(conv.upsample, n((1, 1, 2, 1)), factor=3, note="factor 3"),
        row(conv.average_pool, n((2, 4, 2, 3))),
        row(conv.average_pool, n((1, 3, 6, 1)), factor=3, note="factor 3"),
    ]


def distribution_cases(rng: Generator) -> list[Case]:
    """distributions.py"""
    n = rng.standard_normal
    bits, grey = (lambda *shape: 1.0 * (rng.random(shape) < 0.5)), (lambda *shape: rng.random(shape))
    levels = np.array([[0.0, 1.0, 0.2], [1.0, 0.6, 0.0], [0.4, 0.8, 0.0]])               # the first, the last, between
    return [
        row(D.reparameterize, n((4, 3)), n((4, 3)), eps=n((4, 3))),
        row(D.reparameterize, 5.0 * n((1, 2)), 3.0 * n((1, 2)), eps=n((1, 2)), note="one row, large"),
        row(D.gaussian_log_prob, n((4, 3)), n((4, 3)), n((4, 3))),
        row(D.gaussian_log_prob, 2.0 * n((1, 2)), n((1, 2)), 2.0 * n((1, 2)), note="one row, large"),
        row(D.standard_normal_log_prob, n((4, 3))),
        row(D.standard_normal_log_prob, 5.0 * n((1, 2)), note="one row, large"),
        row(D.gaussian_kl, n((4, 3)), n((4, 3))),
        row(D.gaussian_kl, 5.0 * n((1, 2)), 2.0 * n((1, 2)), note="one row, large"),
        row(D.gaussian_kl_by_latent, n((4, 3)), n((4, 3))),
        row(D.gaussian_kl_by_latent, 5.0 * n((1, 2)), 2.0 * n((1, 2)), note="one row, large"),
        row(D.free_bits, np.array([[0.1, 0.9, 2.0], [0.3, 0.4, 1.0]]), least=0.5),
        row(D.free_bits, n((1, 3)) ** 2, least=0.0, note="one row, none free"),
        row(D.gaussian_kl_between, *n((4, 4, 3))),
        row(D.gaussian_kl_between, *(2.0 * n((4, 1, 2))), note="one row, large"),
        row(D.bernoulli_nll, n((4, 3)), x=bits(4, 3)),
        row(D.bernoulli_nll, 5.0 * n((3, 4)), x=grey(3, 4), note="grey, large"),
        row(D.bernoulli_nll, np.zeros((1, 2)), x=np.array([[0.0, 1.0]]), note="one row, at 0"),
        row(D.gaussian_nll, n((4, 3)), n((4, 3)), x=n((4, 3))),
        row(D.gaussian_nll, 2.0 * n((1, 2)), 2.0 * n((1, 2)), x=n((1, 2)), note="one row, large"),
        row(D.gaussian_nll_shared, n((4, 3)), np.array(0.4), x=n((4, 3))),
        row(D.gaussian_nll_shared, n((1, 2)), np.array(-2.5), x=n((1, 2)), note="one row"),
        row(D.gaussian_nll_fixed, n((4, 3)), x=n((4, 3))),
        row(D.gaussian_nll_fixed, n((1, 2)), x=n((1, 2)), std=0.3, note="one row, std 0.3"),
        row(D.gaussian_nll_optimal, n((4, 3)), x=n((4, 3))),
        row(D.gaussian_nll_optimal, n((1, 2)), x=n((1, 2)), note="one row"),
        row(D.gaussian_nll_optimal, n((3, 2)), x=n((3, 2)), least=30.0, note="the least σ²"),
        row(D.discretized_logistic_nll, grey(3, 3), n((3, 3)) - 1.0, x=levels),
        row(D.discretized_logistic_nll, 3.0 * n((3, 3)), n((3, 3)) - 2.0, x=levels, note="far in the tails"),
        row(D.discretized_logistic_nll, n((1, 2)), n((1, 2)), x=np.array([[0.5, 1.0]]), bin=0.5, note="three levels"),
        row(D.discretized_logistic_nll, 0.2 + 0.001 * n((1, 3)), n((1, 3)) - 6.0, x=levels[:1, 2:] + 0.004 * bits(1, 3),
            note="narrower than a bin"),
        row(D.discretized_logistic_nll_shared, grey(3, 3), np.array(-2.0), x=levels),
        row(D.discretized_logistic_nll_shared, n((1, 2)), np.array(0.7), x=levels[:1, 1:], note="one row"),
        row(D.categorical_nll, n((4, 3)), labels=np.array([2, 0, 1, 1])),
        row(D.categorical_nll, 5.0 * n((1, 4)), labels=np.array([3]), note="one row, large"),
    ]
