"""Solutions of chapter 27 · Structured residuals.

    python -m chapters.solutions.ch27
"""

# %% [markdown]
# # Solutions of chapter 27

# %%
import numpy as np

from chapters.ch27_structured_residuals import BATCH, neighbour_correlation, prepared, residuals
from minivae.chapter import options, parser
from minivae.distributions import precision_factor
from minivae.evaluation import Estimate, terms_by_image
from minivae.nn import Adam
from minivae.training import fit
from minivae.variants import StructuredVAEConfig

opt, _ = options(parser("solutions/ch27", __doc__, epochs=12, data="auto"), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `--data fashion_mnist --epochs 5`.  A shirt has stripes, a bag has straps: are they in the mean or in the
# > residual?  Then train without turns, `diagonal_steps=0, fixed_steps=0`.  What has become of the mean?
#
# 1,500 garments if they are here, else digits; a small network.  Of the variance of the images (about the average image) we ask how much the mean explains, and how
# alike neighbours are in what is left.

# %%
dataset = opt.images("fashion_mnist", "digits")
images, test = prepared(dataset, opt.seed, opt.quick)
images, test, steps = images[:1500], test[:300], -(-len(images[:1500]) // BATCH)
found = {}
for name, turns in (("in turn", (opt.epochs // 3 * steps, opt.epochs // 6 * steps)), ("without turns", (0, 0))):
    model = StructuredVAEConfig(*dataset.image_shape, (30,) if opt.quick else (100,), 4 if opt.quick else 10).build(
        seed=opt.seed, images=images, diagonal_steps=turns[0], fixed_steps=turns[1],
        optimizers={part: Adam(1e-3) for part in ("vae", "diagonal", "below")})
    fit(model, images, epochs=opt.epochs, batch_size=BATCH, seed=opt.seed, progress=False)
    mean, left, _ = residuals(model, test, opt.seed)
    explained = 1 - np.square(left).mean() / np.square(test - images.mean(axis=0)).mean()
    nll, kl = terms_by_image(model, test, samples=5, seed=opt.seed)
    found[name] = explained
    print(f"{dataset.name}, {name:13}: the mean explains {explained:.0%} of the variance; neighbours in the residual correlate by "
          f"{neighbour_correlation(left, dataset.image_shape)[0]:.2f}; ELBO {Estimate.of(-nll - kl)}")
assert opt.quick or found["in turn"] > found["without turns"]

# %% [markdown]
# The mean has what $z$ can say in a few numbers: the outline, the brightness, sleeves or none.  Stripes and straps come in too many places for that; they are in the residual, where the correlation of neighbours
# is high.  Without turns the precision explains from the first step what the mean has not learned yet.  A pixel that is guessed from its neighbours needs no mean, so the mean is left with little reason to learn: it
# explains less.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Let $d_j$ itself be the precision of pixel $j$, any number: $-\tfrac12 \sum \log |d_j| + \tfrac12 \sum d_j u_j^2$ in the bound.  Which numbers does the
# > optimiser find that no Gaussian has?  And why does nothing of the kind happen in (2), with $d_j^2$?
#
# For one pixel with $s = \overline{u^2}$ the loss is $f(d) = \tfrac12 (d s - \log |d|)$.  On the positive side it is convex with its minimum at $d = 1/s$.  On the negative side
# $f' = \tfrac12 (s - 1/d) > 0$: descent goes to $d \to -\infty$, and $f \to -\infty$.  A negative precision is a density that *grows* with the distance, whose integral is infinite: a "loss" below all bounds, and
# no draw, for $1/\sqrt d$ is not a number.
#
# In (2) the quadratic term is $\tfrac12 d_j^2 u_j^2$.  A negative $d_j$ there gives the same Gaussian as $|d_j|$, and $L L^\top$ is positive definite whatever the signs are.  (The library's networks say $\log d_j$, and
# never cross 0.)

# %%
u = 0.5 * rng.standard_normal(500)
s = np.mean(u**2)


def descend(d, slope, steps=3000, rate=0.1):
    for _ in range(steps):
        d = d - rate * slope(d)
    return d


for start in (0.5, -0.5):
    plain = descend(start, lambda d: 0.5 * (s - 1 / d))
    squared = descend(start, lambda d: d * s - 1 / d)
    print(f"started at {start:4}: precision d ends at {plain:7.3f}, loss {0.5 * (plain * s - np.log(abs(plain))):7.3f};  with d² at {squared:6.3f}, "
          f"loss {0.5 * squared**2 * s - np.log(abs(squared)):.3f};  1/s = {1 / s:.3f}, 1/√s = {s**-0.5:.3f}")
    assert np.isclose(squared**2, 1 / s, rtol=1e-3)
    assert np.isclose(plain, 1 / s, rtol=1e-3) == (start > 0)
further = descend(-0.5, lambda d: 0.5 * (s - 1 / d), steps=30_000)
assert further < 5 * plain < 0                        # it has no end
with np.errstate(invalid="ignore"):
    print("a draw with this precision is not a number:", np.isnan(1 / np.sqrt(np.float64(further))))

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that $\Lambda_{ij} = 0$ if and only if $r_i$ and $r_j$ are independent given all others.  (Write the density
# > as a function of these two alone.)  Which pixels does a pixel in the middle of the image still hear, given all others?
# > Count them in the picture.
#
# With all others held still, $-\tfrac12 r^\top \Lambda r$ is, as a function of $r_i$ and $r_j$,
#
# $$ -\tfrac12 \Lambda_{ii} r_i^2 - \tfrac12 \Lambda_{jj} r_j^2 - \Lambda_{ij}\, r_i r_j - b_i r_i - b_j r_j + \text{const}, \qquad b_i = \sum_{k \ne i, j} \Lambda_{ik} r_k . $$
#
# If $\Lambda_{ij} = 0$ this is a function of $r_i$ plus one of $r_j$: the density is a product, they are independent.  Conversely, if it is a product its logarithm is such a sum, and the mixed derivative
# $\partial^2/\partial r_i \partial r_j$ of the logarithm, which is $-\Lambda_{ij}$, is 0.
#
# $\Lambda_{ij} = \sum_k L_{ik} L_{jk}$: it is not zero if some column $k$ has both.  Column $k$ of $L$ holds $k$ itself and the later pixels that hear it: right, lower left, below, lower right.  So $i$ hears $j$ if their
# difference is one between two of the five places $(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)$.  Between the places of the lower row these are $(0, \pm 1), (0, \pm 2)$; between the rows, and with the other sign, $(\pm 1)$ rows and $-2 \dots 1$ columns,
# mirrored: four to either side.

# %%
places = [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]
differences = {(a - c, b - d) for a, b in places for c, d in places} - {(0, 0)}
H = W = 9
L = precision_factor(rng.standard_normal(H * W), rng.uniform(0.1, 0.5, (4, H * W)), shape=(H, W))
middle = (H // 2) * W + W // 2
heard = np.abs((L @ L.T)[middle]) > 1e-12
heard[middle] = False
picture = heard.reshape(H, W)
for line in picture[2:-2, 1:-1]:
    print("   " + " ".join("#" if h else "." for h in line))
print(f"{heard.sum()} pixels; by counting differences {len(differences)}")
assert {(y - H // 2, x - W // 2) for y, x in zip(*np.nonzero(picture))} == differences
covariance = np.linalg.inv(L @ L.T)
i, j = middle, middle + 4                             # a pixel that is not heard: with all others known, no correlation
others = [k for k in range(H * W) if k not in (i, j)]
given = covariance[np.ix_([i, j], [i, j])] - covariance[np.ix_([i, j], others)] @ np.linalg.solve(covariance[np.ix_(others, others)], covariance[np.ix_(others, [i, j])])
print(f"covariance of two pixels four apart: {covariance[i, j]:.2g}; given all others {given[0, 1]:.0e}")
assert abs(given[0, 1]) < 1e-6 * np.sqrt(given[0, 0] * given[1, 1])
