"""The hidden tests of assignment 1: other sizes, other values, and the laws that a pullback obeys."""

import numpy as np

from minivae.coursework.testing import Expected, points, returned
from minivae.coursework.wire import Name, Seed


def sizes(rng, count):
    """Different ones, so that a transpose cannot pass; not 2, so that no size is mistaken for a factor of 2."""
    return [int(n) for n in rng.permutation(np.arange(3, 9))[:count]]


def far_apart(rng, rows):
    """A number to be added to each row: whatever one subtracts from all of them, exp of some is infinite or 0."""
    return rng.permutation(np.linspace(-2000.0, 2000.0, rows))[:, None]


@points(2, task="1.1", hidden=True)
def difference_of_a_norm(lib, rng):
    """∂‖w‖/∂w"""
    w, h = rng.standard_normal(sizes(rng, 1)[0]) + 2.0, float(rng.uniform(0.05, 0.2))
    slopes = [lib.call("ch01_gradient:central_difference", Name("numpy.linalg:norm"), w, i, h) for i in range(len(w))]
    return {"∂f/∂w": Expected(np.array(slopes), "difference", w, h, "norm")}


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
    _, pull = lib.call("minivae.ops:linear", x, W, 1e6 * b)            # a large value, whose slopes are what they were
    lib.call(pull, rng.standard_normal((B, O)))
    parts = returned(lib.call(pull, dy), "dx", "dW", "db")
    return {which: Expected(parts[("dx", "dW", "db").index(which)], "linear", x, W, dy)}


@points(2, task="2.4", hidden=True, tolerance=1e-5)
def layer_twice_in_a_chain(lib, rng):
    """one layer used twice in one chain: its gradients add"""
    n = sizes(rng, 1)[0]
    layer = lib.call("minivae.nn:Linear", n, n, rng=Seed(3))
    x, dy = rng.standard_normal((2, 4, n))
    h, pull1 = lib.call(layer, x)
    _, pull2 = lib.call(layer, h)
    dh = lib.call(pull2, dy)
    dx = lib.call(pull1, dh)
    return {"dx of the second": dh, "dx of the first": dx,
            "W.grad": Expected(lib.get(layer, "W.grad"), "weights_of_two_calls", h, dy, x, dh),
            "b.grad": Expected(lib.get(layer, "b.grad"), "bias_of_two_calls", dy, dh)}


@points(1, task="3.1", hidden=True)
def relu_of_any_size(lib, rng):
    """relu of three axes and of large numbers"""
    x = 1e6 * rng.standard_normal(sizes(rng, 3))
    return activation(lib, "relu", x, 0.5 + rng.random(x.shape))


@points(1, task="3.2", hidden=True)
def tanh_of_any_size(lib, rng):
    """tanh of three axes, out to where its slope is small"""
    x = rng.uniform(-2.5, 2.5, sizes(rng, 3))
    return activation(lib, "tanh", x, np.cosh(x) ** 2 * (0.5 + rng.random(x.shape)))


FAR = np.array([[-1000.0, -60.0, -30.0, 0.0, 30.0, 60.0, 1000.0]])


@points(2, task="3.3", hidden=True)
def sigmoid_far_out(lib, rng):
    """sigmoid far out, where it is nearly 0 or 1"""
    x = rng.uniform(0.8, 1.2) * FAR
    # dy as large as dx would be small, but for ±1000: a derivative that lost its digits shows
    return activation(lib, "sigmoid", x, np.exp(np.minimum(np.abs(x), 75.0)), "sigmoid_far_out")


@points(1, task="3.4", hidden=True)
def softplus_far_out(lib, rng):
    """softplus far out"""
    x = rng.uniform(0.8, 1.2) * FAR
    return activation(lib, "softplus", x, np.exp(np.clip(-x, 0.0, 75.0)), "softplus_far_out")


def activation(lib, name, x, dy, hint="activation"):
    y, pull = lib.call(f"minivae.ops:{name}", x)
    lib.call(pull, 2.0 * dy)                           # a pullback may be called twice
    return {"dx": Expected(lib.call(pull, dy), hint, x, y, dy)}


@points(2, task="3.5", hidden=True, tolerance=1e-5)
def a_longer_chain(lib, rng):
    """five layers"""
    return chain(lib, rng)


@points(1, task="3.5", hidden=True, tolerance=1e-5, joined=True)
def a_chain_of_ones_own(lib, rng):
    """five layers, and under them your own tasks 2 and 3"""
    return chain(lib, rng)


def chain(lib, rng):
    n = sizes(rng, 4)
    layers = [lib.call("minivae.nn:Linear", n[0], n[1], rng=Seed(1)),
              lib.call("minivae.nn:Activation", Name("minivae.ops:softplus")),
              lib.call("minivae.nn:Linear", n[1], n[2], rng=Seed(2)),
              lib.call("minivae.nn:Activation", Name("minivae.ops:relu")),
              lib.call("minivae.nn:Linear", n[2], n[3], rng=Seed(3))]
    _, pull = lib.call(lib.call("minivae.nn:Sequential", *layers), rng.standard_normal((5, n[0])))
    dx = lib.call(pull, rng.standard_normal((5, n[3])))
    found = {f"layer {i}'s W.grad": lib.get(layers[i], "W.grad") for i in (4, 2, 0)}
    return found | {"dx": dx}


@points(2, task="4.1", hidden=True)
def logsumexp_of_three_axes(lib, rng):
    """value and pullback over the last of three axes, every row far from the others"""
    shape = sizes(rng, 3)
    x = 30.0 * rng.standard_normal(shape) + far_apart(rng, shape[1])
    y, pull = lib.call("minivae.ops:logsumexp", x)
    return {"y": Expected(y, "logsumexp_of_large_numbers", x), "dx": lib.call(pull, rng.standard_normal(x.shape[:-1]))}


@points(2, task="4.2", hidden=True, tolerance=1e-3)
def log_softmax_of_three_axes(lib, rng):
    """dx over the last of three axes, where exp x overflows in some rows and is 0 in others"""
    shape = sizes(rng, 3)
    x = 3.0 * rng.standard_normal(shape) + far_apart(rng, shape[1])
    dy = rng.standard_normal(x.shape)
    _, pull = lib.call("minivae.ops:log_softmax", x)
    return {"dx": Expected(lib.call(pull, dy), "log_softmax", x, dy)}


@points(2, task="4.3", hidden=True, tolerance=1e-3)
def categorical_of_any_size(lib, rng):
    """another number of classes; where exp a overflows in some rows and is 0 in others"""
    B, C = sizes(rng, 2)
    logits = 3.0 * rng.standard_normal((B, C)) + far_apart(rng, B)
    labels, dnll = rng.integers(0, C, B), rng.standard_normal(B)
    _, pull = lib.call("minivae.distributions:categorical_nll", logits, labels=labels)
    return {"da": Expected(lib.call(pull, dnll), "categorical", logits, labels, dnll)}


@points(4, task="4.4", hidden=True)
def bernoulli_of_any_size(lib, rng):
    """grey pixels, and logits far out"""
    B, X = sizes(rng, 2)
    logits, x, dnll = 10.0 * rng.standard_normal((B, X)), rng.random((B, X)), rng.standard_normal(B)
    logits[:2] *= 100.0
    _, pull = lib.call("minivae.distributions:bernoulli_nll", logits, x=x)
    return {"da": Expected(lib.call(pull, dnll), "bernoulli", logits, x, dnll)}
