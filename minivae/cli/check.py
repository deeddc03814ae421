"""minivae gradcheck"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivae.cli.shared import OK, WRONG
from minivae.cli.targets import look_up, shape
from minivae.gradcheck import GradientError, gradcheck
from minivae.gradient_table import cases, check


@dataclass
class Gradcheck:
    """Compare pullbacks with finite differences: the library's own, or yours.

    Every op, layer and model of the library, or those whose name contains a word: minivae gradcheck [gaussian_kl]

    Your function, on random inputs of these shapes: minivae gradcheck my_ops.py:my_op --shapes 3,4 4,5 --plot out.png

    Your function takes arrays and returns (value, pullback).  Exit code 1 if a gradient is wrong, or cannot be told.
    """

    target: Annotated[str, tyro.conf.Positional] = ""
    """part of a name, or file.py:function, or package.module:function"""
    shapes: tuple[str, ...] = ()
    """one per input: 3,4 is a matrix; the word scalar is a number"""
    tolerance: float = 1e-6
    """largest relative error allowed, beside what rounding makes of a right gradient"""
    plot: Path | None = None
    """picture of the error by entry, and against the step"""
    seed: int = 0

    def __call__(self) -> int:
        if ":" in self.target:
            rng = np.random.default_rng(self.seed)
            inputs = [np.array(rng.standard_normal(shape(s))) for s in self.shapes]
            print(report := gradcheck(look_up(self.target), *inputs, tolerance=self.tolerance, name=self.target,
                                      plot=self.plot))
            return OK if report.passed else WRONG
        chosen = [case for case in cases(self.seed) if self.target in case.name]
        if not chosen or (self.plot and len(chosen) > 1):
            raise ValueError(f"plot: {self.target!r} names {len(chosen)} checks, one picture shows one" if chosen else
                             f"target: no op is called {self.target!r}; yours would be file.py:function")
        failed = 0
        for case in chosen:
            try:
                report = check(case, tolerance=self.tolerance, plot=self.plot)
            except GradientError as error:
                report = error.report
            failed += not report.passed
            print(report if len(chosen) == 1 or not report.passed else f"ok    {report.worst:8.1e}  {case.name}")
        print(f"{len(chosen) - failed} of {len(chosen)} passed")
        return WRONG if failed else OK
