"""The likely mistake is named where it gives the pullback's numbers, all of them; nothing is named where none does."""

from __future__ import annotations

import numpy as np
import pytest
import table

from minivae import distributions as D
from minivae import ops
from minivae.coursework import diagnose as course
from minivae.gradcheck import GradientError, gradcheck, mistakes

rng = np.random.default_rng(0)
x, W, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
mean, logvar = rng.standard_normal((2, 4, 3))
eps = rng.standard_normal((4, 3))


def op(right, *changes):
    """An op whose gradients are changed, one function for each input."""
    def wrong(*inputs, **constants):
        value, pullback = right(*inputs, **constants)
        return value, lambda *dy: tuple(change(g) for change, g in zip(changes, table.as_tuple(pullback(*dy))))

    return wrong


def same(g):
    return g


def tanh_layer(x, W, b):
    y = np.tanh(x @ W + b)
    return y, lambda dy: (dy @ W.T, x.T @ dy, dy.sum(axis=0))


def sigma_for_logvar(mean, logvar, *, eps):
    z, pull = D.reparameterize(mean, logvar, eps=eps)
    return z, lambda dz: (pull(dz)[0], eps * dz)


NAMED = {
    "it is half the right one": (op(ops.tanh, lambda g: 0.5 * g), (x,)),
    "it is twice the right one": (op(ops.tanh, lambda g: 2.0 * g), (x,)),
    "its sign is wrong": (op(ops.tanh, lambda g: -g), (x,)),
    "twice the right one .*, with the wrong sign": (op(ops.tanh, lambda g: -2.0 * g), (x,)),
    "input 1: it is the transpose of the right one": (op(lambda a, c: (a @ c, lambda dy: (dy @ c.T, a.T @ dy)), same,
                                                         np.transpose), (x, rng.standard_normal((3, 3)))),
    "it is all zero: nothing reaches it": (op(ops.tanh, lambda g: 0.0 * g), (x,)),
    "divided by 12, and that is the number of entries of input 0: divided once too often, or averaged":
        (op(lambda x: (np.asarray((x * x).sum()), lambda dy: 2.0 * x * dy), lambda g: g / x.size), (x,)),
    "4 times the right one, and that is the length of axis 0 of input 0: a division by it is missing":
        (op(lambda x: (x.mean(axis=0), lambda dy: np.broadcast_to(dy, x.shape) / 4.0), lambda g: 4.0 * g), (x,)),
    "it is dy as it came: the derivative of the function itself is missing":
        (lambda x: (np.tanh(x), lambda dy: 1.0 * dy), (x,)),
    "input 0: it is dy @ input 1.T: the derivative of the activation is missing": (tanh_layer, (x, W, b)),
    "input 1: it is input 0.T @ dy: the derivative of the activation is missing": (tanh_layer, (x, W, b)),
    "input 2: it is dy summed over the batch: the derivative of the activation is missing": (tanh_layer, (x, W, b)),
    "it is what the diagonal of the Jacobian alone gives": (table.softmax_diagonal, (x,)),
    "input 1: it is the derivative with respect to sigma, if the input is log sigma":
        (sigma_for_logvar, (mean, logvar)),
    "the factor input 1 is missing": (op(lambda a, c: (a * c, lambda dy: (c * dy, a * dy)), lambda g: g / logvar, same),
                                      (mean, logvar)),
    "it is the gradient of input 1: they are returned in another order":
        (lambda a, c: (a * c, lambda dy: (a * dy, c * dy)), (mean, logvar)),
    "the term from output 1 is missing": (table.two_outputs_half, (x,)),
    r"1 of its 12 entries are wrong": (op(ops.tanh, lambda g: g * np.where(np.arange(12) == 4, 3.0, 1.0).reshape(4, 3)),
                                       (x,)),
}


@pytest.mark.parametrize("says", NAMED)
def test_a_mistake_is_named_in_one_line(says):
    function, inputs = NAMED[says]
    constants = {"eps": eps} if function is sigma_for_logvar else {}
    with pytest.raises(GradientError, match=says) as caught:
        gradcheck(function, *inputs, **constants)
    text = str(caught.value)
    assert text.isascii()
    assert all(row.said.count("\n") == 0 for row in caught.value.report.rows)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_a_mistake_is_named_at_any_scale(scale):
    with pytest.raises(GradientError, match="its sign is wrong"):
        gradcheck(lambda x: (x * x, lambda dy: -2.0 * x * dy), scale * x)


@pytest.mark.parametrize(("mistake", "says"), [(lambda g: 0.5 * g, "half the right one"), (lambda g: -g, "its sign"),
                                               (np.transpose, "the transpose")])
def test_a_mistake_is_named_from_a_sample_of_many_entries(mistake, says):
    many = np.random.default_rng(0).standard_normal((150, 150))
    wrong = op(lambda W: (W * W.T + W, lambda dy: dy * W.T + (dy * W).T + dy), mistake)
    with pytest.raises(GradientError, match=f"input 0: in a sample of it, .*{says}"):
        gradcheck(wrong, many)


def test_what_is_wrong_in_its_own_way_gets_no_name():
    noise = rng.standard_normal((4, 3))
    with pytest.raises(GradientError) as caught:
        gradcheck(op(ops.tanh, lambda g: g * (1.0 + noise)), x)
    assert caught.value.report.rows[0].said == "12 of its 12 entries are wrong"


def test_the_course_and_the_harness_have_one_engine():
    assert course.diagnose is mistakes.diagnose
    assert course.Context is mistakes.Context
