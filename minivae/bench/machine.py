"""The machine that the times were taken on, as far as the system tells, and what may slow it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import processor

# a contender may be slower (seldom quicker) because of them; how many threads there are the contest says itself
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_THREAD_TIMEOUT", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
           "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
           "ATEN_CPU_CAPABILITY", "XLA_FLAGS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "OMP_DYNAMIC",
           "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_",
           "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "LD_PRELOAD")
WIDE = ("AVX512F", "AVX512_SKX", "AVX2", "AVX", "SSE42", "SVE", "ASIMD", "NEON", "VSX", "VX")     # the widest first


def machine() -> dict[str, Any]:
    """CPU model, instruction sets, caches and system, as far as the system tells."""
    found: dict[str, Any] = {"system": platform.platform(terse=True), "cpu": processor()}
    caches = [[" ".join(_lines(index / part)) for part in ("level", "type", "size")]
              for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))]
    found["caches"] = ", ".join(f"L{level}{kind[0].lower() if kind != 'Unified' else ''} {size}"
                                for level, kind, size in caches if size)
    found["instructions"] = instructions()
    return found


def instructions() -> str:
    """The widest vector instructions that NumPy found here (and was not told to leave alone); "" if it does not say."""
    core = getattr(np, "_core", None)
    features = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    return next((name for name in WIDE if features.get(name)), "")


def slowing() -> dict[str, str]:
    """Environment variables that make a BLAS or another library slower than it is."""
    return {name: os.environ[name] for name in SLOWING if os.environ.get(name)}


def busy(cores: Iterable[int]) -> float | None:
    """Seconds that these cores have worked since the machine started, for whomever; None where nobody tells."""
    lines = dict(line.split(maxsplit=1) for line in _lines(Path("/proc/stat")) if line.startswith("cpu"))
    try:
        user, nice, system, _, _, irq, softirq, stolen = zip(
            *([int(part) for part in lines[f"cpu{core}"].split()[:8]] for core in cores))
    except (KeyError, ValueError):
        return None
    return sum(map(sum, (user, nice, system, irq, softirq, stolen))) / os.sysconf("SC_CLK_TCK")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
