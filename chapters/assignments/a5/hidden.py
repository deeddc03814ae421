"""The hidden tests of assignment 5: other sizes and values."""

import numpy as np

from minivae.coursework.testing import Expected, points, returned
from minivae.coursework.wire import Name, Seed


def sizes(rng, count):
    """Different ones, so that a transpose cannot pass; not 2, so that no size is mistaken for a factor of 2."""
    return [int(n) for n in rng.permutation(np.arange(3, 8))[:count]]


def prior(C):
    """p(y), every class another"""
    return tuple(np.arange(1.0, C + 1) / np.arange(1.0, C + 1).sum()) if C != 3 else (0.5, 0.3, 0.2)


def again(lib, pull, *cotangents):
    """What a pullback says when it is called a second time: it must not have changed what it needs."""
    lib.call(pull, *(2.0 * cotangent for cotangent in cotangents))
    return lib.call(pull, *cotangents)


@points(2, task="1.1", hidden=True)
def expectation_of_any_size(lib, rng):
    """da and dv for another number of classes, one value far off, asked for twice"""
    B, C = sizes(rng, 2)
    (logits, values), dmean = rng.standard_normal((2, B, C)), rng.standard_normal(B)
    values[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:expectation", 5.0 * logits, values)
    da, dv = returned(again(lib, pull, dmean), "da", "dv")
    return {"dv": Expected(dv, "expectation_values", 5.0 * logits, dmean),
            "da": Expected(da, "expectation_logits", 5.0 * logits, values, dmean)}


@points(2, task="1.2", hidden=True)
def categorical_kl_of_any_size(lib, rng):
    """da for another number of classes, asked for twice; and of a classifier that is all but certain"""
    B, C = sizes(rng, 2)
    logits, dkl, log_prior = rng.standard_normal((B, C)), rng.standard_normal(B), np.log(prior(C))
    _, pull = lib.call("minivae.distributions:categorical_kl", logits, log_prior=log_prior)
    _, sure = lib.call("minivae.distributions:categorical_kl", 1000.0 * logits, log_prior=log_prior)
    return {"da": Expected(again(lib, pull, dkl), "categorical_kl", logits, log_prior, dkl),
            "da of one that is certain": lib.call(sure, dkl)}


# ── the model ─────────────────────────────────────────────────────────────────────────────────

CLASSIFIER = ("classifier.layers.2.W", "classifier.layers.2.b", "classifier.layers.0.W", "classifier.layers.0.b")
DECODER = ("decoder.layers.2.W", "decoder.layers.2.b", "decoder.layers.0.W", "decoder.layers.0.b")
ENCODER = ("encoder.mean.W", "encoder.mean.b", "encoder.logvar.W", "encoder.logvar.b", "encoder.V", "encoder.image.W",
           "encoder.image.b")
ALL = (*CLASSIFIER, *DECODER, *ENCODER)


def m2(lib, rng, X, C, Z, **options):
    config = lib.call("minivae.variants.semi_supervised_sizes:M2Config", X, C, (int(rng.integers(3, 7)),), Z, "tanh",
                      class_prior=prior(C))
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"), **options)
    for name in ALL:
        value = lib.get(model, f"{name}.value")
        lib.set(model, f"{name}.value", value + 0.3 * rng.standard_normal(value.shape))
    return model


def read(lib, model, part):
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in ALL}


def gradients(lib, model, pull, *cotangents):
    lib.call(lib.get(model, "arena.zero_grad"))
    back = lib.call(pull, *cotangents)
    return read(lib, model, "grad") | {"dx": back}


def images(rng, B, X):
    return 1.0 * (rng.random((B, X)) < 0.5)


@points(2, task="2.1", hidden=True)
def label_encoder_twice(lib, rng):
    """two batches through one encoder, two labels for each image: the gradients add"""
    B, X, C, Z = sizes(rng, 4)
    model, (dmean, dlogvar) = m2(lib, rng, X, C, Z), rng.standard_normal((2, 2 * B, Z))
    encoder, y = lib.get(model, "encoder"), np.eye(C)[rng.integers(0, C, 2 * B)]
    pulls = [lib.call(encoder, images(rng, B, X), y=y)[1] for _ in range(2)]
    lib.call(lib.get(model, "arena.zero_grad"))
    for pull in pulls:
        dx = lib.call(pull, dmean, dlogvar)
    return {name: grad for name, grad in read(lib, model, "grad").items() if name in ENCODER} | {"dx": dx}


@points(2, task="2.2", hidden=True)
def conditional_of_any_size(lib, rng):
    """the gradients of decoder and encoder, every label of every image"""
    B, X, C, Z = sizes(rng, 4)
    model, x, y = m2(lib, rng, X, C, Z), images(rng, B, X), np.repeat(np.eye(C), B, axis=0)
    _, pull = lib.call(lib.get(model, "conditional_terms"), x=x, y=y, eps=rng.standard_normal((C * B, Z)))
    return by_term(lib, model, pull, *rng.standard_normal((2, C * B)))


def by_term(lib, model, pull, dnll, dkl):
    both, by_nll, by_kl = (gradients(lib, model, pull, *pair) for pair in (
        (dnll, dkl), (dnll, 0.0 * dkl), (0.0 * dnll, dkl)))
    return {name: Expected(both[name], "by_term", by_nll[name], by_kl[name]) for name in DECODER + ENCODER}


@points(2, task="2.3", hidden=True)
def labelled_of_any_size(lib, rng):
    """nll and kl of L(x, y), and their gradients, for another number of classes"""
    B, X, C, Z = sizes(rng, 4)
    model, x, labels = m2(lib, rng, X, C, Z), images(rng, B, X), rng.integers(0, C, B)
    (nll, kl), pull = lib.call(lib.get(model, "labelled_terms"), x=x, labels=labels, eps=rng.standard_normal((B, Z)))
    return {"nll": nll, "kl": Expected(kl, "labelled_kl", kl, labels, np.log(prior(C)))} | by_term(
        lib, model, pull, *rng.standard_normal((2, B)))


def without_labels(lib, rng):
    B, X, C, Z = sizes(rng, 4)
    model, x, eps = m2(lib, rng, X, C, Z), images(rng, B, X), rng.standard_normal((C, B, Z))
    terms, pull = lib.call(lib.get(model, "unlabelled_terms"), x=x, eps=eps)
    return model, x, eps, terms, pull


@points(2, task="3.1", hidden=True)
def unlabelled_of_any_size(lib, rng):
    """nll and kl of U(x) for another number of classes"""
    model, x, eps, (nll, kl), _ = without_labels(lib, rng)
    values = read(lib, model, "value")
    return {name: Expected(term, "unlabelled", name, x, eps, values) for name, term in (("nll", nll), ("kl", kl))}


@points(3, task="3.2", hidden=True)
def unlabelled_gradient_of_any_size(lib, rng):
    """the gradients of U for another number of classes, asked for twice"""
    model, x, eps, _, pull = without_labels(lib, rng)
    values, (dnll, dkl) = read(lib, model, "value"), rng.standard_normal((2, len(x)))
    gradients(lib, model, pull, 2.0 * dnll, dkl)
    found = gradients(lib, model, pull, dnll, dkl)
    return {name: Expected(found[name], "unlabelled_gradient", name, x, eps, values, dnll, dkl) for name in ALL}


@points(2, task="3.3", hidden=True)
def objective_of_any_size(lib, rng):
    """what is told, and the gradient, of another network, batch and share of labels"""
    rows, X, C, Z = sizes(rng, 4)
    share, alpha, B = float(rng.uniform(0.1, 0.4)), float(rng.uniform(1.5, 4.0)), rows + 5
    model = m2(lib, rng, X, C, Z, labelled_share=share, label_weight=alpha)
    x, labelled, labels = images(rng, rows, X), images(rng, rows, X), rng.integers(0, C, rows)
    batch = lib.call("minivae.batch:Batch", x=x, labelled=labelled, labels=labels)
    eps, values = rng.standard_normal((C + 1, rows, Z)), read(lib, model, "value")
    lib.call(lib.get(model, "arena.zero_grad"))
    told = lib.call(lib.get(model, "_step"), batch, eps, 1.0 / B)
    given = (x, labelled, labels, eps, values, share, alpha, B)
    return {"nll, kl, cross-entropy": Expected(np.array(told), "told", 1.0 * np.array(told), B, rows)} | {
        name: Expected(grad, "step", name, *given) for name, grad in read(lib, model, "grad").items()}


@points(1, task="3.3", hidden=True, tolerance=1e-5, joined=True)
def training_steps(lib, rng):
    """three steps of training, on all that you wrote"""
    B, X, C, Z = sizes(rng, 4)
    model = m2(lib, rng, X, C, Z, labelled_share=0.3, label_weight=1.5, optimizer=lib.call("minivae.nn:SGD", 0.1))
    batch = lib.call("minivae.batch:Batch", x=images(rng, B, X), labelled=images(rng, B, X), labels=rng.integers(0, C, B))
    found, before = {}, read(lib, model, "value")
    for t in (1, 2, 3):
        told = lib.call(lib.get(model, "train_step"), batch, Seed(t))
        found[f"elbo, nll, kl, cross-entropy of step {t}"] = np.array(
            [told[name] for name in ("elbo", "nll", "kl", "cross_entropy")])
    after = read(lib, model, "value")
    return found | {f"Δ {name}": after[name] - before[name] for name in ALL}
