"""Chapter 8 · The Gaussian KL.

The question     What does it cost to say a code that differs from the prior?
What is new      the KL divergence of Gaussians in closed form, and its pullback.
What you'll see  the cost as a landscape in nats, a closed form confirmed by ten thousand draws,
                 and how many nats each principal component of a digit is worth.
"""

# %% [markdown]
# # 8 · The Gaussian KL
#
# The second term of the ELBO, $\mathrm{KL}(q \Vert p) = \mathbb E_q[\log q(z) - \log p(z)]$, asks for an average, but between
# Gaussians it can be written down.  In one dimension, with $q = \mathcal N(\mu, \sigma^2)$ and $p = \mathcal N(0, 1)$:
#
# $$ \mathbb E_q[\log q] = -\tfrac12 \left(\log 2\pi + \log \sigma^2 + 1\right), \qquad
#    \mathbb E_q[\log p] = -\tfrac12 \left(\log 2\pi + \mathbb E_q[z^2]\right) = -\tfrac12 \left(\log 2\pi + \mu^2 + \sigma^2\right), $$
#
# because $\mathbb E_q[(z-\mu)^2/\sigma^2] = 1$ and $\mathbb E_q[z^2] = \mu^2 + \sigma^2$.  Subtract, and sum over independent
# dimensions:
#
# $$ \mathrm{KL} = \tfrac12 \sum_j \left( \mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1 \right). $$
#
# The encoder will output $\ell = \log \sigma^2$, any real number, so that $\sigma^2 = e^\ell$ is positive by itself.  Then
#
# $$ \frac{\partial\, \mathrm{KL}}{\partial \mu} = \mu, \qquad \frac{\partial\, \mathrm{KL}}{\partial \ell} = \tfrac12 (e^\ell - 1). $$
#
# Both vanish at $\mu = 0$, $\sigma^2 = 1$: saying nothing costs nothing.

# %%
import numpy as np

from minivae import distributions, plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck
from minivae.variants.probabilistic_pca import probabilistic_pca


# %%
def gaussian_kl(mean, logvar):                        # (B, Z) -> (B,)
    """KL( N(μ, σ²) ‖ N(0, I) ) = ½ Σ (μ² + σ² − log σ² − 1)"""
    var = np.exp(logvar)

    def pullback(dkl):
        return mean * dkl[:, None], 0.5 * (var - 1) * dkl[:, None]

    return 0.5 * (mean**2 + var - logvar - 1).sum(axis=-1), pullback


# %% [markdown]
# **Between two Gaussians**, when the prior is learned too: measure everything in units of $\sigma_p$.  The mean is then
# $(\mu_q - \mu_p)/\sigma_p$, the variance $\sigma_q^2/\sigma_p^2$, and the formula above applies:
#
# $$ \mathrm{KL} = \tfrac12 \sum_j \left( \frac{(\mu_q - \mu_p)^2 + \sigma_q^2}{\sigma_p^2} + \log \sigma_p^2 - \log \sigma_q^2 - 1 \right). $$

# %%
def gaussian_kl_between(mean_q, logvar_q, mean_p, logvar_p):
    offset, precision, ratio = mean_q - mean_p, np.exp(-logvar_p), np.exp(logvar_q - logvar_p)

    def pullback(dkl):
        dkl = dkl[:, None]
        dmean = offset * precision * dkl
        return dmean, 0.5 * (ratio - 1) * dkl, -dmean, 0.5 * (1 - offset**2 * precision - ratio) * dkl

    return 0.5 * (offset**2 * precision + ratio + logvar_p - logvar_q - 1).sum(axis=-1), pullback


# %% [markdown]
# ## Does the formula say what we mean?
#
# The gradient check compares a pullback with its own forward.  It would be just as happy if we had forgotten the
# ½.  So the *value* needs a judge of its own: the definition, by drawing.  The average of $n$ draws is off by about
# its standard error, which falls like $1/\sqrt n$.

# %%
def kl_by_drawing(mean, logvar, n, rng):
    """The running average of log q(z) − log p(z), and its standard error, after 1 … n draws."""
    eps = rng.standard_normal((n, len(mean)))
    z = mean + np.exp(0.5 * logvar) * eps
    log_ratio = 0.5 * (z**2 - eps**2 - logvar).sum(axis=1)        # log 2π cancels; (z − μ)/σ is eps
    count = np.arange(1, n + 1)
    average = log_ratio.cumsum() / count
    variance = np.maximum((log_ratio**2).cumsum() / count - average**2, 0)
    return count, average, np.sqrt(variance / count)


# %% [markdown]
# ## What is a component of a digit worth?
#
# In chapter 7 every digit had an exact posterior over twenty principal components.  Averaged over digits, the KL of
# each component is the number of nats it tells about the image: $\tfrac12 \log(\lambda_i/\sigma^2)$, more for the components
# that vary more.  (Where $\lambda_i = \sigma^2$ the component is noise and is worth nothing.)

# %%
def nats_per_component(x, test, latents):
    """Average KL of each component under probabilistic PCA, and the theory, both (Z,)"""
    mean, W, sigma = probabilistic_pca(x, latents)
    values = (W**2).sum(axis=1) + sigma**2            # λ = ‖w‖² + σ²
    posterior_mean, logvar = (test - mean) @ W.T / values, np.log(sigma**2 / values)
    kl = 0.5 * (posterior_mean**2 + np.exp(logvar) - logvar - 1)
    return kl.mean(axis=0), 0.5 * np.log(values / sigma**2)


def draw(drawn, closed, components, theory):
    fig, axes = plots.figure(1, 3, width=10, height=3.3)
    mean, std = np.meshgrid(np.linspace(-3, 3, 241), np.logspace(-1.3, 0.7, 201))
    levels = [0.1, 0.5, 1, 2, 3, 4, 5]
    contour = axes[0].contour(mean, std, 0.5 * (mean**2 + std**2 - 2 * np.log(std) - 1), levels=levels, colors="k", linewidths=0.9)
    axes[0].clabel(contour, fmt="%g", fontsize=8)
    axes[0].plot(0, 1, "k*", ms=10)
    axes[0].set(xlabel="mean $\\mu$", ylabel="standard deviation $\\sigma$", yscale="log", title="KL to the prior, in nats")
    axes[0].grid(False)
    some = np.unique(np.logspace(0, np.log10(len(drawn[0])), 300).astype(int)) - 1
    count, average, error = (np.asarray(values)[some] for values in drawn)
    axes[1].fill_between(count, average - 2 * error, average + 2 * error, color=plots.COLOURS[5], alpha=0.4, lw=0,
                         label="± 2 standard errors")
    axes[1].plot(count, average, label="average of the draws")
    axes[1].axhline(closed, color="k", ls="--", lw=1, label="closed form")
    axes[1].set(xlabel="draws", ylabel="nats", xscale="log", title="the definition agrees", ylim=(0, 2 * closed),
                xlim=(3, None))
    axes[1].legend(fontsize=8)
    axes[2].bar(np.arange(1, len(components) + 1), components, color=plots.COLOURS[0], label="unseen digits")
    axes[2].plot(np.arange(1, len(theory) + 1), theory, "o", color=plots.COLOURS[1], ms=4, label="½ log(λ/σ²)")
    axes[2].set(xlabel="principal component", ylabel="nats", title="what a component tells")
    axes[2].legend()
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch08", __doc__, cpu_because="it needs eigenvectors, and trains nothing"), argv)
    rng = np.random.default_rng(opt.seed)
    a, b, c, d = (rng.standard_normal((3, 4)) for _ in range(4))
    for ours, library, inputs in ((gaussian_kl, distributions.gaussian_kl, (a, b)),
                                  (gaussian_kl_between, distributions.gaussian_kl_between, (a, b, c, d))):
        report = gradcheck(ours, *inputs)
        print(report)
        difference = np.abs(ours(*inputs)[0] - library(*inputs)[0]).max()
        print(f"  differs from minivae.distributions.{ours.__name__} by {difference:.0e}\n")

    mean, logvar = np.array([0.8, -0.3, 0.0]), np.array([-2.0, -0.5, 0.7])
    closed = float(gaussian_kl(mean[None], logvar[None])[0][0])
    drawn = kl_by_drawing(mean, logvar, 10_000, rng)
    digits = opt.digits()
    components, theory = nats_per_component(digits.train.astype(np.float64), digits.test.astype(np.float64), 20)
    opt.save(draw(drawn, closed, components, theory), "kl",
             alt="Left: contours of the KL to the prior in nats over mean and standard deviation, closed curves around mean 0 and "
                 "standard deviation 1, marked by a star. Middle: the average over more and more draws with its band of two "
                 "standard errors closes in on the dashed line of the closed form. Right: nats per principal component of "
                 "unseen digits, bars that fall slowly, with the theory's points on their tops.")
    print(f"\nSeen: the closed form says {closed:.4f} nats, ten thousand draws say {drawn[1][-1]:.4f} ± {drawn[2][-1]:.4f}. "
          f"The first principal\ncomponent of a digit is worth {components[0]:.2f} nats, the twentieth "
          f"{components[-1]:.2f}, all twenty {components.sum():.1f} (theory: {theory.sum():.1f}).")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Drop the ½ from the value *and* the pullback.  Which of the two judges notices?
# 2. *Measure this.*  Estimate the KL by drawing when $\sigma = 0.01$, and its gradient, too.  How noisy is one draw?  For
#    which $\sigma$ does the closed form matter most for training?
# 3. *Derive this.*  For a full covariance $\Sigma$ the KL to $\mathcal N(0, I)$ is
#    $\tfrac12(\mathrm{tr}\,\Sigma + \mu^\top \mu - \log\det\Sigma - Z)$.  Find its pullback to a Cholesky factor $L$.
