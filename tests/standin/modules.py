"""The module `cupy` and its submodules, as far as CuPy has their names."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from standin import cuda
from standin.arrays import NAMES, WAITS, call, check_arguments, index, modules, ndarray, unwrap_all, wrap
from standin.events import events, launch, note
from standin.kernels import ElementwiseKernel, ReductionKernel

UFUNC_METHODS = {                                     # what a ufunc of CuPy has: arguments, and which ufuncs
    "outer": ("A, B, **kwargs", None),
    "reduce": ("array, axis=0, dtype=None, out=None, keepdims=None", {"add", "multiply"}),
    "accumulate": ("array, axis=0, dtype=None, out=None", {"add", "multiply"}),
    "reduceat": ("array, indices, axis=0, dtype=None, out=None", {"add"}),
}
SCATTERS = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
ON_DEVICE = {"allclose", "array_equal", "array_equiv", "count_nonzero"}     # NumPy's answer bool or int
SPLITS = {"split", "array_split", "hsplit", "vsplit", "dsplit"}             # they read host indices


class Ufunc:
    """A ufunc of CuPy: no `where=`, and few of the methods."""

    def __init__(self, answer: np.ufunc) -> None:
        self._answer, self.__name__ = answer, answer.__name__
        self._check = check_arguments(self.__name__, "*arrays, out=None, dtype=None, casting=None")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check(*args, **kwargs)
        return call(self._answer, args, kwargs)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.__name__ not in SCATTERS:
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        self._answer.at(unwrap_all(a), index(indices)[0], unwrap_all(b))

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method not in UFUNC_METHODS:
            raise AttributeError(f"'ufunc' object has no attribute {method!r}")
        signature, supported = UFUNC_METHODS[method]
        if supported is not None and self.__name__ not in supported:
            raise NotImplementedError(f"`{self.__name__}.{method}` is not supported yet")
        return function(method, getattr(self._answer, method), signature)


def function(name: str, answer: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """NumPy's function `answer` under CuPy's name and signature."""
    check = check_arguments(name, signature)

    def answered(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        second = args[1] if len(args) > 1 else None
        if name in WAITS or (name == "where" and len(args) + len(kwargs) == 1) or (
                name in {*SPLITS, "repeat"} and isinstance(second, ndarray)):
            note("sync")
        if name in SPLITS and isinstance(second, np.ndarray):
            args = (args[0], second.tolist(), *args[2:])
        result = call(answer, args, kwargs)
        return wrap(result) if name in ON_DEVICE and isinstance(result, (bool, int)) else result
    return answered


class Module(ModuleType):
    """A module of CuPy: the names it has, answered by a module of NumPy."""

    def __init__(self, name: str, answers: Any, names: Any, **extra: Any) -> None:
        super().__init__(name)
        self.__dict__.update(extra, __spec__=ModuleSpec(name, None), _answers=answers, _names=names)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if not hasattr(self._answers, name):
            raise NotImplementedError(f"the stand-in lacks {self.__name__}.{name}")
        kind, value = self._names[name], getattr(self._answers, name)
        if kind != "value":
            value = Ufunc(value) if kind == "ufunc" else function(name, value, kind)
        setattr(self, name, value)
        return value


class Generator:
    """cupy.random.Generator: its few methods, another stream than NumPy's default."""

    def __init__(self, seed: Any = None) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES["Generator"]:
            raise AttributeError(f"'cupy.random.Generator' object has no attribute {name!r}")

        def draw(*args: Any, **kwargs: Any) -> Any:
            dtype, out = kwargs.get("dtype"), kwargs.get("out")
            if name in ("uniform", "beta"):           # NumPy draws these in float64 only
                kwargs.pop("dtype", None)
            launch()
            host = getattr(self._rng, name)(*unwrap_all(args), **unwrap_all(kwargs))
            return wrap(np.asarray(host, dtype)) if out is None else out
        return draw


def array(obj: Any, dtype: Any = None, copy: bool | None = True, order: Any = "K", subok: bool = False,
          ndmin: int = 0, *, blocking: bool = False) -> ndarray:
    """cupy.array: a copy on the device.  (A number is no transfer: it travels with the kernel.)"""
    parts = obj if isinstance(obj, (list, tuple)) else [obj]
    if any(isinstance(part, ndarray) for part in parts):
        return wrap(np.array(unwrap_all(obj), dtype, copy=copy, order=order, ndmin=ndmin))
    host = np.array(obj, dtype, order=order, ndmin=ndmin)
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    if host.ndim:
        note("h2d")
    return wrap(host)


def asarray(a: Any, dtype: Any = None, order: Any = "K", *, copy: bool | None = None,
            blocking: bool = False) -> ndarray:
    if not isinstance(a, ndarray):
        return array(a, dtype, order=order)
    host = np.array(a._host, dtype, copy=copy, order=order)
    return a if host is a._host else wrap(host)


def asnumpy(a: Any, stream: Any = None, order: Any = "C", out: Any = None, *, blocking: bool = True) -> Any:
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a, order=order)


_cuda = Module("cupy.cuda", cuda, dict.fromkeys(cuda.__all__, "value"))
_random = Module("cupy.random", None, NAMES["random"], Generator=Generator, default_rng=Generator)
_linalg = Module("cupy.linalg", np.linalg, NAMES["linalg"])
_fft = Module("cupy.fft", np.fft, NAMES["fft"])
_stride_tricks = Module("cupy.lib.stride_tricks", np.lib.stride_tricks, {
    "as_strided": "x, shape=None, strides=None"})
_lib = Module("cupy.lib", None, {}, __path__=[], stride_tricks=_stride_tricks)
_cupy: Any = Module(
    "cupy", np, NAMES["cupy"], __path__=[], cuda=_cuda, lib=_lib, random=_random, linalg=_linalg, fft=_fft,
    ndarray=ndarray, array=array, asarray=asarray, asanyarray=asarray, asnumpy=asnumpy,
    is_available=cuda.is_available, ElementwiseKernel=ElementwiseKernel, ReductionKernel=ReductionKernel,
    ascontiguousarray=lambda a, dtype=None: asarray(asarray(a, dtype), order="C"),
    get_array_module=lambda *args: _cupy if any(isinstance(x, ndarray) for x in args) else np)
modules.update({"numpy": _cupy, "numpy.linalg": _linalg, "numpy.fft": _fft, "numpy.lib.stride_tricks": _stride_tricks})


def install(monkeypatch: pytest.MonkeyPatch, devices: int | None = 1) -> Any:
    """Let `import cupy` find the stand-in, and return it; forget the events of before.

    devices=0: CuPy is installed, but there is no GPU; devices=None: no driver either.
    """
    for module in (_cupy, _cuda, _random, _linalg, _fft):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "cupy.cuda.runtime", cuda.runtime)
    monkeypatch.setattr(cuda, "devices", devices)
    events.clear()
    return _cupy


@pytest.fixture
def cupy_standin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`import cupy` finds the stand-in, which is also the fixture's value."""
    return install(monkeypatch)
