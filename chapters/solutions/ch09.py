"""Solutions of chapter 9 · The reparameterization trick.

    python -m chapters.solutions.ch09
"""

# %% [markdown]
# # Solutions of chapter 9

# %%
import numpy as np

from minivae.chapter import options, parser
from minivae.distributions import reparameterize
from minivae.gradcheck import gradcheck
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch09", __doc__, epochs=5), None)
rng = np.random.default_rng(opt.seed)
n = 20_000 if opt.quick else 200_000

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Let $f$ be a step, $f(z) = [z > 0]$.  Which estimator still works, and what does the other say?
#
# $\mathbb E_q[f] = P(z > 0) = \Phi(\mu/\sigma)$, and its gradient is $\frac1\sigma \varphi(\mu/\sigma)$ with the normal density $\varphi$.  The score function
# never asks for a slope: it works.  The reparameterized estimator asks for nothing else, and the slope of a step is 0 wherever it exists.  It says 0,
# without any variance, and is wrong: differentiating under the average needs an $f$ without jumps.

# %%
mu, sigma = 0.5, 0.8
truth = np.exp(-0.5 * (mu / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
eps = rng.standard_normal(n)
f = mu + sigma * eps > 0
score, slope_of_a_step = f * eps / sigma, np.zeros(n)
error = score.std() / np.sqrt(n)
print(f"∂E[f]/∂μ = {truth:.4f}; score function {score.mean():.4f} ± {error:.4f}; reparameterized {slope_of_a_step.mean():.4f} ± 0")
assert abs(score.mean() - truth) < 5 * error
for width in (0.5, 0.1, 0.02):                        # a steep sigmoid instead of the step: unbiased for *it*, and ever noisier
    y = 0.5 * (1 + np.tanh(0.5 * (mu + sigma * eps) / width))
    draws = y * (1 - y) / width
    print(f"  a sigmoid of width {width:4}: {draws.mean():.4f} ± {draws.std() / np.sqrt(n):.4f}, one draw's standard deviation {draws.std():.2f}")

# %% [markdown]
# ## Exercise 2
#
# > *Measure this.*  Add the gradient with respect to $\ell$.  Is the ratio of variances the same?
#
# Through the draw it is $f'(z) \cdot \tfrac12 \sigma\varepsilon$.  The score is $\partial \log q / \partial \ell = \tfrac12 (\varepsilon^2 - 1)$, from
# $\log q = -\tfrac12 (z - \mu)^2 e^{-\ell} - \tfrac12 \ell + \dots$  For the chapter's quadratic, $f = -\tfrac12 \lVert z - c \rVert^2$ with $c_i = 1$, $\mu = 0$, $\sigma = 1$,
# the reparameterized draws are $1 - \varepsilon$ for $\mu$, of variance 1, and $\tfrac12 (\varepsilon - \varepsilon^2)$ for $\ell$, of variance
# $\tfrac14 (1 + 2) = \tfrac34$.  The score function's draws are $f$ times $\varepsilon$, of variance 1, or times $\tfrac12 (\varepsilon^2 - 1)$, of variance
# $\tfrac12$; in many dimensions $f$ is nearly independent of one $\varepsilon_i$, so both ratios grow like $\mathbb E f^2$, with a constant $1$ for
# $\mu$ and $\tfrac12 / \tfrac34 = \tfrac23$ for $\ell$.

# %%
ratios = {}
for Z in (1, 10, 100):
    noise = rng.standard_normal((n // 10, Z))
    value = -0.5 * ((noise - 1) ** 2).sum(axis=1)
    e = noise[:, 0]
    draws = {"μ": (1 - e, value * e), "ℓ": (0.5 * (1 - e) * e, value * 0.5 * (e**2 - 1))}
    for name, (ours, score) in draws.items():
        ratios[Z, name] = score.var() / ours.var()
        assert abs(ours.mean() - score.mean()) < 5 * score.std() / np.sqrt(len(e))
    print(f"Z = {Z:3}: score ÷ reparameterized variance: {ratios[Z, 'μ']:8.1f} for μ, {ratios[Z, 'ℓ']:8.1f} for ℓ, "
          f"their quotient {ratios[Z, 'ℓ'] / ratios[Z, 'μ']:.2f}")
assert abs(ratios[100, "ℓ"] / ratios[100, "μ"] - 2 / 3) < 0.15

digits = opt.digits()
images = digits.train[:500] if opt.quick else digits.train
vae = VAEConfig(784, (50 if opt.quick else 200,), 10).build(seed=opt.seed, images=images)
fit(vae, images, epochs=opt.epochs, seed=opt.seed, progress=False)


def both_variances(x, count):
    """Score ÷ reparameterized variance of one draw of ∂E[nll]/∂μ and of ∂E[nll]/∂ℓ, for one image."""
    mean, logvar = (np.repeat(part, count, axis=0) for part in vae.encode(x[None]))
    eps = rng.standard_normal(mean.shape, dtype=mean.dtype)
    z, pull_z = reparameterize(mean, logvar, eps=eps)
    outputs, pull_decoder = vae.decoder(z)
    nll, pull_nll = vae.likelihood(outputs, x=np.repeat(x[None], count, axis=0))
    ours = pull_z(pull_decoder(pull_nll(np.ones_like(nll))))
    scores = eps / np.exp(0.5 * logvar), 0.5 * (eps**2 - 1)
    return [(nll[:, None] * score).var(axis=0).sum() / d.var(axis=0).sum() for d, score in zip(ours, scores)]


found = np.array([both_variances(x, 500 if opt.quick else 5000) for x in digits.test[:5 if opt.quick else 20]])
middle = np.median(found, axis=0)
print(f"a VAE, the median of {len(found)} digits: {middle[0]:,.0f} times for μ, {middle[1]:,.0f} times for ℓ")
assert (found > 1).all()

# %% [markdown]
# Not the same, but as hopeless: what makes the score function noisy, the value of $f$ with all its dimensions and its constant part, multiplies
# both.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  If $\varepsilon$ is uniform on $(0, 1)$ and $F$ the distribution function of $q$, then $z = F^{-1}(\varepsilon)$.
# > Find the pullback for the exponential distribution with rate $\lambda$.
#
# $F$ is increasing, so $P(F^{-1}(\varepsilon) \le z) = P(\varepsilon \le F(z)) = F(z)$: the draw has the distribution $F$.  For the exponential one,
# $F(z) = 1 - e^{-\lambda z} = \varepsilon$ gives
#
# $$ z = -\frac{\log(1 - \varepsilon)}{\lambda}, \qquad \frac{\partial z}{\partial \lambda} = \frac{\log(1 - \varepsilon)}{\lambda^2} = -\frac{z}{\lambda}, \qquad
#    d\lambda = \sum -\frac{z}{\lambda}\, dz . $$
#
# The same without inverting: $F(z; \lambda) = \varepsilon$ stays true as $\lambda$ moves, so $q(z)\, \partial z/\partial \lambda + \partial F/\partial \lambda = 0$, and
# $-z e^{-\lambda z} / (\lambda e^{-\lambda z}) = -z/\lambda$.  That works for distributions whose $F^{-1}$ nobody can write down.

# %%
def exponential(rate, *, eps):                        # both (B, Z)
    """z = −log(1 − ε) / λ,   ε ~ U(0, 1)"""
    z = -np.log1p(-eps) / rate
    return z, lambda dz: -z / rate * dz


rate = 2.0
print(gradcheck(exponential, np.exp(rng.standard_normal((3, 4))), eps=rng.random((3, 4))))
z, pullback = exponential(np.full((n, 1), rate), eps=rng.random((n, 1)))
draws = pullback(2 * z)[:, 0]                         # of ∂E[z²]/∂λ, which is the derivative of 2/λ²
error = draws.std() / np.sqrt(n)
print(f"P(z > 1) = {np.mean(z > 1):.4f}, e^−λ = {np.exp(-rate):.4f};   ∂E[z²]/∂λ = {draws.mean():.4f} ± {error:.4f}, −4/λ³ = {-4 / rate**3:.4f}")
assert abs(np.mean(z > 1) - np.exp(-rate)) < 5 * np.sqrt(np.exp(-rate) / n)
assert abs(draws.mean() + 4 / rate**3) < 5 * error
