"""The NumPy that code is given whose passes over the memory are counted: every call of it is told to a meter.

That code never holds one of NumPy's own arrays: it gets `numpy` of this file, whose functions take and return `Array`s,
and whatever is done with one goes through `_call`.  (`confined` sees to it that it gets nothing else.)  A function that
cannot be counted is not there.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

METER: Any = None                      # who counts, see meter: set before a file is run

UFUNCS = ("add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder", "mod", "negative",
          "positive", "absolute", "abs", "sign", "sqrt", "square", "reciprocal", "cbrt", "maximum", "minimum", "fmax",
          "fmin", "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or",
          "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "isfinite", "isnan",
          "isinf", "signbit", "copysign", "heaviside", "floor", "ceil", "rint", "trunc", "matmul", "exp", "exp2",
          "expm1", "log", "log2", "log10", "log1p", "logaddexp", "tanh", "sin", "cos", "sinh", "cosh", "arctan",
          "arctanh", "power", "float_power", "hypot")
FUNCTIONS = ("sum", "mean", "prod", "max", "min", "amax", "amin", "any", "all", "argmax", "argmin", "dot", "inner",
             "outer", "vdot", "where", "clip", "concatenate", "stack", "vstack", "hstack", "reshape", "ravel",
             "transpose", "swapaxes", "moveaxis", "expand_dims", "squeeze", "broadcast_to", "atleast_2d", "copy",
             "ascontiguousarray", "array", "asarray", "empty", "zeros", "ones", "full", "empty_like", "zeros_like",
             "ones_like", "full_like", "eye", "arange", "linspace", "tile", "repeat", "cumsum", "cumprod", "flip",
             "take", "allclose", "array_equal", "count_nonzero")
METHODS = ("sum", "mean", "prod", "max", "min", "any", "all", "argmax", "argmin", "dot", "copy", "reshape", "ravel",
           "flatten", "transpose", "swapaxes", "squeeze", "clip", "cumsum", "take", "repeat")
KINDS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool_")
NUMBERS = ("pi", "e", "inf", "nan")
TWO = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
       "mod": "remainder", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}
COMPARED = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}
ONE = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


class Kind:
    """float32 and the others, as code that is counted may have them: NumPy's own would make arrays that are not."""

    __slots__ = ("__dtype__",)

    def __init__(self, dtype: Any) -> None:
        self.__dtype__ = np.dtype(dtype)

    name = property(lambda self: self.__dtype__.name)
    kind = property(lambda self: self.__dtype__.kind)
    itemsize = property(lambda self: self.__dtype__.itemsize)

    def __call__(self, x: Any = 0) -> Any:
        return _call("array", np.array, (x,), {"dtype": self})

    def __eq__(self, other: object) -> bool:
        return self.__dtype__ == (other.__dtype__ if isinstance(other, Kind) else other)

    def __hash__(self) -> int:
        return hash(self.__dtype__)

    def __repr__(self) -> str:
        return self.__dtype__.name


class Array:
    """An array whose every use is counted.  Its numbers are shown only if it has one."""

    __slots__ = ("__plain__",)
    __array_ufunc__ = None             # NumPy's own arrays leave their operators to this one's
    __hash__ = None                    # type: ignore[assignment]
    __plain__: np.ndarray

    shape = property(lambda self: self.__plain__.shape)
    ndim = property(lambda self: self.__plain__.ndim)
    size = property(lambda self: self.__plain__.size)
    nbytes = property(lambda self: self.__plain__.nbytes)
    itemsize = property(lambda self: self.__plain__.itemsize)
    dtype = property(lambda self: Kind(self.__plain__.dtype))
    T = property(lambda self: self.transpose())

    def __getitem__(self, at: Any) -> Any:
        place = plain(at)
        found = _tried(self.__plain__.__getitem__, (place,), {})
        view = np.may_share_memory(found, self.__plain__)
        METER.add("[]", [self.__plain__] if view else arrays(place), found, [], 0 if view else found.nbytes)
        return counted(found)

    def __setitem__(self, at: Any, value: Any) -> None:
        place, value = plain(at), plain(value)
        _tried(self.__plain__.__setitem__, (place, value), {})
        METER.add("[]=", [*arrays(place), *arrays(value)], region := self.__plain__[place], [region])

    def __len__(self) -> int:
        return len(self.__plain__)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(_one(self))

    def __int__(self) -> int:
        return int(_one(self))

    def __bool__(self) -> bool:
        return bool(_one(self))

    def __index__(self) -> int:
        return _one(self).__index__()

    def __repr__(self) -> str:
        return repr(_one(self)) if self.size == 1 else f"<array of shape {self.shape}, {self.dtype}>"

    __str__ = __repr__

    def __format__(self, how: str) -> str:
        return format(_one(self).item(), how) if self.size == 1 else repr(self)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"x.{name} of an array is not there when the code is judged, because it cannot be counted")

    def item(self) -> Any:
        return _one(self).item()

    def fill(self, value: Any) -> None:
        self[...] = value

    def astype(self, kind: Any, copy: bool = True) -> Any:
        return _call("astype", lambda x, dtype: x.astype(dtype, copy=copy), (self, kind), {})


def _one(x: Array) -> np.ndarray:
    METER.add("item", [], None, [])
    return x.__plain__


# ── every call ────────────────────────────────────────────────────────────────────────────────


def plain(x: Any) -> Any:
    """What counted code gives, as NumPy may see it.  Raises TypeError for what is neither an array nor a number."""
    if isinstance(x, Array):
        return x.__plain__
    if isinstance(x, Kind):
        return x.__dtype__
    if type(x) in (list, tuple):
        return type(x)(map(plain, x))
    if x is None or x is Ellipsis or isinstance(x, (bool, int, float, str, slice, range)):
        return slice(*map(plain, (x.start, x.stop, x.step))) if isinstance(x, slice) else x
    raise TypeError(f"a {type(x).__name__} where an array or a number was expected")


def arrays(x: Any) -> list[np.ndarray]:
    """Those in it, of NumPy's own."""
    if isinstance(x, np.ndarray):
        return [x]
    parts = x if isinstance(x, (list, tuple)) else x.values() if isinstance(x, dict) else ()
    return [array for part in parts for array in arrays(part)]


def counted(x: Any) -> Any:
    """What NumPy returned, as counted code may have it.  Raises TypeError if it is not made of numbers."""
    if isinstance(x, tuple):
        return tuple(map(counted, x))
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype.kind not in "biuf":
            raise TypeError(f"an array of {x.dtype}: only numbers are counted")
        found = Array.__new__(Array)
        found.__plain__ = np.asarray(x)
        return found
    return x


def _call(name: str, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any],
          inputs: int = 99) -> Any:
    """function(*given, **named), counted.  `inputs`: how many are read, those after them are written."""
    arguments, keywords = plain(given), {key: plain(x) for key, x in named.items()}
    out = [*arrays(keywords.get("out")), *arrays(arguments[inputs:])]
    read = [*arrays(arguments[:inputs]), *(x for key, value in keywords.items() if key != "out" for x in arrays(value))]
    result = _tried(function, arguments, keywords)
    METER.add(name, read, result, out)
    for x in out:                                      # the same thing again, not another around it
        if result is x:
            return next(y for y in (*given[inputs:], *_several(named.get("out"))) if plain(y) is x)
    return counted(result)


def _tried(function: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
    """function(*arguments, **keywords), and errors that are Python's: NumPy's hold NumPy's own functions."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:
        kinds = [kind for kind in (IndexError, ValueError, MemoryError, TypeError) if isinstance(error, kind)]
        raise (kinds or [TypeError])[0](str(error)) from None


def _several(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _copyto(place: Any, value: Any, where: Any = True) -> None:
    to, source, mask = plain(place), plain(value), plain(where)
    _tried(np.copyto, (to, source), {"where": mask})
    METER.add("copyto", [*arrays(source), *arrays(mask)], to, [to])


def _einsum(formula: str, *operands: Any, out: Any = None) -> Any:
    """Of one or two operands: of more, NumPy makes others in between."""
    if len(operands) > 2 or not isinstance(formula, str):
        raise TypeError("np.einsum of a formula and one or two arrays is counted, and no other")
    return _call(f"einsum {formula}", lambda *x, out: np.einsum(formula, *x, out=out), operands, {"out": out})


# ── what counted code gets as NumPy ───────────────────────────────────────────────────────────


class Ufunc:
    """np.add, np.add.reduce, np.add.accumulate: counted."""

    __slots__ = ("__name__", "__ufunc__")

    def __init__(self, name: str) -> None:
        self.__name__, self.__ufunc__ = name, getattr(np, name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return _call(self.__name__, self.__ufunc__, given, named, self.__ufunc__.nin)

    def reduce(self, *given: Any, **named: Any) -> Any:
        return _call(self.__name__, self.__ufunc__.reduce, given, named)

    def accumulate(self, *given: Any, **named: Any) -> Any:
        return _call(self.__name__, self.__ufunc__.accumulate, given, named)


class Numpy:
    """The module `numpy`, as far as it can be counted."""

    __slots__ = ("__offered__",)

    def __init__(self) -> None:
        self.__offered__: dict[str, Any] = {
            **{name: Ufunc(name) for name in UFUNCS}, **{name: _function(name) for name in FUNCTIONS},
            **{name: Kind(name.rstrip("_")) for name in KINDS}, **{name: getattr(np, name) for name in NUMBERS},
            "newaxis": None, "ndarray": Array, "copyto": _copyto, "einsum": _einsum, "errstate": np.errstate,
            "dtype": lambda kind: Kind(plain(kind))}

    def __getattr__(self, name: str) -> Any:
        if name not in self.__offered__:
            raise AttributeError(f"np.{name} is not there when the code is judged, because what it does cannot be "
                                 f"counted.  There are: {', '.join(sorted(self.__offered__))}")
        return self.__offered__[name]


def _function(name: str) -> Callable[..., Any]:
    function = getattr(np, name)
    return lambda *given, **named: _call(name, function, given, named)


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)
    return lambda *given, **named: _call(name, function, given, named)


def _operators() -> None:
    """x + y, y + x and x += y of Array, and its methods."""
    def three(ufunc: Ufunc) -> tuple[Callable[..., Any], ...]:
        return (lambda x, y: ufunc(x, y)), (lambda x, y: ufunc(y, x)), (lambda x, y: ufunc(x, y, out=x))

    for sign, name in TWO.items():
        for prefix, function in zip(("", "r", "i"), three(Ufunc(name))):
            setattr(Array, f"__{prefix}{sign}__", function)
    for sign, name in {**COMPARED, **ONE}.items():
        setattr(Array, f"__{sign}__", three(Ufunc(name))[0] if sign in COMPARED else _alone(Ufunc(name)))
    for sign, power in zip(("pow", "rpow", "ipow"), (_power, *three(Ufunc("power"))[1:])):
        setattr(Array, f"__{sign}__", power)
    for name in METHODS:
        setattr(Array, name, _method(name))


def _alone(ufunc: Ufunc) -> Callable[..., Any]:
    return lambda x: ufunc(x)


def _power(x: Any, y: Any) -> Any:
    """x ** 2 is a square, as NumPy has it."""
    name = {2: "square", 1: "positive", 0.5: "sqrt", -1: "reciprocal"}.get(y) if isinstance(y, (int, float)) else None
    return Ufunc(name)(x) if name else Ufunc("power")(x, y)


_operators()
numpy = Numpy()
