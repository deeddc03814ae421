"""Solutions of chapter 4 · Optimisation: from gradient descent to Adam.

    python -m chapters.solutions.ch04
"""

# %% [markdown]
# # Solutions of chapter 4

# %%
import numpy as np

from chapters.ch04_optimisation import CURVATURE, RATES, RULES, adam
from minivae import plots
from minivae.chapter import options, parser

opt, _ = options(parser("solutions/ch04", __doc__), None)


def walk(rule, rate, steps, scale=1.0):
    """The way down the chapter's ravine, with the loss multiplied by `scale`."""
    theta, memory, points = np.array([-4.0, 1.2]), {}, []
    for t in range(1, steps + 1):
        points.append(theta.copy())
        rule(theta, scale * CURVATURE * theta, memory, t, rate)
    return np.array([*points, theta])


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Multiply the loss by 1000.  Which of the four rules notice?  Which need a new rate?
#
# The gradient becomes $1000\, g$.  SGD's step and momentum's are linear in $g$: they become a thousand times larger, and both need
# $\eta / 1000$, with which they take the old path to the last bits.  AdaGrad and Adam divide by a root of squares that has grown by the
# same factor: $1000\, g / \sqrt{10^6 s} = g / \sqrt s$.  They do not notice, but for the $\epsilon = 10^{-8}$ in the denominator, which has
# become a thousandth of what it was.

# %%
for name, (rule, _) in RULES.items():
    before = walk(rule, RATES[name], 60)
    with np.errstate(over="ignore", invalid="ignore"):
        same_rate = walk(rule, RATES[name], 60, scale=1000)
    new_rate = walk(rule, RATES[name] / 1000, 60, scale=1000)
    off = np.abs(same_rate - before).max()
    print(f"{name:9} same rate: the path is off by {off:.0e};   a thousandth of the rate: by {np.abs(new_rate - before).max():.0e}")
    notices = name in ("SGD", "momentum")
    assert (off > 1e3) if notices else (off < 1e-6)
    assert (np.abs(new_rate - before).max() < 1e-12) == notices

# %% [markdown]
# ## Exercise 2
#
# > *Measure this.*  Leave out Adam's division by $1 - \beta^t$.  Plot the first twenty steps.
#
# Both memories start too small, so one might expect small steps.  They are too *large*: with a constant gradient $m = (1 - \beta_1^t)\, g$
# and $\sqrt s = \sqrt{1 - \beta_2^t}\; |g|$, and the denominator, which remembers for longer, is the further off.  The first step is
# $(1 - \beta_1)/\sqrt{1 - \beta_2} = 0.1/\sqrt{0.001} \approx 3.2$ times $\eta$, and the next ones grow.

# %%
def adam_uncorrected(theta, g, memory, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = (memory.setdefault(name, np.zeros_like(theta)) for name in "ms")
    m[:] = beta1 * m + (1 - beta1) * g
    s[:] = beta2 * s + (1 - beta2) * g**2
    theta -= rate * m / (np.sqrt(s) + eps)


t = np.arange(1, 10_001)
factor = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)
print(f"constant gradient: the first step is {factor[0]:.2f} η, the largest {factor.max():.2f} η, at t = {t[factor.argmax()]}; "
      f"only from t = {t[factor > 1.1].max() + 1} on is it below 1.1 η")
taken = {}
for rule in (adam, adam_uncorrected):
    position, memory = np.zeros(1), {}
    rule(position, np.ones(1), memory, 1, 1.0)
    taken[rule] = -position[0]
assert np.allclose([taken[adam], taken[adam_uncorrected]], [1, factor[0]])

paths = {"Adam": walk(adam, RATES["Adam"], 20), "not corrected": walk(adam_uncorrected, RATES["Adam"], 20)}
fig, axes = plots.figure(1, 2, width=9, height=3)
for (name, points), marker in zip(paths.items(), "os"):
    axes[0].plot(*points.T, marker=marker, ms=3, label=name)
    axes[1].semilogy(0.5 * (CURVATURE * points**2).sum(axis=1), marker=marker, ms=3, label=name)
axes[0].set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
axes[1].set(xlabel="step", ylabel="loss")
axes[0].legend()
opt.save(fig, "uncorrected", alt="Left: twenty steps in the ravine; corrected Adam curves to the minimum in small steps, uncorrected Adam "
         "swings about twice as far across, past the minimum and back. Right: the loss over the steps, on a logarithmic axis; "
         "the uncorrected one's goes up and down more often, and is mostly the higher.")
first = {name: np.abs(points[1] - points[0]) for name, points in paths.items()}
print("first steps:", *(f"{name} {step.round(3)}" for name, step in first.items()))
assert np.allclose(first["not corrected"] / first["Adam"], factor[0], rtol=1e-5)
height = {name: -points[:, 1].min() for name, points in paths.items()}
print("how far across the ravine:", *(f"{name} {far:.2f}" for name, far in height.items()))
assert height["not corrected"] > 1.5 * height["Adam"]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  For momentum on $L = \tfrac12 \lambda\, \theta^2$, write one step as a $2 \times 2$ matrix on
# > $(\theta, v)$.  For which $\eta$ are both eigenvalues inside the unit circle?
#
# $v' = \beta v + \lambda \theta$ and $\theta' = \theta - \eta v' = (1 - \eta\lambda)\, \theta - \eta\beta\, v$, so
#
# $$ \begin{pmatrix} \theta' \\ v' \end{pmatrix} = M \begin{pmatrix} \theta \\ v \end{pmatrix}, \qquad
#    M = \begin{pmatrix} 1 - \eta\lambda & -\eta\beta \\ \lambda & \beta \end{pmatrix}, \qquad
#    \det M = \beta, \quad \mathrm{tr}\, M = 1 + \beta - \eta\lambda . $$
#
# The eigenvalues are the roots of $P(r) = r^2 - (1 + \beta - \eta\lambda)\, r + \beta$, with $0 \le \beta < 1$ and $\lambda > 0$.
#
# * If they are complex, they are conjugate, and $|r|^2 = r \bar r = \det M = \beta < 1$: inside, for every such $\eta$.
# * If they are real, their product is $\beta < 1$.  $P(1) = \eta\lambda$ and $P(-1) = 2(1 + \beta) - \eta\lambda$.  $P$ opens upwards, so if
#   both values are positive, neither 1 nor $-1$ lies between the roots: both are in $(-1, 1)$, or both beyond the same end, which their product
#   forbids.  If one of the values is zero or negative, a root lies on that end or beyond.
#
# For complex roots both values are positive, too ($P$ has no real zero).  So in all cases
#
# $$ \text{inside} \iff 0 < \eta < \frac{2\,(1 + \beta)}{\lambda} . $$
#
# That is $1 + \beta$ times what gradient descent allows, which is $\beta = 0$.  And between the two $\eta$ where
# $|1 + \beta - \eta\lambda| = 2\sqrt\beta$ the roots are complex, $|r| = \sqrt\beta$, whatever $\eta$ and whatever $\lambda$: that is why momentum
# is good in ravines.

# %%
def radius(eta, beta, lam):
    M = np.array([[1 - eta * lam, -eta * beta], [lam, beta]])
    return np.abs(np.linalg.eigvals(M)).max()


rng = np.random.default_rng(opt.seed)
right = 0
for _ in range(2000):
    beta, lam = rng.uniform(0, 0.99), np.exp(rng.uniform(-3, 3))
    limit = 2 * (1 + beta) / lam
    eta = limit * rng.uniform(0.01, 2)
    right += (radius(eta, beta, lam) < 1) == (eta < limit)
    if abs(1 + beta - eta * lam) < 2 * np.sqrt(beta):
        assert np.isclose(radius(eta, beta, lam), np.sqrt(beta))
print(f"in {right} of 2000 draws of (η, β, λ) the largest eigenvalue is inside exactly if η is below the limit")
assert right == 2000

limit = 2 * (1 + 0.9) / 50                            # the steep direction of the chapter's ravine
for eta in (0.99 * limit, 1.01 * limit):
    end = walk(RULES["momentum"][0], eta, 3000)[-1]
    print(f"the ravine, η = {eta:.4f}, limit {limit:.4f}: after 3000 steps |θ₂| is {abs(end[1]):.1e}")
    assert (abs(end[1]) < 1e-3) == (eta < limit)
