"""Chapter 29 · VAE/GAN.

The question     A VAE's images are blurred, for pixel by pixel a blur is the best guess.  Who could tell it otherwise?
What is new      a second player: a discriminator, its loss and the decoder's; images compared by what it sees in them;
                 gradients that pass a network which does not hear them.
What you'll see  the best discriminator of two Gaussians; a loss whose gradient dies, and one whose does not; a VAE and a
                 VAE/GAN of the same size and steps; a discriminator that is too good; arithmetic with digits.

    python chapters/ch29_vae_gan.py                       4,000 digits, three minutes
    python chapters/ch29_vae_gan.py --seeds 5             five of each, every seed shown: README.md's table
    python chapters/ch29_vae_gan.py --network conv        all networks convolutional
    minivae train --model vae_gan --optimizer rmsprop --epochs 60        on the command line
"""

# %% [markdown]
# # 29 · VAE/GAN
#
# Move a digit by one pixel, and nearly every pixel of its outline is wrong.  Blur it, and each is wrong by half.  A likelihood
# that looks at pixels one by one prefers the blur: if the decoder does not know where an edge is, the average of all
# edges costs least.  What is wrong with a blurred image is not in any pixel; somebody would have to *look*.
#
# Let somebody look.  A **discriminator** $D(x)$ learns to say whether an image is real, and the decoder learns to be taken for real
# (Goodfellow et al. 2014).  With $\tilde x = \mathrm{Dec}(z)$ of codes $z \sim q(z \mid x)$, and $\tilde x_p$ of codes from the prior,
#
# $$ \mathcal L_\text{GAN} = \log D(x) + \log(1 - D(\tilde x)) + \log(1 - D(\tilde x_p)) : \tag{1} $$
#
# the discriminator climbs it, the decoder goes down.  And since it looks, it can also compare (Larsen et al. 2016): let
# $f = \mathrm{Dis}_\ell(x)$ be the units of its layer $\ell$.  Two images are alike if their *features* are,
#
# $$ \mathcal L_\text{like} = -\log \mathcal N(f;\, \tilde f, I) = \tfrac12 \lVert f - \tilde f \rVert^2 + \text{const}. \tag{2} $$
#
# ## The best discriminator
#
# Of two densities $p$ (real) and $q$ (made), the average of $\log D(x)$ over $p$ plus that of $\log(1 - D(x))$ over $q$ is largest, for
# every $x$ by itself, where $p/D = q/(1-D)$:
#
# $$ D^*(x) = \frac{p(x)}{p(x) + q(x)}. \tag{3} $$
#
# If the decoder is perfect, $D^* = \frac12$ everywhere, and each of the terms of $-\mathcal L_\text{GAN}$ is $\log 2$.

# %%
import math

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import device, to_numpy
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, sample_quality
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, Linear, RMSProp, mlp
from minivae.ops import softplus
from minivae.training import fit
from minivae.variants import ConvVAEConfig, VAEConfig, VAEGANConfig
from minivae.variants.vae_gan import EVEN, Discriminator

BATCH, LATENTS, FEATURES = 64, 20, 512


# %% [markdown]
# ## By hand
#
# $D = \sigma(a)$ of a logit $a$.  Then $-\log D = \log(1 + e^{-a})$ and $-\log(1 - D) = \log(1 + e^{a})$: chapter 5's softplus, without
# any probability that could be rounded to 0 or 1.  Their derivatives are $-\sigma(-a)$ and $\sigma(a)$.
#
# Now the decoder.  Going down (1) it goes down $\log(1 - D) = -\log(1 + e^{a})$, whose derivative is $-\sigma(a)$.  At first the
# discriminator is easily right, $a \ll 0$ and $\sigma(a) \approx 0$: nothing is heard when there is most to learn.  So it goes down
# $-\log D$ instead, whose derivative $-\sigma(-a) \approx -1$: the same direction, and the same place of rest.  This is the **non-saturating**
# form.

# %%
def judged_real(a):                                     # (B,) -> (B,)
    """−log D, D = sigmoid(a)"""
    def pullback(dloss):
        return -dloss / (1.0 + np.exp(a))               # −σ(−a)

    return np.log1p(np.exp(-a)), pullback


def judged_made(a):                                     # (B,) -> (B,)
    """−log(1 − D)"""
    def pullback(dloss):
        return dloss / (1.0 + np.exp(-a))               # σ(a)

    return np.log1p(np.exp(a)), pullback


def checked(rng):
    """The largest difference between ours and minivae's softplus, of values and derivatives"""
    a, d = rng.standard_normal(6), rng.standard_normal(6)
    print(gradcheck(judged_real, a, name="−log D"))
    print(gradcheck(judged_made, a, name="−log(1 − D)"))
    (ours, pull), (theirs, pull_theirs) = judged_real(a), softplus(-a)
    return max(np.abs(ours - theirs).max(), np.abs(pull(d) + pull_theirs(d)).max())


def learned_judge(rng, steps=500):
    """D of a small network that was shown draws of N(0, 1) as real and of N(1.5, 0.6²) as made; and p / (p + q)"""
    judge = Discriminator(mlp(1, 24, rng=rng, activation="tanh", last=True), Linear(24, 1, rng=rng))
    arena, optimizer = Arena(judge.parameters(), device("cpu"), float), Adam(1e-2)
    for _ in range(steps):
        arena.zero_grad()
        for x, loss in ((rng.standard_normal((300, 1)), judged_real), (1.5 + 0.6 * rng.standard_normal((300, 1)), judged_made)):
            (_, a), pull = judge(x)
            pull(None, loss(a)[1](np.full(300, 1 / 300)), need_dx=False)
        optimizer.step(arena)
    x = np.linspace(-3.0, 4.0, 141)
    p, q = np.exp(-0.5 * x**2), np.exp(-0.5 * ((x - 1.5) / 0.6) ** 2) / 0.6
    return x, p, q, 1.0 / (1.0 + np.exp(-judge(x[:, None])[0][1])), p / (p + q)


def draw_judges(rng):
    fig, (left, right) = plots.figure(1, 2, width=9.0, height=3.4)
    x, p, q, D, best = learned_judge(rng)
    left.fill_between(x, 0.4 * p, color=plots.COLOURS[0], alpha=0.25, label="real, p")
    left.fill_between(x, 0.4 * q, color=plots.COLOURS[1], alpha=0.25, label="made, q")
    left.plot(x, best, color="black", label="p / (p + q)")
    left.plot(x, D, "--", color=plots.COLOURS[2], label="learned D")
    left.set(xlabel="x", ylabel="D(x)", title="the best discriminator")
    left.legend(fontsize=8)
    a = np.linspace(-6.0, 6.0, 100)
    right.plot(a, -judged_made(a)[1](np.ones(100)), color=plots.COLOURS[1], label="of log(1 − D): dies")
    right.plot(a, judged_real(a)[1](np.ones(100)), color=plots.COLOURS[0], label="of −log D: does not")
    right.set(xlabel="logit a of a made image", ylabel="derivative", title="what the decoder hears")
    right.legend(fontsize=8, loc="center left")
    weight = 0.4 * (p + q)                              # D is only asked for where there are images
    return fig, float((weight * np.abs(D - best)).sum() / weight.sum())


# %% [markdown]
# ## Who hears what
#
# Three networks, three losses, one forward pass:
#
# | | hears | does not hear |
# |---|---|---|
# | encoder | $\mathrm{KL} + \mathcal L_\text{like}$ | the game |
# | decoder | $\gamma \mathcal L_\text{like} - \log D(\tilde x) - \log D(\tilde x_p)$ | the KL |
# | discriminator | $-\mathcal L_\text{GAN}$ | $\mathcal L_\text{like}$: it would learn to see nothing, and all would be alike |
#
# For the decoder a gradient must pass the discriminator *without being heard by it*: the same pullback with `need_dp=False`, which
# computes $dx$ and leaves the parameters' gradients alone.  And the decoder hears $\gamma\, \mathcal L_\text{like}$ and the game, while the
# gradient that goes on to the encoder is that of $\mathcal L_\text{like}$ alone: the decoder's pullback is called twice, too.
# `tests/variants/test_vae_gan.py` asks for exact zeros wherever nothing is to be heard.

# %%
def silent(rng):
    """The largest gradient that a network has after another one's loss was pulled back: 0, exactly"""
    model = VAEGANConfig(VAEConfig(9, (5,), 2), features=4).build(dtype=float, seed=1)
    x, eps = 1.0 * (rng.random((6, 9)) < 0.5), rng.standard_normal((2, 6, 2))
    largest = 0.0
    for of in model.networks:
        _, pullback = model.loss(of=of, x=x, eps=eps[0], eps_p=eps[1])
        for network in model.networks.values():
            network.arena.zero_grad()
        pullback(np.ones(6))
        largest = max([largest] + [np.abs(network.arena.grad).max() for name, network in model.networks.items() if name != of])
    return largest


# %% [markdown]
# ## A VAE, and the same VAE with somebody who looks
#
# The same encoder and decoder, the same images, as many steps.  The discriminator learns five times more slowly than they do; γ is
# 1.  The Fréchet distance (chapter 25) asks our own classifier's features, which neither of them knows.

# %%
def sizes_of(network, quick):
    """Of encoder and decoder, and how many features the discriminator has"""
    if network == "conv":
        return ConvVAEConfig(filters=(2, 4) if quick else (8, 16), dense=16 if quick else 128, latents=LATENTS), 16 if quick else 128
    return VAEConfig(784, (40,) if quick else (400,), LATENTS), 16 if quick else FEATURES


def train(images, opt, *, seed, network="mlp", game=True, discriminator=2e-4, margin=None, epochs=None, progress=True):
    """A VAE/GAN, or the VAE of its size; and the records of its epochs"""
    sizes, features = sizes_of(network, opt.quick)
    if game:
        rates = {"encoder": RMSProp(1e-3), "decoder": RMSProp(1e-3), "discriminator": RMSProp(discriminator)}
        model = VAEGANConfig(sizes, features).build(seed=seed, on=opt.device, images=images, optimizers=rates, margin=margin)
    else:
        model = sizes.build(seed=seed, on=opt.device, images=images, optimizer=Adam(1e-3))
    history = fit(model, images, epochs=epochs or opt.epochs, batch_size=BATCH, seed=seed, progress=progress)
    return model, history


def quality(model, test, seed):
    """Fréchet distance, precision and recall of as many samples as test images"""
    drawn = to_numpy(model.sample(len(test), model.device.rng([seed, 29])))
    return sample_quality(drawn.clip(0.0, 1.0), test)


def over_seeds(digits, test, opt, network, seeds):
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        found = [quality(train(digits, opt, seed=seed, network=network, game=game, progress=False)[0], test, seed)
                 for game in (False, True)]
        rows.append([value for q in found for value in (q.frechet, q.precision, q.recall)])
        print(f"\nseed {seed}: VAE {found[0].frechet:.2f}, VAE/GAN {found[1].frechet:.2f}", flush=True)
    rows = np.array(rows)
    for name, column in zip(("VAE: FD", "precision", "recall", "VAE/GAN: FD", "precision", "recall"), rows.T):
        print(f"{name:14} {Estimate.of(column)}")
    print(f"seed by seed, FD less the VAE's {Estimate.of(rows[:, 3] - rows[:, 0])}")
    opt.record("vae_gan", {"Fréchet distance, VAE/GAN": rows[:, 3], "VAE": rows[:, 0], "seed by seed": rows[:, 3] - rows[:, 0],
                           "largest gradient where it is stopped": float(silent(np.random.default_rng(opt.seed)))},
               accepted, data=opt.data, seeds=seeds)


def accepted(found):
    """What is asked of it beside the VAE of its size and steps."""
    less = found["seed by seed"]
    return {"a Fréchet distance more than two standard errors below the VAE's": -less.mean > 2 * less.standard_error,
            "no gradient where the paper stops it": found["largest gradient where it is stopped"].mean == 0.0}


def draw_samples(models, test, opt):
    fig, axes = plots.figure(1, len(models) + 1, width=12.0, height=4.3)
    pages = {"unseen digits": plots.spread(test, 64)}
    pages |= {name: to_numpy(model.sample(64, opt.device.rng(opt.seed))) for name, model in models.items()}
    for ax, (name, images) in zip(axes, pages.items()):
        plots.show_page(ax, plots.mosaic(images, (28, 28), 8), name, like=test)
    return fig


# %% [markdown]
# ## A discriminator that is too good
#
# The same with a discriminator that learns thirty times as fast.  It is soon sure of itself, and the surer it is, the less it says
# about *how* an image is wrong, only that it is: $-\log D(\tilde x)$, which the decoder goes down, goes up and up.  That is the curve to watch.
# A remedy: pause whoever is ahead.  At $D = \frac12$ the discriminator's loss is $3 \log 2 = 2.08$ nats; with `margin=0.7` it waits
# whenever the step before had a loss below 1.38, and the decoder whenever it was above 2.78.

# %%
def draw_games(games):
    fig, (left, right) = plots.figure(1, 2, width=9.0, height=3.4)
    for (name, history), colour in zip(games.items(), plots.COLOURS):
        epochs = [record["epoch"] for record in history]
        left.plot(epochs, [record["train_game"] for record in history], color=colour, label=name)
        right.plot(epochs, [record["train_fooled"] for record in history], color=colour, label=name)
    left.axhline(EVEN, color="black", ls="--", lw=1, label="D = ½ everywhere")
    right.axhline(2.0 * math.log(2.0), color="black", ls="--", lw=1)
    left.set(xlabel="epoch", ylabel="nats", title="the discriminator's loss, −L_GAN")
    right.set(xlabel="epoch", title="the decoder's, −log D of two made images")
    left.legend(fontsize=8)
    return fig


# %% [markdown]
# ## Arithmetic
#
# The mean code of all 4s is a place in latent space.  The difference of two such places is a direction, "from a 4 to a 9".
# Add it to the code of *one* 4, and the decoder makes a 9 of it, in the same hand.

# %%
def draw_arithmetic(model, digits, labels, test, test_labels, classes=(0, 3, 4, 5, 8)):
    def codes(images):
        return to_numpy(model.encode(model.device.asarray(images, dtype=model.dtype))[0])

    centres = {c: codes(digits[labels == c]).mean(axis=0) for c in range(10)}
    rows = []
    for c in classes:
        image = test[test_labels == c][0]
        z = codes(image[None])[0]
        moved = np.array([z + centres[other] - centres[c] for other in range(10)])
        rows += [image[None], to_numpy(model.decode(model.device.array(moved, dtype=model.dtype)))]
    return plots.image_grid(np.concatenate(rows), (28, 28), columns=11, like=test,
                            title="left, a digit; then its code, moved from its class to 0, 1, …, 9")


# %%
def main(argv=None):
    arguments = parser("ch29", __doc__, epochs=60)
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    arguments.add_argument("--network", choices=("mlp", "conv"), default="mlp", help="fully connected, or convolutional")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(f"ours and minivae's differ by at most {checked(rng):.0e}")
    print(f"after one network's loss was pulled back, the largest gradient of the others is {silent(rng)}\n")
    dataset = opt.digits()
    digits, test = dataset.train[:300] if opt.quick else dataset.train, plots.spread(dataset.test, 100 if opt.quick else 1000)
    if args.seeds > 1:
        over_seeds(digits, test, opt, args.network, args.seeds)
        return

    fig, off = draw_judges(rng)
    print(f"the learned discriminator of two Gaussians is {off:.3f} from p / (p + q), on average over x")
    opt.save(fig, "judges", alt="Left, two bells, the real one wide, the made one narrow; p / (p + q) falls where the made one is, and "
             "the learned curve lies on it. Right, two derivatives against the logit: one is zero on the left, the other on the right.")
    how = {"seed": opt.seed, "network": args.network}
    vae, _ = train(digits, opt, **how, game=False, progress=not opt.quick)
    model, history = train(digits, opt, **how, progress=not opt.quick)
    models = {"VAE": vae, "VAE/GAN": model}
    found = {name: quality(each, test, opt.seed) for name, each in models.items()}
    print(f"{'':10} {'FD':>8} precision   recall")
    for name, q in found.items():
        print(f"{name:10} {q.frechet:8.2f} {q.precision:9.2f} {q.recall:8.2f}")
    opt.save(draw_samples(models, test, opt), "samples", alt="Three pages of 64: unseen digits; digits drawn by the VAE, many of them "
             "soft blots; drawn by the VAE/GAN, with strokes as hard as those of the data, some of them no digits.")

    short = 1 if opt.quick else max(1, opt.epochs // 3)
    games = {"as above": history[:short],
             "discriminator 30 times as fast": train(digits, opt, **how, discriminator=6e-3, epochs=short, progress=False)[1],
             "the same, whoever is ahead waits": train(digits, opt, **how, discriminator=6e-3, margin=0.7, epochs=short,
                                                       progress=False)[1]}
    for name, records in games.items():
        print(f"{name:34} after {short} epochs: −L_GAN {records[-1]['train_game']:.2f}, the decoder's loss {records[-1]['train_fooled']:.2f}")
    opt.save(draw_games(games), "games", alt="Two plots against epochs. With a fast discriminator its loss falls furthest below that of a coin, "
             "and the decoder's rises and rises; with pauses both stay nearer to those of a slow one.")
    opt.save(draw_arithmetic(model, digits, dataset.train_labels[:len(digits)], dataset.test, dataset.test_labels), "arithmetic",
             alt="Five rows; on the left an unseen digit, then ten images: its code, moved to the class of each digit.")

    one, two = (q.frechet for q in found.values())
    fast, paused = (list(games.values())[i][-1]["train_fooled"] for i in (1, 2))
    print(f"\nSeen: the Fréchet distance to unseen digits is {one:.2f} for the VAE and {two:.2f} for the VAE/GAN of its size and steps. "
          f"With a\ndiscriminator 30 times as fast the decoder's loss is {fast:.2f} nats after {short} epochs, and {paused:.2f} if whoever is "
          "ahead waits.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  $\gamma = 0.01$, then 100 (`VAEGANConfig.build(gamma=…)`).  Which player does the decoder listen to, and how do
#    precision and recall tell it?
# 2. *Break this.*  In `minivae/variants/vae_gan.py` let `heard_by_encoder` call `pull_made` without `need_dp=False`.  What becomes of the
#    features, and of $\mathcal L_\text{like}$?  Which test says so?
# 3. *Derive this.*  Put (3) into the average of (1) with one made image, and show that what the decoder goes down is
#    $2\, \mathrm{JS}(p, q) - \log 4$, with the Jensen–Shannon divergence $\mathrm{JS} = \frac12 \mathrm{KL}(p \,\|\, m) + \frac12 \mathrm{KL}(q \,\|\, m)$,
#    $m = \frac12 (p + q)$.  What is it, and what is its gradient, if $p$ and $q$ nowhere overlap?
