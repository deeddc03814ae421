"""Solutions of chapter 16 · How likely is the data, really?

    python -m chapters.solutions.ch16
"""

# %% [markdown]
# # Solutions of chapter 16

# %%
from itertools import pairwise

import numpy as np

from chapters.ch16_how_likely import ais, hmc, parabola, truth_by_grid
from minivae.chapter import options, parser
from minivae.evaluation import ais as library

opt, _ = options(parser("solutions/ch16", __doc__), None)
rng = np.random.default_rng(opt.seed)
truth = truth_by_grid()
print(f"the chapter's parabola: log p(x) = {truth:.4f} by a grid")

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Use 1, 4 and 64 chains instead of 16.  What shrinks like $1/\sqrt C$, and what does not?
#
# $\hat p = \frac1C \sum_c w_c$ is a mean of $C$ independent weights, each with the mean $p(x)$: its standard deviation shrinks like $1/\sqrt C$, and where it is
# small so does that of its logarithm.  The *bias* of the logarithm does not.  With the relative error $\delta$ of $\hat p$,
# $\mathbb E \log(1 + \delta) \approx -\tfrac12 \mathrm{Var}(\delta) \propto 1/C$: it shrinks faster.  And the noise of one weight, which is what both are multiples of, does not
# shrink with $C$ at all: only more temperatures make it smaller.

# %%
repeats, T = 30 if opt.quick else 300, 15
log_w, _ = ais(parabola, library.schedule(T), 0.1, 64 * repeats, rng, 2)
spread = {}
for C in (1, 4, 16, 64):
    estimates = np.logaddexp.reduce(log_w.reshape(-1, C), axis=1) - np.log(C)
    bias, error = estimates.mean() - truth, estimates.std(ddof=1)
    spread[C] = error
    print(f"{C:2} chains: log p(x) is off by {bias:+.3f} ± {error / np.sqrt(len(estimates)):.3f} on average; its standard deviation "
          f"{error:.3f}, times √C {error * np.sqrt(C):.2f};  one weight's log has {log_w.std():.2f}")
assert spread[64] < spread[16] < spread[4] < spread[1]
assert 0.7 < spread[16] / (2 * spread[64]) < 1.5

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Accept every move.  Which of the two promises is broken, and in which direction does log p(x) go?
#
# The proof needs each transition to keep $f_t$, and it is accepting and refusing that makes the leapfrog keep it: without, the energy's error goes
# uncorrected.  (That the first draws are exact, and the weighing, stay right.)  A leapfrog with step $h$ conserves another energy exactly,
# which for a quadratic well $\tfrac12 \kappa z^2$ is that of a well with $\kappa (1 - \kappa h^2/4)$: the points lie *too wide*, out where $p(x \mid z)$ is small, and
# weights that multiply such values come out too small: $\log p(x)$ goes down.  And beyond $h = 2/\sqrt\kappa$ the points run away altogether.

# %%
def ais_without_refusing(log_lik, betas, step, chains):
    """The chapter's `ais`, with every move accepted."""
    z, log_w = rng.standard_normal((chains, 2)), np.zeros(chains)
    for before, beta in pairwise(betas):
        log_w += (beta - before) * log_lik(z)[0]
        p = rng.standard_normal(z.shape)
        _, slope = log_lik(z)
        for _ in range(10):
            p = p + 0.5 * step * (beta * slope - z)
            z = z + step * p
            _, slope = log_lik(z)
            p = p + 0.5 * step * (beta * slope - z)
    return log_w


def log_mean(log_w):
    """log of the mean weight, and its standard error"""
    value = np.logaddexp.reduce(log_w) - np.log(len(log_w))
    return value, np.exp(log_w - value).std() / np.sqrt(len(log_w))


chains, found = 1000 if opt.quick else 4000, {}
for step in (0.02, 0.05, 0.1):
    right, wrong = (log_mean(w) for w in (ais(parabola, library.schedule(60), step, chains, rng, 2)[0],
                                          ais_without_refusing(parabola, library.schedule(60), step, chains)))
    found[step] = right, wrong
    print(f"step {step:4}: {right[0] - truth:+.3f} ± {right[1]:.3f} nats off with refusals, {wrong[0] - truth:+.3f} ± {wrong[1]:.3f} without")


def variance_kept(step, kappa=4.0, n=20_000):
    """The variance of HMC's points in a well with curvature κ, times κ: 1 if the well is kept"""
    z, p = rng.standard_normal((2, n)) / np.array([[np.sqrt(kappa)], [1.0]])
    for _ in range(60):
        p = rng.standard_normal(n)
        for _ in range(10):
            p = p - 0.5 * step * kappa * z
            z = z + step * p
            p = p - 0.5 * step * kappa * z
    return kappa * z.var()


kept = variance_kept(0.5)
print(f"a well with κ = 4 and steps of 0.5: variance {kept:.3f} times the right one, 1/(1 − κh²/4) = {1 / (1 - 0.25):.3f}")
assert abs(kept - 1 / 0.75) < 0.06
assert all(abs(right[0] - truth) < 5 * right[1] + 0.05 for right, _ in found.values())
assert found[0.1][1][0] < truth - 3 * found[0.1][1][1]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Start the chains at $q(z \mid x)$ instead of the prior, with $f_t = q^{1-\beta_t}\, p(x, z)^{\beta_t}$.
# > What is the weight?  What do you get for $T = 1$?
#
# $f_0 = q$, from which we can draw, with $Z_0 = 1$; $f_T = p(x, z)$, with $Z_T = p(x)$.  The induction of the chapter used nothing else, so the mean
# weight is again $p(x)$.  Each factor is $f_t/f_{t-1} = (p(x, z)/q(z))^{\beta_t - \beta_{t-1}}$:
#
# $$ \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \big( \log p(x, z_{t-1}) - \log q(z_{t-1}) \big) . $$
#
# For $T = 1$ there is one factor, with $\beta_1 - \beta_0 = 1$ and $z_0 \sim q$: $w = p(x, z)/q(z)$, importance weighting, and $\log$ of the mean of $C$
# weights is $\mathcal L_C$ of chapter 13.  Annealing from $q$ is importance weighting with bridges.

# %%
def log_joint(z):
    value, slope = parabola(z)
    return value - 0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi), slope - z


def from_q(T, chains, mean, std, rng):
    """log w of chains that start at q = N(mean, std²)"""
    def log_q(z):
        return (-0.5 * ((z - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(axis=1), -(z - mean) / std**2

    betas, z = np.linspace(0, 1, T + 1), mean + std * rng.standard_normal((chains, 2))
    log_w = np.zeros(chains)
    for before, beta in pairwise(betas):
        log_w += (beta - before) * (log_joint(z)[0] - log_q(z)[0])

        def log_f(z, beta=beta):
            (p, dp), (q, dq) = log_joint(z), log_q(z)
            return beta * p + (1 - beta) * q, beta * dp + (1 - beta) * dq

        with np.errstate(over="ignore", invalid="ignore"):      # far out the parabola is steep: such moves are refused
            z = hmc(z, log_f, 0.1, 10, rng)
    return log_w


wide, narrow = (np.zeros(2), np.array([1.3, 1.1])), (np.array([1.3, 0.4]), np.array([0.4, 0.8]))
for name, (mean, std) in (("over both modes", wide), ("over one of them", narrow)):
    for T in (1, 10, 100):
        log_w = from_q(T, chains, mean, std, rng)
        value, error = log_mean(log_w)
        print(f"q {name:16}, T = {T:3}: {value - truth:+.3f} ± {error:.3f} nats off; variance of log w {log_w.var():8.2f}")
    assert abs(value - truth - (np.log(0.5) if name == "over one of them" else 0)) < 5 * error + 0.05
z = wide[0] + wide[1] * np.random.default_rng(1).standard_normal((chains, 2))
log_density = (-0.5 * (z / wide[1]) ** 2 - np.log(wide[1]) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
assert np.allclose(from_q(1, chains, *wide, np.random.default_rng(1)), log_joint(z)[0] - log_density)   # T = 1: p(x, z)/q(z), draw by draw

# %% [markdown]
# A start at $q$ keeps the danger that the prior avoids.  Where $q$ sits on one of two modes, its draws for $T = 1$ miss the other: half of $p(x)$ is missing, $\log 2 = 0.69$ nats, with a small error bar beside it that does not tell.  With
# bridges a few chains find the other mode, and carry enormous weights: right on average, and noisy.
