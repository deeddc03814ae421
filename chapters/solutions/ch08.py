"""Solutions of chapter 8 · The Gaussian KL.

    python -m chapters.solutions.ch08
"""

# %% [markdown]
# # Solutions of chapter 8

# %%
import numpy as np

from chapters.ch08_kl import gaussian_kl, kl_by_drawing
from minivae.chapter import options, parser
from minivae.distributions import full_gaussian_kl
from minivae.gradcheck import gradcheck

opt, _ = options(parser("solutions/ch08", __doc__), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Drop the ½ from the value *and* the pullback.  Which of the two judges notices?
#
# Only the draws.  The check of chapter 1 compares a pullback with its own value, and twice a function has twice the derivative.

# %%
def kl_without_half(mean, logvar):
    kl, pullback = gaussian_kl(mean, logvar)
    return 2 * kl, lambda dkl: tuple(2 * d for d in pullback(dkl))


mean, logvar = np.array([0.8, -0.3, 0.0]), np.array([-2.0, -0.5, 0.7])
n = 10_000
_, average, error = (values[-1] for values in kl_by_drawing(mean, logvar, n, rng))
for function in (gaussian_kl, kl_without_half):
    report = gradcheck(function, rng.standard_normal((3, 4)), rng.standard_normal((3, 4)))
    value = float(function(mean[None], logvar[None])[0][0])
    off = abs(value - average) / error
    print(f"{function.__name__:15} gradient check: {'passed' if report.passed else 'failed'};  value {value:.4f}, {n:,} draws say "
          f"{average:.4f} ± {error:.4f}: {off:.1f} standard errors apart")
    assert report.passed
    assert (off < 4) == (function is gaussian_kl)

# %% [markdown]
# ## Exercise 2
#
# > *Measure this.*  Estimate the KL by drawing when $\sigma = 0.01$, and its gradient, too.  How noisy is one draw?  For
# > which $\sigma$ does the closed form matter most for training?
#
# One draw says $\log q(z) - \log p(z) = \tfrac12 (z^2 - \varepsilon^2 - \ell)$ with $z = \mu + \sigma\varepsilon$.  At small $\sigma$ only $\tfrac12 \varepsilon^2$ is random,
# and its standard deviation is $\sqrt{1/2}$ nats, for every latent, every image, every step: the *value* is noisy.  At $\sigma = 1$, $\mu = 0$ it is
# exact: $z = \varepsilon$.
#
# The *gradient* is another matter.  The noise $\varepsilon^2$ has no parameter in it; what is left are $z$ and $\ell$:
#
# $$ \frac{\partial}{\partial \mu} = z = \mu + \sigma \varepsilon, \qquad
#    \frac{\partial}{\partial \ell} = \tfrac12 (z\, \sigma\varepsilon - 1) = \tfrac12 (\mu \sigma \varepsilon + \sigma^2 \varepsilon^2 - 1) . $$
#
# Their standard deviations are $\sigma$ and $\tfrac12 \sigma \sqrt{\mu^2 + 2\sigma^2}$.  So for training the closed form matters most where $\sigma$ is large, for the
# latents that say little, most of all those that should say *nothing*: a closed form gives them the gradient 0, draws give them noise of
# size 1.  At $\sigma = 0.01$ it hardly matters, if the gradient goes through the draw.  With the score function of chapter 9 it would:
# there one draw of $\partial/\partial\mu$ is the noisy value times $\varepsilon/\sigma$.

# %%
n, mu = 200_000, 0.5
print("   σ     KL   | standard deviation of one draw:  value   ∂/∂μ   ∂/∂ℓ   | ∂/∂μ by the score function")
for sigma in (0.01, 0.1, 1.0):
    log_var = 2 * np.log(sigma)
    eps = rng.standard_normal(n)
    z = mu + sigma * eps
    value, dmu, dlogvar = 0.5 * (z**2 - eps**2 - log_var), z, 0.5 * (z * sigma * eps - 1)
    score = value * eps / sigma
    closed, pullback = gaussian_kl(np.array([[mu]]), np.array([[log_var]]))
    exact = [closed[0], *(float(d[0, 0]) for d in pullback(np.ones(1)))]
    for draws, truth in zip((value, dmu, dlogvar, score), (*exact, exact[1])):
        assert abs(draws.mean() - truth) < 5 * draws.std() / np.sqrt(n)
    print(f"{sigma:5.2f} {closed[0]:6.3f} |{value.std():38.3f} {dmu.std():6.3f} {dlogvar.std():6.3f}   | {score.std():.3g}")
    assert np.isclose(dmu.std(), sigma, rtol=0.02)
    assert np.isclose(dlogvar.std(), 0.5 * sigma * np.sqrt(mu**2 + 2 * sigma**2), rtol=0.02)
    assert sigma > 0.01 or np.isclose(value.std(), np.sqrt(0.5), rtol=0.02)

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  For a full covariance $\Sigma$ the KL to $\mathcal N(0, I)$ is
# > $\tfrac12(\mathrm{tr}\,\Sigma + \mu^\top \mu - \log\det\Sigma - Z)$.  Find its pullback to a Cholesky factor $L$.
#
# $\Sigma = L L^\top$ with $L$ lower triangular.  In its entries everything is elementary:
#
# * $\mathrm{tr}\, L L^\top = \sum_{i \ge j} L_{ij}^2$, with derivative $2 L_{ij}$;
# * $\det L$ is the product of the diagonal, so $\log\det \Sigma = 2 \sum_i \log |L_{ii}|$, with derivative $2/L_{ii}$ on the diagonal and 0 below it.
#
# $$ \mathrm{KL} = \tfrac12 \Big( \sum_{i \ge j} L_{ij}^2 + \sum_i \mu_i^2 - Z \Big) - \sum_i \log |L_{ii}|, \qquad
#    dL_{ij} = \Big( L_{ij} - \frac{[i = j]}{L_{ii}} \Big)\, d\mathrm{KL}, \qquad d\mu = \mu\; d\mathrm{KL} . $$
#
# Above the diagonal $dL$ is zero.  With a diagonal $L = \mathrm{diag}\, e^{\ell/2}$ and $\partial L_{ii}/\partial \ell_i = \tfrac12 L_{ii}$ this is
# $\tfrac12 (e^{\ell_i} - 1)$, as in the chapter.

# %%
def full_kl(mean, L):                                 # (B, Z) (B, Z, Z) -> (B,)
    """½ (Σ L² + μᵀμ − Z) − Σ log |Lᵢᵢ|, of the lower triangle of L"""
    low, diagonal = np.tril(L), np.diagonal(L, axis1=1, axis2=2)

    def pullback(dkl):
        dL = low - np.eye(L.shape[1]) / diagonal[:, None, :]
        return mean * dkl[:, None], dL * dkl[:, None, None]

    square = (low**2).sum(axis=(1, 2)) + (mean**2).sum(axis=1)
    return 0.5 * (square - L.shape[1]) - np.log(np.abs(diagonal)).sum(axis=1), pullback


mean, L = rng.standard_normal((3, 4)), rng.standard_normal((3, 4, 4)) + 2 * np.eye(4)
kl, pullback = full_kl(mean, L)
print(gradcheck(full_kl, mean, L))
low = np.tril(L)
Sigma = low @ low.transpose(0, 2, 1)
assert np.allclose(kl, 0.5 * (np.trace(Sigma, axis1=1, axis2=2) + (mean**2).sum(1) - np.linalg.slogdet(Sigma)[1] - 4))
library, pull_library = full_gaussian_kl(mean, np.tril(L))
assert np.allclose(kl, library)
assert np.allclose(pullback(np.ones(3))[1], np.tril(pull_library(np.ones(3))[1]))
n = 100_000
eps = rng.standard_normal((n, 4))
z = mean[0] + eps @ low[0].T
draws = 0.5 * ((z**2).sum(1) - (eps**2).sum(1)) - np.log(np.abs(np.diagonal(low[0]))).sum()
print(f"closed form {kl[0]:.4f}, {n:,} draws {draws.mean():.4f} ± {draws.std() / np.sqrt(n):.4f}")
assert abs(draws.mean() - kl[0]) < 5 * draws.std() / np.sqrt(n)
