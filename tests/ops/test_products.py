"""Products some rows at a time are the products of all rows."""

import numpy as np
import pytest

from minivae.ops import products
from minivae.ops.products import EIGHT, FEW, SMALL, by_lines, by_rows, over_rows, product, rows_at_once

SHAPES = [(0, 3, 2), (1, 3, 2), (1960, 288, 32), (107, 288, 32), (109, 288, 32), (64, 512, 64), (500, 100, 150),
          (2, 1200, 900), (3001, 32, 48)]


@pytest.fixture(params=[False, True], ids=["all at once", "some at a time"])
def loops(request, monkeypatch):
    """As where OpenBLAS has loops for small matrices, and as where it has none."""
    monkeypatch.setattr(products, "has_small_loops", lambda: request.param)
    return request.param


@pytest.mark.parametrize(("N", "K", "F"), SHAPES)
def test_they_are_the_products_of_all_rows(N, K, F, loops):
    rng = np.random.default_rng(N)
    a, b, c = rng.standard_normal((N, K)), rng.standard_normal((K, F)), rng.standard_normal((N, F))
    for matrix in (a, np.repeat(a, 2, axis=1)[:, ::2], np.asfortranarray(a)):
        out = np.full((N, F), np.nan)
        by_rows(matrix, b, out=out)
        np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(over_rows(matrix, c), a.T @ c, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("N", "K", "F"), SHAPES)
@pytest.mark.parametrize("few", [FEW, EIGHT])
def test_lots_are_small_and_go_through_without_a_rest_or_there_is_one(N, K, F, few, loops):
    m = rows_at_once(np.zeros((N, K)), K * F, few)
    if not loops or K * F * few > SMALL or K * F * N <= SMALL:
        assert m == N
    else:
        most = SMALL // (K * F)
        assert most / 2 < m <= most
        assert m % EIGHT == 0
        assert N % m == 0 or not [n for n in range(EIGHT, most + 1, EIGHT) if n > most / 2 and N % n == 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "K", "F"), [
    (0, 300, 300), (1, 1, 1), (64, 784, 400), (61, 400, 785), (8, 976, 256), (20, 1000, 300), (9, 2000, 257),
    (257, 300, 300), (30, 0, 300), (10, 63, 3000), (65, 128, 128), (99, 3136, 129), (1025, 64, 128), (40, 1024, 97),
    (300, 299, 200), (10, 255, 300), (0, 300, 5), (64, 784, 40), (97, 300, 7), (3, 255, 8), (5, 256, 1), (64, 300, 131),
    (40, 512, 99)])
def test_a_product_in_lots_is_that_product(N, K, F, dtype, loops):
    rng = np.random.default_rng(N)
    a, b = rng.standard_normal((N, K)).astype(dtype), rng.standard_normal((K, F)).astype(dtype)
    expected = a @ b
    for rows in (a, np.repeat(a, 2, axis=1)[:, ::2], np.asfortranarray(a)):
        for columns in (b, np.repeat(b, 2, axis=1)[:, ::2], np.asfortranarray(b)):
            found = product(rows, columns)
            np.testing.assert_allclose(found, expected, atol=1e-3 if dtype == np.float32 else 1e-10)
            assert found.dtype == dtype
            assert found.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("B", "Q", "R", "K", "F"), [
    (3, 7, 8, 256, 64), (2, 14, 15, 256, 64), (0, 7, 8, 20, 3), (2, 6, 5, 300, 700), (1, 1, 1, 1, 1), (2, 5, 4, 0, 3)])
def test_a_product_of_some_lines_is_that_product(B, Q, R, K, F, dtype, loops):
    """Lines in the middle of images, and not all that they hold."""
    rng = np.random.default_rng(Q)
    images, b = rng.standard_normal((B, Q + 3, R, K + 2)).astype(dtype), rng.standard_normal((K, F)).astype(dtype)
    a = images[:, 1:Q + 1, :, 2:]
    found = by_lines(a, b)
    assert found.shape == (B, Q, R, F)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, a @ b, atol=1e-3 if dtype == np.float32 else 1e-10)


def test_one_factor_in_float64_makes_the_product_so(loops):
    a, b = np.ones((64, 400)), np.ones((400, 300), np.float32)
    assert product(a, b).dtype == product(a.astype(np.float32), np.ones((300, 400)).T).dtype == np.float64
    assert over_rows(np.ones((4000, 32)), np.ones((4000, 32), np.float32)).dtype == np.float64


def test_on_a_gpu_all_rows_are_taken_at_once(cupy_standin, monkeypatch):
    monkeypatch.setattr(products, "has_small_loops", lambda: True)
    assert rows_at_once(cupy_standin.zeros((5000, 3)), 300, FEW) == 5000


@pytest.mark.parametrize(("libraries", "has"), [
    ([], False), ([{"internal_api": "openblas", "architecture": "SkylakeX"}], True),
    ([{"internal_api": "openblas", "architecture": "Haswell"}], False), ([{"internal_api": "mkl"}], False),
    ([{"internal_api": "openmp"}, {"internal_api": "openblas", "architecture": "Cooperlake"}], True)])
def test_who_has_small_loops(libraries, has, monkeypatch):
    monkeypatch.setattr(products, "threadpool_info", lambda: libraries)
    assert products.has_small_loops.__wrapped__() is has
