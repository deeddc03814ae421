"""The visible tests of assignment 4: is everything there, and of the form asked for?  They are worth nothing.

Whether the line is the right one, the module is mended, and the check passes what is right, the hidden tests say.
"""

import numpy as np

from minivae.coursework.testing import points
from minivae.coursework.wire import Name, Seed

WORDS = ("average", "chain", "constant", "correction", "cut", "exchanged", "factor", "inverse", "noise", "place", "sign",
         "state", "term", "told", "variance")


def verdict(lib, number, module):
    """What check_bugN does with a module.  (Of what a check prints or says, a test hears nothing.)"""
    try:
        returned = lib.call(f"checks:check_bug{number}", module)
    except AssertionError as error:                    # the student's process sends errors as text
        if type(error) is AssertionError or str(error).startswith("AssertionError"):
            return "it raises AssertionError"
        raise
    return "it returns None" if returned is None else "it returns something"


def about(number):
    """The tests about one of the eight."""
    @points(0, task=f"1.{number}")
    def line(lib, rng):
        said = lib.get("answers:LINES", f"bug{number}")
        reason = lib.get("answers:REASONS", f"bug{number}")
        return {f'LINES["bug{number}"]': "a line number" if type(said) is int and said > 0 else "no line number",
                f'REASONS["bug{number}"]': "a word of the list" if reason in WORDS else "no word of the list"}

    @points(0, task=f"2.{number}")
    def module(lib, rng):
        vae = lib.call(f"bug{number}:VAE", 6, 5, 2, Seed(1))
        x = rng.integers(0, 2, (4, 6)).astype(float)
        for step in range(3):
            told = lib.call(lib.get(vae, "train_step"), x, Seed(step))
        return {"train_step returns": " ".join(sorted(told)),
                "all of it numbers": bool(np.isfinite(list(told.values())).all())}

    @points(0, task=f"3.{number}")
    def check(lib, rng):
        return {f"check_bug{number} on originals/original{number}.py":
                verdict(lib, number, Name(f"originals.original{number}"))}

    line.__doc__ = f"LINES names a line of bug{number}, and REASONS a reason"
    module.__doc__ = f"bug{number} can be imported and trains"
    check.__doc__ = f"check_bug{number} raises AssertionError on bug{number} as it was handed out"
    return {f"line_{number}": line, f"module_{number}": module, f"check_{number}": check}


tests = {name: test for n in range(1, 9) for name, test in about(n).items()}
globals().update({name: tests[name] for name in sorted(tests, key=lambda name: tests[name].task)})
