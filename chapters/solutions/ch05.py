"""Solutions of chapter 5 · Likelihoods as losses.

    python -m chapters.solutions.ch05
"""

# %% [markdown]
# # Solutions of chapter 5

# %%
import numpy as np

from chapters.ch05_likelihoods import bernoulli_nll, gaussian_nll
from minivae import plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck

opt, _ = options(parser("solutions/ch05", __doc__), None)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Write the naive `-(x*np.log(p) + (1-x)*np.log(1-p))` without clipping and try logits of ±800.
#
# $e^{800}$ overflows, so $p$ is exactly 0 or 1, and one of the two logarithms is $-\infty$.  Where the pixel is *wrong* the loss is
# infinite instead of 800.  Where it is *right* it is worse: $0 \cdot (-\infty)$ is not a number, and one such pixel makes the loss of
# the whole batch, and after one step every weight, not a number.

# %%
def naive_nll(logits, x):
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        p = 1 / (1 + np.exp(-logits))
        return -(x * np.log(p) + (1 - x) * np.log(1 - p))


for logit in (-800.0, 800.0):
    for x in (0.0, 1.0):
        naive = naive_nll(np.array([logit]), x)[0]
        true = bernoulli_nll(np.array([[logit]]), x=np.array([[x]]))[0][0]
        says = "not a number" if np.isnan(naive) else naive
        print(f"logit {logit:6.0f}, x = {x:.0f}: {true:5.0f} nats; the naive formula says {says}")
        assert np.isinf(naive) if true == 800 else np.isnan(naive)

logits = np.linspace(0, 60, 6001)
naive, true = naive_nll(logits, 0.0), bernoulli_nll(logits[:, None], x=np.zeros((6001, 1)))[0]
print(f"it fails much earlier: from a logit of {logits[~np.isfinite(naive)][0]:.1f} on (float64), where e^−a is below half a rounding")
assert 36 < logits[~np.isfinite(naive)][0] < 38
assert np.allclose(true, logits + np.log1p(np.exp(-logits)))

# %% [markdown]
# ## Exercise 2
#
# > *Show this.*  Keep $\mu$ fixed and let gradient descent learn one $\log \sigma^2$ for all pixels.  Where does it
# > stop, and why must it be the mean squared error?
#
# With $\ell = \log \sigma^2$, $n$ numbers and the sum of squares $S = \sum (x - \mu)^2$ the loss is
#
# $$ L(\ell) = \tfrac12 \big( S e^{-\ell} + n \ell + n \log 2\pi \big), \qquad
#    L' = \tfrac12 \big(n - S e^{-\ell}\big), \qquad L'' = \tfrac12 S e^{-\ell} > 0 . $$
#
# $L' = 0$ only at $e^\ell = S/n$, the mean squared error; $L$ is convex, so this is the minimum, and descent with small steps goes there
# from anywhere.  Put in, it gives $L = \tfrac{n}{2} (\log(2\pi \cdot \mathrm{MSE}) + 1)$: the loss of a Gaussian with its best $\sigma$ is half the
# *logarithm* of the squared error.

# %%
images = opt.digits().train[:500].astype(np.float64)
mean = images.mean(axis=0)
logvar, values = np.zeros(()), []
for _ in range(100):
    nll, pullback = gaussian_nll(np.broadcast_to(mean, images.shape), np.full(images.shape, logvar), x=images)
    _, dlogvar = pullback(np.full(len(images), 1 / images.size))     # per pixel; one number everywhere: sum
    logvar = logvar - 1.0 * dlogvar.sum()
    values.append(float(np.exp(logvar)))
mse = ((images - mean) ** 2).mean()
per_pixel = nll.mean() / images.shape[1]
print(f"σ² after 1, 5, 20, 100 steps: {values[0]:.4f}, {values[4]:.4f}, {values[19]:.4f}, {values[99]:.10f};  mean squared error {mse:.10f}")
print(f"nats per pixel: {per_pixel:.6f};  ½ (log 2π MSE + 1) = {0.5 * (np.log(2 * np.pi * mse) + 1):.6f}")
assert abs(values[-1] / mse - 1) < 1e-8
assert abs(per_pixel - 0.5 * (np.log(2 * np.pi * mse) + 1)) < 1e-8

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Grey pixels $x \in (0, 1)$ are often fed to the Bernoulli loss.  Show that
# > $\int_0^1 p^x (1-p)^{1-x} dx \neq 1$: find the missing constant (the "continuous Bernoulli").
#
# Take $1 - p$ out and write $a = \log\frac{p}{1-p}$ for the logit:
#
# $$ \int_0^1 p^x (1 - p)^{1 - x}\, dx = (1 - p) \int_0^1 e^{a x}\, dx = (1 - p)\, \frac{e^a - 1}{a} = \frac{2p - 1}{a}, $$
#
# since $(1 - p)\, e^a = p$.  At $p = \tfrac12$ the integrand is the constant $\tfrac12$, which is also the limit.  So the constant is
#
# $$ C = \frac{a}{2p - 1} = \frac{a}{\tanh(a/2)}, \qquad -\log p(x) = \log(1 + e^a) - x a - \log C . $$
#
# ($2\sigma(a) - 1 = \tanh(a/2)$.)  It is never 1: $C \ge 2$, because $|\tanh(a/2)| \le |a|/2$.  So the Bernoulli loss on grey pixels counts at
# least $\log 2$ nats too many for every pixel, 543 for an image of 784, and the more, the surer the pixel: it pushes towards
# grey.  The pullback gets one more term, $-\partial \log C/\partial a = -\tfrac1a + \frac{1}{\sinh a}$.

# %%
def continuous_bernoulli_nll(logits, *, x):           # (B, X) -> (B,)
    """−log p(x) = Σ log(1 + eᵃ) − x a − log C,   C = a / tanh(½ a)"""
    nll, pull_nll = bernoulli_nll(logits, x=x)
    small = np.abs(logits) < 1e-3                     # there log C = log 2 + a²/12 up to a⁴
    a = np.where(small, 1.0, np.clip(logits, -700, 700))
    log_c = np.where(small, np.log(2) + logits**2 / 12, np.log(a / np.tanh(0.5 * a)))
    slope = np.where(small, logits / 6, 1 / a - 1 / np.sinh(a))

    def pullback(dnll):
        return pull_nll(dnll) - slope * dnll[:, None]

    return nll - log_c.sum(axis=1), pullback


rng = np.random.default_rng(opt.seed)
print(gradcheck(continuous_bernoulli_nll, 3 * rng.standard_normal((3, 4)), x=rng.random((3, 4))))
print(gradcheck(continuous_bernoulli_nll, np.array([[0.0, 1e-4, -2e-4]]), x=rng.random((1, 3)), name="near a = 0"))

middles = (np.arange(20_000) + 0.5) / 20_000          # the midpoint rule
grid, left, constants = np.linspace(-12, 12, 97), [], []
for a in grid:
    there = np.full((len(middles), 1), a)
    left.append(np.exp(-bernoulli_nll(there, x=middles[:, None])[0]).mean())
    total = np.exp(-continuous_bernoulli_nll(there, x=middles[:, None])[0]).mean()
    constants.append(1 / left[-1])
    assert abs(total - 1) < 1e-6                      # the definition of a density
print(f"∫ pˣ(1−p)¹⁻ˣ dx is {max(left):.4f} at a = {grid[np.argmax(left)]:.0f}, and {min(left):.4f} at |a| = 12; with C it is 1")
fig, axes = plots.figure(1, 1, width=5, height=3)
axes.plot(grid, np.log(constants), label="log C, by the midpoint rule")
axes.plot(grid, np.where(grid == 0, np.log(2), np.log(np.where(grid == 0, 1, grid) / np.tanh(np.where(grid == 0, 1, grid) / 2))), "--",
          label=r"$\log\, a / \tanh(a/2)$")
axes.set(xlabel="logit $a$", ylabel="nats per pixel", ylim=(0, 3))
axes.legend()
opt.save(fig, "missing_constant", alt="The logarithm of the missing constant against the logit: log 2 at zero, rising on both sides; the "
         "formula lies on the numerical integral.")
assert abs(min(constants) - 2) < 1e-6
