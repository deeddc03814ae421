"""What the gradients of assignment 1 are made of: it stays with the instructor."""

import numpy as np


def difference(w, h, name):
    f, moves = {"var": np.var, "norm": np.linalg.norm}[name], h * np.eye(len(w))
    there, up, down = f(w), np.array([f(w + move) for move in moves]), np.array([f(w - move) for move in moves])
    return {"sizes": {"2, of 2h": 2.0, "h": h},
            "instead": {"the one-sided quotient, forwards": (up - there) / h,
                        "the one-sided quotient, backwards": (there - down) / h,
                        "a one-sided difference divided by 2h": (up - there) / (2.0 * h)}}


def linear(x, W, dy):
    others = {"dx": dy @ W.T, "dW": x.T @ dy, "db": dy.sum(axis=0)}
    return {"sizes": {"the batch size B": len(x)},
            "instead": {f"what {name} should be: the three are returned in another order": d
                        for name, d in others.items()}}


def weights_of_two_calls(x1, dy1, x2, dy2):
    return {"terms": {"the first call": x1.T @ dy1, "the second call": x2.T @ dy2},
            "sizes": {"the batch size B": len(x1)}}


def bias_of_two_calls(dy1, dy2):
    return {"terms": {"the first call": dy1.sum(axis=0), "the second call": dy2.sum(axis=0)},
            "sizes": {"the batch size B": len(dy1)}}


def activation(x, y, dy):
    return {"factors": {"dy": dy, "y": y, "1 − y": 1.0 - y},
            "instead": {"dy as it came: the derivative of the activation is missing": dy,
                        "the derivative alone, taken at y instead of at x": dy / (1.0 + np.exp(-y))}}


def sigmoid_far_out(x, y, dy):
    return {"factors": {"dy": dy},
            "instead": {"right near 0, but far out the digits of 1 − y are lost": dy * y * (1.0 - y)}}


def softplus_far_out(x, y, dy):
    return {"factors": {"dy": dy},
            "instead": {"right near 0, but far out the digits of the difference are lost": dy * (1.0 - np.exp(-y)),
                        "dy as it came: the derivative of the activation is missing": dy}}


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def logsumexp(x, dy):
    return {"factors": {"dy": dy[:, None], "1 / Σ exp x": 1.0 / np.exp(x).sum(axis=1, keepdims=True)},
            "sizes": {"the number of classes K": x.shape[1]}}


def logsumexp_of_large_numbers(x):
    with np.errstate(over="ignore", divide="ignore"):
        one, none = (m + np.log(np.exp(x - m).sum(axis=-1)) for m in (x.max(), 0.0))
    return {"instead": {"what one maximum for all rows gives: in a row far below it all is 0, and log 0 follows": one,
                        "what log Σ exp x gives without a maximum subtracted: exp of 1000 is infinite": none},
            "sizes": {"the number of classes K": x.shape[-1]}}


def log_softmax(x, dy):
    p = softmax(x)
    return {"terms": {"xₖ": dy, "log Σ exp": -p * dy.sum(axis=-1, keepdims=True)},
            "instead": {"what it would be without the sum of dy over all classes": dy - p * dy}}


def categorical(logits, labels, dnll):
    p = softmax(logits)
    chosen = 1.0 * (labels[:, None] == np.arange(logits.shape[1]))
    return {"terms": {"log Σ exp": p * dnll[:, None], "the label": -chosen * dnll[:, None]},
            "factors": {"dnll": dnll[:, None]}, "sizes": {"the batch size B": len(dnll)}}


def bernoulli(logits, x, dnll):
    p = np.exp(np.minimum(logits, 0.0)) / (1.0 + np.exp(-np.abs(logits)))
    with np.errstate(divide="ignore", over="ignore"):
        by_p = (p - x) / (p * (1.0 - p)) * dnll[:, None]
    return {"terms": {"softplus a": p * dnll[:, None], "x a": -x * dnll[:, None]},
            "factors": {"dnll": dnll[:, None], "p": p, "1 − p": 1.0 - p}, "sizes": {"the batch size B": len(dnll)},
            "instead": {"the gradient with respect to p, not to the logit": by_p}}
