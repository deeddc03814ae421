"""Chapter 26 · The infinite VAE.

The question     One VAE for everything, or several, and how many?
What is new      a mixture of VAEs whose number nobody fixes; Gibbs sampling; the gradient of a mixture's bound.
What you'll see  three lines found, by how many components, for small and large α; digits and clothes on maps of their own, and
                 what that is worth in nats against one VAE with as many parameters.

    python chapters/ch26_infinite_vae.py                            digits and clothes (or sprites), two minutes
    python chapters/ch26_infinite_vae.py --seeds 5                  the same five times: the row of README.md's table
    minivae train --model infinite --data mnist+fashion_mnist --binarize --latents 2 --hidden 100 --concentration 0.1 --first-epochs 2
                                                                    all of both, half an hour
"""

# %% [markdown]
# # 26 · The infinite VAE
#
# A VAE maps one plane of latents onto all its data.  Data that fall into kinds have no such plane: between a shoe and a seven
# nothing lies.  Let there be several VAEs, each for a part of the data.  How many?  Abbasnejad, Dick and van den Hengel (2017)
# let the data say, with a prior over *infinitely* many: the Dirichlet process.
#
# $$ \pi \sim \mathrm{DP}(\alpha), \qquad c \sim \pi, \qquad z \sim \mathcal N(0, I), \qquad x \sim p_c(x \mid z) . $$
#
# ## Guests in a restaurant
#
# Integrate $\pi$ out, and what is left is a rule for one image after another.  Guests enter a Chinese restaurant.  Each sits down
# at a table with probability proportional to the number $n_c$ of guests there, or at a new one, in proportion to $\alpha$:
#
# $$ P(c_i = c \mid c_1 \dots c_{i-1}) = \frac{n_c}{i - 1 + \alpha}, \qquad P(c_i \text{ is new} \mid \dots) = \frac{\alpha}{i - 1 + \alpha} . $$
#
# Multiply these for everybody: a table of $n_c$ guests contributes $\alpha \cdot 1 \cdot 2 \cdots (n_c - 1)$, and the denominators do not know
# who sat where.  So the joint probability is the same **in whatever order they came**.  Each guest may be taken for the last one,
# and that is all that Gibbs sampling needs.  Take an image out, and let it choose again, by who is there and by how well each VAE
# explains it:
#
# $$ P(c_i = c \mid \text{the others}, x_i) \propto n_c\, p_c(x_i), \qquad P(c_i \text{ is new} \mid \dots) \propto \alpha\, p_0(x_i) . $$
#
# We cannot compute $p_c(x)$; a bound stands in for it (few importance weights, the same noise for all, so that noise opens no
# table).  And $p_0$?  In a textbook's Dirichlet process it is the average over all VAEs that there could be.  Here it is one: the
# **base**, which saw all images for a little while.  A new component starts as its copy.
#
# So a step is: the images of the batch choose, one after another; then each VAE takes a step up its own ELBO on its own images.
#
# ## Why is that the right step?
#
# Write $b_c = \mathrm{ELBO}_c(x)$.  All components together have a bound, $\log p(x) \ge \log \sum_c \pi_c e^{b_c}$, and its derivative is
#
# $$ \frac{\partial}{\partial b_c} \log \sum_j \pi_j e^{b_j} = \frac{\pi_c e^{b_c}}{\sum_j \pi_j e^{b_j}} = r_c , $$
#
# the **responsibility** of $c$: just the probability with which the image goes there.  A step on the one that was drawn is, on average,
# the step on all of them, weighed.  (Chapter 17's E-step weighs; this one draws.)

# %%
from functools import partial

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.distributions import bernoulli_sample
from minivae.evaluation import (
    Estimate,
    components_found,
    error_rate,
    few_labels,
    log_likelihoods,
    logistic_regression,
    over_parts,
)
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Layer, Linear
from minivae.ops import logsumexp
from minivae.parts import GaussianFixed
from minivae.training import fit
from minivae.vae import VAE, Encoder
from minivae.variants import InfiniteVAE, InfiniteVAEConfig, VAEConfig, crp_log_prob, crp_sweep


# %%
def mixture_bound(b, *, log_pi):                               # (B, K) -> (B,)
    """log Σ_c π_c exp(b_c)"""
    joint = log_pi + b
    most = joint.max(axis=1, keepdims=True)                    # exp of it would overflow: bounds are hundreds of nats
    e = np.exp(joint - most)
    r = e / e.sum(axis=1, keepdims=True)                       # the responsibilities

    def pullback(dy):
        return dy[:, None] * r

    return np.log(e.sum(axis=1)) + most[:, 0], pullback


def seat(seats, alpha):                                        # (N,) -> log P(c₁ … c_N)
    """The restaurant, guest by guest, in this order."""
    total = 0.0
    for i, table in enumerate(seats):
        there = np.count_nonzero(seats[:i] == table)
        total += np.log((there if there else alpha) / (i + alpha))
    return total


def draws_are_responsibilities(rng, tries=20_000):
    """The largest difference, in standard errors, between how often a guest chose each table and r."""
    log_p, seats, alpha = rng.standard_normal((1, 4)), np.array([0, 0, 0, 1, 2, -1]), 0.7      # three tables, and a new one
    counts = np.array([3, 1, 1, alpha])
    _, pull = mixture_bound(log_p, log_pi=np.log(counts / counts.sum()))
    r, chosen = pull(np.ones(1))[0], np.zeros(4)
    room = np.column_stack([log_p[:, :3], np.full((1, 1), -np.inf), log_p[:, 3:]])             # one table is free
    for _ in range(tries):
        now, _ = crp_sweep(room, seats, guests=np.array([5]), concentration=alpha, gumbel=rng.gumbel(size=(1, 5)))
        chosen[now[5]] += 1 / tries
    return np.abs((chosen - r) / np.sqrt(r * (1 - r) / tries)).max()


# %% [markdown]
# ## Three lines
#
# The smallest VAE is a line: one latent, linear networks (chapter 17's probabilistic PCA).  Here are points along three lines in six
# dimensions, at right angles, apart from each other.  Nobody says three.  What does $\alpha$ do?

# %%
class Same(Layer):
    """y = x"""

    def __call__(self, x):
        return x, lambda dy, need_dx=True, need_dp=True: dy


def a_line(seed, X=6):
    """A VAE of one latent, linear"""
    rng = np.random.default_rng(seed)
    return VAE(Encoder(Same(), Linear(X, 1, rng=rng), Linear(X, 1, rng=rng)), Linear(1, X, rng=rng), GaussianFixed(0.2),
               pixels=X, latents=1, device=a_line.device, optimizer=Adam(0.05))


def lines(n, rng, X=6):
    """n points along three lines (n, X), and whose they are (n,)"""
    q, kind = np.linalg.qr(rng.standard_normal((X, X)))[0], np.arange(n) % 3
    x = q[kind] + rng.standard_normal((n, 1)) * q[3 + kind] + 0.15 * rng.standard_normal((n, X))
    return x.astype(np.float32), kind


def find_lines(alpha, opt, *, seed):
    """What is found among 300 points by components of which there may be ten"""
    x, kind = lines(60 if opt.quick else 300, np.random.default_rng(seed))
    a_line.device = opt.device
    model = InfiniteVAE(a_line(seed), [a_line(seed) for _ in range(10)], images=len(x), concentration=alpha, draws=3,
                        first_steps=4 if opt.quick else 30)
    fit(model, Batch(x=x, index=np.arange(len(x))), epochs=7 if opt.quick else 60, batch_size=50, seed=seed, progress=False)
    return components_found(model, Batch(x=x, y=kind))


def draw_alphas(found):
    fig, ax = plots.figure(width=6.4, height=3.0)
    for i, (_, rows) in enumerate(found.items()):
        for j, row in enumerate(rows):
            left, place = 0, i + 0.8 * (j + 0.5) / len(rows) - 0.4
            for size, colour in zip(np.sort(row.sizes)[::-1], plots.TEN):
                ax.barh(place, size, left=left, height=0.7 / len(rows), color=colour, edgecolor="white", linewidth=0.5)
                left += size
    ax.set(yticks=range(len(found)), yticklabels=[f"α = {alpha:g}" for alpha in found], xlabel="points, by component",
           title="three lines of 100 points: whose are they?")
    ax.invert_yaxis()
    ax.grid(False)
    return fig


# %% [markdown]
# ## Maps
#
# Now images of two kinds, digits and clothes, and VAEs of **two** latents: each a map that can be drawn.  The rival is one VAE
# with two latents and as many parameters as all components together, in wider layers.  (A VAE of twenty latents does better than
# either; what is compared is one map with many, not two dimensions with twenty.)  Both are judged by importance weights, $K = 50$.
#
# Would you expect maps of digits, and maps of clothes?  Look at what comes: on most maps both live, far from each other, a digit or
# two and a garment or two.  A map has room for a few kinds; *which* share one, nothing decides but how it began.  Components are
# not classes.  (Chapter 23's are, more often: its components share one decoder, and compete for a place in one latent space.)
#
# What does the paper do with it?  It classifies, with few labels, by what the mixture says of an image.  Here a linear classifier
# reads which component it was and where on its map: in the last table, $r_c$ and $r_c\,\mathbb E[z \mid x, c]$ of all components, against
# linear classifiers on the pixels and on the codes of the one VAE.

# %%
def train_infinite(part, opt, *, seed, epochs, progress=False):
    model = InfiniteVAEConfig(VAEConfig(784, (8,) if opt.quick else (50,), 2), 3 if opt.quick else 20, 0.1, draws=3).build(
        examples=len(part), seed=seed, on=opt.device, images=part.x, first_steps=min(2, epochs - 1) * -(-len(part) // 100),
        optimizer=partial(Adam, 1e-3))
    fit(model, part.but(index=np.arange(len(part))), epochs=epochs, batch_size=100, binarize=True, seed=seed, progress=progress)
    return model


def parameters(model):
    """How many numbers a decoder or an encoder of it is: of an infinite VAE, of those in use."""
    vaes = model.mixture()[0] if isinstance(model, InfiniteVAE) else [model]
    return sum(vae.arena.value.size for vae in vaes)


def train_one(part, opt, numbers, *, seed, epochs, progress=False):
    """One VAE of two latents with as many parameters: a hidden unit more has 784 + 2 + 784 + 2·2 and two biases"""
    hidden = round((numbers - 784) / (2 * 784 + 2 * 2 + 2 + 2))
    model = VAEConfig(784, (hidden,), 2).build(seed=seed, on=opt.device, images=part.x, optimizer=Adam(1e-3))
    fit(model, part, epochs=epochs, batch_size=100, binarize=True, seed=seed, progress=progress)
    return model


def errors(model, one, part, test, *, labels, seed):
    """Percent wrong of a linear classifier with so many labels: on pixels, on codes of one VAE, on features of the mixture"""
    known = few_labels(part.y, labels, seed=seed)

    def percent(read):
        x, points = (np.concatenate(over_parts(model, data.x, lambda rows, _: to_numpy(read(rows)).astype(np.float64)))
                     for data in (part[known], test))
        centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
        found = logistic_regression((x - centre) / spread, part.y[known], decay=1.0)
        return 100 * error_rate(found.predict((points - centre) / spread), test.y).mean

    return {"pixels": percent(lambda rows: rows.x), "codes of one VAE": percent(lambda rows: one.encode(rows)[0]),
            "components and codes": percent(model.features)}


def experiment(part, test, opt, *, seed, epochs, progress=False):
    """Both models, nats on unseen images one by one, and the classifiers' errors"""
    model = train_infinite(part, opt, seed=seed, epochs=epochs, progress=progress)
    one = train_one(part, opt, parameters(model), seed=seed, epochs=epochs, progress=progress)
    black_and_white = bernoulli_sample(test.x, rng=np.random.default_rng(0))
    nll = [-log_likelihoods(m, black_and_white, samples=5 if opt.quick else 50, seed=seed) for m in (model, one)]
    wrong = errors(model, one, part, test, labels=10 * len(np.unique(part.y)), seed=seed)
    return model, one, nll, wrong, components_found(model, test)


def over_seeds(part, test, opt, seeds, epochs, data):
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        model, one, nll, wrong, found = experiment(part, test, opt, seed=seed, epochs=epochs)
        rows.append([nll[0].mean(), nll[1].mean(), nll[0].mean() - nll[1].mean(), model.components, 100 * found.purity,
                     *wrong.values()])
        tqdm.write(f"seed {seed}  NLL {rows[-1][0]:.2f}, of one VAE {rows[-1][1]:.2f}; {model.components} components of "
                   f"{np.sort(model.sizes)[::-1][:model.components].tolist()}; {parameters(model):,} and {parameters(one):,} parameters")
    names = ("NLL of the infinite VAE, nats", "NLL of one VAE", "difference", "components in use", "purity, %",
             *(f"error, linear on {name}, %" for name in wrong))
    print(f"\n{len(test):,} unseen images, {seeds} seeds: mean ± standard error")
    for name, column in zip(names, np.array(rows).T):
        print(f"{name:44} {Estimate.of(column)}")
    grown = [int(np.count_nonzero(find_lines(0.1, opt, seed=seed).sizes > 5)) for seed in range(opt.seed, opt.seed + seeds)]
    print(f"three lines, α = 0.1: components of more than five points {grown}")
    columns = dict(zip(("NLL of the infinite VAE", "of one VAE of as many parameters", "difference", "components"), np.array(rows).T))
    opt.record("infinite", columns | {"components of three lines": grown}, accepted, data=data, seeds=seeds)


def accepted(found):
    """What is asked of it: on toy data, and on images."""
    lines, difference = found["components of three lines"], found["difference"]
    return {"three components of three lines, on every seed": lines.mean == 3 and not lines.standard_error > 0,
            "an NLL more than two standard errors below one VAE's": -difference.mean > 2 * difference.standard_error}


# %%
def main(argv=None):
    arguments = parser("ch26", __doc__, epochs=20, data="auto")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng, epochs = np.random.default_rng(opt.seed), max(2, opt.epochs)
    b, log_pi = 3.0 * rng.standard_normal((4, 3)), np.log([0.5, 0.3, 0.2])
    print(gradcheck(partial(mixture_bound, log_pi=log_pi), b, name="the mixture's bound"))
    print(f"ours and minivae's differ by at most {np.abs(mixture_bound(b, log_pi=log_pi)[0] - logsumexp(log_pi + b)[0]).max():.0e}")
    guests = np.array([0, 0, 1, 2, 1, 0, 0, 3])
    orders = [seat(rng.permutation(guests), 0.7) for _ in range(5)]
    print(f"eight guests, in five orders: log P = {', '.join(f'{p:.4f}' for p in orders)}; minivae's "
          f"{crp_log_prob(guests, concentration=0.7):.4f}")
    print(f"draws of a table and its responsibility: {draws_are_responsibilities(rng, 500 if opt.quick else 20_000):.1f} standard "
          "errors apart, at most\n")

    data = opt.images("digits+fashion_mnist", "digits+sprites")
    part, test = data.part("train"), plots.spread(data.part("test"), 200 if opt.quick else None)
    part = plots.spread(part, 600) if opt.quick else part
    if args.seeds > 1:
        over_seeds(part, test, opt, args.seeds, epochs, data.name)
        return

    found = {alpha: [find_lines(alpha, opt, seed=opt.seed + s) for s in range(1 if opt.quick else 4)] for alpha in (0.01, 0.1, 1.0, 10.0)}
    for alpha, rows in found.items():
        print(f"three lines, α = {alpha:<5g} components in use: {', '.join(f'{len(row.sizes)}' for row in rows):14} of more than five points: "
              f"{', '.join(f'{np.count_nonzero(row.sizes > 5)}' for row in rows):14} purity {', '.join(f'{row.purity:.2f}' for row in rows)}")
    opt.save(draw_alphas(found), "lines", alt="For four values of alpha and four seeds each, a bar of 300 points divided by component. "
             "Mostly three equal parts; where alpha is small some are only two, where it is large there are more, and small ones.")

    print(f"\n{data}")
    model, one, nll, wrong, kinds = experiment(part, test, opt, seed=opt.seed, epochs=epochs, progress=not opt.quick)
    print(f"\n{kinds}\n{parameters(model):,} parameters in use; one VAE: {parameters(one):,}")
    gain = Estimate.of(nll[1] - nll[0])
    print(f"NLL of {len(test):,} unseen images: infinite VAE {Estimate.of(nll[0])}, one VAE {Estimate.of(nll[1])} nats")
    for name, percent in wrong.items():
        print(f"linear classifier, 10 labels a class, on {name:22} {percent:5.1f}% wrong")
    biggest, sizes = model.mixture()[0][:-1][:8], np.sort(model.sizes)[::-1]
    opt.save(plots.atlas(biggest, data.image_shape, titles=[f"{n:,} images" for n in sizes[:len(biggest)]]), "atlas",
             alt="Eight square maps, each of eight by eight small images that change smoothly: on most, a digit or two on one side, a "
             "garment or two on the other, and grey in between.")
    opt.save(plots.atlas([one], data.image_shape, size=12, titles=["one VAE with as many parameters"]), "one_map",
             alt="One map of twelve by twelve images: clothes and digits, and blurred ones in between.")

    alone = sum(np.count_nonzero(row.sizes > 5) == 3 for rows in found.values() for row in rows)
    print(f"\nSeen: of {sum(map(len, found.values()))} runs on three lines {alone} end with three components of more than five points.  "
          f"{model.components} maps of two dimensions explain\nunseen images {gain} nats better than one map with as many parameters "
          f"({parameters(model):,} and {parameters(one):,}).\nWith 10 labels a class a linear classifier on components and codes is "
          f"wrong on {wrong['components and codes']:.1f}%, on pixels on {wrong['pixels']:.1f}%,\non the codes of the one VAE on "
          f"{wrong['codes of one VAE']:.1f}%.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Let the base see more (`first_steps`), or nothing.  How many components do you get, and why fewer of them die?
#    Then give the VAEs ten latents: what becomes of the gain?
# 2. *Break this.*  Give every component noise of its own in `InfiniteVAE._bounds`, and one draw (`draws=1`).  On three lines count
#    how many tables are opened in a sweep, and how many of them are left after the next.
# 3. *Derive this.*  Show that the expected number of tables of $N$ guests is $\sum_{i=0}^{N-1} \alpha / (\alpha + i)$, about $\alpha \log N$.  (Whether
#    guest $i$ opens one does not depend on who sits where.)  Check it with `seat`'s rule and $N = 8{,}000$: how many components would
#    the prior alone give?
