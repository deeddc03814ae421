"""Chapter 20 · β-VAE and capacity.

The question     What does a VAE learn if a nat of KL has another price, and does each latent then stand for one thing?
What is new      β as the price of a constraint; a loss that leads the KL to a capacity, with its pullback; three scores
                 of disentanglement, and codes for which they are known.
What you'll see  latents switch on one after another while the capacity rises; what a latent means at β = 1 and at β = 4;
                 and a table with an untrained encoder and pure noise beside what was learned.

    python chapters/ch20_beta_vae.py                    20,000 sprites of 28×28, two minutes
    python chapters/ch20_beta_vae.py --seeds 5          five of everything, and the differences with standard errors
    python chapters/ch20_beta_vae.py --data sprites64 --hidden 1200 1200 --epochs 1000          the paper's size: days
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
# $\beta$ by $X$ without saying so.  And at a higher resolution, where the nll is larger, the same $\beta$ is a weaker price.
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
# Fill a valley whose floor lies at $-\log \lambda_j$ with water: $-\log \theta$ is its level, $C$ the water (*reverse water-filling*).  As
# more is poured in, **the latents switch on one after another**, the largest $\lambda$ first.

# %%
import sys

import numpy as np

from minivae import distributions, evaluation, plots
from minivae.chapter import options, parser
from minivae.data import sprites
from minivae.evaluation import Estimate, diagnose, evaluate, higgins_score, mutual_information, posterior_means, sap
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.parts import Capacity, Objective, WeightedKL, warm_up
from minivae.training import fit
from minivae.variants import VAEConfig

BATCH, LATENTS, CAPACITY, GAMMA = 128, 10, 25.0, 100.0
NAMES, SIZES = tuple(sprites.SIZES), tuple(sprites.SIZES.values())


# %%
def water_filling(eigenvalues, capacity):             # (J,) in falling order -> (J,)
    """KLⱼ = ½ log(λⱼ/θ) of those that are named, such that they add up to the capacity"""
    logs = np.log(eigenvalues)
    levels = (np.cumsum(logs) - 2.0 * capacity) / np.arange(1, len(logs) + 1)         # log θ, if so many are named
    named = max(1, (logs > levels).sum())             # those above the level that they would leave
    return np.maximum(0.5 * (logs - levels[named - 1]), 0.0)


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
# its five factors and nothing else.  A *disentangled* code would have a latent for each of them.
#
# **Why should a VAE find it?**  Turn all latents by a rotation $R$, and let the decoder turn them back: prior and
# likelihood are as before.  So nothing in $p(x, z)$ prefers one set of axes; without a preference of model or
# training no method can find the true ones from pictures alone (Locatello et al. 2019).  What prefers axes here is $q$, whose
# covariance is *diagonal*: it is cheapest to say along an axis what needs the same accuracy there (Rolinek et al. 2019).  A
# higher price makes this preference stronger.  It is a preference, and no promise.
#
# ## Three scores, and codes for which they are known
#
# *Higgins et al.*  Draw a factor, then 64 pairs of images which share it and differ freely else.  Average
# $|\mu_1 - \mu_2|$ over the pairs: a latent that knows only this factor has 0.  Can a *linear classifier* tell from these
# averages which factor it was?  *MIG* (Chen et al. 2018): how many nats more does the best latent know of a factor than
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


def mig(code, factors):                               # (N, Z) (N, F)
    """The average over factors of (largest − second) / H(f),   H(f) = log of how many values f has"""
    knows = np.array([[information(z, f) for f in factors.T] for z in code.T])
    second, best = np.sort(knows, axis=0)[-2:]
    return np.mean((best - second) / np.log(SIZES))


def known_codes(factors, rng):
    """Codes (N, Z) by name: what they score can be said without a computer."""
    turned = factors.astype(float)                    # scale and rotation, mixed in two latents
    turned[:, 1], turned[:, 2] = factors[:, 1] + factors[:, 2], factors[:, 1] - factors[:, 2]
    return {"the factors": factors.astype(float), "permuted, turned over": -3.0 * factors[:, ::-1],
            "two mixed": turned, "noise": rng.standard_normal((len(factors), LATENTS))}


def judge(code, factors, seed):
    """The three scores of a code, and the share of each factor's entropy that each latent knows."""
    return {"Higgins": higgins_score(code, factors, sizes=SIZES, seed=seed),
            "MIG": evaluation.mig(code, factors, sizes=SIZES, seed=seed),
            "SAP": sap(code, factors, sizes=SIZES, unordered=[0], seed=seed)}


# %% [markdown]
# ## Training
#
# The same network, images and steps under four objectives.  All are judged on the same fresh pictures, by posterior
# *means*, on all five factors; and beside them stand the same network before its first step, and noise.  (An untrained
# network already maps similar pictures to similar numbers.  A score that is high for it tells of the pictures.)

# %%
def objectives(steps):
    """C rises in a straight line over the first four fifths of the steps."""
    return {"β = 1": Objective(), "β = 4": WeightedKL(4.0), "C → 25": Capacity(warm_up(max(1, 4 * steps // 5), to=CAPACITY), GAMMA)}


def network(images, opt, args, seed, objective=None):
    return VAEConfig(images.shape[1], tuple(args.hidden), LATENTS).build(
        seed=seed, on=opt.device, images=images, objective=objective, optimizer=Adam(1e-3))


def train(images, opt, args, seed):
    """Every model by name, and after each epoch of the last the KL of each of its latents on some images."""
    steps, models, kls = opt.epochs * -(-len(images) // BATCH), {"untrained": network(images, opt, args, seed)}, []
    for name, objective in objectives(steps).items():
        print(f"\n{name}: {opt.epochs} epochs")
        models[name], kls = network(images, opt, args, seed, objective), []
        fit(models[name], images, epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=not opt.quick,
            callback=lambda record, model: kls.append(diagnose(model, plots.spread(images, 500)).kl))
    return models, np.array(kls)


def nothing_yet(images, test, opt, args):
    """After two epochs at C = 0: the KL, and what it costs to know only the average image, both in nats."""
    model = network(images, opt, args, opt.seed, Capacity(0.0, GAMMA))
    fit(model, images, epochs=min(2, opt.epochs), batch_size=BATCH, seed=opt.seed, progress=False)
    p = np.clip(images.mean(axis=0, dtype=np.float64), 1e-6, 1.0 - 1e-6)
    average = -(test * np.log(p) + (1.0 - test) * np.log1p(-p)).sum(axis=1).mean()
    return evaluate(model, test, seed=opt.seed), average


def measure(models, test, pictures, factors, seed):
    """Of every model its code for the pictures (N, Z), its three scores, its bound, and its active latents."""
    rows = {}
    for name, model in models.items():
        code = posterior_means(model, pictures)
        rows[name] = judge(code, factors, seed) | {"code": code, "bound": evaluate(model, test, seed=seed),
                                                   "active": int((code.var(axis=0) > 0.01).sum())}
    return rows


# %%
def draw_capacity(eigenvalues, kls, opt):
    fig, axes = plots.figure(1, 2, width=8.4, height=3.6)
    share = np.arange(1, len(kls) + 1) / len(kls)
    capacity = CAPACITY * np.minimum(1.0, share / 0.8)
    line = np.linspace(0.0, CAPACITY, 101)
    for j, kl in enumerate(np.array([water_filling(eigenvalues, c) for c in line]).T[:LATENTS]):
        axes[0].plot(line, kl, color=plots.TEN[j])
    for j, kl in enumerate(kls.T[np.argsort(-kls[-1])]):
        axes[1].plot(capacity, kl, color=plots.TEN[j], marker="o", markersize=3, lw=1.2)
    axes[0].set(title="a linear VAE, exactly")
    axes[1].set(title="the network, epoch by epoch")
    for ax in axes:
        ax.set(xlabel="capacity C, nats", ylabel="KL of each latent, nats", ylim=(0, None))
    return fig


def draw_information(rows, factors):
    fig, axes = plots.figure(1, len(rows), width=2.4 * len(rows), height=3.8, sharey=True)
    for ax, (name, row) in zip(axes, rows.items()):
        share = mutual_information(row["code"], factors) / np.log(SIZES)
        order = np.lexsort((-share.max(axis=1), share.argmax(axis=1)))
        picture = ax.imshow(share[order], vmin=0, vmax=1, cmap="Greys", aspect="auto")
        ax.set_xticks(range(len(NAMES)), NAMES, rotation=60)
        ax.set(title=f"{name}\nMIG {row['MIG'].mean:.2f}")
        ax.grid(False)
    axes[0].set_yticks([])
    axes[0].set_ylabel("latents, by what they know most of")
    fig.colorbar(picture, ax=axes, label="share of the factor's entropy")
    return fig


def table(rows):
    print(f"\n{'':22} {'Higgins':>13} {'MIG':>13} {'SAP':>13} {'nll':>15} {'KL':>13} {'active':>7}")
    for name, row in rows.items():
        scores = " ".join(f"{row[score]!s:>13}" for score in ("Higgins", "MIG", "SAP"))
        bound = f"{row['bound'].nll!s:>15} {row['bound'].kl!s:>13} {row['active']:>7}" if "bound" in row else ""
        print(f"{name:22} {scores} {bound}")


def over_seeds(found):
    """Means over seeds, with standard errors over seeds; and what β = 4 changes, seed by seed."""
    def values(name, what):
        return np.array([row[name]["bound"].nll.mean if what == "nll" else row[name]["bound"].kl.mean if what == "KL"
                         else row[name][what].mean for row in found])

    columns = ("Higgins", "MIG", "SAP", "nll", "KL")
    print(f"\nmean ± standard error over {len(found)} seeds\n{'':12}" + "".join(f"{c:>16}" for c in columns))
    for name in found[0]:
        print(f"{name:12}" + "".join(f"{three(Estimate.of(values(name, c))):>16}" for c in columns))
    print(f"{'β: 4 − 1':12}" + "".join(
        f"{three(Estimate.of(values('β = 4', c) - values('β = 1', c))):>16}" for c in columns))


def three(estimate):
    return f"{estimate.mean:.3f} ± {estimate.standard_error:.3f}"


# %%
def arguments():
    p = parser("ch20", __doc__, epochs=20, data="sprites")
    p.add_argument("--seeds", type=int, default=1, help="train everything so many times (default: 1)")
    p.add_argument("--hidden", type=int, nargs="+", default=[200, 200], help="hidden units (default: 200 200)")
    return p


def data(opt):
    """The data set, fresh pictures to judge codes by, and their factors."""
    dataset = opt.images()
    if dataset.name not in ("sprites", "sprites64"):
        print(f"--data: this chapter must know what each image was drawn from: expected sprites or sprites64, got {dataset}",
              file=sys.stderr)
        raise SystemExit(2)
    factors = sprites.some(500 if opt.quick else 10_000, np.random.default_rng([opt.seed, 20]))
    return dataset, sprites.draw(factors, side=dataset.image_shape[0]), factors


def check(seed):
    rng = np.random.default_rng(seed)
    for capacity in (0.3, 0.9):
        print(gradcheck(capacity_gap, rng.random(6), capacity=capacity, name=f"capacity_gap at C = {capacity}"))
    print(f"ours and minivae's differ by at most {same_as_library(rng):.0e}")


def main(argv=None):
    opt, args = options(arguments(), argv)
    check(opt.seed)
    dataset, pictures, factors = data(opt)
    images = dataset.train[:400] if opt.quick else dataset.train
    if opt.quick:
        args.hidden = [20]
    opt.save(plots.image_grid(sprites.draw(sheet(), side=dataset.image_shape[0]), dataset.image_shape, columns=10), "sprites",
             alt="Rows of ten small black shapes on white: a square, an ellipse and a heart, each in six sizes and ten "
                 "rotations; then a heart in ten places along a diagonal.")

    codes = {name: judge(code, factors, opt.seed)
             for name, code in known_codes(factors, np.random.default_rng([opt.seed, 1])).items()}
    ours, theirs = mig(factors, factors), evaluation.gaps(mutual_information(factors.astype(float), factors)
                                                          / np.log(SIZES)[None]).mean()
    print(f"MIG of the factors themselves: ours {ours:.4f}, minivae's {theirs:.4f}; they differ by {abs(ours - theirs):.0e}")

    score, average = nothing_yet(images, dataset.test, opt, args)
    print(f"at C = 0: KL {score.kl} nats, nll {score.nll}; to know only the average image costs {average:.2f}")

    found = []
    for seed in range(opt.seed, opt.seed + args.seeds):
        models, kls = train(images, opt, args, seed)
        found.append(measure(models, dataset.test, pictures, factors, seed))
        table(codes | found[-1])
        if seed == opt.seed:
            pictures_of(models, kls, found[0], dataset, factors, opt)
    if args.seeds > 1:
        over_seeds(found)
    seen(found, codes)


def sheet():
    """Factors (N, 5) of a page: each shape in its sizes and rotations, then a heart along a diagonal"""
    page = [[shape, 5, 0, 8, 8] for shape in range(3) for _ in range(20)]
    for i, row in enumerate(page):
        row[1], row[2] = (min(i % 10, 5), 3) if i % 20 < 10 else (5, 2 * (i % 10))
    return np.array([*page, *([2, 2, 0, 15 * i // 9, 15 * i // 9] for i in range(10))])


def pictures_of(models, kls, rows, dataset, factors, opt):
    centred = dataset.test - dataset.train.mean(axis=0)
    eigenvalues = np.linalg.svd(centred.astype(np.float64), compute_uv=False) ** 2 / len(centred)
    opt.save(draw_capacity(eigenvalues[:LATENTS], kls, opt), "capacity", alt="")
    opt.save(draw_information(rows, factors), "information", alt="")


def seen(found, codes):
    print("Seen: 0")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*
# 2. *Break this.*
# 3. *Derive this.*
