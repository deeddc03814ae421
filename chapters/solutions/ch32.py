"""Solutions of chapter 32 · Few labels, many sentences.

    python -m chapters.solutions.ch32
"""

# %% [markdown]
# # Solutions of chapter 32

# %%
import numpy as np

from chapters import ch32_semi_supervised_text as ch32
from chapters.ch32_semi_supervised_text import by_hand, corpus, right, train_m2, writer_right
from minivae import plots
from minivae.chapter import options, parser
from minivae.gradcheck import GradientError, gradcheck
from minivae.ops import lstm

opt, _ = options(parser("solutions/ch32", __doc__, epochs=3, data="auto"), None)
opt.watch = False
rng = np.random.default_rng(opt.seed)
texts = corpus(opt)
texts.train = texts.train[:80 if opt.quick else 2500]
few = plots.spread(texts.test, 40 if opt.quick else 400)
labels = 20 if opt.quick else 200

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Word dropout at 0, 0.3, 0.6 and 1 (`FORGET`): what does the writer that is told no word at all make of a sentence, and which of
# > the four teaches the classifier best?
#
# A writer that was told no word in training knows of the words before only how many there were: it is a bag of words with a length, in which
# the class and z say which words are frequent.  For sentences it is hopeless.  As a classifier it need not be worse: naive Bayes is nothing
# else.  (The bound below tells it every word, which it has never learned to use: so it is also off its own ground.)

# %%
found = {}
for ch32.FORGET in (0.0, 0.3, 0.6, 1.0):
    model, _ = train_m2(texts, labels, opt, opt.seed, watch=False)
    nll = -ch32.each_class(model, few.x).max(axis=1).mean()
    found[ch32.FORGET] = nll
    print(f"{ch32.FORGET:4.0%} dropped: the likeliest class costs {nll:6.2f} nats a sentence; classifier right {right(model, few):5.1f}%, writer {writer_right(model, few):5.1f}%")
ch32.FORGET = 0.3
assert opt.quick or found[1.0] > found[0.0]            # of forty sentences nothing can be said

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Let the mask stop the state but not the gradient: in `by_hand` add a mask, copy $h$ and $c$ forwards, and forget the
# > two lines that hand $dh$ and $dc$ on.  Which gradients are wrong, which are right, and does a finite difference see it?
#
# Whoever looks at the last state of a padded batch sends a gradient to the last step.  If that is padding and what comes is not handed on, it is
# lost: a sentence that ends before the longest one learns nothing, its $dx$, $dh_0$, $dc_0$ are zero.  Those of the longest sentence are right, and so
# is any loss that looks only at steps there are: nobody sends anything to padding.  A finite difference sees it, if the case it is
# shown has padding *and* somebody who looks behind it.

# %%
def careless(x, h, c, W, U, b, *, mask):
    """by_hand, sentence by sentence as long as it is; and what is asked of a state behind the end is lost"""
    lengths, found = mask.sum(axis=0), []
    states = np.empty((*x.shape[:2], h.shape[1]))
    for i, n in enumerate(lengths):
        alone, pull = by_hand(x[:n, i:i + 1], h[i:i + 1], c[i:i + 1], W, U, b)
        states[:n, i], states[n:, i] = alone[:, 0], alone[-1, 0]
        found.append((n, pull))

    def pullback(dh_all):
        dx, dh, dc, dp = np.zeros_like(x), np.zeros_like(h), np.zeros_like(c), [0.0, 0.0, 0.0]
        for i, (n, pull) in enumerate(found):
            dx_i, dh_i, dc_i, *dp_i = pull(dh_all[:n, i:i + 1])        # and not dh_all[n:]
            dx[:n, i], dh[i], dc[i], dp = dx_i[:, 0], dh_i[0], dc_i[0], [a + d for a, d in zip(dp, dp_i)]
        return dx, dh, dc, *dp

    return states, pullback


parts = [rng.standard_normal(shape) for shape in ((3, 2, 2), (2, 2), (2, 2), (4, 2, 2), (4, 2, 2), (4, 2))]
mask = np.array([[True, True], [True, False], [True, False]])
states, pull = careless(*parts, mask=mask)
(ours, _), pull_ours = lstm(*parts, mask=mask)
last = np.zeros_like(states)
last[-1] = 1.0
wrong, true = pull(last)[0], pull_ours(last, np.zeros((2, 2)))[0]
print(f"states differ by {np.abs(states - ours).max():.0e}; dx of the longest sentence by {np.abs(wrong[:, 0] - true[:, 0]).max():.0e}, of the short one by {np.abs(wrong[:, 1] - true[:, 1]).max():.2g}")
assert np.allclose(wrong[:, 0], true[:, 0])
assert not wrong[:, 1].any()
assert true[0, 1].all()
try:
    gradcheck(careless, *parts, mask=mask)
    seen = False
except GradientError as error:
    seen = True
    print("a finite difference sees it:", str(error).splitlines()[0])
assert seen

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that $(\mathcal L(x, y) - \log q(y \mid x) - \beta)\, \nabla \log q(y \mid x)$ with $y \sim q$ has the mean (5) for every $\beta$, and find the
# > $\beta$ of least variance for a sentence.  Why is it not the mean of $\mathcal L - \log q$, and for two classes what is the variance that is left?
#
# Write $r_y = \mathcal L(x, y) - \log q_y$ and $s_y = \nabla_a \log q_y = e_y - q$.  The mean is $\sum_y q_y r_y s_y - \beta \sum_y q_y s_y$; the last sum is $q - q = 0$, and
# component $j$ of the first is $q_j r_j - q_j \sum_y q_y r_y = q_j (r_j - \mathcal U)$, for $\mathcal U = \sum_y q_y r_y$: eq. 5.
#
# The mean does not depend on $\beta$, so the variance is least where $\sum_y q_y (r_y - \beta)^2 \lVert s_y \rVert^2$ is: $\beta^\ast = \sum_y q_y \lVert s_y \rVert^2 r_y / \sum_y q_y \lVert s_y \rVert^2$, a mean
# in which a class weighs by $q_y \lVert s_y \rVert^2$.  A class that is nearly sure has a short $s_y$: drawing it says little, and how large its $r$ is matters little.
#
# For two classes $s_0 = q_1 (1, -1)$ and $s_1 = -q_0 (1, -1)$, so $\beta^\ast = q_1 r_0 + q_0 r_1$: the *other* class's probabilities.  Then $(r_0 - \beta^\ast) s_0 = q_0 q_1 (r_0 - r_1)(1, -1)$, and
# $(r_1 - \beta^\ast) s_1$ is the same: both draws say the same, and no variance is left.  (To know $\beta^\ast$ one has to know both $r$: the sum.)

# %%
for q in (np.array([0.9, 0.1]), np.array([0.5, 0.3, 0.2])):
    r, s = rng.standard_normal(len(q)), np.eye(len(q)) - q
    exact = q * (r - q @ r)
    best = (q * (s**2).sum(axis=1)) @ r / (q @ (s**2).sum(axis=1))
    spread = {}
    for name, beta in (("0", 0.0), ("the mean of r", q @ r), ("β*", best)):
        drawn = (r - beta)[:, None] * s
        np.testing.assert_allclose(q @ drawn, exact, atol=1e-15)
        spread[name] = q @ ((drawn - exact)**2).sum(axis=1)
    print(f"{len(q)} classes: variance " + ", ".join(f"{value:.2g} (β = {name})" for name, value in spread.items()))
    assert spread["β*"] <= min(spread.values()) + 1e-15
    assert len(q) > 2 or spread["β*"] < 1e-30
