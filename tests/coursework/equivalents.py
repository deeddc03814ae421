"""Right answers of assignments 1 and 2 that are written differently: each must get full marks.

(assignment, what is different, {"file:function": its text})
"""

import ast
import textwrap

from minivae.coursework.cut import find

DIFFERENT: list[tuple[str, str, dict[str, str]]] = []


def different(assignment: str, says: str, **functions: str) -> None:
    """`functions`: a key of PLACES, and the new text of that function."""
    DIFFERENT.append((assignment, says, {PLACES[name]: text for name, text in functions.items()}))


def with_function(name, text):
    """The change of a source whose function of that qualified name is replaced."""
    def change(source):
        lines, node = source.splitlines(keepends=True), find(ast.parse(source), name)
        new = textwrap.indent(text.strip("\n") + "\n", " " * node.col_offset)
        return "".join([*lines[:node.lineno - 1], new, *lines[node.end_lineno:]])

    return change


PLACES = {
    "central_difference": "chapters/ch01_gradient.py:central_difference",
    "linear": "minivae/ops/dense.py:linear.pullback", "layer": "minivae/nn/layers.py:Linear.__call__.pullback",
    "relu": "minivae/ops/dense.py:relu.pullback", "tanh": "minivae/ops/dense.py:tanh.pullback",
    "sigmoid": "minivae/ops/dense.py:sigmoid.pullback", "softplus": "minivae/ops/dense.py:softplus.pullback",
    "sequential": "minivae/nn/layers.py:Sequential.__call__.pullback", "logsumexp": "minivae/ops/softmax.py:logsumexp",
    "log_softmax": "minivae/ops/softmax.py:log_softmax.pullback",
    "categorical": "minivae/distributions/nll.py:categorical_nll.pullback",
    "bernoulli_pullback": "minivae/distributions/nll.py:bernoulli_nll.pullback",
    "bernoulli": "minivae/distributions/nll.py:bernoulli_nll",
    "fixed": "minivae/distributions/nll.py:gaussian_nll_fixed.pullback",
    "gaussian": "minivae/distributions/nll.py:gaussian_nll.pullback",
    "kl": "minivae/distributions/gaussian.py:gaussian_kl",
    "between": "minivae/distributions/gaussian.py:gaussian_kl_between.pullback",
    "reparameterize": "minivae/distributions/gaussian.py:reparameterize",
    "encoder": "minivae/vae.py:Encoder.__call__.pullback",
    "terms": "minivae/vae.py:VAE._terms.pullback", "objective": "minivae/parts/objectives.py:Objective.__call__",
    "adam": "minivae/nn/optimizers.py:Adam.update",
}

# ── assignment 1 ──────────────────────────────────────────────────────────────────────────────

different("a1", "w is moved in place and put back", central_difference="""
def central_difference(f, w, i, h):
    old = w[i]
    w[i] = old + h
    above = f(w)
    w[i] = old - h
    below = f(w)
    w[i] = old
    return 0.5 * (above - below) / h
""")
different("a1", "a unit vector, in a list", central_difference="""
def central_difference(f, w, i, h):
    e = np.eye(len(w))[i]
    values = [sign * f(w + sign * h * e) for sign in (1, -1)]
    return np.float32(sum(values) / (h + h))
""")
different("a1", "einsum, and no keyword looked at", linear="""
def pullback(dy, **keywords):
    return (np.einsum("bo,io->bi", dy, W), np.einsum("bi,bo->io", x, dy), np.einsum("bo->o", dy))
""", layer="""
def pullback(dy, need_dx=True, need_dp=True):
    dx, dW, db = pull(dy)
    self.W.grad += dW
    self.b.grad += db
    self.last = dx
    return dx
""")
different("a1", "a loop over rows, in float32, from the last row to the first", linear="""
def pullback(dy, need_dx=True, need_dp=True, out=None):
    dx, dW, db = np.empty(x.shape), np.zeros(W.shape, np.float32), np.zeros(b.shape, np.float32)
    for i in reversed(range(len(x))):
        dx[i] = W @ dy[i]
        dW += np.outer(x[i], dy[i]).astype(np.float32)
        db += dy[i].astype(np.float32)
    return dx, dW, db
""", layer="""
def pullback(dy, need_dx=True, need_dp=True):
    dx, dW, db = pull(dy)
    if need_dp:
        self.W.grad[...] = self.W.grad + dW
        self.b.grad[...] = self.b.grad + db
    return dx if need_dx else None
""")
different("a1", "activations by other formulas", relu="""
def pullback(dy):
    return np.where(x > 0, dy, 0.0)
""", tanh="""
def pullback(dy):
    return dy / np.cosh(x) ** 2
""", sigmoid="""
def pullback(dy):
    return dy * y / (1.0 + np.exp(x))
""", softplus="""
def pullback(dy):
    return np.exp(x - np.logaddexp(0.0, x)) * dy
""")
different("a1", "activations in float32, in place", relu="""
def pullback(dy):
    dx = dy.astype(np.float32)
    dx[x <= 0] = 0
    return dx
""", tanh="""
def pullback(dy):
    t = y.astype(np.float32)
    return (1 - t) * (1 + t) * dy.astype(np.float32)
""", sigmoid="""
def pullback(dy):
    z = np.exp(-np.abs(x)).astype(np.float32)
    dx = dy.astype(np.float32)
    dx *= z
    dx /= np.square(1 + z)
    return dx
""", softplus="""
def pullback(dy):
    return (dy.astype(np.float32) * np.where(x > 0, 1 / (1 + e), e / (1 + e)).astype(np.float32))
""")
different("a1", "the chain by recursion", sequential="""
def pullback(dy, need_dx=True, need_dp=True):
    def down(i, dy):
        return dy if i < 0 else down(i - 1, pulls[i](dy))
    return down(len(pulls) - 1, dy)
""")
different("a1", "logsumexp pair by pair, its pullback from the value", logsumexp="""
def logsumexp(x):
    y = np.logaddexp.reduce(x, axis=-1)
    def pullback(dy):
        return np.exp(x - np.expand_dims(y, -1)) * np.expand_dims(dy, -1)
    return y, pullback
""", log_softmax="""
def pullback(dy):
    p = np.exp(y)
    jacobian = np.eye(y.shape[-1]) - p[..., None, :]              # ∂y_k/∂x_j
    return np.einsum("...k,...kj->...j", dy, jacobian)
""", categorical="""
def pullback(dnll):
    da = np.exp(logits - np.log(total)[:, None] - top)
    da[np.arange(len(labels)), labels] -= 1.0
    da *= dnll.reshape(-1, 1)
    return da
""", bernoulli_pullback="""
def pullback(dnll):
    return np.stack([d * (0.5 * (1 + np.tanh(0.5 * a)) - one) for d, a, one in zip(dnll, logits, x)])
""")
different("a1", "classification in float32, the largest by sorting", logsumexp="""
def logsumexp(x):
    m = np.sort(x, axis=-1)[..., -1:]
    e = np.exp(x - m, dtype=np.float32)
    s = e[..., ::-1].sum(axis=-1)
    return np.log(s) + m[..., 0].astype(np.float32), lambda dy: (np.float32(dy) / s)[..., None] * e
""", log_softmax="""
def pullback(dy):
    total = sum(dy[..., k] for k in range(dy.shape[-1]))
    return (dy - np.exp(y) * total[..., None]).astype(np.float32)
""", categorical="""
def pullback(dnll):
    chosen = labels[:, None] == np.arange(logits.shape[1])
    return ((e / total[:, None] - chosen) * dnll[:, None]).astype(np.float32)
""", bernoulli_pullback="""
def pullback(dnll):
    with np.errstate(over="ignore"):
        p = 1.0 / (1.0 + np.exp(-logits))
    return ((p - x) * dnll[:, None]).astype(np.float32)
""")

# ── assignment 2 ──────────────────────────────────────────────────────────────────────────────

different("a2", "the library's softplus and its pullback", bernoulli="""
def bernoulli_nll(logits, *, x):
    value, pull = softplus(logits)
    def pullback(dnll):
        dnll = np.broadcast_to(dnll[:, None], logits.shape)
        return pull(dnll) - x * dnll
    return (value - x * logits).sum(axis=-1), pullback
""", fixed="""
def pullback(dnll):
    return np.einsum("b,bx->bx", dnll, mean - x) / std ** 2
""")
different("a2", "logaddexp, and the surprises of ink and paper apart", bernoulli="""
def bernoulli_nll(logits, *, x):
    nll = (x * np.logaddexp(0, -logits) + (1 - x) * np.logaddexp(0, logits)).sum(axis=1)
    def pullback(dnll):
        p = np.exp(-np.logaddexp(0, -logits))
        return (p * (1 - x) - (1 - p) * x) * dnll[:, None]
    return nll, pullback
""", fixed="""
def pullback(dnll):
    return np.array([d * (m - image) / std / std for d, m, image in zip(dnll, mean, x)])
""")
different("a2", "a loop over rows in float32, in place", bernoulli="""
def bernoulli_nll(logits, *, x):
    a = logits.astype(np.float32)
    nll = np.zeros(len(a), np.float32)
    for b in range(len(a)):
        for i in reversed(range(a.shape[1])):
            nll[b] += max(a[b, i], 0) - a[b, i] * x[b, i] + np.log1p(np.exp(-abs(a[b, i])))
    def pullback(dnll):
        da = np.tanh(0.5 * a)
        da += 1
        da *= 0.5
        da -= x.astype(np.float32)
        da *= dnll.astype(np.float32)[:, None]
        return da
    return nll, pullback
""", fixed="""
def pullback(dnll):
    dmean = (mean - x).astype(np.float32)
    dmean *= np.float32(std) ** -2
    return (dmean.T * dnll.astype(np.float32)).T
""")
different("a2", "densities by σ instead of log σ²", gaussian="""
def pullback(dnll):
    std = np.exp(0.5 * logvar)
    u = (x - mean) / std
    dstd = (1 - u ** 2) / std * dnll[:, None]                     # and σ = exp(½ logvar)
    return -u / std * dnll[:, None], dstd * 0.5 * std
""", kl="""
def gaussian_kl(mean, logvar):
    std = np.sqrt(np.exp(logvar))
    def pullback(dkl):
        dstd = (std - 1 / std) * dkl[:, None]
        return np.einsum("bz,b->bz", mean, dkl), dstd * std / 2
    return (-np.log(std) + (std ** 2 + mean ** 2) / 2 - 0.5).sum(axis=1), pullback
""", between="""
def pullback(dkl):
    d = dkl[:, None]
    std_q, std_p = np.exp(logvar_q / 2), np.exp(logvar_p / 2)
    dstd_q = (std_q / std_p ** 2 - 1 / std_q) * d
    dstd_p = (1 / std_p - (std_q ** 2 + (mean_q - mean_p) ** 2) / std_p ** 3) * d
    u = (mean_q - mean_p) / std_p
    return u / std_p * d, dstd_q * std_q / 2, (mean_p - mean_q) / std_p ** 2 * d, dstd_p * std_p / 2
""", reparameterize="""
def reparameterize(mean, logvar, *, eps):
    std = np.sqrt(np.exp(logvar))
    def pullback(dz):
        dstd = dz * eps
        return dz.copy(), dstd * std / 2
    return std * eps + mean, pullback
""")
different("a2", "densities in float32, latent by latent, the last first", gaussian="""
def pullback(dnll):
    d = dnll.astype(np.float32)[:, None]
    square = ((x - mean) ** 2 / np.exp(logvar)).astype(np.float32)
    return ((mean - x) / np.exp(logvar)).astype(np.float32) * d, (0.5 - 0.5 * square) * d
""", kl="""
def gaussian_kl(mean, logvar):
    m, lv = mean.astype(np.float32), logvar.astype(np.float32)
    kl = np.zeros(len(m), np.float32)
    for j in reversed(range(m.shape[1])):
        kl += 0.5 * (np.expm1(lv[:, j]) - lv[:, j] + m[:, j] ** 2)
    def pullback(dkl):
        dmean, dlogvar = m.copy(), np.expm1(lv)
        dmean *= dkl[:, None]
        dlogvar *= 0.5 * dkl[:, None]
        return dmean, dlogvar
    return kl, pullback
""", between="""
def pullback(dkl):
    d = np.float32(dkl)[:, None]
    var_q, var_p, offset = np.float32(np.exp(logvar_q)), np.float32(np.exp(logvar_p)), np.float32(mean_q - mean_p)
    return [offset / var_p * d, (var_q / var_p - 1) / 2 * d, -(offset / var_p * d),
            (var_p - offset ** 2 - var_q) / var_p / 2 * d]
""", reparameterize="""
def reparameterize(mean, logvar, *, eps):
    z = np.exp(logvar / 2, dtype=np.float32)
    z *= eps
    z += mean
    def pullback(dz):
        return dz.astype(np.float32), ((z - mean) * dz / 2).astype(np.float32)
    return z, pullback
""")
different("a2", "each use of a value pulled by itself", encoder="""
def pullback(dmean, dlogvar, need_dx=True, need_dp=True):
    dx1 = pull_trunk(pull_logvar(dlogvar))
    dx2 = pull_trunk(pull_mean(dmean))
    return dx1 + dx2
""", terms="""
def pullback(dnll, dkl):
    pull_q(*pull_kl(dkl))
    each = np.concatenate([dnll] * L) / L
    pull_q(*pull_draws(pull_decoder(pull_nll(each))))
""", objective="""
def __call__(self, model, *, x, eps, weight, step):
    (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
    each = weight * np.ones(len(nll))
    pullback(each, np.zeros(len(kl)))
    pullback(np.zeros(len(nll)), each)
    return -weight * nll.sum() - weight * kl.sum(), weight * nll.sum(), weight * kl.sum()
""")
different("a2", "sums in place, and attributes that nobody asked for", encoder="""
def pullback(dmean, dlogvar, need_dx=True, need_dp=True):
    dh = pull_logvar(dlogvar)
    dh += pull_mean(dmean)
    self.dh, self.calls = dh, getattr(self, "calls", 0) + 1
    return pull_trunk(dh)
""", terms="""
def pullback(dnll, dkl):
    dz = pull_decoder(pull_nll(np.tile(dnll, L) * (1.0 / L)))
    dmean, dlogvar = pull_kl(dkl)
    for total, part in zip((dmean, dlogvar), pull_draws(dz)):
        total += part
    self.dmean = dmean
    return pull_q(dmean, dlogvar)
""", objective="""
def __call__(self, model, *, x, eps, weight, step):
    (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
    self.seen = getattr(self, "seen", 0) + len(x)
    pullback(nll * 0 + weight, kl * 0 + weight)
    elbo = [-(a + b) for a, b in zip(nll, kl)]
    return [weight * sum(elbo), weight * sum(nll), weight * sum(kl)]
""")
different("a2", "Adam as in the paper", adam="""
def update(self, value, grad, m, s, scratch, *, lr):
    m[...] = self.beta1 * m + (1 - self.beta1) * grad
    s[...] = self.beta2 * s + (1 - self.beta2) * grad ** 2
    m_hat = m / (1 - self.beta1 ** self.steps)
    s_hat = s / (1 - self.beta2 ** self.steps)
    value -= lr * m_hat / (np.sqrt(s_hat) + self.eps)
""")
different("a2", "Adam number by number, in float32, all corrections in the rate", adam="""
def update(self, value, grad, m, s, scratch, *, lr):
    rate = lr * (1 - self.beta2 ** self.steps) ** 0.5 / (1 - self.beta1 ** self.steps)
    for i in range(len(value)):
        m[i] += (1 - self.beta1) * (grad[i] - m[i])
        s[i] -= (1 - self.beta2) * (s[i] - grad[i] * grad[i])
        value[i] -= np.float32(rate * m[i] / (np.sqrt(s[i]) + self.eps))
""")
