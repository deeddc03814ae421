"""Solutions of chapter 23 · The Gaussian mixture VAE.

    python -m chapters.solutions.ch23
"""

# %% [markdown]
# # Solutions of chapter 23

# %%
import numpy as np

from chapters.ch23_gmvae import conditional_prior, draw_inputs, spiral, train_on_spiral
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.distributions import components_kl, components_log_prob, mixture_kls
from minivae.evaluation import evaluate_mixture
from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import Adam
from minivae.training import fit, start_at_clusters
from minivae.variants import GMVAEConfig, MixtureBound, gmvae

opt, _ = options(parser("solutions/ch23", __doc__, epochs=20), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with `--components 20` (`minivae train --model gmvae`), and look at a row of every cluster.  Which
# > digits get two?  What becomes of the accuracy by the best *one-to-one* assignment, what of the mutual information, and why?
#
# A smaller network than the chapter's, 2,000 digits, one seed.  For every cluster we print how often each digit is in it.

# %%
digits = opt.digits()
part, test = digits.part("train")[:200 if opt.quick else 2000], digits.part("test")[:100 if opt.quick else 1000]
found = {}
for K in (10, 20):
    steps = -(-len(part) // 100)
    model = GMVAEConfig(784, (20,) if opt.quick else (100,), 8, components=K, w_latents=5).build(
        seed=opt.seed, images=part.x, optimizer=Adam(2e-3), start=start_at_clusters(part.x, seed=opt.seed),
        objective=MixtureBound(0.0, max(1, opt.epochs // 2) * steps))
    fit(model, part, epochs=max(2, opt.epochs), batch_size=100, binarize=True, seed=opt.seed, progress=False)
    found[K] = result = evaluate_mixture(model, test)
    table = np.array([[np.sum((result.clusters == c) & (test.y == k)) for k in range(10)] for c in range(K)])
    owner = np.bincount(table[table.sum(axis=1) > 0].argmax(axis=1), minlength=10)
    purity = table.max(axis=1).sum() / len(test)
    print(f"K = {K}: one-to-one accuracy {result.accuracy:.1%}, mutual information {result.nmi:.3f}, purity {purity:.1%};  "
          f"clusters by their commonest digit: {', '.join(f'{k}: {n}' for k, n in enumerate(owner))}")
print(table)
assert opt.quick or owner.max() >= 2
assert found[20].accuracy <= (np.sort(table.max(axis=1))[::-1][:10].sum()) / len(test) + 1e-9

# %% [markdown]
# Digits that are written in several ways get two or three clusters.  A one-to-one assignment gives each digit one of them, and everything in the other ten counts as
# wrong: however pure the clusters are, ten of them are lost.  The mutual information asks only what the cluster tells about the digit, and
# splitting a cluster can never tell less.  (The score here is divided by the mean of both entropies, so that a finer partition pays for its own.)

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Treat $p(c \mid z, w)$ as a constant in the pullback: set `da` to zero.  `gradcheck` objects; do it in
# > `minivae.distributions.mixture_kls` and train nevertheless.  Who still hears the fourth term?  What holds the clusters apart?
#
# Nobody.  $\mathrm{KL}(p(c \mid z, w) \,\|\, 1/K)$ depends on nothing but the responsibilities; with these held constant its gradient is zero everywhere.  So nothing draws the
# components together any more, but nothing tells them to be responsible for other points, either.  What is left is $\sum_c r_c\, \partial \mathrm{KL}_c$: each component moves
# to the images that are its own already, as in k-means' second step.  The clusters stay apart if they started apart.

# %%
def deaf_mixture_kls(z, mean_q, logvar_q, mean, logvar):
    value, _ = mixture_kls(z, mean_q, logvar_q, mean, logvar)
    a, _ = components_log_prob(z, mean, logvar)
    r = np.exp(a - a.max(axis=1, keepdims=True))
    r /= r.sum(axis=1, keepdims=True)
    _, pull_kls = components_kl(mean_q, logvar_q, mean, logvar)

    def pullback(dexpected, dchoice):                 # dchoice is heard by nobody
        return np.zeros_like(z), *pull_kls(r * dexpected[:, None])

    return value, pullback


print(gradcheck(conditional_prior, *draw_inputs(rng), name="the conditional prior term"))
try:
    gradcheck(deaf_mixture_kls, *draw_inputs(rng))
    raise RuntimeError("it passed")
except GradientError as error:
    print(error)
heard = deaf_mixture_kls(*draw_inputs(rng))[1](np.zeros(5), np.ones(5))
assert not any(np.any(d) for d in heard)

x, arm = spiral(100 if opt.quick else 1000, np.random.default_rng(opt.seed))
for name, function in (("right", mixture_kls), ("deaf", deaf_mixture_kls)):
    gmvae.mixture_kls = function
    judged = evaluate_mixture(train_on_spiral(x, opt, seed=opt.seed), Batch(x=x, y=arm))
    gmvae.mixture_kls = mixture_kls
    print(f"the spiral, {name:5}: accuracy {judged.accuracy:.1%}, ELBO {judged.elbo}, kl_z {judged.kl_z.mean:.2f}, kl_c {judged.kl_c.mean:.2f} nats of log 5 = {np.log(5):.2f}")

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Let $\bar r = \mathbb E_{z}\, p(c \mid z, w)$, the responsibilities averaged over draws of $q(z \mid x)$, and use them
# > in place of $\tilde r$ (VaDE, Jiang et al. 2016, does).  Show that the bound lies between the other two: KL is convex in its
# > first argument.  And what is the best $q(c \mid x, w)$ of all that do not know $z$?  (A geometric mean.)
#
# Let $r(z) = p(c \mid z, w)$.  For *any* distribution $\rho$ over components that does not know $z$ the chapter's calculation gives
#
# $$ \mathbb E_z \sum_c \rho_c \big( \log p(z \mid w, c) + \log \tfrac1K - \log \rho_c \big) = \mathbb E_z \log p(z \mid w) - \mathbb E_z\, \mathrm{KL}(\rho \,\|\, r(z)) . $$
#
# * $c$ summed out, as if $\rho = r(z)$: nothing is lost.
# * $\rho = \bar r$: lost is $\mathbb E_z\, \mathrm{KL}(\bar r \,\|\, r(z)) \ge 0$.
# * $\rho = \tilde r = r(\tilde z)$, and averaged over $\tilde z$: lost is $\mathbb E_{\tilde z} \mathbb E_z\, \mathrm{KL}(r(\tilde z) \,\|\, r(z))$.  KL is convex in its first argument, so by Jensen's inequality
#   for every $z$ $\ \mathrm{KL}(\bar r \,\|\, r(z)) = \mathrm{KL}\big(\mathbb E_{\tilde z}\, r(\tilde z) \,\|\, r(z)\big) \le \mathbb E_{\tilde z}\, \mathrm{KL}(r(\tilde z) \,\|\, r(z))$: more is lost.
#
# **The best.**  $\mathbb E_z\, \mathrm{KL}(\rho \,\|\, r(z)) = \sum_c \rho_c \big( \log \rho_c - \mathbb E_z \log r_c(z) \big) = \mathrm{KL}(\rho \,\|\, g/G) - \log G$ with
# $g_c = \exp \mathbb E_z \log r_c(z)$ and $G = \sum_c g_c$.  So it is $\rho = g/G$, the geometric mean (as in exercise 3 of chapter 7), and $-\log G$ is lost.

# %%
K, n = 4, 2000
mean, logvar = 1.5 * rng.standard_normal((K, 2)), 0.3 * rng.standard_normal((K, 2))
z = np.array([0.3, -0.2]) + 0.8 * rng.standard_normal((n, 2))                        # draws of q(z|x)
a = -0.5 * ((z[:, None] - mean) ** 2 / np.exp(logvar) + logvar).sum(axis=2)
log_r = a - np.logaddexp.reduce(a, axis=1)[:, None]


def lost(rho):
    """E_z KL(ρ ‖ r(z)), over the same draws"""
    return float((rho * (np.log(rho) - log_r)).sum(axis=1).mean())


average, g = np.exp(log_r).mean(axis=0), np.exp(log_r.mean(axis=0))
losses = {"geometric mean": lost(g / g.sum()), "average": lost(average), "one draw": float(np.mean([lost(np.exp(row)) for row in log_r]))}
print("nats lost:", ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()), f";  −log G = {-np.log(g.sum()):.4f}")
assert 0 < losses["geometric mean"] < losses["average"] < losses["one draw"]
assert np.isclose(losses["geometric mean"], -np.log(g.sum()))
