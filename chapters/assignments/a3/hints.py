"""What the gradients of assignment 3 are made of: it stays with the instructor."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_mean_exp(x, dy):
    return {"factors": {"dy": dy[:, None], "the normalised weights": softmax(x)}, "sizes": {"K": x.shape[-1]},
            "instead": {"dy / K: all draws teach alike, as in the ELBO": np.repeat(dy[:, None] / x.shape[-1],
                                                                                   x.shape[-1], axis=1)}}


def log_mean_exp_far(x):
    with np.errstate(over="ignore", divide="ignore"):
        one, none = (m + np.log(np.exp(x - m).mean(axis=-1)) for m in (x.max(), 0.0))
    return {"instead": {"what one maximum for all rows gives: in a row far below it all is 0, and log 0 follows": one,
                        "what log (1/K) Σ exp x gives without a maximum subtracted: far out it is log 0, or infinite":
                        none},
            "sizes": {"K": x.shape[-1]}}


def bounds():
    return {}


def weighted(K, B):
    return {"sizes": {"the number of draws K": K, "the batch size B": B}}


def full_draw(mean, L, eps):
    return {"instead": {"μ + Lᵀ ε: the transpose of L": mean + np.einsum("bji,bj->bi", L, eps)},
            "terms": {"μ": mean, "L ε": np.einsum("bij,bj->bi", L, eps)}}


def full_draw_dL(dz, eps):
    return {"factors": {"ε": eps[:, None, :], "dz": dz[:, :, None]},
            "instead": {"the transpose: εᵢ and dzⱼ have changed places": eps[:, :, None] * dz[:, None, :]}}


def logdet(L, dlog):
    eye = np.eye(L.shape[1])
    return {"instead": {"dlog on the diagonal: the 1/L_ii is missing": dlog[:, None, None] * eye,
                        "dlog · L_ii: the reciprocal is missing": dlog[:, None, None] * L * eye,
                        "1/L_ii: the factor dlog is missing": eye / np.where(eye > 0, L, 1.0)}}


def full_kl(mean, L):
    diagonal = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
    Z = mean.shape[1]
    return {"terms": {"½ ‖μ‖²": 0.5 * (mean**2).sum(axis=1), "½ ‖L‖²": 0.5 * (L**2).sum(axis=(1, 2)),
                      "½ Z": np.full(len(mean), -0.5 * Z), "Σ log L_ii": -diagonal}}


def full_kl_dmean(dkl):
    return {"factors": {"dkl": dkl[:, None]}}


def full_kl_dL(L, dkl):
    inverse = np.eye(L.shape[1]) / np.where(np.eye(L.shape[1]) > 0, L, 1.0)
    return {"terms": {"½ ‖L‖²": L * dkl[:, None, None], "Σ log L_ii": -inverse * dkl[:, None, None]}}


def full_log_prob_dz(dlog):
    return {"factors": {"dlog": dlog[:, None]}}


def full_log_prob_dL(z, mean, L, dlog):
    v = np.linalg.solve(L, (z - mean)[:, :, None])
    w = np.linalg.solve(L.transpose(0, 2, 1), v)
    square = w @ v.transpose(0, 2, 1) * dlog[:, None, None]
    inverse = np.eye(L.shape[1]) / np.where(np.eye(L.shape[1]) > 0, L, 1.0) * dlog[:, None, None]
    return {"terms": {"the square": np.tril(square), "Σ log L_ii": -inverse},
            "instead": {"not cut to a triangle: what lies above L's diagonal is no parameter": square - inverse}}


def nll_dmean(mean, logvar, x, dnll):
    return {"factors": {"1/σ²": np.exp(-logvar), "dnll": dnll[:, None]}}


def nll_dlogvar(mean, logvar, x, dnll):
    square = 0.5 * (x - mean) ** 2 * np.exp(-logvar)
    return {"terms": {"the square": -square * dnll[:, None], "log σ²": np.broadcast_to(0.5 * dnll[:, None], x.shape)},
            "factors": {"1/σ²": np.exp(-logvar), "dnll": dnll[:, None]},
            "instead": {"the derivative with respect to σ, not to log σ²":
                        (1.0 - 2.0 * square) * np.exp(-0.5 * logvar) * dnll[:, None]}}
