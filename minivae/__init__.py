"""minivae: variational autoencoders from scratch, every gradient derived by hand.

One idea carries the library: a differentiable piece of maths is one function that returns its
value and its pullback (the vector-Jacobian product: the derivative of the loss with respect to
the output, carried back to the inputs).  Start reading at `minivae/vae.py`.
"""

__version__ = "0.1.0"
