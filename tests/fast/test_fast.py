"""What Numba compiles is what NumPy computes, bit by bit; and without Numba everything is as with it."""

import importlib
import importlib.util
import json
import re
import warnings
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
from conftest import python

from minivae import distributions as D
from minivae import fast, ops
from minivae.batch import Batch
from minivae.nn import Adam, RMSProp
from minivae.parallel import Team, lent
from minivae.runs import Guard
from minivae.variants import VAEConfig

HERE = importlib.util.find_spec("numba") is not None
forget_wish, forget_loops = fast._wanted.cache_clear, fast._loops.cache_clear
numba = pytest.mark.skipif(not HERE, reason='needs Numba: python -m pip install -e ".[fast]"')
HARD = np.array([0.0, -0.0, 1e-40, -1e-40, 1e-300, 0.5, 30.0, -30.0, 800.0, -800.0, np.inf, -np.inf, np.nan])
SHAPES = [(1, 1), (3, 5), (1, 127), (128, 64), (64, 784), (129, 785)]


@pytest.fixture
def forgetful(monkeypatch):
    """Whoever looks for Numba looks anew, before and after; also for few numbers."""
    monkeypatch.setattr(fast, "LEAST", 0)
    monkeypatch.delenv("MINIVAE_FAST", raising=False)
    forget_wish()
    forget_loops()
    yield monkeypatch
    forget_wish()
    forget_loops()


@pytest.fixture
def loops(forgetful):
    """The compiled loops."""
    return fast._loops()


def plainly(act):
    """act(), by NumPy alone."""
    with fast.plainly():
        return act()


def same(a, b):
    """Every bit, the sign of a zero too; what is not a number has no sign that means anything."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    number = ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(a)[number], np.signbit(b)[number])


def laid_out(a, how):
    """The same numbers, otherwise in memory."""
    if how == "every second":
        wide = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    return {"rows": np.ascontiguousarray, "columns": np.asfortranarray, "reversed": lambda a: a[::-1].copy()[::-1],
            "a row for all": lambda a: np.broadcast_to(a[:1], a.shape)}[how](a)


LAYOUTS = ("rows", "columns", "every second", "reversed", "a row for all")
OPS = {                                                # op, from (x, other numbers)
    "relu": lambda x, other: ops.relu(x),
    "tanh": lambda x, other: ops.tanh(x),
    "gaussian_kl": lambda x, other: D.gaussian_kl(x, other),
    "bernoulli_nll": lambda x, other: D.bernoulli_nll(x, x=np.abs(other) % 1.0),
}


def both_ways(name, x, other, dy):
    """An op's value, and what its pullback gives: once more, too, for it may be asked twice"""
    y, pull = OPS[name](x, other)
    dy = dy if y.ndim == dy.ndim else dy[..., 0].copy() if dy.flags.c_contiguous else dy[..., 0]
    once, twice = pull(dy), pull(dy)
    return [y, *(once if isinstance(once, tuple) else [once]), *(twice if isinstance(twice, tuple) else [twice])]


def numbers(shape, dtype, rng):
    x = 3.0 * rng.standard_normal(shape)
    with np.errstate(all="ignore"):
        return np.where(rng.random(shape) < 0.2, rng.choice(HARD, shape), x).astype(dtype)


def tame(shape, dtype, rng):
    return rng.standard_normal(shape).astype(dtype)


@numba
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
@np.errstate(all="ignore")
def test_an_op_is_the_plain_one(name, dtype, layout, loops):
    rng = np.random.default_rng(0)
    for draw in (numbers, tame):
        for shape in SHAPES:
            x, other, dy = (draw(shape, dtype, rng) for _ in range(3))
            for inputs in ((x, other, laid_out(dy, layout)), (laid_out(x, layout), other, dy)):
                plain = plainly(lambda inputs=inputs: both_ways(name, *inputs))
                for ours, theirs in zip(both_ways(name, *inputs), plain, strict=True):
                    same(ours, theirs)


@numba
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_an_op_of_any_shape_is_the_plain_one(name, loops):
    rng = np.random.default_rng(0)
    for shape in ((7,), (2, 3, 5), (2, 3, 4, 5)):
        inputs = [tame(shape, np.float32, rng) for _ in range(3)]
        plain = plainly(lambda inputs=inputs: both_ways(name, *inputs))
        for ours, theirs in zip(both_ways(name, *inputs), plain, strict=True):
            same(ours, theirs)


@numba
def test_what_comes_back_is_laid_out_as_the_value(loops):
    """One number for all, or of another precision."""
    x = np.array([[-1.0, 2.0, 3.0]], np.float32)
    for dy in (2.0, np.float32(2.0), np.array([2.0]), np.full((1, 3), 2.0)):
        same(ops.relu(x)[1](dy), np.array([[0.0, 2.0, 2.0]], np.float32))


@numba
def test_a_wrong_input_is_named_by_a_loop_too(loops):
    with pytest.raises(ValueError, match=r"logvar: got shape \(2, 3\), expected \(2, 4\)"):
        D.gaussian_kl(np.ones((2, 4)), np.ones((2, 3)))
    with pytest.raises(TypeError, match="x: got dtype float64, expected float32"):
        D.bernoulli_nll(np.ones((2, 4), np.float32), x=np.ones((2, 4)))


@numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 7, 64, 10_001])
@pytest.mark.parametrize("build", [Adam, RMSProp])
@np.errstate(all="ignore")
def test_an_optimizer_is_the_plain_one(build, size, dtype, loops):
    rng, optimizer = np.random.default_rng(size), build(1e-3)
    value, grad, *moments, squares = (numbers(size, dtype, rng) for _ in range(2 + len(optimizer.moments)))
    vectors = [value, grad, *moments, np.abs(squares)]
    for optimizer.steps in (1, 2, 1000):
        one, two = [v.copy() for v in vectors], [v.copy() for v in vectors]
        optimizer.update(*one, np.empty_like(value), lr=1e-3)
        plainly(lambda two=two: optimizer.update(*two, np.empty_like(value), lr=1e-3))
        for a, b in zip(one, two):
            same(a, b)


def lstm_parts(T, B, I, H, dtype):
    rng = np.random.default_rng(H)
    shapes = (T, B, I), (B, H), (B, H), (4, I, H), (4, H, H), (4, H)
    return [3.0 * rng.standard_normal(shape).astype(dtype) for shape in shapes], rng.random((T, B)) < 0.7


@numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sizes", "threads"), [
    ((1, 1, 1, 1), 1), ((3, 5, 2, 7), 1), ((4, 3, 2, 129), 1), ((6, 32, 8, 64), 1),
    ((6, 32, 8, 64), 2), ((9, 33, 2, 20), 2), ((17, 64, 3, 100), 4), ((3, 48, 2, 7), 3)])
def test_an_lstm_is_the_plain_one(sizes, threads, dtype, loops):
    (parts, mask), team = lstm_parts(*sizes, dtype), Team(threads)

    def all_of_it(layout, mask):
        with lent(team):
            (h, c), pullback = ops.lstm(*(laid_out(p, layout) for p in parts), mask=mask)
            return h, c, *pullback(laid_out(h * h, layout), c)

    for layout in LAYOUTS:
        for seen in (None, mask):
            plain = plainly(lambda layout=layout, seen=seen: all_of_it(layout, seen))
            for ours, theirs in zip(all_of_it(layout, seen), plain, strict=True):
                same(ours, theirs)


@numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@np.errstate(all="ignore")
def test_what_is_numpys_own_is_numpys_own(dtype, loops):
    inner, rng = importlib.import_module("minivae.fast.inner"), np.random.default_rng(0)
    for size in (1, 5, 64, 1001):
        x = numbers(size, dtype, rng)
        for ufunc in (np.tanh, np.exp, np.log):
            y = np.empty_like(x)
            inner.unary(inner.inner(ufunc, dtype), x, y)
            same(y, ufunc(x))
        y = np.empty(1, dtype)
        inner.total(inner.inner(np.add, dtype), x, y)
        same(y[0], x[None].sum(axis=-1)[0])
    for n, M, K, F in ((1, 1, 1, 1), (4, 3, 5, 7), (4, 16, 128, 128), (2, 200, 300, 40)):
        a, b, wide = rng.normal(size=(n, M, K)), rng.normal(size=(n, F, K)), np.empty((n, M, F + 1), dtype)
        a, b, y = a.astype(dtype), b.astype(dtype).swapaxes(1, 2), wide[:, :, :F]
        for left in (a, a[0]):
            inner.matmul(inner.inner(np.matmul, dtype), left, b, y)
            same(y, left @ b)


@numba
def test_a_numpy_that_is_made_otherwise_is_named(loops, monkeypatch):
    inner = importlib.import_module("minivae.fast.inner")
    monkeypatch.setattr(inner.Table, "from_address", lambda where: SimpleNamespace(nin=7, nout=0, ntypes=-1))
    with pytest.raises(RuntimeError, match=r"np.tanh of NumPy \d.* does not begin as its header says"):
        inner.inner.__wrapped__(np.tanh, np.float32)


@numba
def test_the_loops_are_used_and_each_stands_in_these_tests(loops, monkeypatch):
    offered = {name for name, f in vars(loops).items() if isinstance(f, FunctionType) and not name.startswith("_")
               and f.__module__ in ("minivae.fast.loops", "minivae.fast.lstm")} - {"compile_all"}
    assert offered == {*OPS, "adam", "rmsprop", "lstm_go", "lstm_heard"}
    used = []

    def spied(name):
        def loop(*a, **o):
            used.append(name)
            return a[0], None

        return loop

    spy = SimpleNamespace(**{name: spied(name) for name in offered})
    monkeypatch.setattr(fast, "_loops", lambda: spy)
    x = np.ones((3, 5), np.float32)
    for op in OPS.values():
        op(x, x)
    adam = Adam()
    adam.steps = 1
    adam.update(*np.ones((5, 9)), lr=1e-3)
    RMSProp().update(*np.ones((4, 9)), lr=1e-3)
    (h, c), pullback = ops.lstm(*lstm_parts(1, 2, 3, 4, np.float32)[0])
    pullback(h, c)
    assert used == [*OPS, "adam", "rmsprop", "lstm_go", "lstm_heard"]
    monkeypatch.setattr(fast, "LEAST", 16)             # for so few it is not worth it
    ops.relu(x)
    assert len(used) == len(OPS) + 4


def trained(threads):
    """The parameters after three steps of a network large enough."""
    model = VAEConfig(784, (64,), 8, "tanh").build()
    model.workers.hire(threads)
    rng = np.random.default_rng(0)
    for _ in range(3):
        model.train_step((rng.random((128, 784)) < 0.5).astype(np.float32), rng)
    return model.arena.value


@numba
@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_is_the_same_with_and_without(threads, loops):
    np.testing.assert_array_equal(trained(threads), plainly(lambda: trained(threads)))


@numba
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_cause_of_a_nan_is_named_all_the_same(threads, loops):
    """A loop overflows in silence: so the guilty step is repeated by NumPy."""
    model = VAEConfig(784, (64,), 20).build()
    model.workers.rows_each = 1
    model.workers.hire(threads)
    model.arena.parameters["encoder.logvar.b"].value[...] = 100.0
    x = np.random.default_rng(0).random((128, 784), np.float32)
    said = Guard(model, np.random.default_rng(1)).blame([(1, Batch(x=x))])
    assert re.match(r"step 1: overflow encountered in exp, in gaussian_kl \(gaussian\.py:\d+\): var = np\.exp", said)
    assert fast.compiled(x) is loops                   # which is over then


def test_without_numba_nothing_is_said(forgetful):
    forgetful.setattr(fast.importlib.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ops.relu(np.ones((2, 3)))[1](np.ones((2, 3))).sum() == 6.0
    assert fast.compiled(np.ones(3)) is None


def test_a_numba_that_does_not_work_is_named_once_and_missed_by_nobody(forgetful):
    def broken(name):
        raise ImportError("Numba needs NumPy 1.9 or less")

    forgetful.setattr(fast.importlib.util, "find_spec", lambda name: SimpleNamespace())
    forgetful.setattr(fast.importlib, "import_module", broken)
    zero, one = np.zeros((2, 3)), np.ones((2, 3))
    with pytest.warns(RuntimeWarning, match=r"not work here \(ImportError: Numba needs NumPy 1.9 or less\)"):
        assert ops.tanh(zero)[1](one).sum() == 6.0
    assert ops.tanh(zero)[1](one).sum() == 6.0         # a second warning would be an error


def test_numba_is_left_alone_if_one_says_so(forgetful):
    forgetful.setenv("MINIVAE_FAST", "0")
    forgetful.setattr(fast.importlib, "import_module", lambda name: pytest.fail("imported"))
    assert fast.compiled(np.ones(3)) is None


@pytest.mark.parametrize("array", [np.ones(3, np.float16), np.ones(3, int), np.ones(6)[::2], np.ones((2, 3)).T])
def test_what_the_loops_cannot_do_they_are_not_asked(array, forgetful):
    forgetful.setattr(fast, "_loops", lambda: pytest.fail("asked"))
    assert fast.compiled(array) is None


@numba
def test_compiled_once_and_kept(tmp_path, monkeypatch):
    """Another process reads what the first one compiled."""
    code = ("import json, minivae.fast as f; loops = f._loops();"
            "s = [l.stats for l in (loops._adam, loops._relu_pullback)];"
            "print(json.dumps([[sum(x.cache_hits.values()), sum(x.cache_misses.values())] for x in s]))")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("MINIVAE_FAST", raising=False)
    first, second = (json.loads(python("-c", code).stdout) for _ in range(2))
    assert first == [[0, 2], [0, 2]]
    assert second == [[2, 0], [2, 0]]
