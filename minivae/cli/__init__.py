"""The command line: minivae train | evaluate | compare | sample | plot | separate | explore | models | gradcheck |
data | bench | course.

    train            train, and go on with a run
    look             evaluate, sample, plot: what a run can say and show
    compare          several runs side by side
    judged           what is said of one of them, and whether two can be paired image by image
    models           the map of the models: which term each of them changes
    check            gradcheck, of the library's functions and of yours
    targets          what can be named there: a shape, somebody's function
    shown            what each kind of model has to say and to show
    separate         a recording of several microphones, taken apart
    shared           options and exit codes that several have
    program          `main` runs a subcommand, and turns what it raises into an exit code and a line of what to do

A subcommand is a dataclass, whose fields are its options and whose docstring is its help.
"""

from minivae.cli.program import main

__all__ = ["main"]
