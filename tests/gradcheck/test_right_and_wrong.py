"""No right op is refused, and every wrong one is: ops of table.py at sizes 1 to 1e6, scales 1e-9 to 1e9."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import table

from minivae.gradcheck import GradientError, gradcheck
from minivae.gradient_table import cases

IDS = {op.name: op for op in table.OPS}
DECADES = [10.0**e for e in range(-9, 10)]


def misjudged(op, n, scale, *, mistakes=True) -> list[str]:
    """What the harness gets wrong about an op and all ways to make it wrong, at one size and scale."""
    inputs = op.make(n, scale, np.random.default_rng([n, round(np.log10(scale)) + 9]))
    with np.errstate(all="ignore"):
        value = op.op(*inputs)[0]
    if not all(np.isfinite(y).all() for y in table.as_tuple(value)):
        return []                                              # exp(1e9): nothing to ask
    found = []
    try:
        gradcheck(op.op, *inputs)
    except GradientError as error:
        found.append(f"right, refused at {n}, {scale:g}: {error}")
    for name, wrong in table.spoilt(op) if mistakes else ():
        if table.differs(op.op, wrong, inputs):
            with suppress(GradientError):
                found.append(f"{name}, not refused at {n}, {scale:g}: {gradcheck(wrong, *inputs)}")
    return found


@pytest.mark.parametrize("name", IDS)
def test_small(name):
    assert [says for n, scales in ((1, (1e-9, 1.0, 1e9)), (12, (1e-9, 1e-3, 1.0, 1e3, 1e9)))
            for scale in scales for says in misjudged(IDS[name], n, scale)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_every_decade(name):
    assert [says for n in (1, 12) for scale in DECADES for says in misjudged(IDS[name], n, scale)] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)                                     # a million logarithms for each step of each entry
@pytest.mark.parametrize("n", [300, 30_000, 1_000_000])
@pytest.mark.parametrize("name", IDS)
def test_large(name, n):
    assert [says for scale in (1e-9, 1.0, 1e9)                 # a million: each mistake at one scale is minutes enough
            for says in misjudged(IDS[name], n, scale, mistakes=n < 1_000_000 or scale == 1.0)] == []


def test_there_are_a_hundred_pairs_of_right_and_wrong():
    assert sum(1 for op in table.OPS for _ in table.spoilt(op)) >= 100
    assert len(IDS) == len(table.OPS) >= 60


def product(x, W):
    return x @ W, lambda dy: (dy @ W.T, x.T @ dy)


@pytest.mark.parametrize("width", [100, 400])
def test_a_product_of_matrices_is_right_at_the_sizes_where_it_was_called_wrong(width):
    rng = np.random.default_rng(0)
    report = gradcheck(product, rng.standard_normal((32, width)), rng.standard_normal((width, width)))
    assert report.passed
    assert report.worst <= 1e-6
    with pytest.raises(GradientError):
        gradcheck(lambda x, W: (x @ W, lambda dy: (dy @ W, x.T @ dy)), *rng.standard_normal((2, 32, 32)))


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_bias_of_any_size_beside_a_product(size):
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((32, 100)), rng.standard_normal((100, 100)), size * rng.standard_normal(100)
    assert gradcheck(table.linear, *inputs).passed
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda x, W, b: (x @ W + b, lambda dy: (dy @ W.T, x.T @ dy, dy.mean(axis=0))), *inputs)
    assert [row.wrong > 0 for row in caught.value.report.rows] == [False, False, True]


def test_a_small_term_beside_large_ones_is_judged_as_far_as_can_be():
    """The product is of size 1e12, and rounded to 1e-4; the bias is 1, and has to be moved by thousands."""
    rng = np.random.default_rng(2)
    inputs = 1e6 * rng.standard_normal((8, 5)), 1e6 * rng.standard_normal((5, 6)), rng.standard_normal(6)
    assert gradcheck(table.linear, *inputs).passed
    for wrong in (lambda dy: -dy.sum(axis=0), lambda dy: 0.0 * inputs[2], lambda dy: 1.01 * dy.sum(axis=0)):
        with pytest.raises(GradientError):
            gradcheck(lambda x, W, b, wrong=wrong: (x @ W + b, lambda dy: (dy @ W.T, x.T @ dy, wrong(dy))), *inputs)


@pytest.mark.parametrize("f", ["exp", "log", "sqrt", "one over x", "x / (1 + x^2)", "tanh", "cube", "arctan"])
def test_entries_of_all_sizes_in_one_input(f):
    x = 10.0 ** np.linspace(-6, 6, 25)
    f, df, _ = table.ELEMENTWISE[f]
    x = x[np.isfinite(f(np.minimum(x, 700.0)))] if f is not np.exp else np.minimum(x, 100.0)
    assert gradcheck(table.elementwise(f, df), x).passed
    with pytest.raises(GradientError):
        gradcheck(table.elementwise(f, lambda x: np.where(x < 1e-3, 2.0, 1.0) * df(x)), x)


@pytest.mark.parametrize("name", ["log", "sqrt", "one over x"])
def test_at_the_edge_of_the_domain_the_step_stays_inside(name):
    f, df, _ = table.ELEMENTWISE[name]
    assert gradcheck(table.elementwise(f, df), np.array([1e-9, 1e-12, 1.0, 3.0])).passed


def test_a_function_that_refuses_points_outside_its_domain_may_raise():
    def root(x):
        if (x < 0.0).any():
            raise ValueError("negative")
        return np.sqrt(x), lambda dy: 0.5 / np.sqrt(x) * dy

    assert gradcheck(root, np.array([1e-9, 1.0, 2.0])).passed


def is_fit(case, inputs):
    """Whether value and gradient are numbers there at all: a variance of e^(1e6) has none."""
    with np.errstate(all="ignore"):
        value, pullback = case.function(*inputs, **case.constants)
        gradients = pullback(*(np.ones_like(y) for y in table.as_tuple(value)))
    return all((np.abs(y) < 1e50).all() for y in (*table.as_tuple(value), *table.as_tuple(gradients)))


@pytest.mark.parametrize("scale", [1e-9, 1e9, *(pytest.param(10.0**e, marks=pytest.mark.slow) for e in (-6, -3, 3, 6))])
def test_the_library_s_ops_are_right_at_every_scale(scale):
    seen = set()
    for case in cases():
        inputs = [scale * x for x in case.inputs]
        if not case.parameters and is_fit(case, inputs):
            seen.add(case.subject)
            assert not gradcheck(case.function, *inputs, name=case.name, **case.constants).failed
    assert len(seen) >= 50


# ── many entries ──────────────────────────────────────────────────────────────────────────────


def test_where_entries_are_many_a_sample_and_directions_are_looked_at():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    report = gradcheck(lambda x: (x * x, lambda dy: 2.0 * x * dy), x)
    assert report.passed
    assert report.rows[0].looked < 200
    assert "of 1,000,000" in str(report)


@pytest.mark.parametrize("off", [0.9, *(pytest.param(off, marks=pytest.mark.slow) for off in (2.0, -1.0))])
def test_one_wrong_entry_in_a_million_is_found_and_named(off):
    x = np.random.default_rng(0).standard_normal(1_000_000)
    right = np.ones(1_000_000)
    right[765_432] = off
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda x: (x * x, lambda dy: 2.0 * x * dy * right), x)
    assert caught.value.report.rows[0].where == "[765432]"


def test_every_entry_if_one_asks_for_it():
    x = np.random.default_rng(0).standard_normal(12_000)
    square = lambda x: (x * x, lambda dy: 2.0 * x * dy)  # noqa: E731
    assert gradcheck(square, x).rows[0].looked < 200
    assert gradcheck(square, x, directions=0).rows[0].looked == 12_000
    assert gradcheck(square, x, directions=5).rows[0].looked == 5


def test_progress_is_shown_on_stderr_if_asked_for(capsys):
    def slow(x):
        return x @ np.ones((100, 100)), lambda dy: dy @ np.ones((100, 100))

    gradcheck(slow, np.ones((60, 100)), progress=False)
    assert capsys.readouterr().err == ""
    gradcheck(slow, np.random.default_rng(0).standard_normal((100, 100)), progress=True, name="slow one")
    assert "slow one" in capsys.readouterr().err


def test_a_number_beside_1_is_moved_until_it_is_seen():
    x = np.array([1e-20, 3e-20])
    assert gradcheck(lambda x: ((1.0 + x) - 1.0, lambda dy: 1.0 * dy), x).passed
    for wrong in (-1.0, 2.0, 0.9):
        with pytest.raises(GradientError):
            gradcheck(lambda x, c=wrong: ((1.0 + x) - 1.0, lambda dy: c * dy), x)


def test_what_the_arithmetic_cannot_tell_is_said_and_not_passed():
    """The slope of tanh at 100 is 1e-86, and its value 1."""
    report = gradcheck(lambda x: (np.tanh(x), lambda dy: dy * 4.0 * np.exp(-2.0 * x)), np.array([100.0, 90.0]))
    assert (report.verdict, report.passed, report.failed) == ("cannot tell", False, False)
    assert "a factor 2 would hide" in str(report)
    assert [row.unknown for row in report.rows] == [2]


@pytest.mark.parametrize(("f", "x"), [("exp", -440.7), ("softplus", -200.0), ("log cosh", 2.3e-5)])
@pytest.mark.parametrize("times", [2.0, -1.0, 0.0])
def test_values_far_below_rounding_of_1_are_told(f, x, times):
    """e^-440 has all its digits; log cosh, computed beside log 2, moves by one rounding, then for long not at all."""
    f, df, _ = table.ELEMENTWISE[f]
    assert gradcheck(table.elementwise(f, df), np.array([x])).passed
    with pytest.raises(GradientError):
        gradcheck(table.elementwise(f, lambda x: times * df(x)), np.array([x]))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_term_that_large_steps_do_not_see_is_not_forgotten(scale):
    """Of x + tanh x, a large step sees the slope 1: it must not agree with the pullback that forgot the tanh."""
    x = scale * np.array([-0.7, 0.3, 0.0, 1.1])
    f = lambda x: x + scale * np.tanh(x / scale)  # noqa: E731
    assert gradcheck(lambda x: (f(x), lambda dy: dy * (1.0 + 1.0 / np.cosh(x / scale) ** 2)), x).passed
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda x: (f(x), lambda dy: 1.0 * dy), x)
    assert caught.value.report.rows[0].wrong == 4
