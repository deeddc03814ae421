"""Solutions of chapter 6 · The autoencoder, and the holes in its latent space.

    python -m chapters.solutions.ch06
"""

# %% [markdown]
# # Solutions of chapter 6

# %%
import numpy as np

from chapters.ch06_autoencoder import Autoencoder, distance_to_nearest, train
from minivae import plots
from minivae.chapter import options, parser

opt, _ = options(parser("solutions/ch06", __doc__, epochs=15), None)
digits = opt.digits()
x, labels = (digits.train[:500], digits.train_labels[:500]) if opt.quick else (digits.train, digits.train_labels)
hidden = 50 if opt.quick else 400


def trained(codes, seed):
    model = Autoencoder(784, hidden, codes, np.random.default_rng(seed))
    losses = train(model, x, opt.epochs, np.random.default_rng(seed), opt.device)
    return model, losses[-1]


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train the flat autoencoder twice with other seeds.  Do the deserts stay where they were?
#
# The loss sees a code only through the decoder.  Turn the codes, stretch them, bend them, and undo it in the decoder's first layer: the
# loss is the same.  So nothing ties a place in the plane to a meaning.  We lay $15 \times 15$ cells over the box that holds 98% of the codes and
# call a cell without any code a desert.  If two seeds had nothing to do with each other, a share $d_1 d_2$ of the cells would be desert in
# both; if deserts stayed, nearly as many as in the emptier one.

# %%
def deserts(codes, cells=15):
    (left, bottom), (right, top) = np.quantile(codes, [0.01, 0.99], axis=0)
    counts, _, _ = np.histogram2d(*codes.T, bins=cells, range=[(left, right), (bottom, top)])
    return counts == 0


seeds = (0, 1, 2)
flat = [trained(2, seed) for seed in seeds]
codes = [model.encoder(x)[0] for model, _ in flat]
empty = [deserts(c) for c in codes]
medians = [np.array([np.median(c[labels == k], axis=0) for k in range(10)]) for c in codes]
fig, axes = plots.figure(1, 3, width=9, height=3)
for ax, seed, c, middle in zip(axes, seeds, codes, medians):
    for k in range(10):
        ax.scatter(*c[labels == k].T, s=2, color=plots.TEN[k], linewidths=0, rasterized=True)
        ax.annotate(str(k), middle[k], fontweight="bold", ha="center")
    (left, bottom), (right, top) = np.quantile(c, [0.01, 0.99], axis=0)
    ax.set(title=f"seed {seed}", xlim=(left, right), ylim=(bottom, top))
opt.save(fig, "three_seeds", alt="The codes of the digits under three seeds, coloured by digit: three different maps, each with deserts, "
         "the digits in other places.")
pairs = [(0, 1), (0, 2), (1, 2)]
print("nats per training image:", *(f"{loss:.1f}" for _, loss in flat),
      "   deserts:", *(f"{e.mean():.0%}" for e in empty))
for a, b in pairs:
    apart = [np.linalg.norm(m[:, None] - m, axis=-1)[np.triu_indices(10, 1)] for m in (medians[a], medians[b])]
    print(f"seeds {seeds[a]} and {seeds[b]}: desert in both {(empty[a] & empty[b]).mean():.0%} of the cells, by chance "
          f"{empty[a].mean() * empty[b].mean():.0%}, at most {min(empty[a].mean(), empty[b].mean()):.0%};   "
          f"distances between digits correlate by {np.corrcoef(*apart)[0, 1]:.2f}")
assert all(e.any() for e in empty)

# %% [markdown]
# Every map has deserts, and they are not where they were: two maps share somewhat more of them than by chance, and far fewer than they
# could.  What does stay, once the training has found it, is which digits are far from which: that is a property of digits, and not of the
# plane.

# %% [markdown]
# ## Exercise 2
#
# > *Try this.*  Interpolate between the codes of a 1 and a 0 in twelve steps, in two dimensions and in twenty.

# %%
deep, _ = trained(20, 0)
one, zero = (digits.test[np.flatnonzero(digits.test_labels == k)[:20]] for k in (1, 0))
t = np.linspace(0, 1, 12)[:, None, None]
rows, far = [], {}
for codes_of, model in ((2, flat[0][0]), (20, deep)):
    a, b = model.encoder(one)[0], model.encoder(zero)[0]
    way = ((1 - t) * a + t * b).astype(a.dtype)       # (12, 20 pairs, Z)
    images = model.draw(way.reshape(240, -1))
    rows.append(images.reshape(12, 20, -1)[:, 0])
    away = distance_to_nearest(images, digits.train).reshape(12, 20)
    far[codes_of] = away.mean(axis=1)
    print(f"{codes_of:2} codes: distance to the nearest training digit at the two ends {far[codes_of][0]:.1f}, {far[codes_of][-1]:.1f}; "
          f"in the middle {far[codes_of][5:7].mean():.1f} ± {away[5:7].mean(axis=0).std(ddof=1) / np.sqrt(20):.1f}")
fig, axes = plots.figure(2, 1, width=9, height=2.2)
for ax, row, codes_of in zip(axes, rows, far):
    ax.imshow(plots.mosaic(row, (28, 28), 12), cmap="gray_r")
    ax.set_title(f"{codes_of} codes", fontsize=8)
    ax.set_axis_off()
opt.save(fig, "from_one_to_zero", alt="Two rows of twelve images from a 1 to a 0: with two codes the way passes through other digits, with "
         "twenty through a faint mixture of both.")
assert opt.quick or far[20][5:7].mean() > max(far[20][0], far[20][-1])

# %% [markdown]
# In the plane the straight way leads across the lands of other digits: most of its stops look like *some* digit.  In twenty dimensions
# there is room to pass between them, and the middle of the way is where no training code ever was: a 1 and a 0 printed over each other.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  A linear autoencoder with squared error spans the same plane as principal components.
# > Show it: write the best decoder for a fixed encoder, put it into the loss, and read off the trace.
#
# Let the images be centred, $N$ rows $x$, $S = x^\top x / N$ (of full rank), code $xA$, reconstruction $xAB$.  The loss is
#
# $$ L = \tfrac1N \lVert x - xAB \rVert^2 = \mathrm{tr}\, S - 2\, \mathrm{tr}(SAB) + \mathrm{tr}(B^\top A^\top S A B) . $$
#
# **Best decoder.**  $\partial L / \partial B = -2 A^\top S + 2 A^\top S A B = 0$ gives $B = (A^\top S A)^{-1} A^\top S$, least squares.
#
# **Put in.**  The last term becomes half of the middle one, and with $C = S^{1/2} A$
#
# $$ L = \mathrm{tr}\, S - \mathrm{tr}\big(S A\, (A^\top S A)^{-1} A^\top S\big) = \mathrm{tr}\, S - \mathrm{tr}(S P), \qquad P = C\, (C^\top C)^{-1} C^\top . $$
#
# **Read off the trace.**  $P$ is the projection onto the $Z$ columns of $C$.  With eigenvectors $u_i$ and eigenvalues
# $\lambda_1 \ge \lambda_2 \ge \dots$ of $S$, $\mathrm{tr}(SP) = \sum_i \lambda_i p_i$ with $p_i = u_i^\top P u_i$.  These lie in $[0, 1]$ and add up to
# $\mathrm{tr}\, P = Z$: the sum is largest if the weight goes to the first $Z$, $L = \sum_{i > Z} \lambda_i$, and if $\lambda_Z > \lambda_{Z+1}$ only then.
# So $C$ spans $u_1, \dots, u_Z$; so does $A = S^{-1/2} C$, and so do the rows of $B = (C^\top C)^{-1} C^\top S^{1/2}$, because $S^{\pm 1/2}$
# only stretches along the $u_i$.  Within the plane the codes are free: $A R$ and $R^{-1} B$ do the same for every invertible $R$.

# %%
small = digits.train.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49).astype(np.float64)
small -= small.mean(axis=0)
S, Z = small.T @ small / len(small), 3
values, vectors = np.linalg.eigh(S)
values, vectors = values[::-1], vectors[:, ::-1]
rng = np.random.default_rng(opt.seed)

A = rng.standard_normal((49, Z))                      # the formulas, at an arbitrary encoder
B = np.linalg.solve(A.T @ S @ A, A.T @ S)
loss = ((small - small @ A @ B) ** 2).sum() / len(small)
root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
P = root @ A @ np.linalg.solve(A.T @ S @ A, A.T @ root)
assert np.isclose(loss, np.trace(S) - np.trace(S @ P))
assert np.allclose(P @ P, P)

A, B = 0.1 * rng.standard_normal((49, Z)), 0.1 * rng.standard_normal((Z, 49))
rate = 0.4 / values[0]
for _ in range(20_000):                              # and what gradient descent finds, decoder and encoder together
    error = S @ A @ B - S
    A, B = A - rate * error @ B.T, B - rate * A.T @ error
loss = ((small - small @ A @ B) ** 2).sum() / len(small)
planes = {"encoder": root @ A, "decoder": B.T}        # S^½ A: what A is where no pixel ever varies, nobody can tell
angles = {name: np.linalg.svd(vectors[:, :Z].T @ np.linalg.qr(plane)[0])[1].min() for name, plane in planes.items()}
print(f"gradient descent: loss {loss:.8f}, the discarded eigenvalues add up to {values[Z:].sum():.8f}")
print("smallest cosine between its plane and that of the principal components:", *(f"{name} {c:.8f}" for name, c in angles.items()))
assert abs(loss / values[Z:].sum() - 1) < 1e-5
assert min(angles.values()) > 0.9999
