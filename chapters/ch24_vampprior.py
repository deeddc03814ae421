"""Chapter 24 · The VampPrior.

The question     Which prior is best for a given encoder, and why not take it?
What is new      the aggregated posterior, and what it costs to use it; a prior made of the encoder's own answers to images
                 that are learned; the pullback that reaches the encoder a second time, and those images through it.
What you'll see  a prior that training images like and unseen ones do not; N(0, I), a mixture of Gaussians and the
                 VampPrior with the same network and steps, image by image; pseudo-inputs; densities in the plane.

    python chapters/ch24_vampprior.py                            4,000 digits, two minutes
    python chapters/ch24_vampprior.py --seeds 5                  the table over seeds
    python chapters/ch24_vampprior.py --data binarized_mnist --epochs 5 --components 200        minutes
    minivae train --data binarized_mnist --hidden 300 300 --latents 40 --prior vamp --components 500 --warm-up 100
            --batch-size 100 --lr 5e-4 --epochs 2000             nearly the paper's size (its layers are gated): days
"""

# %% [markdown]
# # 24 · The VampPrior
#
# The prior of a VAE is $\mathcal N(0, I)$ because that is easy, not because codes lie like that.  Which prior would be
# best?  Average the ELBO over the $N$ training images, and look for $p(z)$ in it:
#
# $$ \frac1N \sum_n \mathrm{ELBO}(x_n) = \frac1N \sum_n \mathbb E_{q(z|x_n)}[\log p(x_n|z)] + \frac1N \sum_n H[q(z|x_n)]
#    + \int \bar q(z) \log p(z)\, dz, \qquad \bar q(z) = \frac1N \sum_n q(z \mid x_n) . \tag{1} $$
#
# It is in the last term alone, and there the data are only seen through the **aggregated posterior** $\bar q$: what the
# encoder draws when it is shown all images.  That term is $-H[\bar q] - \mathrm{KL}(\bar q \,\|\, p)$, and a KL is at least 0:
#
# $$ p^*(z) = \bar q(z), \qquad \text{and any other prior costs } \mathrm{KL}(\bar q \,\|\, p) \text{ nats an image.} \tag{2} $$
#
# So why not take it?  *It costs* $N$ encoders for every step.  And *it remembers*: the sum in $\bar q(z)$ holds the image's
# own term, so
#
# $$ \bar q(z) \ge \tfrac1N\, q(z \mid x_n) \quad\Longrightarrow\quad \mathrm{KL}(q(z \mid x_n) \,\|\, \bar q) \le \log N
#    \quad\text{for the $N$ training images, and for no others.} \tag{3} $$
#
# However sharp the encoder's answers become, they cost a training image no more than $\log N$, the name of its place in the
# list.  Unseen images have no place in it.
#
# Tomczak and Welling (2018) let $K \ll N$ **pseudo-inputs** stand for the data, and learn them with everything else:
#
# $$ p(z) = \frac1K \sum_{k=1}^K q(z \mid u_k), \qquad u_k \in [0, 1]^X, \tag{4} $$
#
# a *variational mixture of posteriors*.  Its components are not free Gaussians (that rival is here, too): each is where the
# encoder puts an image, so the prior moves along with the encoder, and has $K X$ parameters whatever the network is.

# %%
import math
import time
import tracemalloc

import numpy as np

from minivae import plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.distributions import gaussian_log_prob, gaussian_mixture_log_prob, standard_normal_log_prob
from minivae.evaluation import Estimate, evaluate, latent_variances, log_likelihoods
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Linear, cosine, mlp
from minivae.parts import VampPrior, WeightedKL, warm_up
from minivae.training import fit
from minivae.vae import Encoder
from minivae.variants import VAEConfig

PRIORS = {"N(0, I)": "standard", "mixture of Gaussians": "mixture", "VampPrior": "vamp"}
BATCH, LATENTS = 100, 40


# %% [markdown]
# ## By hand
#
# Let $\ell_k = \log q(z \mid u_k)$ and $r_k = e^{\ell_k} / \sum_j e^{\ell_j}$, the *responsibility* of pseudo-input $k$ for $z$.
# Then $\log p(z) = \log \sum_k e^{\ell_k} - \log K$, with $\log K$ *outside* of the sum, so $\partial \log p / \partial \ell_k = r_k$, and
#
# $$ \frac{\partial \log p}{\partial \mu_k} = r_k\, \frac{z - \mu_k}{\sigma_k^2}, \qquad
#    \frac{\partial \log p}{\partial \log \sigma_k^2} = \frac{r_k}2 \left( \frac{(z - \mu_k)^2}{\sigma_k^2} - 1 \right), \qquad
#    \frac{\partial \log p}{\partial z} = -\sum_k r_k\, \frac{z - \mu_k}{\sigma_k^2} . \tag{5} $$
#
# These are cotangents of the encoder's outputs for the inputs $u_k$, and go down through it like any others: its weights
# get a gradient (*a second one*, beside that of the data: derivatives add), and so do its inputs.  At the bottom
# $u = \min(\max(a, 0), 1)$ of a free parameter $a$, whose derivative is 1 inside and 0 where it was clipped.

# %%
def vamp_log_prob(z, a, W, b, Wm, bm, Wv, bv):        # z (B, Z), a (K, X): an encoder of one tanh layer -> (B,)
    """log (1/K) Σₖ N(z; μ(uₖ), σ²(uₖ))"""
    u = np.clip(a, 0.0, 1.0)
    h = np.tanh(u @ W + b)
    mean, logvar = h @ Wm + bm, h @ Wv + bv           # q(z|uₖ), (K, Z)
    off = z[:, None] - mean                           # (B, K, Z)
    squares = off**2 * np.exp(-logvar)
    each = -0.5 * (squares + logvar + np.log(2 * np.pi)).sum(axis=2)                  # ℓₖ, (B, K)
    top = each.max(axis=1, keepdims=True)
    e = np.exp(each - top)
    total = e.sum(axis=1, keepdims=True)

    def pullback(dlog):
        r = (dlog[:, None] * e / total)[:, :, None]                                   # dlog · rₖ
        dmean = r * off * np.exp(-logvar)
        dz, dmean = -dmean.sum(axis=1), dmean.sum(axis=0)
        dlogvar = 0.5 * (r * (squares - 1.0)).sum(axis=0)
        dh = (dmean @ Wm.T + dlogvar @ Wv.T) * (1.0 - h**2)                           # through the encoder, …
        da = dh @ W.T * ((a > 0) & (a < 1))                                           # … into the pseudo-inputs
        return (dz, da, u.T @ dh, dh.sum(axis=0), h.T @ dmean, dmean.sum(axis=0), h.T @ dlogvar, dlogvar.sum(axis=0))

    return (top + np.log(total / len(a)))[:, 0], pullback


def same_as_library(z, a, W, b, Wm, bm, Wv, bv):
    """The largest difference between our value and gradients and those of minivae's VampPrior."""
    rng = np.random.default_rng(0)
    encoder = Encoder(mlp(*W.shape, rng=rng, activation="tanh", last=True), Linear(*Wm.shape, rng=rng),
                      Linear(*Wv.shape, rng=rng))
    prior = VampPrior(encoder, Wm.shape[1], a)
    parameters = [prior.raw, *encoder.parameters().values()]                          # in the order of our arguments
    for p, value in zip(parameters, (a, W, b, Wm, bm, Wv, bv), strict=True):
        p.value[...] = value
    (ours, pull_ours), (theirs, pull_theirs) = vamp_log_prob(z, a, W, b, Wm, bm, Wv, bv), prior.log_prob(z)
    d_ours, dz = pull_ours(ours), pull_theirs(ours)
    return max(np.abs(x - y).max() for x, y in zip((ours, *d_ours), (theirs, dz, *(p.grad for p in parameters))))


# %% [markdown]
# (The library never makes an array of size $B K Z$: expanding the square turns all distances into two matrix products.)
#
# There is no closed form for the KL to a mixture.  It is estimated by the draw itself, $\log q(z \mid x) - \log p(z)$, whose
# mean is the KL: noisier, and the only change in the loss.
#
# ## The best prior, for those that it knows
#
# First a VAE with $\mathcal N(0, I)$.  Its decoder and encoder stay as they are; only the price of its codes is asked for, with
# the standard normal and with the aggregated posterior of the training images as prior: by (2) the best there is, *on
# average over the training images*.

# %%
def prices(vae, images, known, rng):
    """E_q[log q(z|x) − log p(z)] of every image, under N(0, I) and under q̄ of the known images        -> 2 × (N,)"""
    device, dtype = vae.device, vae.dtype
    mean, logvar = vae.encode(device.array(images, dtype=dtype))
    centres, spreads = vae.encode(device.array(known, dtype=dtype))
    z = mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=dtype)
    log_q = gaussian_log_prob(z, mean, logvar)[0]
    log_best = gaussian_mixture_log_prob(z, np.zeros_like(centres[:, 0]), centres, spreads)[0]
    return [to_numpy(log_q - log_p).astype(np.float64) for log_p in (standard_normal_log_prob(z)[0], log_best)]


def memory(vae, train, test, opt):
    """What codes of training and of unseen images cost, in nats: Estimates by (images, prior)."""
    known = train[:10_000]                            # all, of the default data
    found = {}
    for name, images in (("training", plots.spread(known, 1000)), ("unseen", plots.spread(test, 1000))):
        prices_of = prices(vae, images, known, opt.device.rng([opt.seed, 24]))
        for prior, price in zip(("N(0, I)", "aggregated"), prices_of):
            found[name, prior] = Estimate.of(price)
        print(f"{name:8} images: a code costs {found[name, 'N(0, I)']} nats under N(0, I), "
              f"{found[name, 'aggregated']} under the aggregated posterior")
    print(f"(log N = {math.log(len(known)):.2f}: what it can cost an image of the list at most, on average)")
    return found


# %% [markdown]
# ## Three priors
#
# The same network, the same images in the same order, the same number of steps, and KL warm-up for all.  The pseudo-inputs
# start at training images, drawn in a little from 0 and 1: outside of them the clip is flat, and what starts there would
# never move.  The paper also finds more **active units**, latents whose mean varies over images (Burda et al. 2015): where
# $\mathcal N(0, I)$ silences them in the course of a long training.  After a short one with warm-up all may still speak.

# %%
def train(images, prior, opt, args, seed, latents=LATENTS, epochs=None):
    epochs = epochs or opt.epochs
    steps = epochs * -(-len(images) // BATCH)
    config = VAEConfig(images.shape[1], (40,) if opt.quick else (200,), latents, "tanh", prior=prior, components=args.components)
    rising = round(args.warm_up * steps)              # steps in which the KL's weight goes from 0 to 1
    vae = config.build(seed=seed, on=opt.device, images=images, optimizer=Adam(cosine(2e-3, steps=steps)),
                       objective=WeightedKL(warm_up(rising)) if rising else None)
    fit(vae, images, epochs=epochs, batch_size=BATCH, binarize=True, seed=seed, progress=not opt.quick)
    return vae


def compare(train_images, test, opt, args, seed):
    """Of every prior the model, the bounds and NLLs of the test images, and the variance of its latents' means."""
    found = {}
    for name, prior in PRIORS.items():
        print(f"\nseed {seed}, {name}: {opt.epochs} epochs")
        vae = train(train_images, prior, opt, args, seed)
        nll = -log_likelihoods(vae, test, samples=20 if opt.quick else 500, seed=seed)
        found[name] = vae, evaluate(vae, test, samples=5, seed=seed), nll, to_numpy(latent_variances(vae, test))
        print(f"{found[name][1]}\nNLL {Estimate.of(nll)}, better than N(0, I) by {gap(found, name)} nats, image by image")
    return found


def gap(found, name, other="N(0, I)"):
    """By how many nats the NLL is lower than another's, image by image"""
    return Estimate.of(found[other][2] - found[name][2])


def table(runs):
    """One line a prior: of one run with its standard error over images, of several with that over seeds."""
    over = "images" if len(runs) == 1 else f"{len(runs)} seeds"
    print(f"\n± over {over:24} {'ELBO':>15} {'NLL':>15} {'better than N(0, I)':>20} {'active units':>13}")
    for name in PRIORS:
        if len(runs) == 1:
            (_, bound, nll, variances), = (run[name] for run in runs)
            columns = bound.elbo, Estimate.of(nll), gap(runs[0], name), f"{(variances > 0.01).sum()}"
        else:
            several = [(r[name][1].elbo.mean, r[name][2].mean(), gap(r, name).mean) for r in runs]
            units = [(r[name][3] > 0.01).sum() for r in runs]
            columns = *(Estimate.of(np.array(c)) for c in zip(*several)), f"{np.mean(units):.1f}"
        print(f"{name:31} {columns[0]!s:>15} {columns[1]!s:>15} {columns[2]!s:>20} {columns[3]:>13}")


def cost(images, opt):
    """What a step costs: milliseconds, and MB beyond the model itself, for K of 500 as in the paper."""
    print("\na step of 100 images, K = 500")
    for name, prior in PRIORS.items():
        vae = VAEConfig(images.shape[1], (200,), LATENTS, "tanh", prior=prior, components=500).build(on=opt.device)
        x, rng = opt.device.array(plots.spread(images, BATCH), dtype=vae.dtype), opt.device.rng(0)
        for _ in range(3):
            vae.train_step(x, rng)
        took = []
        for _ in range(3 if opt.quick else 20):
            start = time.perf_counter()
            to_numpy(vae.train_step(x, rng)["elbo"])
            took.append(time.perf_counter() - start)
        tracemalloc.start()
        vae.train_step(x, rng)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:22} {1e3 * np.median(took):6.1f} ms   {peak / 1e6:5.1f} MB   {vae.arena.value.size:,} parameters")


# %% [markdown]
# ## In the plane
#
# With two latents the priors can be drawn.  What the standard normal has for all digits together, the other two spread over
# the places where codes are.

# %%
def draw_planes(planes, test, labels):
    fig, axes = plots.figure(1, len(planes), width=10.0, height=3.9)
    for ax, (name, vae) in zip(axes, planes.items()):
        codes = to_numpy(vae.encode(vae.device.array(test, dtype=vae.dtype))[0])
        low, high = np.quantile(codes, 0.005, axis=0) - 0.7, np.quantile(codes, 0.995, axis=0) + 0.7
        across, up = (np.linspace(a, b, 200) for a, b in zip(low, high))
        grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
        with vae.still():
            log_p = to_numpy(vae.prior.log_prob(vae.device.array(grid, dtype=vae.dtype))[0]).reshape(200, 200)
        ax.imshow(np.exp(0.25 * (log_p - log_p.max())), extent=(*across[[0, -1]], *up[[0, -1]]), origin="lower",
                  cmap="Greys", aspect="auto", vmin=0, vmax=1.4)
        ax.scatter(*codes.T, s=4, c=[plots.TEN[int(k) % 10] for k in labels], linewidths=0, alpha=0.7)
        if name == "VampPrior":
            ax.plot(*to_numpy(vae.prior.mixture()[1]).T, "k+", markersize=4, mew=0.6)
        ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel="$z_1$", title=name)
        ax.grid(False)
    axes[0].set_ylabel("$z_2$")
    return fig


def draw_pseudo_inputs(vae, shape, n=60):
    """The first pseudo-inputs, and below each what the decoder makes of its place in latent space."""
    u, decoded = to_numpy(vae.prior.pseudo_inputs())[:n], to_numpy(vae.decode(vae.prior.mixture()[1][:n]))
    return plots.reconstructions(u, decoded, shape, title="above: a pseudo-input; below: decoded from the middle of its "
                                 "component")


def draw_units(found):
    fig, ax = plots.figure(width=6.4, height=3.6)
    for (name, (_, _, _, variances)), colour, marker in zip(found.items(), plots.COLOURS, "os^"):
        ax.semilogy(np.arange(1, len(variances) + 1), np.sort(variances)[::-1], marker, ls="-", lw=1, markersize=4,
                    color=colour, label=name)
    ax.axhline(0.01, color="black", ls="--", lw=1, label="in use: above")
    ax.set(xlabel="latent, sorted", ylabel="variance of its mean over images", title="which latents are in use")
    ax.legend(fontsize=9)
    return fig


# %%
def main(argv=None):
    p = parser("ch24", __doc__, epochs=25)
    p.add_argument("--components", type=int, default=100, help="Gaussians of the mixture, and pseudo-inputs (default: 100)")
    p.add_argument("--seeds", type=int, default=1, help="how many runs, from --seed on, for the table (default: 1)")
    p.add_argument("--warm-up", type=float, default=1 / 3, help="share of the steps in which the KL's weight rises to 1, "
                   "0 for none (default: a third)")
    opt, args = options(p, argv)
    if not 0.0 <= args.warm_up <= 1.0:
        p.error(f"--warm-up: got {args.warm_up}, expected a share from 0 to 1")
    for name in ("components", "seeds"):
        if getattr(args, name) < 1:
            p.error(f"--{name}: got {getattr(args, name)}, expected at least 1")
    rng = np.random.default_rng(opt.seed)
    n, args.components = rng.standard_normal, 5 if opt.quick else args.components
    inputs = (n((4, 2)), rng.uniform(-0.2, 1.2, (3, 6)), n((6, 5)), n(5), n((5, 2)), n(2), 0.5 * n((5, 2)), n(2))
    print(gradcheck(vamp_log_prob, *inputs, name="log p(z) of a VampPrior, with its encoder and pseudo-inputs"))
    print(f"our value and gradients and minivae's differ by at most {same_as_library(*inputs):.0e}\n")

    dataset = opt.images()
    images = dataset.train[:300] if opt.quick else dataset.train
    test = plots.spread(dataset.test, 40 if opt.quick else 500)
    test = (np.random.default_rng(0).random(test.shape) < test).astype(np.float32)
    runs = [compare(images, test, opt, args, seed) for seed in range(opt.seed, opt.seed + args.seeds)]
    first = runs[0]
    print()
    found = memory(first["N(0, I)"][0], images, test, opt)
    table(runs)
    if args.seeds > 1:
        means = {f"NLL, {name}": [run[name][2].mean() for run in runs] for name in PRIORS}
        less = {f"less {other}": [gap(run, "VampPrior", other).mean for run in runs] for other in list(PRIORS)[:2]}
        opt.record("vampprior", means | less, accepted, data=dataset.name, seeds=args.seeds)
    cost(images, opt)
    pictures(first, images, dataset, opt, args)
    seen(runs, found)


def accepted(found):
    """What is asked of the VampPrior."""
    less = found["less N(0, I)"]
    return {"an NLL more than three standard errors below that of N(0, I)": less.mean > 3 * less.standard_error}


def pictures(first, images, dataset, opt, args):
    opt.save(draw_pseudo_inputs(first["VampPrior"][0], dataset.image_shape), "pseudo_inputs", alt="Rows of pseudo-inputs, "
             "which look like smudged digits, and below each what the decoder makes of the middle of its component: a digit.")
    opt.save(draw_units(first), "active_units", alt="The variance of each latent's posterior mean over images, sorted, on a "
             "logarithmic axis, and a dashed line at 0.01 above which a latent is in use: " + ", ".join(
                 f"{(v > 0.01).sum()} for {name}" for name, (_, _, _, v) in first.items()) + ".")
    test, labels = plots.spread(dataset.test, 1000), dataset.test_labels
    labels = np.zeros(len(test)) if labels is None else plots.spread(labels, 1000)
    print("\nthe same with two latents")
    planes = {name: train(plots.spread(images, 4000), prior, opt, args, opt.seed, latents=2,
                          epochs=1 if opt.quick else 15) for name, prior in PRIORS.items()}
    opt.save(draw_planes(planes, test, labels), "planes", alt="Three latent planes: the density of the prior in grey, the codes "
             "of unseen images as dots, coloured by digit. N(0, I) is one round cloud; the mixture and the VampPrior have "
             "their mass where the codes are, the VampPrior in one small Gaussian around each cross.")


def seen(runs, found):
    better, rival = gap(runs[0], "VampPrior"), gap(runs[0], "VampPrior", "mixture of Gaussians")
    units = [int((runs[0][name][3] > 0.01).sum()) for name in ("N(0, I)", "VampPrior")]
    print(f"\nSeen: the best prior of all would make a training image's code {found['training', 'aggregated']} nats dear "
          f"instead of\n{found['training', 'N(0, I)']}, and an unseen one's {found['unseen', 'aggregated']}. With as many steps "
          f"of the same network the VampPrior's NLL\non unseen images is {better} nats below that of N(0, I), image by "
          f"image ({better.mean / better.standard_error:.1f} standard errors),\nand {rival} below that of as many free "
          f"Gaussians; {units[1]} of {LATENTS} latents are in use, under N(0, I) {units[0]}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  `--components 10`, 50, 500: where does the gap to $\mathcal N(0, I)$ stop growing, and which of the two
#    mixtures needs fewer components?  Then `--warm-up 0`: how much of the gap is left, and why does a prior that can go to
#    wherever the codes are need warm-up more?
# 2. *Break this.*  Start the pseudo-inputs just outside, `VampPrior(encoder, Z, raw)` with `raw` drawn from
#    $\mathcal N(-0.05, 0.01^2)$.  What is the gradient of `raw`, how many different components has $p(z)$, and what is it
#    that still learns?
# 3. *Derive this.*  Prove (3), and that the average over the training images of $\mathrm{KL}(q(z \mid x_n) \,\|\, \bar q)$ is the
#    information $I(n; z)$ that a code has about its image's place in the list.  When is it $\log N$?  Conclude that with
#    $p = \bar q$ an encoder and a decoder with enough weights reach an average ELBO of $-\log N$ nats on $N$ different black
#    and white images.  What is $\log p(x)$ of an unseen one then?
