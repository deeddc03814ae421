"""Solutions of chapter 15 · Deep latent Gaussian models.

    python -m chapters.solutions.ch15
"""

# %% [markdown]
# # Solutions of chapter 15

# %%
import numpy as np

from chapters.ch15_deep_latent import best_q, draw_rank_one
from minivae import plots
from minivae.backend import device
from minivae.chapter import options, parser
from minivae.distributions import full_gaussian_kl, reparameterize_full, triangle
from minivae.evaluation import Estimate, impute
from minivae.nn import Adam, Arena, Parameter, cosine
from minivae.ops import repeat
from minivae.training import fit
from minivae.variants import DeepLatentConfig, VAEConfig

opt, _ = options(parser("solutions/ch15", __doc__, epochs=20), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()
train = digits.train[:100 if opt.quick else 2000]
test = (rng.random((60, 784)) < plots.spread(digits.test, 60)).astype(np.float32)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Start `best_q`'s $u$ at 0.01 and at 1: how much of the gain depends on the start?  And what does a full
# > covariance (chapter 14) win on the same digits?
#
# A small VAE with ten latents, its decoder held still, and sixty digits that it has not seen.  A full covariance is climbed in the same way,
# with a triangle $L$ for every digit.

# %%
vae = VAEConfig(784, (30 if opt.quick else 100,), 10).build(seed=opt.seed, images=train, optimizer=Adam(2e-3))
fit(vae, train, epochs=opt.epochs, batch_size=64, binarize=True, seed=opt.seed, progress=False)
steps = 20 if opt.quick else 300


def best_full(x):
    """The ELBO of each image under the best Gaussian of its own, with any covariance."""
    mean, logvar = vae.encode(x)
    Z, noise = vae.latents, np.random.default_rng(opt.seed)
    raw = np.concatenate([0.5 * logvar, np.zeros((len(x), Z * (Z - 1) // 2), np.float32)], axis=1)
    q = {"mean": Parameter(mean), "raw": Parameter(raw)}
    arena, adam = Arena(q, device("cpu"), np.float32), Adam(cosine(0.05, steps=steps))

    def terms(samples):
        L, pull_L = triangle(q["raw"].value, latents=Z)
        means, pull_means = repeat(q["mean"].value, samples=samples)
        Ls, pull_Ls = repeat(L, samples=samples)
        z, pull_z = reparameterize_full(means, Ls, eps=noise.standard_normal(means.shape, dtype=np.float32))
        outputs, pull_decoder = vae.decoder(z)
        nll, pull_nll = vae.likelihood(outputs, x=repeat(x, samples=samples)[0])
        kl, pull_kl = full_gaussian_kl(q["mean"].value, L)

        def pullback():
            dmeans, dLs = pull_z(pull_decoder(pull_nll(np.full_like(nll, 1 / samples)), need_dp=False))
            dmean, dL = pull_kl(np.ones_like(kl))
            q["mean"].grad[...] = pull_means(dmeans) + dmean
            q["raw"].grad[...] = pull_L(pull_Ls(dLs) + dL)

        return -nll.reshape(samples, len(x)).mean(axis=0) - kl, pullback

    for _ in range(steps):
        terms(4)[1]()
        adam.step(arena)
    return np.mean([terms(20)[0] for _ in range(10)], axis=0)


diagonal, gains = best_q(vae, test, 0.0, opt, steps), {}
for start in (0.01, 0.1, 1.0):
    gains[f"u started at {start}"] = Estimate.of(best_q(vae, test, start, opt, steps) - diagonal)
gains["full covariance"] = Estimate.of(best_full(test) - diagonal)
for name, gain in gains.items():
    print(f"{name:18} {gain} nats above the diagonal, digit by digit")
small, middle, _ = (gains[f"u started at {start}"] for start in (0.01, 0.1, 1.0))
assert opt.quick or abs(small.mean - middle.mean) < 4 * (small.standard_error + middle.standard_error)
assert opt.quick or gains["full covariance"].mean > middle.mean > 0

# %% [markdown]
# A little off zero is enough: at $u = 0$ the slope is zero, and from 0.01 it grows by itself.  A start at 1 is a long way from the diagonal, in a
# random direction, and must first come back.  The full covariance wins more: one direction is a part of it.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  In `fill`, hide all of the image but one column, and look at single states and at their average.
# > Why is the average blurred, and why has it the smaller squared error all the same?
#
# One column tells little, so many digits fit.  Each state of the chain is one of them; the average over states is the average over all
# that fit, and an average of different digits is a blur.  Let $x$ be the true pixel and $s$ a state, both draws of
# $p(x_\text{missing} \mid x_\text{observed})$ if the chain is right, with mean $m$ and variance $v$, independent of each other.  Then
#
# $$ \mathbb E (x - s)^2 = \mathbb E (x - m)^2 + \mathbb E (s - m)^2 = 2v, \qquad \mathbb E (x - m)^2 = v : $$
#
# a sharp guess errs *twice* as much, because it adds a chance of its own.  Squared error asks for the mean, not for something that could
# be true.

# %%
model = DeepLatentConfig(784, (30 if opt.quick else 100,), (10,)).build(seed=opt.seed, images=train, optimizer=Adam(2e-3))
fit(model, train, epochs=opt.epochs, batch_size=64, binarize=True, seed=opt.seed, progress=False)
missing = np.broadcast_to(np.arange(28) != 14, (28, 28)).reshape(1, -1).repeat(len(test), axis=0)
length, states = 6 if opt.quick else 20, []
for seed in range(2 if opt.quick else 6):
    tosses = np.random.default_rng(seed).integers(0, 2, test.shape)
    states.append(impute(model, test, missing, steps=length, start=tosses, seed=seed, record=range(1, length + 1))[length // 2:])
settled = np.concatenate(states)
average = settled.mean(axis=0)


def error(guess):
    return (np.where(missing, guess - test, 0) ** 2).sum(axis=-1) / missing.sum(axis=1)


one, many = error(settled).mean(), error(average).mean()
spread = np.where(missing, settled.var(axis=0), 0).sum(axis=-1).mean() / missing.sum(axis=1).mean()
print(f"squared error of a missing pixel: one state {one:.4f}, the average of {len(settled)} states {many:.4f}, variance of the states {spread:.4f}")
fig, axes = plots.figure(3, 1, width=7, height=2.6)
for ax, row, name in zip(axes, (np.where(missing, 0.35, test), settled[-1], average), ("seen", "one state", "average of states")):
    ax.imshow(plots.mosaic(row[::6], (28, 28), 10), cmap="gray_r", vmin=0, vmax=1)
    ax.set_ylabel(name, fontsize=8, rotation=0, ha="right")
    ax.set_xticks([])
    ax.set_yticks([])
opt.save(fig, "one_column", alt="Ten digits of which only one column is seen; below, one state of the chain, black and white and like some digit; "
         "below that the average of all states, grey and blurred.")
assert np.isclose(one, many + spread)                 # an average over states: error of one = error of the mean + variance
assert many < one

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Let $C^{-1} = D + U U^\top$ with $U$ of $K$ columns.  Find $\log |C|$ and a root $R$ with
# > $C = R R^\top$ from the $K \times K$ matrix $U^\top D^{-1} U$, and check that $K = 1$ gives back $c$.
#
# Let $W = D^{-1/2} U$, so that $C^{-1} = D^{1/2} (I + W W^\top) D^{1/2}$, and $M = W^\top W = U^\top D^{-1} U$, which is $K \times K$.
#
# **Determinant.**  $I + W W^\top$ and $I + M$ have the same eigenvalues but for ones, so $\log |C| = -\log |D| - \log |I + M|$.
#
# **Root.**  Try $R = D^{-1/2} (I - W N W^\top)$ with a symmetric $N$ that commutes with $M$.  $R R^\top = C$ asks for
# $(I - W N W^\top)^2 = (I + W W^\top)^{-1}$.  Let $v$ be an eigenvector of $M$ with eigenvalue $s > 0$, and $n$ that of $N$.  $W W^\top (W v) = s\, W v$ and
# $W N W^\top (W v) = W N M v = n s\, W v$; across all such $W v$ both sides are the identity.  So $(1 - n s)^2 = 1/(1 + s)$, as in the chapter:
#
# $$ n = \frac{1 - (1 + s)^{-1/2}}{s} = \frac{1}{1 + s + \sqrt{1 + s}}, \qquad N = \Big(I + M + (I + M)^{1/2}\Big)^{-1} . $$
#
# Nothing larger than $K \times K$ has been inverted or rooted.  For $K = 1$, $M = s = \lVert w \rVert^2$ and $N = c$.

# %%
def root_and_logdet(logvar, U):
    """R and log |C|, of C⁻¹ = diag e^−ℓ + U Uᵀ"""
    std = np.exp(0.5 * logvar)                        # D^−½
    W = std[:, None] * U
    s, V = np.linalg.eigh(W.T @ W)
    N = V @ np.diag(1 / (1 + s + np.sqrt(1 + s))) @ V.T
    return std[:, None] * (np.eye(len(W)) - W @ N @ W.T), logvar.sum() - np.log1p(s).sum()


logvar, U = rng.standard_normal(7), rng.standard_normal((7, 3))
R, logdet = root_and_logdet(logvar, U)
C = np.linalg.inv(np.diag(np.exp(-logvar)) + U @ U.T)
one, _ = root_and_logdet(logvar, U[:, :1])
eps = rng.standard_normal(7)
ours = draw_rank_one(np.zeros((1, 7)), logvar[None], U[:, :1].T, eps=eps[None])[0][0]
print(f"R Rᵀ and C differ by {np.abs(R @ R.T - C).max():.0e}, log |C| by {abs(logdet - np.linalg.slogdet(C)[1]):.0e}; "
      f"K = 1 and the chapter's draw by {np.abs(one @ eps - ours).max():.0e}")
assert np.allclose(R @ R.T, C)
assert np.isclose(logdet, np.linalg.slogdet(C)[1])
assert np.allclose(one @ eps, ours)
