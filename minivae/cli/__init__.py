"""The command line: minivae train | evaluate | sample | plot | explore | gradcheck | data | bench | course.

    program          the subcommands: a dataclass each, whose fields are its options and whose docstring is its help
    targets          what can be named there: a shape, somebody's function

`main` runs one, and turns what it raises into an exit code and a line that says what to do.
"""

from minivae.cli.program import main

__all__ = ["main"]
