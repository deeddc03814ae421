"""Chapter 5 · Likelihoods as losses.

The question     Where do cross-entropy and squared error come from?
What is new      the negative log-likelihood, in nats; Bernoulli from logits; Gaussian; categorical.
What you'll see  the loss that people clip, broken where it matters most, and what it costs, in nats,
                 to describe a handwritten digit pixel by pixel.
"""

# %% [markdown]
# # 5 · Likelihoods as losses
#
# A model that says "this pixel is ink with probability 0.9" can be judged without any taste: how
# probable did it find what came?  The **negative log-likelihood** $-\log p(x)$ is the surprise in *nats*
# (natural-log bits; 1 nat = 1.44 bits).  Independent surprises add.  Every loss in this book is one.
#
# **Black and white pixels: Bernoulli.**  The network gives a *logit* $a$, the probability is
# $p = \sigma(a)$, and the surprise is cross-entropy:
# $$ -\log p(x) = -x \log \sigma(a) - (1 - x) \log(1 - \sigma(a)) = \log(1 + e^{a}) - x\,a . $$
# The derivative is $\sigma(a) - x$: what we said minus what came.
#
# **Real numbers: Gaussian.**  With mean $\mu$ and variance $\sigma^2$ the surprise is
# $$ -\log \mathcal N(x; \mu, \sigma^2) = \tfrac12 \left( \frac{(x-\mu)^2}{\sigma^2} + \log \sigma^2 + \log 2\pi \right). $$
# With $\sigma = 1$ that is *half the squared error plus a constant*.  So whoever minimises squared error has
# chosen $\sigma = 1$.  We keep the constants: only then can two models be compared in nats.
#
# **One of $C$ classes: categorical.**  $-\log \mathrm{softmax}(a)_c = \log \sum_k e^{a_k} - a_c$, with derivative
# $\mathrm{softmax}(a) - \mathrm{onehot}(c)$: again what we said minus what came.

# %%
import numpy as np
from tqdm import tqdm

from minivae import distributions, plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck

# %% [markdown]
# ## The same number, written so that it survives
#
# $\log(1 + e^{a})$ overflows at $a = 1000$ although its value is 1000.  Take the large part out:
# $\log(1+e^a) = \max(a, 0) + \log(1 + e^{-|a|})$, where the exponential lies in $(0, 1]$ and cannot overflow.

# %%
def bernoulli_nll(logits, *, x):                      # (B, X) -> (B,)
    """−log p(x) = Σ log(1 + eᵃ) − x a"""
    e = np.exp(-np.abs(logits))

    def pullback(dnll):                               # ∂/∂a = σ(a) − x
        return (np.where(logits >= 0, 1, e) / (1 + e) - x) * dnll[:, None]

    return (np.maximum(logits, 0) + np.log1p(e) - x * logits).sum(axis=1), pullback


def gaussian_nll(mean, logvar, *, x):                 # (B, X) (B, X) -> (B,)
    """½ Σ (x − μ)²/σ² + log σ² + log 2π;  ∂/∂μ = (μ − x)/σ²,  ∂/∂log σ² = ½ (1 − (x − μ)²/σ²)"""
    scaled = (x - mean) ** 2 / np.exp(logvar)

    def pullback(dnll):
        dnll = dnll[:, None]
        return (mean - x) / np.exp(logvar) * dnll, 0.5 * (1 - scaled) * dnll

    return 0.5 * (scaled + logvar + np.log(2 * np.pi)).sum(axis=1), pullback


def categorical_nll(logits, *, labels):               # (B, C) -> (B,)
    """log Σ eᵃ − a[label]"""
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))

    def pullback(dnll):
        onehot = np.zeros_like(p)
        onehot[rows, labels] = 1
        return (p - onehot) * dnll[:, None]

    return np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels], pullback


# %% [markdown]
# ## What clipping does
#
# A common repair is to compute $p = \sigma(a)$ first and clip it into $[10^{-7}, 1 - 10^{-7}]$ before the
# logarithm.  The loss no longer overflows.  It also no longer grows: a pixel that is confidently wrong
# costs at most 16.1 nats, and there the gradient is exactly **zero**.  The worst mistakes teach nothing.

# %%
def clipped_nll(logits, *, x):
    """What not to do."""
    p = np.clip(1 / (1 + np.exp(-logits)), 1e-7, 1 - 1e-7)
    inside = (p > 1e-7) & (p < 1 - 1e-7)

    def pullback(dnll):
        return np.where(inside, p - x, 0) * dnll[:, None]

    return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1), pullback


# %% [markdown]
# ## A digit, pixel by pixel
#
# The simplest model of an image: every pixel by itself, the same for all images, learned by following the
# gradient.  No network, 784 numbers.  For the Bernoulli the best logit is that of the pixel's mean, so we know
# where gradient descent must end.  The grey images are made black and white by a fair draw.

# %%
def fit_pixels(x, steps, rate):
    """784 logits by gradient descent on the mean surprise."""
    logits, losses = np.zeros((1, x.shape[1])), []
    for _ in tqdm(range(steps), desc="784 logits", unit="step"):
        nll, pullback = bernoulli_nll(np.repeat(logits, len(x), axis=0), x=x)
        logits -= rate * pullback(np.full(len(x), 1 / len(x))).sum(axis=0)
        losses.append(float(nll.mean()))
    return logits, losses


def draw(logits, losses, optimum, x):
    fig, axes = plots.figure(2, 2, width=8, height=6.2)
    axes = axes.ravel()
    a = np.linspace(-40, 10, 400)[:, None]
    ones = np.ones_like(a)
    for name, function, dashes in (("from logits", bernoulli_nll, "-"), ("clipped", clipped_nll, "--")):
        nll, pullback = function(a, x=ones)
        axes[0].plot(a, nll, dashes, label=name)
        axes[1].plot(a, pullback(np.ones(len(a))), dashes, label=name)
    axes[0].set(xlabel="logit of an ink pixel", ylabel="nats", title="the loss")
    axes[1].set(xlabel="logit of an ink pixel", ylabel="∂loss / ∂logit", title="its gradient")
    axes[0].legend()
    axes[2].plot(np.arange(1, len(losses) + 1), losses)
    axes[2].axhline(optimum, color="k", ls="--", lw=1, label="best possible")
    axes[2].set(xlabel="gradient step", ylabel="nats per image", title="784 logits learn", xscale="log")
    axes[2].legend()
    p = 1 / (1 + np.exp(-logits))
    draws = np.random.default_rng(0).random((5, p.size)) < p
    axes[3].imshow(plots.mosaic(np.concatenate([x[:5], p.repeat(5, axis=0)[:1], draws[:4]]), (28, 28), 5), cmap="gray_r")
    axes[3].set_title("above: data; below: p, and draws")
    axes[3].set_axis_off()
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch05", __doc__, epochs=300, cpu_because="its likelihoods are plain NumPy, and small"), argv)
    rng = np.random.default_rng(opt.seed)
    a, b, real = (rng.standard_normal((4, 6)) for _ in range(3))
    bits, labels = (rng.random((4, 6)) < 0.5).astype(float), rng.integers(0, 6, 4)
    for ours, library, inputs, constants in (
        (bernoulli_nll, distributions.bernoulli_nll, (a,), {"x": bits}),
        (gaussian_nll, distributions.gaussian_nll, (a, b), {"x": real}),
        (categorical_nll, distributions.categorical_nll, (a,), {"labels": labels}),
    ):
        report = gradcheck(ours, *inputs, **constants)
        difference = np.abs(ours(*inputs, **constants)[0] - library(*inputs, **constants)[0]).max()
        print(f"{ours.__name__:16} worst gradient error {report.worst:.0e}, differs from minivae by {difference:.0e}")

    # over all 64 black and white images of six pixels the probabilities must add up to 1
    images = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(float)
    total = np.exp(-bernoulli_nll(np.repeat(a[:1], 64, axis=0), x=images)[0]).sum()
    print(f"sum of p(x) over all 64 images of six pixels: {total:.12f}")

    digits = opt.digits()
    grey = digits.train.astype(np.float64)
    x = (rng.random(grey.shape) < grey).astype(float)
    test = (rng.random(digits.test.shape) < digits.test).astype(float)
    p = np.clip(x.mean(axis=0), 0.5 / len(x), 1 - 0.5 / len(x))
    optimum = float(bernoulli_nll(np.log(p / (1 - p))[None].repeat(len(x), axis=0), x=x)[0].mean())
    logits, losses = fit_pixels(x, 20 if opt.quick else opt.epochs, rate=4.0)
    on_test = bernoulli_nll(logits.repeat(len(test), axis=0), x=test)[0]
    opt.save(draw(logits, losses, optimum, x), "likelihoods",
             alt="Upper left: the surprise in nats at an ink pixel against its logit; computed from the logit it goes on rising, "
                 "computed from a clipped probability it becomes flat. Upper right: the gradient, which is minus one where the "
                 "pixel is badly wrong, and zero there for the clipped one. Lower left: 784 logits learn, nats per image down "
                 "to the best possible. Lower right: five digits, below them the learned probabilities and draws from them, "
                 "which are specks and no digits.")
    fair = 784 * np.log(2)
    print(f"\nSeen: guessing every pixel with a coin costs {fair:.0f} nats per image; 784 learned probabilities cost "
          f"{on_test.mean():.1f} on\nunseen digits ({losses[-1]:.1f} in training; {optimum:.1f} is the best this model "
          "can do). It knows where ink falls, not what a digit is.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Write the naive `-(x*np.log(p) + (1-x)*np.log(1-p))` without clipping and try logits of ±800.
# 2. *Show this.*  Keep $\mu$ fixed and let gradient descent learn one $\log \sigma^2$ for all pixels.  Where does it
#    stop, and why must it be the mean squared error?
# 3. *Derive this.*  Grey pixels $x \in (0, 1)$ are often fed to the Bernoulli loss.  Show that
#    $\int_0^1 p^x (1-p)^{1-x} dx \neq 1$: find the missing constant (the "continuous Bernoulli").
