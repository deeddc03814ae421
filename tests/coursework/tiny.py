"""An assignment of two tests, one visible and one hidden, and submissions: what is about classes needs no more."""

from pathlib import Path

TOML = '''
name = "tiny"
title = "A difference"
files = ["chapters/ch01_gradient.py:central_difference"]

[[task]]
id = "1.1"
title = "a central difference"
write = ["chapters/ch01_gradient.py:central_difference"]
'''
TESTS = '''
import numpy as np
from minivae.coursework.testing import points
from minivae.coursework.wire import Name


@points(POINTS, task="1.1", hidden=HIDDEN)
def NAME(lib, rng):
    """the slope of a variance, twice"""
    w = rng.standard_normal(3)
    slope = lib.call("ch01_gradient:central_difference", Name("numpy:var"), w, 1, 1e-5)
    return {"twice": lib.call("numpy:add", slope, slope)}
'''
RIGHT = "def central_difference(f, w, i, h):\n    up, down = w.copy(), w.copy()\n    up[i] += h\n    down[i] -= h\n" \
        "    return (f(up) - f(down)) / (2 * h)\n"
WRONG = RIGHT.replace("(2 * h)", "h")
FILE = "ch01_gradient.py"


def tiny(folder: Path) -> Path:
    """The folder of the assignment: 1 point for the visible test, 2 for the hidden one."""
    folder.mkdir(parents=True)
    for file, text in (("assignment.toml", TOML), ("hints.py", ""), ("handout.md", "# A difference\n"),
                       ("visible.py", TESTS.replace("NAME", "seen").replace("POINTS", "1").replace("HIDDEN", "False")),
                       ("hidden.py", TESTS.replace("NAME", "unseen").replace("POINTS", "2").replace("HIDDEN", "True"))):
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def hand_in(folder: Path, **codes: str) -> list[Path]:
    """A folder with the file for each student."""
    for name, code in codes.items():
        (folder / name).mkdir(parents=True)
        (folder / name / FILE).write_text(code, encoding="utf-8")
    return [folder / name for name in codes]
