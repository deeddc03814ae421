"""Chapter 16 · How likely is the data, really?

The question     Every number so far was a bound.  How far below the truth is it?
What is new      annealed importance sampling, Hamiltonian Monte Carlo, and a bound from above.
What you'll see  log p(x) found without an encoder, on a model where it is known to twelve digits; an encoder that
                 fools importance weighting and not annealing; and both bounds, from below and above, on a real VAE.

    python chapters/ch16_how_likely.py                       about a minute and a half
    minivae evaluate runs/mnist --ais 1000 --images 100      on a run of your own, in the paper's manner
"""

# %% [markdown]
# # 16 · How likely is the data, really?
#
# Importance weighting (chapter 13) draws from $q(z \mid x)$ and hopes that it covers the posterior.  Where it does not,
# the weights are tiny but for one in a million, and a thousand draws tell you nothing: the bound is low, and you cannot
# see how low.  **Annealed importance sampling** asks nothing of $q$.  It walks from the prior to the posterior through
#
# $$ f_t(z) = p(z)\, p(x \mid z)^{\beta_t}, \qquad 0 = \beta_0 < \beta_1 < \dots < \beta_T = 1 . $$
#
# Start with $z_0 \sim p(z)$.  At each temperature, first *weigh* the point, $w \leftarrow w \cdot f_t(z)/f_{t-1}(z)$, then
# *move* it by any transition that leaves $f_t$ as it is.
#
# **Why the mean weight is $p(x)$.**  Let $Z_t = \int f_t$, so that $Z_0 = 1$ and $Z_T = p(x)$.  Suppose that after
# step $t - 1$, $\mathbb E[w\, h(z)] = \int f_{t-1}\, h$ for every function $h$.  Weighing turns this into
# $\mathbb E[w\, h(z)] = \int f_{t-1} \frac{f_t}{f_{t-1}}\, h = \int f_t\, h$; moving by a transition that keeps $f_t$ changes nothing.
# By induction it holds at $T$; put $h = 1$ (Neal 2001).  No chain had to converge.  And the logarithm of a mean of such
# weights is, on average, a **lower** bound.
#
# **From above.**  If $x$ was drawn from the model, together with $z^*$, then $z^*$ is an exact draw of the posterior.  Walk
# back from it to the prior: the same argument with the roles of prior and posterior exchanged says
# $\mathbb E[1/w] = 1/p(x)$, so that $-\log$ of a mean of $1/w$ is an **upper** bound (Grosse, Ghahramani and Adams 2015).

# %%
from itertools import pairwise

import numpy as np

from minivae import plots
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, annealed_importance_sampling, bidirectional, evaluate, log_likelihoods
from minivae.evaluation import ais as library
from minivae.nn import Adam, cosine
from minivae.parts import StandardNormal
from minivae.training import fit
from minivae.variants import VAEConfig
from minivae.variants.probabilistic_pca import as_vae, log_p, probabilistic_pca

# %% [markdown]
# ## Moving without getting lost
#
# A random step in twenty dimensions is nearly always refused.  **Hamiltonian Monte Carlo** rolls a ball over the landscape
# $-\log f$ instead: give it a random momentum $p$, follow Newton's laws for a while, and stop.  The *leapfrog* (half a
# kick, a drift, a kick, …, half a kick) does so almost exactly, and has two properties that are exact: run it backwards
# and you are where you came from; and it keeps volume, because each of its lines shears the plane.  So all that is left
# to correct is the error of the energy $H = -\log f(z) + \tfrac12 \Vert p \Vert^2$: accept with probability
# $\min(1, e^{-\Delta H})$.

# %%
def hmc(z, log_f, step, leapfrog, rng):               # z (R, Z); log_f(z) -> (R,) and its gradient (R, Z)
    p = rng.standard_normal(z.shape)
    value, slope = log_f(z)
    before = value - 0.5 * (p**2).sum(axis=1)
    new = z
    for _ in range(leapfrog):
        p = p + 0.5 * step * slope
        new = new + step * p
        value, slope = log_f(new)
        p = p + 0.5 * step * slope
    accept = np.log1p(-rng.random(len(z))) < value - 0.5 * (p**2).sum(axis=1) - before
    return np.where(accept[:, None], new, z)


def ais(log_lik, betas, step, chains, rng, latents):  # log_lik(z) -> log p(x|z) and its gradient
    """log w of so many chains, and where they went: (C,) and a list of (C, Z)"""
    z, log_w, path = rng.standard_normal((chains, latents)), np.zeros(chains), []
    for before, beta in pairwise(betas):
        log_w += (beta - before) * log_lik(z)[0]

        def log_f(z, beta=beta):
            value, slope = log_lik(z)
            return beta * value - 0.5 * (z**2).sum(axis=1), beta * slope - z

        z = hmc(z, log_f, step, 10, rng)
        path.append(z)
    return log_w, path


# %% [markdown]
# ## Two posterior modes, and a chain that finds both
#
# $z \sim \mathcal N(0, I)$ in the plane, $x = z_1^2 + \tfrac12 z_2$ seen with a little noise: two values of $z_1$ explain it.  The
# integral is a sum over a grid here, so the truth is known.

# %%
X, SIGMA = 2.0, 0.25


def parabola(z):
    residual = X - z[:, 0] ** 2 - 0.5 * z[:, 1]
    value = -0.5 * (residual / SIGMA) ** 2 - np.log(SIGMA) - 0.5 * np.log(2 * np.pi)
    return value, (residual / SIGMA**2)[:, None] * np.stack([2 * z[:, 0], np.full(len(z), 0.5)], axis=1)


def truth_by_grid():
    line = np.linspace(-6, 6, 1501)
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_f = parabola(z)[0] - 0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi)
    return np.log(np.exp(log_f).sum() * (line[1] - line[0]) ** 2)


def same_as_library(rng):
    """The largest difference between our move and minivae's, from the same random numbers."""
    z, seed = rng.standard_normal((50, 2)), int(rng.integers(1000))

    def log_f(z):
        value, slope = parabola(z)
        return value - 0.5 * (z**2).sum(axis=1), slope - z

    ours = hmc(z, log_f, 0.1, 10, np.random.default_rng(seed))
    theirs, _ = library.hmc(library.Chains.at(z, parabola, StandardNormal(2)), parabola, beta=1.0, step=0.1, leapfrog=10,
                            rng=np.random.default_rng(seed))
    return np.abs(ours - theirs.z).max()


# %% [markdown]
# ## Where log p(x) is known
#
# Probabilistic PCA of chapter 7, on digits: log p(x) is exact.  We spoil the encoder on purpose (its variance divided by
# a hundred) and ask everybody.

# %%
def against_the_truth(digits, opt):
    """Ks, IWAE's error with a right and a spoiled q; Ts, AIS's error: means and standard errors in nats"""
    mean, W, sigma = probabilistic_pca(digits.train.astype(np.float64), 10)
    x = plots.spread(digits.test, 10 if opt.quick else 30).astype(np.float64)
    vae, truth = as_vae(mean, W, sigma), log_p(x, mean, W, sigma)
    bias = vae.encoder.logvar.b.value
    right = bias.copy()
    Ks, Ts = ([1, 10], [10, 30]) if opt.quick else ([1, 10, 100, 1000, 5000], [10, 30, 100, 300, 1000])
    curves = {}
    for name, shift in (("right", 0.0), ("spoiled", np.log(100.0))):
        bias[...] = right - shift
        curves[name] = [Estimate.of(log_likelihoods(vae, x, samples=K, seed=opt.seed) - truth) for K in Ks]
    found = [annealed_importance_sampling(vae, x, chains=16, temperatures=T, seed=opt.seed, progress=not opt.quick)
             for T in Ts]
    return Ks, curves, Ts, [Estimate.of(a.log_p - truth) for a in found], truth.mean()


def trained(digits, opt):
    steps = opt.epochs * 40
    vae = VAEConfig(784, (40,) if opt.quick else (200,), 10, "tanh").build(
        seed=opt.seed, on=opt.device, images=digits.train, optimizer=Adam(cosine(2e-3, steps=steps)))
    fit(vae, digits.train, epochs=opt.epochs, batch_size=100, binarize=True, seed=opt.seed, progress=not opt.quick)
    return vae


def draw_chains(path, acceptance):
    fig, axes = plots.figure(1, 2, width=8.0, height=3.8)
    for t, colour, label in ((1, plots.COLOURS[4], "early"), (len(path) // 2, plots.COLOURS[2], "half way"),
                             (len(path) - 1, plots.COLOURS[0], "at the posterior")):
        axes[0].scatter(*path[t][:400].T, s=6, color=colour, label=label, linewidths=0, rasterized=True)
    axes[0].set(xlabel="$z_1$", ylabel="$z_2$", title="400 chains walk from the prior", xlim=(-3.5, 3.5), ylim=(-5, 3.5))
    axes[0].legend(loc="lower center", ncols=3, markerscale=2.5, handletextpad=0.1, columnspacing=0.8)
    axes[1].plot(np.arange(1, len(acceptance) + 1), acceptance, lw=1.2)
    axes[1].axhline(0.65, color="black", ls="--", lw=1, label="what the pilot run aims at")
    axes[1].set(xlabel="temperature", ylabel="share of moves accepted", title="HMC on a VAE, steps from a pilot run", ylim=(0, 1))
    axes[1].legend(loc="lower right")
    return fig


def draw_bounds(curves, Ks, Ts, errors, scores):
    fig, axes = plots.figure(1, 2, width=8.0, height=3.6, width_ratios=(1.5, 1))
    for (name, row), style, colour in zip(curves.items(), ("o-", "^--"), plots.COLOURS):
        axes[0].errorbar(Ks, [e.mean for e in row], [2 * e.standard_error for e in row], fmt=style, color=colour,
                         label=f"importance weighting, q {name}", markersize=4)
    axes[0].errorbar(Ts, [e.mean for e in errors], [2 * e.standard_error for e in errors], fmt="s-.",
                     color=plots.COLOURS[2], label="annealing, 16 chains", markersize=4)
    axes[0].axhline(0, color="black", ls=":", lw=1)
    axes[0].set(xscale="log", yscale="symlog", xlabel="draws K, or temperatures T", ylabel="nats above the truth",
                title="digits, log p(x) known", ylim=(None, 30))
    axes[0].legend(fontsize=9, loc="upper left")
    names, values = list(scores), list(scores.values())
    axes[1].errorbar([v.mean for v in values], range(len(values)), xerr=[2 * v.standard_error for v in values], fmt="o",
                     color=plots.COLOURS[0])
    axes[1].set_yticks(range(len(values)), names)
    axes[1].set(xlabel="nats above the ELBO, image by image\n(± 2 standard errors)", title="a VAE's unseen digits",
                ylim=(len(values) - 0.5, -0.5))
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch16", __doc__, epochs=40), argv)
    rng = np.random.default_rng(opt.seed)
    print(f"our HMC move and minivae's differ by at most {same_as_library(rng):.0e}")
    log_w, path = ais(parabola, library.schedule(30 if opt.quick else 200), 0.1, 200 if opt.quick else 2000, rng, 2)
    by_ais, by_grid = np.log(np.exp(log_w).mean()), truth_by_grid()
    error = np.exp(log_w - by_ais).std() / np.sqrt(len(log_w))
    print(f"two modes: log p(x) = {by_grid:.4f} by a grid, {by_ais:.4f} ± {error:.4f} by annealing; "
          f"{(path[-1][:, 0] > 0).mean():.0%} of the chains end on the right")

    digits = opt.digits()
    Ks, curves, Ts, errors, truth = against_the_truth(digits, opt)
    print(f"\ndigits under probabilistic PCA: log p(x) = {truth:.2f} nats; nats above it:")
    for name, row in curves.items():
        print(f"  importance weighting, q {name:8}" + "".join(f"   K={K}: {e}" for K, e in zip(Ks, row)))
    print(f"  {'annealing':31}" + "".join(f"   T={T}: {e}" for T, e in zip(Ts, errors)))

    vae = trained(digits, opt)
    x = plots.spread(digits.test, 10 if opt.quick else 40)
    x = (np.random.default_rng(0).random(x.shape) < x).astype(np.float32)
    temperatures, many = (10, 20) if opt.quick else (300, 5000)
    elbo = log_likelihoods(vae, x, samples=1, seed=opt.seed)
    weighted = log_likelihoods(vae, x, samples=many, seed=opt.seed)
    annealed = annealed_importance_sampling(vae, x, temperatures=temperatures, seed=opt.seed, progress=not opt.quick)
    lower, upper, gap = bidirectional(vae, images=len(x), temperatures=temperatures, seed=opt.seed,
                                      progress=not opt.quick)
    print(f"\na VAE, {len(x)} unseen digits: {evaluate(vae, x, samples=10)}\n"
          f"importance weighting, K = {many}: {Estimate.of(weighted)}\nannealing, T = {temperatures}: {annealed}\n"
          f"digits that it invented: at least {lower}, at most {upper}; the gap is {gap}")
    scores = {"ELBO": Estimate.of(elbo - elbo), f"IW({many})": Estimate.of(weighted - elbo),
              f"AIS({temperatures})": Estimate.of(annealed.log_p - elbo)}
    opt.save(draw_chains(path, annealed.acceptance), "chains", alt="Left: 400 dots in the plane of z₁ and z₂. Early they are "
             "spread like the prior, at the end they lie on two arcs, left and right, which are the two modes of the "
             "posterior. Right: the share of moves that HMC accepts, at each temperature on the way to a VAE's posterior, "
             "beside a dashed line at 0.65.")
    opt.save(draw_bounds(curves, Ks, Ts, errors, scores), "bounds", alt="Left: nats above the true log p(x), on a "
             "symmetric logarithmic axis, against the number of draws or temperatures. Importance weighting with the right q "
             "is at zero, with a spoiled q far below and rising slowly; annealing comes up to zero. Right, for a VAE, nats "
             "above the ELBO: " + ", ".join(f"{name} {gain}" for name, gain in scores.items()) + ".")
    print(f"\nSeen: with a spoiled q, {Ks[-1]} importance samples miss log p(x) by {-curves['spoiled'][-1].mean:.2f} nats, and "
          f"annealing through {Ts[-1]}\ntemperatures by {abs(errors[-1].mean):.3f} ± {errors[-1].standard_error:.3f}. On a real "
          f"VAE annealing lies {Estimate.of(annealed.log_p - weighted)} nats above\nthe importance-weighted bound, and on "
          f"digits of its own the bounds from below and above are {gap} nats apart.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Use 1, 4 and 64 chains instead of 16.  What shrinks like $1/\sqrt C$, and what does not?
# 2. *Break this.*  Accept every move.  Which of the two promises is broken, and in which direction does log p(x) go?
# 3. *Derive this.*  Start the chains at $q(z \mid x)$ instead of the prior, with $f_t = q^{1-\beta_t}\, p(x, z)^{\beta_t}$.
#    What is the weight?  What do you get for $T = 1$?
