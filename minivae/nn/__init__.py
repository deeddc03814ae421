"""Networks: parameters in one flat vector, layers as thin shells around ops, optimizers, and who shares a step.

    arena            Parameter, and the two flat vectors that all parameters are views of
    layers           Linear, Activation, Sequential, mlp              image_layers, batch_norm   for images
    optimizers       SGD, Momentum, AdaGrad, Adam                     schedules   learning rates that change
    network, model   an arena and its optimizer; what everybody asks of a model that has one or several
    workers          the threads and processes that share a training step

A new layer needs `__call__(x) -> (y, pullback)` and a row in the gradient table, nothing else.
"""


from minivae.nn.arena import Arena, Parameter
from minivae.nn.batch_norm import BatchNorm, batch_learners, learning
from minivae.nn.image_layers import Conv2d, ConvTranspose2d, Reshape
from minivae.nn.layers import Activation, Initialiser, Layer, Linear, Sequential, glorot, he, mlp
from minivae.nn.model import Data, Model
from minivae.nn.network import Network
from minivae.nn.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer, clip_norm
from minivae.nn.schedules import Schedule, cosine, stepwise, warmup
from minivae.nn.workers import ROWS_EACH, Workers, by_rows, team_on

__all__ = [
    "ROWS_EACH", "SGD", "Activation", "AdaGrad", "Adam", "Arena", "BatchNorm", "Conv2d", "ConvTranspose2d", "Data",
    "Initialiser", "Layer", "Linear", "Model", "Momentum", "Network", "Optimizer", "Parameter", "Reshape", "Schedule",
    "Sequential", "Workers", "batch_learners", "by_rows", "clip_norm", "cosine", "glorot", "he", "learning", "mlp",
    "stepwise", "team_on", "warmup",
]
