"""Solutions of chapter 11 · Learned noise.

    python -m chapters.solutions.ch11
"""

# %% [markdown]
# # Solutions of chapter 11

# %%
import numpy as np

from chapters.ch06_autoencoder import distance_to_nearest
from minivae import plots
from minivae.chapter import options, parser
from minivae.distributions import bits_of_density, dequantise, discretized_logistic_nll
from minivae.evaluation import evaluate
from minivae.nn import Adam
from minivae.training import fit
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch11", __doc__, epochs=40, data="auto"), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Train with a chosen $\sigma = 0.03$ (after `build`: `model.likelihood.std = 0.03`).  How close does it come
# > to the learned one?  And with $\sigma = 0.01$: what happens to the KL, and to samples from the prior?

# %%
images = opt.images("freyfaces", "digits")            # Frey Faces if they are here, as in the chapter
train, test = (dequantise(x[:n], rng=rng) for x, n in ((images.train, 200 if opt.quick else 2000), (images.test, 200)))


def trained(likelihood, std=None):
    vae = VAEConfig(train.shape[1], (50 if opt.quick else 200,), 10, likelihood=likelihood).build(
        seed=opt.seed, images=train, optimizer=Adam(2e-3, max_norm=30.0))
    if std:
        vae.likelihood.std = std
    fit(vae, train, epochs=opt.epochs, batch_size=50, seed=opt.seed, progress=False)
    return vae


kls, bits = {}, {}
for name, vae in (("learned", trained("gaussian_shared")), *((std, trained("gaussian_fixed", std)) for std in (0.03, 0.01))):
    found = evaluate(vae, test, samples=5)
    kls[name], bits[name] = found.kl.mean, bits_of_density(-found.elbo.mean, pixels=train.shape[1])
    drawn, rebuilt = vae.sample(200, rng), vae.reconstruct(test, rng)
    far, near = distance_to_nearest(drawn, train).mean(), distance_to_nearest(rebuilt, train).mean()
    codes = vae.encode(train)[0]
    print(f"σ {name!s:7} ({float(vae.likelihood.std):.3f}): {bits[name]:6.2f} bits per pixel, KL {kls[name]:6.1f} nats; the codes' variance is "
          f"{codes.var(axis=0).mean():6.2f};\n    to the nearest training image: samples {far:.2f}, reconstructions {near:.2f}")
assert opt.quick or bits["learned"] < bits[0.03] < bits[0.01]
assert opt.quick or kls["learned"] < kls[0.03] < kls[0.01]

# %% [markdown]
# The further $\sigma$ is below the error that the network makes, the dearer every bit of that error, $\lVert x - \mu \rVert^2 / 2\sigma^2$: the bound falls
# fast, and the KL rises, because nearly any code is worth its nats (the exchange rate of the chapter, the other way).  Codes are said with
# a tiny spread, wherever it suits them, and their cloud fits the prior no longer (its variance should be nearly 1).  A draw from $\mathcal N(0, I)$ falls
# where no code is, and samples are further from all images, while reconstructions are as good as before: we are on the way back to the
# autoencoder of chapter 6.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Write the mass as $\log(F(u_+) - F(u_-))$ in float32, clipped at $10^{-12}$, and plot value and gradient
# > against $\mu$ for $x = 0.5$ and $s = 0.01$.  Where does it stop to teach?
#
# If $\mu$ is above $x$, both $F$ are small, and float32 holds small numbers well: it works until the clip, where
# $e^{-|x - \mu|/s} \cdot w \approx 10^{-12}$, and there the gradient becomes 0.  If $\mu$ is below, both $F$ are nearly 1, and 1 has no neighbours nearer than
# $6 \cdot 10^{-8}$: the difference is full of rounding from $u \approx 10$ on, and exactly 0 beyond $u \approx 17$.  (Until then only the value is
# wrong.  The gradient is a ratio of two differences that are rounded alike.)

# %%
x, s = np.float32(128 / 255), np.float32(0.01)
mu = np.linspace(0, 1, 2001, dtype=np.float32)


def F(u):
    return 1 / (1 + np.exp(-u))


with np.errstate(over="ignore"):
    above, below = F((x + np.float32(1 / 510) - mu) / s), F((x - np.float32(1 / 510) - mu) / s)
mass = above - below
clipped = mass < 1e-12
value = -np.log(np.maximum(mass, np.float32(1e-12)))
slope = np.where(clipped, 0, (above * (1 - above) - below * (1 - below)) / s / np.maximum(mass, np.float32(1e-12)))
exact, pullback = discretized_logistic_nll(mu[:, None].astype(float), np.full((len(mu), 1), np.log(0.01)), x=np.full((len(mu), 1), 128 / 255))
right = pullback(np.ones(len(mu)))[0][:, 0]
assert value.dtype == np.float32
fig, axes = plots.figure(1, 2, width=9, height=3)
for ax, naive, true, name in zip(axes, (value, slope), (exact, right), ("−log P, nats", "∂/∂μ")):
    ax.plot(mu, naive, label="a difference, clipped, float32")
    ax.plot(mu, true, "--", label="a sum of three")
    ax.set(xlabel="μ", ylabel=name)
axes[1].set_ylim(-160, 160)
axes[0].legend(fontsize=8)
opt.save(fig, "clipped_mass", alt="Left: the surprise against μ, a V whose arms the clipped one cuts off at 28 nats, on the left arm already "
         "after noise. Right: its gradient, which is 0 there, while the true one stays at plus and minus a hundred.")
ends = mu[~clipped][0], mu[~clipped][-1]
print(f"it teaches only for μ between {ends[0]:.3f} and {ends[1]:.3f}: {x - ends[0]:.3f} below x and {ends[1] - x:.3f} above")
left = mu < x
off = {side: np.abs(value - exact)[~clipped & there].max() for side, there in (("left", left), ("right", ~left))}
print(f"until then the value is off by up to {off['left']:.2f} nats on the left, and by {off['right']:.1e} on the right")
assert off["left"] > 0.1 > 0.01 > off["right"]
assert 0.15 < x - ends[0] < 0.18
assert 0.25 < ends[1] - x < 0.29
assert np.all(np.abs(right[np.abs(mu - x) > 0.1]) > 90)

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that no Gaussian on dequantised pixels does well with a $\sigma$ below $1/\sqrt{12}$ of a cell, and that at it
# > a pixel known exactly costs $\tfrac12 \log_2 (2\pi e / 12) \approx 0.25$ bits, as in the picture.  Which density costs 0?
#
# Measure in cells.  A pixel whose level is known is $x' = k + u$, uniform on a cell of width 1 with variance $\tfrac{1}{12}$.  A Gaussian with mean $\mu$
# costs on average
#
# $$ \mathbb E[-\log p(x')] = \tfrac12 \log 2\pi\sigma^2 + \frac{\tfrac{1}{12} + (\mu - k - \tfrac12)^2}{2\sigma^2} . $$
#
# The best $\mu$ is the cell's middle.  With $v = \sigma^2$, the derivative in $v$ is $\frac{1}{2v} - \frac{1}{24 v^2}$, negative below $v = \tfrac{1}{12}$ and positive above: below, the
# cost only grows as $\sigma$ shrinks, and like $1/24\sigma^2$, without bound.  (A worse $\mu$ moves the minimum to a larger $\sigma$.)  At the minimum it is
# $\tfrac12 \log (2\pi e/12)$ nats, $0.2546$ bits.
#
# For any density $p$, with $U$ the uniform one on the cell, $\mathbb E_U[-\log p] = \mathrm{KL}(U \,\Vert\, p) - \mathbb E_U[\log U] = \mathrm{KL}(U \,\Vert\, p) \ge 0$, as $\log U = 0$ on
# the cell.  So nothing costs less than 0, and only $p = U$, the *box* on the cell, costs 0.  (Masses of levels are such boxes: a discretized
# density is constant on every cell.)

# %%
u = (np.arange(20_000) + 0.5) / 20_000 - 0.5


def cost(sigma, offset=0.0):
    """Bits, by the midpoint rule"""
    return float((0.5 * np.log(2 * np.pi * sigma**2) + (u - offset) ** 2 / (2 * sigma**2)).mean() / np.log(2))


sigmas = np.exp(np.linspace(np.log(0.05), np.log(2), 400))
costs = np.array([cost(sigma) for sigma in sigmas])
best = sigmas[costs.argmin()]
print(f"best σ = {best:.4f} cells (1/√12 = {12**-0.5:.4f}), {costs.min():.4f} bits (½ log₂ 2πe/12 = {0.5 * np.log2(2 * np.pi * np.e / 12):.4f}); "
      f"half that σ: {cost(best / 2):.2f} bits, a quarter: {cost(best / 4):.2f}")
assert abs(best * 12**0.5 - 1) < 0.01
assert abs(costs.min() - 0.5 * np.log2(2 * np.pi * np.e / 12)) < 1e-4
assert all(np.diff(costs[sigmas < best]) < 0)
assert cost(best, offset=0.2) > cost(best)
