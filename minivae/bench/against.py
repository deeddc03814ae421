"""`--against FILE`: what has become of an earlier run's figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minivae.bench.figures import Result, cell, ratio


def earlier(path: Path) -> dict[str, Any]:
    """An earlier bench.json, as far as it is compared with.  Raises ValueError if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = {name: {"seconds": {who: [float(s) for s in times] for who, times in row["seconds"].items()}}
                for name, row in found["rows"].items()}
        return {"when": str(found.get("when", "")), "machine": {"cpu": found["machine"]["cpu"]}, "rows": rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"against: got {path}, expected the bench.json of an earlier run "
                         f"({type(error).__name__}: {error})") from error


def compared(found: Mapping[str, Any]) -> Iterator[str]:
    """A line for every figure that both runs have: ms, and the ratio to PyTorch eager in the same run."""
    before = found.get("against")
    if not before:
        return
    yield (f"Against the run of {before['when'] or 'an unknown day'} on {before['machine']['cpu']}: ms a step, median "
           "(ratio to PyTorch eager's). `now / then` compares the ratios, where both runs have them: a machine's mood "
           "hits PyTorch alike.")
    yield ""
    yield "| row | contender | then | now | now / then |"
    yield "|---|---|--:|--:|--:|"
    for name, now in found["rows"].items():
        then = before["rows"].get(name, {"seconds": {}})
        for contender in now["seconds"]:
            if now["seconds"][contender] and then["seconds"].get(contender):
                yield f"| {name} | {contender} | {cell(then, contender)} | {cell(now, contender)} | " \
                      f"{_change(then, now, contender):.2f} |"
    yield ""


def _change(then: Result, now: Result, contender: str) -> float:
    one, two = ratio(then, contender), ratio(now, contender)
    if one and two:
        return two / one
    return statistics.median(now["seconds"][contender]) / statistics.median(then["seconds"][contender])
