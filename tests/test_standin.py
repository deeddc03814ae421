"""The stand-in is judged too: what CuPy does works, what it refuses is refused, what costs is seen."""

import copy
import importlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import standin
from standin.kernels import CompileException

cp = standin.cupy_standin             # the fixture, under the name a reader of CuPy code knows
HOST = np.arange(6, dtype=np.float32).reshape(2, 3)
HOST.setflags(write=False)


@pytest.fixture
def x(cp):
    """A float32 (2, 3) array on the device, uploaded before anything is counted."""
    return cp.asarray(HOST)


def same(device: Any, host: Any) -> None:
    """The device's result is NumPy's: type, shape, dtype, values."""
    host = np.asarray(host)
    assert type(device).__module__ == "cupy"
    assert (device.shape, device.dtype) == (host.shape, host.dtype)
    np.testing.assert_array_equal(device.get(), host)


# What it is

def test_it_is_found_as_cupy(cp, x):
    assert importlib.import_module("cupy") is cp
    for name in ("random", "linalg", "fft", "cuda"):
        assert importlib.import_module(f"cupy.{name}") is getattr(cp, name)
    assert importlib.import_module("cupy.cuda.runtime") is cp.cuda.runtime
    assert (type(x).__module__, type(x).__qualname__) == ("cupy", "ndarray")
    assert type(x) is cp.ndarray
    assert not isinstance(x, np.ndarray)
    assert cp.get_array_module(x) is cp
    assert cp.get_array_module(HOST) is np
    assert (cp.newaxis, cp.pi, cp.float32, cp.int64) == (None, np.pi, np.float32, np.int64)


def test_it_is_gone_after_the_test(cp):
    cp.zeros(3)
    with pytest.MonkeyPatch.context() as patch:
        assert importlib.import_module("cupy") is standin.install(patch, devices=0)
        assert standin.events == []
    cp.zeros(3)


# What CuPy can do gives NumPy's values, on the device

WORKS: list[Callable[[Any, Any], Any]] = [
    lambda x, np_: np_.exp(x), lambda x, np_: np_.sum(x), lambda x, np_: np_.sum(x, axis=1, keepdims=True),
    lambda x, np_: x.mean(axis=0), lambda x, np_: x.max(), lambda x, np_: x.std(ddof=1),
    lambda x, np_: x.argmax(1), lambda x, np_: np_.concatenate([x, x], axis=1),
    lambda x, np_: np_.stack([x, x]), lambda x, np_: np_.split(x, [1], axis=1)[1],
    lambda x, np_: np_.split(x, np.array([1, 2]), axis=1)[2], lambda x, np_: np_.where(x > 2, x, 0.0),
    lambda x, np_: np_.maximum(x, 0.0), lambda x, np_: np_.clip(x, 1, 3),
    lambda x, np_: np_.einsum("bi,bj->ij", x, x), lambda x, np_: np_.tensordot(x, x, axes=((0,), (0,))),
    lambda x, np_: np_.add.reduce(x), lambda x, np_: np_.add.outer(x, x),
    lambda x, np_: np_.logaddexp(x, 1.0), lambda x, np_: np_.zeros_like(x),
    lambda x, np_: np_.full_like(x, 2.5), lambda x, np_: np_.pad(x, ((1, 0), (0, 2))),
    lambda x, np_: np_.broadcast_to(x[0], (4, 3)),
    lambda x, np_: np_.take_along_axis(x, (x[:, :1] * 0).astype(int), 1), lambda x, np_: np_.linalg.norm(x),
    lambda x, np_: np_.linalg.slogdet(x @ x.T)[1], lambda x, np_: np_.fft.rfft(x),
    lambda x, np_: np_.array_equal(x, x), lambda x, np_: np_.count_nonzero(x),
    lambda x, np_: np_.isfinite(x).all(), lambda x, np_: x @ x.T, lambda x, np_: -x, lambda x, np_: abs(x),
    lambda x, np_: 1 - x, lambda x, np_: 2 / (x + 1), lambda x, np_: x**2, lambda x, np_: 2**x,
    lambda x, np_: x // 2, lambda x, np_: x % 2, lambda x, np_: x < 3, lambda x, np_: np_.greater(3, x),
    lambda x, np_: (x < 3) & ~(x < 1), lambda x, np_: divmod(x, 2)[1], lambda x, np_: x == x[0],
    lambda x, np_: x * np.float32(3), lambda x, np_: np.float32(3) * x, lambda x, np_: x * np.float64(3),
    lambda x, np_: x * np.int64(3), lambda x, np_: x.astype(np.int32), lambda x, np_: x.reshape(3, -1),
    lambda x, np_: x.transpose(1, 0), lambda x, np_: x[0], lambda x, np_: x[1, 2],
    lambda x, np_: x[:, None, ::2], lambda x, np_: x[..., -1], lambda x, np_: x[[0, 1, 1]],
    lambda x, np_: x[x > 2], lambda x, np_: x[[], 0], lambda x, np_: x.mean(dtype=np.float64),
    lambda x, np_: (x > 2).mean(), lambda x, np_: np_.nonzero(x)[1], lambda x, np_: np_.log(x * 0),
    lambda x, np_: x / 0, lambda x, np_: np_.exp(x * 1000),
]


@pytest.mark.parametrize("formula", WORKS, ids=range(len(WORKS)))
def test_values_are_numpys(x, formula):
    with np.errstate(all="ignore"):
        expected = formula(HOST.copy(), np)
    same(formula(x, np), expected)                           # through NumPy's protocols: the library's way
    same(formula(x, importlib.import_module("cupy")), expected)


@pytest.mark.parametrize("create", [
    lambda np_: np_.zeros((2, 3), np.float32), lambda np_: np_.ones(3), lambda np_: np_.full(2, 7, np.float32),
    lambda np_: np_.arange(5), lambda np_: np_.eye(3, dtype=np.float32), lambda np_: np_.asarray([[1], [3]]),
    lambda np_: np_.linspace(0, 1, 5), lambda np_: np_.array(2.5, np.float32), lambda np_: np_.asarray(HOST),
], ids=range(9))
def test_creation(cp, create):
    same(create(cp), create(np))


def test_creation_from_device_arrays_moves_nothing(cp, x):
    with standin.forbid("h2d", "d2h", "sync"):
        stacked = cp.array([x[0, 0], x[1, 1]])
        assert cp.asarray(x) is x
        assert cp.array(x) is not x
        assert cp.asarray(x, cp.int32).dtype == np.int32
        assert cp.ascontiguousarray(x.T).flags.c_contiguous
        cp.asarray(0.5, cp.float32)                          # a number travels with the kernel
    same(stacked, np.float32([0, 4]))


def test_inplace_operators_and_out_return_the_same_array(x):
    y = before = x.copy()
    y += x
    y *= 2.0
    y -= x
    y /= 2
    assert y is before
    same(y, np.float32(1.5) * HOST)
    assert np.exp(x, out=y) is y
    assert np.sum(x, axis=0, out=y[0]).shape == (3,)
    assert np.add(x, 1, y) is y
    same(y, HOST + 1)
    with pytest.raises(TypeError, match="same_kind"):
        np.rint(x).astype(int).__iadd__(x)


def test_views_share_memory(cp):
    value = cp.zeros(12, cp.float32)                         # the arena: parameters are views of one vector
    W, b = value[:9].reshape(3, 3), value[9:]
    W += 1.0
    W.T[0, 1] = 5.0
    b[...] = cp.arange(3, dtype=cp.float32)
    b[0].fill(7.0)                                           # even one element is a view
    W.ravel()[8:] = 9.0
    np.split(value, [9])[1][2] = 4.0
    assert value.get().tolist() == [1, 1, 1, 5, 1, 1, 1, 1, 9, 7, 1, 4]
    assert cp.shares_memory(W, value)
    assert np.may_share_memory(b, value)
    assert not np.shares_memory(W.copy(), value)


def test_the_host_keeps_its_own_memory(cp):
    host = np.zeros(3, np.float32)
    x = cp.asarray(host)
    x += 1
    got = x.get()
    got += 1
    assert (host.sum(), float(x.sum()), got.sum()) == (0, 3, 6)


def test_setitem_and_scatter(cp, x):
    x[0, 0] = 5
    x[:, 1] = x[:, 2]
    x[x > 4] = 0.0
    same(x, np.float32([[0, 2, 2], [3, 0, 0]]))
    np.add.at(x, cp.asarray([0, 0]), cp.ones((2, 3), np.float32))
    same(x, np.float32([[2, 4, 4], [3, 0, 0]]))


def test_copies(x):
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        same(twin, HOST)
        assert not np.shares_memory(twin, x)


def test_get_set_and_asnumpy(cp, x):
    out = np.empty((2, 3), np.float32)
    assert x.get(out=out) is out
    np.testing.assert_array_equal(cp.asnumpy(x), out)
    x.set(out + 1)
    same(x, HOST + 1)
    for wrong, error in [(out.astype(float), TypeError), (out[0], ValueError), ([1.0], TypeError)]:
        with pytest.raises(error):
            x.set(wrong)


# What CuPy refuses

REFUSES: list[tuple[str, type[Exception], Callable[[Any, Any], Any]]] = [
    ("host on the right", TypeError, lambda x, cp: x + HOST),
    ("host on the left", TypeError, lambda x, cp: HOST + x),
    ("host 0-d", TypeError, lambda x, cp: x * np.array(2.0, np.float32)),
    ("0-d host on the left", TypeError, lambda x, cp: np.array(2.0, np.float32) * x),
    ("host in a comparison", TypeError, lambda x, cp: x < HOST),
    ("host in an equality", TypeError, lambda x, cp: HOST.__eq__(x)),
    ("host in a product", TypeError, lambda x, cp: HOST.T @ x),
    ("host in place", TypeError, lambda x, cp: x.__iadd__(HOST)),
    ("host updated in place", TypeError, lambda x, cp: HOST.copy().__iadd__(x)),
    ("host out", TypeError, lambda x, cp: np.exp(x, out=HOST.copy())),
    ("host out of a sum", TypeError, lambda x, cp: np.sum(x, out=np.empty(()))),
    ("host in a list", TypeError, lambda x, cp: np.concatenate([x, HOST])),
    ("host in where", TypeError, lambda x, cp: np.where(HOST > 0, x, 0.0)),
    ("host to cupy's ufunc", TypeError, lambda x, cp: cp.exp(HOST)),
    ("host to cupy's function", TypeError, lambda x, cp: cp.sum(HOST)),
    ("host to a method", TypeError, lambda x, cp: x.dot(HOST.T)),
    ("host assigned", ValueError, lambda x, cp: x.__setitem__(..., HOST)),
    ("host row assigned", ValueError, lambda x, cp: x.__setitem__(0, HOST[0])),
    ("list assigned", ValueError, lambda x, cp: x.__setitem__(0, [1, 2, 3])),
    ("host fill", TypeError, lambda x, cp: x.fill(HOST)),
    ("into a host array", TypeError, lambda x, cp: HOST.copy().__setitem__(..., x)),
    ("implicit copy", TypeError, lambda x, cp: np.asarray(x)),
    ("implicit copy in a list", TypeError, lambda x, cp: np.array([x, x])),
    ("implicit copy in a test", TypeError, lambda x, cp: np.testing.assert_array_equal(x, x)),
    ("a list operand", TypeError, lambda x, cp: x * [1, 2, 3]),
    ("a string operand", TypeError, lambda x, cp: x + "a"),
    ("object arrays", ValueError, lambda x, cp: cp.asarray(["a"])),
    ("len of 0-d", TypeError, lambda x, cp: len(x.sum())),
    ("loop over 0-d", TypeError, lambda x, cp: list(x.sum())),
    ("hash", TypeError, lambda x, cp: hash(x)),
    ("as an index of a list", TypeError, lambda x, cp: [1, 2][x[0].argmax()]),
    ("if on many", ValueError, lambda x, cp: bool(x)),
    ("sum where", TypeError, lambda x, cp: np.sum(x, where=x > 0)),
    ("sum initial", TypeError, lambda x, cp: np.sum(x, initial=1.0)),
    ("method where", TypeError, lambda x, cp: x.sum(where=x > 0)),
    ("mean where", TypeError, lambda x, cp: np.mean(x, where=x > 0)),
    ("max initial", TypeError, lambda x, cp: np.max(x, initial=0.0)),
    ("std mean", TypeError, lambda x, cp: np.std(x, mean=x)),
    ("ufunc where", TypeError, lambda x, cp: np.exp(x, where=x > 0)),
    ("sort order", TypeError, lambda x, cp: np.sort(x, order="a")),
    ("stable sort", TypeError, lambda x, cp: np.sort(x, stable=True)),
    ("clip by min", TypeError, lambda x, cp: np.clip(x, min=0, max=1)),
    ("clip by one", TypeError, lambda x, cp: np.clip(x, 0.0)),
    ("item of an index", TypeError, lambda x, cp: x.item(0)),
    ("maximum.reduce", NotImplementedError, lambda x, cp: np.maximum.reduce(x)),
    ("add.reduce initial", TypeError, lambda x, cp: np.add.reduce(x, initial=0.0)),
    ("logaddexp.reduce", NotImplementedError, lambda x, cp: np.logaddexp.reduce(x)),
    ("multiply.at", NotImplementedError, lambda x, cp: np.multiply.at(x, 0, 2.0)),
    ("no such function", TypeError, lambda x, cp: np.vecdot(x, x)),
    ("no such NumPy function", TypeError, lambda x, cp: np.block([x, x])),
    ("no such name", AttributeError, lambda x, cp: cp.vecdot),
    ("no such method", AttributeError, lambda x, cp: x.setflags(write=False)),
    ("no such attribute", AttributeError, lambda x, cp: x.ctypes),
    ("no new attributes", AttributeError, lambda x, cp: setattr(x, "name", "W")),
    ("no linalg name", AttributeError, lambda x, cp: cp.linalg.multi_dot),
    ("no Generator.normal", AttributeError, lambda x, cp: cp.random.default_rng(0).normal),
    ("no Generator.permutation", AttributeError, lambda x, cp: cp.random.default_rng(0).permutation),
    ("no Generator.choice", AttributeError, lambda x, cp: cp.random.default_rng(0).choice),
    ("no Generator.shuffle", AttributeError, lambda x, cp: cp.random.default_rng(0).shuffle),
    ("no loc and scale", TypeError, lambda x, cp: cp.random.default_rng(0).standard_normal(loc=1.0)),
    ("no dtype for gamma", TypeError, lambda x, cp: cp.random.default_rng(0).gamma(1.0, dtype=np.float32)),
    ("no int normals", TypeError, lambda x, cp: cp.random.default_rng(0).standard_normal(3, dtype=int)),
    ("known, not stood in for", NotImplementedError, lambda x, cp: cp.random.randn),
]


@pytest.mark.parametrize(("error", "sin"), [row[1:] for row in REFUSES], ids=[row[0] for row in REFUSES])
def test_refused(cp, x, error, sin):
    with pytest.raises(error):
        sin(x, cp)


def test_messages_are_cupys(x):
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        x + HOST
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed. Please use `.get"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"sum\(\) got an unexpected keyword argument 'where'"):
        np.sum(x, where=x > 0)


# What costs is seen

COSTS: list[tuple[str, str, Callable[[Any, Any], Any]]] = [
    ("sync", "float", lambda x, cp: float(x[0, 0])), ("sync", "int", lambda x, cp: int(x[0, 0])),
    ("sync", "bool", lambda x, cp: bool(x[0, 0])), ("sync", "if", lambda x, cp: 1 if x.sum() > 0 else 0),
    ("sync", "complex", lambda x, cp: complex(x[0, 0])), ("sync", "item", lambda x, cp: x[0, 0].item()),
    ("sync", "tolist", lambda x, cp: x.tolist()), ("sync", "format", lambda x, cp: f"{x.sum():.2f}"),
    ("sync", "str", lambda x, cp: str(x)), ("sync", "repr", lambda x, cp: repr(x)),
    ("sync", "boolean index", lambda x, cp: x[x > 2]),
    ("sync", "boolean assignment", lambda x, cp: x.__setitem__(x > 2, 0.0)),
    ("sync", "nonzero", lambda x, cp: np.nonzero(x)), ("sync", "nonzero method", lambda x, cp: x.nonzero()),
    ("sync", "where of one", lambda x, cp: np.where(x)), ("sync", "unique", lambda x, cp: np.unique(x)),
    ("sync", "bincount", lambda x, cp: np.bincount(x.astype(int).ravel())),
    ("sync", "repeat", lambda x, cp: np.repeat(x, x[0].astype(int), axis=1)),
    ("sync", "allclose", lambda x, cp: bool(np.allclose(x, x))),
    ("sync", "stream", lambda x, cp: cp.cuda.Stream.null.synchronize()),
    ("sync", "current stream", lambda x, cp: cp.cuda.get_current_stream().synchronize()),
    ("sync", "device", lambda x, cp: cp.cuda.Device(0).synchronize()),
    ("sync", "runtime", lambda x, cp: cp.cuda.runtime.deviceSynchronize()),
    ("d2h", "get", lambda x, cp: x.get()), ("d2h", "asnumpy", lambda x, cp: cp.asnumpy(x)),
    ("d2h", "pickle", lambda x, cp: pickle.dumps(x)), ("h2d", "asarray", lambda x, cp: cp.asarray(HOST)),
    ("h2d", "array", lambda x, cp: cp.array([1, 2])),
    ("h2d", "asanyarray", lambda x, cp: cp.asanyarray(HOST)),
    ("h2d", "ascontiguousarray", lambda x, cp: cp.ascontiguousarray(HOST)),
    ("h2d", "set", lambda x, cp: x.set(HOST)), ("h2d", "host index", lambda x, cp: x[np.array([0, 1])]),
    ("h2d", "list index", lambda x, cp: x[:, [0, 1]]),
    ("h2d", "host index set", lambda x, cp: x.__setitem__(np.array([0, 1]), 0.0)),
    ("h2d", "host rows set", lambda x, cp: x.__setitem__(cp.arange(2), HOST)),
    ("h2d", "host index of at", lambda x, cp: np.add.at(x, np.array([0, 1]), 1.0)),
    ("loop", "for", lambda x, cp: list(x)), ("loop", "unpack", lambda x, cp: (lambda a, b: 0)(*x)),
    ("loop", "sum", lambda x, cp: sum(x)), ("float64", "zeros", lambda x, cp: cp.zeros(3)),
    ("float64", "empty", lambda x, cp: cp.empty(3)), ("float64", "full", lambda x, cp: cp.full(3, 1.0)),
    ("float64", "ndarray", lambda x, cp: cp.ndarray(3)),
    ("float64", "linspace", lambda x, cp: cp.linspace(0, 1, 3)),
    ("float64", "like", lambda x, cp: np.zeros_like(x, dtype=float)),
    ("float64", "NumPy scalar", lambda x, cp: x * np.float64(2)),
    ("float64", "NumPy scalar, left", lambda x, cp: np.sqrt(2) * x),
    ("float64", "NumPy scalar, in place", lambda x, cp: x.__imul__(1 / np.sqrt(2))),
    ("float64", "integers divided", lambda x, cp: cp.arange(3) / 2),
    ("float64", "mean of booleans", lambda x, cp: (x > 2).mean()),
    ("float64", "times integers", lambda x, cp: x * cp.arange(3)),
    ("float64", "astype", lambda x, cp: x.astype(float)),
    ("float64", "sum", lambda x, cp: x.sum(dtype=np.float64)),
    ("float64", "complex128", lambda x, cp: x * np.complex128(1j)),
    ("float64", "draw", lambda x, cp: cp.random.default_rng(0).standard_normal(3)),
]


@pytest.mark.parametrize(("kind", "sin"), [(kind, sin) for kind, _, sin in COSTS],
                         ids=[f"{kind} {what}" for kind, what, _ in COSTS])
def test_cost_is_recorded_and_can_be_forbidden(cp, x, kind, sin):
    with standin.record() as seen:
        sin(x, cp)
    assert seen[kind] >= 1
    assert standin.events[-1][1].startswith("test_standin.py:")
    with pytest.raises(AssertionError, match=rf"^{kind} at test_standin.py:\d+$"), standin.forbid(kind):
        sin(cp.asarray(HOST) if kind != "h2d" else x, cp)
    others = {"sync", "d2h", "h2d", "loop", "float64"} - {kind} - set(seen)
    with standin.forbid(*others):
        sin(x, cp)


FREE: list[Callable[[Any, Any], Any]] = [
    lambda x, cp: x.sum() / len(x) + x.shape[0], lambda x, cp: x * np.float32(2) + 0.5 - 1,
    lambda x, cp: x[cp.arange(2), 0], lambda x, cp: x[0, 0] * x, lambda x, cp: cp.zeros(3, cp.float32),
    lambda x, cp: np.full_like(x, 1 / len(x)), lambda x, cp: np.full_like(x, np.float64(0.5)),
    lambda x, cp: np.where(x > 0, x, 0.0), lambda x, cp: x.__setitem__(0, 1.0),
    lambda x, cp: x.__setitem__(0, x[1]), lambda x, cp: x.argmax(axis=1), lambda x, cp: (x > 0).sum(),
    lambda x, cp: x.var(axis=0), lambda x, cp: np.array_equal(x, x),
    lambda x, cp: np.split(x, np.array([1]), axis=1), lambda x, cp: copy.copy(x),
    lambda x, cp: cp.random.default_rng(0).standard_normal((2, 3), dtype=cp.float32),
    lambda x, cp: cp.cuda.Device(0), lambda x, cp: np.add.at(x, cp.asarray(0), 1.0),
    lambda x, cp: np.log(x * 0) / 0, lambda x, cp: x.fill(1.0),
]


@pytest.mark.parametrize("work", FREE, ids=range(len(FREE)))
def test_what_a_gpu_does_alone_is_no_event(cp, x, work):
    standin.events.clear()
    with standin.forbid():
        work(x, cp)
    assert standin.events == []


def test_events_carry_kind_and_line_even_through_numpy(x):
    standin.events.clear()
    float(x[0, 0])
    np.iterable(x)                                           # a function of NumPy's own, in Python
    line = test_events_carry_kind_and_line_even_through_numpy.__code__.co_firstlineno
    assert standin.events == [("sync", f"test_standin.py:{line + 2}"), ("loop", f"test_standin.py:{line + 3}")]


def test_record_and_forbid_end_and_nest(x):
    with standin.record() as outer:
        with standin.record() as inner:
            x.get()
        x.get()
    x.get()
    assert (inner["d2h"], outer["d2h"], outer["sync"]) == (1, 2, 0)
    with standin.forbid("sync"):
        with standin.forbid("d2h"):
            for sin in (x.get, x[0, 0].item):
                with pytest.raises(AssertionError):
                    sin()
        x.get()
        with pytest.raises(AssertionError):
            x[0, 0].item()
    x[0, 0].item()
    with pytest.raises(ValueError, match="expected some of"), standin.forbid("h2h"):
        pass


# Random numbers, devices

def test_random(cp):
    a, b = (cp.random.default_rng(3) for _ in range(2))
    with standin.forbid():
        x = a.standard_normal((1000, 2), dtype=cp.float32)
        u = a.random(1000, dtype=np.float32)
        v = a.uniform(-1.0, 1.0, size=1000, dtype=np.float32)
        k = a.integers(0, 5, size=1000)
        out = cp.empty(1000, np.float32)
        assert a.random(dtype=np.float32, out=out) is out
        assert a.random(dtype=np.float32).shape == ()
    same(x, b.standard_normal((1000, 2), dtype=np.float32).get())
    assert (u.dtype, v.dtype, k.dtype) == (np.float32, np.float32, np.int64)
    assert float(x.std()) == pytest.approx(1, abs=0.1)
    assert 0 <= float(u.min()) < 0.1
    assert -1 <= float(v.min()) < -0.9
    assert (int(k.min()), int(k.max())) == (0, 4)
    assert 0.9 < float(out.max()) < 1
    assert a.random(3).dtype == np.float64
    assert a.poisson(cp.ones(4) * 100).shape == (4,)


def test_one_device(cp):
    assert cp.cuda.runtime.getDeviceCount() == 1
    assert cp.cuda.is_available()
    assert cp.is_available()
    assert cp.cuda.runtime.getDeviceProperties(0)["name"] == b"stand-in"
    with cp.cuda.Device(0) as device:
        assert device.id == 0


@pytest.mark.parametrize(("devices", "message"), [(0, "NoDevice"), (None, "InsufficientDriver")])
def test_cupy_without_a_gpu(monkeypatch, devices, message):
    cp = standin.install(monkeypatch, devices)
    assert not cp.cuda.is_available()
    if devices is None:
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=message):
            cp.cuda.runtime.getDeviceCount()
    else:
        assert cp.cuda.runtime.getDeviceCount() == 0
    for make in (lambda: cp.zeros(3), lambda: cp.asarray(HOST), lambda: cp.random.default_rng(0).random()):
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=message):
            make()


# A training step: linear, ReLU, squared error, Adam

def train_step(p: dict[str, Any], x: Any, y: Any, rng: Any, sin: Any = None) -> dict[str, Any]:
    """One step on p, in place; `sin(loss, dW)`, if given, is committed on the way."""
    a = x @ p["W"] + p["b"]
    h = np.maximum(a, 0.0) + 0.01 * rng.standard_normal(a.shape, dtype=a.dtype)
    error = h - y
    loss = 0.5 * (error**2).sum(axis=-1).mean()
    dh = error / len(x)
    da = np.where(a > 0, dh, 0.0)
    dW = p["dW"]
    dW[...] = x.T @ da
    p["db"][...] = da.sum(axis=0)
    if sin is not None:
        sin(loss, dW)
    p["t"] += 1
    m, v, g = p["m"], p["v"], p["grad"]
    m += 0.1 * (g - m)
    v += 0.001 * (g * g - v)
    p["value"] -= 0.01 * (m / (1 - 0.9 ** p["t"])) / (np.sqrt(v / (1 - 0.999 ** p["t"])) + 1e-8)
    return {"loss": loss}


def parameters(xp: Any, dtype: Any) -> dict[str, Any]:
    value, grad, m, v = (xp.zeros(8, dtype) for _ in range(4))
    value += 0.1
    return {"value": value, "W": value[:6].reshape(3, 2), "b": value[6:],
            "grad": grad, "dW": grad[:6].reshape(3, 2), "db": grad[6:], "m": m, "v": v, "t": 0}


def test_a_clean_step_passes_with_everything_forbidden(cp, x):
    p, y, rng = parameters(cp, cp.float32), cp.ones((2, 2), cp.float32), cp.random.default_rng(0)
    with standin.forbid():
        losses = [train_step(p, x, y, rng)["loss"] for _ in range(300)]
    assert float(losses[-1]) < 0.05 * float(losses[0])


def test_a_clean_step_in_float64_is_the_same_on_both_devices(cp):
    class Silent:
        def standard_normal(self, shape, dtype):
            return xp.zeros(shape, dtype)

    results = []
    for xp in (np, cp):
        p = parameters(xp, np.float64)
        with standin.forbid("sync", "d2h", "loop", "h2d"):
            x, y = xp.arange(6.0).reshape(2, 3), xp.ones((2, 2))
            for _ in range(3):
                loss = train_step(p, x, y, Silent())["loss"]
        results.append((cp.asnumpy(p["value"]), float(loss)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize(("message", "sin"), [
    ("sync at", lambda loss, dW: print(f"{loss:.3f}")),
    ("sync at", lambda loss, dW: np.isnan(loss) or None),
    ("d2h at", lambda loss, dW: dW.get()),
    ("h2d at", lambda loss, dW: importlib.import_module("cupy").asarray(HOST)),
    ("h2d at", lambda loss, dW: dW[np.array([0, 2])]),
    ("loop at", lambda loss, dW: [row.sum() for row in dW]),
    ("float64 at", lambda loss, dW: dW * np.sqrt(0.5)),
    ("float64 at", lambda loss, dW: importlib.import_module("cupy").zeros(dW.shape)),
    ("Unsupported type", lambda loss, dW: dW + np.zeros((3, 2), np.float32)),
    ("Implicit conversion", lambda loss, dW: np.asarray(loss)),
    ("unexpected keyword", lambda loss, dW: dW.sum(where=dW > 0)),
    ("no attribute", lambda loss, dW: dW.setflags()),
])
def test_a_step_with_one_sin_is_caught(cp, x, message, sin):
    p, y, rng = parameters(cp, cp.float32), cp.ones((2, 2), cp.float32), cp.random.default_rng(0)
    with pytest.raises((AssertionError, TypeError, AttributeError), match=message), standin.forbid():
        train_step(p, x, y, rng, sin)


def test_the_stand_in_itself_warns_of_nothing(x):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.exp(x * 1e4), x / 0, np.sqrt(x - 9)
    assert caught == []


# Kernels written in C++: compiled for the host, under CuPy's rules

def axpy(cp):
    return cp.ElementwiseKernel("T x, T y, T scale", "T z", "z = scale * x + y", "axpy")


def row_sum(cp):
    return cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "length")


def test_an_elementwise_kernel_runs_its_source(cp, x):
    same(axpy(cp)(x, x[:1], 2.0), np.float32(2) * HOST + HOST[:1])           # inputs are broadcast
    same(axpy(cp)(x.T, x.T, np.float64(2)), (3 * HOST).T)                    # a scalar takes the arrays' type
    two = cp.ElementwiseKernel("T x", "T y, T z", "y = x + T(1); z = y * T(i)")
    for found, expected in zip(two(x), (HOST + 1, (HOST + 1) * np.arange(6, dtype=np.float32).reshape(2, 3))):
        same(found, expected)
    assert axpy(cp)(x[:0], x[:0], 2.0).shape == (0, 3)
    mixed = cp.ElementwiseKernel("T x, int64 n", "T y", "y = x * T(n)")
    same(mixed(x, cp.asarray(np.array(3))), 3 * HOST)


def test_an_elementwise_kernel_writes_what_it_is_given(cp, x):
    total, view = cp.zeros((2, 3), np.float32), cp.zeros((2, 6), np.float32)
    add = cp.ElementwiseKernel("T x", "T total", "total += x", "add")
    assert add(x, total) is total
    add(x, total)
    add(x, view[:, ::2])
    same(total, 2 * HOST)
    same(view[:, ::2], HOST)
    assert not view[:, 1::2].get().any()


@pytest.mark.parametrize(("arguments", "expected"), [
    ({"axis": 1}, np.sqrt((HOST**2).sum(1))), ({"axis": -1}, np.sqrt((HOST**2).sum(1))),
    ({"axis": 0}, np.sqrt((HOST**2).sum(0))), ({}, np.sqrt((HOST**2).sum())),
    ({"axis": 1, "keepdims": True}, np.sqrt((HOST**2).sum(1, keepdims=True)))])
def test_a_reduction_kernel_runs_its_source(cp, x, arguments, expected):
    found = row_sum(cp)(x, **arguments)
    assert (found.shape, found.dtype) == (np.shape(expected), np.float32)
    np.testing.assert_allclose(found.get(), expected, rtol=1e-6)


def test_a_reduction_kernel_sums_more_than_its_lanes(cp):
    x = np.random.default_rng(0).random((3, 2000))
    out = cp.zeros(3)
    assert row_sum(cp)(cp.asarray(x), axis=1, out=out) is out
    np.testing.assert_allclose(out.get(), np.linalg.norm(x, axis=1), rtol=1e-14)
    assert row_sum(cp)(cp.zeros((2, 0)), axis=1).get().tolist() == [0.0, 0.0]


REFUSED_KERNELS: list[tuple[Callable[[Any, Any], Any], Any, str]] = [
    (lambda cp, x: axpy(cp)(x, x.astype(np.float64), 1.0), TypeError, "mismatched"),
    (lambda cp, x: axpy(cp)(x, HOST, 1.0), TypeError, "Unsupported type"),
    (lambda cp, x: axpy(cp)(x, x), TypeError, "Wrong number"),
    (lambda cp, x: axpy(cp)(1.0, 2.0, 3.0), ValueError, "undecided"),
    (lambda cp, x: axpy(cp)(x, x, 1.0, 2.0), TypeError, "Output arguments"),
    (lambda cp, x: axpy(cp)(x, x, 1.0, x[0]), ValueError, "mismatched"),
    (lambda cp, x: axpy(cp)(x, x, 1.0, cp.zeros((2, 3))), TypeError, "mismatched"),
    (lambda cp, x: row_sum(cp)(x, axis=1, out=x), ValueError, "mismatched"),
    (lambda cp, x: cp.ElementwiseKernel("T i", "T y", "y = i"), ValueError, "'i'"),
    (lambda cp, x: cp.ElementwiseKernel("raw T x", "T y", "y = x[0]"), NotImplementedError, "raw"),
    (lambda cp, x: cp.ElementwiseKernel("T x", "T y", "x = y = T(1)")(x), CompileException, "read-only"),
    (lambda cp, x: cp.ElementwiseKernel("T x", "T y", "y = 0.5 * x")(x), CompileException, "double"),
    (lambda cp, x: cp.ElementwiseKernel("T x", "T y", "y = nothing")(x), CompileException, "nothing"),
]


@pytest.mark.parametrize(("use", "error", "message"), REFUSED_KERNELS)
def test_a_kernel_is_refused(cp, x, use, error, message):
    with pytest.raises(error, match=message):
        use(cp, x)


LAUNCHES: list[tuple[Callable[[Any, Any], Any], int]] = [
    (lambda cp, x: x + 1, 1), (lambda cp, x: x.sum(axis=0), 1), (lambda cp, x: x @ x.T, 1),
    (lambda cp, x: x.T.reshape(2, 3), 1), (lambda cp, x: x.reshape(3, 2).T[1:, None], 0),
    (lambda cp, x: np.broadcast_to(x, (4, 2, 3)), 0), (lambda cp, x: np.split(x, 2), 0), (lambda cp, x: x.copy(), 1),
    (lambda cp, x: copy.copy(x), 1), (lambda cp, x: np.empty_like(x), 0), (lambda cp, x: np.zeros_like(x), 1),
    (lambda cp, x: np.multiply(x, 2, out=x), 1), (lambda cp, x: x.__setitem__(0, 1.0), 1),
    (lambda cp, x: x.__setitem__(0, x[1]), 1), (lambda cp, x: exec("x[0] += 1", {"x": x}), 1),
    (lambda cp, x: x[cp.asarray(np.array([0, 1]))], 1), (lambda cp, x: cp.random.default_rng(0).random(3), 1),
    (lambda cp, x: axpy(cp)(x, x, 1.0), 1), (lambda cp, x: row_sum(cp)(x), 1), (lambda cp, x: x.shape, 0),
]


@pytest.mark.parametrize(("use", "count"), LAUNCHES)
def test_launches_are_counted(cp, use, count):
    x = cp.asarray(HOST)
    with standin.record() as seen:
        use(cp, x)
    assert seen["launch"] == count
    with standin.forbid("sync"):                      # they are no event
        x + 1
