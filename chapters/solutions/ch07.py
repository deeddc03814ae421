"""Solutions of chapter 7 · Latent variables and the ELBO.

    python -m chapters.solutions.ch07
"""

# %% [markdown]
# # Solutions of chapter 7

# %%
import numpy as np

from chapters.ch07_elbo import elbo_1d, log_p, log_p_1d, normal, posterior_1d, probabilistic_pca
from minivae import plots
from minivae.chapter import options, parser

opt, _ = options(parser("solutions/ch07", __doc__), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Give `probabilistic_pca` 2, 5, 50, 100 and 400 latents.  Why does log p(x) of unseen digits go on
# > rising?  Then add noise of standard deviation 0.1 to all pixels: where does it peak now?
#
# $\sigma^2$ is the mean of the eigenvalues that are left over.  Digits have pixels that are blank in nearly every image, so most eigenvalues
# are nearly 0, and with every further latent $\sigma$ falls.  A density may rise without bound (chapter 11 is about that): each of hundreds of
# blank pixels brings $-\log \sigma$ more, and that outweighs whatever the last components lose on the strokes.  Noise on all pixels ends it:
# $\sigma$ cannot fall much below 0.1, and a component that is noise in the training set costs more than it brings.

# %%
digits = opt.digits()
train, test = digits.train.astype(np.float64), digits.test.astype(np.float64)
scores = {}
for noise in (0.0, 0.1):
    seen_x, unseen_x = (x + noise * rng.standard_normal(x.shape) for x in (train, test))
    for latents in (5, 200, 400 + 200 * (noise > 0)) if opt.quick else (2, 5, 20, 50, 100, 200, 300, 400 + 200 * (noise > 0)):
        model = probabilistic_pca(seen_x, latents)
        unseen, seen = log_p(unseen_x, *model), log_p(seen_x, *model)
        scores[noise, latents] = unseen.mean(), seen.mean()
        print(f"noise {noise}, {latents:3} latents: σ = {model[2]:.3f}, log p(x) {unseen.mean():7.1f} ± "
              f"{unseen.std(ddof=1) / np.sqrt(len(unseen)):4.1f} nats unseen, {seen.mean():7.1f} in training")


def of(noise):
    """The numbers of latents, and log p(x) of unseen and of training digits."""
    return np.array([(latents, *found) for (n, latents), found in scores.items() if n == noise]).T


fig, axes = plots.figure(1, 2, width=8, height=3)
for ax, noise in zip(axes, (0.0, 0.1)):
    ax.plot(*of(noise)[:2], marker="o", label="unseen digits")
    ax.plot(*of(noise)[::2], marker="s", ls="--", label="training digits")
    ax.set(xlabel="latents", ylabel="log p(x), nats", title=f"noise {noise}")
axes[0].legend()
opt.save(fig, "latents", alt="log p(x) in nats against the number of latents. Left, without noise: it goes on rising for training and unseen "
         "digits. Right, with noise: of training digits it rises, of unseen ones it has a peak.")
tried, unseen, seen = of(0.1)
peak = tried[unseen.argmax()]
print(f"with noise unseen digits like {peak:.0f} of these numbers of latents best")
assert np.all(np.diff(of(0.0)) > 0)
assert np.all(np.diff(seen) > 0)                      # a maximum over more parameters cannot fall
assert tried[0] < peak < tried[-1]

# %% [markdown]
# ## Exercise 2
#
# > *Show this.*  Use Jensen's inequality instead of Bayes' rule to get the bound in one line.  What does that
# > derivation not tell you?
#
# The logarithm is concave, so the logarithm of an average is at least the average of the logarithms:
#
# $$ \log p(x) = \log \int q(z)\, \frac{p(x, z)}{q(z)}\, dz = \log \mathbb E_q\!\left[\frac{p(x, z)}{q(z)}\right]
#    \;\ge\; \mathbb E_q\!\left[\log \frac{p(x, z)}{q(z)}\right] = \text{ELBO} . $$
#
# It does not say how much is lost, nor to whom.  Jensen's inequality is an equality if the ratio is constant, that is if
# $q(z) \propto p(x, z)$, but that the loss is $\mathrm{KL}(q \,\Vert\, p(z \mid x))$ for every other $q$, so that climbing the bound in $q$ *is*
# approximating the posterior, only Bayes' rule tells.  What it gives instead is a better bound for free: put the average of $K$ ratios under
# the logarithm, and the same line holds (chapter 13).

# %%
x, w, sigma = 1.5, 1.0, 0.5
m_star, s_star = posterior_1d(x, w, sigma)
n = 20_000 if opt.quick else 1_000_000
for name, m, s in (("the posterior", m_star, s_star), ("shifted, wider", m_star + 0.3, 1.4 * s_star)):
    z = m + s * rng.standard_normal(n)
    log_ratio = np.log(normal(x, w * z, sigma)) + np.log(normal(z, 0, 1)) - np.log(normal(z, m, s))
    inside, outside = np.log(np.exp(log_ratio).mean()), log_ratio.mean()
    error = np.exp(log_ratio).std() / np.exp(log_ratio).mean() / np.sqrt(n), log_ratio.std() / np.sqrt(n)
    kl = np.log(s_star / s) + (s**2 + (m - m_star) ** 2) / (2 * s_star**2) - 0.5
    print(f"q = {name:14}: log of the average {inside:.4f} ± {error[0]:.4f}, average of the log {outside:.4f} ± {error[1]:.4f}, "
          f"apart by {inside - outside:.4f}; KL {kl:.4f}")
    assert abs(inside - log_p_1d(x, w, sigma)) < 5 * error[0] + 1e-12
    assert abs(outside - elbo_1d(x, m, s, w, sigma)) < 5 * error[1] + 1e-12
    assert abs(inside - outside - kl) < 5 * sum(error) + 1e-12

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Let $q(z \mid x)$ be the same for all $x$.  What is the best such $q$, and how large is the
# > average gap?  Find both for the one-dimensional model.  Is the gap the mutual information of $x$ and $z$?
#
# The average gap is $\mathbb E_x\, \mathrm{KL}(q \,\Vert\, p(z \mid x)) = \mathbb E_q\big[\log q(z) - \mathbb E_x \log p(z \mid x)\big]$.  Let
# $g(z) = \exp \mathbb E_x \log p(z \mid x)$, the *geometric* mean of the posteriors, and $G = \int g\, dz$.  Then
#
# $$ \text{gap} = \mathrm{KL}(q \,\Vert\, g/G) - \log G , $$
#
# so the best $q$ is $g/G$, and the gap that is left is $-\log G$.  It is not the prior: the prior is the *arithmetic* mean,
# $p(z) = \mathbb E_x\, p(z \mid x)$ if $x$ comes from the model, and it is what the other direction of the KL would choose.
#
# **One dimension.**  The posteriors are $\mathcal N(m(x), s^2)$, all with $s^2 = 1/(1 + w^2/\sigma^2)$ and $m(x)$ of mean 0 and variance $1 - s^2$
# (the two variances make up the prior's 1).  So $\mathbb E_x \log p(z \mid x) = -\tfrac{1}{2 s^2}(z^2 + 1 - s^2) - \tfrac12 \log 2\pi s^2$, and
#
# $$ q = \mathcal N(0, s^2), \qquad \text{gap} = -\log G = \frac{1 - s^2}{2 s^2} = \frac{w^2}{2 \sigma^2} . $$
#
# The best constant $q$ is as *narrow* as a posterior.  And the gap is not the mutual information, which has the KL the other way round:
# $I = \mathbb E_x\, \mathrm{KL}(p(z \mid x) \,\Vert\, p(z)) = \tfrac12 \log(1 + w^2/\sigma^2)$.  It is less, because $\log(1 + u) \le u$.  $I$ is what a
# code *tells*; the gap is what silence *costs this decoder*, which goes on as if the code told.  (With the prior as $q$ the gap is
# $\mathbb E_x\, \mathrm{KL}(p(z) \,\Vert\, p(z \mid x)) = \tfrac12 \big(\tfrac{1}{s^2} + \tfrac{1 - s^2}{s^2} - 1 + \log s^2\big) = w^2/\sigma^2 - I$.)

# %%
nodes, weights = np.polynomial.hermite_e.hermegauss(40)              # exact averages of polynomials under N(0, 1)
weights = weights / weights.sum()
for w, sigma in ((1.0, 0.5), (0.5, 1.0)):
    xs = np.sqrt(w**2 + sigma**2) * nodes
    s2 = posterior_1d(0.0, w, sigma)[1] ** 2

    def gap(m, s, xs=xs, w=w, sigma=sigma):
        return float(weights @ (log_p_1d(xs, w, sigma) - elbo_1d(xs, m, s, w, sigma)))

    tried = {(m, s): gap(m, s) for m in np.linspace(-0.5, 0.5, 11) for s in np.sqrt(s2) * np.linspace(0.5, 2, 31)}
    m, s = min(tried, key=tried.get)
    information = 0.5 * np.log(1 + w**2 / sigma**2)
    print(f"w²/σ² = {w**2 / sigma**2:.2f}: the best of {len(tried)} constant q is N({m:.1f}, {s**2:.3f}), s² = {s2:.3f};  gap {tried[m, s]:.6f}, "
          f"w²/2σ² = {w**2 / sigma**2 / 2:.6f};\n    with the prior {gap(0, 1):.6f};  mutual information {information:.6f}")
    assert abs(m) < 1e-9
    assert abs(s**2 - s2) < 1e-9
    assert abs(tried[m, s] - w**2 / sigma**2 / 2) < 1e-9
    assert abs(gap(0, 1) - (w**2 / sigma**2 - information)) < 1e-9
    assert information < tried[m, s]
