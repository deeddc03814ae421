"""The visible tests of assignment 5: what your code returns is compared with what the solution returned.

`lib` is your code; the recording beside this file holds the solution's numbers, drawn from the same seed.
"""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name

# ── 1: classes ────────────────────────────────────────────────────────────────────────────────


@points(3, task="1.1")
def expectation_pullback(lib, rng):
    """da and dv of Σ_y q(y) v(y)"""
    (logits, values), dmean = rng.standard_normal((2, 4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:expectation", logits, values)
    da, dv = returned(lib.call(pull, dmean), "da", "dv")
    return {"dv": Expected(dv, "expectation_values", logits, dmean),
            "da": Expected(da, "expectation_logits", logits, values, dmean)}


@points(3, task="1.2")
def categorical_kl_pullback(lib, rng):
    """da of KL( q(y|x) ‖ p(y) )"""
    logits, dkl, log_prior = rng.standard_normal((4, 3)), rng.standard_normal(4), np.log([0.5, 0.3, 0.2])
    _, pull = lib.call("minivae.distributions:categorical_kl", logits, log_prior=log_prior)
    return {"da": Expected(lib.call(pull, dkl), "categorical_kl", logits, log_prior, dkl)}


# ── the model ─────────────────────────────────────────────────────────────────────────────────

# from the loss backwards: what is wrong first is the cause
CLASSIFIER = ("classifier.layers.2.W", "classifier.layers.2.b", "classifier.layers.0.W", "classifier.layers.0.b")
DECODER = ("decoder.layers.2.W", "decoder.layers.2.b", "decoder.layers.0.W", "decoder.layers.0.b")
ENCODER = ("encoder.mean.W", "encoder.mean.b", "encoder.logvar.W", "encoder.logvar.b", "encoder.V", "encoder.image.W",
           "encoder.image.b")
ALL = (*CLASSIFIER, *DECODER, *ENCODER)


def _model(lib, rng, X=5, C=3, Z=2, prior=(0.5, 0.3, 0.2), **options):
    """A small M2 in float64, its weights large enough that everything matters."""
    config = lib.call("minivae.variants.semi_supervised_sizes:M2Config", X, C, (4,), Z, "tanh", class_prior=prior)
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"), **options)
    for name in ALL:
        value = lib.get(model, f"{name}.value")
        lib.set(model, f"{name}.value", value + 0.3 * rng.standard_normal(value.shape))
    return model


def _read(lib, model, part):
    """A copy of the value or the gradient of every parameter."""
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in ALL}


def _gradients(lib, model, pull, *cotangents):
    """What the pullback adds to every gradient, and what it returns."""
    lib.call(lib.get(model, "arena.zero_grad"))
    back = lib.call(pull, *cotangents)
    return _read(lib, model, "grad") | {"dx": back}


def _images(rng, B, X=5):
    return 1.0 * (rng.random((B, X)) < 0.5)


def _every_class(B, C):
    """One-hot rows of class 0 for the whole batch, then of class 1, …"""
    return np.repeat(np.eye(C), B, axis=0)


# ── 2: with a label ───────────────────────────────────────────────────────────────────────────


@points(4, task="2.1")
def label_encoder_pullback(lib, rng):
    """the gradients of heads, V and the image's layer, and dx, for three labels of each image"""
    B, C = 4, 3
    model, x, (dmean, dlogvar) = _model(lib, rng), _images(rng, B), rng.standard_normal((2, C * B, 2))
    _, pull = lib.call(lib.get(model, "encoder"), x, y=_every_class(B, C))
    both, by_mean, by_logvar = (_gradients(lib, model, pull, *pair) for pair in (
        (dmean, dlogvar), (dmean, 0.0 * dlogvar), (0.0 * dmean, dlogvar)))
    return {name: both[name] for name in ENCODER[:4]} | {
        name: Expected(both[name], "fan_out", by_mean[name], by_logvar[name], C) for name in (*ENCODER[4:], "dx")}


@points(4, task="2.2")
def conditional_pullback(lib, rng):
    """the gradients of decoder and encoder, one label for each image"""
    model, x, y = _model(lib, rng), _images(rng, 4), np.eye(3)[[2, 0, 1, 1]]
    _, pull = lib.call(lib.get(model, "conditional_terms"), x=x, y=y, eps=rng.standard_normal((4, 2)))
    return _by_term(lib, model, pull, *rng.standard_normal((2, 4)), DECODER + ENCODER)


def _by_term(lib, model, pull, dnll, dkl, names):
    """The gradients, and what each of the two terms gives of them."""
    both, by_nll, by_kl = (_gradients(lib, model, pull, *pair) for pair in (
        (dnll, dkl), (dnll, 0.0 * dkl), (0.0 * dnll, dkl)))
    return {name: Expected(both[name], "by_term", by_nll[name], by_kl[name]) for name in names}


@points(3, task="2.3")
def labelled_bound(lib, rng):
    """nll and kl of L(x, y), and their gradients"""
    model, x, labels = _model(lib, rng), _images(rng, 4), np.array([2, 0, 1, 1])
    (nll, kl), pull = lib.call(lib.get(model, "labelled_terms"), x=x, labels=labels, eps=rng.standard_normal((4, 2)))
    return {"nll": nll, "kl": Expected(kl, "labelled_kl", kl, labels, np.log([0.5, 0.3, 0.2]))} | _by_term(
        lib, model, pull, *rng.standard_normal((2, 4)), DECODER + ENCODER)


# ── 3: without one ────────────────────────────────────────────────────────────────────────────


@points(3, task="3.1")
def unlabelled_bound(lib, rng):
    """nll and kl of U(x)"""
    model, x, eps = _model(lib, rng), _images(rng, 4), rng.standard_normal((3, 4, 2))
    values = _read(lib, model, "value")
    nll, kl = value_of(lib.call(lib.get(model, "unlabelled_terms"), x=x, eps=eps))
    return {name: Expected(term, "unlabelled", name, x, eps, values) for name, term in (("nll", nll), ("kl", kl))}


@points(5, task="3.2")
def unlabelled_gradient(lib, rng):
    """the gradients of U: classifier first, then decoder and encoder"""
    model, x, eps = _model(lib, rng), _images(rng, 4), rng.standard_normal((3, 4, 2))
    values, (dnll, dkl) = _read(lib, model, "value"), rng.standard_normal((2, 4))
    _, pull = lib.call(lib.get(model, "unlabelled_terms"), x=x, eps=eps)
    found = _gradients(lib, model, pull, dnll, dkl)
    return {name: Expected(found[name], "unlabelled_gradient", name, x, eps, values, dnll, dkl) for name in ALL}


@points(4, task="3.3")
def objective_of_a_batch(lib, rng):
    """what is told, and the gradient, of 4 rows of a batch of 10"""
    share, alpha, B = 0.25, 0.7, 10
    model = _model(lib, rng, labelled_share=share, label_weight=alpha)
    x, labelled, labels = _images(rng, 4), _images(rng, 4), np.array([2, 0, 1, 1])
    batch = lib.call("minivae.batch:Batch", x=x, labelled=labelled, labels=labels)
    eps, values = rng.standard_normal((4, 4, 2)), _read(lib, model, "value")
    lib.call(lib.get(model, "arena.zero_grad"))
    told = lib.call(lib.get(model, "_step"), batch, eps, 1.0 / B)
    given = (x, labelled, labels, eps, values, share, alpha, B)
    return {"nll, kl, cross-entropy": Expected(np.array(told), "told", 1.0 * np.array(told), B, len(x))} | {
        name: Expected(grad, "step", name, *given) for name, grad in _read(lib, model, "grad").items()}
