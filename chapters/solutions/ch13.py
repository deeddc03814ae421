"""Solutions of chapter 13 · Importance weighting and the IWAE.

    python -m chapters.solutions.ch13
"""

# %% [markdown]
# # Solutions of chapter 13

# %%
import numpy as np

from chapters.ch13_importance_weighting import iwae_loss, log_mean_exp
from minivae.chapter import options, parser
from minivae.evaluation import log_likelihoods
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.parts import IWAE, DReG
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch13", __doc__, epochs=20), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with `DReG()` instead of `IWAE()`, both from `minivae.parts`.  Does the quieter gradient
# > help here?  And with $K = 100$?
#
# A small network on 500 digits, so that $K = 100$ takes seconds.  Beside the bound we measure how quiet the encoder's gradient is: many
# gradients of one batch, at the end of training; the norm of their mean over the root of their summed variance.

# %%
digits = opt.digits()
train = digits.train[:100 if opt.quick else 500]
test = (rng.random(digits.test[:100].shape) < digits.test[:100]).astype(np.float32)


def trained(objective, K):
    vae = VAEConfig(784, (30 if opt.quick else 100,), 10, "tanh").build(seed=opt.seed, images=train, samples=K, objective=objective,
                                                                        optimizer=Adam(2e-3))
    fit(vae, train, epochs=opt.epochs, batch_size=50, binarize=True, seed=opt.seed, progress=False)
    return vae


def loudness(vae, objective, K, repeats=30):
    """|mean| ÷ noise of the encoder's gradient on one batch."""
    x, found = test[:20], []
    for _ in range(repeats):
        vae.arena.zero_grad()
        objective(vae, x=x, eps=rng.standard_normal((K, len(x), vae.latents), dtype=np.float32), weight=1 / len(x), step=0)
        found.append(np.concatenate([p.grad.ravel() for p in vae.encoder.parameters().values()]))
    g = np.array(found)
    noise = g.var(axis=0, ddof=1).sum()
    return np.sqrt(max(np.square(g.mean(axis=0)).sum() - noise / repeats, 0) / noise)


heard = {}
for K in (5, 10) if opt.quick else (5, 100):
    bounds = {}
    vaes = {name: trained(objective, K) for name, objective in (("IWAE", IWAE()), ("DReG", DReG()))}
    for name, vae in vaes.items():
        bounds[name] = log_likelihoods(vae, test, samples=20 if opt.quick else 500, seed=opt.seed)
    for name, objective in (("IWAE", IWAE()), ("DReG", DReG())):   # both gradients of the same model
        heard[name, K] = loudness(vaes["IWAE"], objective, K)
    gain = bounds["DReG"] - bounds["IWAE"]
    print(f"K = {K:3}: bound {bounds['IWAE'].mean():.2f} with IWAE, {bounds['DReG'].mean():.2f} with DReG: {gain.mean():+.2f} ± "
          f"{gain.std(ddof=1) / np.sqrt(len(gain)):.2f} nats;  signal to noise of the encoder's gradient {heard['IWAE', K]:.3f} and {heard['DReG', K]:.3f}")
assert opt.quick or heard["DReG", 100] > heard["IWAE", 100]

# %% [markdown]
# The gradient is quieter, and the more so the larger $K$.  What that is worth in nats after a few epochs is another matter (the ± is over
# images; another seed moves the difference too): Adam averages over many batches anyway, and early in training it is mostly the decoder that
# limits the bound, whose gradient is the same in both.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Give the weights the wrong sign, $w_k \propto e^{\,\mathrm{nll} + \mathrm{kl}}$ (several public
# > repositories did).  The gradient check passes, if loss and pullback agree.  Which test of a *value* would have seen it?
#
# With $-\log w = \mathrm{nll} + \mathrm{kl}$ the wrong loss is $\log \frac1K \sum_k e^{\,\mathrm{nll}_k + \mathrm{kl}_k}$, its bound
# $-\log \frac1K \sum_k \frac{1}{w_k}$.  By Jensen's inequality on the same draws
#
# $$ -\log \tfrac1K \sum_k \tfrac{1}{w_k} \;\le\; \tfrac1K \sum_k \log w_k \;\le\; \log \tfrac1K \sum_k w_k . $$
#
# So it lies *below* the ELBO, and falls as $K$ grows, and the draw that explains the image worst teaches most.  Three tests see it: on the same
# draws the bound must not be below the mean of $\log w$; with $K$ it must rise; and in a model whose $\log p(x)$ is known it must close in
# on it.

# %%
def wrong_loss(vae, *, x, eps):
    (nll, kl), pull_terms = vae.monte_carlo_terms(x=x, eps=eps)
    loss, pull_loss = log_mean_exp((nll + kl).reshape(len(eps), len(x)).T)

    def pullback(dloss):
        d = pull_loss(dloss).T.reshape(-1)
        pull_terms(d, d)

    return loss, pullback


tiny = VAEConfig(6, (5,), 2, "tanh").build(dtype=np.float64)
x, eps = 1.0 * (rng.random((4, 6)) < 0.5), rng.standard_normal((5, 4, 2))
print(gradcheck(lambda **c: wrong_loss(tiny, **c), parameters=tiny.arena.parameters, x=x, eps=eps, name="the wrong sign"))
elbo = np.mean([-sum(t) for t in np.reshape(tiny.monte_carlo_terms(x=x, eps=eps)[0], (2, 5, 4)).swapaxes(0, 1)], axis=0)
right, wrong = -iwae_loss(tiny, x=x, eps=eps)[0], -wrong_loss(tiny, x=x, eps=eps)[0]
assert np.all(wrong < elbo)
assert np.all(elbo < right)

m, s, seen = 0.7, 0.8, 2.0                            # the chapter's toy: z ~ N(0, 1), x|z ~ N(z, 1), q = N(0.7, 0.8²)
truth = -0.25 * seen**2 - 0.5 * np.log(4 * np.pi)
print(f"\nlog p(x) = {truth:.4f}")
rows = []
for K in (1, 10, 100):
    z = m + s * (noise := rng.standard_normal((4000, K)))
    log_w = -0.5 * (z**2 + (seen - z) ** 2 - noise**2) + np.log(s) - 0.5 * np.log(2 * np.pi)
    rows.append((log_mean_exp(log_w)[0].mean(), -log_mean_exp(-log_w)[0].mean()))
    print(f"K = {K:3}: the bound {rows[-1][0]:.4f}, with the wrong sign {rows[-1][1]:.4f}")
assert rows[0][0] == rows[0][1] < rows[1][0] < rows[2][0] < truth + 0.01
assert rows[2][1] < rows[1][1] < rows[0][1]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Draw $K$ points from $q$ and keep one of them with probability $\tilde w_k$: that is a draw of a better
# > posterior (Cremer, Morris and Duvenaud 2017).  Show that $\mathcal L_K$ is the ordinary ELBO if all $K$ points and the
# > choice are latents, and at most the ELBO of the one that is kept.
#
# Let the latents be $z_1, \dots, z_K$ and $k$, and
#
# $$ Q(z_{1:K}, k) = \prod_i q(z_i) \cdot \tilde w_k, \qquad P(x, z_{1:K}, k) = \tfrac1K\, p(x, z_k) \prod_{i \ne k} q(z_i) . $$
#
# $P$ is a model of $x$ with the right evidence: summed over $k$, and integrated over all $z_i$, it is $p(x)$.  The ratio, with
# $w_k = p(x, z_k)/q(z_k)$ and $\tilde w_k = w_k/\sum_i w_i$, is
#
# $$ \frac{P}{Q} = \frac{\tfrac1K\, p(x, z_k)}{q(z_k)\, \tilde w_k} = \frac{w_k}{K\, \tilde w_k} = \frac1K \sum_i w_i , $$
#
# whatever $k$ is.  So the ELBO, $\mathbb E_Q[\log P - \log Q]$, is $\mathbb E_{z_{1:K}}\big[\log \tfrac1K \sum_i w_i\big] = \mathcal L_K$.
#
# Now keep $z = z_k$ and forget the rest $r$.  Its density under $Q$ is $q_K(z)$, under $P$ given $x$ it is $p(z \mid x)$, and by the chain rule of the KL
#
# $$ \log p(x) - \mathcal L_K = \mathrm{KL}(Q \,\Vert\, P) = \mathrm{KL}\big(q_K(z) \,\Vert\, p(z \mid x)\big) + \mathbb E_{q_K} \mathrm{KL}\big(Q(r \mid z) \,\Vert\, P(r \mid z)\big) . $$
#
# The first term is what the ELBO with $q_K$ lacks.  The second is not negative: $\mathcal L_K \le \mathrm{ELBO}(q_K)$, with equality for $K = 1$.

# %%
K, grid = 5, np.linspace(-4, 5, 451)
dz = grid[1] - grid[0]


def log_weight(z):
    return -0.5 * (z**2 + (seen - z) ** 2 - ((z - m) / s) ** 2) + np.log(s) - 0.5 * np.log(2 * np.pi)


others = np.exp(log_weight(m + s * rng.standard_normal((20_000, K - 1)))).sum(axis=1)
here = np.exp(log_weight(grid))[:, None]
q = np.exp(-0.5 * ((grid - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
q_K = K * q * (here / (here + others)).mean(axis=1)                  # one of K, each as likely to be the one that is kept
total = q_K.sum() * dz                                # 1, but for the noise of the averages
q_K /= total
log_joint = -0.5 * (grid**2 + (seen - grid) ** 2) - np.log(2 * np.pi)
elbo_of = {name: float((density * (log_joint - np.log(density))).sum() * dz) for name, density in (("q", q), ("q_K", q_K))}
bounds = log_mean_exp(log_weight(m + s * rng.standard_normal((200_000, K))))[0]
print(f"∫ q_K = {total:.4f};  ELBO(q) {elbo_of['q']:.4f}  <  L_{K} {bounds.mean():.4f} ± {bounds.std() / np.sqrt(len(bounds)):.4f}  <  "
      f"ELBO(q_K) {elbo_of['q_K']:.4f}  <  log p(x) {truth:.4f}")
assert abs(total - 1) < 0.01
assert elbo_of["q"] < bounds.mean() < elbo_of["q_K"] < truth
