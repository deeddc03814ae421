"""Gaussians whose pixels know their neighbours: against dense ones, integrals, and the covariance of draws."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from minivae.distributions import gaussian_nll, precision_factor, sparse_gaussian_nll, sparse_gaussian_sample
from minivae.distributions.sparse_gaussian import NEIGHBOURS


def inputs(shape, B=3, seed=0, wide=0.4):
    rng, X = np.random.default_rng(seed), shape[0] * shape[1]
    return (rng.standard_normal((B, X)), 0.3 * rng.standard_normal((B, X)), wide * rng.standard_normal((B, 4, X)),
            rng.standard_normal((B, X)))


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 1), (1, 6), (2, 2)])
def test_it_is_scipy_s_normal(shape):
    mean, logdiag, below, x = inputs(shape)
    nll, _ = sparse_gaussian_nll(mean, logdiag, below, x=x, shape=shape)
    for b in range(len(x)):
        L = precision_factor(logdiag[b], below[b], shape=shape)
        assert np.array_equal(L, np.tril(L))
        dense = stats.multivariate_normal(mean[b], np.linalg.inv(L @ L.T))
        assert nll[b] == pytest.approx(-dense.logpdf(x[b]), rel=1e-10)


def test_row_i_of_the_factor_has_its_four_earlier_neighbours():
    """Written out by hand for the middle and the corner of 3×3, in raster order."""
    logdiag, below = np.zeros(9), 10.0 * np.arange(4)[:, None] + np.arange(9)
    L = precision_factor(logdiag, below, shape=(3, 3))
    assert {j: L[4, j] for j in range(9) if L[4, j]} == {0: 14.0, 1: 24.0, 2: 34.0, 3: 4.0, 4: 1.0}
    assert {j: L[8, j] for j in range(9) if L[8, j]} == {4: 18.0, 5: 28.0, 7: 8.0, 8: 1.0}     # no upper right
    assert {j: L[3, j] for j in range(9) if L[3, j]} == {0: 23.0, 1: 33.0, 3: 1.0}
    assert np.array_equal(L[0], np.eye(9)[0])
    assert len(NEIGHBOURS) == 4


def test_without_off_diagonals_it_is_the_diagonal_gaussian():
    mean, logdiag, below, x = inputs((4, 3))
    nll, pull = sparse_gaussian_nll(mean, logdiag, 0.0 * below, x=x, shape=(4, 3))
    alone, pull_alone = gaussian_nll(mean, -2.0 * logdiag, x=x)
    np.testing.assert_allclose(nll, alone, rtol=1e-12)
    dnll = np.array([1.0, -2.0, 0.5])
    (dmean, dlogdiag, _), (dmean_alone, dlogvar) = pull(dnll), pull_alone(dnll)
    np.testing.assert_allclose(dmean, dmean_alone, rtol=1e-12)
    np.testing.assert_allclose(dlogdiag, -2.0 * dlogvar, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_two_pixels_integrate_to_one(shape):
    line = np.linspace(-12, 12, 601)
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    below = np.zeros((1, 4, 2))
    below[0, 0 if shape == (1, 2) else 2, 1] = 0.8
    n = len(x)
    nll, _ = sparse_gaussian_nll(np.full((n, 2), 0.3), np.full((n, 2), 0.1), np.repeat(below, n, axis=0), x=x,
                                 shape=shape)
    assert np.exp(-nll).sum() * (line[1] - line[0])**2 == pytest.approx(1.0, abs=1e-9)


def test_what_lies_outside_is_not_heard():
    mean, logdiag, below, x = inputs((3, 4))
    other = below.copy()
    for b in other:
        edges = b.reshape(4, 3, 4)
        edges[0, :, 0] = edges[1, :, 0] = edges[3, :, -1] = 99.0
        edges[1:, 0] = 99.0
    one, pull = sparse_gaussian_nll(mean, logdiag, below, x=x, shape=(3, 4))
    two, _ = sparse_gaussian_nll(mean, logdiag, other, x=x, shape=(3, 4))
    assert np.array_equal(one, two)
    dbelow = pull(np.ones(3))[2]
    assert np.array_equal(dbelow != 0, below == other)


def test_draws_have_the_covariance_that_the_factor_says():
    shape, n = (3, 3), 200_000
    _, logdiag, below, _ = inputs(shape, B=1, wide=0.3)
    L = precision_factor(logdiag[0], below[0], shape=shape)
    drawn = sparse_gaussian_sample(np.full((n, 9), 2.0), np.repeat(logdiag, n, axis=0), np.repeat(below, n, axis=0),
                                   rng=np.random.default_rng(0), shape=shape)
    C = np.linalg.inv(L @ L.T)
    assert (np.abs(drawn.mean(axis=0) - 2.0) < 5 * np.sqrt(np.diag(C) / n)).all()
    error = np.sqrt((np.outer(np.diag(C), np.diag(C)) + C**2) / n)
    assert (np.abs(np.cov(drawn.T) - C) < 5 * error).all()
    assert np.abs(np.corrcoef(drawn.T) - np.eye(9)).max() > 0.2          # not for want of correlation


def test_a_pixel_costs_the_same_in_a_large_image():
    """O(X): sixteen times as many pixels take about sixteen times as long, not 256 (the bound is wide)."""
    def seconds(side):
        args = [a.astype(np.float32) for a in inputs((side, side), B=4)]
        times = []
        for _ in range(5):
            start = time.perf_counter()
            nll, pull = sparse_gaussian_nll(*args[:3], x=args[3], shape=(side, side))
            pull(np.ones_like(nll))
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(128) < 80 * seconds(32)


def test_bad_input_is_named():
    mean, logdiag, below, x = inputs((3, 4))
    with pytest.raises(ValueError, match=r"mean: got shape \(3, 12\), expected \(B, 9\) for images of 3×3"):
        sparse_gaussian_nll(mean, logdiag, below, x=x, shape=(3, 3))
    with pytest.raises(ValueError, match=r"below: got shape \(3, 3, 12\), expected \(3, 4, 12\)"):
        sparse_gaussian_nll(mean, logdiag, below[:, :3], x=x, shape=(3, 4))
