"""Chapter 25 · The two-stage VAE.

The question     A VAE reconstructs well and dreams badly.  Whose fault is it?
What is new      a second VAE, that learns where the codes of the first one lie; one bound for both; a distance between
                 what is drawn and what is real.
What you'll see  samples of a VAE, of a Gaussian fitted to its codes, and of the second stage, side by side and measured.

    python chapters/ch25_two_stage.py                               4,000 digits, two minutes
    python chapters/ch25_two_stage.py --seeds 5                     the table of README.md
    minivae train --model two_stage --data mnist --likelihood gaussian_shared --latents 32 --epochs 200
            --first-epochs 100                                      longer: an hour or two
"""

# %% [markdown]
# # 25 · The two-stage VAE
#
# Ask a VAE to repeat an image, and it does.  Ask it for a new one, $z \sim \mathcal N(0, I)$, and it mumbles.  The decoder
# is the same.  So it must be the question: *where* is it asked?
#
# In training it is asked at $z \sim q(z \mid x)$.  Over all images that is the **aggregated posterior**
#
# $$ q(z) = \frac1N \sum_n q(z \mid x_n) , \qquad
#    \frac1N \sum_n \mathrm{KL}\big( q(z \mid x_n) \,\|\, p(z) \big) = I(x; z) + \mathrm{KL}\big( q(z) \,\|\, p(z) \big) , $$
#
# (chapter 12), and nothing but the last term asks it to be $p(z) = \mathcal N(0, I)$.  With a learned noise
# $\gamma = \sigma^2$ (chapter 11) the last term is cheap beside the reconstruction: each code is worth hundreds of nats.
#
# Dai and Wipf (2019) do not repair $q$.  They leave the VAE as it is and learn $q(z)$ with another one:
#
# $$ u \sim \mathcal N(0, I) \;\longrightarrow\; z \sim p_2(z \mid u) \;\longrightarrow\; x \sim p(x \mid z) . $$
#
# *Why should the second do better?*  Images lie near a surface of few dimensions in a space of many, and a density on it is
# not a density in it: a VAE finds the surface ($\gamma \to 0$), but not how images are spread over it.  Codes have no such
# trouble: $q(z \mid x)$ has a width in every direction, the codes fill their space, and a VAE with as many latents as
# numbers can fit any density (they prove it).  That is also why a third stage would have nothing left to do.
#
# ## One bound for both
#
# The two are one model of $x$ with latents $z$ and $u$, and $\log p_2(z) \ge \mathrm{ELBO}_2(z)$, so
#
# $$ \log p(x) \;\ge\; \mathbb E_{q(z \mid x)}\Big[ \log p(x \mid z) - \log q(z \mid x) + \mathrm{ELBO}_2(z) \Big] . $$
#
# With $\mathcal N(0, I)$ in place of the second VAE this is the first one's ELBO.  The difference is what the second stage is
# worth, in nats.  (With a density, nats may have any sign: a likelihood of 784 numbers near their mean, each within
# $\sigma = 0.1$, is far above one.)
#
# ## A network that can also do nothing
#
# The second VAE's networks see their input twice: as it is, and through the hidden layers, $y = [f(x), x]$.  The identity
# is then within reach of a linear layer.  $x$ is used twice, so derivatives add:
#
# $$ dx = \Big(\frac{\partial f}{\partial x}\Big)^{\!\top} dy_{\,\text{first}} + dy_{\,\text{last}} . $$

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, evaluate, frechet_between, sample_quality, terms_by_image
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, cosine, mlp
from minivae.training import fit
from minivae.variants import TwoStageConfig, VAEConfig
from minivae.variants.two_stage import Skip


# %%
def skip(x, W, b):                                    # (B, I) (I, O) (O,) -> (B, O + I)
    """y = [tanh(x W + b), x]"""
    h = np.tanh(x @ W + b)

    def pullback(dy):
        da = dy[:, :h.shape[1]] * (1.0 - h**2)
        return da @ W.T + dy[:, h.shape[1]:], x.T @ da, da.sum(axis=0)          # x was used twice

    return np.concatenate([h, x], axis=1), pullback


def same_as_library(rng):
    """The largest difference between ours and minivae's layer, of the value and of dx."""
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
    layer = Skip(mlp(3, 2, rng=rng, activation="tanh", last=True))
    p = layer.parameters()
    (ours, pull_ours), (theirs, pull_theirs) = skip(x, p["f.0.W"].value, p["f.0.b"].value), layer(x)
    return max(np.abs(ours - theirs).max(), np.abs(pull_ours(dy)[0] - pull_theirs(dy)).max())


# %% [markdown]
# ## How far are samples from images?
#
# A likelihood does not say how samples look.  The **Fréchet distance** does, a little: take features of both, those of a
# classifier of digits; fit a Gaussian to each; and measure how far the two Gaussians are apart,
#
# $$ \mathrm{FD} = \lVert m_1 - m_2 \rVert^2
#    + \operatorname{tr}\Big( C_1 + C_2 - 2 \big(C_1^{1/2} C_2\, C_1^{1/2}\big)^{1/2} \Big) . $$
#
# (The square of the least effort of moving one onto the other.  The root is of a symmetric matrix, by its eigenvectors: the
# root of $C_1 C_2$, which some take, comes out complex by rounding.)  With another network's features this is FID; ours is
# not, and its numbers compare with nothing but each other.  It shrinks as samples grow in number, so all counts are equal.

# %%
def root(C):
    values, vectors = np.linalg.eigh(C)
    return (vectors * np.sqrt(values.clip(0.0))) @ vectors.T


def frechet(m1, C1, m2, C2):
    """FD of two Gaussians, as written above"""
    half = root(C1)
    return ((m1 - m2) ** 2).sum() + np.trace(C1 + C2 - 2.0 * root(half @ C2 @ half))


def two_gaussians(rng):
    """Ours and minivae's on random Gaussians; and a case known by hand: N(0, s²) and N(d, t²) are d² + (s − t)² apart."""
    (A, B), (m1, m2) = rng.standard_normal((2, 5, 5)), rng.standard_normal((2, 5))
    hand = frechet(np.zeros(1), np.full((1, 1), 4.0), np.full(1, 3.0), np.full((1, 1), 1.0))
    return abs(frechet(m1, A @ A.T, m2, B @ B.T) - frechet_between(m1, A @ A.T, m2, B @ B.T)), hand


def train(digits, opt, *, seed, progress=True):
    steps, second = -(-len(digits) // 100), 5 * opt.epochs                      # its networks are small, its task is hard
    size = TwoStageConfig(VAEConfig(784, (30,) if opt.quick else (400,), 5 if opt.quick else 20, "relu", "gaussian_shared"),
                          (30,) if opt.quick else (256, 256))
    model = size.build(seed=seed, on=opt.device, images=digits, first_steps=opt.epochs * steps,
                       optimizers=(Adam(1e-3), Adam(cosine(2e-3, steps=second * steps))))
    fit(model, digits, epochs=opt.epochs + second, batch_size=100, seed=seed, progress=progress)
    return model


def codes_of(model, images, seed):
    """z ~ q(z|x), one for each image"""
    rng, x = model.device.rng(seed), model.device.asarray(images, dtype=model.dtype)
    return to_numpy(model.codes(x=x, eps=rng.standard_normal((len(x), model.latents), dtype=model.dtype))[0])


def dreams(model, digits, n, seed):
    """{where z comes from: n codes}"""
    rng, codes = model.device.rng(seed), codes_of(model, digits, seed)
    fitted = np.random.default_rng(seed).multivariate_normal(codes.mean(axis=0), np.cov(codes.T), n)
    return {"N(0, I): one stage": to_numpy(model.prior.sample(n, rng, dtype=model.dtype)),
            "a Gaussian fitted to the codes": fitted, "a second VAE": to_numpy(model.sample_codes(n, rng))}


def pictures_of(model, z):
    return to_numpy(model.decode(model.device.array(z, dtype=model.dtype))).clip(0.0, 1.0)


def judge(model, digits, test, seed):
    """{where z comes from: the quality of its samples}, and of reconstructions and training images for comparison"""
    n = len(test)
    images = {name: pictures_of(model, z) for name, z in dreams(model, digits, n, seed).items()}
    x = model.device.asarray(test, dtype=model.dtype)
    images["reconstructions"] = to_numpy(model.reconstruct(x, model.device.rng(seed))).clip(0.0, 1.0)
    images["training images"] = plots.spread(digits, n)
    return {name: sample_quality(pages, test) for name, pages in images.items()}


def gain(model, test, seed):
    """The bound of both stages minus the first one's, image by image"""
    (nll, kl), (nll_1, kl_1) = (terms_by_image(m, test, samples=10, seed=seed) for m in (model, model.first))
    return Estimate.of(nll_1 + kl_1 - nll - kl)


def draw_samples(model, digits, test, opt):
    panels = {name: pictures_of(model, z) for name, z in dreams(model, digits, 64, opt.seed).items()}
    x = model.device.asarray(plots.spread(test, 64), dtype=model.dtype)
    panels["reconstructions"] = to_numpy(model.reconstruct(x, model.device.rng(opt.seed)))
    fig, axes = plots.figure(1, 4, width=12.0, height=3.3)
    for ax, (name, images) in zip(axes, panels.items()):
        ax.imshow(plots.mosaic(images, (28, 28), 8), cmap="gray_r", vmin=0.0, vmax=1.0)
        ax.set_axis_off()
        ax.set_title(name if name == "reconstructions" else f"z from {name}", fontsize=10)
    return fig


def draw_codes(model, digits, opt):
    codes, places = codes_of(model, digits, opt.seed), dreams(model, digits, len(digits), opt.seed)
    i, j = np.argsort(-np.abs(((codes - codes.mean(0)) ** 4).mean(0) / codes.var(0) ** 2 - 3.0))[:2]     # the least normal
    fig, axes = plots.figure(1, 4, width=12.0, height=3.3, sharex=True, sharey=True)
    for ax, (name, z), colour in zip(axes, {"the codes of images": codes, **places}.items(), plots.COLOURS):
        ax.plot(z[:1500, i], z[:1500, j], ".", markersize=2.0, alpha=0.5, color=colour)
        ax.set_title(name, fontsize=10)
        ax.set(xlabel=f"latent {i}", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
    axes[0].set_ylabel(f"latent {j}")
    return fig


def over_seeds(digits, test, opt, seeds):
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        model = train(digits, opt, seed=seed, progress=False)
        found = judge(model, digits, test, seed)
        rows.append({name: q.frechet for name, q in found.items()} | {"gain of the bound, nats": gain(model, test, seed).mean})
    print(f"{seeds} seeds: Fréchet distance to {len(test):,} test images")
    table = {name: [row[name] for row in rows] for name in rows[0]}
    for name, values in table.items():
        print(f"{name:32} {Estimate.of(np.array(values))}")
    one, fitted, two, *_ = table.values()
    opt.record("two_stage", {"Fréchet distance, one stage": one, "a fitted Gaussian": fitted, "two stages": two}, accepted,
               data=opt.data, seeds=seeds)


def accepted(found):
    """What is asked of the second stage."""
    return {"under half the Fréchet distance of one stage": found["two stages"].mean < 0.5 * found["Fréchet distance, one stage"].mean}


# %%
def main(argv=None):
    arguments = parser("ch25", __doc__, epochs=40)
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(skip, *(rng.standard_normal(s) for s in ((4, 3), (3, 2), (2,))), name="[tanh(x W + b), x]"))
    apart, hand = two_gaussians(rng)
    print(f"ours and minivae's differ by at most {same_as_library(rng):.0e}; Fréchet distances by {apart:.0e}; "
          f"N(0, 4) and N(3, 1): {hand:.6f}, by hand 10\n")
    dataset = opt.digits()
    digits, test = dataset.train, plots.spread(dataset.test, 100 if opt.quick else 1000)
    if args.seeds > 1:
        over_seeds(digits, test, opt, args.seeds)
        return

    model = train(digits, opt, seed=opt.seed, progress=not opt.quick)
    print(f"σ = {float(to_numpy(model.likelihood.std)):.3f}; first stage: {evaluate(model.first, test, samples=10)}")
    print(f"both stages: {evaluate(model, test, samples=10)}\n")
    found, more = judge(model, digits, test, opt.seed), gain(model, test, opt.seed)
    print(f"{'z from':32} {'FD':>8} precision   recall")
    for name, q in found.items():
        print(f"{name:32} {q.frechet:8.2f} {q.precision:9.2f} {q.recall:8.2f}")
    opt.save(draw_samples(model, digits, test, opt), "samples", alt="Four panels of 64 digits. z from N(0, I): many blots that "
             "are no digit. From a Gaussian fitted to the codes: better. From a second VAE: mostly digits. Reconstructions: "
             "digits.")
    opt.save(draw_codes(model, digits, opt), "codes", alt="Two latents of 1,500 codes, four panels: the codes of images, which "
             "are no Gaussian; draws of N(0, I), round and too wide or too narrow; of a fitted Gaussian, an ellipse; of the "
             "second VAE, in the shape of the codes.")

    one, fitted, two = (found[name].frechet for name in list(found)[:3])
    print(f"\nSeen: the Fréchet distance to unseen digits is {one:.2f} for a VAE alone, {fitted:.2f} with a Gaussian fitted to "
          f"its codes, and {two:.2f} with a second VAE\n({found['reconstructions'].frechet:.2f} for reconstructions, "
          f"{found['training images'].frechet:.2f} for training images): {two / one:.2f} of the first stage's. The bound on "
          f"log p(x) is {more} nats higher.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Give the first VAE 5 latents, then 60.  Where is one stage enough, and why?
# 2. *Break this.*  Compare 1,000 samples of one model with 200 of the other by `frechet_between`, each with its own
#    covariance.  Which way is the comparison unfair?  What does `frechet_distance` say?
# 3. *Derive this.*  Show that $\mathrm{FD} = \min \mathbb E \lVert a - b \rVert^2$ over all joint distributions with
#    $a \sim \mathcal N(m_1, C_1)$ and $b \sim \mathcal N(m_2, C_2)$, for diagonal $C_1$ and $C_2$.  (One coordinate at a
#    time: for which correlation is $\mathbb E (a - b)^2$ least?)
