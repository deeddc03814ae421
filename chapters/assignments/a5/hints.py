"""What the values and gradients of assignment 5 are made of: it stays with the instructor."""

import numpy as np

from minivae.distributions import categorical_kl as kl_of_classes
from minivae.variants import M2Config

LOG_PRIOR = np.log([0.5, 0.3, 0.2])


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# ── 1: classes ────────────────────────────────────────────────────────────────────────────────


def expectation_values(logits, dmean):
    return {"factors": {"q(y)": softmax(logits), "dmean": dmean[:, None]},
            "sizes": {"the number of classes C": logits.shape[1], "the batch size B": len(dmean)}}


def expectation_logits(logits, values, dmean):
    q, d = softmax(logits), dmean[:, None]
    mean = (q * values).sum(axis=1, keepdims=True)
    return {"terms": {"v(y)": q * values * d, "E_q[v], which every logit moves": -q * mean * d},
            "factors": {"q(y)": q, "dmean": d}, "sizes": {"the batch size B": len(dmean)},
            "instead": {"the derivative with respect to q(y), not to the logit": values * d + 0.0 * q,
                        "q (1 − q) v: the other logits of a softmax matter too": q * (1.0 - q) * values * d}}


def categorical_kl(logits, log_prior, dkl):
    q, d = softmax(logits), dkl[:, None]
    ratio = np.log(q) - log_prior
    kl = (q * ratio).sum(axis=1, keepdims=True)
    entropy = (q * np.log(q)).sum(axis=1, keepdims=True)
    return {"terms": {"log q(y) − log p(y)": q * ratio * d, "the KL itself, which every logit moves": -q * kl * d},
            "factors": {"q(y)": q, "dkl": d}, "sizes": {"the batch size B": len(dkl)},
            "instead": {"that of the negative entropy of q: log p(y) is missing": q * (np.log(q) - entropy) * d,
                        "the derivative with respect to q(y), not to the logit": (ratio + 1.0) * d,
                        "the same with the 1 of ∂(q log q) still in it: it cancels": q * (ratio + 1.0 - kl) * d}}


# ── 2: with a label ───────────────────────────────────────────────────────────────────────────


def fan_out(by_mean, by_logvar, C):
    return {"terms": {"μ": by_mean, "log σ²": by_logvar}, "sizes": {"the number of classes C": C}}


def by_term(by_nll, by_kl):
    return {"terms": {"the nll": by_nll, "the KL": by_kl} if by_kl.any() else {}}         # the decoder has one


def labelled_kl(kl, labels, log_prior):
    prior = log_prior[labels]
    return {"terms": {"the KL of z": kl + prior, "log p(y)": -prior},
            "instead": {"without the chosen label's prior: the mean of log p over all classes": kl + prior - log_prior.mean()}}


# ── 3: without one ────────────────────────────────────────────────────────────────────────────


def _model(x, eps, values, **options):
    """(model, logits, pull_classifier, (nll, kl) of every class, (B, C) each, pull_each, log p(y))"""
    C, hidden = values["encoder.V"].shape
    prior = tuple(np.exp(LOG_PRIOR)) if C == 3 else tuple(np.arange(1.0, C + 1) / np.arange(1.0, C + 1).sum())
    model = M2Config(x.shape[1], C, (hidden,), eps.shape[-1], "tanh", class_prior=prior).build(dtype=np.float64, **options)
    for name, value in values.items():
        model.parameters()[_short(name)].value[...] = value
    return model


def _each(model, x, eps):
    C, B = model.classes, len(x)
    y = np.repeat(np.eye(C), B, axis=0)
    (nll, kl), pull = model.conditional_terms(x=x, y=y, eps=eps.reshape(C * B, -1))
    return (nll.reshape(C, B).T, kl.reshape(C, B).T), pull


def unlabelled(name, x, eps, values):
    model = _model(x, eps, values)
    q, each = softmax(model.classifier(x)[0]), dict(zip(("nll", "kl"), _each(model, x, eps)[0]))[name]
    right, log_q, log_p = (q * each).sum(axis=1), np.log(q), model.log_prior(x)
    instead = {"the sum over all classes, not weighed by q(y|x)": each.sum(axis=1),
               "the mean over all classes, not weighed by q(y|x)": each.mean(axis=1),
               "that of the likeliest class alone": each[np.arange(len(x)), q.argmax(axis=1)],
               "that of classes and images mixed up: the C B rows are (C, B), the batch once for each class":
               (q * each.T.reshape(len(x), -1)).sum(axis=1)}
    if name == "kl":
        kl_y = (q * (log_q - log_p)).sum(axis=1)
        instead = {says: value + kl_y for says, value in instead.items()} | {
            "without KL(q(y|x) ‖ p(y)): y is a latent too": right,
            "with −H(q(y|x)) in the place of KL(q(y|x) ‖ p(y)): log p(y) is missing": right + (q * log_q).sum(axis=1),
            "with the entropy of the wrong sign": right - (q * log_q).sum(axis=1) - q @ log_p}
    return {"instead": instead, "sizes": {"the number of classes C": q.shape[1]}}


def unlabelled_gradient(name, x, eps, values, dnll, dkl):
    found = _once(_unlabelled_gradients, x, eps, values, dnll, dkl)
    return {"instead": {says: grads[_short(name)] for says, grads in found.items()},
            "sizes": {"the number of classes C": eps.shape[0]}}


def _unlabelled_gradients(x, eps, values, dnll, dkl):
    def of(y=True, nll=True, kl=True, weigh=lambda q: q, order=lambda d: d.T):
        model = _model(x, eps, values)
        logits, pull_classifier = model.classifier(x)
        (nlls, kls), pull_each = _each(model, x, eps)
        q = softmax(logits)
        dlogits = sum((q * (term - (q * term).sum(axis=1, keepdims=True)) * d[:, None] for heard, term, d in (
            (nll, nlls, dnll), (kl, kls, dkl)) if heard), 0.0 * q)
        dlogits = dlogits + y * kl_of_classes(logits, log_prior=model.log_prior(x))[1](dkl)
        pull_classifier(dlogits)
        pull_each(*(order(weigh(q) * d[:, None]).ravel() for d in (dnll, dkl)))
        return {key: p.grad.copy() for key, p in model.parameters().items()}

    return {"without what KL(q(y|x) ‖ p(y)) tells the classifier": of(y=False),
            "without what the nll tells the classifier": of(nll=False),
            "without what the KL of z tells the classifier": of(kl=False),
            "with what KL(q(y|x) ‖ p(y)) tells the classifier, and nothing else": of(nll=False, kl=False),
            "that of classes which all count alike: each is to be weighed by q(y|x)": of(weigh=lambda q: np.ones(q.shape)),
            "that of classes which all count 1/C: each is to be weighed by q(y|x)":
            of(weigh=lambda q: np.full(q.shape, 1.0 / q.shape[1])),
            "that of classes and images mixed up: the C B rows are (C, B), the batch once for each class":
            of(order=lambda d: d)}


def told(right, B, rows):
    return {"sizes": {"the batch size B": B},
            "instead": {"the mean over the rows in x: `weight` says what each row counts": right * B / rows}}


def step(name, x, labelled, labels, eps, values, share, alpha, B):
    g = {part: grads[_short(name)] for part, grads in _once(_parts, x, labelled, labels, eps, values, B).items()}
    right = (1.0 - share) * g["U"] + share * g["L"] + alpha * g["H"]
    return {"sizes": {"the batch size B": B},
            "terms": {says: term for says, term in (("the images without a label", (1.0 - share) * g["U"]), (
                "the images with a label", share * g["L"]), ("the cross-entropy", alpha * g["H"])) if term.any()},
            "instead": {"with u and 1 − u exchanged: `labelled_share` is 1 − u": share * g["U"] + (1.0 - share) * g["L"]
                        + alpha * g["H"],
                        "with both bounds whole: each counts for its share of the images": g["U"] + g["L"] + alpha * g["H"],
                        "with the share of the labels in the cross-entropy too": right + (share - 1.0) * alpha * g["H"],
                        "with the cross-entropy counted once, not `label_weight` times": right + (1.0 - alpha) * g["H"],
                        "the mean over the rows in x: `weight` says what each row counts": right * B / len(x)}}


def _parts(x, labelled, labels, eps, values, B):
    """Of U, of L and of the cross-entropy: what each adds to every gradient, each row counting 1/B."""
    found, each = {}, np.full(len(x), 1.0 / B)
    for part in ("U", "L", "H"):
        model = _model(x, eps, values)
        if part == "U":
            model.unlabelled_terms(x=x, eps=eps[:-1])[1](each, each)
        elif part == "L":
            model.labelled_terms(x=labelled, labels=labels, eps=eps[-1])[1](each, each)
        else:
            model.class_nll(x=labelled, labels=labels)[1](each)
        found[part] = {key: p.grad.copy() for key, p in model.parameters().items()}
    return found


LAST = {}


def _once(f, *arrays):
    """Of the same arrays one after the other, it is computed once."""
    flat = [a for x in arrays for a in (x.values() if isinstance(x, dict) else [x])]
    key = (f.__name__, *(np.asarray(a).tobytes() for a in flat))
    if LAST.get("key") != key:
        LAST.update(key=key, found=f(*arrays))
    return LAST["found"]


def _short(name):
    """ "decoder.2.W", as `parameters` has it, of the path "decoder.layers.2.W" """
    return name.replace(".layers.", ".")
