"""The device array: a NumPy array behind CuPy's rules."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from standin.cuda import check_device
from standin.events import launch, note

NAMES = json.loads((Path(__file__).parent / "names.json").read_text(encoding="utf-8"))
WAITS = {"argwhere", "bincount", "compress", "extract", "flatnonzero", "nanmax", "nanmin", "nonzero",
         "trim_zeros", "union1d", "intersect1d", "unique", "unique_all", "unique_counts", "unique_inverse",
         "unique_values"}                             # the size of the result depends on the values
HOST = {"base", "dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides"}
VIEWS = {"T", "imag", "mT", "real"}
NO_LAUNCH = {"empty", "empty_like", "can_cast", "result_type", "min_scalar_type", "shape", "ndim", "size"}
modules: dict[str, Any] = {}                          # "numpy" -> the stand-in's `cupy`, and its submodules


def check_arguments(name: str, signature: str) -> Callable[..., None]:
    """A function that raises TypeError, as CuPy's `name` does, for arguments that do not fit."""
    check = eval(f"lambda {signature}: None")
    check.__qualname__ = name
    return check


METHODS = {name: check_arguments(name, signature) for name, signature in NAMES["ndarray"].items()
           if signature != "attribute"}


def is_wide(x: Any) -> bool:
    """Is `x` a float64 or complex128, array or NumPy scalar?  (A Python float takes the array's dtype.)"""
    return isinstance(x, (ndarray, np.ndarray, np.generic)) and x.dtype.char in "dDgG"


def wrap(host: Any) -> "ndarray":
    """A device array around `host`, sharing its memory.  Every device array is made here."""
    check_device()
    if is_wide(host):
        note("float64")
    x = object.__new__(ndarray)
    x._host = np.asarray(host)
    return x


def wrap_all(result: Any) -> Any:
    """The arrays and NumPy scalars of a result, on the device: a reduction is a 0-d array."""
    if isinstance(result, (np.ndarray, np.generic)):
        return wrap(result)
    if isinstance(result, (tuple, list)):
        parts = [wrap_all(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def unwrap_all(x: Any) -> Any:
    """What device arrays hold; a host array among them, wherever it hides, is refused."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (tuple, list)):
        return type(x)(unwrap_all(part) for part in x)
    if isinstance(x, dict):
        return {name: unwrap_all(part) for name, part in x.items()}
    return x


def is_launch(function: Callable[..., Any], args: Any, result: Any) -> bool:
    """Does it compute?  A view of what it was given does not, nor do memory and metadata."""
    if isinstance(function, np.ufunc) or getattr(function, "__name__", "") in NO_LAUNCH:
        return isinstance(function, np.ufunc)
    arrays = [x._host for x in args if isinstance(x, ndarray)]
    if isinstance(owner := getattr(function, "__self__", None), np.ndarray):
        arrays.append(owner)
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return not any(np.may_share_memory(x, part) for x in arrays for part in parts if isinstance(part, np.ndarray))


def call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """NumPy's `function` on the device: silent where CuPy's is, about overflow and 0 / 0."""
    with np.errstate(all="ignore"):
        result = function(*unwrap_all(args), **unwrap_all(kwargs))
    if isinstance(function, np.ufunc) and any(map(is_wide, args)):
        note("float64")
    if is_launch(function, args, result):
        launch()
    out = kwargs.get("out")
    if out is None:
        return wrap_all(result)
    return out[0] if isinstance(out, tuple) and len(out) == 1 else out


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    return a.ctypes.data == b.ctypes.data and (a.shape, a.strides) == (b.shape, b.strides)


def index(key: Any) -> tuple[tuple[Any, ...], bool]:
    """The index on the host, ending in `...` so that NumPy answers with an array; does it gather?

    CuPy uploads a host index on every use, and counts a boolean one on the host.
    """
    parts, gathers = [], False
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, (np.ndarray, list, tuple)):
            note("h2d")
            part = np.asarray(part) if len(part) else np.zeros(0, int)
        if isinstance(part, (ndarray, np.ndarray)):
            gathers = True
            if part.dtype == bool:
                note("sync")
        parts.append(part._host if isinstance(part, ndarray) else part)
    return tuple(parts) if any(part is ... for part in parts) else (*parts, ...), gathers


class ndarray:
    __module__ = "cupy"
    __qualname__ = "ndarray"
    __slots__ = ("_host",)
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _host: np.ndarray

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self._host = wrap(np.empty(shape, dtype))._host

    # NumPy's functions come here

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if outs := kwargs.pop("out", ()):
            if len(outs) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            kwargs["out"] = outs[0]
        known = (int, float, complex, np.generic, np.ndarray, ndarray)
        function = getattr(modules["numpy"], ufunc.__name__, None)
        if function is None or not all(isinstance(x, known) for x in (*args, *outs)):
            return NotImplemented
        return getattr(function, method)(*args, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        own = getattr(modules.get(function.__module__), function.__name__, None)
        if own is None or not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
            return NotImplemented
        return own(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. "
                        "Please use `.get()` to construct a NumPy array explicitly.")

    # Attributes and methods: those of CuPy, with its arguments

    def __getattr__(self, name: str) -> Any:
        if name in HOST:
            return getattr(self._host, name)
        if name in VIEWS:
            return wrap(getattr(self._host, name))
        if name not in NAMES["ndarray"]:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        if not hasattr(np.ndarray, name) or name in ("data", "flat"):
            raise NotImplementedError(f"the stand-in lacks ndarray.{name}")

        def method(*args: Any, **kwargs: Any) -> Any:
            METHODS[name](*args, **kwargs)
            if name in WAITS:
                note("sync")
            return call(getattr(self._host, name), args, kwargs)
        return method

    # Transfers and waits

    def get(self, stream: Any = None, order: Any = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        note("d2h")
        if out is None:
            return np.array(self._host, order=order)
        np.copyto(out, self._host, casting="no")
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        note("h2d")
        self._host[...] = arr

    def __iter__(self) -> Iterator["ndarray"]:
        note("loop")
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, key: Any) -> "ndarray":
        key, gathers = index(key)
        if gathers:
            launch()
        return wrap(self._host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        host_key, gathers = index(key)
        if not gathers and not isinstance(value, ndarray) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value):
            note("h2d")
        if not (isinstance(value, ndarray) and same_memory(self._host[host_key], value._host)):
            launch()                                  # a[part] += b ends by setting a[part] to itself, for nothing
        self._host[host_key] = value._host if isinstance(value, ndarray) else value

    def __copy__(self) -> "ndarray":
        launch()
        return wrap(self._host.copy())

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return self.__copy__()

    def __reduce__(self) -> Any:
        return modules["numpy"].array, (self.get(),)


def _waiting(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any) -> Any:
        if name in METHODS:
            METHODS[name](*args)
        note("sync")
        return getattr(self._host, name)(*args)
    return method


def _operator(ufunc: np.ufunc, swap: bool = False, inplace: bool = False) -> Callable[..., Any]:
    if inplace:
        return lambda x, y: ufunc(x, y, out=x)
    return (lambda x, y: ufunc(y, x)) if swap else lambda x, y: ufunc(x, y)


_ufunc: Any
for _name in ("bool", "int", "float", "complex", "repr", "str"):
    setattr(ndarray, f"__{_name}__", _waiting(f"__{_name}__"))
ndarray.__format__ = lambda self, spec: _waiting("item")(self).__format__(spec)  # type: ignore[method-assign]
for _name in ("item", "tolist", "tobytes"):
    setattr(ndarray, _name, _waiting(_name))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute,
                      "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", lambda x, ufunc=_ufunc: ufunc(x))
for _name, _ufunc in {"lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
                      "gt": np.greater, "ge": np.greater_equal}.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
                      "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "matmul": np.matmul,
                      "lshift": np.left_shift, "rshift": np.right_shift, "and": np.bitwise_and,
                      "or": np.bitwise_or, "xor": np.bitwise_xor, "divmod": np.divmod}.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, swap=True))
    if _name not in ("matmul", "divmod"):             # x @= y means x = x @ y
        setattr(ndarray, f"__i{_name}__", _operator(_ufunc, inplace=True))
