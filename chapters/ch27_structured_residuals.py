"""Chapter 27 · Structured residuals.

The question     A decoder's noise is salt and pepper; what images leave unexplained is not.  What noise would be like it?
What is new      a Gaussian whose pixels hear their neighbours, by a sparse factor of its precision: density, pullback and
                 draws in time O(X).
What you'll see  which pixel hears which, in the factor, the precision and the covariance; what a dense matrix would cost;
                 and residuals drawn beside those of the data, with and without neighbours.
What it needs    Frey Faces, if they are in the folder that MINIVAE_DATA names; else the digits that come with minivae

    python chapters/ch27_structured_residuals.py                 Frey Faces if they are here, else digits: two minutes
    python chapters/ch27_structured_residuals.py --seeds 5       five of each, and the differences with standard errors
    python chapters/ch27_structured_residuals.py --data fashion_mnist --epochs 5
"""

# %% [markdown]
# # 27 · Structured residuals
#
# With Gaussian pixels a decoder says $x = \mu(z) + r$, and every pixel of the *residual* $r$ is drawn by itself.  Chapter 11
# learned how large it is; look at a draw, and it is a blurred face under salt and pepper.  Now look at what $\mu(z)$ really
# leaves unexplained of an image: the edge of a lip, a shade on a cheek.  Its neighbouring pixels are wrong *together*.  A
# model that has no word for that must either explain it by $z$, or pay for every pixel anew.
#
# A Gaussian has a word for it, $r \sim \mathcal N(0, \Sigma(z))$, with $X^2$ numbers: for faces of $28 \times 20$ pixels
# 313,600 outputs, a determinant and an inverse for every image of every step.  Dorta et al. (2018) say it with $5X$ numbers, by
# writing down not the covariance but its inverse, the **precision**, and not that but its Cholesky factor:
#
# $$ p(x \mid z) = \mathcal N\big(x;\, \mu,\, \Lambda^{-1}\big), \qquad \Lambda = L L^\top, \qquad L \text{ lower triangular and sparse.} \tag{1} $$
#
# Pixels are counted row by row.  $L = A D$: $D$ is diagonal, $d_j > 0$, and row $i$ of $A$ has a one and a number $a_{ij}$ for each
# of four *earlier* neighbours $j$ of pixel $i$: left, upper left, up, upper right.  Why the precision?  A zero in $\Lambda$ says that two pixels are independent
# *given all the others*, and for distant ones that is believable.  A zero in $\Sigma$ would say that they are independent,
# and it is not: the brightness of a whole cheek is one thing.  A sparse precision says both.
#
# Everything is cheap now.  A triangular determinant is the product of its diagonal, so with $w = L^\top r$
#
# $$ -\log p(x \mid z) = \tfrac12 X \log 2\pi - \sum_j \log d_j + \tfrac12 \lVert w \rVert^2, \qquad
#    w_j = d_j u_j, \quad u_j = r_j + \sum_{i \text{ hears } j} a_{ij}\, r_i . \tag{2} $$
#
# Read $w_j \sim \mathcal N(0, 1)$ for $r_j$: given the later pixels, $r_j$ has the mean $-\sum_i a_{ij} r_i$ and the standard
# deviation $1 / d_j$.  The image is drawn from its last pixel to its first, each a guess from four that are there already.
# (The paper's network computes $L_{ij} = a_{ij} d_j$ itself.  It is the same family of Gaussians, but there a pixel's $d_j$, whose
# logarithm another network says, divides what $j$ is told; apart, $a$ stays a coefficient of a regression whatever $d$ does.)

# %%
import time

import numpy as np
import scipy.linalg
from scipy.stats import multivariate_normal
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.distributions import dequantise, precision_factor, sparse_gaussian_nll, sparse_gaussian_sample
from minivae.evaluation import Estimate, terms_by_image
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.training import fit
from minivae.variants import StructuredVAEConfig, VAEConfig

NEIGHBOURS = ((0, -1), (-1, -1), (-1, 0), (-1, 1))       # left, upper left, up, upper right: (down, right)
BATCH, LATENTS = 50, 20


# %% [markdown]
# ## By hand
#
# Sums over neighbours are shifted images: pad with zeros, and the pixels that lie outside take care of themselves.  From (2),
# with the cotangent $\bar u_j = \overline{\mathrm{nll}} \cdot d_j w_j$,
#
# $$ \bar r = A \bar u, \qquad \frac{\partial}{\partial a_{ij}} = r_i\, \bar u_j, \qquad
#    \frac{\partial}{\partial \log d_j} = (w_j^2 - 1)\, \overline{\mathrm{nll}}, \qquad
#    \frac{\partial}{\partial \mu} = -\bar r . \tag{3} $$

# %%
def moved(image, down, right):                          # (…, H, W): what is `down` and `right` of every pixel, 0 outside
    H, W = image.shape[-2:]
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(1, 1), (1, 1)])
    return padded[..., 1 + down:1 + down + H, 1 + right:1 + right + W]


def inside(H, W):                                       # (4, H, W): 1 where that neighbour exists
    return np.stack([moved(np.ones((H, W)), *step) for step in NEIGHBOURS])


def nll_by_hand(mean, logdiag, below, *, x):            # (B, H, W) (B, H, W) (B, 4, H, W) -> (B,)
    """−log N(x; μ, (A D² Aᵀ)⁻¹)"""
    H, W = x.shape[1:]
    r, diag, a = x - mean, np.exp(logdiag), below * inside(H, W)
    u = r
    for k, (down, right) in enumerate(NEIGHBOURS):      # pixel i tells its neighbour j: a_ij r_i arrives at j
        u = u + moved(a[:, k] * r, -down, -right)
    w = diag * u
    nll = 0.5 * (H * W * np.log(2 * np.pi) + (w * w).sum(axis=(1, 2))) - logdiag.sum(axis=(1, 2))

    def pullback(dnll):
        dnll = dnll[:, None, None]
        du = dnll * diag * w
        heard = np.stack([moved(du, *step) for step in NEIGHBOURS], axis=1)           # du_j, where i can see it
        dr = du + (a * heard).sum(axis=1)               # A du
        return -dr, dnll * (w * w - 1.0), r[:, None] * heard * inside(H, W)

    return nll, pullback


def judged(rng, H=4, W=3, B=2):
    """How far our value is from scipy's with the whole matrix, and our value and gradients from minivae's."""
    mean, logdiag, x = rng.standard_normal((3, B, H, W))
    below, dnll = rng.standard_normal((B, 4, H, W)), rng.standard_normal(B)
    print(gradcheck(lambda *parts: nll_by_hand(*parts, x=x), mean, logdiag, below, name="−log p(x) of a sparse Gaussian"))
    nll, pull = nll_by_hand(mean, logdiag, below, x=x)
    factors = [precision_factor(d.ravel(), o.reshape(4, -1), shape=(H, W)) for d, o in zip(logdiag, below)]
    dense = [-multivariate_normal(m.ravel(), np.linalg.inv(L @ L.T)).logpdf(a.ravel())
             for m, L, a in zip(mean, factors, x)]
    theirs, pull_theirs = sparse_gaussian_nll(mean.reshape(B, -1), logdiag.reshape(B, -1), below.reshape(B, 4, -1),
                                              x=x.reshape(B, -1), shape=(H, W))
    apart = [np.abs(a.ravel() - b.ravel()).max() for a, b in zip((nll, *pull(dnll)), (theirs, *pull_theirs(dnll)))]
    return np.abs(nll - dense).max(), max(apart)


# %% [markdown]
# ## Who hears whom
#
# Left the factor, five numbers a row.  Then the precision: a pixel and those with which it shares a listener, 12 others at most.
# Then the covariance, which nobody ever computes: *every* pixel with every other.  And the last two for one pixel in
# the middle, as an image.

# %%
def draw_pattern(H=7, W=7, tell=-0.23):
    """L, Λ, Λ⁻¹ if all pixels hear all neighbours alike; and how one pixel stands to the others."""
    L = precision_factor(np.zeros(H * W), np.full((4, H * W), tell), shape=(H, W))
    precision = L @ L.T
    covariance, middle = np.linalg.inv(precision), (H // 2) * W + W // 2
    pages = {"the factor $L$": L, "the precision $\\Lambda = L L^\\top$": precision, "the covariance $\\Lambda^{-1}$": covariance,
             "one row of $\\Lambda$": precision[middle].reshape(H, W), "one row of $\\Lambda^{-1}$": covariance[middle].reshape(H, W)}
    fig, axes = plots.figure(1, len(pages), width=12.0, height=2.9)
    for ax, (name, page) in zip(axes, pages.items()):
        size = np.abs(page).max()
        ax.imshow(np.where(page == 0.0, np.nan, page), cmap="RdBu", vmin=-size, vmax=size)
        ax.set_title(name, fontsize=10)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        for side in ("top", "right"):
            ax.spines[side].set_visible(True)
    return fig


# %% [markdown]
# ## What it costs
#
# One density, and one draw (a solve with $L^\top$, from the last pixel to the first), for images of $8 \times 8$ to $64 \times 64$
# pixels.  Beside it what the whole matrix would cost: a Cholesky factorisation of $\Lambda$, $X^3 / 3$ multiplications, and two
# triangular solves.

# %%
def median_time(work, times):
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def cost(side, rng):
    """Seconds of density and draw with the sparse factor, and of both with the dense matrix"""
    X, shape = side * side, (side, side)
    mean, logdiag, x = rng.standard_normal((3, 1, X))
    below = rng.uniform(-0.3, 0.1, (1, 4, X))
    L = precision_factor(logdiag[0], below[0], shape=shape)
    precision, r, eps = L @ L.T, (x - mean)[0], rng.standard_normal(X)

    def dense():
        C = scipy.linalg.cholesky(precision, lower=True)
        return (0.5 * np.square(C.T @ r).sum() - np.log(np.diag(C)).sum(),
                scipy.linalg.solve_triangular(C, eps, lower=True, trans="T"))

    return (median_time(lambda: sparse_gaussian_nll(mean, logdiag, below, x=x, shape=shape), 9),
            median_time(lambda: sparse_gaussian_sample(mean, logdiag, below, rng=rng, shape=shape), 3),
            median_time(dense, 3 if X <= 1024 else 1))


def draw_costs(found):
    fig, ax = plots.figure(width=6.4, height=3.6)
    pixels = np.array([side * side for side in found])
    for name, took, marker in zip(("density, sparse factor", "draw, sparse factor", "both, dense matrix"),
                                  zip(*found.values()), "os^"):
        ax.loglog(pixels, 1e3 * np.array(took), marker=marker, label=name)
    ax.set(xlabel="pixels X", ylabel="ms for one image", xticks=pixels, xticklabels=[f"{s}×{s}" for s in found],
           title="one Gaussian, its precision sparse or dense")
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return fig


# %% [markdown]
# ## Who learns when
#
# $A$ and $D$ depend on $z$ as $\mu$ does: three networks, for the mean, $\log d$ and the off-diagonals.  A mean that has not learned
# yet leaves everything in the residual, and a precision that explains it as structure takes the reason to learn away from it.
# So they learn in turn: mean and diagonal (the off-diagonals are zero: it *is* the VAE of chapter 11);
# then the precision, with the mean left as it is; then all.  And $\log d_j$ is bounded, or one pixel that never changes would
# be worth any number of nats; so is every $a_{ij}$, by 1.
#
# How alike are residuals drawn and left?  By the correlation of neighbours: over all pixels of all images, where an image counts as
# much as its residual is large, and within each image, averaged.  The two part where a few draws run away: those then *are* the first.
#
# The rival is chapter 11's best Gaussian, a variance of its own for every pixel and image, with the same encoder, the same
# layers for mean and variance, and as many steps.

# %%
def prepared(dataset, seed, quick):
    """Training and test images as densities want them: dequantised."""
    train, test = (dataset.train[:200], dataset.test[:50]) if quick else (dataset.train, plots.spread(dataset.test, 500))
    return [dequantise(images, rng=np.random.default_rng([seed, i])).astype(np.float32) for i, images in enumerate((train, test))]


def train(images, shape, opt, *, structured, seed, progress=True):
    hidden, latents = ((30,), 4) if opt.quick else ((200,), LATENTS)
    how = {"seed": seed, "on": opt.device, "images": images}
    steps = -(-len(images) // BATCH)
    if structured:
        model = StructuredVAEConfig(*shape, hidden, latents).build(
            **how, diagonal_steps=opt.epochs // 3 * steps, fixed_steps=opt.epochs // 6 * steps,
            optimizers={name: Adam(1e-3) for name in ("vae", "diagonal", "below")})
    else:
        model = VAEConfig(images.shape[1], hidden, latents, "relu", "gaussian_pixel").build(**how, optimizer=Adam(1e-3))
    fit(model, images, epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=progress)
    return model


def residuals(model, images, seed):
    """(mean, what the image leaves, what the model draws) for z ~ q(z|x), in NumPy        3 × (N, X)"""
    rng, x = model.device.rng([seed, 27]), model.device.asarray(images, dtype=model.dtype)
    mean, logvar = model.encode(x)
    z = mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=mean.dtype)
    outputs = model.decoder(z)[0]
    mu, drawn = model.likelihood.mean(outputs), model.likelihood.sample(outputs, rng)
    return to_numpy(mu), to_numpy(x - mu), to_numpy(drawn - mu)


def neighbour_correlation(r, shape):
    """Of a pixel's residual with its right and with its lower neighbour's, over all pixels and images."""
    r = r.reshape(-1, *shape)
    return tuple(float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
                 for a, b in ((r[:, :, 1:], r[:, :, :-1]), (r[:, 1:], r[:, :-1])))


def by_image(r, shape):
    """The same correlations within each image, averaged over images; and what share of all squares the largest 5% hold"""
    squares = np.sort((r**2).sum(axis=1))
    return *np.mean([neighbour_correlation(image, shape) for image in r], axis=0), squares[-len(r) // 20:].sum() / squares.sum()


def judge(model, test, shape, seed):
    """The terms of the bound by image, and the correlations of the data's residuals and of drawn ones."""
    nll, kl = terms_by_image(model, test, samples=10, seed=seed)
    _, left, drawn = residuals(model, test, seed)
    return {"nll": nll, "elbo": -nll - kl, "data": neighbour_correlation(left, shape),
            "drawn": neighbour_correlation(drawn, shape), "by image": (by_image(left, shape), by_image(drawn, shape))}


def row(name, found):
    (right, down), (drawn_right, drawn_down) = found["data"], found["drawn"]
    print(f"{name:22} {Estimate.of(found['elbo'])!s:>16} {Estimate.of(found['nll'])!s:>17}   "
          f"{right:4.2f} / {down:4.2f}    {drawn_right:4.2f} / {drawn_down:4.2f}")


HEAD = f"{'':22} {'ELBO':>16} {'−E log p(x|z)':>17}   left: right, down   drawn"
NAMES = {"every pixel by itself": False, "with neighbours": True}


def over_seeds(dataset, opt, seeds):
    rows = {name: [] for name in NAMES}
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        images, test = prepared(dataset, seed, opt.quick)
        for name, structured in NAMES.items():
            model = train(images, dataset.image_shape, opt, structured=structured, seed=seed, progress=False)
            found = judge(model, test, dataset.image_shape, seed)
            rows[name].append([found["elbo"].mean(), found["nll"].mean(), *found["data"], *found["drawn"]])
    columns = "ELBO", "−E log p(x|z)", "left, right", "left, down", "drawn, right", "drawn, down"
    for name, found in rows.items():
        print(f"{name}, {seeds} seeds: " + ", ".join(f"{c} {Estimate.of(np.array(v))}" for c, v in zip(columns, zip(*found))))
    gain = np.subtract(*(np.array(rows[name])[:, 0] for name in reversed(NAMES)))
    alone, together = (np.array(rows[name]) for name in NAMES)
    print(f"seed by seed: ELBO {Estimate.of(gain)} nats higher, −E log p(x|z) {Estimate.of(together[:, 1] - alone[:, 1])}; drawn "
          f"less left, right {Estimate.of(together[:, 4] - together[:, 2])}, down {Estimate.of(together[:, 5] - together[:, 3])}")
    ours = dict(zip(columns, together.T))
    opt.record("structured", {"bound, with neighbours": ours["ELBO"], "every pixel by itself": alone[:, 0], "seed by seed": gain}
               | {name: ours[name] for name in columns[2:]}, accepted, data=dataset.name, seeds=seeds)


def accepted(found):
    """What is asked of residuals that hear their neighbours."""
    gain, off = found["seed by seed"], (abs(found[f"drawn, {way}"].mean - found[f"left, {way}"].mean) for way in ("right", "down"))
    return {"a bound more than two standard errors higher": gain.mean > 2 * gain.standard_error,
            "residuals drawn with the data's neighbour correlation, to 0.1": max(off) < 0.1}


# %% [markdown]
# ## What it draws
#
# Eight unseen images, their means, what these leave unexplained, and what each model draws in its place; blue is brighter,
# red is darker than the mean.  Then whole images, noise and all: drawn at the codes of unseen images, and dreamt,
# $z \sim \mathcal N(0, I)$.  Most dreams are none: the prior proposes codes that no image has (chapter 25), the networks have
# never been asked there, and a factor that nobody has trained is no harmless one.  Each pixel is a guess from four earlier
# guesses; where these weights add up to more than one, a small error grows from row to row until the image is black and
# white.  A density is learned where the data are, and evaluating it there never shows what drawing elsewhere will.

# %%
def draw_residuals(models, test, shape, seed):
    few = plots.spread(test, 8)
    found = {name: residuals(model, few, seed) for name, model in models.items()}
    mu = found["with neighbours"][0]
    drawn = {f"drawn {name}": mu + r for name, (_, _, r) in found.items()}
    return plots.residuals(few, mu, drawn, shape)


def draw_whole(models, test, dataset, opt, columns=10):
    few, rng = plots.spread(test, columns), opt.device.rng(opt.seed)
    pages = {"unseen images": few}
    for name, model in models.items():
        mu, _, drawn = residuals(model, few, opt.seed)
        pages[f"drawn at their codes, {name}"] = mu + drawn
    for name, model in models.items():
        z = rng.standard_normal((columns, model.latents), dtype=model.dtype)
        pages[f"dreamt, {name}"] = to_numpy(model.likelihood.sample(model.decoder(z)[0], rng))
    fig, axes = plots.figure(len(pages), 1, width=8.0, height=len(pages) * 1.4)
    for ax, (name, images) in zip(axes, pages.items()):
        plots.show_page(ax, plots.mosaic(images, dataset.image_shape, columns), name, like=few)
    return fig


# %%
def main(argv=None):
    arguments = parser("ch27", __doc__, epochs=30, data="auto")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    from_dense, from_library = judged(rng)
    print(f"scipy's density with the whole matrix differs from ours by at most {from_dense:.0e}, minivae's value and "
          f"gradients by {from_library:.0e}\n")
    dataset = opt.images("freyfaces", "digits")
    shape = dataset.image_shape
    if args.seeds > 1:
        over_seeds(dataset, opt, args.seeds)
        return

    opt.save(draw_pattern(), "pattern", alt="Five panels for an image of seven by seven pixels. The factor: its diagonal and four "
             "lines below it. The precision: a band of such lines on both sides. The covariance: full, every pixel with every "
             "other, more with near ones. Then one row of the precision as an image: fifteen pixels around the middle one; and "
             "one row of the covariance: all pixels, fading with distance.")
    took = {side: cost(side, rng) for side in ((8, 16) if opt.quick else (8, 16, 32, 64))}
    for side, (density, draw, dense) in took.items():
        print(f"{side}×{side}: density {1e3 * density:.2f} ms, draw {1e3 * draw:.1f} ms, both with the dense matrix {1e3 * dense:.1f} ms, "
              f"{8 * side**4 / 1e6:.1f} MB")
    opt.save(draw_costs(took), "costs", alt="Milliseconds for one image against its pixels, both axes logarithmic: density and draw "
             "with the sparse factor rise with the pixels, those with the dense matrix with their cube.")

    images, test = prepared(dataset, opt.seed, opt.quick)
    print(f"\n{dataset}, {len(images):,} to learn from, {opt.epochs} epochs")
    models = {name: train(images, shape, opt, structured=structured, seed=opt.seed, progress=not opt.quick)
              for name, structured in NAMES.items()}
    found = {name: judge(model, test, shape, opt.seed) for name, model in models.items()}
    print(HEAD)
    for name in NAMES:
        row(name, found[name])
    (right, down, share), (drawn_right, drawn_down, drawn_share) = found["with neighbours"]["by image"]
    print(f"image by image, with neighbours: left {right:.2f} / {down:.2f}, drawn {drawn_right:.2f} / {drawn_down:.2f}; of all squares "
          f"the largest\ntwentieth of images holds {share:.0%} of those left, {drawn_share:.0%} of those drawn")
    opt.save(draw_residuals(models, test, shape, opt.seed), "residuals", alt="Eight unseen images, their means, and in blue and red "
             "what these leave: edges and shades. Below, drawn every pixel by itself: salt and pepper. Drawn with neighbours: "
             "patches and strokes like those of the images.")
    opt.save(draw_whole(models, test, dataset, opt), "whole", alt="Unseen images; drawn at their codes with independent pixels: "
             "grainy; with neighbours: hardly to be told from images. Below, dreamt by both: distorted and grainy; and with "
             "neighbours torn into black and white, but for a few.")

    alone, together = (found[name] for name in NAMES)
    gain = Estimate.of(together["elbo"] - alone["elbo"])
    print(f"\nSeen: the bound of unseen images is {gain} nats higher once pixels hear their neighbours, image by image. What "
          f"the mean\nleaves has a neighbour correlation of {together['data'][0]:.2f} to the right and {together['data'][1]:.2f} down; "
          f"drawn residuals have {together['drawn'][0]:.2f} and {together['drawn'][1]:.2f},\nthose of independent pixels "
          f"{alone['drawn'][0]:.2f} and {alone['drawn'][1]:.2f}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  `--data fashion_mnist --epochs 5`.  A shirt has stripes, a bag has straps: are they in the mean or in the
#    residual?  Then train without turns, `diagonal_steps=0, fixed_steps=0`.  What has become of the mean?
# 2. *Break this.*  Let $d_j$ itself be the precision of pixel $j$, any number: $-\tfrac12 \sum \log |d_j| + \tfrac12 \sum d_j u_j^2$ in the bound.  Which numbers does the
#    optimiser find that no Gaussian has?  And why does nothing of the kind happen in (2), with $d_j^2$?
# 3. *Derive this.*  Show that $\Lambda_{ij} = 0$ if and only if $r_i$ and $r_j$ are independent given all others.  (Write the density
#    as a function of these two alone.)  Which pixels does a pixel in the middle of the image still hear, given all others?
#    Count them in the picture.
