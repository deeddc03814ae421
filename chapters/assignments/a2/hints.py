"""What the values and gradients of assignment 2 are made of: it stays with the instructor."""

import numpy as np

CLIPPED = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16)


def sigmoid(a):
    return np.exp(np.minimum(a, 0.0)) / (1.0 + np.exp(-np.abs(a)))


def surprise(p, x):
    return -(x * np.log(p) + (1.0 - x) * np.log(1.0 - p)).sum(axis=1)


# ── 1: surprises ──────────────────────────────────────────────────────────────────────────────


def bernoulli(logits, x):
    return {"terms": {"softplus a": np.logaddexp(0.0, logits).sum(axis=1), "x a": -(x * logits).sum(axis=1)},
            "sizes": {"the number of pixels X": x.shape[1], "the batch size B": len(x)},
            "instead": {"the surprise of 1 − x: ones and zeros have changed places":
                        (np.logaddexp(0.0, logits) - (1.0 - x) * logits).sum(axis=1)}}


def bernoulli_far_out(logits, x):
    p, instead = sigmoid(logits), {}
    for least in CLIPPED:
        says = f"that of a probability clipped at {least:g}: far out the surprise must go on growing"
        instead[says] = surprise(np.clip(p, least, np.maximum(1.0 - least, 0.5)), x)
        with np.errstate(divide="ignore", invalid="ignore"):
            added = -(x * np.log(p + least) + (1.0 - x) * np.log(1.0 - p + least)).sum(axis=1)
        instead[f"that of log(p + {least:g}): far out the surprise must go on growing"] = added
    return bernoulli(logits, x) | {"instead": instead}


def bernoulli_pullback(logits, x, dnll):
    p, dnll = sigmoid(logits), dnll[:, None]
    return {"terms": {"softplus a": p * dnll, "x a": -x * dnll}, "factors": {"dnll": dnll},
            "sizes": {"the batch size B": len(x), "the number of pixels X": x.shape[1]},
            "instead": {"the derivative with respect to p, not to the logit": (p - x) / (p * (1.0 - p)) * dnll,
                        "p (1 − p) times the right one: that factor belongs to p, and is cancelled":
                        (p - x) * p * (1.0 - p) * dnll}}


def fixed(mean, x, dnll, std):
    return {"factors": {"dnll": dnll[:, None]},
            "sizes": {"σ²": std**2, "σ": std, "the batch size B": len(x), "the number of pixels X": x.shape[1]}}


def learned_mean(mean, logvar, x, dnll):
    offset, dnll = mean - x, dnll[:, None]
    return {"factors": {"1/σ²": np.exp(-logvar), "dnll": dnll},
            "sizes": {"the batch size B": len(x), "the number of pixels X": x.shape[1]},
            "instead": {"divided by σ where it should be σ²": offset * np.exp(-0.5 * logvar) * dnll,
                        "divided by σ⁴: exp(logvar) is σ², not σ": offset * np.exp(-2.0 * logvar) * dnll}}


def learned_logvar(mean, logvar, x, dnll):
    square, dnll = (mean - x) ** 2 * np.exp(-logvar), dnll[:, None]
    return {"terms": {"log σ²": 0.5 * dnll + 0.0 * square, "the square": -0.5 * square * dnll},
            "factors": {"dnll": dnll}, "sizes": {"the batch size B": len(x), "the number of pixels X": x.shape[1]},
            "instead": {
                "the derivative with respect to σ, not to log σ²": (1.0 - square) * np.exp(-0.5 * logvar) * dnll,
                "the derivative with respect to σ², not to log σ²": 0.5 * (1.0 - square) * np.exp(-logvar) * dnll,
                "the derivative with respect to log σ, not to log σ² (or a missing ½)": (1.0 - square) * dnll,
                "without the 1/σ² of the square": 0.5 * (1.0 - (mean - x) ** 2) * dnll}}


# ── 2: KL divergences ─────────────────────────────────────────────────────────────────────────


def kl(mean, logvar):
    var, Z = np.exp(logvar), mean.shape[1]
    return {"terms": {"μ²": 0.5 * (mean**2).sum(axis=1), "σ²": 0.5 * var.sum(axis=1),
                      "log σ²": -0.5 * logvar.sum(axis=1), "−1": np.full(len(mean), -0.5 * Z)},
            "sizes": {"the number of latents Z": Z, "the batch size B": len(mean)},
            "instead": {"computed as if exp(logvar) were σ: it is σ²":
                        0.5 * (mean**2 + var**2 - 2.0 * logvar - 1.0).sum(axis=1),
                        "with exp(½ logvar), which is σ, in the place of σ²":
                        0.5 * (mean**2 + np.sqrt(var) - logvar - 1.0).sum(axis=1)}}


def kl_mean(mean, dkl):
    return {"factors": {"dkl": dkl[:, None]},
            "sizes": {"the number of latents Z": mean.shape[1], "the batch size B": len(mean)},
            "instead": {"dkl alone, without μ": dkl[:, None] + 0.0 * mean}}


def kl_logvar(logvar, dkl):
    var, dkl = np.exp(logvar), dkl[:, None]
    return {"terms": {"σ²": 0.5 * var * dkl, "log σ²": -0.5 * dkl + 0.0 * var}, "factors": {"dkl": dkl},
            "sizes": {"the number of latents Z": var.shape[1], "the batch size B": len(var)},
            "instead": {
                "the derivative with respect to σ, not to log σ²": (np.sqrt(var) - 1.0 / np.sqrt(var)) * dkl,
                "the derivative with respect to σ², not to log σ²": 0.5 * (1.0 - 1.0 / var) * dkl,
                "the derivative with respect to log σ, not to log σ² (or a missing ½)": (var - 1.0) * dkl,
                "computed as if exp(logvar) were σ: it is σ²": (var**2 - 1.0) * dkl,
                "with exp(½ logvar), which is σ, in the place of σ²": 0.5 * (np.sqrt(var) - 1.0) * dkl}}


def between_mean(mean_q, logvar_q, mean_p, logvar_p, dkl, sign=1.0):
    offset, dkl = sign * (mean_q - mean_p), dkl[:, None]
    return {"factors": {"1/σp²": np.exp(-logvar_p), "dkl": dkl},
            "instead": {"divided by σq² where it should be σp²": offset * np.exp(-logvar_q) * dkl,
                        "divided by σp where it should be σp²": offset * np.exp(-0.5 * logvar_p) * dkl}}


def between_logvar_q(logvar_q, logvar_p, dkl):
    ratio, dkl = np.exp(logvar_q - logvar_p), dkl[:, None]
    return {"terms": {"σq²/σp²": 0.5 * ratio * dkl, "log σq²": -0.5 * dkl + 0.0 * ratio}, "factors": {"dkl": dkl},
            "instead": {"without the 1/σp²": 0.5 * (np.exp(logvar_q) - 1.0) * dkl,
                        "the derivative with respect to σq, not to log σq²":
                        (ratio - 1.0) * np.exp(-0.5 * logvar_q) * dkl,
                        "the derivative with respect to log σq, not to log σq² (or a missing ½)": (ratio - 1.0) * dkl}}


def between_logvar_p(mean_q, logvar_q, mean_p, logvar_p, dkl):
    square = (mean_q - mean_p) ** 2 * np.exp(-logvar_p)
    ratio, dkl = np.exp(logvar_q - logvar_p), dkl[:, None]
    return {"terms": {"log σp²": 0.5 * dkl + 0.0 * ratio, "the square of μq − μp": -0.5 * square * dkl,
                      "σq²/σp²": -0.5 * ratio * dkl}, "factors": {"dkl": dkl},
            "instead": {"the derivative with respect to σp, not to log σp²":
                        (1.0 - square - ratio) * np.exp(-0.5 * logvar_p) * dkl,
                        "the derivative with respect to log σp, not to log σp² (or a missing ½)":
                        (1.0 - square - ratio) * dkl}}


# ── 3: the draw ───────────────────────────────────────────────────────────────────────────────


def draw(mean, logvar, eps):
    return {"terms": {"μ": mean, "σ ε": np.exp(0.5 * logvar) * eps},
            "instead": {"μ + exp(logvar) ε: exp(logvar) is the variance, and σ its root": mean + np.exp(logvar) * eps,
                        "μ + logvar ε: logvar is no standard deviation": mean + logvar * eps,
                        "μ + ε: the factor σ is missing": mean + eps,
                        "μ + σ: the factor ε is missing": mean + np.exp(0.5 * logvar)}}


def draw_mean(dz, logvar, eps):
    return {"factors": {"dz": dz}, "instead": {"dz times σ": np.exp(0.5 * logvar) * dz, "dz times ε": eps * dz}}


def draw_logvar(logvar, eps, dz):
    std, var = np.exp(0.5 * logvar), np.exp(logvar)
    return {"factors": {"σ": std, "ε": eps, "dz": dz},
            "instead": {"the derivative with respect to σ, not to log σ²": eps * dz,
                        "the derivative with respect to σ², not to log σ²": 0.5 * eps / std * dz,
                        "the derivative with respect to log σ, not to log σ² (or a missing ½)": std * eps * dz,
                        "computed as if exp(logvar) were σ: it is σ²": var * eps * dz,
                        "with σ² in the place of σ": 0.5 * var * eps * dz}}


# ── 4, 5: the model ───────────────────────────────────────────────────────────────────────────


def fan_out(by_mean, by_logvar):
    return {"terms": {"μ": by_mean, "log σ²": by_logvar}}


def with_draws(L, B):
    return {"sizes": {"the number of draws L": L, "the batch size B": B}}


def elbo(by_nll, by_kl, L):
    return {"terms": {"the reconstruction": by_nll, "the KL": by_kl}, "sizes": {"the number of draws L": L}}


def told(elbo, nll, kl, weight, rows):
    """elbo, nll, kl"""
    return {"sizes": {"the batch size B": 1.0 / weight},
            "instead": {"−ELBO in the first place: the ELBO is what is climbed, the loss is its negative":
                        np.array([-elbo, nll, kl]),
                        "without the KL in the ELBO": np.array([-nll, nll, kl]),
                        "with the KL of the wrong sign in the ELBO": np.array([kl - nll, nll, kl]),
                        "the mean over the rows in x: `weight` says what each row counts":
                        np.array([elbo, nll, kl]) / weight / rows}}


def loss(by_nll, by_kl, weight, rows, L):
    return {"terms": {"the reconstruction": by_nll, "the KL": by_kl} if by_kl.any() else {},    # the decoder has one
            "sizes": {"the batch size B": 1.0 / weight, "the number of rows in x": rows, "the number of draws L": L},
            "instead": {"the mean over the rows in x: `weight` says what each row counts":
                        (by_nll + by_kl) / weight / rows}}


def step(B, L):
    return {"sizes": {"the batch size B": B, "the number of draws L": L}}


def adam(grads, lr, beta1, beta2):
    """of the last of these gradients' steps"""
    t = len(grads)
    m = sum((1.0 - beta1) * beta1 ** (t - 1 - i) * g for i, g in enumerate(grads))
    s = sum((1.0 - beta2) * beta2 ** (t - 1 - i) * g**2 for i, g in enumerate(grads))
    m_hat, s_hat, g = m / (1.0 - beta1**t), s / (1.0 - beta2**t), grads[-1]
    m_new, s_new = (1.0 - beta1) * g / (1.0 - beta1**t), (1.0 - beta2) * g**2 / (1.0 - beta2**t)
    later = (1.0 - beta1 ** (t + 1), 1.0 - beta2 ** (t + 1))
    return {"instead": {"the step without the learning rate": -m_hat / np.sqrt(s_hat),
                        "the step without the correction of the bias": -lr * m / np.sqrt(s),
                        "the step with the bias of m left in": -lr * m / np.sqrt(s_hat),
                        "the step with the bias of s left in": -lr * m_hat / np.sqrt(s),
                        "the step without the root of s": -lr * m_hat / s_hat,
                        "no step at all: `value` is written in place, a new array is lost": 0.0 * g,
                        "the step of plain gradient descent": -lr * g,
                        "the step of a momentum, not divided by √s": -lr * m_hat,
                        "the step of m and s that forget the gradients before (a new array, where it should be "
                        "written in place?)": -lr * m_new / np.sqrt(s_new),
                        "the step with t counted from 2": -lr * m / later[0] / np.sqrt(s / later[1]),
                        "the step with β₁ and β₂ exchanged": -_exchanged(grads, lr, beta1, beta2)}}


def _exchanged(grads, lr, beta1, beta2):
    t = len(grads)
    m = sum((1.0 - beta2) * beta2 ** (t - 1 - i) * g for i, g in enumerate(grads)) / (1.0 - beta2**t)
    s = sum((1.0 - beta1) * beta1 ** (t - 1 - i) * g**2 for i, g in enumerate(grads)) / (1.0 - beta1**t)
    return lr * m / np.sqrt(s)
