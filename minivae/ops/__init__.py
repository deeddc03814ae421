"""Pure functions with their pullbacks: what every network is computed with.

An op is one function: the formula, its value, and its pullback, which carries dy = ∂loss/∂y back to the inputs.  The
laws (tested for every op):

- positional inputs are differentiated, keyword-only inputs are constants;
- the pullback takes one cotangent per output and returns one per positional input, with that input's shape and dtype;
  it is linear in what it takes, and may be called twice;
- inputs are never written; everything is computed in the inputs' dtype and on their device;
- where rows or images are meant, an input with an axis too many or too few is refused by an error that says what came.

Where to look:

    dense            linear, relu, tanh, sigmoid, …: begin here
    softmax          logsumexp, log_softmax
    arrays           concat, split, repeat, embedding
    recurrent        lstm: sequences of different lengths
    convolutions     conv2d and its adjoint; larger and smaller images
    masked           convolutions that see a part of their window
    patches          what both of them multiply: what every place sees, as rows
    products         of many rows with a small matrix
    normalisation    the moments of a batch
    kernels          some of these formulas in one launch, on a GPU

A new op needs its row in the gradient table, and nobody's leave.
"""

from minivae.backend import Pullback
from minivae.ops.arrays import concat, embedding, one_hot, repeat, repeat_each, split
from minivae.ops.convolutions import average_pool, conv2d, conv_transpose2d, upsample
from minivae.ops.dense import Cotangents, elu, gated, gelu, hardtanh, leaky_relu, linear, relu, sigmoid, softplus, tanh
from minivae.ops.masked import masked_conv2d
from minivae.ops.normalisation import batch_moments, normalise
from minivae.ops.patches import Taps
from minivae.ops.recurrent import lstm
from minivae.ops.softmax import log_mean_exp, log_softmax, logsumexp

__all__ = [
    "Cotangents", "Pullback", "Taps", "average_pool", "batch_moments", "concat", "conv2d", "conv_transpose2d",
    "elu", "embedding", "gated", "gelu", "hardtanh", "leaky_relu", "linear", "log_mean_exp", "log_softmax",
    "logsumexp", "lstm", "masked_conv2d", "normalise", "one_hot", "relu", "repeat", "repeat_each", "sigmoid",
    "softplus", "split", "tanh", "upsample",
]
