"""Chapter 9 · The reparameterization trick.

The question     The ELBO averages over draws from q.  How do you differentiate through dice?
What is new      z = μ + σ ε; the score-function estimator it replaces; a famous bug.
What you'll see  two unbiased estimates of the same gradient, one of which needs thousands of times
                 as many draws, on a toy and on a real VAE.
"""

# %% [markdown]
# # 9 · The reparameterization trick
#
# The first term of the ELBO is $\mathbb E_{q}[f(z)]$ with $f(z) = \log p(x \mid z)$, and $q = \mathcal N(\mu, \sigma^2)$ is what we
# want to improve.  We can draw $z$; but the draw depends on $\mu$ and $\sigma$ in a way that has no derivative, or has it?
#
# **First way: differentiate the density.**  $\nabla q = q\, \nabla \log q$, so
#
# $$ \nabla_\mu \mathbb E_q[f] = \int f\, \nabla_\mu q\, dz = \mathbb E_q\big[ f(z)\, \nabla_\mu \log q(z) \big]
#    = \mathbb E_q\!\left[ f(z)\, \frac{z - \mu}{\sigma^2} \right] . $$
#
# This is the **score-function** estimator (REINFORCE).  It never looks at $f$'s slope: it tries a draw, sees how good it
# was, and moves towards or away from it.  It works for any $f$, and for discrete $z$.
#
# **Second way: take the dice out.**  Draw $\varepsilon \sim \mathcal N(0, I)$, which depends on nothing, and set
#
# $$ z = \mu + \sigma\, \varepsilon, \qquad \sigma = e^{\ell/2} . $$
#
# Now $z$ is an ordinary function of $\mu$ and $\ell = \log \sigma^2$, and the average is over something fixed:
# $\nabla_\mu \mathbb E_\varepsilon[f(\mu + \sigma \varepsilon)] = \mathbb E_\varepsilon[\nabla f(z)]$.  The pullback is
#
# $$ \frac{\partial z}{\partial \mu} = 1, \qquad \frac{\partial z}{\partial \ell} = \tfrac12\, \sigma\, \varepsilon . $$

# %%
import numpy as np

from minivae import distributions, plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck
from minivae.training import fit
from minivae.variants import VAEConfig


# %%
def reparameterize(mean, logvar, *, eps):             # all (B, Z)
    """z = μ + σ ε,   σ = exp(½ log σ²),   ε ~ N(0, I)"""
    noise = np.exp(0.5 * logvar) * eps

    def pullback(dz):                                 # ∂z/∂μ = 1,   ∂z/∂log σ² = ½ σ ε
        return dz, 0.5 * noise * dz

    return mean + noise, pullback


# %% [markdown]
# ## A famous bug that the gradient check cannot see
#
# Several well-known repositories compute `mean + exp(logvar) * eps`, and a KL that reads `logvar` as a log-variance.
# Their pullback matches their forward.  The check of chapter 1 compares exactly these two: it passes.  But the draw has
# standard deviation $e^{\ell}$ where the KL believes $e^{\ell/2}$, so the "bound" bounds nothing.  What is needed is a judge
# of the *value*: does the sampler have the variance that it claims?

# %%
def famous_bug(mean, logvar, *, eps):
    noise = np.exp(logvar) * eps                      # exp(logvar) is the variance, not σ
    return mean + noise, lambda dz: (dz, noise * dz)


def variance_ratio(sampler, logvar, rng, n=200_000):
    """The variance of n draws ÷ the one that logvar claims; 1 up to about √(2/n)."""
    eps = rng.standard_normal((n, 1))
    z = sampler(np.zeros((n, 1)), np.full((n, 1), logvar), eps=eps)[0]
    return float(z.var() / np.exp(logvar))


# %% [markdown]
# ## Two estimators, one gradient
#
# Take $f(z) = -\tfrac12 \lVert z - c \rVert^2$ in $Z$ dimensions.  The gradient of its average with respect to $\mu_1$ is
# $c_1 - \mu_1$.  Both estimators have this mean.  Their spread differs: the score-function's carries the *value* of $f$,
# which sums over all dimensions, while the other carries only the slope in its own.
#
# A **baseline** helps: $\mathbb E_q[\nabla \log q] = 0$, so any constant may be subtracted from $f$ without a bias.

# %%
def toy_gradients(Z, n, rng):
    """n single-draw estimates of ∂E[f]/∂μ₁, three ways        each (n,)"""
    mean, c = np.zeros(Z), np.ones(Z)
    eps = rng.standard_normal((n, Z))
    z = mean + eps                                    # σ = 1
    f = -0.5 * ((z - c) ** 2).sum(axis=1)
    average = -0.5 * (Z + ((mean - c) ** 2).sum())    # E[f], the natural baseline
    return {"reparameterized": (c - z)[:, 0], "score function": f * eps[:, 0],
            "score function, baseline": (f - average) * eps[:, 0]}


# %% [markdown]
# ## On a real VAE
#
# The same on digits: a small VAE, trained for a few epochs.  For one image we draw many $\varepsilon$ and estimate the
# gradient of $\mathbb E_q[-\log p(x \mid z)]$ with respect to the posterior mean, once per draw and method.

# %%
def vae_gradients(vae, x, n, rng):
    """Estimates of ∂E[nll]/∂μ for one image, each (n, Z)"""
    mean, logvar = (np.repeat(part, n, axis=0) for part in vae.encode(x[None]))
    eps = rng.standard_normal(mean.shape, dtype=mean.dtype)
    z, pull_z = distributions.reparameterize(mean, logvar, eps=eps)
    outputs, pull_decoder = vae.decoder(z)
    nll, pull_nll = vae.likelihood(outputs, x=np.repeat(x[None], n, axis=0))
    dmean, _ = pull_z(pull_decoder(pull_nll(np.ones_like(nll))))
    score = eps / np.exp(0.5 * logvar)                # ∇ log q = (z − μ)/σ² = ε/σ
    baseline = np.mean(nll)
    found = {"reparameterized": dmean, "score function": nll[:, None] * score,
             "score function, baseline": (nll - baseline)[:, None] * score}
    return {name: to_numpy(estimates) for name, estimates in found.items()}


def draw(toy, estimates, latent):
    fig, axes = plots.figure(1, 2, width=10, height=3.5)
    for (name, variances), marker in zip(toy.items(), "osd"):
        axes[0].loglog(list(variances), list(variances.values()), marker=marker, label=name)
    axes[0].set(xlabel="dimensions Z", ylabel="variance of one draw's gradient", title="toy: a quadratic")
    axes[0].legend(fontsize=8)
    reach = np.quantile(np.abs(estimates["score function, baseline"][:, latent]), 0.97)
    for (name, values), colour in zip(estimates.items(), plots.COLOURS):
        axes[1].hist(values[:, latent], bins=np.linspace(-reach, reach, 61), density=True, color=colour,
                     histtype="step", lw=1.8, label=f"{name}: std {values[:, latent].std():.1f}")
    axes[1].set(xlabel=f"estimate of ∂E[nll]/∂μ of latent {latent + 1}, nats", ylabel="density", yscale="log",
                title="a VAE on one digit: one draw each")
    axes[1].set_ylim(top=3)
    axes[1].legend(fontsize=8, loc="upper left")
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch09", __doc__, epochs=10), argv)
    rng = np.random.default_rng(opt.seed)
    mean, logvar, eps = (rng.standard_normal((3, 4)) for _ in range(3))
    for sampler in (reparameterize, famous_bug):
        report = gradcheck(sampler, mean, logvar, eps=eps)
        ratio = variance_ratio(sampler, -2.0, rng)
        print(f"{sampler.__name__:15} gradient check: {'passed' if report.passed else 'failed'} ({report.worst:.0e}); "
              f"variance of its draws ÷ the claimed one: {ratio:.3f}")
    same = np.array_equal(reparameterize(mean, logvar, eps=eps)[0], distributions.reparameterize(mean, logvar, eps=eps)[0])
    print(f"our reparameterize and minivae's: {'equal' if same else 'DIFFERENT'}\n")

    n = 2_000 if opt.quick else 20_000
    sizes = [1, 2, 5, 10, 20, 50, 100]
    toys = [toy_gradients(Z, n, rng) for Z in sizes]
    toy = {name: {Z: float(t[name].var()) for Z, t in zip(sizes, toys)} for name in toys[0]}
    for name, values in toys[4].items():
        print(f"toy, Z = 20: {name:25} mean {values.mean():6.2f} ± {values.std() / np.sqrt(n):.2f} (truth 1)")

    digits = opt.digits()
    vae = VAEConfig(digits.train.shape[1], hidden=(200,), latents=10).build(seed=opt.seed, on=opt.device)
    images = digits.train[:500] if opt.quick else digits.train
    fit(vae, images, epochs=opt.epochs, seed=opt.seed)
    ratios, estimates, noise = [], {}, opt.device.rng(opt.seed)
    for i, x in enumerate(opt.device.asarray(digits.test[:5 if opt.quick else 20])):
        found = vae_gradients(vae, x, n // 4, noise)
        variances = {name: g.var(axis=0).sum() for name, g in found.items()}
        ratios.append([variances[name] / variances["reparameterized"] for name in found])
        if i == 0:
            estimates = found
    latent = int(np.argmax(np.abs(estimates["reparameterized"].mean(axis=0))))
    _, plain, baseline = np.median(ratios, axis=0)
    opt.save(draw(toy, estimates, latent), "reparameterization",
             alt="Left: the variance of one draw's gradient against the number of dimensions, on logarithmic axes; the "
                 "reparameterized one stays level, the score function's rises steeply, less so with a baseline. Right: "
                 "histograms of one gradient component in a VAE; the reparameterized draws form a narrow peak, those of the "
                 "score function spread over the whole axis.")
    print(f"\nSeen: for the median digit the score-function gradient has {plain:,.0f} times the variance of the "
          f"reparameterized one,\nand {baseline:,.0f} times with its average as a baseline: to be as sure, it would "
          "need that many times as many draws.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Let $f$ be a step, $f(z) = [z > 0]$.  Which estimator still works, and what does the other say?
# 2. *Measure this.*  Add the gradient with respect to $\ell$.  Is the ratio of variances the same?
# 3. *Derive this.*  If $\varepsilon$ is uniform on $(0, 1)$ and $F$ the distribution function of $q$, then $z = F^{-1}(\varepsilon)$.
#    Find the pullback for the exponential distribution with rate $\lambda$.
