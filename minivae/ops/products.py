"""Products as OpenBLAS makes them soonest: of many rows with a small matrix, and of few with a large or a turned one.

OpenBLAS first copies what it multiplies into the order in which its loops read it.  Of a convolution's rows each number
meets few columns, and to copy it takes a seventh of the time; of a layer's weights each meets few rows.  What is small,
of at most 100³ multiplications, it multiplies as it lies, if the processor has AVX-512.  So there some rows are taken
at a time, one lot after the other within one call: 1,764 rows of 288 and 32 columns at 115 instead of 94 GFLOP/s.
(OpenBLAS for AVX2 has no such loops, 89 instead of 97: there all rows are taken at once.)
"""

from __future__ import annotations

from functools import cache

import numpy as np
from threadpoolctl import threadpool_info

from minivae.backend import Array, array_module

SMALL = 100**3             # multiplications: OpenBLAS, kernel/x86_64/sgemm_small_kernel_permit_skylakex.c
TURNED = 1200              # numbers that are made, of a transposed b: with more it copies after all (the same file)
ROWS, EIGHT = 24, 8        # rows that its loops take without a rest
COLUMNS, THIN = 64, 128    # columns, likewise; that are few
FEW = 16                   # rows that are not worth it
NEAR = 2**20               # numbers of a, which all lots of columns meet
WITH_SMALL_LOOPS = ("SkylakeX", "Cooperlake", "SapphireRapids")                # OpenBLAS's names of processors


def by_rows(a: Array, b: Array, out: Array, few: int = FEW) -> None:
    """out = a b        (N, K) (K, F) -> (N, F)"""
    (N, K), F = a.shape, b.shape[1]
    m = rows_at_once(a, K * F, few)
    if m == N:
        np.matmul(a, b, out=out)
        return
    even = N - N % m
    np.matmul(a[:even].reshape(-1, m, K), b, out=out[:even].reshape(-1, m, F))
    if even < N:
        np.matmul(a[even:], b, out=out[even:])


def product(a: Array, b: Array) -> Array:
    """a b        (N, K) (K, F) -> (N, F)        some rows times some columns at a time; b may be a transposed matrix

    Some columns of b stay near while all rows meet them; in one call, for which Python is let go once (and another for
    columns that are left over).  64 rows, 784 and 400 columns: 0.89 of the time, times a transpose 0.74; 16 rows 0.45.
    """
    if not has_small_loops():
        return a @ b
    (N, K), F = a.shape, b.shape[1]
    turned = b.strides[0] < b.strides[1]
    C = COLUMNS // 2 if turned else COLUMNS
    most = min(SMALL // max(K * C, 1), TURNED // C if turned else N)
    # what is small already needs no lots; of more rows than a transpose is long, OpenBLAS's copy of it is soon paid for
    worth = min(N, most) >= EIGHT and (N if turned else COLUMNS) <= K and F >= THIN and N * K * F > SMALL
    if not (worth and N * K <= NEAR and small_loops_for(a, b)):
        return a @ b
    y, whole = np.empty_like(b, shape=(N, F), order="C"), F - F % C
    m = N if most >= N else _even(N, most)
    for columns, c in ((slice(0, whole), C), (slice(whole, F), F - whole)):
        for rows, r in ((slice(0, N - N % m), m), (slice(N - N % m, N), N % m)):
            if c and r:
                lots = b[:, columns].reshape(K, -1, 1, c).transpose(1, 2, 0, 3)        # by columns, then by rows
                to = y[rows, columns].reshape(-1, r, len(lots), c).transpose(2, 0, 1, 3)
                np.matmul(a[rows].reshape(-1, r, K), lots, out=to, order="C")
    return y


def by_lines(a: Array, b: Array) -> Array:
    """a b        (B, Q, R, K) (K, F) -> (B, Q, R, F)        where a holds some of the lines of larger images"""
    (B, Q, R, K), F = a.shape, b.shape[1]
    most = SMALL // max(R * K * F, 1) if small_loops_for(a) else 0               # lines at a time; 0: an image
    lines = max((n for n in range(1, Q + 1) if Q % n == 0 and n <= most), default=Q)
    return np.matmul(a.reshape(B, Q // lines, lines * R, K), b).reshape(B, Q, R, F)


def over_rows(a: Array, b: Array) -> Array:
    """aᵀ b, a sum over the rows        (N, K) (N, F) -> (K, F)        (1,568 rows of 288 and 32: 0.83 of the time)"""
    (N, K), F = a.shape, b.shape[1]
    if N * K * F <= SMALL or F > THIN or not small_loops_for(a, b):
        return a.T @ b
    parts = []
    each = max(1, SMALL // (min(K, ROWS) * F))        # rows so few that some of the K go through the loops together
    each = -(-N // -(-N // each))                     # and as many in every part
    for start in range(0, N, each):
        some = slice(start, start + each)
        parts.append(np.empty_like(b, shape=(K, F)))
        by_rows(a[some].T, b[some], out=parts[-1], few=EIGHT)
    return sum(parts[1:], parts[0])


def rows_at_once(a: Array, each: int, few: int) -> int:
    """How many rows of a to multiply at a time, if each takes so many multiplications; all, if that is not worth it."""
    most = SMALL // max(each, 1)
    if most < few or most >= len(a) or not small_loops_for(a):
        return len(a)
    return _even(len(a), most)


@cache
def _even(N: int, most: int) -> int:
    """How many of N rows: eights that leave no rest, if these are over half of what may be; else all that may be."""
    for m in range(most // EIGHT * EIGHT, most // 2, -EIGHT):
        if N % m == 0:
            return m
    return most // ROWS * ROWS or most // EIGHT * EIGHT


def small_loops_for(*factors: Array) -> bool:
    """Whether these lie where they are; if one is float64, NumPy first makes all so."""
    return array_module(factors[0]) is np and len({a.dtype for a in factors}) == 1 and has_small_loops()


@cache
def has_small_loops() -> bool:
    """Whether NumPy's products are OpenBLAS's, and of small matrices are made as these lie."""
    return any(library["internal_api"] == "openblas" and library.get("architecture") in WITH_SMALL_LOOPS
               for library in threadpool_info())
