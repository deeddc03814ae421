"""Solutions of chapter 25 · The two-stage VAE.

    python -m chapters.solutions.ch25
"""

# %% [markdown]
# # Solutions of chapter 25

# %%
import numpy as np

from chapters.ch25_two_stage import frechet, judge
from minivae.chapter import options, parser
from minivae.evaluation import digit_features, frechet_between, frechet_distance
from minivae.nn import Adam, cosine
from minivae.training import fit
from minivae.variants import TwoStageConfig, VAEConfig

opt, _ = options(parser("solutions/ch25", __doc__, epochs=15), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()
train, test = digits.train[:200 if opt.quick else 2000], digits.test[:100 if opt.quick else 500]

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Give the first VAE 5 latents, then 60.  Where is one stage enough, and why?
#
# Half of the digits, smaller networks, one seed.

# %%
found = {}
for latents in (5, 60):
    steps = -(-len(train) // 100)
    model = TwoStageConfig(VAEConfig(784, (30,) if opt.quick else (200,), latents, "relu", "gaussian_shared"), (30,) if opt.quick else (128, 128)).build(
        seed=opt.seed, images=train, first_steps=opt.epochs * steps, optimizers=(Adam(2e-3), Adam(cosine(2e-3, steps=3 * opt.epochs * steps))))
    fit(model, train, epochs=4 * opt.epochs, batch_size=100, seed=opt.seed, progress=False)
    found[latents] = scores = {name: quality.frechet for name, quality in judge(model, train, test, opt.seed).items()}
    print(f"{latents:2} latents, Fréchet distance to unseen digits: " + ", ".join(f"{name} {fd:.1f}" for name, fd in scores.items()))
one, two = ({latents: list(scores.values())[i] for latents, scores in found.items()} for i in (0, 2))
print(f"the second stage divides it by {one[5] / two[5]:.2f} at 5 latents, by {one[60] / two[60]:.2f} at 60")
assert opt.quick or one[60] / two[60] > one[5] / two[5]

# %% [markdown]
# With few latents every one of them is worth its KL, and the codes fill their space: $q(z)$ is near $\mathcal N(0, I)$, and there is little for the second stage to learn; what is lost is lost by the
# decoder.  With many there are more than the digits' surface has dimensions.  Codes lie on a thin part of their space, draws of $\mathcal N(0, I)$ miss it, and knowing where it is is worth
# most.  (After so short a training of the second VAE a Gaussian that is fitted to the codes knows it as well.)

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Compare 1,000 samples of one model with 200 of the other by `frechet_between`, each with its own
# > covariance.  Which way is the comparison unfair?  What does `frechet_distance` say?
#
# A covariance from few samples is too bumpy: some directions come out too small and others too large, and the distance counts every difference as one, whatever its sign.  So it is biased *upwards*, and
# more for fewer samples: the model with 200 looks worse than it is.  To see it take two halves of the same thing, real digits, where the right answer is 0.

# %%
features = digit_features(digits.train[:700 if opt.quick else 4000])


def moments(rows):
    return rows.mean(axis=0), np.cov(rows.T)


n = 300 if opt.quick else 1000
reference, distances = moments(features[:n]), {}
for count in (n, n // 5):
    rows = [features[n + i * count:n + (i + 1) * count] for i in range(max(1, min(3, (len(features) - n) // count)))]
    distances[count] = np.mean([frechet_between(*moments(r), *reference) for r in rows])
    print(f"{count:4} real digits against {n} others: {distances[count]:.2f}")
assert distances[n // 5] > 1.5 * distances[n]
try:
    frechet_distance(features[:n // 5], features[n // 5:n])
    raise RuntimeError("it compared them")
except ValueError as error:
    print(f"frechet_distance says: {error}")

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that $\mathrm{FD} = \min \mathbb E \lVert a - b \rVert^2$ over all joint distributions with
# > $a \sim \mathcal N(m_1, C_1)$ and $b \sim \mathcal N(m_2, C_2)$, for diagonal $C_1$ and $C_2$.  (One coordinate at a
# > time: for which correlation is $\mathbb E (a - b)^2$ least?)
#
# The squared norm is a sum over coordinates, and each term only knows the joint distribution of $(a_i, b_i)$.  With standard deviations $s_i$, $t_i$ and correlation $\rho_i \in [-1, 1]$
#
# $$ \mathbb E (a_i - b_i)^2 = (m_{1i} - m_{2i})^2 + s_i^2 + t_i^2 - 2 \rho_i s_i t_i \;\ge\; (m_{1i} - m_{2i})^2 + (s_i - t_i)^2, $$
#
# least at $\rho_i = 1$.  All coordinates can have that at once: $a = m_1 + s\, \varepsilon$ and $b = m_2 + t\, \varepsilon$ with the *same* $\varepsilon \sim \mathcal N(0, I)$ have the right distributions.  So the sum of
# the least terms is the least sum.  And for diagonal matrices $(C_1^{1/2} C_2 C_1^{1/2})^{1/2}$ is diagonal with $s_i t_i$:
# $\mathrm{tr}(C_1 + C_2 - 2 (\cdot)^{1/2}) = \sum_i (s_i^2 + t_i^2 - 2 s_i t_i)$, the formula.

# %%
m1, m2, s, t = *rng.standard_normal((2, 4)), *np.exp(rng.standard_normal((2, 4)))
formula = ((m1 - m2) ** 2 + (s - t) ** 2).sum()
costs = {}
for rho in (1.0, 0.5, 0.0, -1.0):
    e, other = rng.standard_normal((2, 200_000, 4))
    a, b = m1 + s * e, m2 + t * (rho * e + np.sqrt(1 - rho**2) * other)
    each = ((a - b) ** 2).sum(axis=1)
    costs[rho] = each.mean()
    print(f"correlation {rho:4}: E‖a − b‖² = {each.mean():.4f} ± {each.std() / np.sqrt(len(each)):.4f}")
    assert abs(each.mean() - formula - 2 * (1 - rho) * (s * t).sum()) < 5 * each.std() / np.sqrt(len(each))
print(f"the chapter's frechet {frechet(m1, np.diag(s**2), m2, np.diag(t**2)):.6f}, the sum {formula:.6f}")
assert np.isclose(frechet(m1, np.diag(s**2), m2, np.diag(t**2)), formula)
assert min(costs, key=costs.get) == 1.0
