"""Chapter 7 · Latent variables and the ELBO.

The question     How can a model with a hidden cause be trained by likelihood, if log p(x) is an integral?
What is new      the evidence lower bound; its gap is a KL divergence; reverse KL seeks modes.
What you'll see  a model of real digits in which everything is exact: the bound touches log p(x) to
                 twelve digits, and misses it by exactly the KL when q is wrong.
"""

# %% [markdown]
# # 7 · Latent variables and the ELBO
#
# The autoencoder lacked a story of where codes come from.  Tell one: *first nature draws a code
# $z \sim p(z) = \mathcal N(0, I)$, then it draws an image $x \sim p(x \mid z)$.*  Now every image has a probability,
#
# $$ p(x) = \int p(x \mid z)\, p(z)\, dz, $$
#
# and the best model is the one that finds the data least surprising.  But the integral runs over all codes, and
# nearly all of them explain nearly nothing of this $x$.
#
# **Bring in a guess.**  Let $q(z)$ be any density: a guess at which codes may have caused this image.  Then
#
# $$ \log p(x) = \mathbb E_q\!\left[\log \frac{p(x, z)}{p(z \mid x)}\right]
#   = \underbrace{\mathbb E_q\!\left[\log \frac{p(x \mid z)\, p(z)}{q(z)}\right]}_{\text{ELBO}}
#   + \underbrace{\mathbb E_q\!\left[\log \frac{q(z)}{p(z \mid x)}\right]}_{\mathrm{KL}(q\, \Vert\, p(z \mid x))\; \ge\; 0} . $$
#
# The first step is Bayes' rule, the same for every $z$, so it may be averaged over $q$; the second multiplies and
# divides by $q$.  The **evidence lower bound** contains only things that we can compute, and it misses
# $\log p(x)$ by the KL divergence from our guess to the truth.  Split the logarithm once more:
#
# $$ \mathrm{ELBO} = \mathbb E_q[\log p(x \mid z)] - \mathrm{KL}(q(z) \,\Vert\, p(z)) . $$
#
# Explain the image, and do not stray from the prior further than the image is worth.

# %%
import numpy as np

from minivae import plots
from minivae.chapter import options, parser
from minivae.variants import probabilistic_pca as library

LOG_2PI = np.log(2 * np.pi)


# %% [markdown]
# ## One dimension, everything exact
#
# Let $x = w z + \sigma\, \varepsilon$.  Then $p(x) = \mathcal N(0, w^2 + \sigma^2)$ and the true posterior is Gaussian with
# precision $1 + w^2/\sigma^2$.  For a guess $q = \mathcal N(m, s^2)$ all terms of the ELBO are one-liners.

# %%
def elbo_1d(x, m, s, w, sigma):
    expected = -0.5 * (((x - w * m) ** 2 + w**2 * s**2) / sigma**2 + np.log(sigma**2) + LOG_2PI)
    return expected - 0.5 * (m**2 + s**2 - np.log(s**2) - 1)


def log_p_1d(x, w, sigma):
    return -0.5 * (x**2 / (w**2 + sigma**2) + np.log(w**2 + sigma**2) + LOG_2PI)


def posterior_1d(x, w, sigma):
    variance = 1 / (1 + w**2 / sigma**2)
    return variance * w * x / sigma**2, np.sqrt(variance)


# %% [markdown]
# ## The same on real digits
#
# With twenty latents and a matrix $W$ this model is probabilistic PCA, and its best $W$, $\mu$, $\sigma$ are known in
# closed form (Tipping and Bishop 1999): with eigenvalues $\lambda_i$ and eigenvectors $u_i$ of the data's covariance,
#
# $$ \sigma^2 = \text{mean of the discarded } \lambda, \qquad W = [\, u_i \sqrt{\lambda_i - \sigma^2}\, ]_i . $$
#
# Then $W^\top W$ is diagonal, and so is the true posterior: $S = \sigma^2 (W^\top W + \sigma^2)^{-1}$, mean
# $S\, W^\top (x - \mu)/\sigma^2$.  A *linear encoder* can be exactly right.

# %%
def probabilistic_pca(x, latents):
    """mean (X,), W (Z, X), sigma"""
    mean = x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    sigma2 = values[latents:].mean()
    return mean, (vectors[:, :latents] * np.sqrt(values[:latents] - sigma2)).T, np.sqrt(sigma2)


def log_p(x, mean, W, sigma):
    """log N(x; mean, WᵀW + σ² I), exactly; W is (Z, X)        -> (N,)"""
    X, Z = x.shape[1], len(W)
    C = W @ W.T + sigma**2 * np.eye(Z)                # Woodbury: a Z × Z problem instead of X × X
    offset = x - mean
    projected = offset @ W.T
    mahalanobis = ((offset**2).sum(1) - (projected @ np.linalg.inv(C) * projected).sum(1)) / sigma**2
    logdet = np.linalg.slogdet(C)[1] + (X - Z) * np.log(sigma**2)
    return -0.5 * (mahalanobis + logdet + X * LOG_2PI)


def exact_eps(Z):
    """2Z 'draws' ±√Z eᵢ with mean 0 and covariance I: the average of any quadratic over them is exact."""
    return np.sqrt(Z) * np.concatenate([np.eye(Z), -np.eye(Z)])


def exact_elbo(vae, x):
    eps = np.repeat(exact_eps(vae.latents)[:, None, :], len(x), axis=1)           # (2Z, B, Z)
    (nll, kl), _ = vae.elbo_terms(x=x, eps=eps)
    return -(nll + kl)


# %% [markdown]
# ## Which way round?
#
# The gap is $\mathrm{KL}(q \Vert p)$, an average over $q$: the guess is punished where *it* puts mass and the truth
# does not, and not at all where it forgets some.  If the truth has two modes and $q$ one, this **reverse** KL sits
# on one of them.  The **forward** $\mathrm{KL}(p \Vert q)$ would cover both, and the desert between.

# %%
def best_gaussian(target, grid, direction, start):
    """The Gaussian nearest to a density on a grid, by gradient descent on (m, log s)."""
    dz, theta = grid[1] - grid[0], np.array(start, dtype=float)

    def kl(theta):
        m, s = theta[0], np.exp(theta[1])
        log_q = -0.5 * (((grid - m) / s) ** 2 + LOG_2PI) - theta[1]
        log_t = np.log(target + 1e-300)
        weights, difference = (np.exp(log_q), log_q - log_t) if direction == "reverse" else (target, log_t - log_q)
        return float((weights * difference).sum() * dz)

    for _ in range(3000):
        slope = np.array([(kl(theta + h) - kl(theta - h)) / 2e-5 for h in 1e-5 * np.eye(2)])
        theta -= 0.02 * slope
    return theta[0], np.exp(theta[1]), kl(theta)


def normal(z, mean, std):
    return np.exp(-0.5 * ((z - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


def draw(fits, grid, target, spread):
    x, w, sigma = 1.5, 1.0, 0.5
    _, s_star = posterior_1d(x, w, sigma)
    fig, axes = plots.figure(1, 3, width=10, height=3.3)
    m = np.linspace(-0.5, 2.5, 200)
    for factor, colour in ((1.0, plots.COLOURS[0]), (2.0, plots.COLOURS[1]), (0.4, plots.COLOURS[2])):
        axes[0].plot(m, elbo_1d(x, m, factor * s_star, w, sigma), color=colour, label=f"{factor:g} × the true σ")
    axes[0].axhline(log_p_1d(x, w, sigma), color="k", ls="--", lw=1.2, label="log p(x)")
    axes[0].set(xlabel="mean of q", ylabel="nats", title="where q is the posterior", ylim=(-9, -1))
    axes[0].legend(fontsize=8, loc="lower center")
    axes[1].fill_between(grid, target, color="#8c8c8c", alpha=0.45, lw=0, label="the truth")
    for (name, (mean, std, value)), colour in zip(fits.items(), plots.COLOURS):
        axes[1].plot(grid, normal(grid, mean, std), color=colour, label=f"{name}: {value:.2f} nats".replace(", started", ","))
    axes[1].set(xlabel="z", ylabel="density", title="one Gaussian for two modes", ylim=(0, 1.2))
    axes[1].legend(fontsize=8, loc="upper left")
    factors, gaps, kls = spread
    axes[2].plot(factors, gaps, "o", label="log p(x) − ELBO")
    axes[2].plot(factors, kls, "-", label="KL(q ‖ p(z|x))")
    axes[2].set(xlabel="q's variance ÷ the posterior's", ylabel="nats per digit", xscale="log",
                title="digits: the gap is the KL")
    axes[2].legend(fontsize=8)
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch07", __doc__, cpu_because="it needs eigenvectors, and trains nothing"), argv)
    x, w, sigma = 1.5, 1.0, 0.5
    m, s = posterior_1d(x, w, sigma)
    print(f"one dimension: log p(x) = {log_p_1d(x, w, sigma):.12f}\n"
          f"ELBO at the posterior   = {elbo_1d(x, m, s, w, sigma):.12f}")

    digits = opt.digits()
    mean, W, sigma = probabilistic_pca(digits.train.astype(np.float64), 20)
    test = digits.test[:50 if opt.quick else 200].astype(np.float64)
    truth = log_p(test, mean, W, sigma)
    theirs = library.log_p(test, *library.probabilistic_pca(digits.train.astype(np.float64), 20))
    print(f"our log p(x) and minivae's differ by at most {np.abs(truth - theirs).max():.0e}")
    vae = library.as_vae(mean, W, sigma)                          # its encoder: the exact posterior, two linear maps
    error = np.abs(exact_elbo(vae, test) - truth).max()
    print(f"digits, 20 latents, σ = {sigma:.3f}: log p(x) = {truth.mean():.3f} nats on unseen digits;\n"
          f"the VAE's ELBO at the exact posterior differs by at most {error:.0e}")

    factors, gaps, kls = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]), [], []
    bias = vae.encoder.logvar.b.value
    right = bias.copy()
    for factor in factors:                            # q's variance is `factor` times too large
        bias[...] = right + np.log(factor)
        gaps.append(float((truth - exact_elbo(vae, test)).mean()))
        kls.append(0.5 * len(bias) * (factor - np.log(factor) - 1))
    grid = np.linspace(-6, 6, 1201)
    target = 0.6 * normal(grid, -2.5, 0.6) + 0.4 * normal(grid, 2, 0.8)
    fits = {"reverse KL, started left": best_gaussian(target, grid, "reverse", (-2, -0.5)),
            "reverse KL, started right": best_gaussian(target, grid, "reverse", (2, -0.5)),
            "forward KL": best_gaussian(target, grid, "forward", (0.5, 0))}
    opt.save(draw(fits, grid, target, (factors, gaps, kls)), "elbo",
             alt="Left: the ELBO in nats against the mean of q, for three widths of q; only the true width touches the dashed "
                 "line of log p(x), at the true mean. Middle: a density with two modes and single Gaussians fitted to it; under "
                 "reverse KL they sit on one mode, under forward KL one covers both. Right: nats between log p(x) and the ELBO of "
                 "digits against the error in q's variance; the points lie on the curve of the KL.")
    worst = np.abs(np.array(gaps) - kls).max()
    print(f"\nSeen: on real digits the ELBO equals log p(x) to {error:.0e} nats when q is the posterior, and with a wrong "
          f"variance it\nmisses it by the KL to {worst:.0e}. A single Gaussian under reverse KL picks one of two modes "
          f"(mean {fits['reverse KL, started left'][0]:.2f} or\n{fits['reverse KL, started right'][0]:.2f}); "
          f"under forward KL it covers both (mean {fits['forward KL'][0]:.2f}, std {fits['forward KL'][1]:.2f}).")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Give `probabilistic_pca` 2, 5, 50, 100 and 400 latents.  Why does log p(x) of unseen digits go on
#    rising?  Then add noise of standard deviation 0.1 to all pixels: where does it peak now?
# 2. *Show this.*  Use Jensen's inequality instead of Bayes' rule to get the bound in one line.  What does that
#    derivation not tell you?
# 3. *Derive this.*  Let $q(z \mid x)$ be the same for all $x$.  What is the best such $q$, and how large is the
#    average gap?  Find both for the one-dimensional model.  Is the gap the mutual information of $x$ and $z$?
