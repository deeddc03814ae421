"""Devices: the array module of an array, random generators, transfers; what this machine is, and where it keeps things.

Every other file is written in plain `np.`: CuPy arrays answer NumPy's functions and stay on
their GPU.  Only here is CuPy imported, and only when a GPU is asked for.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray      # a NumPy array, or the CuPy array that stands in for it
Generator: TypeAlias = np.random.Generator
Pullback: TypeAlias = Callable[..., Any]       # ∂loss/∂output -> ∂loss/∂inputs: the vector-Jacobian product


class DeviceError(RuntimeError):
    """The device that was asked for does not answer."""


@dataclass(frozen=True)
class Device:
    """Where arrays live: its name, and the module (numpy or cupy) that creates them there."""

    name: str
    xp: ModuleType

    def array(self, x: Any, dtype: Any = None) -> Array:
        """A copy of `x` (a host array, or a device's) on this device."""
        return self.xp.array(to_numpy(x) if self.xp is np else x, dtype=dtype)

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """`x` on this device, itself if it is there already."""
        return self.xp.asarray(to_numpy(x) if self.xp is np else x, dtype=dtype)

    def rng(self, seed: int | Sequence[int]) -> Generator:
        """A random generator that draws its arrays on this device."""
        return self.xp.random.default_rng(seed)


def device(name: str = "auto") -> Device:
    """The device called "cpu", "cuda", or "auto": the GPU if one answers, else the CPU.

    Raises ValueError for another name, DeviceError for "cuda" where no GPU answers.
    """
    if name == "cpu":
        return Device("cpu", np)
    if name not in ("cuda", "auto"):
        raise ValueError(f'device: got {name!r}, expected "auto", "cpu" or "cuda"')
    try:
        return Device("cuda", _answering_cupy())
    except DeviceError:
        if name == "auto":
            return Device("cpu", np)
        raise


def _answering_cupy() -> ModuleType:
    """CuPy, once a GPU has added two numbers for it: an installed CuPy proves nothing."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(
            'device "cuda" needs CuPy: python -m pip install "minivae[cuda12]" (or "minivae[cuda13]", '
            'whichever `nvidia-smi` names); or use device "cpu"'
        ) from error
    try:
        if int((cupy.ones(1) + cupy.ones(1))[0]) == 2:
            return cupy
        raise ArithmeticError("1 + 1 did not give 2")
    except Exception as error:     # no driver, no device, no memory, wrong CUDA: CuPy has a class for each
        raise DeviceError(
            f'device "cuda": CuPy is installed, but no GPU answers ({type(error).__name__}: {error}). '
            'Check `nvidia-smi`, or use device "cpu"'
        ) from error


def array_module(x: Array) -> ModuleType:
    """numpy or cupy: whichever `x` belongs to.  Needed only where an array is created."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if type(x).__module__.partition(".")[0] == "cupy":
        return importlib.import_module("cupy")
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def device_of(x: Array) -> Device:
    """The device that `x` lives on."""
    xp = array_module(x)
    return Device("cpu" if xp is np else "cuda", xp)


def to_numpy(x: Any) -> np.ndarray:
    """`x` on the host: itself if it is there already, else a copy (which waits for the GPU)."""
    return x.get() if type(x).__module__.partition(".")[0] == "cupy" else np.asarray(x)


def rng_state(rng: Generator) -> dict[str, Any] | None:
    """What a checkpoint keeps of a generator; None on a GPU, where CuPy keeps it to itself."""
    return dict(rng.bit_generator.state) if isinstance(rng, np.random.Generator) else None


def alike(**arrays: Array) -> None:
    """Raise unless all named arrays have the same shape, dtype and device.

    NumPy would broadcast a (Z,) against a (B, Z), or lift a float32 step to float64, without a word.
    """
    (first, a), *others = arrays.items()
    for name, b in others:
        if a.shape != b.shape:
            raise ValueError(f"{name}: got shape {b.shape}, expected {a.shape}, the shape of {first}")
        if a.dtype != b.dtype:
            raise TypeError(f"{name}: got dtype {b.dtype}, expected {a.dtype}, the dtype of {first}")
        if type(a) is not type(b) and (where := device_of(b).name) != (here := device_of(a).name):
            raise TypeError(f"{name}: lives on {where}, expected {here}, the device of {first}")


def alike_rows(**arrays: Array) -> None:
    """Raise unless all named arrays are (B, X), a row for each example, of the same shape, dtype and device."""
    name, a = next(iter(arrays.items()))
    if a.ndim != 2:
        raise ValueError(f"{name}: got shape {a.shape}, expected two axes, a row for each example")
    alike(**arrays)


def at_least_one(**sizes: int) -> None:
    """Raise ValueError, naming it, if one of these sizes or counts is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: got {size}, expected at least 1")


def whole_numbers(**sizes: Any) -> None:
    """Raise ValueError, naming it, unless each is a whole number of at least 1, or a list or tuple of some."""
    for name, size in sizes.items():
        for one in size if isinstance(size, Sequence) else [size]:
            if not isinstance(one, Integral) or one < 1:
                raise ValueError(f"{name}: got {one!r}, expected a whole number of at least 1")


def processor() -> str:
    """The processor's model, as far as the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def cache_folder() -> Path:
    """Where what can be had again is kept: the operating system's cache folder for minivae."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("minivae"))             # pooch's answer too, which takes long to import
