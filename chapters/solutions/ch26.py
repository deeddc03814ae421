"""Solutions of chapter 26 · The infinite VAE.

    python -m chapters.solutions.ch26
"""

# %% [markdown]
# # Solutions of chapter 26

# %%
from functools import partial

import numpy as np

from chapters.ch26_infinite_vae import a_line, lines, parameters, seat, train_one
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.distributions import bernoulli_sample
from minivae.evaluation import Estimate, components_found, log_likelihoods
from minivae.nn import Adam
from minivae.ops import log_mean_exp
from minivae.training import fit
from minivae.variants import InfiniteVAE, InfiniteVAEConfig, VAEConfig, infinite

opt, _ = options(parser("solutions/ch26", __doc__, epochs=12), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Let the base see more (`first_steps`), or nothing.  How many components do you get, and why fewer of them die?
# > Then give the VAEs ten latents: what becomes of the gain?
#
# 1,000 digits, small VAEs, one seed.

# %%
digits = opt.digits()
part, test = digits.part("train")[:200 if opt.quick else 1000], digits.part("test")[:50 if opt.quick else 300]
epochs = max(2, opt.epochs)


def trained(latents, first_epochs):
    model = InfiniteVAEConfig(VAEConfig(784, (8,) if opt.quick else (40,), latents), 4 if opt.quick else 12, 0.1, draws=3).build(
        examples=len(part), seed=opt.seed, images=part.x, first_steps=first_epochs * -(-len(part) // 100), optimizer=partial(Adam, 2e-3))
    in_use = []
    fit(model, part.but(index=np.arange(len(part))), epochs=epochs, batch_size=100, binarize=True, seed=opt.seed, progress=False,
        callback=lambda record, m: in_use.append(m.components))
    return model, in_use


for first in (0, 1) if opt.quick else (0, 2, 6):
    model, in_use = trained(2, first)
    print(f"the base sees {first} epochs: components in use, epoch by epoch {in_use}, images in each {sorted(model.sizes[model.sizes > 0].tolist(), reverse=True)}")
    assert 1 <= model.components <= len(model.vaes)

black = bernoulli_sample(test.x, rng=np.random.default_rng(0))
for latents in (2, 10):
    model, _ = trained(latents, 1 if opt.quick else 2)
    numbers = parameters(model)
    width = round((numbers - 784) / (2 * 784 + 4 * latents + 2))
    one = train_one(part, opt, numbers, seed=opt.seed, epochs=epochs) if latents == 2 else VAEConfig(784, (width,), latents).build(
        seed=opt.seed, images=part.x, optimizer=Adam(1e-3))
    if latents != 2:
        fit(one, part, epochs=epochs, batch_size=100, binarize=True, seed=opt.seed, progress=False)
    gain = Estimate.of(log_likelihoods(model, black, samples=5 if opt.quick else 50, seed=opt.seed)
                       - log_likelihoods(one, black, samples=5 if opt.quick else 50, seed=opt.seed))
    print(f"{latents:2} latents: {model.components} components with {numbers:,} parameters together, one VAE with {parameters(one):,}: a gain of {gain} nats")

# %% [markdown]
# A new table is the base's copy.  When the base has seen nothing, nobody explains anything yet, and tables are opened by the rule of the restaurant alone: many, and more than the images need.  As the VAEs learn, some explain
# better, their tables attract the guests of the others, and these die.  A base that has seen more starts a component off well: fewer are opened, for the first ones are good, and those that are stay.
#
# The gain is about maps being too small.  In two dimensions several maps hold what one cannot; with ten latents one VAE has room for all kinds at once and learns from *all* images, each component only from its share: the gain becomes a loss.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Give every component noise of its own in `InfiniteVAE._bounds`, and one draw (`draws=1`).  On three lines count
# > how many tables are opened in a sweep, and how many of them are left after the next.
#
# A guest compares bounds.  With the same noise the components' bounds are wrong in the same way, the more so as a component began as the base's copy, and the errors cancel in the difference.  With noise of its own each is off by
# itself, and the largest of several noisy numbers is mostly noise: tables are opened that nobody needs.  They are not all deserted when the noise is drawn anew, for by then whoever sits there has taught them something: the three lines end on more components than
# there are lines.

# %%
def own_noise(self, x, eps):
    """`InfiniteVAE._bounds` with other noise for every component"""
    found, noise = np.full((len(x), len(self.vaes) + 1), -np.inf), np.random.default_rng(int(abs(float(eps.sum())) * 1e6) % 2**32)
    for c in [*np.flatnonzero(self.sizes), len(self.vaes)]:
        nll, kl = [*self.vaes, self.base][c].monte_carlo_terms(x=x, eps=noise.standard_normal(eps.shape).astype(eps.dtype))[0]
        found[:, c] = log_mean_exp(-(nll + kl).reshape(len(eps), len(x)).T)[0]
    return found


class OwnNoise(InfiniteVAE):
    _bounds = own_noise


x, labels = lines(60 if opt.quick else 300, np.random.default_rng(opt.seed))
first, sweeps = (2, 6) if opt.quick else (5, 40)


def on_lines(kind, draws):
    """A model of the lines, and how many tables each sweep opened (and how many of the last one's were left)"""
    a_line.device = opt.device
    model = kind(a_line(opt.seed), [a_line(opt.seed) for _ in range(10)], images=len(x), concentration=1.0, draws=draws, first_steps=first)
    opened, left, now, right = [], [], [], infinite.crp_sweep

    def counting(*args, **how):
        seats, new = right(*args, **how)
        left.append(sum(bool(np.any(seats == c)) for c in now))
        now[:] = set(new)
        opened.append(len(now))
        return seats, new

    infinite.crp_sweep = counting
    try:                                              # one batch: a step is a sweep
        fit(model, Batch(x=x, index=np.arange(len(x))), epochs=first + sweeps, batch_size=len(x), seed=opt.seed, progress=False)
    finally:
        infinite.crp_sweep = right
    return model, opened, left


in_use = {}
for name, kind, draws in (("the same noise, 3 draws", InfiniteVAE, 3), ("own noise, 1 draw", OwnNoise, 1)):
    model, opened, left = on_lines(kind, draws)
    in_use[name] = model.components
    print(f"{name:24}: tables opened in the first sweeps {opened[:6]}, of those of the sweep before are left {left[1:6]}; in the last half {np.mean(opened[sweeps // 2:]):.2f} a sweep; "
          f"{components_found(model, Batch(x=x, y=labels))}".split("\n")[0])
most, away = int(model.sizes.argmax()), {}
for name, bounds in (("the same", InfiniteVAE._bounds), ("own", own_noise)):
    redrawn = np.array([bounds(model, x, rng.standard_normal((1, len(x), 1), dtype=np.float32)) for _ in range(40)])
    away[name] = (redrawn[:, :, most] - redrawn[:, :, -1]).std(axis=0).mean()
    print(f"one draw, {name} noise: the difference of two bounds of a point, that of the largest component and the base's, has a standard deviation of {away[name]:.2f} nats")
assert opened[0] >= 1
assert opt.quick or in_use["the same noise, 3 draws"] < in_use["own noise, 1 draw"]

# %% [markdown]
# It is the first sweeps that decide.  Later a point whose own component explains it well is not tempted by a little luck of the base.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that the expected number of tables of $N$ guests is $\sum_{i=0}^{N-1} \alpha / (\alpha + i)$, about $\alpha \log N$.  (Whether
# > guest $i$ opens one does not depend on who sits where.)  Check it with `seat`'s rule and $N = 8{,}000$: how many components would
# > the prior alone give?
#
# When $i$ guests are there, the next opens a table with probability $\alpha/(\alpha + i)$, however they sit.  The number of tables is the sum of $N$ such events, and the expectation of a sum is the sum of expectations:
#
# $$ \mathbb E\, T_N = \sum_{i=0}^{N-1} \frac{\alpha}{\alpha + i} . $$
#
# (They are even independent, so the variance is $\sum \frac{\alpha i}{(\alpha + i)^2}$.)  The first term is 1.  The others are values of a falling function, between the integrals
# $\int_1^N \frac{\alpha\, di}{\alpha + i}$ and $\int_0^{N-1} \frac{\alpha\, di}{\alpha + i}$, so for fixed $\alpha$ and large $N$ it is $\alpha \log N + O(1)$.

# %%
N, repeats = 8000, 200
i = np.arange(N)
for alpha in (0.1, 1.0, 10.0):
    tables = (rng.random((repeats, N)) < alpha / (alpha + i)).sum(axis=1)
    expected = (alpha / (alpha + i)).sum()
    error = tables.std(ddof=1) / np.sqrt(repeats)
    print(f"α = {alpha:4}: {tables.mean():.2f} ± {error:.2f} tables of {N:,} guests, by the formula {expected:.2f}; α log N = {alpha * np.log(N):.2f}")
    assert abs(tables.mean() - expected) < 5 * error
    assert alpha * np.log((alpha + N) / (alpha + 1)) <= expected - 1 <= alpha * np.log((alpha + N - 1) / alpha)
seats = [0]
for guest in range(1, 60):                            # seat's rule gives the same probability of a new table: α / (α + i)
    new = seat([*seats, max(seats) + 1], 0.7) - seat(seats, 0.7)
    assert np.isclose(np.exp(new), 0.7 / (0.7 + guest))
    counts = np.append(np.bincount(seats), 0.7)
    seats.append(int(rng.choice(len(counts), p=counts / counts.sum())))
print(f"sixty guests by seat's rule, α = 0.7: {max(seats) + 1} tables")
