"""What the gradients of assignment 4 are made of: it stays with the instructor."""

import numpy as np


def bernoulli(logits, x, dnll):
    p = 1.0 / (1.0 + np.exp(-logits))
    return {"terms": {"softplus a": p * dnll[:, None], "x a": -x * dnll[:, None]}, "factors": {"dnll": dnll[:, None]},
            "sizes": {"the batch size B": len(x), "the number of pixels X": x.shape[1]}}


def kl(logvar, dkl):
    return {"terms": {"σ²": 0.5 * np.exp(logvar) * dkl[:, None],
                      "log σ²": -0.5 * np.ones_like(logvar) * dkl[:, None]},
            "factors": {"dkl": dkl[:, None]}, "sizes": {"the batch size B": len(dkl)}}


def sampler(logvar, dz):
    return {"factors": {"dz": dz, "σ": np.exp(0.5 * logvar)}, "sizes": {"the batch size B": len(dz)}}


def estimate(log_w):
    most = (-log_w).max(axis=0)
    upside_down = most + np.log(np.exp(-log_w - most).mean(axis=0))
    says = "log of the mean of 1 / w: the worst draw weighs most"
    return {"instead": {says: upside_down, f"{says}, with the wrong sign": -upside_down,
                        "the mean of −log w, which is −ELBO": -log_w.mean(axis=0)}}
