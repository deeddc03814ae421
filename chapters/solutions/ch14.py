"""Solutions of chapter 14 · Full covariance and the change of variables.

    python -m chapters.solutions.ch14
"""

# %% [markdown]
# # Solutions of chapter 14

# %%
import numpy as np

from chapters.ch14_change_of_variables import couple
from minivae.chapter import options, parser
from minivae.evaluation import Estimate
from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import Adam, cosine
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch14", __doc__, epochs=40), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with 2 and with 40 latents.  Where does the full covariance gain most, and why not always?
#
# Half of the chapter's digits and half of its units; two seeds each, because the luck of a run is of the size of what we look for.

# %%
digits = opt.digits()
train = digits.train[:100 if opt.quick else 2000]
test = (rng.random(digits.test.shape) < digits.test).astype(np.float32)[:50 if opt.quick else 400]


def elbo_of(latents, posterior, seed):
    vae = VAEConfig(784, (30 if opt.quick else 100,), latents, "tanh", posterior=posterior).build(
        seed=seed, images=train, optimizer=Adam(cosine(2e-3, steps=opt.epochs * -(-len(train) // 100))))
    fit(vae, train, epochs=opt.epochs, batch_size=100, binarize=True, seed=seed, progress=False)
    return -sum(vae.terms(test, np.random.default_rng(seed), 10)).astype(float)


for latents in (2, 10, 40):
    gains = []
    for seed in range(1 if opt.quick else 2):
        diagonal, full = (elbo_of(latents, posterior, seed) for posterior in ("diagonal", "full"))
        gains.append(Estimate.of(full - diagonal))
    numbers = latents * (latents + 1) // 2
    print(f"{latents:2} latents: {numbers:3} numbers for L instead of {latents:2}; full − diagonal on unseen digits, seed by seed: "
          + ", ".join(f"{gain}" for gain in gains) + " nats")
assert all(np.isfinite(gain.mean) for gain in gains)

# %% [markdown]
# What correlation can win is $\tfrac12 \big(\sum_i \log (S^{-1})_{ii} + \log |S|\big)$ for each image (exercise 3), and that depends on the
# *decoder*: one that was trained with a diagonal $q$ has learned to need no correlation (its latents explain different things).  Against
# this stands the price: the encoder's last layer must learn $Z(Z+1)/2$ numbers instead of $Z$ from the same digits.  With two latents there is one
# correlation to win, nearly for free.  With ten and with forty the full covariance *loses* nats here: with 2,000 digits and 40 epochs the price is higher
# than the prize.  (All of MNIST pays for it: see README.)  Where a gain is less than twice its ±, or changes its sign with the seed, nothing was shown.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Leave `+ dlogdet[:, None]` out of `couple`.  What does the gradient check say, and what would training
# > do to the scales?
#
# The check hands in a cotangent for each output, so it sees that the second one is never heard: the gradient of `raw` is wrong, those of $z$ and the
# shift are right.
#
# In the ELBO the log-determinant is the entropy of $q$: the term that says *stay wide*.  A flow that is deaf to it climbs
# $\mathbb E[\log p(x, z)]$ alone, whose best $q$ is a spike on the mode: the scales shrink without end.

# %%
def deaf_couple(z, raw, shift):
    value, pullback = couple(z, raw, shift)
    return value, lambda dy, dlogdet: pullback(dy, 0 * dlogdet)


print(gradcheck(couple, *rng.standard_normal((3, 4, 3))))
try:
    gradcheck(deaf_couple, *rng.standard_normal((3, 4, 3)))
    raise RuntimeError("it passed")
except GradientError as error:
    print(error)


def scales(coupling, steps=400):
    """Fit y = z e^s + shift, z ~ N(0, I), to N(1, 0.5² I) by climbing E[log p(y)] + log |det|; the scales e^s at the end."""
    raw, shift = np.zeros((1, 3)), np.zeros((1, 3))
    for _ in range(steps):
        z = rng.standard_normal((200, 3))
        (y, _), pullback = coupling(z, np.repeat(raw, 200, 0), np.repeat(shift, 200, 0))
        _, draw, dshift = pullback(-(y - 1) / 0.25 / 200, np.full(200, 1 / 200))     # upwards
        raw, shift = raw + 0.1 * draw.sum(axis=0), shift + 0.05 * dshift.sum(axis=0)
    return np.exp(2 * np.tanh(0.5 * raw))[0], shift[0]


for coupling in (couple, deaf_couple):
    found, shift = scales(coupling)
    print(f"{coupling.__name__:12} scales {found.round(3)} (right: 0.5), shift {shift.round(2)}")
    assert np.all(np.abs(found - 0.5) < 0.05) == (coupling is couple)
assert np.all(found < 0.2)

# %% [markdown]
# (They end at $e^{-2} = 0.135$ only because the library's coupling bounds them, $s = 2 \tanh(\cdot)$.)

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that the best diagonal Gaussian under $\mathrm{KL}(q \Vert p)$ for a Gaussian $p$ has the variances
# > $1/(S^{-1})_{ii}$, and that these are smaller than the marginal ones, $S_{ii}$.
#
# For $q = \mathcal N(m, \mathrm{diag}\, d)$, $p = \mathcal N(\mu, S)$ and $\Lambda = S^{-1}$,
#
# $$ \mathrm{KL}(q \,\Vert\, p) = \tfrac12 \Big( \sum_i \Lambda_{ii} d_i + (m - \mu)^\top \Lambda\, (m - \mu) - Z - \sum_i \log d_i + \log |S| \Big), $$
#
# because $\mathrm{tr}(\Lambda\, \mathrm{diag}\, d)$ only sees the diagonal of $\Lambda$.  The mean is best at $\mu$.  $\Lambda_{ii} d_i - \log d_i$ is convex, with derivative
# $\Lambda_{ii} - 1/d_i$: zero at $d_i = 1/\Lambda_{ii}$.
#
# **Smaller.**  Let $e$ be the $i$-th unit vector, $a = S^{1/2} e$, $b = S^{-1/2} e$.  Then $a^\top b = 1$, and by Cauchy and Schwarz
#
# $$ 1 = (a^\top b)^2 \le \lVert a \rVert^2 \lVert b \rVert^2 = S_{ii}\, \Lambda_{ii}, \qquad \text{so} \quad \frac{1}{\Lambda_{ii}} \le S_{ii}, $$
#
# with equality only if $a \parallel b$, that is if $S e \parallel e$: if $z_i$ is correlated with no other.  In words: $1/\Lambda_{ii}$ is the variance of
# $z_i$ when all others are *known*, and $S_{ii}$ when they are not.

# %%
A = rng.standard_normal((4, 4))
S = A @ A.T + 0.3 * np.eye(4)
precision = np.linalg.inv(S)


def kl(d):
    return 0.5 * (np.diag(precision) @ d - 4 - np.log(d).sum() + np.linalg.slogdet(S)[1])


best = 1 / np.diag(precision)
nearby = [kl(best * np.exp(0.05 * rng.standard_normal(4))) for _ in range(1000)]
gain = 0.5 * (np.log(np.diag(precision)).sum() + np.linalg.slogdet(S)[1])
others = [1, 2, 3]
conditional = S[0, 0] - S[0, others] @ np.linalg.solve(S[np.ix_(others, others)], S[others, 0])
print(f"variances 1/(S⁻¹)ᵢᵢ {best.round(3)}, marginal {np.diag(S).round(3)};  KL {kl(best):.4f}, of 1000 neighbours at least {min(nearby):.4f}")
print(f"variance of z₁ given the others: {conditional:.6f}, 1/(S⁻¹)₁₁ = {best[0]:.6f}")
assert kl(best) < min(nearby)
assert np.isclose(kl(best), gain)
assert np.all(best < np.diag(S))
assert np.isclose(conditional, best[0])
