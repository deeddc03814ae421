"""What the gradients of assignment 1 are made of: it stays with the instructor."""

import numpy as np


def difference():
    return {"sizes": {"2, of 2h": 2.0, "h": 1e-5}}


def linear(x):
    return {"sizes": {"the batch size B": len(x)}}


def weights_of_two_calls(x1, dy1, x2, dy2):
    return {"terms": {"the first call": x1.T @ dy1, "the second call": x2.T @ dy2}}


def bias_of_two_calls(dy1, dy2):
    return {"terms": {"the first call": dy1.sum(axis=0), "the second call": dy2.sum(axis=0)}, "sizes": {"B": len(dy1)}}


def activation(x, y, dy):
    return {"factors": {"dy": dy, "y": y, "1 − y": 1.0 - y},
            "instead": {"dy as it came: the derivative of the activation is missing": dy,
                        "the derivative alone, taken at y instead of at x": dy / (1.0 + np.exp(-y))}}


def logsumexp(x, dy):
    return {"factors": {"dy": dy[:, None], "1 / Σ exp x": 1.0 / np.exp(x).sum(axis=1, keepdims=True)}}


def log_softmax(x, dy):
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    return {"terms": {"xₖ": dy, "log Σ exp": -p * dy.sum(axis=1, keepdims=True)},
            "instead": {"dy − softmax · dy: the sum of dy over all classes is missing": dy - p * dy}}


def categorical(logits, labels, dnll):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = 1.0 * (labels[:, None] == np.arange(logits.shape[1]))
    return {"terms": {"log Σ exp": p * dnll[:, None], "the label": -chosen * dnll[:, None]},
            "factors": {"dnll": dnll[:, None]}, "sizes": {"the batch size B": len(dnll)}}


def bernoulli(logits, x, dnll):
    p = 1.0 / (1.0 + np.exp(-logits))
    return {"terms": {"softplus a": p * dnll[:, None], "x a": -x * dnll[:, None]},
            "factors": {"dnll": dnll[:, None], "p": p, "1 − p": 1.0 - p}, "sizes": {"the batch size B": len(dnll)},
            "instead": {"the gradient with respect to p, not to the logit": (p - x) / (p * (1.0 - p)) * dnll[:, None]}}
