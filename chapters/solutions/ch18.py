"""Solutions of chapter 18 · Where the time goes.

    python -m chapters.solutions.ch18
"""

# %% [markdown]
# # Solutions of chapter 18

# %%
import numpy as np

from chapters.ch18_where_the_time_goes import IDEAS, largest_difference, machine, race, seconds, version
from minivae.chapter import options, parser
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch18", __doc__), None)
rng = np.random.default_rng(opt.seed)
images = opt.digits().train

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Run with `--batch 16` and `--batch 1024`.  Which idea is worth more for small batches, which for large
# > ones, and why?  (Adam's cost does not know how many images there were.)
#
# The chapter's race, with fewer steps.  The numbers are those of this machine, and of what else it did meanwhile.

# %%
hidden, batches = (32, (8, 64)) if opt.quick else (400, (16, 1024))
models = [version(ideas, hidden) for ideas in range(len(IDEAS))]
assert largest_difference(models, images[:20]) < 1e-4          # whatever the speed, the gradient is the same
times = {batch: race(models, images, batch, *((1, 2) if opt.quick else (4, 5))) for batch in batches}
print(f"{'':30}" + "".join(f"   batch {batch:4}        " for batch in batches))
for i, name in enumerate(IDEAS):
    print(f"{name:30}" + "".join(f"{t[i]:8.2f} ms  {t[max(i - 1, 0)] / t[i]:5.2f} times" for t in times.values()))
step = models[4].network.optimizer
adam = 1e3 * seconds(lambda: step.step(models[4].arena), 2 if opt.quick else 10)
for batch in batches:
    print(f"batch {batch}: Adam alone takes {adam:.2f} ms, {adam / times[batch][4]:.0%} of a step of one core")
assert adam / times[batches[0]][4] > adam / times[batches[1]][4]

# %% [markdown]
# Adam walks through the memory of all weights, however few images there were: at a small batch it is a large share of the step, and so what saves passes
# over the weights (Adam in place; gradients written where they belong) is worth most there.  What is done for every image and pixel, one
# exponential instead of several, and the large products in float32, is worth most at a large batch, where it is nearly all there is; and only there is there enough work to
# share out to several cores.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Draw the noise of a float32 model without `dtype=` in a plain NumPy step of your own.  Which arrays
# > become float64, and what does that cost?  Then see what minivae says when you hand it such noise.
#
# `rng.standard_normal(shape)` is float64, and NumPy lifts whatever meets it.  So from the draw on *everything* is float64: $z$, the decoder's hidden
# layer, its logits, the loss; and on the way back all cotangents, until they are added to float32 gradients, which hides it.  The encoder's
# forward stays float32, and its backward does not.  For each product NumPy also makes a float64 copy of the weights.

# %%
B, H, Z = (32, 64, 10) if opt.quick else (128, 400, 20)
W1, W2, W3 = (0.05 * rng.standard_normal(shape, dtype=np.float32) for shape in ((784, 2 * Z), (Z, H), (H, 784)))
x = images[:B]


def step_of_my_own(eps):
    """Encoder and decoder, up and down; every array by name"""
    mean, logvar = np.split(x @ W1, 2, axis=1)
    std = np.exp(0.5 * logvar)
    z = mean + std * eps
    h = np.tanh(z @ W2)
    logits = h @ W3
    dlogits = 1 / (1 + np.exp(-logits)) - x
    dW3, dh = h.T @ dlogits, dlogits @ W3.T
    da = dh * (1 - h * h)
    dW2, dz = z.T @ da, da @ W2.T
    dW1 = x.T @ np.concatenate([dz + mean, 0.5 * (std * eps * dz + std**2 - 1)], axis=1)
    return {name: a.dtype.name for name, a in locals().items() if isinstance(a, np.ndarray)}


good, bad = rng.standard_normal((B, Z), dtype=np.float32), rng.standard_normal((B, Z))
lifted = [name for name, dtype in step_of_my_own(bad).items() if dtype == "float64"]
took = {dtype: 1e3 * seconds(lambda eps=eps: step_of_my_own(eps), 2 if opt.quick else 10) for dtype, eps in (("float32", good), ("float64", bad))}
print("float64 by the noise:", ", ".join(lifted))
print(f"a step takes {took['float32']:.2f} ms with noise in float32, {took['float64']:.2f} ms with float64: {took['float64'] / took['float32']:.2f} times")
assert {"z", "h", "logits", "dW1", "dW2", "dW3"} <= set(lifted)
assert set(step_of_my_own(good).values()) == {"float32"}
vae = VAEConfig(784, (H,), Z).build()
try:
    vae.elbo_terms(x=x, eps=bad[None])
    raise RuntimeError("it took it")
except TypeError as error:
    print(f"minivae says: {error}")

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  A product of $(B, I)$ and $(I, O)$ has intensity $F/N$ as above.  For which $B$ does it leave the
# > sloping part of your machine's roof, at $I = 784$, $O = 400$?  Test your prediction with the chapter's `seconds`.
#
# The roof bends at $\rho = \text{peak}/\text{bandwidth}$ operations per byte.  With $F = 2BIO$ and $N = 4(BI + IO + BO)$,
#
# $$ \frac{F}{N} = \frac{BIO}{2\,(B(I + O) + IO)} \ge \rho \iff B\, \big(\tfrac12 IO - \rho\,(I + O)\big) \ge \rho\, IO \iff
#    B \ge \frac{\rho\, IO}{\tfrac12 IO - \rho\,(I + O)} . $$
#
# For small $\rho$ this is about $2\rho$: the weights are read once, and each must meet $2\rho$ images.  If
# $\rho \ge \tfrac12 \frac{IO}{I + O}$ (132 here) no batch is large enough.

# %%
peak, bandwidth = machine(opt.quick)
ridge, inputs, outputs = peak / bandwidth, 784, 400
size = inputs * outputs
threshold = ridge * size / (size / 2 - ridge * (inputs + outputs))
print(f"peak {peak / 1e9:.0f} billion operations, {bandwidth / 1e9:.1f} GB a second: ρ = {ridge:.1f}, so from B = {threshold:.0f} on")
W = rng.standard_normal((inputs, outputs), dtype=np.float32)
for B in (1, 4, 16, 64, 256) if opt.quick else (1, 4, 16, 64, 256, 1024):
    x = rng.standard_normal((B, inputs), dtype=np.float32)
    y = np.empty((B, outputs), np.float32)
    took = seconds(lambda x=x, y=y: np.matmul(x, W, out=y), 2 if opt.quick else 20)
    flops, moved = 2 * B * size, 4 * (B * inputs + size + B * outputs)
    roof = min(peak, flops / moved * bandwidth)
    print(f"B = {B:4}: {flops / moved:6.1f} operations per byte, {flops / took / 1e9:6.1f} billion a second, {flops / took / peak:4.0%} of the peak; "
          f"the roof allows {roof / peak:4.0%}")
intensity = 2 * threshold * size / (4 * (threshold * inputs + size + threshold * outputs))
assert np.isclose(intensity, ridge)

# %% [markdown]
# The bend shows, though softer than the roof's.  The small products lie *above* the sloping line: these weights are 1.3 MB, and a product that is repeated
# finds them in a cache, whose bandwidth is higher than that of the memory.
