"""The machine that the times were taken on, as far as the system tells."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """CPU model, caches and system, as far as the system tells."""
    found: dict[str, Any] = {"system": platform.platform(terse=True), "cpu": platform.processor() or platform.machine()}
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            found["cpu"] = value.strip()
    caches = [[" ".join(_lines(index / part)) for part in ("level", "type", "size")]
              for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))]
    found["caches"] = ", ".join(f"L{level}{kind[0].lower() if kind != 'Unified' else ''} {size}"
                                for level, kind, size in caches if size)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
