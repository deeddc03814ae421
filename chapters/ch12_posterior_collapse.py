"""Chapter 12 · Posterior collapse.

The question     Why do latents fall silent, and what does it cost?
What is new      when silence is optimal; KL warm-up and free bits, with their pullbacks; a diagnosis in nats.
What you'll see  latents that are rightly silent, predicted nat by nat; latents that are wrongly silent, and what warm-up
                 and free bits do about it; and the famous way to report an ELBO that is none.
"""

# %% [markdown]
# # 12 · Posterior collapse
#
# A latent $z_j$ **collapses** when $q(z_j \mid x)$ is the prior for every $x$: it costs no KL, tells nothing, and the decoder
# learns to ignore it.  There are two kinds of silence.
#
# **Silence that is right.**  Take one direction of the data, with variance $\lambda$, and the model
# $x = w z + \sigma\varepsilon$ of chapter 7, which gives it the variance $v = w^2 + \sigma^2$.  At the exact posterior the ELBO
# is $\log p(x)$, on average over the data
#
# $$ L(v) = -\tfrac12 \left( \log 2\pi v + \frac{\lambda}{v} \right), \qquad
#    \frac{\partial L}{\partial v} = \frac{\lambda - v}{2 v^2}, \qquad v \ge \sigma^2 . $$
#
# It climbs until $v = \lambda$.  If $\lambda > \sigma^2$ the best $w^2$ is $\lambda - \sigma^2$; if $\lambda \le \sigma^2$ it falls from the very
# start, and the best $w$ is 0: *the latent had better be silent*.  The KL at the best $w$ is what chapter 8 measured:
#
# $$ \overline{\mathrm{KL}} = \tfrac12 \log \frac{\lambda}{\sigma^2} \ \text{ if } \lambda > \sigma^2, \quad \text{else } 0 , $$
#
# which falls to 0 smoothly as $\lambda \to \sigma^2$.  A direction that varies less than the noise is not worth a name.  So the
# larger $\sigma^2$, the more latents fall silent, *at the best possible ELBO* (Lucas et al. 2019).
#
# **Silence that is wrong.**  At the start of training the decoder knows nothing, so $z$ explains nothing, and all that the
# encoder feels is the KL: *be the prior*.  It obeys, and by the time the decoder could use a latent, there is little
# left in it to use.  Two ways around it:
#
# $$ \textbf{warm-up:}\quad \mathrm{nll} + \beta_t\, \mathrm{KL}, \ \ \beta_t: 0 \to 1 \qquad\qquad
#    \textbf{free bits:}\quad \mathrm{nll} + \sum_j \max\big(\lambda,\ \tfrac1B \sum_b \mathrm{KL}_{bj}\big) . $$
#
# (Bowman et al. 2016, Sønderby et al. 2016; Kingma et al. 2016, where $\lambda$ is a number of nats, and no eigenvalue.)

# %%
import numpy as np

from minivae import distributions, plots
from minivae.chapter import options, parser
from minivae.evaluation import diagnose, evaluate
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Linear
from minivae.parts import FreeBits, GaussianFixed, Objective, WeightedKL, warm_up
from minivae.training import fit
from minivae.vae import VAE, Encoder
from minivae.variants import VAEConfig
from minivae.variants.probabilistic_pca import as_vae, probabilistic_pca

BATCH, SPEAKS = 64, 0.05               # images per step; nats, beyond those that are free, of a latent that speaks
FREE = {"free bits, λ = 0.1": 0.1, "free bits, λ = 0.5": 0.5}


# %% [markdown]
# ## Free bits by hand
#
# Where the mean $m_j = \frac1B \sum_b \mathrm{KL}_{bj}$ is above $\lambda$, the maximum is $m_j$, and every image has $1/B$ of it:
# $\partial y_j / \partial \mathrm{KL}_{bj} = 1/B$.  Where it is below, the maximum is a constant, and the derivative is 0: the latent
# is charged $\lambda$ nats whatever it does, so it may as well say something.

# %%
def free_bits(kl, *, least):                          # (B, Z) -> (Z,)
    """yⱼ = max(λ, (1/B) Σ_b kl_bj)"""
    average = kl.mean(axis=0)

    def pullback(dy):                                 # a latent below λ feels nothing: it may say more for free
        return np.ones_like(kl) * dy * (average > least) / len(kl)

    return np.maximum(average, least), pullback


def same_as_library(rng):
    kl, dy = rng.random((6, 4)), rng.standard_normal(4)
    (y, pull), (z, pull_z) = (f(kl, least=0.5) for f in (free_bits, distributions.free_bits))
    return max(np.abs(y - z).max(), np.abs(pull(dy) - pull_z(dy)).max())


# %% [markdown]
# ## Silence that is right
#
# First exactly: chapter 7's linear VAE with the best $W$ for a given $\sigma$, its rows $u_j \sqrt{\max(\lambda_j - \sigma^2, 0)}$,
# and the exact posterior.  The KL of each latent, measured image by image, must be the formula to the last digits.  Then
# the same by training: will a linear VAE silence the right latents by itself?

# %%
def exact_kl(x, sigma, latents):
    """KL of each latent of the best linear VAE on x, and the theory, both (Z,)"""
    mean, W, smallest = probabilistic_pca(x, latents)
    eigenvalues = (W**2).sum(axis=1) + smallest**2    # ‖Wⱼ‖² = λⱼ − σ²
    directions = W / np.linalg.norm(W, axis=1, keepdims=True)
    best = directions * np.sqrt(np.maximum(eigenvalues - sigma**2, 0.0))[:, None]
    return diagnose(as_vae(mean, best, sigma), x).kl, 0.5 * np.log(np.maximum(eigenvalues / sigma**2, 1.0))


def trained_kl(x, sigma, latents, opt):
    """KL of each latent of a linear VAE that was trained, sorted        -> (Z,)"""
    x = (x - x.mean(axis=0)).astype(np.float32)
    X, rng = x.shape[1], np.random.default_rng(opt.seed)
    _, W, _ = probabilistic_pca(x.astype(np.float64), latents)
    trunk = Linear(X, latents, rng=rng)
    # the encoder's first layer starts at the principal components: what is learned is mostly how loud to say them
    trunk.W.value[...] = (W / np.linalg.norm(W, axis=1, keepdims=True)).T
    vae = VAE(Encoder(trunk, Linear(latents, latents, rng=rng), Linear(latents, latents, rng=rng)),
              Linear(latents, X, rng=rng), GaussianFixed(sigma), pixels=X, latents=latents, device=opt.device,
              optimizer=Adam(3e-3))
    fit(vae, x, epochs=2 if opt.quick else 60, batch_size=100, seed=opt.seed, progress=not opt.quick)
    return np.sort(diagnose(vae, plots.spread(x, 1000), seed=opt.seed).kl)[::-1]


# %% [markdown]
# ## What is climbed and what is reported
#
# In minivae an **objective** is a function `objective(model, x=..., eps=..., weight=..., step=...)`.  It asks the model for
# its two terms, weighs them as it likes in the *pullback*, and so adds the gradient of its own loss to the model.  What
# it returns is another matter: always the terms of the true bound, $-(\mathrm{nll} + \mathrm{KL})$ with the whole KL in it.
# `WeightedKL` calls `pullback(dnll, beta * dnll)` and reports `nll` and `kl` unweighted; `FreeBits` sends the KLs through
# the op above.  So a model cannot look better by being charged less.
#
# The famous mistake is to print the loss that was climbed, $-(\mathrm{nll} + \beta_t \mathrm{KL})$, and call it "the ELBO".
# While $\beta_t < 1$ it is above the ELBO, and it is a bound on nothing.  Likewise for the KL *beyond* the free nats.

# %% [markdown]
# ## Silence that is wrong
#
# Two layers of sigmoids, whose gradients are small (chapter 3), with all biases at zero (the library would start the
# last one at the average image, chapter 10): the decoder takes long to find a use for $z$, and the KL silences latents
# meanwhile.  The same network, the same images, the same number of steps, four objectives.

# %%
def objectives(steps):
    return {"the ELBO": Objective(), "warm-up": WeightedKL(warm_up(steps)),
            "free bits, λ = 0.1": FreeBits(0.1), "free bits, λ = 0.5": FreeBits(0.5)}


def train(images, objective, opt):
    """The model, and after every epoch its record and the KL of each latent on some training images."""
    hidden = (40, 40) if opt.quick else (200, 200)
    vae = VAEConfig(images.shape[1], hidden, 30, "sigmoid").build(seed=opt.seed, on=opt.device, optimizer=Adam(3e-3),
                                                                  objective=objective)
    few, kls = (images[:300] > 0.5).astype(np.float32), []
    history = fit(vae, images, epochs=opt.epochs, batch_size=BATCH, binarize=True, seed=opt.seed,
                  progress=not opt.quick, callback=lambda record, model: kls.append(diagnose(model, few).kl))
    return vae, history, np.array(kls)


def mistaken(history, steps):
    """Epoch by epoch −(nll + βₜ kl), with the epoch's average βₜ: what a careless log of warm-up would call the ELBO."""
    last = [record["step"] for record in history]
    betas = [np.mean([min(1.0, t / steps) for t in range(a, b)]) for a, b in zip([0, *last], last)]
    return np.array([-(r["train_nll"] + beta * r["train_kl"]) for r, beta in zip(history, betas)])


def without_the_free(score, kl, least):
    """−(nll + Σⱼ max(KLⱼ − λ, 0)): the nats that were free in training, left out of the report as well."""
    return -(score.nll.mean + np.maximum(kl - least, 0.0).sum())


def draw(linear, runs, steps):
    fig, axes = plots.figure(2, 2, width=8.0, height=6.8)
    (a, b), (c, d) = axes
    for (sigma, (exact, theory, trained)), colour in zip(linear.items(), plots.COLOURS):
        place = np.arange(1, len(theory) + 1)
        a.plot(place, theory, "-", color=colour, lw=1.2, label=f"σ = {sigma:g}: ½ log(λ/σ²)")
        a.plot(place, exact, "x", color=colour, markersize=5, label="the best linear VAE")
        a.plot(place, trained, "o", color=colour, markersize=4, mfc="none", label="a trained one")
    a.set(xlabel="latent, sorted", ylabel="KL, nats", title="silence that is right: a linear VAE")
    for (name, (_, history, kls)), colour, dashes in zip(runs.items(), plots.COLOURS, ("-", "--", "-.", (0, (1, 1)))):
        epochs, style = np.arange(1, len(kls) + 1), {"color": colour, "marker": "o" if len(kls) == 1 else None}
        b.plot(epochs, kls.sum(axis=1), label=name, ls=dashes, **style)
        c.plot(epochs, speaking(name, kls), label=name, ls=dashes, **style)
        if name in ("the ELBO", "warm-up"):
            d.plot(epochs, [r["train_elbo"] for r in history], label=f"{name}: the true ELBO", ls=dashes, **style)
    d.plot(epochs, mistaken(runs["warm-up"][1], steps), color=plots.COLOURS[1], ls=":",
           label="warm-up: −(nll + βₜ KL), no bound")
    b.set(xlabel="epoch", ylabel="KL, nats per image", title="how much the latents say", ylim=(0, None))
    c.set(xlabel="epoch", ylabel=f"latents with KL above λ + {SPEAKS} nats", title="how many speak", ylim=(0, 31))
    d.set(xlabel="epoch", ylabel="nats per training image", title="the ELBO, and what is no ELBO")
    for ax in (a, c, d):                                         # the lines of b are those of c
        ax.legend(fontsize=8)
    return fig


def table(runs, diagnoses, scores):
    print(f"\n{'objective':20} {'ELBO':>15} {'nll':>15} {'KL':>13} {'information':>13} {'active':>7} {'speak':>6} "
          f"{'collapsed':>10} {'free left out':>14}")
    for name in runs:
        s, d = scores[name], diagnoses[name]
        info = f"{'≥ ' if d.capped else ''}{d.information.mean:.2f}"
        print(f"{name:20} {s.elbo!s:>15} {s.nll!s:>15} {s.kl!s:>13} {info:>13} {d.active.sum():7} {speaking(name, d.kl):6} "
              f"{d.collapsed.sum():10} {without_the_free(s, d.kl, FREE.get(name, 0.0)):14.2f}")


def speaking(name, kl):
    """How many latents say more than they are let say for free (at λ, a latent may just be spending its allowance)."""
    return (kl > FREE.get(name, 0.0) + SPEAKS).sum(axis=-1)


# %%
def main(argv=None):
    opt, _ = options(parser("ch12", __doc__, epochs=25), argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(free_bits, rng.random((6, 4)), least=0.5))
    print(f"our free bits and minivae's differ by at most {same_as_library(rng):.0e}\n")

    digits, linear = opt.digits(), {}
    train_images = digits.train[:300 if opt.quick else 4000]
    for sigma in (0.5, 1.0):
        exact, theory = exact_kl(train_images.astype(np.float64), sigma, 30)
        linear[sigma] = exact, theory, trained_kl(train_images, sigma, 30, opt)
        print(f"σ = {sigma}: {(theory > 0).sum()} of 30 components are worth a name, together {theory.sum():.3f} nats. The "
              f"best linear VAE says\n{exact.sum():.3f} (each latent within {np.abs(exact - theory).max():.0e}), a trained "
              f"one {linear[sigma][2].sum():.3f}, with {(linear[sigma][2] > SPEAKS).sum()} latents above {SPEAKS}")

    coin = np.random.default_rng([opt.seed, 12])      # not default_rng(0), whose stream is also that of the draws of z
    test = (coin.random(digits.test.shape) < digits.test).astype(np.float32)[:50 if opt.quick else 1000]
    steps = max(1, opt.epochs * -(-len(train_images) // BATCH) // 3)              # of warm-up: a third of the training
    runs, diagnoses, scores = {}, {}, {}
    for name, objective in objectives(steps).items():
        print(f"\n{name}: {opt.epochs} epochs")
        runs[name] = train(train_images, objective, opt)
        diagnoses[name] = diagnose(runs[name][0], test, seed=opt.seed)
        scores[name] = evaluate(runs[name][0], test, samples=5, seed=opt.seed)
    print(f"\nclimbing the ELBO, {diagnoses['the ELBO']}")
    table(runs, diagnoses, scores)
    print(f"(information: at most log N = {np.log(len(test)):.2f} can be seen from {len(test)} images)")
    opt.save(draw(linear, runs, steps), "collapse", alt="Four panels. The KL in nats of each latent of a linear VAE, sorted: "
             "exact and trained lie on the formula, and fewer latents speak at the larger σ. Then over the epochs, for four "
             "objectives: the KL in nats, how many of 30 latents speak, and the ELBO in nats per training image, beside the "
             "quantity that warm-up climbs, which begins above the true ELBO and meets it when warm-up ends.")
    opt.save(plots.kl_by_latent({name: d.kl for name, d in diagnoses.items()}, title="four objectives, one network"),
             "kl_by_latent", alt="Bars: the KL in nats of each of 30 latents, the most talkative first, for four objectives. "
             + "; ".join(f"{name}: {speaking(name, d.kl)} latents speak" for name, d in diagnoses.items()) + ".")
    seen(linear, runs, diagnoses, scores, steps)


def seen(linear, runs, diagnoses, scores, steps):
    exact, theory, trained = linear[1.0]
    plain, free = scores["the ELBO"].elbo, scores["free bits, λ = 0.5"]
    gains = "; ".join(f"{name}: {s.elbo.mean - plain.mean:+.2f}" for name, s in scores.items() if name != "the ELBO")
    better = sum(s.elbo.mean > plain.mean for s in scores.values())
    lie = without_the_free(free, diagnoses["free bits, λ = 0.5"].kl, 0.5) - free.elbo.mean
    history, speak = runs["warm-up"][1], speaking("the ELBO", diagnoses["the ELBO"].kl)
    print(f"\nSeen: in a linear VAE with σ = 1, {(theory > 0).sum()} of 30 latents have something to say, as predicted to "
          f"{np.abs(exact - theory).max():.0e} nats, and training finds\n{(trained > SPEAKS).sum()} of them. In a network of "
          f"sigmoids, climbing the ELBO leaves {speak} of 30 speaking, at {plain} nats;\nof the three remedies {better} end "
          f"higher after as many epochs\n({gains}).\nReporting what warm-up climbs would have claimed "
          f"{mistaken(history, steps)[0] - history[0]['train_elbo']:.2f} nats too much in its first epoch, and leaving\nthe "
          f"free nats of λ = 0.5 out of the report {lie:.2f} too much at the end.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train four times as long (`--epochs 100`).  Which ELBOs are still climbing, and do the silent latents
#    of the plain one come back?  Then give `build` the `images`, so that the decoder starts at the average digit.  How
#    many latents does the plain ELBO keep now?
# 2. *Break this.*  Apply free bits to every image by itself, $\sum_j \max(\lambda, \mathrm{KL}_{bj})$, before the average.
#    Which latents pay, and what does the pullback become?
# 3. *Derive this.*  In the one-dimensional model, hold $w$ at 0.1 and let $q(z \mid x) = \mathcal N(a x, s^2)$ be free.  Find
#    the best $a$ and $s^2$, and show that both go to the prior's as $w \to 0$: why does the encoder follow a decoder
#    that does not listen?
