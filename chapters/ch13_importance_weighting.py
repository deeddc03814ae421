"""Chapter 13 · Importance weighting and the IWAE.

The question     If one draw of z gives a bound on log p(x), what do fifty draws give?
What is new      the importance-weighted bound and its pullback; a gradient that gets worse as the bound gets
                 better, and the one that does not.
What you'll see  the bound close in on log p(x) draw by draw, the signal-to-noise ratio of both gradients,
                 and VAE and IWAE trained side by side on real digits.

    python chapters/ch13_importance_weighting.py                     4,000 digits, a minute and a half
    minivae train --data binarized_mnist --hidden 200 200 --latents 50 --activation tanh --objective iwae
            --samples 50 --batch-size 20 --schedule iwae --epochs 730                 the paper's size: days
"""

# %% [markdown]
# # 13 · Importance weighting and the IWAE
#
# The ELBO is the average of a logarithm, $\mathbb E_q[\log w]$ with the **importance weight** $w = p(x, z)/q(z \mid x)$.
# What we want is the logarithm of an average, $\log p(x) = \log \mathbb E_q[w]$: by Jensen's inequality the first is
# smaller.  So average *first*, over $K$ draws (Burda, Grosse and Salakhutdinov 2015):
#
# $$ \mathcal L_K = \mathbb E_{z_1 \ldots z_K \sim q} \Big[ \log \frac1K \sum_k w_k \Big], \qquad
#    \text{ELBO} = \mathcal L_1 \le \mathcal L_2 \le \cdots \le \log p(x) . $$
#
# *Why it grows.*  The mean of $K$ weights is the mean, over all ways to leave one out, of means of $K - 1$ weights; the
# logarithm of a mean is at least the mean of the logarithms.  *Where it ends.*  The mean of $w$ tends to $p(x)$ by the law
# of large numbers, if its variance is finite.
#
# For the gradient, write $\tilde w_k = w_k / \sum_j w_j$.  Then
#
# $$ \frac{\partial}{\partial \log w_k} \log \frac1K \sum_j e^{\log w_j} = \frac{w_k}{\sum_j w_j} = \tilde w_k . $$
#
# That is the whole pullback: *the draws that explain the image best teach most*, where the ELBO lets all teach alike.
# Never compute $w$ itself: at $-100$ nats it is zero in float32.

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, active_units, evaluate, latent_variances, log_likelihoods
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, cosine
from minivae.ops import logsumexp
from minivae.parts import IWAE
from minivae.training import fit
from minivae.variants import VAEConfig


# %%
def log_mean_exp(a):                                  # (B, K) -> (B,)
    """log (1/K) Σₖ exp aₖ"""
    m = a.max(axis=1, keepdims=True)                  # the largest weight is 1: nothing overflows
    w = np.exp(a - m)
    total = w.sum(axis=1, keepdims=True)

    def pullback(dy):
        return dy[:, None] * w / total                # the normalised weights

    return (m + np.log(total / a.shape[1]))[:, 0], pullback


def iwae_loss(vae, *, x, eps):                        # x (B, X), eps (K, B, Z) -> (B,), nats
    """−log (1/K) Σₖ wₖ;   −log w = nll + kl, for every draw"""
    (nll, kl), pull_terms = vae.monte_carlo_terms(x=x, eps=eps)                       # (K·B,)
    bound, pull_bound = log_mean_exp(-(nll + kl).reshape(len(eps), len(x)).T)

    def pullback(dloss):
        dlog_w = pull_bound(-dloss).T.reshape(-1)
        pull_terms(-dlog_w, -dlog_w)

    return -bound, pullback


def same_as_library(vae, x, eps):
    """The largest difference between our gradient and that of minivae's IWAE objective."""
    _, pullback = iwae_loss(vae, x=x, eps=eps)
    vae.arena.zero_grad()
    pullback(np.full(len(x), 1.0 / len(x)))
    ours = vae.arena.grad.copy()
    vae.arena.zero_grad()
    IWAE()(vae, x=x, eps=eps, weight=1.0 / len(x), step=0)
    return np.abs(ours - vae.arena.grad).max()


# %% [markdown]
# ## A better bound, a worse gradient
#
# One dimension, where all is known: $z \sim \mathcal N(0, 1)$, $x \mid z \sim \mathcal N(z, 1)$, and a guess
# $q = \mathcal N(m, s^2)$ that is a little off.  With $z = m + s\,\varepsilon$,
#
# $$ \log w = \log \mathcal N(z; 0, 1) + \log \mathcal N(x; z, 1) - \log \mathcal N(z; m, s^2), \qquad
#    \frac{\partial \log w}{\partial m} = x - 2z , $$
#
# because the last density moves along with $z$.  As $K$ grows, $\mathcal L_K$ depends on $q$ less and less: the
# *expected* gradient for the encoder shrinks like $1/K$, its standard deviation only like $1/\sqrt K$.  The
# signal-to-noise ratio falls (Rainforth et al. 2018).
#
# **The doubly-reparameterized gradient.**  Split the derivative: $m$ acts on $w$ through the draw $z$, and directly,
# as a parameter of $q$.  The direct part is a score function, $\sum_k \tilde w_k\, \partial_m \log q(z_k)$, and a score
# function can itself be reparameterized (chapter 9).  Tucker et al. (2019) do so, and find
#
# $$ \frac{\partial \mathcal L_K}{\partial m} = \mathbb E\Big[\sum_k \tilde w_k^2\, \frac{\partial \log w_k}{\partial z_k}
#    \frac{\partial z_k}{\partial m}\Big], \qquad
#    \frac{\partial \log w}{\partial z} = x - 2z + \frac{\varepsilon}{s}
#    \quad (\text{parameters of } q \text{ held still}) . $$
#
# The same expectation.  But where $q$ is the posterior, every single term is zero, and the ratio *grows* like $\sqrt K$.

# %%
def toy_gradients(K, draws, rng, x=2.0, m=0.7, s=0.8):
    """∂L_K/∂m by both estimators, `draws` times each"""
    eps = rng.standard_normal((draws, K))
    z = m + s * eps
    log_w = -0.5 * (z**2 + (x - z) ** 2 - eps**2) + np.log(s)                         # log 2π: a constant
    weights = logsumexp(log_w)[1](np.ones(draws))                                     # w̃, (draws, K)
    return (weights * (x - 2 * z)).sum(axis=1), (weights**2 * (x - 2 * z + eps / s)).sum(axis=1)


def signal_to_noise(Ks, draws, rng):
    """|mean| / standard deviation of both, and their means with standard errors, for every K"""
    rows = []
    for K in Ks:
        for g in toy_gradients(K, draws, rng):
            rows.append((g.mean(), g.std() / np.sqrt(draws), abs(g.mean()) / g.std()))
    return np.array(rows).reshape(len(Ks), 2, 3)


# %% [markdown]
# ## VAE and IWAE, side by side
#
# The same network, the same number of steps, the same images; only $K$ differs.  (Given $K$ draws, a VAE could also
# average their ELBOs: that makes its gradient quieter, not its bound tighter.)  All are judged by the same number, the
# bound $\mathcal L_K$ with many draws on unseen images, which for large $K$ is $\log p(x)$ however bad $q$ is.

# %%
def train(digits, objective, samples, opt, progress):
    steps = opt.epochs * -(-len(digits) // 100)
    vae = VAEConfig(784, (40,) if opt.quick else (200,), 50, "tanh").build(
        seed=opt.seed, on=opt.device, images=digits, samples=samples, objective=objective,
        optimizer=Adam(cosine(2e-3, steps=steps)))
    fit(vae, digits, epochs=opt.epochs, batch_size=100, binarize=True, seed=opt.seed, progress=progress)
    return vae


def closing_in(models, test, Ks, opt):
    """L_K of every model for every K: (models, Ks) means in nats"""
    return np.array([[log_likelihoods(vae, test, samples=K, seed=opt.seed).mean()
                      for K in tqdm(Ks, desc=name, leave=False, disable=opt.quick)] for name, vae in models.items()])


def draw_ratios(Ks, ratios):
    fig, ax = plots.figure(width=6.4, height=3.6)
    for i, (label, slope, marker) in enumerate((("as it comes", -0.5, "o"), ("doubly reparameterized", 0.5, "s"))):
        ax.loglog(Ks, ratios[:, i, 2], marker, color=plots.COLOURS[i], label=label)
        ax.loglog(Ks, ratios[-1, i, 2] * (np.array(Ks) / Ks[-1]) ** slope, "--", color=plots.COLOURS[i], lw=1,
                  label=f"slope {'−' if slope < 0 else '+'}½")
    ax.set(xlabel="draws K", ylabel="|mean| ÷ standard deviation", title="one gradient for the encoder, two estimates")
    ax.legend()
    return fig


def draw_models(models, bounds, spread, many):
    fig, axes = plots.figure(1, 2, width=8.0, height=3.6)
    for name, row, variances, colour, marker in zip(models, bounds, spread, plots.COLOURS, "os^"):
        style = {"color": colour, "marker": marker, "label": name, "markersize": 4, "lw": 1.2}
        axes[0].semilogx(many, row, **style)
        axes[1].semilogy(np.arange(1, len(variances) + 1), np.sort(variances)[::-1], **style)
    axes[0].set(xlabel="draws K of the bound", ylabel="nats per image", title="unseen digits: the bound closes in")
    axes[1].axhline(0.01, color="black", ls="--", lw=1, label="in use: above")
    axes[1].set(xlabel="latent, sorted", ylabel="variance of its mean over images", title="which latents are in use")
    for ax in axes:
        ax.legend(fontsize=9)
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch13", __doc__, epochs=60), argv)
    rng = np.random.default_rng(opt.seed)
    tiny = VAEConfig(6, (5,), 2, "tanh").build(dtype=np.float64)
    x, eps = 1.0 * (rng.random((4, 6)) < 0.5), rng.standard_normal((5, 4, 2))
    print(gradcheck(lambda **c: iwae_loss(tiny, **c), parameters=tiny.arena.parameters, x=x, eps=eps,
                    name="a VAE under five importance samples"))
    print(f"our gradient and minivae's differ by at most {same_as_library(tiny, x, eps):.0e}\n")

    Ks = [1, 3, 10, 30, 100, 300]
    ratios = signal_to_noise(Ks, 2_000 if opt.quick else 100_000, rng)
    opt.save(draw_ratios(Ks, ratios), "signal_to_noise", alt="The mean of an estimated gradient, divided by its standard "
             "deviation, against the number of draws K, both axes logarithmic. As it comes, the estimate falls along a line "
             "of slope −½; doubly reparameterized it rises along one of slope +½.")
    print("∂L/∂m     as it comes          doubly reparameterized     signal to noise")
    for K, ((a, da, ra), (b, db, rb)) in zip(Ks, ratios):
        print(f"K = {K:<4}  {a:8.5f} ± {da:.5f}   {b:8.5f} ± {db:.5f}        {ra:6.3f}   {rb:6.2f}")

    digits = opt.digits()
    test = plots.spread(digits.test, 40 if opt.quick else 400)
    test = (np.random.default_rng(0).random(test.shape) < test).astype(np.float32)
    models = {}
    for name, objective, samples in (("VAE", None, 1), ("IWAE, K = 5", IWAE(), 5), ("IWAE, K = 20", IWAE(), 20)):
        print(f"\n{name}: {opt.epochs} epochs")
        models[name] = train(digits.train, objective, samples, opt, not opt.quick)
        print(evaluate(models[name], test, samples=10))

    many = [1, 5, 20] if opt.quick else [1, 5, 20, 100, 500]
    bounds = closing_in(models, test, many, opt)
    spread = [latent_variances(vae, test) for vae in models.values()]
    opt.save(draw_models(models, bounds, spread, many), "iwae", alt="Left: the bound in nats per unseen digit against its "
             "number of draws K, on a logarithmic axis: it rises for the VAE and for the IWAEs with 5 and 20 draws. Right: the "
             "variance of each latent's posterior mean over images, sorted, on a logarithmic axis, and a dashed line at 0.01 "
             f"above which a latent is in use: {', '.join(f'{(v > 0.01).sum()} for the {n}' for n, v in zip(models, spread))}.")

    last = {name: log_likelihoods(vae, test, samples=many[-1], seed=opt.seed + 1) for name, vae in models.items()}
    vae, best = last["VAE"], last["IWAE, K = 20"]
    gain = Estimate.of(best - vae)
    units = [int(active_units(m, test).sum()) for m in models.values()]
    print(f"\nSeen: with {many[-1]} draws the bound on unseen digits is {Estimate.of(vae)} nats for the VAE and "
          f"{Estimate.of(best)} for the IWAE\nwith K = 20: image by image {gain} nats better, with {units[2]} instead "
          f"of {units[0]} latents in use. From K = {Ks[0]} to K = {Ks[-1]} the toy's\ngradient for the encoder "
          f"falls from {ratios[0, 0, 2]:.2f} to {ratios[-1, 0, 2]:.3f} times its noise; doubly reparameterized, it rises "
          f"from {ratios[0, 1, 2]:.2f} to {ratios[-1, 1, 2]:.1f}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train with `DReG()` instead of `IWAE()`, both from `minivae.parts`.  Does the quieter gradient
#    help here?  And with $K = 100$?
# 2. *Break this.*  Give the weights the wrong sign, $w_k \propto e^{\,\mathrm{nll} + \mathrm{kl}}$ (several public
#    repositories did).  The gradient check passes, if loss and pullback agree.  Which test of a *value* would have seen it?
# 3. *Derive this.*  Draw $K$ points from $q$ and keep one of them with probability $\tilde w_k$: that is a draw of a better
#    posterior (Cremer, Morris and Duvenaud 2017).  Show that $\mathcal L_K$ is the ordinary ELBO if all $K$ points and the
#    choice are latents, and at most the ELBO of the one that is kept.
