"""The rows of densities: diagonal Gaussians, and the nll of pixels."""

from __future__ import annotations

import numpy as np

from minivae import distributions as D
from minivae.backend import Array, Generator
from minivae.gradient_table.case import Case, row
from minivae.ops import log_softmax


def gaussian_cases(rng: Generator) -> list[Case]:
    """distributions/gaussian.py"""
    n = rng.standard_normal
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
        row(D.gaussian_kl_between, *n((4, 4, 3))),
        row(D.gaussian_kl_between, *(2.0 * n((4, 1, 2))), note="one row, large"),
    ]


def kl_charge_cases(rng: Generator) -> list[Case]:
    """distributions/kl_charges.py"""
    n = rng.standard_normal
    return [
        row(D.free_bits, np.array([[0.1, 0.9, 2.0], [0.3, 0.4, 1.0]]), least=0.5),
        row(D.free_bits, n((1, 3)) ** 2, least=0.0, note="one row, none free"),
        row(D.capacity_gap, n(4) ** 2, capacity=0.3),
        row(D.capacity_gap, np.array([0.5]), capacity=2.0, note="one row, below"),
    ]


def categorical_cases(rng: Generator) -> list[Case]:
    """distributions/categorical.py"""
    n = rng.standard_normal

    def log_prior(classes: int, scale: float = 1.0) -> Array:
        return log_softmax(scale * n(classes))[0]

    return [
        row(D.expectation, n((4, 3)), n((4, 3))),
        row(D.expectation, 5.0 * n((1, 4)), 5.0 * n((1, 4)), note="one row, large"),
        row(D.expectation, n((3, 1)), n((3, 1)), note="one class"),
        row(D.categorical_kl, n((4, 3)), log_prior=log_prior(3)),
        row(D.categorical_kl, 5.0 * n((1, 4)), log_prior=log_prior(4, 3.0), note="one row, large"),
        row(D.categorical_kl, n((3, 1)), log_prior=log_prior(1), note="one class"),
    ]


def mixture_cases(rng: Generator) -> list[Case]:
    """distributions/mixture.py"""
    n = rng.standard_normal
    return [
        row(D.gaussian_mixture_log_prob, n((4, 3)), n(5), *n((2, 5, 3))),
        row(D.gaussian_mixture_log_prob, n((3, 1)), n(1), *n((2, 1, 1)), note="one component"),
        row(D.gaussian_mixture_log_prob, 3.0 * n((1, 2)), n(4), *n((2, 4, 2)), note="one row, far"),
    ]


def components_cases(rng: Generator) -> list[Case]:
    """distributions/components.py"""
    n = rng.standard_normal
    return [
        row(D.components_log_prob, n((4, 3)), *n((2, 4, 5, 3))),
        row(D.components_log_prob, 3.0 * n((1, 2)), *n((2, 1, 1, 2)), note="one row, one component"),
        row(D.components_kl, *n((2, 4, 3)), *n((2, 4, 5, 3))),
        row(D.components_kl, *(2.0 * n((2, 1, 2))), *n((2, 1, 1, 2)), note="one row, one component"),
        row(D.mixture_kls, *n((3, 4, 3)), *n((2, 4, 5, 3))),
        row(D.mixture_kls, *n((3, 1, 2)), *n((2, 1, 1, 2)), note="one row, one component"),
    ]


def sparse_gaussian_cases(rng: Generator) -> list[Case]:
    """distributions/sparse_gaussian.py"""
    n, rows = rng.standard_normal, []
    for B, shape, note in ((2, (3, 4), ""), (1, (1, 3), "one row of pixels"), (3, (3, 1), "one column")):
        X = shape[0] * shape[1]
        rows.append(row(D.sparse_gaussian_nll, n((B, X)), 0.3 * n((B, X)), n((B, 4, X)), x=n((B, X)), shape=shape,
                        note=note))
    return rows


def nll_cases(rng: Generator) -> list[Case]:
    """distributions/nll.py"""
    n = rng.standard_normal
    bits, grey = (lambda *shape: 1.0 * (rng.random(shape) < 0.5)), (lambda *shape: rng.random(shape))
    levels = np.array([[0.0, 1.0, 0.2], [1.0, 0.6, 0.0], [0.4, 0.8, 0.0]])               # the first, the last, between
    return [
        row(D.bernoulli_nll, n((4, 3)), x=bits(4, 3)),
        row(D.bernoulli_nll, 5.0 * n((3, 4)), x=grey(3, 4), note="grey, large"),
        row(D.bernoulli_nll, np.zeros((1, 2)), x=np.array([[0.0, 1.0]]), note="one row, at 0"),
        row(D.gaussian_nll, n((4, 3)), n((4, 3)), x=n((4, 3))),
        row(D.gaussian_nll, 2.0 * n((1, 2)), 2.0 * n((1, 2)), x=n((1, 2)), note="one row, large"),
        row(D.complex_gaussian_nll, n((4, 3)), power=n((4, 3)) ** 2),
        row(D.complex_gaussian_nll, 2.0 * n((1, 2)), power=np.array([[0.0, 3.0]]), note="one row, one silent"),
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
        row(D.discretized_logistic_nll, 0.2 + 0.001 * n((1, 3)), 0.1 * n((1, 3)) - 5.7,
            x=levels[:1, 2:] + 0.004 * bits(1, 3), note="narrower than a bin"),
        row(D.discretized_logistic_nll_shared, grey(3, 3), np.array(-2.0), x=levels),
        row(D.discretized_logistic_nll_shared, n((1, 2)), np.array(0.7), x=levels[:1, 1:], note="one row"),
        row(D.categorical_nll, n((4, 3)), labels=np.array([2, 0, 1, 1])),
        row(D.categorical_nll, 5.0 * n((1, 4)), labels=np.array([3]), note="one row, large"),
    ]
