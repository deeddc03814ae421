"""The visible tests of assignment 1: what your code returns is compared with what the solution returned.

`lib` is your code; the recording beside this file holds the solution's numbers, drawn from the same seed.
"""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name, Seed


@points(2, task="1.1")
def central_difference_of_a_variance(lib, rng):
    """∂/∂wᵢ of the variance of w; and w stays as it was"""
    w, h = rng.standard_normal(4), 0.1
    slopes = [lib.call("ch01_gradient:central_difference", Name("numpy:var"), w, i, h) for i in range(4)]
    return {"∂f/∂w": Expected(np.array(slopes), "difference", w, h, "var")}


@points(2, task="2.1")
def linear_dx(lib, rng):
    """dx of y = x W + b"""
    return _linear(lib, rng, "dx")


@points(2, task="2.2")
def linear_dW(lib, rng):
    """dW of y = x W + b"""
    return _linear(lib, rng, "dW")


@points(2, task="2.3")
def linear_db(lib, rng):
    """db of y = x W + b"""
    return _linear(lib, rng, "db")


def _linear(lib, rng, which):
    x, W, b, dy = (rng.standard_normal(shape) for shape in ((4, 3), (3, 5), 5, (4, 5)))
    _, pull = lib.call("minivae.ops:linear", x, W, b)
    parts = returned(lib.call(pull, dy), "dx", "dW", "db")
    return {which: Expected(parts[("dx", "dW", "db").index(which)], "linear", x, W, dy)}


@points(2, task="2.4", tolerance=1e-5)
def layer_adds(lib, rng):
    """two calls of a layer's pullback: the gradients add, and dx comes back"""
    layer = lib.call("minivae.nn:Linear", 3, 2, rng=Seed(1))
    (x1, x2), (dy1, dy2) = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 2))
    _, pull1 = lib.call(layer, x1)
    _, pull2 = lib.call(layer, x2)
    dx = lib.call(pull2, dy2)
    lib.call(pull1, dy1)
    return {"dx": dx, "W.grad": Expected(lib.get(layer, "W.grad"), "weights_of_two_calls", x2, dy2, x1, dy1),
            "b.grad": Expected(lib.get(layer, "b.grad"), "bias_of_two_calls", dy2, dy1)}


@points(1, task="3.1")
def relu_pullback(lib, rng):
    """dx of y = max(x, 0)"""
    return _activation(lib, rng, "relu")


@points(1, task="3.2")
def tanh_pullback(lib, rng):
    """dx of y = tanh x"""
    return _activation(lib, rng, "tanh")


@points(2, task="3.3")
def sigmoid_pullback(lib, rng):
    """dx of y = 1 / (1 + e⁻ˣ)"""
    return _activation(lib, rng, "sigmoid")


@points(2, task="3.4")
def softplus_pullback(lib, rng):
    """dx of y = log(1 + eˣ)"""
    return _activation(lib, rng, "softplus")


def _activation(lib, rng, name):
    x, dy = rng.standard_normal((2, 4, 3))
    y, pull = lib.call(f"minivae.ops:{name}", x)
    return {"dx": Expected(lib.call(pull, dy), "activation", x, y, dy)}


@points(3, task="3.5", tolerance=1e-5)
def sequential_pullback(lib, rng):
    """dx and all gradients of a chain of three layers"""
    layers = [lib.call("minivae.nn:Linear", 3, 4, rng=Seed(1)),
              lib.call("minivae.nn:Activation", Name("minivae.ops:tanh")),
              lib.call("minivae.nn:Linear", 4, 2, rng=Seed(2))]
    network = lib.call("minivae.nn:Sequential", *layers)
    _, pull = lib.call(network, rng.standard_normal((5, 3)))
    dx = lib.call(pull, rng.standard_normal((5, 2)))
    # from the loss backwards: what is wrong first is the cause
    return {"the last layer's W.grad": lib.get(layers[2], "W.grad"),
            "the first layer's W.grad": lib.get(layers[0], "W.grad"), "dx": dx}


@points(1, task="4.1")
def logsumexp_value(lib, rng):
    """log Σ exp x"""
    return {"y": value_of(lib.call("minivae.ops:logsumexp", rng.standard_normal((4, 3))))}


@points(1, task="4.1")
def logsumexp_of_large_numbers(lib, rng):
    """log Σ exp x, where exp x overflows in one row and is 0 in another"""
    x = np.array([[1000.0], [0.0], [-1000.0]]) + rng.standard_normal((3, 4))
    return {"y": Expected(value_of(lib.call("minivae.ops:logsumexp", x)), "logsumexp_of_large_numbers", x)}


@points(2, task="4.1")
def logsumexp_pullback(lib, rng):
    """dx of log Σ exp x"""
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.ops:logsumexp", x)
    return {"dx": Expected(lib.call(pull, dy), "logsumexp", x, dy)}


@points(2, task="4.2")
def log_softmax_pullback(lib, rng):
    """dx of xₖ − log Σ exp xⱼ"""
    x, dy = rng.standard_normal((2, 4, 3))
    _, pull = lib.call("minivae.ops:log_softmax", x)
    return {"dx": Expected(lib.call(pull, dy), "log_softmax", x, dy)}


@points(3, task="4.3")
def categorical_pullback(lib, rng):
    """da of −log softmax(a)[label]"""
    logits, dnll, labels = rng.standard_normal((4, 3)), rng.standard_normal(4), np.array([2, 0, 1, 1])
    _, pull = lib.call("minivae.distributions:categorical_nll", logits, labels=labels)
    return {"da": Expected(lib.call(pull, dnll), "categorical", logits, labels, dnll)}


@points(3, task="4.4")
def bernoulli_pullback(lib, rng):
    """da of Σ softplus(a) − x a"""
    logits, dnll, x = rng.standard_normal((4, 3)), rng.standard_normal(4), rng.integers(0, 2, (4, 3)).astype(float)
    _, pull = lib.call("minivae.distributions:bernoulli_nll", logits, x=x)
    return {"da": Expected(lib.call(pull, dnll), "bernoulli", logits, x, dnll)}
