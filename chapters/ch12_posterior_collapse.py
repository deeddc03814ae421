"""Chapter 12 · Posterior collapse.

The question     Why do latents fall silent, and is it a fault?
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
# **Silence that is right.**  In the linear model of chapter 7, with eigenvalues $\lambda_j$ of the data and noise
# $\sigma^2$, chapter 8 found what component $j$ tells about an image:
#
# $$ \tfrac12 \log \frac{\lambda_j}{\sigma^2} \ \text{ nats if } \lambda_j > \sigma^2, \quad \text{else nothing.} $$
#
# A direction that varies less than the noise is not worth a name: saying it costs more than it explains.  So the larger
# $\sigma^2$, the more latents fall silent, *at the best possible ELBO* (Lucas et al. 2019).
#
# **Silence that is wrong.**  At the start of training the decoder knows nothing, so $z$ explains nothing, and all that the
# encoder feels is the KL: *be the prior*.  It obeys, and by the time the decoder could use a latent, there is nothing
# left in it to use.  That is a bad valley of the loss, not the best one.  Two ways around it:
#
# $$ \textbf{warm-up:}\quad \mathrm{nll} + \beta_t\, \mathrm{KL}, \ \ \beta_t: 0 \to 1 \qquad\qquad
#    \textbf{free bits:}\quad \mathrm{nll} + \sum_j \max\big(\lambda,\ \tfrac1B \sum_b \mathrm{KL}_{bj}\big) . $$
#
# Both change what is *climbed*.  Neither may change what is *reported*: the ELBO has the whole KL in it.

# %%
import numpy as np
from ch07_elbo import probabilistic_pca

from minivae import distributions, plots
from minivae.chapter import options, parser
from minivae.diagnosis import diagnose
from minivae.evaluation import evaluate
from minivae.gradcheck import gradcheck
from minivae.layers import Linear
from minivae.likelihoods import GaussianFixed
from minivae.mlp_vae import VAEConfig
from minivae.objectives import FreeBits, Objective, WeightedKL, warm_up
from minivae.optim import Adam
from minivae.training import fit
from minivae.vae import VAE, Encoder


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
# A linear VAE, trained by gradient with the noise fixed at $\sigma$, against the theory: sorted by KL, its latents should
# say $\tfrac12 \log(\lambda_j/\sigma^2)$ nats each, and those beyond $\lambda_j < \sigma^2$ nothing.

# %%
def linear_vae(x, sigma, latents, opt):
    """A VAE without a nonlinearity, trained on centred images; KL per latent, sorted, and the theory."""
    x = (x - x.mean(axis=0)).astype(np.float32)
    X, rng = x.shape[1], np.random.default_rng(opt.seed)
    _, W, _ = probabilistic_pca(x.astype(np.float64), latents)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T.astype(np.float64), bias=True))[::-1][:latents]
    trunk = Linear(X, latents, rng=rng)
    # the first layer of the encoder looks at the principal components: what is learned is what is said about them
    trunk.W.value[...] = (W / np.linalg.norm(W, axis=1, keepdims=True)).T
    vae = VAE(Encoder(trunk, Linear(latents, latents, rng=rng), Linear(latents, latents, rng=rng)),
              Linear(latents, X, rng=rng), GaussianFixed(sigma), pixels=X, latents=latents, device=opt.device,
              optimizer=Adam(3e-3))
    fit(vae, x, epochs=2 if opt.quick else 60, batch_size=100, seed=opt.seed, progress=not opt.quick)
    kl = np.sort(diagnose(vae, x[:500], seed=opt.seed).kl)[::-1]
    return kl, 0.5 * np.log(np.maximum(eigenvalues / sigma**2, 1.0))


# %% [markdown]
# ## Silence that is wrong
#
# Two layers of sigmoids, whose gradients are small (chapter 3), with all biases at zero (the library would start the
# last one at the average image, chapter 10): the decoder takes long to find a use for $z$, and the KL silences latents
# meanwhile.  The same network, the same steps, four objectives.  In minivae an objective is a function that adds a
# gradient to the model; it cannot touch what is reported.

# %%
def objectives(steps):
    return {"the ELBO": Objective(), "warm-up": WeightedKL(warm_up(max(1, steps // 3))),
            "free bits, λ = 0.1": FreeBits(0.1), "free bits, λ = 0.5": FreeBits(0.5)}


def train(digits, objective, opt):
    """The model, and the KL per latent on some training images after every epoch."""
    hidden = (40, 40) if opt.quick else (200, 200)
    vae = VAEConfig(784, hidden, 30, "sigmoid").build(seed=opt.seed, on=opt.device, optimizer=Adam(3e-3),
                                                      objective=objective)
    kls = []

    def watch(record, model):
        kls.append(diagnose(model, digits[:300]).kl)

    fit(vae, digits, epochs=opt.epochs, batch_size=64, binarize=True, seed=opt.seed, progress=not opt.quick,
        callback=watch)
    return vae, np.array(kls)


def speaking(found):
    return int((found.kl > 0.05).sum())


def draw(linear, sigmas, runs, diagnoses):
    fig, axes = plots.figure(1, 3, width=13, height=3.7)
    for (kl, theory), sigma, colour in zip(linear, sigmas, plots.COLOURS):
        axes[0].plot(np.arange(1, len(kl) + 1), kl, "o", color=colour, markersize=4, label=f"σ = {sigma:g}: trained")
        axes[0].plot(np.arange(1, len(kl) + 1), theory, "-", color=colour, lw=1.2, label="½ log(λ/σ²)")
    axes[0].set(xlabel="latent, sorted", ylabel="KL, nats", title="silence that is right: a linear VAE")
    axes[0].legend(fontsize=8)
    for (name, found), colour in zip(diagnoses.items(), plots.COLOURS):
        axes[1].plot(np.arange(1, len(found.kl) + 1), np.sort(found.kl)[::-1], "o-", color=colour, label=name,
                     markersize=4)
    axes[1].set(xlabel="latent, sorted", ylabel="KL, nats", title="four objectives, one network")
    axes[1].legend(fontsize=8)
    for (name, (_, kls)), colour in zip(runs.items(), plots.COLOURS):
        axes[2].plot(np.arange(1, len(kls) + 1), (kls > 0.05).sum(axis=1), color=colour, label=name)
    axes[2].set(xlabel="epoch", ylabel="latents with KL above 0.05 nats", title="who speaks, and when", ylim=(0, 31))
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch12", __doc__, epochs=25), argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(free_bits, rng.random((6, 4)), least=0.5))
    print(f"our free bits and minivae's differ by at most {same_as_library(rng):.0e}\n")

    digits = opt.digits()
    sigmas = (0.5, 1.0)
    linear = [linear_vae(digits.train[:500 if opt.quick else 4000], sigma, 30, opt) for sigma in sigmas]
    for (kl, theory), sigma in zip(linear, sigmas):
        print(f"σ = {sigma}: {(theory > 0).sum()} of 30 components are worth a name, {(kl > 0.05).sum()} latents speak; "
              f"KL {kl.sum():.2f} nats, theory {theory.sum():.2f}")

    test = (np.random.default_rng(0).random(digits.test.shape) < digits.test).astype(np.float32)[:50 if opt.quick else 1000]
    steps = opt.epochs * -(-len(digits.train) // 64)
    runs, diagnoses, scores = {}, {}, {}
    for name, objective in objectives(steps).items():
        print(f"\n{name}: {opt.epochs} epochs")
        runs[name] = train(digits.train, objective, opt)
        diagnoses[name], scores[name] = diagnose(runs[name][0], test), evaluate(runs[name][0], test, samples=5)

    print(f"\n{'objective':20} {'ELBO':>16} {'nll':>16} {'KL':>14} {'speak':>6} {'collapsed':>10}   'ELBO' with the free "
          "part left out")
    for name, s in scores.items():
        d = diagnoses[name]
        least = {"free bits, λ = 0.1": 0.1, "free bits, λ = 0.5": 0.5}.get(name, 0.0)
        cheat = -(s.nll.mean + np.maximum(d.kl - least, 0.0).sum())          # what several repositories would print
        print(f"{name:20} {s.elbo!s:>16} {s.nll!s:>16} {s.kl!s:>14} {speaking(d):6} {d.collapsed.sum():10}   {cheat:.2f}")
    opt.save(draw(linear, sigmas, runs, diagnoses), "collapse")

    plain, best = scores["the ELBO"], max(scores, key=lambda name: scores[name].elbo.mean)
    free, claimed = scores["free bits, λ = 0.5"], diagnoses["free bits, λ = 0.5"]
    lie = -(free.nll.mean + np.maximum(claimed.kl - 0.5, 0.0).sum()) - free.elbo.mean
    print(f"\nSeen: in a linear VAE with σ = {sigmas[1]}, {(linear[1][1] > 0).sum()} of 30 components are worth a name, and "
          f"{(linear[1][0] > 0.05).sum()} latents speak ({linear[1][0].sum():.2f} nats; theory\n{linear[1][1].sum():.2f}). "
          f"In a network of sigmoids, climbing the ELBO leaves {speaking(diagnoses['the ELBO'])} of 30 latents speaking, at "
          f"{plain.elbo} nats; the best\nof the four is \"{best}\" with {speaking(diagnoses[best])} and {scores[best].elbo}. "
          f"With λ = 0.5 the true ELBO is {free.elbo.mean:.2f},\nand leaving the free nats out would claim {lie:.2f} more.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Give `build` the `images`, so that the decoder starts at the average digit.  How many latents does the
#    plain ELBO keep now?
# 2. *Break this.*  Apply free bits to every image by itself, $\sum_j \max(\lambda, \mathrm{KL}_{bj})$, before the average.
#    Which latents pay, and what does the pullback become?
# 3. *Derive this.*  In one dimension, with $x = w z + \sigma\varepsilon$ and data of variance $\lambda$, find the best $w$
#    and the KL at the best ELBO.  At which $\lambda/\sigma^2$ does $w$ become zero?
