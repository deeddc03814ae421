"""Assignments handed in with gradients that were measured, not derived: what can be measured must earn nothing.

submission(assignment, kind) is {"file:function": its text}: every pullback of an op of that assignment.  The rest,
values and the structure of models, stays right: those points are earned.
"""

from __future__ import annotations

import itertools
import textwrap

NLL, GAUSSIAN = "minivae/distributions/nll.py:", "minivae/distributions/gaussian.py:"
DENSE, SOFTMAX = "minivae/ops/dense.py:", "minivae/ops/softmax.py:"
FULL = "minivae/distributions/full_gaussian.py:"

# place -> (the inputs that are differentiated, a call of the op, its formula for complex numbers, whole function?)
A1 = {
    f"{DENSE}linear.pullback": ("x, W, b", "linear({})[0]", "(lambda x, W, b: x @ W + b)({})"),
    f"{DENSE}relu.pullback": ("x", "relu({})[0]", "(lambda x: np.where(x.real > 0, x, 0))({})"),
    f"{DENSE}tanh.pullback": ("x", "tanh({})[0]", "np.tanh({})"),
    f"{DENSE}sigmoid.pullback": ("x", "sigmoid({})[0]", "(lambda x: 1 / (1 + np.exp(-x)))({})"),
    f"{DENSE}softplus.pullback": ("x", "softplus({})[0]", "(lambda x: np.log(1 + np.exp(x)))({})"),
    f"{SOFTMAX}logsumexp": ("x", "logsumexp({})[0]", "(lambda x: np.log(np.exp(x).sum(axis=-1)))({})"),
    f"{SOFTMAX}log_softmax.pullback": (
        "x", "log_softmax({})[0]", "(lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))({})"),
    f"{NLL}categorical_nll.pullback": (
        "logits", "categorical_nll({}, labels=labels)[0]",
        "(lambda a: np.log(np.exp(a).sum(axis=1)) - a[np.arange(len(a)), labels])({})"),
    f"{NLL}bernoulli_nll.pullback": (
        "logits", "bernoulli_nll({}, x=x)[0]", "(lambda a: (np.log(1 + np.exp(a)) - x * a).sum(axis=1))({})"),
}
NORMAL = "(lambda m, s: 0.5 * ((m - x) ** 2 * np.exp(-s) + s + LOG_2PI).sum(axis=1))({})"
A2 = {
    f"{NLL}bernoulli_nll": ("logits", "bernoulli_nll({}, x=x)[0]",
                            "(lambda a: (np.log(1 + np.exp(a)) - x * a).sum(axis=1))({})"),
    f"{NLL}gaussian_nll_fixed.pullback": ("mean", "gaussian_nll_fixed({}, x=x, std=std)[0]",
                                          "(lambda m: 0.5 * ((m - x) ** 2).sum(axis=1) / std ** 2)({})"),
    f"{NLL}gaussian_nll.pullback": ("mean, logvar", "gaussian_nll({}, x=x)[0]", NORMAL),
    f"{GAUSSIAN}gaussian_kl": ("mean, logvar", "gaussian_kl({})[0]",
                               "(lambda m, s: 0.5 * (m ** 2 + np.exp(s) - s - 1.0).sum(axis=1))({})"),
    f"{GAUSSIAN}gaussian_kl_between.pullback": (
        "mean_q, logvar_q, mean_p, logvar_p", "gaussian_kl_between({})[0]",
        "(lambda m, s, n, t: 0.5 * (((m - n) ** 2 + np.exp(s)) * np.exp(-t) + t - s - 1).sum(axis=1))({})"),
    f"{GAUSSIAN}reparameterize": ("mean, logvar", "reparameterize({}, eps=eps)[0]",
                                  "(lambda m, s: m + np.exp(0.5 * s) * eps)({})"),
}
DENSITY = ("(lambda z, m, L: -0.5 * ((np.linalg.solve(L, (z - m)[:, :, None]) ** 2).sum(axis=(1, 2)) "
           "+ z.shape[1] * LOG_2PI) - np.log(np.einsum('bii->bi', L)).sum(axis=1))({})")
A3 = {
    f"{NLL}gaussian_nll.pullback": ("mean, logvar", "gaussian_nll({}, x=x)[0]", NORMAL),
    f"{NLL}gaussian_nll_shared.pullback": ("mean, logvar", "gaussian_nll_shared({}, x=x)[0]", NORMAL),
    f"{GAUSSIAN}gaussian_log_prob.pullback": (
        "z, mean, logvar", "gaussian_log_prob({})[0]",
        "(lambda z, m, s: -0.5 * ((z - m) ** 2 * np.exp(-s) + s + LOG_2PI).sum(axis=1))({})"),
    f"{FULL}reparameterize_full": ("mean, L", "reparameterize_full({}, eps=eps)[0]",
                                   "(lambda m, L: m + (L @ eps[:, :, None])[:, :, 0])({})"),
    f"{FULL}logdet.pullback": ("L", "logdet({})[0]", "(lambda L: np.log(np.einsum('bii->bi', L)).sum(axis=1))({})"),
    f"{FULL}full_gaussian_log_prob.pullback": ("z, mean, L", "full_gaussian_log_prob({})[0]", DENSITY),
    f"{FULL}full_gaussian_kl": (
        "mean, L", "full_gaussian_kl({})[0]",
        "(lambda m, L: 0.5 * ((m * m).sum(axis=1) + (L * L).sum(axis=(1, 2)) - m.shape[1]) "
        "- np.log(np.einsum('bii->bi', L)).sum(axis=1))({})"),
    f"{SOFTMAX}log_mean_exp": ("x", "log_mean_exp({})[0]", "(lambda x: np.log(np.exp(x).mean(axis=-1)))({})"),
}
OPS = {"a1": A1, "a2": A2, "a3": A3}

VALUES = {                             # of the functions that are written whole: their right value
    "logsumexp": ("x", "m = x.max(axis=-1, keepdims=True)\nvalue = np.log(np.exp(x - m).sum(axis=-1)) + m[..., 0]"),
    "log_mean_exp": ("x", "m = x.max(axis=-1, keepdims=True)\nvalue = np.log(np.exp(x - m).mean(axis=-1)) + m[..., 0]"),
    "bernoulli_nll": ("logits, *, x", "value = (np.logaddexp(0.0, logits) - x * logits).sum(axis=1)"),
    "gaussian_kl": ("mean, logvar", "value = 0.5 * (mean ** 2 + np.exp(logvar) - logvar - 1.0).sum(axis=1)"),
    "reparameterize": ("mean, logvar, *, eps", "value = mean + np.exp(0.5 * logvar) * eps"),
    "reparameterize_full": ("mean, L, *, eps", "value = mean + (L @ eps[:, :, None])[:, :, 0]"),
    "full_gaussian_kl": ("mean, L", "value = (0.5 * ((mean * mean).sum(axis=1) + (L * L).sum(axis=(1, 2)) "
                                    "- mean.shape[1])\n         - np.log(np.einsum('bii->bi', L)).sum(axis=1))"),
}

# how the slope of f at x is measured, in the direction of every entry, summed against dy
ENTRY_BY_ENTRY = """
def slope(f, x, dy):
    x, dx, e = np.array(x), np.zeros(np.shape(x)), np.zeros(np.shape(x))
    for i in np.ndindex(x.shape):
        e[i] = 1.0
        dx[i] = (QUOTIENT * dy).sum()
        e[i] = 0.0
    return dx
"""
IN_PLACE = """
def slope(f, x, dy):
    dx = np.zeros(np.shape(x))
    for i in np.ndindex(np.shape(x)):
        old = x[i]
        x[i] = old + 1e-5
        above = f(x)
        x[i] = old - 1e-5
        below = f(x)
        x[i] = old
        dx[i] = ((above - below) * dy).sum() * 5e4
    return dx
"""
ONE_SIDED = """
def slope(f, x, dy):
    there, dx = f(x), np.zeros(np.shape(x))
    for i in np.ndindex(np.shape(x)):
        moved = np.array(x)
        moved[i] += 1e-8
        gain = f(moved) - there
        dx[i] = np.sum(gain * dy) / 1e-8
    return dx
"""
FIVE = "(8.0 * (f(x + 1e-3 * e) - f(x - 1e-3 * e)) - (f(x + 2e-3 * e) - f(x - 2e-3 * e))) / 12e-3"
CENTRAL = ENTRY_BY_ENTRY.replace("QUOTIENT", "(f(x + 6e-6 * e) - f(x - 6e-6 * e)) / 12e-6")
KINDS = {
    "central differences": (CENTRAL, 1),
    "one-sided differences": (ONE_SIDED, 1),
    "five points": (ENTRY_BY_ENTRY.replace("QUOTIENT", FIVE), 1),
    "differences with a large step": (ENTRY_BY_ENTRY.replace("QUOTIENT", "(f(x + e) - f(x - e)) / 2.0"), 1),
    "central differences, in place": (IN_PLACE, 1),
    "central differences, rounded to float32": (CENTRAL.replace("return dx", "return dx.astype(np.float32)"), 1),
    "central differences of a formula": (CENTRAL, 2),
    "a complex step": (ENTRY_BY_ENTRY.replace("QUOTIENT", "f(x + 1e-30j * e).imag / 1e-30"), 2),
}
WITHOUT_A_CALL = {                     # nothing is called beside the point but NumPy's own functions
    f"{DENSE}tanh.pullback": "def pullback(dy):\n    return (np.tanh(x + 1e-5) - np.tanh(x - 1e-5)) / 2e-5 * dy\n",
    f"{DENSE}softplus.pullback": """
def pullback(dy):
    h = 10**-5
    above, below = x + h, x - h
    rise = np.logaddexp(0.0, above)
    rise -= np.logaddexp(0.0, below)
    rise /= 2 * h
    return rise * dy
""",
    f"{NLL}gaussian_nll.pullback": """
def pullback(dnll):
    def surprise(m, s):
        return 0.5 * ((m - x) ** 2 * np.exp(-s) + s)
    h, d = 1e-5, dnll[:, None]
    dmean = (((mean + h - x) ** 2 - (mean - h - x) ** 2) * precision / (4 * h)).astype(np.float32)
    dlogvar = (offset ** 2 * (np.exp(-logvar - h) - np.exp(-logvar + h)) + 2 * h) / (4 * h)
    return dmean * d, dlogvar * d
""",
}


def submission(assignment: str, kind: str) -> dict[str, str]:
    """{"file:function": its text}"""
    return {place: pullback(place, *KINDS[kind]) for place in OPS[assignment]}


def pullback(place: str, slope: str, forward: int) -> str:
    """The text of the function at `place`, whose pullback measures slopes of the op (1) or of its formula (2)."""
    inputs = OPS_BY_PLACE[place][0].split(", ")
    calls = [OPS_BY_PLACE[place][forward].format(", ".join("v" if name == of else name for name in inputs))
             for of in inputs]
    parts = ", ".join(f"slope(lambda v: {call}, {of}, dy)" for of, call in zip(inputs, calls))
    text = f"def pullback(dy, **_):\n{textwrap.indent(slope.strip(), '    ')}\n    return {parts}\n"
    name = place.rpartition(":")[2]
    if name.endswith(".pullback"):
        return text
    signature, value = VALUES[name]
    return (f"def {name}({signature}):\n{textwrap.indent(value, '    ')}\n{textwrap.indent(text, '    ')}"
            "    return value, pullback\n")


OPS_BY_PLACE = dict(itertools.chain(A1.items(), A2.items(), A3.items()))
