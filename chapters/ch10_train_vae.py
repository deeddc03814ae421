"""Chapter 10 · The full VAE.

The question     Can a machine learn to write digits that nobody wrote?
What is new      nothing: every piece is already derived.  Here they become one training step.
What you'll see  a VAE trained on real handwritten digits, its bound in nats, digits it invents, what
                 it makes of digits it never saw, a map of the latent plane, a page to drag through it, and
                 which latents it uses.

    python chapters/ch10_train_vae.py                        5,000 digits, about a minute
    python chapters/ch10_train_vae.py --data mnist --paper --epochs 50    the AEVB paper's size
    python chapters/ch10_train_vae.py --resume out/ch10      go on after Ctrl-C
"""

# %% [markdown]
# # 10 · The full VAE
#
# For every image we climb the bound of chapter 7,
#
# $$ \mathrm{ELBO}(x) = \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}\big(q(z \mid x) \,\Vert\, \mathcal N(0, I)\big) , $$
#
# where an **encoder** computes $q(z \mid x) = \mathcal N(\mu, \mathrm{diag}\, e^{\ell})$, one draw $z = \mu + \sigma \varepsilon$ (chapter 9)
# stands for the average, a **decoder** computes the logits of $p(x \mid z)$ (chapter 5), and the KL is known in closed form
# (chapter 8).  Both networks are chains (chapter 3), and Adam moves them (chapter 4).
#
# What repairs the holes of chapter 6 is that the encoder no longer gives a point.  It gives a cloud, and the decoder
# must make sense of all of it; and the KL pulls the clouds together until they fill $\mathcal N(0, I)$, so that we know
# where to draw.

# %%
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from minivae import plots
from minivae.backend import device
from minivae.chapter import options, parser
from minivae.distributions import bernoulli_nll, gaussian_kl, reparameterize
from minivae.evaluation import (
    Estimate,
    active_units,
    evaluate,
    importance_weighted_bound,
    log_likelihoods,
    terms_by_image,
)
from minivae.explorer import explorer
from minivae.gradcheck import gradcheck
from minivae.nn import Arena, Layer, Linear, mlp
from minivae.runs import CHECKPOINT, free_folder
from minivae.training import Interrupted, Recipe, read_recipe
from minivae.variants import VAEConfig

# %% [markdown]
# ## One step, written out
#
# Downwards: the maths.  Upwards: the same names, in reverse.  `mean` and `logvar` are each used twice, by the draw and
# by the KL, so their derivatives add; and so are the trunk's features `h`, by the two heads.

# %%
class SmallVAE(Layer):
    def __init__(self, pixels, hidden, latents, rng):
        self.trunk = mlp(pixels, hidden, rng=rng, activation="tanh", last=True)
        self.mean, self.logvar = Linear(hidden, latents, rng=rng), Linear(hidden, latents, rng=rng)
        self.decoder = mlp(latents, hidden, pixels, rng=rng, activation="tanh")

    def loss(self, *, x, eps):                                   # x (B, X), eps (B, Z) -> (B,), nats
        h, pull_trunk = self.trunk(x)
        mean, pull_mean = self.mean(h)
        logvar, pull_logvar = self.logvar(h)                     # q(z|x)
        z, pull_sample = reparameterize(mean, logvar, eps=eps)
        logits, pull_decoder = self.decoder(z)                   # p(x|z)
        nll, pull_nll = bernoulli_nll(logits, x=x)
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dloss):
            dmean_kl, dlogvar_kl = pull_kl(dloss)
            dz = pull_decoder(pull_nll(dloss))
            dmean, dlogvar = pull_sample(dz)
            dh = pull_mean(dmean + dmean_kl) + pull_logvar(dlogvar + dlogvar_kl)
            pull_trunk(dh, need_dx=False)

        return nll + kl, pullback                                # −ELBO


def same_as_library(seed):
    """The largest difference between the gradients of our step and those of minivae.vae.VAE."""
    rng = np.random.default_rng(seed)
    ours = SmallVAE(6, 5, 2, np.random.default_rng(seed))
    arena = Arena(ours.parameters(), device("cpu"), np.float64)
    library = VAEConfig(6, (5,), 2, "tanh").build(dtype=np.float64)
    names = {name: f"encoder.{name}" if not name.startswith("decoder") else name for name in arena.parameters}
    library.arena.load({names[name]: a for name, a in arena.arrays().items()})
    x, eps = rng.random((4, 6)), rng.standard_normal((4, 2))
    loss, pullback = ours.loss(x=x, eps=eps)
    pullback(np.ones(4))
    (nll, kl), pull_library = library.elbo_terms(x=x, eps=eps[None])
    pull_library(np.ones(4), np.ones(4))
    theirs = library.arena.parameters
    return max(np.abs(loss - (nll + kl)).max(),
               *(np.abs(p.grad - theirs[names[name]].grad).max() for name, p in arena.parameters.items()))


# %% [markdown]
# ## A plane to look at
#
# More latents make better digits, two can be drawn.  Both are trained.  In the map every point of the plane is
# decoded, and the grid is even in probability, $z = \Phi^{-1}(u)$: each picture stands for the same share of the prior.
# Pictures stand still, so the decoder of the plane also becomes a page, `explorer.html`: drag, and it runs in the browser.
#
# The Bernoulli likelihood is about black and white.  So a pixel of grey 0.8 is ink in eight of ten batches: the images
# are drawn anew each time, which also keeps the network from learning 4,000 digits by heart.
#
# The decoder's last bias starts at the log-odds of the average image: what chapter 5 could learn without any latent
# need not be learned again.  (Start it at zero, and while the decoder learns the average, the KL switches latents off.)

# %%
def recipes(args, opt):
    """The run for the samples, and the flat one for the map."""
    common = {"data": opt.data, "seed": opt.seed, "epochs": opt.epochs, "batch_size": 64}
    if args.gaussian:
        common["likelihood"] = "gaussian_shared"
    if opt.quick:
        return Recipe(**common, hidden=(32,), latents=20), Recipe(**common, hidden=(32,), latents=2)
    common |= {"schedule": "cosine", "lr": 2e-3, "binarize": not args.gaussian}
    if args.paper:                                               # Kingma and Welling 2013, section 5: 500 units
        common |= {"batch_size": 100, "valid": 0.0}
        return Recipe(**common, hidden=(500,), latents=20), Recipe(**common, hidden=(500,), latents=2)
    return Recipe(**common, hidden=(500, 250), latents=8), Recipe(**common, hidden=(500, 250), latents=2)


def pictures(opt, digits, test, vae, flat, history):
    rng, shape = opt.device.rng(opt.seed), digits.image_shape
    few = opt.device.asarray(plots.spread(test, 48))
    opt.save(plots.learning_curves(history), "curves", alt="ELBO, −log p(x|z) and KL in nats per image over the epochs, for "
             "training and validation images: the bound rises and flattens, the validation curve a little below.")
    opt.save(plots.image_grid(vae.sample(100, rng), shape, title="drawn from the prior: nobody wrote these"), "samples",
             alt="A hundred images that the model drew: most can be read as digits.")
    opt.save(plots.reconstructions(few, vae.reconstruct(few, rng), shape,
                                   title="above: images it never saw; below: what it made of them"), "reconstructions",
             alt="Rows of unseen images, and below each row its reconstructions: the same digits, a little smoother.")
    opt.save(plots.interpolation(vae, few[:8], few[-8:], shape, title="from one unseen image to another"),
             "interpolation", alt="Eight rows of images; in each one digit turns into another in small steps.")
    opt.save(plots.manifold(flat, shape, title="the latent plane, evenly in probability"), "manifold",
             alt="Twenty by twenty decoded points of the latent plane: neighbouring images differ little, and regions of one "
                 "digit flow into the next.")
    if digits.test_labels is not None:
        opt.save(plots.latent_scatter(flat.encode(opt.device.asarray(test))[0], digits.test_labels,
                                      title="where unseen images lie; dashed: 95% of the prior"), "latents",
                 alt="Unseen images as points of the latent plane, coloured by digit: the digits form overlapping regions that "
                     "fill the dashed circle without large holes.")
    opt.save_page(explorer(flat, test, digits.test_labels, shape, title="The latent plane of chapter 10"), "explorer",
                  alt="the latent plane: drag through it, and see what the decoder makes of each point")


# %%
def arguments():
    p = parser("ch10", __doc__, epochs=60)
    p.add_argument("--paper", action="store_true",
                   help="one hidden layer of 500 units, 20 latents, batches of 100 (AEVB); give --epochs 50")
    p.add_argument("--gaussian", action="store_true", help="Gaussian likelihood with a learned σ (for grey images)")
    p.add_argument("--resume", type=Path, help="the --out folder of an interrupted run")
    p.add_argument("--iw", type=int, default=100, help="samples of the importance-weighted bound (default: 100)")
    return p


def accepted(found):
    """What is asked of it: bounds of more draws are tighter."""
    bounds = [bound.mean for bound in found.values()]
    return {"each bound tighter than the one before": all(a > b for a, b in pairwise(bounds))}


def enter(opt, vae, test, data):
    """Into the ledger: the bound, and tighter ones."""
    few = plots.spread(test, 200)
    found = {"−ELBO": Estimate.of(sum(terms_by_image(vae, few, samples=5)))}
    found |= {f"of {draws} draws": Estimate.of(-log_likelihoods(vae, few, samples=draws)) for draws in (5, 50, 500)}
    opt.record("vae", found, accepted, data=data)


def main(argv=None):
    opt, args = options(arguments(), argv)
    tiny, rng = SmallVAE(6, 5, 2, np.random.default_rng(0)), np.random.default_rng(1)
    print(gradcheck(tiny.loss, parameters=tiny.parameters(), x=rng.random((4, 6)), eps=rng.standard_normal((4, 2)),
                    name="a whole VAE"))
    print(f"our step and minivae's differ by at most {same_as_library(opt.seed):.0e}\n")

    opt.out = args.resume or free_folder(opt.out)
    digits = opt.images()
    print(f"{digits}\nfolder: {opt.out}")
    models, histories = {}, {}
    for name, recipe in zip(("vae", "flat"), recipes(args, opt)):
        run = opt.out / name
        resume = (run / CHECKPOINT).exists()
        recipe = read_recipe(run) if resume else recipe
        print(f"\n{recipe.latents} latents, hidden {recipe.hidden}: {recipe.epochs} epochs")
        try:
            models[name], histories[name] = recipe.train(digits, opt.device, run=run, resume=resume)
        except Interrupted as stop:
            again = [] if args.resume else ["--resume", str(opt.out)]
            print(f"\n{stop}:\n    {shlex.join(['python', *sys.argv, *again])}")
            raise SystemExit(130) from None
        test = recipe.test(digits).x
        print(f"test: {evaluate(models[name], test)}")

    vae = models["vae"]
    print()
    pictures(opt, digits, test, vae, models["flat"], histories["vae"])
    enter(opt, vae, test, digits.name)
    scores = evaluate(vae, test)
    few = plots.spread(test, 1000)
    bound = importance_weighted_bound(vae, few, samples=args.iw, progress=not opt.quick)
    print(f"\nSeen: on {scores.images:,} unseen images the bound is {scores.elbo} nats: {scores.nll} to describe the image "
          f"given its\nlatents, {scores.kl} to say them. With {args.iw} importance samples it tightens to {bound}. "
          f"{active_units(vae, few).sum()} of {vae.latents} latents are in use.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train with 5, 50 and 200 latents.  How many are active, and does the bound care?
# 2. *Break this.*  Average the surprise over pixels instead of summing it, and leave the KL as it is.  What
#    do the samples look like, and how many latents are active?  (You have just chosen β = 784.)
# 3. *Derive this.*  Give the decoder a Gaussian likelihood with one learned $\sigma$ (`--gaussian`).  Show that at its
#    best $\sigma^2$ is the mean squared error, and check it on the trained model.
