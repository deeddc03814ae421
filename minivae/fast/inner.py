"""NumPy's own inner loops, for compiled loops to call: a tanh or a product in their midst has NumPy's bits.

A ufunc is a table of C functions, one for each dtype; each takes the addresses of what it reads and writes, how many
numbers these are and how far apart, and needs no interpreter.  So between two of them no thread has to ask for it.
The table is public (`PyUFuncObject`, numpy/ufuncobject.h; the C API's "Creating a universal function").
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Loop = tuple[int, int]                 # where a C function is, and what it is told at each call


class Table(ctypes.Structure):
    """The beginning of a PyUFuncObject, after what all Python's objects begin with."""

    _fields_ = [("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
                ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
                ("ntypes", ctypes.c_int)]


@cache
def inner(ufunc: np.ufunc, dtype: Any) -> Loop:
    """The loop of a ufunc all of whose arguments have this dtype.

    Raises RuntimeError if its table is not where this NumPy's header has it.
    """
    table, kind = Table.from_address(id(ufunc) + object.__basicsize__), np.dtype(dtype).char
    if (table.nin, table.nout, table.ntypes) != (ufunc.nin, ufunc.nout, len(ufunc.types)):
        raise RuntimeError(f"np.{ufunc.__name__} of NumPy {np.__version__} does not begin as its header says")
    i = ufunc.types.index(f"{kind * ufunc.nin}->{kind * ufunc.nout}")
    return table.functions[i] or 0, table.data[i] or 0


def _in_c(typing: Any, function: Any, args: Any, dimensions: Any, steps: Any, data: Any) -> Any:
    """function(args, dimensions, steps, data) in C, all given as addresses"""
    def code(context: Any, builder: Any, signature: Any, addresses: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        c = ir.FunctionType(ir.VoidType(), [pointer] * 4).as_pointer()
        function, *others = addresses
        builder.call(builder.inttoptr(function, c), [builder.inttoptr(a, pointer) for a in others])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), code


_call: Any = intrinsic(_in_c)


def within(formula: Callable[..., None]) -> Any:
    """Compiled into the loop that calls it."""
    return njit(error_model="numpy")(formula)


def loop(formula: Callable[..., None]) -> Any:
    """Compiled when it is first called, for the dtypes it is called with; other threads may run meanwhile."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(formula)
    except RuntimeError:                              # neither beside this file nor at home may anything be kept
        return njit(nogil=True, error_model="numpy")(formula)


@within
def unary(f, x, y):                                                            # type: ignore[no-untyped-def]
    """y = f(x), both without gaps"""
    args, size, steps = np.empty(2, np.intp), np.empty(1, np.intp), np.empty(2, np.intp)
    args[0], args[1], size[0], steps[0], steps[1] = x.ctypes.data, y.ctypes.data, x.size, x.itemsize, y.itemsize
    _call(f[0], args.ctypes.data, size.ctypes.data, steps.ctypes.data, f[1])


@within
def total(add, x, y):                                                          # type: ignore[no-untyped-def]
    """y = Σ x, without gaps, as NumPy sums along the last axis: the loop of np.add, told to write it all to y (1,)"""
    args, size, steps = np.empty(3, np.intp), np.empty(1, np.intp), np.empty(3, np.intp)
    y[0], args[0], args[1], args[2], size[0] = 0.0, y.ctypes.data, x.ctypes.data, y.ctypes.data, x.size
    steps[0], steps[1], steps[2] = 0, x.itemsize, 0
    _call(add[0], args.ctypes.data, size.ctypes.data, steps.ctypes.data, add[1])


@within
def matmul(product, a, b, y):                                                  # type: ignore[no-untyped-def]
    """y = a b        (n, M, K) (n, K, F) -> (n, M, F), as far apart as they like; or a (M, K), for all n"""
    args, sizes, steps = np.empty(3, np.intp), np.empty(4, np.intp), np.empty(9, np.intp)
    args[0], args[1], args[2] = a.ctypes.data, b.ctypes.data, y.ctypes.data
    sizes[0], sizes[1], sizes[2], sizes[3] = y.shape[0], a.shape[-2], a.shape[-1], b.shape[-1]
    steps[0], steps[1], steps[2] = a.strides[0] if a.ndim == 3 else 0, b.strides[0], y.strides[0]
    steps[3], steps[4] = a.strides[-2], a.strides[-1]
    steps[5], steps[6] = b.strides[-2], b.strides[-1]
    steps[7], steps[8] = y.strides[-2], y.strides[-1]
    _call(product[0], args.ctypes.data, sizes.ctypes.data, steps.ctypes.data, product[1])
