"""Solutions of chapter 3 · Nonlinearities, chains, and Sequential.

    python -m chapters.solutions.ch03
"""

# %% [markdown]
# # Solutions of chapter 3

# %%
import numpy as np

from chapters.ch03_chains import gradient_sizes, relu
from minivae import ops, plots
from minivae.chapter import options, parser
from minivae.gradcheck import GradientError, gradcheck

opt, _ = options(parser("solutions/ch03", __doc__), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Add `leaky_relu` (slope 0.2) to the left picture.  Which variance keeps it level?
#
# Let $\varphi(x) = x$ for $x > 0$ and $a x$ else.  With random weights half of the inputs are positive, whatever their sizes, so
# $\mathbb E\, \varphi(x)^2 = \tfrac12 (1 + a^2)\, \mathbb E\, x^2$, and on the way down the same factor,
# $\mathbb E\, \varphi'(x)^2 = \tfrac12 (1 + a^2)$.  One layer multiplies the mean square by $I s^2 \cdot \tfrac12 (1 + a^2)$, which is 1 for
#
# $$ s^2 = \frac{2}{(1 + a^2)\, I}. $$
#
# $a = 0$ gives He's $2/I$, $a = 1$ (no nonlinearity) $1/I$.  For $a = 0.2$ it is $1.92/I$: with He's scale twenty layers
# multiply the mean square by $1.04^{20} \approx 2.2$, the size by 1.5.  It hardly matters.

# %%
def leaky(x):
    return ops.leaky_relu(x, slope=0.2)


width, curves = 200, {}
for name, activation, variance in (("leaky, 1/I", leaky, 1), ("leaky, 1.92/I", leaky, 2 / (1 + 0.2**2)),
                                   ("leaky, 2/I", leaky, 2), ("relu, 2/I", relu, 2)):
    draws = [gradient_sizes(activation, np.sqrt(variance / width), rng) for _ in range(2 if opt.quick else 20)]
    first = np.array(draws)[:, 0]
    curves[name] = np.sqrt(np.mean(np.square(draws), axis=0))
    error = first.std(ddof=1) / np.sqrt(len(first))
    print(f"{name:14} after 20 layers the gradient's size is {first.mean():.2f} ± {error:.2f}")
fig, axes = plots.figure(1, 1, width=5, height=3)
for name, sizes in curves.items():
    axes.semilogy(np.arange(1, 21), sizes, label=name)
axes.set(xlabel="layer", ylabel="size of dx", xticks=[1, 5, 10, 15, 20])
axes.legend()
opt.save(fig, "leaky", alt="The size of the gradient in each of twenty layers: level for leaky relu with variance 1.92/I, slowly "
         "growing on its way down with 2/I, and fading with 1/I.")
assert 0.6 < curves["leaky, 1.92/I"][0] < 1.6
assert curves["leaky, 1/I"][0] < 0.01 < curves["leaky, 1.92/I"][0] < curves["leaky, 2/I"][0]

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Write relu's pullback as `dy[x <= 0] = 0; return dy`.  A bare comparison with central
# > differences passes it.  Use its output twice, $y = \mathrm{relu}(x) + x$, and compare again.  How does
# > `gradcheck` see it the first time?
#
# `dy` is not relu's to overwrite: the sum hands the same array to both of its terms.  After relu has been heard, the
# second use gets a `dy` with holes, and where $x \le 0$ the answer is 0 instead of 1.

# %%
def relu_in_place(x):
    def pullback(dy):
        dy[x <= 0] = 0                                # dy belongs to somebody else
        return dy

    return np.maximum(x, 0), pullback


def twice(relu):
    def relu_and_itself(x):
        """y = relu(x) + x"""
        y, pull_relu = relu(x)
        return y + x, lambda dy: pull_relu(dy) + dy   # two uses of x, and dy goes to both

    return relu_and_itself


def off(f, x):
    """A bare check: how far the pullback of ones is from the central differences of Σ y."""
    numeric = (f(x + 1e-6)[0] - f(x - 1e-6)[0]) / 2e-6                # each y depends on its own x only
    return np.abs(f(x)[1](np.ones_like(x)) - numeric).max()


x = np.array([-2.0, -1.0, 1.0, 2.0])
print(f"bare differences: relu in place is off by {off(relu_in_place, x):.0e}; relu(x) + x with it by "
      f"{off(twice(relu_in_place), x):.0e}, with the chapter's relu by {off(twice(relu), x):.0e}\n")
assert off(relu_in_place, x) < 1e-9
assert off(twice(relu), x) < 1e-9
assert off(twice(relu_in_place), x) > 0.9
for function in (relu_in_place, twice(relu_in_place)):
    try:
        gradcheck(function, x)
        raise RuntimeError("it passed")
    except GradientError as error:
        print(f"{error}\n")

# %% [markdown]
# The library's check compares `dy` before and after the call, and calls the pullback twice: these are laws of a pullback, and it
# tests them before any number.

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  gelu is $\tfrac12 x (1 + \tanh u)$ with $u = \sqrt{2/\pi}\,(x + 0.044715 x^3)$.  Find
# > its pullback and compare with `minivae.ops.gelu`.
#
# Product rule, then the chain rule with $\tanh' = 1 - \tanh^2$:
#
# $$ \frac{dy}{dx} = \tfrac12 (1 + \tanh u) + \tfrac12 x\, (1 - \tanh^2 u)\, \frac{du}{dx}, \qquad
#    \frac{du}{dx} = \sqrt{2/\pi}\, (1 + 3 \cdot 0.044715\, x^2). $$

# %%
def gelu(x):
    """y = ½ x (1 + tanh u),   u = √(2/π) (x + 0.044715 x³)"""
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))

    def pullback(dy):
        du = c * (1 + 3 * 0.044715 * x**2)
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)

    return 0.5 * x * (1 + t), pullback


x, dy = 1.5 * rng.standard_normal((2, 40, 5))
print(gradcheck(gelu, x))
(ours, pull_ours), (library, pull_library) = gelu(x), ops.gelu(x)
worst = max(np.abs(ours - library).max(), np.abs(pull_ours(dy) - pull_library(dy)).max())
print(f"our gelu and minivae.ops.gelu differ by at most {worst:.0e}, value and pullback")
assert worst < 1e-14

grid = np.linspace(-6, 6, 120_001)
_, pullback = gelu(grid)
slope = pullback(np.ones_like(grid))
print(f"its slope is not between 0 and 1, as relu's is: it goes from {slope.min():.3f} (at x = {grid[slope.argmin()]:.2f}) "
      f"to {slope.max():.3f}")
