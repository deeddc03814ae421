"""cupy.ElementwiseKernel and cupy.ReductionKernel: their C++ is compiled for the host, and truly run.

The text of a kernel is put into a loop, as CuPy puts it into one, and compiled by the system's C++ compiler.  Any
step from float to double and back, which would slow a GPU down, is an error.  What the kernels here do not use
(`raw` parameters, preambles) is refused.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from standin.arrays import ndarray, wrap
from standin.cuda import check_device
from standin.events import launch

LANES = 512                                           # CuPy's threads to a block: as many partial sums
CTYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long", "bool": "bool"}
FLAGS = ("-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wno-unused", "-Wdouble-promotion",
         "-Wfloat-conversion", "-Werror")
HEAD = "#include <cmath>\n#include <algorithm>\nusing namespace std;\n"


class CompileException(Exception):
    """cupy.cuda.compiler.CompileException"""


class Kernel:
    """What both share: parameters, their types, and the compiler."""

    def __init__(self, in_params: str, out_params: str, name: str) -> None:
        self.name = self.__name__ = name
        self.ins, self.outs = (self._parse(params) for params in (in_params, out_params))
        if "i" in [parameter for _, parameter in self.ins + self.outs]:
            raise ValueError("Can not use 'i' as a parameter name")

    @staticmethod
    def _parse(params: str) -> list[tuple[str, str]]:
        pairs = [tuple(part.split()) for part in params.split(",")]
        if any(len(pair) != 2 for pair in pairs):
            raise NotImplementedError(f"the stand-in lacks parameters such as {params!r}")
        return pairs  # type: ignore[return-value]

    def arrays(self, args: tuple[Any, ...]) -> list[Any]:
        """The arguments on the host, scalars in the type of their parameter.  Raises TypeError as CuPy does."""
        check_device()
        if len(args) not in (len(self.ins), len(self.ins) + len(self.outs)):
            raise TypeError(f"Wrong number of arguments for {self.name!r}. It must be either {len(self.ins)} or "
                            f"{len(self.ins) + len(self.outs)} (with outputs), but given {len(args)}.")
        for x in args:
            if isinstance(x, np.ndarray):
                raise TypeError(f"Unsupported type {type(x)}")
        if any(not isinstance(x, ndarray) for x in args[len(self.ins):]):
            raise TypeError("Output arguments must be cupy.ndarray")
        self.types: dict[str, np.dtype] = {}
        given = list(zip(self.ins + self.outs, args))
        for (kind, name), x in given:
            if isinstance(x, ndarray):
                wanted = self.types.setdefault(kind, x.dtype if kind not in CTYPES else np.dtype(kind))
                if x.dtype != wanted:
                    raise TypeError(f"Type is mismatched. {name} {x.dtype} {wanted} {kind}")
        if not self.types:
            raise ValueError("Loop size is undecided.")
        return [x._host if isinstance(x, ndarray) else np.asarray(x, self.types[kind]) for (kind, _), x in given]

    def typedefs(self) -> str:
        return HEAD + "".join(f"typedef {CTYPES[dtype.name]} {kind};\n"
                              for kind, dtype in self.types.items() if kind not in CTYPES)

    def names(self, index: str, parameters: list[tuple[str, str]], first: int, const: str, scalars: Any) -> str:
        """`const T &x = …[i];` for each parameter; a scalar stays where it is."""
        return "".join(
            f"    {const}{CTYPES.get(kind, kind)} &{name} = (({const}{CTYPES.get(kind, kind)} *)_raw[{first + k}])"
            f"[{0 if k in scalars else index}];\n" for k, (kind, name) in enumerate(parameters))

    def run(self, source: str, sizes: tuple[int, ...], arrays: list[np.ndarray]) -> None:
        pointers = (ctypes.c_void_p * len(arrays))(*[x.ctypes.data for x in arrays])
        getattr(compiled(source), self.name)(*map(ctypes.c_long, sizes), pointers)
        launch()


@cache
def compiled(source: str) -> ctypes.CDLL:
    """The library made of `source`, kept on the disk for other tests.  Skips the test where no compiler is."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: the stand-in cannot run a kernel's source")
    folder = Path(tempfile.gettempdir()) / f"minivae-standin-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / (hashlib.sha256(repr((source, compiler, FLAGS)).encode()).hexdigest()[:24] + ".so")
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            (code := Path(work) / "kernel.cpp").write_text(source, encoding="utf-8")
            made = subprocess.run([compiler, *FLAGS, "-o", f"{work}/kernel.so", str(code)],
                                  capture_output=True, check=False, encoding="utf-8")
            if made.returncode:
                raise CompileException(f"{made.stderr}\n{source}")
            os.replace(f"{work}/kernel.so", library)  # whole or not at all: other tests compile it too
    return ctypes.CDLL(str(library))


class ElementwiseKernel(Kernel):
    """cupy.ElementwiseKernel"""

    def __init__(self, in_params: str, out_params: str, operation: str, name: str = "kernel",
                 reduce_dims: bool = True) -> None:
        super().__init__(in_params, out_params, name)
        self.operation = operation

    def __call__(self, *args: Any, stream: Any = None, block_size: int = 128) -> Any:
        given = self.arrays(args)
        ins, outs = given[:len(self.ins)], given[len(self.ins):]
        scalars = {k for k, x in enumerate(args[:len(self.ins)]) if not isinstance(x, ndarray)}
        shape = np.broadcast_shapes(*[x.shape for k, x in enumerate(ins) if k not in scalars],
                                    *[x.shape for x in outs])
        if any(x.shape != shape for x in outs):
            raise ValueError("Out shape is mismatched")
        results = ([np.array(x) for x in outs] or
                   [np.empty(shape, self.types.get(kind, kind)) for kind, _ in self.outs])
        ins = [np.ascontiguousarray(x if k in scalars else np.broadcast_to(x, shape)) for k, x in enumerate(ins)]
        if results[0].size:
            self.run(f"{self.typedefs()}extern \"C\" void {self.name}(long _n, char **_raw) {{\n"
                     f"  for (long i = 0; i < _n; i++) {{\n{self.names('i', self.ins, 0, 'const ', scalars)}"
                     f"{self.names('i', self.outs, len(ins), '', ())}    {self.operation};\n  }}\n}}\n",
                     (results[0].size,), ins + results)
        for x, result in zip(outs, results):
            x[...] = result
        device = args[len(self.ins):] or tuple(map(wrap, results))
        return device[0] if len(device) == 1 else device


class ReductionKernel(Kernel):
    """cupy.ReductionKernel, in its order of summation: partial results, then pairs of them"""

    def __init__(self, in_params: str, out_params: str, map_expr: str, reduce_expr: str, post_map_expr: str,
                 identity: str, name: str = "reduce_kernel", reduce_type: str | None = None,
                 reduce_dims: bool = True) -> None:
        super().__init__(in_params, out_params, name)
        self.expressions = map_expr, reduce_expr, post_map_expr, str(identity)
        self.reduce_type = reduce_type or self.outs[0][0]

    def __call__(self, *args: Any, out: Any = None, axis: int | None = None, keepdims: bool = False,
                 stream: Any = None) -> Any:
        if len(self.outs) != 1 or len(args) > len(self.ins):
            raise NotImplementedError("the stand-in lacks reductions into several or positional outputs")
        ins = self.arrays((*args, *([] if out is None else [out])))[:len(self.ins)]
        scalars = {k for k, x in enumerate(args) if not isinstance(x, ndarray)}
        shape = np.broadcast_shapes(*[x.shape for k, x in enumerate(ins) if k not in scalars])
        rows = [x if k in scalars else np.broadcast_to(x, shape) for k, x in enumerate(ins)]
        if axis is None:
            rows, last = [x if k in scalars else x.ravel() for k, x in enumerate(rows)], int(np.prod(shape))
        else:
            rows = [x if k in scalars else np.moveaxis(x, axis, -1) for k, x in enumerate(rows)]
            last = shape[axis]
        left = () if axis is None else tuple(np.delete(shape, axis).tolist())
        result = np.empty(left, self.types.get(self.outs[0][0], self.outs[0][0]))
        if result.size:
            self.run(self._source(scalars), (result.size, last), [np.ascontiguousarray(x) for x in rows] + [result])
        if keepdims:
            result = result.reshape([1] * len(shape)) if axis is None else np.expand_dims(result, axis)
        if out is None:
            return wrap(result)
        if out.shape != result.shape:
            raise ValueError("Out shape is mismatched")
        out._host[...] = result
        return out

    def _source(self, scalars: set[int]) -> str:
        mapped, reduced, post, identity = self.expressions
        return (f"{self.typedefs()}typedef {self.reduce_type} _type_reduce;\n"
                f"#define REDUCE(a, b) ({reduced})\n#define POST_MAP(a) ({post})\n"
                f"extern \"C\" void {self.name}(long _rows, long _n, char **_raw) {{\n"
                f"  for (long _row = 0; _row < _rows; _row++) {{\n    _type_reduce _s[{LANES}];\n"
                f"    for (int _k = 0; _k < {LANES}; _k++) _s[_k] = _type_reduce({identity});\n"
                f"    for (long _j = 0; _j < _n; _j++) {{\n"
                f"{self.names('_row * _n + _j', self.ins, 0, 'const ', scalars)}"
                f"      _type_reduce _a = static_cast<_type_reduce>({mapped});\n"
                f"      _s[_j % {LANES}] = REDUCE(_s[_j % {LANES}], _a);\n    }}\n"
                f"    for (int _half = {LANES // 2}; _half; _half /= 2)\n"
                f"      for (int _k = 0; _k < _half; _k++) _s[_k] = REDUCE(_s[_k], _s[_k + _half]);\n"
                f"{self.names('_row', self.outs, len(self.ins), '', ())}    POST_MAP(_s[0]);\n  }}\n}}\n")
