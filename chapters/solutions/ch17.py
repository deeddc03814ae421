"""Solutions of chapter 17 · From EM to amortized inference.

    python -m chapters.solutions.ch17
"""

# %% [markdown]
# # Solutions of chapter 17

# %%
import numpy as np

from chapters.ch17_em import bound, e_step, fit_alone, m_step
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, amortization_gap
from minivae.nn import Adam
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch17", __doc__, epochs=60), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()
grey = digits.train[:100 if opt.quick else 1000]
coins = (rng.random(grey.shape) < grey).astype(np.float32)
new = (rng.random((100, 784)) < digits.test[:100]).astype(np.float32)[:20 if opt.quick else 100]
config = VAEConfig(784, (30 if opt.quick else 100,), 10, "tanh")


def trained(images, binarize):
    vae = config.build(seed=opt.seed, images=grey, optimizer=Adam(2e-3))
    fit(vae, images, epochs=opt.epochs, batch_size=50, binarize=binarize, seed=opt.seed, progress=False)
    return vae


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Start `fit_alone` at $\mathcal N(0, I)$ instead of the encoder's $q$.  Is $q^*$ as good?  Then refine the
# > encoder's $q$ by 1, 5 and 20 steps: how much of the gap on new images is left?
#
# A small VAE, 1,000 digits that were made black and white once, 100 others.

# %%
vae = trained(coins, binarize=False)
encoder_q = np.stack(vae.encode(new))
steps, many = (30, 20) if opt.quick else (300, 100)


def refined(start, steps):
    q = fit_alone(vae.decoder, new, start, np.random.default_rng(opt.seed), steps=steps)
    return bound(vae.decoder, new, q, samples=many)


encoder, best, from_prior = bound(vae.decoder, new, encoder_q, samples=many), refined(encoder_q, steps), refined(0 * encoder_q, steps)
print(f"F of the encoder's q {Estimate.of(encoder)}, of q* from there {Estimate.of(best)}: a gap of {Estimate.of(best - encoder)}")
print(f"q* from N(0, I) is {Estimate.of(best - from_prior)} nats below it (one image by up to {np.max(best - from_prior):.2f})")
for few in (1, 5, 20):
    left = (best - refined(encoder_q, few)).mean() / (best - encoder).mean()
    print(f"after {few:2} steps from the encoder's q {left:.0%} of the gap is left")
assert best.mean() > encoder.mean()
assert opt.quick or best.mean() > from_prior.mean()
assert left < 0.7

# %% [markdown]
# From the prior $q^*$ is not as good after as many steps: $F$ has several tops in $q$ where an image can be explained in two ways, and a start far away may end on a lower one.  The encoder is a good start more than it is a good end: a few
# steps from its $q$ make up for much of what it loses (this is semi-amortized inference).

# %% [markdown]
# ## Exercise 2
#
# > *Measure this.*  Binarize the training images anew for every batch (chapter 10).  What happens to the gap on new
# > images, and to the approximation gap?

# %%
anew = trained(grey, binarize=True)
found = {}
for name, model, seen in (("once", vae, coins), ("anew", anew, coins)):
    for which, x in (("seen", seen[:len(new)]), ("new", new)):
        found[name, which] = gap = amortization_gap(model, x, bound_samples=many, steps=steps, seed=opt.seed)
        print(f"binarized {name}, {which:4} images: amortization gap {gap.amortization}, approximation gap {gap.approximation}; ELBO {gap.encoder}")
assert opt.quick or found["anew", "new"].amortization.mean < found["once", "new"].amortization.mean
assert opt.quick or found["once", "seen"].amortization.mean < found["once", "new"].amortization.mean

# %% [markdown]
# Binarizing anew is more data for the encoder: it can no longer learn answers by heart for the images it has seen, and its gap on new ones
# shrinks (and the ELBO there rises).  The approximation gap belongs to the decoder and to diagonal Gaussians, and has no such reason to change.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  One latent, one eigenvalue $\lambda$, $\sigma$ known: show that EM maps the length $w$ of $W$ to
# > $\lambda w (w^2 + \sigma^2) / (\lambda w^2 + \sigma^2 (w^2 + \sigma^2))$, that $w^2 = \lambda - \sigma^2$ stays where it is, and that near it the
# > error shrinks by $r = 1 - 2\sigma^2(\lambda - \sigma^2)/\lambda^2$.
#
# Along the eigenvector the data are numbers $y$ with $\overline{y^2} = \lambda$; let $v = w^2 + \sigma^2$.
#
# **E step.**  $S = (1 + w^2/\sigma^2)^{-1} = \sigma^2/v$ and $m = y w S/\sigma^2 = y w/v$.
#
# **M step.**  $w' = \overline{m y} \big/ (\overline{m^2} + S)$:
#
# $$ w' = \frac{\lambda w/v}{\lambda w^2/v^2 + \sigma^2/v} = \frac{\lambda w v}{\lambda w^2 + \sigma^2 v} = g(w) . $$
#
# **Fixed point.**  $g(w) = w$ asks for $\lambda v = \lambda w^2 + \sigma^2 v$, that is $\lambda \sigma^2 = \sigma^2 v$: $v = \lambda$, $w^2 = \lambda - \sigma^2$.  (And $w = 0$.)
#
# **Near it.**  By the logarithm, with $dv/dw = 2w$ and $g = w$, $v = \lambda$, $\lambda w^2 + \sigma^2 v = \lambda (w^2 + \sigma^2) = \lambda^2$ at the fixed point,
#
# $$ \frac{g'}{g} = \frac1w + \frac{2w}{v} - \frac{2 \lambda w + 2\sigma^2 w}{\lambda w^2 + \sigma^2 v}, \qquad
#    g' = 1 + \frac{2w^2}{\lambda} - \frac{2 w^2 (\lambda + \sigma^2)}{\lambda^2} = 1 - \frac{2\sigma^2 w^2}{\lambda^2} = r . $$
#
# As $0 < \sigma^2 < \lambda$, $r$ lies between $\tfrac12$ and 1, and tends to 1 when there is little noise ($\sigma^2 \to 0$), or little signal
# ($\sigma^2 \to \lambda$).

# %%
lam, sigma = 2.0, 0.6
y = rng.standard_normal((500, 1))
y *= np.sqrt(lam / np.mean(y**2))
w = 0.3
for _ in range(3):                                    # the chapter's EM on these numbers, σ held still
    W, _ = m_step(y, *e_step(y, np.array([[w]]), sigma))
    formula = lam * w * (w**2 + sigma**2) / (lam * w**2 + sigma**2 * (w**2 + sigma**2))
    assert np.isclose(W[0, 0], formula)
    w = W[0, 0]
top, r = np.sqrt(lam - sigma**2), 1 - 2 * sigma**2 * (lam - sigma**2) / lam**2
errors = []
for _ in range(40):
    errors.append(abs(w - top))
    w = lam * w * (w**2 + sigma**2) / (lam * w**2 + sigma**2 * (w**2 + sigma**2))
print(f"EM ends at w = {w:.8f}, √(λ − σ²) = {top:.8f}; near it the error shrinks by {errors[30] / errors[29]:.5f} per iteration, r = {r:.5f}")
assert abs(w - top) < 1e-4
assert abs(errors[30] / errors[29] - r) < 1e-3
assert min(1 - 2 * s * (1 - s) for s in np.linspace(0.01, 0.99, 99)) >= 0.5
