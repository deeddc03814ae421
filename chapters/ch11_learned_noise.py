"""Chapter 11 · Learned noise.

The question     How sure should the decoder be of a pixel, and who decides?
What is new      the σ of the likelihood: learned, in closed form, pixel by pixel; densities that dive without bound;
                 and the mass of a grey level.
What you'll see  the same network with six kinds of noise, in bits per pixel; what σ = 1 quietly does to the latents;
                 a density that promises to describe digits in less than nothing, and its two cures.
What it needs    Frey Faces, if they are in the folder that MINIVAE_DATA names; else the digits that come with minivae

    python chapters/ch11_learned_noise.py                    Frey Faces if they are here, else digits: a minute
    python chapters/ch11_learned_noise.py --data fashion_mnist --epochs 10
"""

# %% [markdown]
# # 11 · Learned noise
#
# For grey images chapter 5 gave us the Gaussian: the decoder says $\mu$, and an image of $X$ pixels costs
#
# $$ -\log p(x \mid z) = \tfrac12 \left( \frac{\lVert x - \mu \rVert^2}{\sigma^2} + X \log \sigma^2 + X \log 2\pi \right) \text{ nats.} $$
#
# Everybody chooses the network with care, and many choose $\sigma = 1$ without noticing: "the loss is the squared error
# plus the KL".  Multiply the negative ELBO by $2\sigma^2$ and drop what is constant:
#
# $$ \lVert x - \mu \rVert^2 + 2 \sigma^2\, \mathrm{KL} . $$
#
# So $\sigma^2$ is an exchange rate: *how much squared error must a nat of the latents save to be worth its cost?*  Pixels in
# $[0, 1]$ cannot differ by more than 1, and a good reconstruction is off by 0.03.  Who says $\sigma = 1$ there charges
# $1 / 0.03^2 \approx 1000$ times too much for the KL.  It is a β-VAE (chapter 20) with $\beta \approx 1000$, and its latents die.
#
# **The best σ.**  With $\ell = \log \sigma^2$, for one image and for the average of $B$ images,
#
# $$ \frac{\partial}{\partial \ell} = \tfrac12 \left( X - \frac{\lVert x - \mu \rVert^2}{\sigma^2} \right), \qquad
#    \text{zero on average at} \quad \hat\sigma^2 = \frac1{BX} \sum_b \lVert x_b - \mu_b \rVert^2 : $$
#
# the best variance is the mean squared error.  Gradient descent can find it, one parameter more.  Or we put it in:
# at $\hat\sigma^2$ the average cost is $\tfrac{X}{2} (\log \hat\sigma^2 + \log 2\pi + 1)$, *the logarithm of the error* instead of the
# error (the σ-VAE of Rybkin et al. 2021).
#
# **The envelope theorem.**  $\hat\sigma^2$ depends on every mean of the batch.  Must the pullback not go through it?  It must:
#
# $$ \frac{d}{d\mu} f\big(\mu, \hat\sigma^2(\mu)\big) = \frac{\partial f}{\partial \mu} +
#    \frac{\partial f}{\partial \sigma^2} \cdot \frac{d \hat\sigma^2}{d\mu} , $$
#
# but $\hat\sigma^2$ is where $\partial f / \partial \sigma^2 = 0$.  If $f$ is the plain average, the second term vanishes.  If images are
# weighed differently (the IWAE of chapter 13), it does not, so we write it down.

# %%
import sys
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from minivae import distributions, plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.distributions import bits_of_density, bits_of_mass, dequantise
from minivae.evaluation import evaluate
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, Parameter, cosine
from minivae.parts import LogisticShared, likelihood
from minivae.variants import VAEConfig


# %%
def gaussian_nll_optimal(mean, *, x):                 # (B, X) -> (B,)
    """½ (‖x − μ‖²/σ̂² + X log σ̂² + X log 2π),   σ̂² = the mean of (x − μ)² over images and pixels"""
    offset, X = mean - x, x.shape[1]
    squares, var = (offset**2).sum(axis=1), (offset**2).mean()

    def pullback(dnll):
        dlogvar = 0.5 * ((X - squares / var) * dnll).sum()        # zero if all of dnll are equal
        return offset / var * dnll[:, None] + dlogvar * 2 * offset / (offset.size * var)

    return 0.5 * (squares / var + X * np.log(2 * np.pi * var)), pullback


# %% [markdown]
# ## Densities and masses
#
# Why not a $\sigma$ for every pixel?  A second head of the decoder says it, chapter 5 has its pullback.  But look at a pixel
# that is black in every image, such as the corner of a digit.  Its best $\sigma$ is 0, and there the density is infinite: the
# "negative log-likelihood" dives without bound, and has nothing more to say about the rest of the image.  A
# density may exceed 1.  A *probability* may not; the images are 8-bit, and a grey level has a probability.  Two cures:
#
# **Dequantise.**  The grey level $k$ stands for a cell, so make it anywhere in it: $x' = (k + u)/256$, $u \sim U[0, 1)$, anew
# in every epoch.  The mass of the cell is $P(k) = \int p(x')\,dx'$ over a width of $1/256$, and by Jensen's inequality
#
# $$ \log P(k) = \log \mathbb E_u\big[p(x')\big] - \log 256 \ \ge\ \mathbb E_u\big[\log p(x')\big] - \log 256 . $$
#
# So a model of $x'$ is a model of the 8-bit image, at most $\mathrm{nll}/(X \log 2) + 8$ **bits per dimension** (Theis et al. 2016).
# To know nothing costs 8, and nothing can be below 0.
#
# **Say the mass itself.**  Take a bell whose integral is known: the logistic, $F(u) = 1/(1 + e^{-u})$ (Kingma et al. 2016,
# Salimans et al. 2017).  With $u_\pm = (x \pm \tfrac{1}{510} - \mu)/s$ the level between two edges has
#
# $$ P(x) = F(u_+) - F(u_-) = F(u_+)\, F(-u_-)\, \big(1 - e^{-(u_+ - u_-)}\big) , $$
#
# and the first and the last level own all that lies beyond.  The difference is 0 in float32 as soon as $u$ exceeds 17, and
# implementations clip it; the product never fails.  Its logarithm is a sum of three:
#
# $$ -\log P = \mathrm{softplus}(-u_+) + \mathrm{softplus}(u_-) - \log\big(1 - e^{-w}\big), \qquad w = \frac{1}{255\,s} , $$
#
# without the first term at the last level, without the second at the first, and without the third at both.  Since
# $\partial u_\pm / \partial \mu = -1/s$, $\partial u_\pm / \partial \log s = -u_\pm$ and $\partial w / \partial \log s = -w$, the pullback is at hand.

# %%
def sigmoid(a):
    return np.exp(-np.logaddexp(0, -a))


def discretized_logistic_nll(mean, logscale, *, x):   # (B, X) (B, X) -> (B,)
    """−Σ log (F(u₊) − F(u₋))"""
    s = np.exp(logscale)
    above, below = (x + 1 / 510 - mean) / s, (x - 1 / 510 - mean) / s
    first, last = x < 1 / 510, x > 1 - 1 / 510
    width, inner = 1 / 255 / s, ~(first | last)

    def pullback(dnll):
        dabove, dbelow = ~last * -sigmoid(-above) * dnll[:, None], ~first * sigmoid(below) * dnll[:, None]
        dlogscale = -above * dabove - below * dbelow + inner * width / np.expm1(width) * dnll[:, None]
        return -(dabove + dbelow) / s, dlogscale

    nll = ~last * np.logaddexp(0, -above) + ~first * np.logaddexp(0, below) - inner * np.log(-np.expm1(-width))
    return nll.sum(axis=1), pullback


# %% [markdown]
# ## Six kinds of noise
#
# The same network, the same steps, the same images; only $p(x \mid z)$ differs.  The Gaussians see dequantised images, the
# logistics grey levels, and all are judged by the same number: an upper bound on the bits per pixel of unseen 8-bit
# images, $-\mathrm{ELBO}$ included.

# %%
KINDS = {                                             # what the table calls it, and whether it gives a mass
    "gaussian_fixed": ("Gaussian, σ = 1", False),
    "gaussian_shared": ("one σ, by gradient", False),
    "gaussian_optimal": ("one σ, closed form", False),
    "gaussian_pixel": ("σ of every pixel", False),
    "logistic_shared": ("logistic, one s", True),
    "logistic_pixel": ("logistic, s of every pixel", True),
}


def train(name, images, opt, *, raw, lr=3e-3, batch=50, look=None):
    """A VAE with this likelihood; `look(model)` after every epoch."""
    order, rng = np.random.default_rng(opt.seed), opt.device.rng(opt.seed + 1)
    steps = opt.epochs * -(-len(images) // batch)
    rate = cosine(lr, steps=max(1, 3 * steps // 4), final=0.1 * lr)        # the last quarter slowly: σ catches up
    prepared = images if raw else dequantise(images, rng=order)
    model = VAEConfig(images.shape[1], (200,), 10, likelihood=name).build(
        seed=opt.seed, on=opt.device, images=prepared, optimizer=Adam(rate, max_norm=30.0))
    for _ in tqdm(range(opt.epochs), desc=name, unit="epoch", disable=opt.quick):
        x = images[order.permutation(len(images))]
        x = opt.device.asarray(x if raw else dequantise(x, rng=order))
        for start in range(0, len(x), batch):
            model.train_step(x[start:start + batch], rng)
        if look:
            look(model)
    return model


def mean_squared_error(model, images, rng, draws=5):
    """Of the means that a draw of z decodes to, as in a training step."""
    x = model.arena.device.asarray(images)
    return sum(float(np.square(model.reconstruct(x, rng) - x).mean()) for _ in range(draws)) / draws


def bits(model, images, *, mass, samples=5):
    """An upper bound on bits per dimension, and the KL in nats"""
    found = evaluate(model, images, samples=samples)
    unit = bits_of_mass if mass else bits_of_density
    return unit(-found.elbo.mean, pixels=images.shape[1]), found.kl.mean


def compare(images, opt):
    """Train and judge all; returns the models, their bits, and σ after every epoch of the two that learn one."""
    test = {True: images.test, False: dequantise(images.test, rng=np.random.default_rng(opt.seed))}
    models, scores, sigmas = {}, {}, {"gaussian_shared": [], "gaussian_optimal": []}
    results = []
    for name, (label, mass) in KINDS.items():
        look = (lambda model, name=name: sigmas[name].append(255 * float(model.likelihood.std))) if name in sigmas else None
        models[name] = train(name, images.train, opt, raw=mass, look=look)
        scores[name], kl = bits(models[name], test[mass], mass=mass)
        results.append(f"{label:28}{scores[name]:9.3f}{kl:12.1f}")
    print(f"\n{'noise':28}{'bits/dim':>9}{'KL in nats':>12}   (unseen images)", *results, sep="\n")
    return models, scores, sigmas


# %% [markdown]
# ## The collapse
#
# Handwritten digits show it best: their paper is exactly 0 wherever nobody ever wrote.  To see nothing but the noise we cut
# the latents off, as in chapter 5: every pixel has its average over the images for a mean, and learns a $\log \sigma^2$ (or
# $\log s$) of its own.  Once on the raw numbers, once dequantised, once as masses; and we look at the paper alone.
#
# What must happen?  A Gaussian about a number that never changes: $-\log \sigma$ grows for ever.  Dequantised, the paper is uniform in
# its cell, the best $\sigma$ is $1/\sqrt{12}$ of a cell, and a pixel costs $\tfrac12 \log_2(2\pi e/12) = 0.25$ bits: a Gaussian is no
# box.  A mass tends to 1, and costs nothing.

# %%
def pixels_alone(name, images, opt, *, raw, steps, batch=100):
    """Bits per pixel of paper along training, and what was learned: a likelihood without latents"""
    rng, p_x, X = np.random.default_rng(opt.seed), likelihood(name), images.shape[1]
    start, _ = p_x.start(images if raw else dequantise(images, rng=rng))
    scale, means = Parameter(start[X:]), opt.device.asarray(np.tile(start[:X], (batch, 1)), dtype=np.float32)
    arena, optimizer = Arena({"scale": scale}, opt.device), Adam(2e-2)
    paper = np.tile(images.max(axis=0) == 0, 2)                   # of both outputs of a pixel
    curve, unit = [], bits_of_mass if name.startswith("logistic") else bits_of_density
    for step in tqdm(range(steps), desc=f"no latents, {name}{', raw' * raw}", unit="step", disable=opt.quick):
        x = images[rng.integers(0, len(images), batch)]
        x = opt.device.asarray(x if raw else dequantise(x, rng=rng))
        outputs = np.concatenate([means, np.broadcast_to(scale.value, (batch, X))], axis=1)
        arena.zero_grad()
        nll, pull = p_x(outputs, x=x)
        scale.add(pull(np.full_like(nll, 1 / batch))[:, X:].sum(axis=0))         # the same for all images
        optimizer.step(arena)
        if step % 10 == 0:
            nll = p_x(outputs[:, paper], x=x[:, paper[:X]])[0].mean()
            curve.append((step, float(unit(nll, pixels=int(paper[:X].sum())))))
    return curve, to_numpy(scale.value)


def collapse(digits, opt):
    """The three curves by cure, and the smallest σ that was learned on raw pixels, in grey levels"""
    steps, results = 60 if opt.quick else 1500, {}
    for cure, name, raw in (("raw", "gaussian_pixel", True), ("dequantised", "gaussian_pixel", False),
                            ("masses", "logistic_pixel", True)):
        results[cure] = pixels_alone(name, digits.train, opt, raw=raw, steps=steps)
    smallest = 255 * float(np.exp(0.5 * results["raw"][1].min()))
    return {cure: np.array(curve) for cure, (curve, _) in results.items()}, smallest


def draw_scores(scores):
    fig, ax = plots.figure(width=6.4, height=3.2)
    names = list(scores)[::-1]
    bars = ax.barh([KINDS[name][0] for name in names], [scores[name] for name in names],
                   color=[plots.COLOURS[name == "gaussian_fixed"] for name in names])
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.axvline(8, color="black", ls="--", lw=1)
    ax.text(7.93, len(names) - 1.5, "to know nothing", rotation=90, va="top", ha="right", fontsize=9)
    ax.set(xlabel="bits per dimension, unseen images", title="the same network, six kinds of noise",
           xlim=(0, 1.12 * max(8, *scores.values())))
    ax.grid(False)
    return fig


def draw_sigmas(sigmas, errors, curves):
    fig, axes = plots.figure(1, 2, width=8.0, height=3.5)
    for name, colour, style in (("gaussian_shared", plots.COLOURS[0], "-"), ("gaussian_optimal", plots.COLOURS[1], "--")):
        epochs = np.arange(1, len(sigmas[name]) + 1)
        axes[0].plot(epochs, sigmas[name], style, color=colour, label=KINDS[name][0], marker="o" if len(epochs) < 3 else None)
        axes[0].axhline(255 * errors[name] ** 0.5, color=colour, ls=":", lw=1.2)
    axes[0].set(xlabel="epoch", ylabel="σ, grey levels", title="σ finds the error (dotted: √MSE at the end)", yscale="log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter("{x:g}")
    axes[0].legend()
    for (cure, curve), colour, style in zip(curves.items(), plots.COLOURS[1::-1] + plots.COLOURS[2:], ("-", "--", "-.")):
        axes[1].plot(*curve.T, style, color=colour, label=cure)
    axes[1].axhline(0, color="black", ls=":", lw=1.2)
    axes[1].set(xlabel="step", ylabel="“bits” per pixel of paper", title="a σ for every pixel of a digit")
    axes[1].legend()
    return fig


def faces(models, images, opt, columns=10):
    """The test images, and what each of the models makes of them"""
    few = plots.spread(images.test, columns)
    rows = {"unseen image": few}
    for name in ("gaussian_fixed", "gaussian_shared", "gaussian_optimal", "gaussian_pixel", "logistic_pixel"):
        rows[KINDS[name][0]] = to_numpy(models[name].reconstruct(opt.device.asarray(few), opt.device.rng(opt.seed)))
    photo = np.median(few) > 0.25                      # light on film, else ink on paper
    page = plots.mosaic(np.concatenate(list(rows.values())), images.image_shape, columns, paper=np.nan)
    fig, ax = plots.figure(width=8.0, height=8.0 * 0.82 * page.shape[0] / page.shape[1])
    ax.imshow(page, cmap="gray" if photo else "gray_r", vmin=0, vmax=1)
    step = images.image_shape[0] + 2
    ax.set_yticks(step * np.arange(len(rows)) + step / 2, list(rows))
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return fig


# %%
def accepted(found):
    """What is asked of a learned σ."""
    bits = {name: found[f"bits/dim, {name}"].mean for name in ("σ = 1", "one σ", "σ of every pixel")}
    return {"σ² within 3% of the training MSE": abs(found["σ² / training MSE"].mean - 1) < 0.03,
            "fewer bits than σ = 1": bits["one σ"] < bits["σ = 1"],
            "fewer still with a σ for every pixel": bits["σ of every pixel"] < bits["one σ"]}


def main(argv=None):
    opt, _ = options(parser("ch11", __doc__, epochs=120, data="auto"), argv)
    rng = np.random.default_rng(opt.seed)
    levels, x = np.array([[0, 3, 255], [128, 0, 254]]) / 255, rng.standard_normal((4, 5))
    for ours, library, inputs, constants in (
        (gaussian_nll_optimal, distributions.gaussian_nll_optimal, (rng.standard_normal((4, 5)),), {"x": x}),
        (discretized_logistic_nll, distributions.discretized_logistic_nll,
         (rng.random((2, 3)), rng.standard_normal((2, 3)) - 3), {"x": levels}),
    ):
        print(gradcheck(ours, *inputs, **constants))
        difference = np.abs(ours(*inputs, **constants)[0] - library(*inputs, **constants)[0]).max()
        print(f"  differs from minivae.distributions.{ours.__name__} by {difference:.0e}\n")
    every = np.arange(256)[:, None] / 255
    total = np.exp(-discretized_logistic_nll(np.full((256, 1), 0.9), np.full((256, 1), -3.0), x=every)[0]).sum()
    print(f"sum of P(k/255) over all 256 grey levels, μ = 0.9, s = e⁻³: {total:.12f}\n")

    images = opt.images("freyfaces", "digits")
    try:
        LogisticShared().check(images.train, "--data")
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    print(images)
    models, scores, sigmas = compare(images, opt)
    spread, noise = dequantise(images.train, rng=rng), opt.device.rng(opt.seed)
    errors = {name: mean_squared_error(models[name], spread, noise) for name in sigmas}
    ratios = {name: float(models[name].likelihood.std) ** 2 / errors[name] for name in sigmas}
    opt.record("learned_noise", {"bits/dim, σ = 1": scores["gaussian_fixed"], "bits/dim, one σ": scores["gaussian_shared"],
                                 "bits/dim, σ of every pixel": scores["gaussian_pixel"],
                                 "σ² / training MSE": ratios["gaussian_shared"]}, accepted, data=images.name)
    curves, smallest = collapse(replace(opt, data="digits").digits(), opt)
    print()
    opt.save(draw_scores(scores), "noise", alt="Bars: bits per dimension of unseen images for six kinds of noise. "
             "A Gaussian with σ = 1 costs more than the 8 bits of knowing nothing, each learned noise costs less: "
             + ", ".join(f"{KINDS[name][0]} {score:.2f}" for name, score in scores.items()) + ".")
    opt.save(draw_sigmas(sigmas, errors, curves), "sigmas", alt="Left: the learned σ in grey levels, on a logarithmic axis, "
             "over the epochs. By gradient and in closed form it comes down to the root of the mean squared error. Right: "
             "“bits” per pixel of a digit's paper over the training steps. On raw pixels the curve falls below zero without "
             "end, dequantised it settles a little above zero, and with masses it comes down to zero.")
    opt.save(faces(models, images, opt), "reconstructions", alt="A row of unseen images, and below it, a row for each kind "
             "of noise, what the model makes of them. With σ = 1 all of a row are nearly the same average image, with a "
             "learned noise each is like its original.")
    variance, end = errors["gaussian_optimal"], {cure: curve[-1, 1] for cure, curve in curves.items()}
    print(f"\nSeen: σ = 1 costs {scores['gaussian_fixed']:.2f} bits per dimension on unseen {images.name}, more than to know "
          f"nothing (8); one learned σ {scores['gaussian_shared']:.2f}, in\nclosed form {scores['gaussian_optimal']:.2f}, "
          f"for every pixel {scores['gaussian_pixel']:.2f}, logistic masses {scores['logistic_pixel']:.2f}. The learned σ² is "
          f"{ratios['gaussian_shared']:.3f} times the training\nMSE ({ratios['gaussian_optimal']:.3f} in closed form), so that "
          f"σ = 1 is a β of {1 / variance:.0f}. On raw digits a σ falls to {smallest:.1g} grey levels,\nand the “bits” "
          f"per pixel of paper to {end['raw']:.1f}, and on; dequantised they end at {end['dequantised']:.2f}, as masses "
          f"at {end['masses']:.2f}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train with a chosen $\sigma = 0.03$ (after `build`: `model.likelihood.std = 0.03`).  How close does it come
#    to the learned one?  And with $\sigma = 0.01$: what happens to the KL, and to samples from the prior?
# 2. *Break this.*  Write the mass as $\log(F(u_+) - F(u_-))$ in float32, clipped at $10^{-12}$, and plot value and gradient
#    against $\mu$ for $x = 0.5$ and $s = 0.01$.  Where does it stop to teach?
# 3. *Derive this.*  Show that no Gaussian on dequantised pixels does well with a $\sigma$ below $1/\sqrt{12}$ of a cell, and that at it
#    a pixel known exactly costs $\tfrac12 \log_2 (2\pi e / 12) \approx 0.25$ bits, as in the picture.  Which density costs 0?
