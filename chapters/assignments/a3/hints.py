"""What the gradients of assignment 3 are made of: it stays with the instructor."""

from functools import wraps

import numpy as np

from minivae.distributions import gaussian_log_prob, reparameterize
from minivae.variants import VAEConfig


def once(f):
    """Of the same arrays one after the other, it is computed once."""
    last = {}

    @wraps(f)
    def wrapped(x, eps, weights):
        key = (x.tobytes(), eps.tobytes(), *(value.tobytes() for value in weights.values()))
        if last.get("key") != key:
            last.update(key=key, found=f(x, eps, weights))
        return last["found"]

    return wrapped


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


# ── the objectives: what they would teach by another weight of each draw ──────────────────────


def bounds(x, eps, weights):
    """elbo, nll, kl, bound"""
    model, K, B = _model(x, eps, weights), *eps.shape[:2]
    nll, kl = (term.reshape(K, B) for term in model.monte_carlo_terms(x=x, eps=eps)[0])
    elbo, nll_, kl_ = -(nll + kl).mean(), nll.mean(), kl.mean()
    bound = (np.logaddexp.reduce(-(nll + kl), axis=0) - np.log(K)).mean()
    return {"sizes": {"the batch size B": B},
            "instead": {"not averaged over the K draws, in the first three":
                        np.array([K * elbo, K * nll_, K * kl_, bound]),
                        "log of the sum over the draws in the bound: the 1/K is missing":
                        np.array([elbo, nll_, kl_, bound + np.log(K)]),
                        "the loss in the last place, and not the bound": np.array([elbo, nll_, kl_, -bound]),
                        "the ELBO in the last place: the mean of log w, and not the log of the mean of w":
                        np.array([elbo, nll_, kl_, elbo])}}


def weighted(name, kind, x, eps, weights):
    K, B = eps.shape[:2]
    found = _iwae(x, eps, weights) if kind == "IWAE" else _dreg(x, eps, weights)
    return {"sizes": {"the number of draws K": K, "the batch size B": B},
            "instead": {says: grads[_short(name)] for says, grads in found.items()}}


@once
def _iwae(x, eps, weights):
    """What to say -> the gradient of every parameter"""
    model, (K, B) = _model(x, eps, weights), eps.shape[:2]
    (nll, kl), pullback = model.monte_carlo_terms(x=x, eps=eps)
    log_w = -(nll + kl).reshape(K, B).T
    right = softmax(log_w).T.reshape(-1) / B

    def of(dnll, dkl):
        return _gradients(model, lambda: pullback(dnll, dkl))

    return {"that of the ELBO: all draws weigh alike, where the normalised weights belong":
            of(*2 * [np.full_like(nll, 1.0 / (K * B))]),
            "that of weights upside down: the draw that explains x worst teaches most":
            of(*2 * [softmax(-log_w).T.reshape(-1) / B]),
            "that of weights normalised over the batch, where they belong to the draws of one image":
            of(*2 * [softmax(log_w.T).reshape(-1) / B]),
            "that of draws of different images mixed: the K B numbers are (K, B), not (B, K)":
            of(*2 * [softmax(-(nll + kl).reshape(B, K)).reshape(-1) / B]),
            "without the KL: log w = −(nll + kl)": of(right, 0.0 * right),
            "without the nll: log w = −(nll + kl)": of(0.0 * right, right),
            "that of weights which are not normalised: their sum over the draws is not 1":
            of(*2 * [np.exp(log_w).T.reshape(-1) / B])}


@once
def _dreg(x, eps, weights):
    """What to say -> the gradient of every parameter"""
    def of(**other):
        model = _model(x, eps, weights)
        return _gradients(model, lambda: _dreg_step(model, x, eps, **other))

    return {"that of draws weighed once: the encoder hears w̃², the decoder w̃": of(encoder=lambda w: 1.0),
            "that of draws weighed twice for the decoder too: it hears w̃": of(decoder=lambda w: w),
            "with the parameters of q in log q not held still: only z may move there": of(still=False),
            "the gradient of the IWAE: q's parameters are to be held still, and w̃ comes twice":
            of(still=False, encoder=lambda w: 1.0),
            "without ∂log q/∂z": of(log_q=0.0), "without ∂log p(z)/∂z": of(log_p=0.0),
            "without ∂log p(x|z)/∂z": of(nll=0.0), "with ∂log q/∂z of the wrong sign": of(log_q=-1.0),
            "with ∂log p(z)/∂z of the wrong sign": of(log_p=-1.0)}


def _dreg_step(model, x, eps, *, encoder=lambda w: w, decoder=lambda w: 1.0, still=True, log_q=1.0, log_p=1.0, nll=1.0):
    """DReG with a mistake: other weights of each draw, or a term more or less."""
    K, B = eps.shape[:2]
    (mean, logvar), pull_q = model.q(x=x)
    means, logvars = np.concatenate(K * [mean]), np.concatenate(K * [logvar])
    z, pull_z = reparameterize(means, logvars, eps=eps.reshape(means.shape))
    outputs, pull_decoder = model.decoder(z)
    surprise, pull_nll = model.likelihood(outputs, x=np.concatenate(K * [x]))
    q, pull_log_q = gaussian_log_prob(z, means, logvars)
    p, pull_p = model.prior.log_prob(z)
    w = softmax(-(surprise + q - p).reshape(K, B).T).T.reshape(-1)
    dz_q, dmeans_q, dlogvars_q = pull_log_q(w / B)
    dz = nll * pull_decoder(pull_nll(decoder(w) * w / B)) + log_q * dz_q + log_p * pull_p(-w / B)
    dmeans, dlogvars = pull_z(dz * np.broadcast_to(encoder(w), w.shape)[:, None])
    if not still:
        dmeans, dlogvars = dmeans + dmeans_q, dlogvars + dlogvars_q
    pull_q(*(d.reshape(K, B, -1).sum(axis=0) for d in (dmeans, dlogvars)))


def _model(x, eps, weights):
    hidden = weights["encoder.trunk.layers.0.W"].shape[1]
    model = VAEConfig(x.shape[1], (hidden,), eps.shape[2], "tanh").build(dtype=np.float64)
    for name, value in weights.items():
        model.parameters()[_short(name)].value[...] = value
    return model


def _gradients(model, teach):
    """{parameter: what `teach` adds to its gradient}"""
    model.arena.zero_grad()
    teach()
    return {name: parameter.grad.copy() for name, parameter in model.parameters().items()}


def _short(name):
    """ "decoder.2.W", as `parameters` has it, of the path "decoder.layers.2.W" """
    return name.replace(".layers.", ".")


def full_draw(mean, L, eps):
    return {"instead": {"μ + Lᵀ ε: the transpose of L": mean + np.einsum("bji,bj->bi", L, eps)},
            "terms": {"μ": mean, "L ε": np.einsum("bij,bj->bi", L, eps)}}


def full_draw_dL(dz, eps):
    return {"factors": {"ε": eps[:, None, :], "dz": dz[:, :, None]},
            "instead": {"the transpose: εᵢ and dzⱼ have changed places": eps[:, :, None] * dz[:, None, :],
                        "cut to a triangle: here every entry of L is an input, and what is no parameter is cut where L "
                        "is made": np.tril(dz[:, :, None] * eps[:, None, :])}}


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
