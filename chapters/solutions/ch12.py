"""Solutions of chapter 12 · Posterior collapse.

    python -m chapters.solutions.ch12
"""

# %% [markdown]
# # Solutions of chapter 12

# %%
import numpy as np

from chapters.ch07_elbo import elbo_1d, posterior_1d
from chapters.ch12_posterior_collapse import free_bits
from minivae.chapter import options, parser
from minivae.evaluation import diagnose
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.parts import FreeBits, Objective, WeightedKL, warm_up
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch12", __doc__, epochs=100), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train four times as long (`--epochs 100`).  Which ELBOs are still climbing, and do the silent latents
# > of the plain one come back?  Then give `build` the `images`, so that the decoder starts at the average digit.  How
# > many latents does the plain ELBO keep now?
#
# Half of the digits and half of the units here, and 100 epochs: less than a minute instead of several, and the same picture.

# %%
digits = opt.digits().train[:300 if opt.quick else 2000]
few, hidden = (digits[:300] > 0.5).astype(np.float32), (30, 30) if opt.quick else (100, 100)
quarter = max(1, opt.epochs // 4)
steps = quarter * -(-len(digits) // 64)


def trained(objective, images=None):
    """The ELBO of the training images and the number of latents with a KL above 0.05 nats, after every epoch."""
    vae = VAEConfig(784, hidden, 30, "sigmoid").build(seed=opt.seed, optimizer=Adam(3e-3), objective=objective, images=images)
    speak = []
    history = fit(vae, digits, epochs=opt.epochs, batch_size=64, binarize=True, seed=opt.seed, progress=False,
                  callback=lambda record, model: speak.append(int((diagnose(model, few).kl > 0.05).sum())))
    return np.array([record["train_elbo"] for record in history]), speak


found = {name: trained(objective, images) for name, objective, images in (
    ("the ELBO", Objective(), None), ("warm-up", WeightedKL(warm_up(steps // 3)), None),
    ("free bits, λ = 0.5", FreeBits(0.5), None), ("the ELBO, from the average", Objective(), digits))}
for name, (elbo, speak) in found.items():
    print(f"{name:27} training ELBO {elbo[quarter - 1]:7.1f} after {quarter} epochs, {elbo[-1]:7.1f} after {opt.epochs}, rising by "
          f"{(elbo[-1] - elbo[-1 - quarter // 2]) / max(1, quarter // 2):.2f} per epoch;  {speak[quarter - 1]} latents speak, then {speak[-1]}")
assert opt.quick or all(elbo[-1] > elbo[quarter - 1] + 10 for elbo, _ in found.values())
assert opt.quick or found["the ELBO"][1][-1] < 5
assert opt.quick or found["the ELBO, from the average"][1][quarter - 1] > found["the ELBO"][1][quarter - 1]

# %% [markdown]
# All of them still climb after 100 epochs.  The silent latents of the plain ELBO do not come back: a silent latent is ignored by the decoder, the
# decoder's slope in it is nearly 0, and it stays so.  Started at the average digit, more latents speak at a quarter of the time.  But they are not kept: the others climb by
# putting more into fewer of them.  At the chapter's own size, measured once with this code (`hidden = (200, 200)`, 4,000 digits, 60 epochs), the plain
# ELBO ended with 2 latents at $-146.5$ nats, and from the average with 3 at $-139.9$.  So the start helps the bound; it does not cure the silence, as free bits do.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Apply free bits to every image by itself, $\sum_j \max(\lambda, \mathrm{KL}_{bj})$, before the average.
# > Which latents pay, and what does the pullback become?
#
# $y_b = \sum_j \max(\lambda, \mathrm{KL}_{bj})$ has $\partial y_b / \partial \mathrm{KL}_{bj} = [\mathrm{KL}_{bj} > \lambda]$: every image decides by itself.  A latent that
# says a lot about a few images, and nothing about the others, pays for the few, although on average it is below $\lambda$; and from the
# others, which are below, it gets no credit.  The maximum is convex, so by Jensen's inequality
#
# $$ \tfrac1B \sum_b \max(\lambda, \mathrm{KL}_{bj}) \;\ge\; \max\Big(\lambda, \tfrac1B \sum_b \mathrm{KL}_{bj}\Big) : $$
#
# nobody is charged less than before.  The free nats now go to latents that say *the same amount about every image*.

# %%
def free_bits_each(kl, *, least):                     # (B, Z) -> (B,)
    """Σⱼ max(λ, KLⱼ)"""
    return np.maximum(kl, least).sum(axis=1), lambda dy: (kl > least) * dy[:, None]


print(gradcheck(free_bits_each, rng.random((6, 4)), least=0.5))
even, rare = np.full(100, 0.4), np.where(np.arange(100) < 5, 8.0, 0.0)       # both say 0.4 nats on average
kl = np.stack([even, rare], axis=1)
together, pull_together = free_bits(kl, least=0.5)
each, pull_each = free_bits_each(kl, least=0.5)
charged = np.maximum(kl, 0.5).mean(axis=0)
heard = (pull_each(np.full(100, 0.01)) > 0).mean(axis=0)
print(f"0.4 nats for every image, or 8 nats for one in twenty: charged {together[0]:.2f} and {together[1]:.2f} of the average, "
      f"{charged[0]:.2f} and {charged[1]:.3f} image by image, where {heard[0]:.0%} and {heard[1]:.0%} of the images pay")
assert not pull_together(np.ones(2)).any()
assert np.all(charged >= together)
assert charged[1] > charged[0] == 0.5

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  In the one-dimensional model, hold $w$ at 0.1 and let $q(z \mid x) = \mathcal N(a x, s^2)$ be free.  Find
# > the best $a$ and $s^2$, and show that both go to the prior's as $w \to 0$: why does the encoder follow a decoder
# > that does not listen?
#
# What depends on $q$ in the ELBO of $x$ is
#
# $$ -\frac{(1 - wa)^2 x^2 + w^2 s^2}{2\sigma^2} - \tfrac12 \big(a^2 x^2 + s^2 - \log s^2\big) . $$
#
# The derivative in $a$ is $x^2 \big(w (1 - wa)/\sigma^2 - a\big)$, for every $x$ zero at $a = \dfrac{w}{w^2 + \sigma^2}$; in $s^2$ it is
# $-\dfrac{w^2}{2\sigma^2} - \tfrac12 + \dfrac{1}{2 s^2}$, zero at $s^2 = \dfrac{\sigma^2}{w^2 + \sigma^2}$.  That is the true posterior, whatever $w$ is, so it is
# best.  As $w \to 0$, $a \to 0$ like $w/\sigma^2$ and $s^2 \to 1$: the prior.  A code that the decoder does not use saves nothing, and still costs its KL; the pull of the
# image on $a$ is $w x^2/\sigma^2$, proportional to how much the decoder listens, and that of the KL, $-a x^2$, is not.

# %%
sigma, xs = 0.5, rng.standard_normal(1000)
for w in (0.5, 0.1, 0.01):
    a, s2 = w / (w**2 + sigma**2), sigma**2 / (w**2 + sigma**2)
    mean, std = posterior_1d(1.0, w, sigma)
    assert np.allclose((mean, std**2), (a, s2))
    here = elbo_1d(xs, a * xs, np.sqrt(s2), w, sigma).mean()
    others = [elbo_1d(xs, (a + da) * xs, np.sqrt(s2) * f, w, sigma).mean() for da in (-0.05, 0, 0.05) for f in (0.9, 1, 1.1) if (da, f) != (0, 1)]
    print(f"w = {w:4}: a = {a:.4f}, s² = {s2:.4f}; the best of its neighbours is {here - max(others):.5f} nats worse; "
          f"silence (a = 0, s = 1) by {here - elbo_1d(xs, 0 * xs, 1.0, w, sigma).mean():.6f}")
    assert max(others) < here
