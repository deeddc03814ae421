"""Name the mistake in a gradient: the engine is the house's own, `minivae.gradcheck.mistakes`.

The judge knows what the right gradient is and what it is made of; `gradcheck`, which names mistakes in anybody's
function, measures the one and guesses the other.  What is done with them is the same.
"""

from minivae.gradcheck.mistakes import Context, diagnose, same

__all__ = ["Context", "diagnose", "same"]
