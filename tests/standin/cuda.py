"""cupy.cuda: whether a GPU answers, and waiting for it."""

from types import SimpleNamespace

from standin.events import note

__all__ = ["Device", "Stream", "get_current_stream", "is_available", "runtime"]
devices: int | None = 1                               # how many GPUs answer; None: there is no driver
ERRORS = {35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
          100: "cudaErrorNoDevice: no CUDA-capable device is detected"}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(ERRORS[status])


def check_device() -> None:
    """Nothing can be allocated where no device answers."""
    if count_devices() == 0:
        raise CUDARuntimeError(100)


def count_devices() -> int:
    if devices is None:
        raise CUDARuntimeError(35)
    return devices


def is_available() -> bool:
    return bool(devices)


class Device:
    """cupy.cuda.Device"""

    def __init__(self, device: int = 0) -> None:
        self.id = device

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def use(self) -> None:
        pass

    def synchronize(self) -> None:
        note("sync")


class Stream:
    """cupy.cuda.Stream"""

    null: "Stream"

    def synchronize(self) -> None:
        note("sync")


Stream.null = Stream()


def get_current_stream() -> Stream:
    return Stream.null


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError, getDeviceCount=count_devices, getDevice=lambda: 0,
    getDeviceProperties=lambda device: {"name": b"stand-in"}, deviceSynchronize=lambda: note("sync"))
