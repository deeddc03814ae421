"""Solutions of chapter 1 · A gradient by hand, and how to check it.

    python -m chapters.solutions.ch01
"""

# %% [markdown]
# # Solutions of chapter 1

# %%
import numpy as np

from chapters.ch01_gradient import central_difference, error_curves, surprise, zeros_and_ones
from minivae import plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck

opt, _ = options(parser("solutions/ch01", __doc__), None)
digits = opt.digits()
x, t = zeros_and_ones(digits.train, digits.train_labels)
x, t = x[:40], t[:40]                                 # the few images of the chapter's check

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Replace `0.1 * rng` by `10 * rng` where `w` is drawn.  Which weights does the check
# > now say nothing about, and why?
#
# The gradient is $\sum_n (\sigma(a_n) - t_n)\, x_n$.  A weight of size 10 on a hundred inked pixels gives $a$
# a size of about 100, and there $\sigma(a) - t$ is 0 for an image that is named rightly and $\pm 1$ for one that is
# not, to sixteen digits.  So a weight hears nothing if its pixel has no ink in any *wrongly* named image: both the
# pullback and the difference quotient say 0 there, whatever formula is written for the slope.  (Pixels without ink in
# any image are silent for every $w$; the check says nothing about these before, either.)

# %%
def silent(w):
    """Weights whose gradient is nothing beside the largest, and whether their pixels have ink in some image."""
    gradient = np.abs(surprise(w, x=x, t=t)[1](1.0))
    no_word = gradient < 1e-10 * gradient.max()
    return no_word, no_word & (x > 0).any(axis=0)


draw = np.random.default_rng(opt.seed).standard_normal(x.shape[1])
for scale in (0.1, 10):
    w = scale * draw
    no_word, inked = silent(w)
    wrong = ((x @ w > 0) != t)
    print(f"{scale:4} · rng: |a| is {np.abs(x @ w).mean():5.1f} on average, {wrong.sum()} of {len(x)} images named wrongly; "
          f"{no_word.sum()} silent weights, {inked.sum()} of them on inked pixels")
print(gradcheck(surprise, w, x=x, t=t, name="surprise, with 10 · rng"))

# what is left of the gradient: the wrongly named images, each with slope 1, but for those near a = 0
middling = np.abs(x @ w) < 30
assert np.allclose(surprise(w, x=x[~middling], t=t[~middling])[1](1.0),
                   (1 - 2 * t[wrong & ~middling]) @ x[wrong & ~middling], atol=1e-10)
assert not silent(0.1 * draw)[1].any()
assert (no_word == ~(x[wrong | middling] > 0).any(axis=0)).mean() > 0.98

# %% [markdown]
# Worse than the silence: where the check does speak, it sees slopes of 0 and 1 only.  Of the images with $|a| > 30$ it would
# believe a pullback that says $[a > 0] - t$ instead of $\sigma(a) - t$.  Check where functions bend.

# %%
def surprise_with_a_step(w, *, x, t):
    return surprise(w, x=x, t=t)[0], lambda dloss: dloss * (((x @ w > 0) - t) @ x)


print(gradcheck(surprise_with_a_step, w, x=x[~middling], t=t[~middling]))

# %% [markdown]
# ## Exercise 2
#
# > *Measure this.*  Write the five-point difference
# > $(-f(w{+}2h) + 8f(w{+}h) - 8f(w{-}h) + f(w{-}2h)) / 12h$ and add its curve.  Where is its valley?
#
# In $8\,[f(w + h) - f(w - h)] - [f(w + 2h) - f(w - 2h)]$ the even terms of Taylor's series cancel as before.  The third
# order cancels too, $8 \cdot 2 h^3 / 6 - 2 (2h)^3 / 6 = 0$, and the fifth leaves $(8 \cdot 2 - 2 \cdot 2^5)\, h^5 / 120$:
# the error is $-\tfrac{1}{30} h^4 f^{(5)}$ beside a rounding of about $\epsilon |f| / h$ as before.  They meet near
# $h \approx \epsilon^{1/5} \approx 10^{-3}$, where only $\epsilon^{4/5} \approx 10^{-13}$ is left.

# %%
def five_point_difference(f, w, i, h):
    def at(steps):
        moved = w.copy()
        moved[i] += steps * h
        return f(moved)
    return (-at(2) + 8 * at(1) - 8 * at(-1) + at(-2)) / (12 * h)


w = 0.1 * draw
i = int(np.argmax(x.mean(axis=0)))                    # the pixel of the chapter
exact = surprise(w, x=x, t=t)[1](1.0)[i]
steps, curves = error_curves(x, t, opt.seed)
five = [five_point_difference(lambda v: float(surprise(v, x=x, t=t)[0]), w, i, h) for h in steps]
curves = {"central": curves["central, float64"], "five points": np.maximum(np.abs(np.array(five) / exact - 1), 1e-16)}

fig, axes = plots.figure(1, 1, width=5, height=3)
for name, error in curves.items():
    axes.loglog(steps, error, label=name)
axes.set(xlabel="step $h$", ylabel="relative error")
axes.invert_xaxis()
axes.legend()
opt.save(fig, "five_points", alt="The relative error of the central and of the five-point difference against the step h, on "
         "logarithmic axes: the five-point curve falls twice as steeply, to a deeper valley at a larger step.")


def valley(error):
    """Where the error is least, on the average over neighbouring steps: single ones are lucky."""
    smooth = np.convolve(np.log10(error), np.ones(5) / 5, mode="same")[2:-2]
    return steps[2:-2][np.argmin(smooth)], 10 ** smooth.min()


valleys = {name: valley(error) for name, error in curves.items()}
for name, (h, error) in valleys.items():
    print(f"{name:12} valley at h = {h:.0e}, error {error:.0e}")
slope = {name: np.polyfit(np.log10(steps[4:10]), np.log10(error[4:10]), 1)[0] for name, error in curves.items()}
print(f"left of the valley the errors go like h^{slope['central']:.2f} and h^{slope['five points']:.2f}")
assert abs(slope["central"] - 2) < 0.1
assert abs(slope["five points"] - 4) < 0.2
assert 1e-4 < valleys["five points"][0] < 1e-2
assert valleys["five points"][1] < 0.1 * valleys["central"][1]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that the central difference is best near $h = (3\,\epsilon\,|\ell| / |\ell'''|)^{1/3}$,
# > with $\epsilon$ the rounding error, and check the prediction against the curve.
#
# Each of the two values is stored with an error of at most $\epsilon |\ell|$.  Their difference is off by at most
# $2 \epsilon |\ell|$, and the quotient by that over $2h$.  With Taylor's term from above, the error is at most
#
# $$ E(h) = \tfrac16 h^2\, |\ell'''| + \frac{\epsilon\, |\ell|}{h}, \qquad
#    E'(h) = \tfrac13 h\, |\ell'''| - \frac{\epsilon\, |\ell|}{h^2} = 0 \iff h^3 = \frac{3\, \epsilon\, |\ell|}{|\ell'''|}. $$
#
# $E$ goes to infinity at both ends, so this only stationary point is its least.  For the neuron, every derivative with respect
# to $w_i$ brings one more factor $x_i$ and one more derivative of $\sigma$:
# $\sigma' = \sigma (1 - \sigma)$, $\sigma'' = \sigma (1 - \sigma)(1 - 2\sigma)$, so
# $\ell''' = \sum_n x_{ni}^3\, p_n (1 - p_n)(1 - 2 p_n)$.

# %%
loss, p = float(surprise(w, x=x, t=t)[0]), 1 / (1 + np.exp(-(x @ w)))
third = (x[:, i] ** 3 * p * (1 - p) * (1 - 2 * p)).sum()
second = [central_difference(lambda v: surprise(v, x=x, t=t)[1](1.0)[i], w + move, i, 1e-5)
          for move in (1e-3 * np.eye(784)[i], -1e-3 * np.eye(784)[i])]
assert abs((second[0] - second[1]) / 2e-3 / third - 1) < 1e-5        # the formula for ℓ''', by differences of ℓ'
epsilon = np.finfo(float).eps / 2
best = (3 * epsilon * loss / abs(third)) ** (1 / 3)
print(f"ℓ = {loss:.1f} and ℓ''' = {third:.2f}: predicted h = {best:.1e}, with an error of at most "
      f"{(best**2 * abs(third) / 6 + epsilon * loss / best) / abs(exact):.0e}; the curve's valley is at {valleys['central'][0]:.1e}, "
      f"{valleys['central'][1]:.0e} deep")
assert 1 / 4 < valleys["central"][0] / best < 4

# %% [markdown]
# The valley lies where it should, and about as deep.  It is a bound that was minimised: the rounding errors of two values
# are as good as random, often smaller than $\epsilon |\ell|$ and sometimes larger, since a sum of 40 logarithms rounds more than once.
