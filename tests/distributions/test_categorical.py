"""Expectations and KL divergences of categorical distributions: values known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from minivae.distributions import categorical_kl, expectation

RNG = np.random.default_rng(0)
LOGITS, P = RNG.standard_normal((4, 3)), np.array([0.5, 0.3, 0.2])
Q = special.softmax(LOGITS, axis=1)


def test_the_kl_is_scipys_and_that_to_the_uniform_is_log_c_less_the_entropy():
    to_p = categorical_kl(LOGITS, log_prior=np.log(P))[0]
    np.testing.assert_allclose(to_p, stats.entropy(Q, P[None], axis=1), rtol=1e-12)
    uniform = np.full(3, -np.log(3.0))
    np.testing.assert_allclose(categorical_kl(LOGITS, log_prior=uniform)[0], np.log(3.0) - stats.entropy(Q, axis=1),
                               rtol=1e-12)


def test_the_kl_is_zero_at_home_and_the_sure_pay_the_surprise():
    kl, pullback = categorical_kl(np.log(P)[None] + 7.0, log_prior=np.log(P))
    assert np.abs(kl).max() < 1e-12
    assert np.abs(pullback(np.ones(1))).max() < 1e-12
    sure = 1e4 * np.eye(3)
    np.testing.assert_allclose(categorical_kl(sure, log_prior=np.log(P))[0], -np.log(P), rtol=1e-12)


def test_an_expectation_by_hand():
    logits, values = np.log([[0.25, 0.75]]), np.array([[4.0, 8.0]])
    mean, pullback = expectation(logits, values)
    np.testing.assert_allclose(mean, [7.0])
    dlogits, dvalues = pullback(np.ones(1))
    np.testing.assert_allclose(dvalues, [[0.25, 0.75]])
    np.testing.assert_allclose(dlogits, [[-0.75, 0.75]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_keep_the_dtype_and_stand_large_logits(dtype):
    logits = np.array([[1e4, 0.0, -1e4]], dtype=dtype)
    log_prior = np.log(P).astype(dtype)
    for value, pullback in (categorical_kl(logits, log_prior=log_prior), expectation(logits, logits)):
        assert value.dtype == dtype
        assert np.isfinite(value).all()
        for d in np.atleast_1d(pullback(np.ones(1, dtype=dtype))):
            assert np.isfinite(d).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"log_prior: got shape \(2,\), expected \(3,\), a number for each class"):
        categorical_kl(LOGITS, log_prior=np.zeros(2))
    with pytest.raises(ValueError, match=r"values: got shape \(4, 2\), expected \(4, 3\)"):
        expectation(LOGITS, LOGITS[:, :2])
