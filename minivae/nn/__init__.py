"""Networks: parameters in one flat vector, layers as thin shells around ops, and how they learn.

    parameter        Parameter: a value, and where its gradient is added up
    arena            the two flat vectors that all values and all gradients are views of
    layers           Linear, Embedding, Activation, Sequential, Residual, mlp
    image_layers     Conv2d, ConvTranspose2d, MaskedConv2d, Planes, Reshape
    recurrent_layers LSTM
    batch_norm       BatchNorm, which learns from a whole batch; Apart and Mixed, for batches of two kinds
    optimizers       SGD, Momentum, AdaGrad, RMSProp, Adam; a moving average
    schedules        learning rates that change: warmup, cosine, stepwise
    network          an arena and the optimizer that moves it: a model has one, or several
    model            what the loop, the evaluation and checkpoints ask of every model
    rehearsal        when another thread is worth having: measured on this machine, once, and kept
    workers          the threads and processes that share a training step

A new layer needs `y, pullback = layer(x)` and a row in the gradient table, nothing else.
"""

from minivae.nn.arena import Arena
from minivae.nn.batch_norm import Apart, BatchNorm, BatchNormOfBatch, Mixed
from minivae.nn.image_layers import Conv2d, ConvTranspose2d, MaskedConv2d, Planes, Reshape
from minivae.nn.layers import (
    Activation,
    Embedding,
    Initialiser,
    Layer,
    Linear,
    Residual,
    Sequential,
    Several,
    glorot,
    he,
    mlp,
)
from minivae.nn.model import Data, Model
from minivae.nn.network import Moment, Network
from minivae.nn.optimizers import SGD, AdaGrad, Adam, Momentum, MovingAverage, Optimizer, RMSProp, clip_norm
from minivae.nn.parameter import Parameter
from minivae.nn.recurrent_layers import LSTM
from minivae.nn.rehearsal import UNMEASURED, crossover
from minivae.nn.schedules import Schedule, cosine, stepwise, warmup
from minivae.nn.workers import Crew, Workers, by_rows, team_on

__all__ = [
    "LSTM", "SGD", "UNMEASURED", "Activation", "AdaGrad", "Adam", "Apart", "Arena", "BatchNorm", "BatchNormOfBatch",
    "Conv2d", "ConvTranspose2d", "Crew", "Data", "Embedding", "Initialiser", "Layer", "Linear", "MaskedConv2d", "Mixed",
    "Model", "Moment", "Momentum", "MovingAverage", "Network", "Optimizer", "Parameter", "Planes", "RMSProp", "Reshape",
    "Residual", "Schedule", "Sequential", "Several", "Workers", "by_rows", "clip_norm", "cosine", "crossover", "glorot",
    "he", "mlp", "stepwise", "team_on", "warmup",
]
