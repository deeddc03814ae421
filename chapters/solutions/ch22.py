"""Solutions of chapter 22 · Few labels, many images: M1 and M2.

    python -m chapters.solutions.ch22
"""

# %% [markdown]
# # Solutions of chapter 22

# %%
from types import SimpleNamespace

import numpy as np

from chapters.ch22_semi_supervised import sum_over_classes, train_both, train_m1
from minivae import plots
from minivae.chapter import options, parser
from minivae.data import HiddenLabels
from minivae.evaluation import classification_error

opt, _ = options(parser("solutions/ch22", __doc__, epochs=15), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Give the labels the paper's weight, `--label-weight 0.1`.  Which of the two models minds, and what have
# > its classes become (look at its analogies)?  In pixels, which class has the largest $L(x, y)$, and is it right more
# > often than the classifier?
#
# Half of the chapter's images, a quarter of its epochs.

# %%
dataset = opt.digits()
part, test = dataset.part("train")[:200 if opt.quick else 2000], dataset.part("test")[:100 if opt.quick else 500]
args = SimpleNamespace(labels=100, label_weight=None, hidden=150, judged=HiddenLabels.judge(test), seeds=1)
m1 = train_m1(part, opt, args)
wrong = {}
for weight in (None, 0.1):
    args.label_weight = weight
    models, _ = train_both(part, m1, opt, args, seed=opt.seed, progress=False)
    for name, model in models.items():
        wrong[name, weight] = classification_error(model, args.judged)
        print(f"{name:5} label weight {'the chapter' + chr(39) + 's' if weight is None else weight!s:13}: {wrong[name, weight]} % wrong")
x = (rng.random(test.x.shape) < test.x).astype(np.float32)
m2, eps = models["M2"], rng.standard_normal((20, len(x), models["M2"].latents), dtype=np.float32)
L = np.array([np.mean([-sum(m2.labelled_terms(x=x, labels=np.full(len(x), y), eps=e)[0]) for e in eps], axis=0) for y in range(10)]).T
by_bound, by_classifier = (100 * np.mean(guess != test.y) for guess in (L.argmax(axis=1), m2.classify(x)))
print(f"M2 in pixels at weight 0.1: the class with the largest L(x, y) is wrong for {by_bound:.1f}%, the classifier for {by_classifier:.1f}%; "
      f"between the best and the worst class of an image L differs by {np.mean(L.max(axis=1) - L.min(axis=1)):.1f} nats")
opt.save(plots.analogies(m2, plots.spread(test.x, 8), (28, 28), title="M2 at label weight 0.1"), "analogies",
         alt="Eight digits on the left, and their style decoded in ten classes on the right: the rows do not show the digits 0 to 9, but variants of the "
         "one digit or of a blur.")
assert opt.quick or wrong["M2", 0.1].mean > wrong["M2", None].mean

# %% [markdown]
# M2 on pixels minds: there a label of weight 0.1 is a few tenths of a nat beside bounds that differ by many nats between classes for reasons that have nothing to do with
# digits.  Its classes become whatever explains pixels best, and the analogies show it; the class with the largest $L$ is hardly more often right than the classifier, and both are near chance, 90% wrong.  On M1's latents
# the numbers are of a size with the labels', and M1+M2 gets somewhat worse, and not useless.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Public repositories leave $\log p(y)$ out, "and it works all the same".  When does it?  Then draw one
# > class from $q(y \mid x)$ instead of summing: what still reaches the classifier, and what would bring the rest back
# > (chapter 9 has the answer, and its price)?
#
# **$\log p(y)$.**  If all classes are equally likely it is the constant $-\log 10$ in every $L(x, y)$: the gradients are the same, and only the bound is
# reported $\log 10 = 2.3$ nats too high.  If they are not, $q(y \mid x)$ should lean to the frequent ones, and without the term it does not.
#
# **One draw.**  Draw $y \sim q$ and climb $L(x, y) - \log q(y \mid x)$.  The draw has no derivative, and $L(x, y)$ does not know the logits; what reaches the
# classifier is $-\partial \log q_y/\partial a$, and $\mathbb E_q[\partial \log q_y / \partial a] = 0$: on average *nothing*.  (With the entropy computed exactly instead of drawn, its gradient arrives, and
# pulls towards all classes alike.)  The score function brings the rest back,
#
# $$ \frac{\partial U}{\partial a} = \mathbb E_q\Big[ \big(L(x, y) - \log q_y - b\big)\, \frac{\partial \log q_y}{\partial a} \Big], \qquad \frac{\partial \log q_y}{\partial a_k} = [k = y] - q_k , $$
#
# for any constant $b$, at the price of its variance: $L$ is of the size of a hundred nats.

# %%
a, values, n = rng.standard_normal((1, 10)), -100 + 5 * rng.standard_normal((1, 10)), 200_000
U, pullback = sum_over_classes(a, values)
exact = pullback(np.ones(1))[0][0]
q = np.exp(a[0] - a.max())
q /= q.sum()
y = rng.choice(10, size=n, p=q)
score = np.eye(10)[y] - q
naive = -score
for name, draws in (("through the draw", naive), ("score function", (values[0, y] - np.log(q[y]))[:, None] * score),
                    ("with a baseline", (values[0, y] - np.log(q[y]) - U[0])[:, None] * score)):
    error = draws.std(axis=0) / np.sqrt(n)
    off = np.abs(draws.mean(axis=0) - exact) / error
    print(f"{name:17} mean of length {np.linalg.norm(draws.mean(axis=0)):.3f}, the right one {np.linalg.norm(exact):.3f}; largest distance {off.max():8.1f} standard errors; "
          f"variance of one draw {draws.var(axis=0).sum():.4g}")
    assert (off.max() < 5) == (name != "through the draw")
assert np.all(np.abs(naive.mean(axis=0)) < 5 * naive.std(axis=0) / np.sqrt(n))
shifted = sum_over_classes(a, values + np.log(10))                         # without log p(y) = −log 10
assert np.allclose(shifted[0] - U, np.log(10))
assert np.allclose(shifted[1](np.ones(1))[0], exact)

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that $U(x) = \log \sum_y e^{L(x, y)} - \mathrm{KL}\big(q(y \mid x) \,\|\, \mathrm{softmax}(L)\big)$.
# > So one could do without a classifier, and climb $\log \sum_y e^{L(x, y)}$ itself.  What would be lost?
#
# Let $S = \log \sum_y e^{L_y}$ and $s_y = e^{L_y - S}$, the softmax, so that $L_y = S + \log s_y$.  Then
#
# $$ U = \sum_y q_y (L_y - \log q_y) = \sum_y q_y \big( S + \log s_y - \log q_y \big) = S - \mathrm{KL}(q \,\|\, s) . $$
#
# $S$ is the better bound, and needs no classifier.  What would be lost:
#
# * *The network that answers.*  To classify one would compute $L(x, y)$ for all classes, through encoder and decoder, instead of one small network.
# * *The labels' voice.*  The cross-entropy of the labels trains $q(y \mid x)$; without it the hundred labels speak through $L(x, y)$ alone.
# * *Restraint.*  Early in training $e^{L_y}$ is all or nothing, because $L$ differs by many nats between classes for accidental reasons: each image would at once be given
#   to one class, and teach only it.  A classifier that is one smooth function of $x$ changes its mind more slowly.

# %%
a, values = rng.standard_normal((6, 10)), 3 * rng.standard_normal((6, 10))
U, _ = sum_over_classes(a, values)
log_q, S = a - np.logaddexp.reduce(a, axis=1)[:, None], np.logaddexp.reduce(values, axis=1)
kl = (np.exp(log_q) * (log_q - (values - S[:, None]))).sum(axis=1)
print(f"U and S − KL differ by at most {np.abs(U - (S - kl)).max():.0e}; with q = softmax(L), U and S by {np.abs(sum_over_classes(values, values)[0] - S).max():.0e}")
assert np.allclose(U, S - kl)
assert np.allclose(sum_over_classes(values, values)[0], S)
