"""Solutions of chapter 10 · The full VAE.

    python -m chapters.solutions.ch10
"""

# %% [markdown]
# # Solutions of chapter 10

# %%
import numpy as np

from minivae import plots
from minivae.chapter import options, parser
from minivae.distributions import gaussian_nll_shared
from minivae.evaluation import active_units, diagnose, evaluate
from minivae.nn import Adam
from minivae.parts import WeightedKL
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch10", __doc__, epochs=20), None)    # smaller networks than the chapter's, fewer epochs
digits = opt.digits()
train = digits.train[:400] if opt.quick else digits.train
test = (np.random.default_rng(10).random(digits.test.shape) < digits.test).astype(np.float32)
test = test[:100] if opt.quick else test
hidden = (50,) if opt.quick else (200,)


def trained(latents, *, likelihood="bernoulli", objective=None, epochs=opt.epochs):
    vae = VAEConfig(784, hidden, latents, likelihood=likelihood).build(seed=opt.seed, images=train, objective=objective,
                                                                       optimizer=Adam(2e-3))
    fit(vae, train, epochs=epochs, batch_size=64, binarize=likelihood == "bernoulli", seed=opt.seed, progress=False)
    return vae


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with 5, 50 and 200 latents.  How many are active, and does the bound care?

# %%
scores, active = {}, {}
for latents, longer in ((5, 1), (50, 1), (200, 1), (200, 3)):
    vae = trained(latents, epochs=longer * opt.epochs)
    scores[latents, longer] = evaluate(vae, test)
    active[latents, longer] = int(active_units(vae, test).sum())
    score, loud = scores[latents, longer], int((diagnose(vae, test).kl > 0.5).sum())
    print(f"{latents:3} latents, {longer * opt.epochs} epochs: {active[latents, longer]:3} active, {loud:2} say more than half a nat; "
          f"ELBO {score.elbo}, nll {score.nll}, KL {score.kl}")
assert opt.quick or active[5, 1] == 5
assert opt.quick or scores[50, 1].elbo.mean > scores[5, 1].elbo.mean
assert opt.quick or scores[50, 1].elbo.mean > scores[200, 1].elbo.mean
assert opt.quick or scores[200, 3].elbo.mean > scores[200, 1].elbo.mean

# %% [markdown]
# The bound does care.  Five are too few: all are in use, and they cannot say enough.  With 200 it is worse again after as many epochs, although a
# latent that says nothing costs nothing: at first *all* of them say a little, each is noise that the decoder has to learn to ignore, and the KL
# has to silence them one after the other.  Training longer makes up for some of it.  (`active_units` counts what varies at all, above 0.01; look
# beside it at how many latents say more than half a nat.)

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Average the surprise over pixels instead of summing it, and leave the KL as it is.  What
# > do the samples look like, and how many latents are active?  (You have just chosen β = 784.)
#
# $\tfrac{1}{784} \mathrm{nll} + \mathrm{KL} = \tfrac{1}{784} (\mathrm{nll} + 784\, \mathrm{KL})$, and Adam does not notice the factor in front (chapter 4).  Now a
# nat of the code must save 784 nats of the image.  None does.

# %%
broken = trained(20, objective=WeightedKL(784.0))
kl = evaluate(broken, test).kl.mean
few = broken.sample(200, np.random.default_rng(opt.seed))
whole = trained(20)
good = whole.sample(200, np.random.default_rng(opt.seed))
off = np.abs(few.mean(axis=0) - train.mean(axis=0)).max()
print(f"β = 784: {active_units(broken, test).sum()} of 20 latents active, KL {kl:.4f} nats; a pixel varies over samples by {few.std(axis=0).mean():.4f}, "
      f"with β = 1 by {good.std(axis=0).mean():.4f}")
fig, axes = plots.figure(1, 2, width=7, height=1.8)
for ax, images, title in zip(axes, (good, few), ("summed", "averaged over pixels")):
    ax.imshow(plots.mosaic(images[:16], (28, 28), 8), cmap="gray_r")
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
opt.save(fig, "averaged", alt="Left: sixteen samples of a VAE, digits or nearly. Right: sixteen samples of one whose surprise was averaged over "
         "pixels: sixteen times the same blur, the average digit.")
assert opt.quick or active_units(broken, test).sum() == 0
assert opt.quick or kl < 0.1
assert opt.quick or few.std(axis=0).mean() < 0.2 * good.std(axis=0).mean()

# %% [markdown]
# All samples are the same picture, the average digit: the mean of the pixels is what a model without latents can say best (chapter 5).  And
# nothing looks wrong in the curves: the loss falls, and ends.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Give the decoder a Gaussian likelihood with one learned $\sigma$ (`--gaussian`).  Show that at its
# > best $\sigma^2$ is the mean squared error, and check it on the trained model.
#
# Of the negative ELBO only the nll knows $\sigma$.  Averaged over $N$ images of $X$ pixels and over the draws of $q$, with
# $D = \frac{1}{NX} \sum_n \mathbb E_{q} \lVert x_n - \mu(z) \rVert^2$ and $\ell = \log \sigma^2$, it is
#
# $$ \overline{\mathrm{nll}} = \frac{X}{2} \Big( D e^{-\ell} + \ell + \log 2\pi \Big), \qquad
#    \frac{\partial\, \overline{\mathrm{nll}}}{\partial \ell} = \frac{X}{2} \big(1 - D e^{-\ell}\big) = 0 \iff \sigma^2 = D, $$
#
# and the second derivative, $\tfrac{X}{2} D e^{-\ell}$, is positive.  Note that $D$ is the error of the images decoded from *draws*, and not from means.

# %%
vae = trained(20, likelihood="gaussian_shared", epochs=2 * opt.epochs)     # log σ² starts far off, and Adam's steps are small
rng = np.random.default_rng(opt.seed)
squares = [float(np.square(vae.reconstruct(train, rng) - train).mean()) for _ in range(10)]
from_means = float(np.square(vae.decode(vae.encode(train)[0]) - train).mean())
learned, D = float(vae.likelihood.std) ** 2, np.mean(squares)
print(f"learned σ² {learned:.5f};  mean squared error of draws {D:.5f} ± {np.std(squares, ddof=1) / np.sqrt(10):.5f}, of means {from_means:.5f}")
assert opt.quick or abs(learned / D - 1) < 0.05
assert opt.quick or from_means < D

outputs = vae.reconstruct(train, rng).astype(np.float64)             # and the formula, for one draw of each image
here = np.square(outputs - train).mean()
logvars = np.log(here) + np.linspace(-0.2, 0.2, 41)
losses = [gaussian_nll_shared(outputs, np.array(v), x=train.astype(np.float64))[0].mean() for v in logvars]
slope = gaussian_nll_shared(outputs, np.array(np.log(here)), x=train.astype(np.float64))[1](np.full(len(train), 1 / len(train)))[1]
print(f"on a grid the nll is least at σ² = {np.exp(logvars[np.argmin(losses)]):.5f}, mean squared error {here:.5f}; its slope there is {float(slope):.0e}")
assert np.argmin(losses) == 20
assert abs(float(slope)) < 1e-8
