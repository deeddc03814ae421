"""What is made of the times: medians, quartiles, ratios to PyTorch's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

PEER = "torch"         # PyTorch eager with Adam as it comes: the 1.00 of every row
Result = Mapping[str, Any]


def summary(seconds: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(seconds) < 2:
        return seconds[0], seconds[0], seconds[0]
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return low, median, high


def ms(seconds: float) -> str:
    """In milliseconds, with four digits; from a thousand on, whole ones: 0.4267, 10.98, 9,947"""
    return f"{1e3 * seconds:,.0f}" if seconds >= 1.0 else f"{1e3 * seconds:.4g}"


def ratio(result: Result, contender: str, of: str = "seconds") -> float | None:
    """Median over PyTorch eager's median, in seconds by the clock or of processors; None without it."""
    seconds = result.get(of, {})
    if not (seconds.get(PEER) and seconds.get(contender)):
        return None
    return statistics.median(seconds[contender]) / statistics.median(seconds[PEER])


def cell(result: Result, contender: str) -> str:
    """Median in ms, and the ratio where there is one; "" for who was not measured."""
    seconds, share = result["seconds"].get(contender), ratio(result, contender)
    return (ms(statistics.median(seconds)) if seconds else "") + ("" if share is None else f" ({share:.2f})")


def line(name: str, result: Result) -> str:
    """A row in one line: medians in ms, and ratios, by the clock and in processor time."""
    parts = []
    for contender, seconds in result["seconds"].items():
        shares = [ratio(result, contender, of) for of in ("seconds", "processor")]
        told = ", ".join(f"{share:.2f}" for share in shares if share is not None)
        parts.append(f"{contender} {ms(statistics.median(seconds))} ms" + f" ({told})" * bool(told))
    return f"{name}: {', '.join(parts)}"
