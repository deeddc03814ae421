"""minivae gradcheck"""

from __future__ import annotations

from dataclasses import dataclass
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

    Every op, layer and model of the library: minivae gradcheck

    Those whose name contains a word: minivae gradcheck gaussian_kl

    Your function, on random inputs of these shapes: minivae gradcheck my_ops.py:my_op --shapes 3,4 4,5

    Your function takes arrays and returns (value, pullback).  Exit code 1 if a gradient is wrong.
    """

    target: Annotated[str, tyro.conf.Positional] = ""
    """part of a name, or file.py:function, or package.module:function"""
    shapes: tuple[str, ...] = ()
    """one per input: 3,4 is a matrix; the word scalar is a number"""
    tolerance: float = 1e-6
    """largest relative error allowed"""
    seed: int = 0

    def __call__(self) -> int:
        if ":" in self.target:
            rng = np.random.default_rng(self.seed)
            inputs = [np.array(rng.standard_normal(shape(s))) for s in self.shapes]
            print(gradcheck(look_up(self.target), *inputs, tolerance=self.tolerance, name=self.target))
            return OK
        chosen = [case for case in cases(self.seed) if self.target in case.name]
        if not chosen:
            raise ValueError(f"target: no op is called {self.target!r}; yours would be file.py:function")
        failed = 0
        for case in chosen:
            try:
                report = check(case, tolerance=self.tolerance)
                print(report if len(chosen) == 1 else f"ok    {report.worst:8.1e}  {case.name}")
            except GradientError as error:
                failed += 1
                print(error)
        print(f"{len(chosen) - failed} of {len(chosen)} passed")
        return WRONG if failed else OK
