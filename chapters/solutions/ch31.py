"""Solutions of chapter 31 · Zero-VAE-GAN.

    python -m chapters.solutions.ch31
"""

# %% [markdown]
# # Solutions of chapter 31

# %%
import numpy as np

from chapters import ch31_zero_vae_gan as chapter
from minivae.chapter import options, parser
from minivae.data.alphadigits import attributes
from minivae.evaluation import eszsl

opt, _ = options(parser("solutions/ch31", __doc__, epochs=20, data="auto"), None)
if opt.quick:
    chapter.EACH = 20
rng = np.random.default_rng(opt.seed)
parts = chapter.prepared(opt.images("alphadigits", "digits"))      # characters if they are here, as in the chapter
known, out = np.unique(parts[0][1]), chapter.left_out(parts, 0)
found = chapter.task(parts, out, known, opt, opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `JITTER = 0`, then 1.2.  The likelihood of the *training* features falls as it grows: why does the accuracy on unseen classes rise
# > at first?  For a map that is linear in $a$, show that noise of spread $s$ on $a$ is a penalty $s^2 \lVert V \rVert^2$.
#
# There are only as many lists of attributes as seen classes.  A generator can learn each by heart, as a name, and then says nothing sensible of a list that it was never told.  With noise on $a$ it cannot tell a class
# by its exact list: what it makes has to change slowly between lists, and to depend on the attributes one by one.  That is worse for the classes it knows, and better for those in between.  With too much noise it no longer
# hears which class was meant.
#
# For $x \approx Va$ and noise $n \sim \mathcal N(0, I)$, independent of $x$ and $a$,
#
# $$ \mathbb E_n \lVert x - V (a + s n) \rVert^2 = \lVert x - Va \rVert^2 - 2 s\, \mathbb E[n]^\top V^\top (x - Va) + s^2\, \mathbb E\, n^\top V^\top V n = \lVert x - Va \rVert^2 + s^2 \lVert V \rVert^2, $$
#
# since $\mathbb E n = 0$ and $\mathbb E\, n^\top M n = \mathrm{tr}\, M$.  It is ridge regression.

# %%
V, a, x, s, n = rng.standard_normal((3, 4)), rng.standard_normal(4), rng.standard_normal(3), 0.7, 200_000
squares = ((x - (a + s * rng.standard_normal((n, 4))) @ V.T) ** 2).sum(axis=1)
formula, error = ((x - V @ a) ** 2).sum() + s**2 * (V**2).sum(), squares.std() / np.sqrt(n)
print(f"by drawing {squares.mean():.3f} ± {error:.3f}, by the formula {formula:.3f}")
assert abs(squares.mean() - formula) < 5 * error
for jitter in (0.0, 0.6, 1.2):
    model = chapter.generator(found, opt, opt.seed, jitter=jitter)
    result = chapter.judged(found, chapter.classify(chapter.with_made(found, model, opt.seed)))
    print(f"jitter {jitter}: unseen alone {result.alone:.1%}; S {result.seen:.1%}, U {result.unseen:.1%}, H {result.harmonic:.1%}")
    assert 0 <= result.alone <= 1

# %% [markdown]
# One split and one seed: the chapter's `--splits 5` says how much that is worth.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  In `task` train the features on all classes (`np.isin(y, known)`).  Do the numbers of some splits betray it?  Which
# > test does, and why is it a fraud even where no accuracy rises?
#
# Features of a network that has learned to tell *these* classes apart lie in clumps, one for each, the unseen among them: that is measured below.  What becomes
# of the accuracies is another matter: on this split a linear map from attributes fits such clumps worse.  So the numbers betray nothing, whichever way they go.
# It is a fraud because what is reported is the accuracy on classes *of which no image was used*; images of these were.
# `test_no_image_of_an_unseen_class_reaches_a_training_step` says it, with unseen images made of NaN, and
# `test_features_of_a_classifier_that_saw_the_unseen_would_be_noticed` says that it would.

# %%
(images, labels), (test_images, test_labels) = parts
cheating = chapter.features_of(images, labels, opt, opt.seed)      # all classes


def of(x, y, classes):
    return cheating(x[np.isin(y, classes)]), y[np.isin(y, classes)]


fraud = chapter.Task(found.seen, found.unseen, of(images, labels, found.seen), of(test_images, test_labels, found.seen),
                     tuple(map(np.concatenate, zip(of(images, labels, out), of(test_images, test_labels, out)))))
alone = {}
for name, data in (("seen classes alone", found), ("all classes", fraud)):
    linear = chapter.judged(data, eszsl(*data.train, attributes(), gamma=100.0, ridge=10.0).scores)
    made = chapter.judged(data, chapter.classify(chapter.with_made(data, chapter.generator(data, opt, opt.seed), opt.seed)))
    alone[name] = linear.alone, made.alone
    print(f"features of {name:18}: unseen alone, ESZSL {linear.alone:.1%}, made features {made.alone:.1%}")
x, y = found.images
spread = {}
for name, (x, y) in (("seen classes alone", found.images), ("all classes", fraud.images)):
    centres = np.array([x[y == c].mean(axis=0) for c in out])
    within = np.mean([x[y == c].var(axis=0).sum() for c in out])
    spread[name] = centres.var(axis=0).sum() / within
    print(f"features of {name:18}: the unseen classes' centres vary by {spread[name]:.2f} of what images of one class vary")
assert opt.quick or spread["all classes"] > spread["seen classes alone"]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that (2) is where $\lVert X V S^\top - Y \rVert^2 + \gamma \lVert V S^\top \rVert^2 + \lambda \lVert X V \rVert^2 + \gamma \lambda \lVert V \rVert^2$ has no slope.
# > (All that holds $V$ in the slope is one product, $(X^\top X + \gamma I)\, V\, (S^\top S + \lambda I)$.)
#
# Stack more rows below: $\tilde X = \begin{pmatrix} X \\ \sqrt\gamma\, I \end{pmatrix}$, $\tilde S = \begin{pmatrix} S \\ \sqrt\lambda\, I \end{pmatrix}$, $\tilde Y = \begin{pmatrix} Y & 0 \\ 0 & 0 \end{pmatrix}$.  The four blocks of
# $\tilde X V \tilde S^\top - \tilde Y$ are $X V S^\top - Y$, $\sqrt\lambda\, X V$, $\sqrt\gamma\, V S^\top$ and $\sqrt{\gamma\lambda}\, V$: the objective is $\lVert \tilde X V \tilde S^\top - \tilde Y \rVert^2$.  Its derivative in $V$ is
#
# $$ 2 \tilde X^\top \big( \tilde X V \tilde S^\top - \tilde Y \big) \tilde S = 2 \big( (X^\top X + \gamma I)\, V\, (S^\top S + \lambda I) - X^\top Y S \big), $$
#
# and setting it to zero gives (2).  It is a convex function of $V$, so that is its minimum.

# %%
X, Y, S, gamma, lam = rng.standard_normal((20, 5)), rng.choice([-1.0, 1.0], (20, 4)), rng.standard_normal((4, 3)), 2.0, 0.5


def objective(V):
    return (((X @ V @ S.T - Y) ** 2).sum() + gamma * ((V @ S.T) ** 2).sum() + lam * ((X @ V) ** 2).sum() + gamma * lam * (V**2).sum())


V = np.linalg.solve(X.T @ X + gamma * np.eye(5), X.T @ Y @ S) @ np.linalg.inv(S.T @ S + lam * np.eye(3))
slopes = [(objective(V + 1e-4 * d) - objective(V - 1e-4 * d)) / 2e-4 for d in np.eye(15).reshape(15, 5, 3)]
stacked = np.vstack([X, np.sqrt(gamma) * np.eye(5)]) @ V @ np.vstack([S, np.sqrt(lam) * np.eye(3)]).T
stacked[:20, :4] -= Y
print(f"the largest slope at (2): {np.abs(slopes).max():.0e}; the objective {objective(V):.6f}, as one square {np.square(stacked).sum():.6f}")
assert np.abs(slopes).max() < 1e-6
assert np.isclose(objective(V), np.square(stacked).sum())
assert all(objective(V + 0.01 * rng.standard_normal((5, 3))) > objective(V) for _ in range(100))
