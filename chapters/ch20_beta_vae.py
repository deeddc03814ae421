"""Chapter 20 · β-VAE and capacity.

The question     What does a VAE learn if a nat of KL has another price, and does each latent then stand for one thing?
What is new      β as the price of a constraint; a loss that leads the KL to a capacity, with its pullback; three scores
                 of disentanglement, and codes for which they are known.
What you'll see  latents switch on one after another while the capacity rises; what each latent means at β = 1 and at
                 β = 4; and a table with an untrained encoder and pure noise beside what was learned.

    python chapters/ch20_beta_vae.py                    a minute and a half of processor time
    python chapters/ch20_beta_vae.py --seeds 5          five of everything, and the differences with standard errors
    python chapters/ch20_beta_vae.py --field square     all of the sprites, where x and y vary alike
    python chapters/ch20_beta_vae.py --field square --data sprites64 --hidden 1200 1200 --epochs 1000       papers' size: days
"""

# %% [markdown]
# # 20 · β-VAE and capacity
#
# A VAE pays one nat for each nat of KL.  Suppose that the latents may say no more than $C$ nats about an image:
#
# $$ \max_{\theta, \phi}\ \mathbb E_q[\log p(x \mid z)] \quad \text{such that} \quad
#    \mathrm{KL}(q(z \mid x) \Vert p(z)) \le C . $$
#
# Lagrange's function is $\mathbb E_q[\log p(x \mid z)] - \beta\,(\mathrm{KL} - C)$ with a multiplier $\beta \ge 0$.  For a fixed $\beta$
# the constant $\beta C$ does not matter, and there is the **β-VAE** (Higgins et al. 2017):
#
# $$ \mathrm{loss} = \mathrm{nll} + \beta\, \mathrm{KL} . $$
#
# *What $\beta$ is.*  Let $D(C)$ be the least nll that $C$ nats allow.  Then the best loss is $\min_C D(C) + \beta C$, and at the
# minimum $D'(C) = -\beta$: the last nat that was said saved $\beta$ nats of surprise.  It is a *price*, in nats per nat.  So it
# must be compared with an nll in nats: whoever averages the nll over $X$ pixels, and sums the KL, has multiplied
# $\beta$ by $X$ without saying so.  And at a higher resolution, where the nll is larger, the same $\beta$ is a weaker price
# (Higgins et al. 2017 also give $\beta Z / X$).
#
# *What $\beta$ does,* where all is known.  If the likelihood is Gaussian with a fixed $\sigma$, then, but for a constant,
#
# $$ \frac{\lVert x - \mu \rVert^2}{2\sigma^2} + \beta\,\mathrm{KL}
#    = \beta \left( \frac{\lVert x - \mu \rVert^2}{2\beta\sigma^2} + \mathrm{KL} \right) : $$
#
# a β-VAE *is* a VAE, with noise $\beta\sigma^2$.  In the linear VAE of chapter 12 a direction of variance $\lambda$ is therefore named
# if $\lambda > \beta\sigma^2$, and it is worth
#
# $$ \mathrm{KL}_j = \tfrac12 \log \frac{\lambda_j}{\theta}\ \text{ if } \lambda_j > \theta, \text{ else } 0, \qquad
#    \theta = \beta \sigma^2, \qquad \sum_j \mathrm{KL}_j = C . $$
#
# Pour water into a basin whose floor lies at $-\tfrac12 \log \lambda_j$: the level is $-\tfrac12 \log \theta$, and $C$ is all of the water
# (*reverse water-filling*).  As more is poured in, **the latents switch on one after another**, the largest $\lambda$ first.

# %%
import sys
from dataclasses import dataclass

import numpy as np

from minivae import distributions, evaluation, plots
from minivae.chapter import options, parser
from minivae.data import sprites
from minivae.evaluation import (
    Estimate,
    diagnose,
    evaluate,
    gaps,
    higgins_score,
    mutual_information,
    posterior_means,
    sap,
)
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.parts import Capacity, Objective, WeightedKL, warm_up
from minivae.training import fit
from minivae.variants import VAEConfig
from minivae.variants.probabilistic_pca import as_vae, probabilistic_pca

BATCH, LATENTS, CAPACITY, GAMMA = 64, 10, 12.0, 10.0
RISING, SPEAKS = f"C → {CAPACITY:g}", 0.5               # nats that a latent says when it has switched on
NAMES = tuple(sprites.SIZES)


# %%
def water_filling(eigenvalues, capacity):             # (J,) in falling order -> (J,)
    """KLⱼ = ½ log(λⱼ/θ) of those that are named, such that they add up to the capacity"""
    logs = np.log(eigenvalues)
    levels = (np.cumsum(logs) - 2.0 * capacity) / np.arange(1, len(logs) + 1)         # log θ, if so many are named
    named = max(1, (logs > levels).sum())             # those above the level that they would leave
    return np.maximum(0.5 * (logs - levels[named - 1]), 0.0)


def linear(images, capacity):
    """The eigenvalues of these images, and what the best linear VAE of this capacity says: predicted, and measured"""
    mean, W, smallest = probabilistic_pca(images.astype(np.float64), LATENTS)
    eigenvalues = (W**2).sum(axis=1) + smallest**2    # ‖Wⱼ‖² = λⱼ − σ²
    kl = water_filling(eigenvalues, capacity)
    level = eigenvalues[0] * np.exp(-2.0 * kl[0])     # θ
    best = W / np.linalg.norm(W, axis=1, keepdims=True) * np.sqrt(np.maximum(eigenvalues - level, 0.0))[:, None]
    return eigenvalues, kl, diagnose(as_vae(mean, best, np.sqrt(level)), images.astype(np.float64)).kl


# %% [markdown]
# ## Capacity by hand
#
# A price says nothing of how much is bought.  Burgess et al. (2018) say the amount instead, and let it rise:
#
# $$ \mathrm{loss} = \mathrm{nll} + \gamma\, \Big| \tfrac1B \sum_b \mathrm{KL}_b - C(t) \Big|, \qquad
#    \frac{\partial}{\partial\, \mathrm{KL}_b} = \frac{\gamma}{B}\, \mathrm{sign}\Big( \tfrac1B \sum_b \mathrm{KL}_b - C \Big) . $$
#
# The absolute value is that of the *mean*: one image may say more than $C$, another less.  So the loss looks at the
# whole batch, and its derivative is the same number for every image: a price of $+\gamma$ while too much is said, of
# $-\gamma$ (a reward!) while too little is.  Near $C$ the sign changes from step to step, and the average price is the
# $\beta$ that would have bought $C$.  At $C = 0$ the KL cannot be too small: it is pressed to 0, and nothing is learned.
#
# The paper takes $\gamma = 1000$ and ends at 25 nats, with pictures of 64×64.  Ours have 28×28, and at $\beta = 1$ a network says 13
# nats about them: more than that would have to be rewarded, so we end at 12.  And we take $\gamma = 10$.  Adam divides by
# the size of the gradient, and a price of $\pm 1000$ that changes its sign would leave little for the nll.

# %%
def capacity_gap(kl, *, capacity):                    # (B,) -> ()
    """y = |(1/B) Σ_b kl_b − C|"""
    off = kl.mean() - capacity

    def pullback(dy):                                 # every image's share of the mean is 1/B
        return np.full_like(kl, dy * np.sign(off) / len(kl))

    return np.array(abs(off)), pullback


def same_as_library(rng):
    kl, worst = rng.random(6), 0.0
    for capacity in (0.0, 0.4, 3.0):
        (y, pull), (z, pull_z) = (f(kl, capacity=capacity) for f in (capacity_gap, distributions.capacity_gap))
        worst = max(worst, abs(y - z), np.abs(pull(1.7) - pull_z(1.7)).max())
    return worst


# %% [markdown]
# ## Sprites
#
# A square, an ellipse or a heart, of 6 sizes, turned by 20 angles, in 16 × 16 places: 92,160 pictures, of which each is
# its five factors and nothing else (`minivae.data.sprites`).  A *disentangled* code would have a latent for each of them.
#
# **Why should a VAE find it?**  Turn all latents by a rotation $R$, and let the decoder turn them back: prior and
# likelihood are as before.  So nothing in $p(x, z)$ prefers one set of axes; without a preference of model or
# training no method can find the true ones from pictures alone (Locatello et al. 2019).  What prefers axes here is $q$, whose
# covariance is *diagonal*.  Near an image the posterior has its own axes, along which the picture changes much or little
# with $z$; a diagonal $q$ fits only if these are the latents' axes.  So a VAE turns to the principal directions of what it
# encodes (Rolinek et al. 2019).  A higher price makes $q$ wider, and more depends on which axes it has.
#
# *Principal directions exist only where variances differ.*  On a square field the places vary by the same amount in $x$, in
# $y$ and along both diagonals: to first order $x + y$ and $x - y$ are as good a code as $x$ and $y$.  So the chapter uses the
# middle half of the heights, a field twice as wide as it is high.  With `--field square` the eigenvalues come in pairs, and
# what is learned depends more on the seed.
#
# ## Three scores, and codes for which they are known
#
# *Higgins et al. 2017.*  Draw a factor, then 64 pairs of images which share it and differ freely else.  Average
# $|\mu_1 - \mu_2|$ over the pairs: a latent that knows only this factor has 0.  Can a *linear classifier* tell from these
# averages which factor it was?  (A factor that no latent knows is betrayed by all others being different; of two such one
# has to guess, so a code of three of the five factors reaches 4/5 at most.)  *MIG* (Chen et al. 2018): how many nats more does the best latent know of a factor than
# the second best, as a share of the factor's entropy,
#
# $$ \mathrm{MIG} = \frac1F \sum_f \frac{I(z_{j}; f) - I(z_{k}; f)}{H(f)}, \qquad j, k \text{ the two that know most of } f . $$
#
# *SAP* (Kumar et al. 2018): the same gap of squared correlations (of shapes, which have no order: of a classifier's accuracy).
#
# Before a score is believed, let it judge codes whose answer is known.  Here is MIG in a dozen lines.

# %%
def information(z, f, bins=20):                       # (N,) (N,) -> nats
    """I(z; f) = Σ p(z, f) log p(z, f) / (p(z) p(f)), with z in bins of equal width"""
    edges = np.linspace(z.min(), z.max(), bins + 1)
    joint = np.histogram2d(z, f, bins=(edges, np.arange(f.max() + 2) - 0.5))[0] / len(z)
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return (joint[joint > 0] * np.log(joint[joint > 0] / alone[joint > 0])).sum()


def mig(code, factors, sizes):                        # (N, Z) (N, F)
    """The average over factors of (largest − second) / H(f),   H(f) = log of how many values f has"""
    knows = np.array([[information(z, f) for f in factors.T] for z in code.T])
    second, best = np.sort(knows, axis=0)[-2:]
    return np.mean((best - second) / np.log(sizes))


def known_codes(factors, rng):
    """Codes (N, Z) by name: what they score can be said without a computer."""
    turned = factors.astype(float)                    # scale and rotation, mixed in two latents
    turned[:, 1], turned[:, 2] = factors[:, 1] + factors[:, 2], factors[:, 1] - factors[:, 2]
    return {"the factors": factors.astype(float), "permuted, turned over": -3.0 * factors[:, ::-1],
            "two of them mixed": turned, "noise": rng.standard_normal((len(factors), LATENTS))}


def judge(code, world, seed, quick):
    """The three scores of a code, each with its standard error over five draws"""
    known, few = {"factors": world.factors, "sizes": world.sizes, "seed": seed}, {"repeats": 2} if quick else {}
    return {"Higgins": higgins_score(code, trials=100 if quick else 500, **known, **few),
            "MIG": evaluation.mig(code, **known, **few), "SAP": sap(code, unordered=[0], **known, **few)}


def same_mig(world):
    """Ours and minivae's, of the factors themselves"""
    code = world.factors.astype(float)
    return mig(code, world.factors, world.sizes), gaps(mutual_information(code, world.factors) / np.log(world.sizes)).mean()


# %% [markdown]
# ## Training
#
# The same network, images and steps under three objectives.  All are judged on the same fresh pictures, by posterior
# *means*, on all five factors; and beside them stand the same network before its first step, and noise.  (An untrained
# network already maps similar pictures to similar numbers.  A score that is high for it tells of the pictures.)
#
# One caution.  The mean of a *silent* latent still moves a little with the picture, far below its noise, and a histogram
# stretches this little over all its bins.  So a latent of 0.00 nats can seem to know something; in draws of $z$ it would be
# drowned.  Papers use one or the other, and their figures cannot be compared.

# %%
@dataclass
class World:
    """Images to train on and to test on, and fresh pictures (N, X) whose factors (N, F) are known."""

    images: np.ndarray
    test: np.ndarray
    pictures: np.ndarray
    factors: np.ndarray
    sizes: tuple[int, ...]                            # how many values each factor has
    shape: tuple[int, int]


def world(opt, square):
    """A field as wide as it is high, or the middle half of the heights.  Exits with 2 for other data than sprites."""
    dataset = opt.images()
    if dataset.name not in ("sprites", "sprites64"):
        print(f"--data: this chapter must know the factors of each image: expected sprites or sprites64, got {dataset}",
              file=sys.stderr)
        raise SystemExit(2)
    lowest, heights = (0, 16) if square else (4, 8)
    train, test = (np.isin(sprites.factors(part)[:, 4], lowest + np.arange(heights)) for part in sprites.parts())
    rng = np.random.default_rng([opt.seed, 20])
    factors = sprites.some(500 if opt.quick else 10_000, rng)
    factors[:, 4] = lowest + rng.integers(heights, size=len(factors))
    pictures = sprites.draw(factors, side=dataset.image_shape[0])
    factors[:, 4] -= lowest
    images = dataset.train[train][:300 if opt.quick else None]
    return World(images, dataset.test[test], pictures, factors, (*list(sprites.SIZES.values())[:4], heights),
                 dataset.image_shape)


def objectives(steps):
    """C rises in a straight line over the first four fifths of the steps."""
    return {"β = 1": Objective(), "β = 4": WeightedKL(4.0),
            RISING: Capacity(warm_up(max(1, 4 * steps // 5), to=CAPACITY), GAMMA)}


def network(known, opt, args, seed, objective=None):
    return VAEConfig(known.images.shape[1], tuple(args.hidden), LATENTS).build(
        seed=seed, on=opt.device, images=known.images, objective=objective, optimizer=Adam(2e-3))


def train(known, opt, args, seed):
    """Every model by name, and by name and epoch the KL of each of its latents on some images."""
    steps = opt.epochs * -(-len(known.images) // BATCH)
    models, kls, few = {"untrained": network(known, opt, args, seed)}, {}, plots.spread(known.images, 500)
    for name, objective in objectives(steps).items():
        print(f"{name}: {opt.epochs} epochs")
        models[name], kls[name] = network(known, opt, args, seed, objective), []
        fit(models[name], known.images, epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=not opt.quick,
            callback=lambda _, model, said=kls[name]: said.append(diagnose(model, few).kl))
    return models, {name: np.array(said) for name, said in kls.items()}


def nothing_yet(known, opt, args):
    """After two epochs at C = 0: the test bound, and what it costs to know only the average image, in nats."""
    model = network(known, opt, args, opt.seed, Capacity(0.0, GAMMA))
    fit(model, known.images, epochs=min(2, opt.epochs), batch_size=BATCH, seed=opt.seed, progress=False)
    p = np.clip(known.images.mean(axis=0, dtype=np.float64), 1e-6, 1.0 - 1e-6)
    average = -(known.test * np.log(p) + (1.0 - known.test) * np.log1p(-p)).sum(axis=1).mean()
    return evaluate(model, known.test, seed=opt.seed), average


def measure(models, known, seed, quick):
    """Of every model its three scores, its code for the pictures, its test bound, and how many latents are active."""
    rows = {}
    for name, model in models.items():
        code = posterior_means(model, known.pictures)
        rows[name] = judge(code, known, seed, quick) | {"code": code, "bound": evaluate(model, known.test, seed=seed),
                                                        "active": int((code.var(axis=0) > 0.01).sum())}
    return rows


def shares(code, known):
    """The share of each factor's entropy that each latent knows        -> (Z, F)"""
    return mutual_information(code, known.factors) / np.log(known.sizes)


def capacities(epochs):
    """C at the end of every epoch"""
    return CAPACITY * np.minimum(1.0, np.arange(1, epochs + 1) / (0.8 * epochs))


# %%
def draw_capacity(eigenvalues, kls):
    fig, axes = plots.figure(1, 2, width=8.4, height=3.6)
    line = np.linspace(0.0, CAPACITY, 101)
    for j, kl in enumerate(np.array([water_filling(eigenvalues, c) for c in line]).T):
        axes[0].plot(line, kl, color=plots.TEN[j], lw=1.2)
    rising = slice(1 + capacities(len(kls)).argmax())             # later epochs have the same C
    for j, kl in enumerate(kls[rising].T[np.argsort(-kls[-1])]):
        axes[1].plot(capacities(len(kls))[rising], kl, color=plots.TEN[j], marker="o", markersize=3, lw=1.2)
    axes[0].set(title="the best linear VAE: exactly")
    axes[1].set(title="the network: epoch by epoch")
    for ax in axes:
        ax.set(xlabel="capacity C, nats", ylabel="KL of each latent, nats", ylim=(0, None))
    return fig


def draw_shares(rows, known):
    fig, axes = plots.figure(1, len(rows), width=2.2 * len(rows), height=3.6, sharey=True)
    for ax, (name, row) in zip(axes, rows.items()):
        share = shares(row["code"], known)
        order = np.lexsort((-share.max(axis=1), share.argmax(axis=1)))
        picture = ax.imshow(share[order], vmin=0, vmax=1, cmap="Greys", aspect="auto")
        ax.set_xticks(range(len(NAMES)), NAMES, rotation=60)
        ax.set(title=f"{name}\nMIG {row['MIG'].mean:.2f}", yticks=[])
        ax.grid(False)
    axes[0].set_ylabel("latents, by the factor they know most of")
    fig.colorbar(picture, ax=axes, label="share of the factor's entropy")
    return fig


def sheet(known):
    """A page: each shape in its sizes, then in ten rotations; a heart along a diagonal        -> (70, X)"""
    rows = [[shape, min(i, 5), 3, 8, 8] if sizes else [shape, 5, 2 * i, 8, 8]
            for shape in range(3) for sizes in (True, False) for i in range(10)]
    return sprites.draw(np.array(rows + [[2, 2, 0, 15 * i // 9, 15 * i // 9] for i in range(10)]), side=known.shape[0])


def save(known, eigenvalues, models, kls, rows, opt):
    opt.save(plots.image_grid(sheet(known), known.shape), "sprites", alt="Rows of ten small black shapes: a square, an "
             "ellipse and a heart, each in six sizes and in ten rotations; then a heart in ten places along a diagonal.")
    opt.save(draw_capacity(eigenvalues, kls[RISING]), "capacity", alt="The KL in nats of each of ten latents against the capacity. "
             "Left, in a linear VAE, they leave zero one after another, and then rise together. Right, in the network, "
             f"{(kls[RISING][-1] > SPEAKS).sum()} of ten have left zero at the end.")
    for name, file in (("β = 1", "beta1"), ("β = 4", "beta4")):
        kl = kls[name][-1]
        opt.save(plots.traversals(models[name], known.test[1], kl, known.shape, title=f"{name}: one latent at a time"),
                 f"traversals_{file}", alt=f"Ten rows of eleven pictures, at {name}. In each row one latent moves, the most "
                 f"talkative in the first: {(kl > SPEAKS).sum()} of ten change the picture.")
    opt.save(draw_shares(rows, known), "information", alt="For each model a table in greys: how much each of ten latents knows "
             "of each of the five factors. " + "; ".join(f"{name}: at most {', '.join(f'{best:.2f} of {factor}' for factor, best in zip(NAMES, shares(row['code'], known).max(axis=0)))}"
                                                         for name, row in rows.items()) + ".")


def table(rows):
    print(f"\n{'':22} {'Higgins':>13} {'MIG':>13} {'SAP':>13} {'nll':>14} {'KL':>13} {'active':>7}")
    for name, row in rows.items():
        scores = " ".join(f"{row[score]!s:>13}" for score in ("Higgins", "MIG", "SAP"))
        bound = f"{row['bound'].nll!s:>14} {row['bound'].kl!s:>13} {row['active']:>7}" if "bound" in row else ""
        print(f"{name:22} {scores} {bound}")
    print()


def order_of(kls, share):
    """Which latent switched on at which capacity, and what it knows most of in the end."""
    for j in sorted(np.flatnonzero((kls > SPEAKS).any(axis=0)), key=lambda j: (kls[:, j] > SPEAKS).argmax()):
        f = share[j].argmax()
        print(f"  z{j + 1:<2} says {SPEAKS} nats at C = {capacities(len(kls))[(kls[:, j] > SPEAKS).argmax()]:4.1f}, and knows most of "
              f"{NAMES[f]}: {share[j, f]:.2f} of its entropy")


def over_seeds(found):
    """Means with standard errors over seeds; then what β = 4 changes, seed by seed."""
    def values(name, column):
        return np.array([row[name]["bound"].nll.mean if column == "nll" else row[name]["bound"].kl.mean
                         if column == "KL" else row[name][column].mean for row in found])

    columns = ("Higgins", "MIG", "SAP", "nll", "KL")
    print(f"mean ± standard error over {len(found)} seeds\n{'':12}" + "".join(f"{column:>17}" for column in columns))
    rows = {name: [values(name, column) for column in columns] for name in found[0]}
    rows["β: 4 − 1"] = [four - one for four, one in zip(rows["β = 4"], rows["β = 1"])]
    for name, row in rows.items():
        means = [Estimate.of(column) for column in row]
        print(f"{name:12}" + "".join(f"{m.mean:9.3f} ± {m.standard_error:.3f}" for m in means))
    return {f"{column}, {name}": values for name, row in rows.items() for column, values in zip(columns, row)}


def clear(more):
    return more.mean > 2 * more.standard_error


def accepted(found):
    """What is asked of β = 4 beside β = 1, seed by seed."""
    return {"Higgins' score more than two standard errors higher": clear(found["Higgins, β: 4 − 1"]),
            "MIG more than two standard errors higher": clear(found["MIG, β: 4 − 1"]),
            "a worse reconstruction": clear(found["nll, β: 4 − 1"])}


def accepted_capacity(found):
    """What is asked of a capacity."""
    kl = found[f"KL, {RISING}"].mean
    return {f"a KL less than 5% off {CAPACITY:g} nats": abs(kl - CAPACITY) < 0.05 * CAPACITY}


def enter(found, opt, seeds, field):
    """Into the ledger: both systems."""
    def told(columns, rows):
        return {name: found[name] for name in (f"{column}, {row}" for column in columns for row in rows)}

    own = {"data": f"sprites on a {field} field", "seeds": seeds}
    opt.record("beta_vae", told(("Higgins", "MIG", "nll"), ("β = 1", "β = 4", "β: 4 − 1")), accepted, **own)
    opt.record("capacity", told(("KL", "Higgins", "MIG", "nll"), (RISING,)), accepted_capacity, **own)


# %%
def arguments():
    p = parser("ch20", __doc__, epochs=30, data="sprites")
    p.add_argument("--seeds", type=int, default=1, help="train everything so many times (default: 1)")
    p.add_argument("--field", choices=("wide", "square"), default="wide", help="heights: the middle half, or all (default: wide)")
    p.add_argument("--hidden", type=int, nargs="+", default=[128, 128], help="hidden units (default: 128 128)")
    return p


def main(argv=None):
    opt, args = options(arguments(), argv)
    rng = np.random.default_rng(opt.seed)
    for capacity in (0.3, 0.9):
        print(gradcheck(capacity_gap, rng.random(6), capacity=capacity, name=f"capacity_gap at C = {capacity}"))
    print(f"ours and minivae's differ by at most {same_as_library(rng):.0e}")

    known = world(opt, args.field == "square")
    eigenvalues, kl, measured = linear(plots.spread(known.images, 1000), 5.0)
    print(f"a linear VAE of 5 nats names {(kl > 0).sum()} directions, {kl[0]:.3f} nats the first: as predicted to "
          f"{np.abs(kl - measured).max():.0e}")
    ours, theirs = same_mig(known)
    print(f"the factors' own MIG: {ours:.3f}; minivae's differs by {abs(ours - theirs):.0e}")
    codes = {name: judge(code, known, opt.seed, opt.quick)
             for name, code in known_codes(known.factors, np.random.default_rng([opt.seed, 1])).items()}
    score, average = nothing_yet(known, opt, args)
    print(f"at C = 0, after {min(2, opt.epochs)} epochs: KL {score.kl}, nll {score.nll}; to know only the average image costs "
          f"{average:.2f} nats\n")

    found = []
    for seed in range(opt.seed, opt.seed + args.seeds):
        models, kls = train(known, opt, args, seed)
        found.append(measure(models, known, seed, opt.quick))
        table((codes if seed == opt.seed else {}) | found[-1])
        if seed == opt.seed:
            order_of(kls[RISING], shares(found[0][RISING]["code"], known))
            save(known, eigenvalues, models, kls, found[0], opt)
    if args.seeds > 1:
        enter(over_seeds(found), opt, args.seeds, args.field)
    seen(found[0], codes, kls)


def seen(rows, codes, kls):
    one, four, rising = (rows[name]["bound"] for name in ("β = 1", "β = 4", RISING))
    off = abs(rising.kl.mean - CAPACITY) / CAPACITY
    scores = "; ".join(f"{score} {', '.join(f'{rows[name][score].mean:.2f}' for name in ('β = 1', 'β = 4', 'untrained'))} and "
                       f"{codes['noise'][score].mean:.2f}" for score in ("Higgins", "MIG", "SAP"))
    print(f"\nSeen: at four times the price the code says {four.kl} nats instead of {one.kl}, and an image costs {four.nll} nats "
          f"instead of\n{one.nll}. At β = 1, at β = 4, untrained and for noise: {scores}.\nLed to a capacity of {CAPACITY:g} nats "
          f"the KL ends {off:.1%} off, at an nll of {rising.nll}; the first latent spoke when C was\n"
          f"{capacities(len(kls[RISING]))[(kls[RISING] > SPEAKS).any(axis=1).argmax()]:.1f}, and in the end "
          f"{(kls[RISING][-1] > SPEAKS).sum()} of {LATENTS} do.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train with $\beta = \tfrac14, 1, 4, 16$, and draw all three scores and the nll against $\beta$.  Which
#    score says that less is more, and which only counts how many latents are silent?  Then `--field square --epochs 15`:
#    if $\beta = 4$ silences all latents before the decoder has a use for them (chapter 12), does a warm-up of $\beta$ wake them?
# 2. *Break this.*  Move the absolute value inside, $\gamma\, \tfrac1B \sum_b |\mathrm{KL}_b - C|$: *every* image must say $C$ nats.
#    What does the pullback become, which sprites are forced to say more than they need, and what does it cost in nll?
# 3. *Derive this.*  In the linear VAE with the level $\theta = \beta\sigma^2$, show that a direction that is named has
#    $\mathbb E\,\lVert x - \mu \rVert^2 = \theta$ in its share of the squared error, and one that is not has $\lambda_j$.  Conclude that
#    $\mathrm{d}D/\mathrm{d}C = -\beta$: the price is what the last nat saves.
