"""Solutions of chapter 20 · β-VAE and capacity.

    python -m chapters.solutions.ch20
"""

# %% [markdown]
# # Solutions of chapter 20

# %%
from types import SimpleNamespace

import numpy as np

from chapters.ch20_beta_vae import BATCH, judge, network, world
from minivae.chapter import options, parser
from minivae.evaluation import diagnose, evaluate, posterior_means
from minivae.gradcheck import gradcheck
from minivae.parts import Capacity, WeightedKL, warm_up
from minivae.parts.objectives import terms
from minivae.training import fit

opt, _ = options(parser("solutions/ch20", __doc__, epochs=6, data="sprites"), None)
args = SimpleNamespace(hidden=(30,) if opt.quick else (128,))
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with $\beta = \tfrac14, 1, 4, 16$, and draw all three scores and the nll against $\beta$.  Which
# > score says that less is more, and which only counts how many latents are silent?  Then `--field square --epochs 15`:
# > if $\beta = 4$ silences all latents before the decoder has a use for them (chapter 12), does a warm-up of $\beta$ wake them?
#
# One hidden layer, a part of the sprites and few epochs, one seed: a table instead of a picture, and no error bars.

# %%
def trained(known, objective):
    model = network(known, opt, args, opt.seed, objective)
    fit(model, known.images, epochs=opt.epochs, batch_size=BATCH, seed=opt.seed, progress=False)
    return model


known = world(opt, square=False)
known.images = known.images[:200 if opt.quick else 8000]
rows = {}
for beta in (0.25, 1.0, 4.0, 16.0):
    model = trained(known, WeightedKL(beta))
    scores = judge(posterior_means(model, known.pictures), known, opt.seed, True)
    score, silent = evaluate(model, known.test[:500], seed=opt.seed), int((diagnose(model, known.test[:500]).kl < 0.05).sum())
    rows[beta] = score.nll.mean, score.kl.mean
    print(f"β = {beta:5}: nll {score.nll.mean:6.1f}, KL {score.kl.mean:5.2f} nats, {silent} of 10 silent;  "
          + ",  ".join(f"{name} {value}" for name, value in scores.items()))
assert opt.quick or all(a[1] > b[1] for a, b in zip(list(rows.values()), list(rows.values())[1:]))
assert opt.quick or rows[16.0][0] > rows[1.0][0]

square = world(opt, square=True)
square.images = square.images[:200 if opt.quick else 8000]
steps = opt.epochs * -(-len(square.images) // BATCH)
for name, objective in (("β = 4", WeightedKL(4.0)), ("β = 0 → 4", WeightedKL(warm_up(max(1, steps // 2), to=4.0)))):
    kl = diagnose(trained(square, objective), square.test[:500]).kl
    print(f"square field, {name:9}: KL {kl.sum():5.2f} nats, {(kl > 0.05).sum()} of 10 latents speak")

# %% [markdown]
# A dearer nat buys fewer of them, and the nll pays: that much is the theory of the chapter.  MIG and SAP say that less is more: they are *gaps* between the best latent of a factor and the second, and silencing
# latents removes seconds, so they are highest where half of the latents are silent and the pictures are worst.  Higgins' score hardly moves: it asks which latents stay still when a factor does, and a few that speak are
# enough.  A score without the nll and the number of speaking latents beside it says little.
#
# On the square field $\beta = 4$ silences hardly anybody in this run, whose decoder starts at the average picture, and a warm-up then has nobody to wake.  Where training does end in silence, it helps for the reason of chapter 12.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Move the absolute value inside, $\gamma\, \tfrac1B \sum_b |\mathrm{KL}_b - C|$: *every* image must say $C$ nats.
# > What does the pullback become, which sprites are forced to say more than they need, and what does it cost in nll?
#
# Now every image has its own price: $\partial y / \partial \mathrm{KL}_b = \frac{\gamma}{B}\, \mathrm{sign}(\mathrm{KL}_b - C)$.  An image that says less than $C$ is *paid* to say more, whether it
# has anything to say or not; one that needs more is fined.  By the triangle inequality $\tfrac1B \sum_b |\mathrm{KL}_b - C| \ge |\tfrac1B \sum_b \mathrm{KL}_b - C|$: it is the stricter of
# the two.

# %%
def each_capacity_gap(kl, *, capacity):               # (B,) -> ()
    off = kl - capacity
    return np.array(np.abs(off).mean()), lambda dy: dy * np.sign(off) / len(kl)


class EachCapacity(Capacity):
    """loss = nll + γ |klᵦ − C|, for every image"""

    def __call__(self, model, *, x, eps, weight, step):
        (nll, kl), pullback = model.elbo_terms(x=x, eps=eps)
        _, pull_gap = each_capacity_gap(kl, capacity=self.capacity(step))
        pullback(np.full_like(nll, weight), pull_gap(np.full((), self.gamma * weight * len(x), kl.dtype)))
        return terms(nll, kl, weight)


print(gradcheck(each_capacity_gap, 10 * rng.random(6), capacity=5.0))
rising = warm_up(max(1, (opt.epochs * -(-len(known.images) // BATCH)) // 2), to=8.0)
said = {}
for name, objective in (("of the mean", Capacity(rising, 10.0)), ("of each", EachCapacity(rising, 10.0))):
    nll, kl = trained(known, objective).terms(known.test[:500], np.random.default_rng(opt.seed), 5)
    said[name] = kl
    print(f"|KL − C| {name:11}: nll {nll.mean():6.2f} ± {nll.std() / np.sqrt(len(nll)):.2f}, KL {kl.mean():.2f} nats, over sprites ± {kl.std():.2f}")
free, ink = said["of the mean"], known.test[:500].sum(axis=1)
least, most = (np.argsort(free)[part] for part in (slice(None, 50), slice(-50, None)))
print(f"the 50 sprites that say least of their own accord: {free[least].mean():.2f} nats, {ink[least].mean():.0f} pixels of ink; when each must say 8: "
      f"{said['of each'][least].mean():.2f};\nthe 50 that say most: {free[most].mean():.2f} nats, {ink[most].mean():.0f} pixels of ink; then {said['of each'][most].mean():.2f}")
assert opt.quick or said["of each"].std() < free.std()
assert opt.quick or said["of each"][least].mean() > free[least].mean()

# %% [markdown]
# The small sprites, of few pixels, are those with least to say, and are made to say more; the large ones are cut short.  In nll that cost nothing that one can see in so short a run, where the difference is less than the ±: what the small ones
# are forced to say is not lost for the decoder.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  In the linear VAE with the level $\theta = \beta\sigma^2$, show that a direction that is named has
# > $\mathbb E\,\lVert x - \mu \rVert^2 = \theta$ in its share of the squared error, and one that is not has $\lambda_j$.  Conclude that
# > $\mathrm{d}D/\mathrm{d}C = -\beta$: the price is what the last nat saves.
#
# The β-VAE is a VAE with noise $\theta$ (see the chapter), so along a named direction $w^2 = \lambda - \theta$, and the posterior of $z$ is $\mathcal N(w x/\lambda,\ \theta/\lambda)$.
# The decoder says $\mu = w z$.  With $x$ of variance $\lambda$,
#
# $$ \mathbb E (x - w z)^2 = \lambda \Big(1 - \frac{w^2}{\lambda}\Big)^2 + w^2\, \frac{\theta}{\lambda} = \frac{\theta^2}{\lambda} + \frac{(\lambda - \theta)\, \theta}{\lambda} = \theta . $$
#
# One that is not named has $w = 0$ and keeps all of its variance, $\lambda$.
#
# So with $n$ named directions $D = \frac{1}{2\sigma^2} \big( n\theta + \sum_{j > n} \lambda_j \big) + \text{const}$ and $C = \sum_{j \le n} \tfrac12 \log (\lambda_j/\theta)$.  Move the level:
#
# $$ \frac{dD}{d\theta} = \frac{n}{2\sigma^2}, \qquad \frac{dC}{d\theta} = -\frac{n}{2\theta}, \qquad \frac{dD}{dC} = -\frac{\theta}{\sigma^2} = -\beta . $$
#
# (Where $\theta$ passes a $\lambda_j$ the number $n$ changes; $D$, $C$ and the ratio of the slopes are the same on both sides.)

# %%
lambdas, sigma2 = np.array([4.0, 2.0, 1.0, 0.3, 0.1]), 0.1


def D_and_C(theta):
    named = lambdas > theta
    return np.where(named, theta, lambdas).sum() / (2 * sigma2), 0.5 * np.log(lambdas[named] / theta).sum()


n, beta = 400_000, 5.0
theta = beta * sigma2
for lam in lambdas:
    w2, x = max(lam - theta, 0.0), np.sqrt(lam) * rng.standard_normal(n)
    z = np.sqrt(w2) * x / (w2 + theta) + np.sqrt(theta / (w2 + theta)) * rng.standard_normal(n)
    squares = (x - np.sqrt(w2) * z) ** 2
    error = squares.std() / np.sqrt(n)
    print(f"λ = {lam:3}: E(x − μ)² = {squares.mean():.4f} ± {error:.4f}, by the formula {min(lam, theta):.4f}")
    assert abs(squares.mean() - min(lam, theta)) < 5 * error
for beta in (0.5, 2.0, 5.0, 15.0):
    (up, more), (down, less) = D_and_C(beta * sigma2 * 1.001), D_and_C(beta * sigma2 * 0.999)
    print(f"β = {beta:4}: dD/dC by differences {(up - down) / (more - less):.4f}")
    assert np.isclose((up - down) / (more - less), -beta, rtol=1e-4)
