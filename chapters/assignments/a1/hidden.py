"""The hidden tests of assignment 1: other sizes, other values, and the laws that a pullback obeys."""

import numpy as np

from minivae.coursework.testing import Expected, points
from minivae.coursework.wire import Name, Seed


def sizes(rng, count):
    """Different ones, so that a transpose cannot pass."""
    return [int(n) for n in rng.permutation(np.arange(2, 9))[:count]]


@points(2, task="1.1", hidden=True)
def difference_of_a_norm(lib, rng):
    """∂‖w‖/∂w"""
    w = rng.standard_normal(sizes(rng, 1)[0]) + 2.0
    f = Name("numpy.linalg:norm")
    slopes = [lib.call("ch01_gradient:central_difference", f, w, i, 1e-4) for i in range(len(w))]
    return {"∂f/∂w": Expected(np.array(slopes), "difference")}


@points(1, task="2.1", hidden=True)
def linear_dx_of_any_size(lib, rng):
    """dx for another batch, asked for twice"""
    return linear(lib, rng, "dx")


@points(1, task="2.2", hidden=True)
def linear_dW_of_any_size(lib, rng):
    """dW for another batch, asked for twice"""
    return linear(lib, rng, "dW")


@points(1, task="2.3", hidden=True)
def linear_db_of_any_size(lib, rng):
    """db for another batch, asked for twice"""
    return linear(lib, rng, "db")


def linear(lib, rng, which):
    B, I, O = sizes(rng, 3)
    x, W, b, dy = (rng.standard_normal(shape) for shape in ((B, I), (I, O), O, (B, O)))
    _, pull = lib.call("minivae.ops:linear", x, W, b)
    lib.call(pull, rng.standard_normal((B, O)))
    return {which: Expected(dict(zip(("dx", "dW", "db"), lib.call(pull, dy)))[which], "linear", x)}


@points(2, task="2.4", hidden=True)
def layer_twice_in_a_chain(lib, rng):
    """one layer used twice in one chain: its gradients add"""
    n = sizes(rng, 1)[0]
    layer = lib.call("minivae.layers:Linear", n, n, rng=Seed(3))
    x, dy = rng.standard_normal((2, 4, n))
    h, pull1 = lib.call(layer, x)
    _, pull2 = lib.call(layer, h)
    dx = lib.call(pull1, lib.call(pull2, dy))
    return {"W.grad": lib.get(layer, "W.grad"), "b.grad": lib.get(layer, "b.grad"), "dx": dx}


@points(1, task="3.1", hidden=True)
def relu_of_any_size(lib, rng):
    """relu of three axes"""
    return activation(lib, rng, "relu", rng.standard_normal(sizes(rng, 3)))


@points(1, task="3.2", hidden=True)
def tanh_of_any_size(lib, rng):
    """tanh of three axes"""
    return activation(lib, rng, "tanh", rng.standard_normal(sizes(rng, 3)))


@points(2, task="3.3", hidden=True)
def sigmoid_far_out(lib, rng):
    """sigmoid at ±700"""
    return activation(lib, rng, "sigmoid", np.array([[-700.0, -50.0, 0.0, 700.0]]))


@points(1, task="3.4", hidden=True)
def softplus_far_out(lib, rng):
    """softplus at ±700"""
    return activation(lib, rng, "softplus", np.array([[-700.0, -50.0, 0.0, 700.0]]))


def activation(lib, rng, name, x):
    dy = 0.5 + rng.random(x.shape)
    _, pull = lib.call(f"minivae.ops:{name}", x)
    # relative to the right answer's size, entry by entry: far out it is tiny
    return {f"dx[{i}]": dx for i, dx in enumerate(np.ravel(lib.call(pull, dy)).tolist())}


@points(3, task="3.5", hidden=True)
def a_longer_chain(lib, rng):
    """five layers"""
    n = sizes(rng, 4)
    layers = [lib.call("minivae.layers:Linear", n[0], n[1], rng=Seed(1)),
              lib.call("minivae.layers:Activation", Name("minivae.ops:softplus")),
              lib.call("minivae.layers:Linear", n[1], n[2], rng=Seed(2)),
              lib.call("minivae.layers:Activation", Name("minivae.ops:relu")),
              lib.call("minivae.layers:Linear", n[2], n[3], rng=Seed(3))]
    _, pull = lib.call(lib.call("minivae.layers:Sequential", *layers), rng.standard_normal((5, n[0])))
    dx = lib.call(pull, rng.standard_normal((5, n[3])))
    found = {f"layer {i}'s W.grad": lib.get(layers[i], "W.grad") for i in (4, 2, 0)}
    return found | {"dx": dx}


@points(2, task="4.1", hidden=True)
def logsumexp_of_three_axes(lib, rng):
    """value and pullback over the last of three axes"""
    x = 30.0 * rng.standard_normal(sizes(rng, 3))
    y, pull = lib.call("minivae.ops:logsumexp", x)
    return {"y": y, "dx": lib.call(pull, rng.standard_normal(x.shape[:-1]))}


@points(2, task="4.3", hidden=True)
def categorical_of_any_size(lib, rng):
    """another number of classes"""
    B, C = sizes(rng, 2)
    logits, labels, dnll = 3.0 * rng.standard_normal((B, C)), rng.integers(0, C, B), rng.standard_normal(B)
    _, pull = lib.call("minivae.distributions:categorical_nll", logits, labels=labels)
    return {"da": Expected(lib.call(pull, dnll), "categorical", logits, labels, dnll)}


@points(4, task="4.4", hidden=True)
def bernoulli_of_any_size(lib, rng):
    """grey pixels, and logits far out"""
    B, X = sizes(rng, 2)
    logits, x, dnll = 10.0 * rng.standard_normal((B, X)), rng.random((B, X)), rng.standard_normal(B)
    _, pull = lib.call("minivae.distributions:bernoulli_nll", logits, x=x)
    return {"da": Expected(lib.call(pull, dnll), "bernoulli", logits, x, dnll)}
