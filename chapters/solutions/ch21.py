"""Solutions of chapter 21 · The conditional VAE.

    python -m chapters.solutions.ch21
"""

# %% [markdown]
# # Solutions of chapter 21

# %%
from dataclasses import replace

import numpy as np

from chapters.ch21_cvae import ask, kl_of_two, train
from minivae import plots
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.evaluation import conditional_log_likelihood, evaluate
from minivae.nn import Adam, Layer
from minivae.training import fit
from minivae.variants import CVAEConfig, VAEConfig

opt, _ = options(parser("solutions/ch21", __doc__, epochs=12), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Give the label instead: `minivae train --model cvae --given label`, and draw ten of each digit with
# > `minivae sample`.  What does $z$ still have to say, once the digit is known?
#
# The same in a few lines, with one-hot labels for $x$, beside a VAE of the same size that is told nothing.

# %%
some, hidden = slice(0, 200 if opt.quick else 2000), (30,) if opt.quick else (200,)


def black_and_white(images, labels):
    y = (rng.random(images.shape) < images).astype(np.float32)
    return Batch(x=np.eye(10, dtype=np.float32)[labels], y=y)


part, test = black_and_white(digits.train[some], digits.train_labels[some]), black_and_white(digits.test[:500], digits.test_labels[:500])
steps = -(-len(part) // 100)
told = CVAEConfig(10, 784, hidden, 10).build(seed=opt.seed, targets=part.y, baseline_steps=2 * steps,
                                             optimizers={"baseline": Adam(3e-3), "cvae": Adam(2e-3)})
fit(told, part, epochs=2 + 5 * opt.epochs, batch_size=100, seed=opt.seed, progress=False)
untold = VAEConfig(784, hidden, 10).build(seed=opt.seed, images=part.y, optimizer=Adam(2e-3))
fit(untold, part.y, epochs=5 * opt.epochs, batch_size=100, seed=opt.seed, progress=False)
nll, kl = (t.mean() for t in told.terms(test, np.random.default_rng(0), 5))
alone = evaluate(untold, test.y, samples=5)
print(f"told the label: nll {nll:.2f}, KL {kl:.2f} nats;  told nothing: nll {alone.nll}, KL {alone.kl}")
print(f"a label is worth log 10 = {np.log(10):.2f} nats; the KL falls by {alone.kl.mean - kl:.2f}, the bound rises by {-nll - kl - alone.elbo.mean:.2f}")
drawn = told.predict(np.eye(10, dtype=np.float32).repeat(10, axis=0), rng)
fig, axes = plots.figure(1, 1, width=4, height=4)
axes.imshow(plots.mosaic(drawn, (28, 28), 10), cmap="gray_r")
axes.set_axis_off()
opt.save(fig, "ten_of_each", alt="Ten rows of ten images: every row is one digit, in ten different hands.")
assert opt.quick or kl > np.log(10)

# %% [markdown]
# How it is written: slant, width, thickness, with a loop or without; that is most of what a digit's picture says, and most of the KL.  The label is at most $\log 10 = 2.3$ nats of it: with perfect models
# $\log p(x \mid y) - \log p(x)$ has the mean $I(x; y) \le \log 10$.  The bounds above differ by more than that, and not always upwards: they are bounds of two different networks after few epochs, and the one that begins with a
# baseline wakes its latents later.  (Trained for a fifth of these epochs its KL was still 0.04 nats: chapter 12's silence.)

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Use $\mathrm{KL}(q \,\|\, \mathcal N(0, I))$ instead of the KL to the prior network, as many public
# > repositories do, and draw $z$ from $\mathcal N(0, I)$.  Is it still a bound on $\log p(y \mid x)$?  Of which model?  Is
# > there anything that model cannot say?
#
# It is a bound: the derivation never asked what $p(z \mid x)$ is.  It is one of the model $p(y \mid x) = \int p(y \mid x, z)\, \mathcal N(z; 0, I)\, dz$, in which $z$ is independent of what
# is seen.
#
# And it can say the same.  The decoder is told $x$, so let it begin with $z' = \mu_p(x) + \sigma_p(x)\, z$ and go on as before: then $z'$ has the distribution
# $p(z \mid x)$.  Let the recognition network say $\mu = (\mu_q - \mu_p)/\sigma_p$, $\sigma = \sigma_q/\sigma_p$; a KL does not mind a change of units:
#
# $$ \mathrm{KL}\big(\mathcal N(\mu_q, \sigma_q^2) \,\|\, \mathcal N(\mu_p, \sigma_p^2)\big) = \mathrm{KL}\Big(\mathcal N\Big(\frac{\mu_q - \mu_p}{\sigma_p}, \frac{\sigma_q^2}{\sigma_p^2}\Big) \,\Big\|\, \mathcal N(0, I)\Big) . $$
#
# So what is lost is no density, but a convenience: the decoder has to learn what the prior network did.  (What *is* wrong, and also found in public: to
# train with one of the two priors and to draw from the other.)

# %%
mean_q, logvar_q, mean_p, logvar_p = rng.standard_normal((4, 5, 3))
std_p, zero = np.exp(0.5 * logvar_p), np.zeros((5, 3))
one, other = kl_of_two(mean_q, logvar_q, mean_p, logvar_p)[0], kl_of_two((mean_q - mean_p) / std_p, logvar_q - logvar_p, zero, zero)[0]
print(f"the two KLs differ by at most {np.abs(one - other).max():.0e}")
assert np.allclose(one, other)


class Fixed(Layer):
    """N(0, I), whatever is seen"""

    def __init__(self, unused):
        self.unused = unused               # its parameters stay the model's, and nothing pulls at them

    def __call__(self, told):
        zero = np.zeros((len(told), latents), told.dtype)
        return (zero, zero.copy()), lambda *dq, **_: None


asked, seen, unseen = ask(replace(digits, train=digits.train[some], train_labels=digits.train_labels[some]), 1, opt)
unseen = unseen[:300]
model = train(asked, seen, opt, seed=opt.seed, progress=False)
latents = model.latents
plain = CVAEConfig(*asked.sizes, hidden=(30,) if opt.quick else (400,), latents=latents).build(
    seed=opt.seed, targets=seen.y, baseline_steps=max(1, opt.epochs // 4) * -(-len(seen) // 100),
    optimizers={"baseline": Adam(1e-3), "cvae": Adam(1e-3)})
plain.prior = Fixed(plain.prior)
fit(plain, seen, epochs=max(1, opt.epochs // 4) + opt.epochs, batch_size=100, seed=opt.seed, progress=False)
by_prior = {}
for name, m in (("a prior network", model), ("N(0, I)", plain)):
    found = by_prior[name] = conditional_log_likelihood(m, unseen, samples=20 if opt.quick else 100, seed=opt.seed)
    print(f"{name:15} log p(y|x) by q {found.by_q}, by draws of the prior {found.by_p}, above the baseline {found.gain}")
assert opt.quick or all(found.by_q.mean > found.by_p.mean for found in by_prior.values())
assert opt.quick or by_prior["a prior network"].by_q.mean > by_prior["N(0, I)"].by_q.mean

# %% [markdown]
# It could say the same, and after as many steps it does not: the prior network was worth having.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that the prior network that maximises the bound, all else fixed, is the average of the recognition
# > network: for every $x$, $p(z \mid x)$ is the Gaussian with the mean and variance of
# > $\mathbb E_{y \mid x}\big[q(z \mid x, y)\big]$.  (Which direction of the KL is it that matches moments?)
#
# For one $x$, what depends on $p$ in the bound, averaged over $y$, is
#
# $$ \mathbb E_{y \mid x}\, \mathbb E_{q(z \mid x, y)} \log p(z \mid x) = \mathbb E_{\bar q(z)} \log p(z \mid x), \qquad \bar q(z) = \mathbb E_{y \mid x}\big[q(z \mid x, y)\big], $$
#
# because the two averages together are one over $\bar q$.  For $p = \mathcal N(m, v)$ it is, latent by latent,
# $-\tfrac12 \big( \log 2\pi v + \mathbb E_{\bar q}(z - m)^2/v \big)$.  In $m$ it is largest at $m = \mathbb E_{\bar q}\, z$; then, in $v$, at $v = \mathbb E_{\bar q} (z - m)^2$.
#
# It differs from $-\mathrm{KL}(\bar q \,\|\, p)$ by the entropy of $\bar q$, which does not know $p$: the *forward* KL matches moments, and covers all modes.  With
# $\mu_y, \sigma_y^2$ the moments of $q(z \mid x, y)$: $m = \mathbb E\, \mu_y$ and $v = \mathbb E\, \sigma_y^2 + \mathrm{Var}\, \mu_y$.  The prior is wider than the posteriors it averages.

# %%
means, logvars = 2 * rng.standard_normal((7, 1)), rng.standard_normal((7, 1))          # q(z|x, y) for seven y, all as likely
m = means.mean()
v = np.exp(logvars).mean() + means.var()
price, pullback = kl_of_two(means, logvars, np.full((7, 1), m), np.full((7, 1), np.log(v)))
_, _, dmean, dlogvar = pullback(np.full(7, 1 / 7))
print(f"m = {m:.4f}, v = {v:.4f}: average KL {price.mean():.6f}, its slope in the prior's mean and log-variance {dmean.sum():.0e}, {dlogvar.sum():.0e}")
around = [kl_of_two(means, logvars, np.full((7, 1), m + dm), np.full((7, 1), np.log(v) + dv))[0].mean()
          for dm in (-0.1, 0, 0.1) for dv in (-0.1, 0, 0.1) if dm or dv]
assert abs(dmean.sum()) < 1e-12
assert abs(dlogvar.sum()) < 1e-12
assert price.mean() < min(around)
assert v > np.exp(logvars).mean()
