"""Finite differences against pullbacks: one harness for ops, layers, models, anybody's function.

    check         `gradcheck`: the laws first, then every entry, or directions where there are too many
    laws          what a pullback must be before its numbers matter: pure, linear, the same every time
    subject       the function at one point: its outputs, its gradient, and the rounding in both
    differences   what a step along a line says of the derivative, and what all steps say together
    judge         the verdict on one derivative: how many steps it takes to be sure
    moves         which entries and directions are looked at
    mistakes      which mistake makes these numbers of those: the engine, which the course's judge uses too
    likely        what a generic function's gradient is made of, so that the engine can name its mistake
    report        what was seen, as a table in plain ASCII
    picture       error by entry, and error against step size

Of the house it needs only `minivae.backend`, so a reader can take the folder away.
"""

from minivae.gradcheck.check import gradcheck
from minivae.gradcheck.report import GradientError, Report, Row
from minivae.gradcheck.subject import Function

__all__ = ["Function", "GradientError", "Report", "Row", "gradcheck"]
