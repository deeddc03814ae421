"""Learning rates that change: functions from the step (0, 1, 2, …) to a number."""

from __future__ import annotations

import math
from collections.abc import Callable

from minivae.backend import at_least_one

Schedule = Callable[[int], float]


def warmup(lr: float, *, steps: int) -> Schedule:
    """Rises in a straight line from lr/steps to lr over the first `steps` steps, then stays."""
    at_least_one(steps=steps)
    return lambda step: lr * min(1.0, (step + 1) / steps)


def cosine(lr: float, *, steps: int, final: float = 0.0) -> Schedule:
    """Falls from lr to `final` along half a cosine over `steps` steps        (Loshchilov and Hutter 2016)"""
    at_least_one(steps=steps)
    return lambda step: final + 0.5 * (lr - final) * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


def stepwise(lr: float, *, every: int, factor: float = 0.1) -> Schedule:
    """Multiplied by `factor` after each `every` steps."""
    at_least_one(every=every)
    return lambda step: lr * factor ** (step // every)
