"""Chapter 28 · VQ-VAE-2: images as pictures of numbers.

The question     A code of real numbers has no end of digits.  Can an image be a few whole numbers, and who can draw such?
What is new      the nearest word of a codebook, and a derivative that goes straight through it; words that follow by
                 moving averages; masked convolutions, their blind spot, and the two stacks that close it.
What you'll see  who hears what; words drawn at random that nobody uses; two levels against one at equal bits; pictures of
                 numbers; what priors save, in bytes beside PNG; images drawn number by number; and digits of a class that
                 is told, as a classifier names them.
What it needs    Frey Faces, if they are in the folder that MINIVAE_DATA names; else the digits that come with minivae

    python chapters/ch28_vq_vae.py                        Frey Faces if they are here, else digits: three minutes
    python chapters/ch28_vq_vae.py --seeds 5              five of each: the rows of README.md's table
    python chapters/ch28_vq_vae.py --data fashion_mnist --epochs 2        all of Fashion: a quarter of an hour
"""

# %% [markdown]
# # 28 · VQ-VAE-2
#
# Every code so far was a point $z$ of real numbers, and the KL saw to it that it was not told too exactly.  Van den Oord et
# al. (2017) do without: the encoder's $z_e(x)$ is replaced by the nearest of $K$ **words**, and only its number is kept,
#
# $$ k = \arg\min_j \lVert z_e - e_j \rVert^2, \qquad e = e_k . \tag{1} $$
#
# Not one number for an image, but a picture of them: a convolutional encoder has a vector for every place.  As a VAE this is
# the plainest of all.  $q(c \mid x)$ is certain of one answer, so it has no entropy, and
#
# $$ \log p(x) \;\ge\; \log p(x \mid c(x)) + \log p(c(x)) . \tag{2} $$
#
# While the autoencoder learns, $p(c)$ is uniform and its term a constant, $\log K$ for every number.  *Afterwards* one asks
# what codes look like, and trains a prior on them.
#
# ## Straight through
#
# (1) is flat, and then it jumps: its derivative is 0, or nothing.  But if $e$ is near $z_e$, then what is good for $e$ is good for
# $z_e$, and the **straight-through estimator** hands it on, $\bar z_e = \bar e$.  It is the exact derivative of another function,
# which adds the constant $e - z_e$.  (That is how it can be checked by finite differences: hold the constant.)  Two
# things make the pretence harmless.  The encoder pays for its distance, the *commitment*
#
# $$ \mathcal L = -\log p(x \mid e) + \beta\, \lVert z_e - \mathrm{sg}(e) \rVert^2, \qquad \bar z_e = \bar e + 2 \beta (z_e - e), \tag{3} $$
#
# ($\mathrm{sg}$, "stop gradient", says that here $e$ is a constant), and the words follow the vectors that choose them.

# %%
import io
import math
import time
from dataclasses import replace

import numpy as np
from PIL import Image
from tqdm import tqdm

from minivae import plots
from minivae.backend import device, to_numpy
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, code_use, digit_classifier
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, Embedding, MaskedConv2d, MovingAverage
from minivae.ops import tanh
from minivae.parts import Codebook, PixelCNN, perplexity
from minivae.training import fit
from minivae.variants import VQVAEConfig

BATCH, WORDS = 64, 64


# %%
def quantise(z, *, words, held=None):                   # z (N, D), words (K, D): e (N, D), ‖z − e‖² (N,)
    """The nearest word, and how far it is; held: the constant e − z, and e, from before"""
    if held is None:
        distances = (z**2).sum(axis=1)[:, None] - 2.0 * z @ words.T + (words**2).sum(axis=1)
        e = words[distances.argmin(axis=1)]
        value = e
    else:
        e, jump = held
        value = z + jump
    apart = z - e

    def pullback(de, dapart):
        return de + 2.0 * apart * dapart[:, None]       # straight through, and the commitment's own

    return (value, (apart**2).sum(axis=1)), pullback


def checked(rng):
    """The largest difference between ours and minivae's codebook, of values and derivatives."""
    book = Codebook(5, 3, rng=rng)
    z, de, dapart = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
    (e, _), _ = quantise(z, words=book.words())
    print(gradcheck(quantise, z, words=book.words(), held=(e, e - z), name="the nearest word, straight through"))
    (ours, pull_ours) = quantise(z, words=book.words())
    (theirs, pull_theirs) = book(z.reshape(4, 1, 1, 3))
    pairs = [*zip(ours, theirs), (pull_ours(de, dapart), pull_theirs(de.reshape(4, 1, 1, 3), dapart))]
    return max(np.abs(a - b.reshape(a.shape)).max() for a, b in pairs)


# %% [markdown]
# ## Words that follow
#
# No gradient moves a word.  If it shall be the mean of what chooses it, let it *be* that: keep a count and a sum, and let
# both forget slowly (van den Oord et al. 2017, eq. 6 to 8),
#
# $$ N_k \leftarrow \gamma N_k + (1 - \gamma)\, n_k, \qquad m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{z \text{ chose } k} z, \qquad e_k = m_k / N_k . \tag{4} $$
#
# With $\gamma = 0$ that is a step of k-means.  And it has k-means' disease: a word that starts where nobody is, is nobody's
# nearest, and never moves again.  So words start at vectors of the data, and a word that a batch chooses less than once, on
# average of late, is put on another.

# %%
def follow(start, rng, *, restarts, steps=60):
    """12 words on points around six places: how they end, and how many are in use (their perplexity)."""
    places = 3.0 * rng.standard_normal((6, 2))
    book = Codebook(12, 2, rng=rng)
    arena, optimizer = Arena(book.parameters(), device("cpu"), float), MovingAverage(0.9)
    book.sums.value[...] = start * book.sums.value
    for step in range(steps):
        z = places[rng.integers(6, size=100)] + 0.3 * rng.standard_normal((100, 2))
        if restarts and step % 10 == 0:
            book.restart(z, rng, least=1.0 if step else np.inf)
        arena.zero_grad()
        book.tally(z, codes=book.nearest(z))
        optimizer.step(arena)
    z = places[rng.integers(6, size=1000)] + 0.3 * rng.standard_normal((1000, 2))
    return z, book.words(), perplexity(np.bincount(book.nearest(z), minlength=12))


def draw_words():
    fig, axes = plots.figure(1, 2, width=8.0, height=3.3, sharex=True, sharey=True)
    found = {}
    for ax, (name, restarts) in zip(axes, (("drawn at random", False), ("from the data", True))):
        z, words, used = follow(0.3, np.random.default_rng(7), restarts=restarts)
        ax.plot(*z[:400].T, ".", color=plots.COLOURS[5], markersize=3, alpha=0.5)
        ax.plot(*words.T, "x", color=plots.COLOURS[1], markersize=8, mew=2)
        ax.set_title(f"{name}: perplexity {used:.1f} of 12", fontsize=10)
        found[name] = used
    return fig, list(found.values())


# %% [markdown]
# ## Two levels
#
# A word stands for one place, and knows of the image what its convolutions saw.  Razavi et al. (2019) take two pictures of
# numbers: a coarse one for what is far apart, a fine one for the rest.  Who sees what is easily told wrong.  Their algorithm 1:
# the top is encoded from the image's features and quantised *first*; the bottom's encoder is given the image's features **and** the
# top's words; the decoder, both pictures of words.  In `minivae/variants/vq_vae.py` each level has `down`, which halves what
# is below, and `up`, which doubles what is above, and this is one loop over any number of levels.

# %%
def draw_who_hears_what():
    boxes = {"image x": (0, 0), "down": (1, 0), "down ": (1, 1), "z top": (2, 1), "words top": (3, 1), "up ": (4, 0.55),
             "z bottom": (2.6, 0), "words bottom": (4, -0.25), "up": (5.2, 0), "image x̂": (6.2, 0),
             "prior of the top": (3, 1.75), "prior of the bottom": (5.4, 1.0)}
    arrows = [("image x", "down"), ("down", "down "), ("down ", "z top"), ("z top", "words top"), ("words top", "up "),
              ("up ", "z bottom"), ("down", "z bottom"), ("z bottom", "words bottom"), ("words bottom", "up"), ("up ", "up"),
              ("up", "image x̂")]
    priors = [("words top", "prior of the top"), ("words top", "prior of the bottom"), ("words bottom", "prior of the bottom")]
    fig, ax = plots.figure(width=9.0, height=3.6)
    drawn = {name: ax.text(x, y, name.strip(), ha="center", va="center", fontsize=9, bbox={"boxstyle": "round", "fc": "white", "ec": "0.4"})
             for name, (x, y) in boxes.items()}
    ax.set(xlim=(-0.5, 6.7), ylim=(-0.6, 2.1))
    fig.canvas.draw()                                   # boxes are as large as their texts: arrows end at their rims
    for pairs, colour, ls in ((arrows, plots.COLOURS[0], "-"), (priors, plots.COLOURS[1], "--")):
        for a, b in pairs:
            rims = {"patchA": drawn[a].get_bbox_patch(), "patchB": drawn[b].get_bbox_patch(), "shrinkA": 2, "shrinkB": 2}
            ax.annotate("", boxes[b], boxes[a], arrowprops={"arrowstyle": "->", "color": colour, "ls": ls, "lw": 1.4, **rims})
    ax.set_axis_off()
    ax.set_title("who hears what: the autoencoder first (blue), then the priors, which hear numbers alone (orange)", fontsize=10)
    return fig


# %% [markdown]
# ## A prior of pictures, and its blind spot
#
# A picture of numbers is drawn row by row, every number given those before it:
#
# $$ \log p(c) = \sum_i \log p(c_i \mid c_1 \dots c_{i-1}) . \tag{5} $$
#
# All factors at once come from one network of convolutions, if none of them sees its own pixel or a later one: of a $3 \times 3$
# window the row above, and the left.  But stack as many as you like, and some *earlier* pixels are never seen: what lies
# up and to the right comes only as far to the right as one goes up.  The gated PixelCNN (van den Oord et al. 2016) has two
# stacks: a vertical one, that sees whole rows above on both sides, and a horizontal one, that sees the left, and is told what the
# first knows.  Below, how strongly the middle pixel hears each other.

# %%
def one_stack(rng, layers=4, C=8):
    """Logits of a plain masked network, as a function of codes"""
    above = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    embed, first = Embedding(3, C, rng=rng), MaskedConv2d(C, C, taps=above, rng=rng)
    others = [MaskedConv2d(C, C, taps=(*above, (0, 0)), rng=rng) for _ in range(layers)]

    def logits(codes):
        h = embed(codes=codes)[0]
        for layer in (first, *others):
            h = tanh(layer(h)[0])[0]
        return h

    return logits


def heard_by_the_middle(logits, side=9):
    """How far the middle pixel's logits move, if one other number changes: an image"""
    codes, middle = np.zeros((side * side + 1, side, side), int), side // 2
    codes.reshape(-1, side * side)[np.arange(side * side), np.arange(side * side)] = 1
    out = logits(codes)[:, middle, middle]
    return np.abs(out[:-1] - out[-1]).sum(axis=-1).reshape(side, side)


def draw_blind_spot(rng):
    prior = PixelCNN(3, channels=8, blocks=4, rng=rng)
    pages = {"one stack: the orange ones are earlier, and never heard": one_stack(rng),
             "two stacks: all earlier ones are": lambda codes: prior.logits(codes=codes, above=np.zeros_like(codes))[0]}
    fig, axes = plots.figure(1, 2, width=8.0, height=3.9)
    unheard = []
    for ax, (name, logits) in zip(axes, pages.items()):
        heard = heard_by_the_middle(logits)
        side, earlier = len(heard), np.arange(heard.size).reshape(heard.shape) < heard.size // 2
        unheard.append(int((heard[earlier] == 0).sum()))
        ax.imshow(np.where(heard > 0, np.log10(np.maximum(heard, 1e-12)), np.nan), cmap="viridis", vmin=-6, vmax=0.5)
        ax.imshow(np.where(earlier & (heard == 0), 1.0, np.nan), cmap="autumn", vmin=0.0, vmax=2.0)
        ax.plot(side // 2, side // 2, "x", color="black", markersize=12, mew=3)
        ax.set_title(name, fontsize=10)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    return fig, unheard


# %% [markdown]
# ## At equal bits
#
# Two levels of 64 words, or one of so many that a picture has as many bits: whose images are nearer?  (The likelihood is a
# Gaussian with the best $\sigma$ of chapter 11, so a nat of it is worth more the better the model is.)

# %%
def parted(dataset, quick):
    return (dataset.train[:200], dataset.test[:50]) if quick else (dataset.train, plots.spread(dataset.test, 1000))


def train(images, shape, opt, *, levels, codes, seed, prior_epochs=0, progress=True):
    """A VQ-VAE of these images; its priors too, if they get epochs"""
    steps = -(-len(images) // BATCH)
    sizes = VQVAEConfig(*shape, 1, levels, codes, likelihood="gaussian_optimal", filters=8 if opt.quick else 32,
                        prior_channels=8 if opt.quick else 32, prior_blocks=2 if opt.quick else 4)
    rates = {"vae": Adam(2e-3), **{f"prior_{i}": Adam(2e-3) for i in range(levels)}}
    model = sizes.build(seed=seed, on=opt.device, images=images, first_steps=opt.epochs * steps, optimizers=rates)
    fit(model, images, epochs=opt.epochs + prior_epochs, batch_size=BATCH, seed=seed, progress=progress)
    return model


def squared_error(model, test):
    """Of every image, averaged over its pixels        (N,)"""
    again = to_numpy(model.reconstruct(model.device.asarray(test, dtype=model.dtype), None))
    return np.square(again - test).mean(axis=1)


def as_many_bits(shape, codes):
    """Words that one level of the finer picture needs for the bits of two levels: 4/4 + 1/4 as many for each number"""
    fine, coarse = shape[0] // 2 * (shape[1] // 2), shape[0] // 4 * (shape[1] // 4)
    return round(2.0 ** ((fine + coarse) * math.log2(codes) / fine))


def compared(dataset, opt, seed, progress=True):
    """The model of two levels, what it makes of its words, and squared errors, of it and of the one of one level"""
    images, test = parted(dataset, opt.quick)
    codes = 8 if opt.quick else WORDS
    two = train(images, dataset.image_shape, opt, levels=2, codes=codes, seed=seed, prior_epochs=max(1, opt.epochs // 2),
                progress=progress)
    one = train(images, dataset.image_shape, opt, levels=1, codes=as_many_bits(dataset.image_shape, codes), seed=seed,
                progress=progress)
    return two, code_use(two, test), [squared_error(model, test) for model in (two, one)]


def over_seeds(dataset, opt, seeds):
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        _, use, (two, one) = compared(dataset, opt, seed, progress=False)
        rows.append([*(level.perplexity for level in use.levels), use.bits_unigram, use.bits.mean,
                     1e4 * two.mean(), 1e4 * one.mean(), 1e4 * (one - two).mean()])
    names = ("perplexity, bottom", "perplexity, top", "bits by frequency", "bits under the prior", "10⁴ MSE, two levels",
             "10⁴ MSE, one level", "10⁴ MSE, one less two")
    table = dict(zip(names, zip(*rows)))
    for name, column in table.items():
        print(f"{name:24} {Estimate.of(np.array(column))}")
    opt.record("vq_vae", table, accepted, data=dataset.name, seeds=seeds)


def accepted(found):
    """What is asked of numbers, of their priors, and of two levels."""
    less = found["10⁴ MSE, one less two"]
    return {"perplexities above half of the words": min(found[f"perplexity, {level}"].mean for level in ("bottom", "top")) > WORDS / 2,
            "fewer bits under the prior than by frequency": found["bits under the prior"].mean < found["bits by frequency"].mean,
            "an error more than two standard errors below one level's": less.mean > 2 * less.standard_error}


# %% [markdown]
# ## In bytes
#
# The numbers *are* a compressed image (not all of it comes back).  An arithmetic coder makes $-\log_2 p(c)$ bits of them.
# PNG keeps every grey level, and its file has a head of some sixty bytes.

# %%
def png_bytes(images, shape):
    """The size of each image as a PNG file        (N,)"""
    sizes = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(np.round(255.0 * image).astype(np.uint8).reshape(shape)).save(file, format="PNG", optimize=True)
        sizes.append(len(file.getvalue()))
    return np.array(sizes)


def drawing_time(model, opt, n):
    """Seconds to draw n images' numbers; and if every number were computed from the whole picture"""
    begun = time.perf_counter()
    codes = model.sample_codes(n, opt.device.rng(opt.seed))
    took = time.perf_counter() - begun
    begun = time.perf_counter()
    for prior, c, above in zip(model.priors.layers, codes, [*codes[1:], np.zeros_like(codes[-1])]):
        prior.logits(codes=c, above=above)
    whole = (time.perf_counter() - begun) / len(codes)
    return took, whole * sum(c[0].size for c in codes)


# %% [markdown]
# ## Told what to draw
#
# Razavi et al. tell their priors the class of an image, and the bottom's has the top's codes besides.  How is a network told both?  The
# top's codes are a picture: convolutions of it, made twice as large, say something else to every pixel.  The class is one number.  So it
# gets a picture, too, of vectors $k_y$ that learn, and every gate hears them by one more matrix $V$ (van den Oord et al. 2016, eq. 5),
#
# $$ a_{ij} = \mathrm{conv}(v)_{ij} + s_{ij}(c_\text{top}) + V k_{y, ij}, \qquad \frac{\partial}{\partial k_{y, ij}} = V^\top \frac{\partial}{\partial a_{ij}} : \tag{6} $$
#
# added up over all images of that class.  (Said the same to all pixels, it would be left to the borders to tell them where they are.)
# The autoencoder is not told: to it a class is nothing that the numbers do not say.  Is a 4 that was asked for a 4?  The judge is the
# classifier of chapter 25 (which has learned from all digits of this data set, the unseen ones among them).

# %%
def told(opt, epochs):
    """A VQ-VAE of the package's digits with classes; how often its draws are taken for the class, and unseen digits told again for theirs"""
    digits, (n, few) = replace(opt, data="digits").digits(), (200, 40) if opt.quick else (2000, 500)
    images, labels = digits.train[:n], digits.train_labels[:n]
    steps, first = -(-n // BATCH), max(1, epochs // 3)
    narrow = {"codes": 8, "filters": 8, "prior_channels": 8, "prior_blocks": 1} if opt.quick else {
        "codes": 32, "filters": 16, "prior_channels": 24, "prior_blocks": 3}
    model = VQVAEConfig(28, 28, 1, 2, **narrow, likelihood="gaussian_optimal", classes=10).build(
        seed=opt.seed, on=opt.device, images=images, first_steps=first * steps,
        optimizers={"vae": Adam(2e-3), "prior_0": Adam(4e-3), "prior_1": Adam(4e-3)})
    fit(model, Batch(x=images, labels=labels), epochs=first + epochs, batch_size=BATCH, seed=opt.seed, progress=False)
    test = model.device.asarray(digits.test[:few], dtype=model.dtype)
    drawn, again = model.sample(few, model.device.rng([opt.seed, 28])), model.reconstruct(test, None)
    named, renamed = (digit_classifier().predict(to_numpy(x).clip(0.0, 1.0)) for x in (drawn, again))
    return model, Estimate.of(named == np.arange(few) % 10), Estimate.of(renamed == digits.test_labels[:few])


def draw_classes(model, opt, columns=12):
    rows = [to_numpy(model.sample(columns, opt.device.rng([opt.seed, label]), label)) for label in range(10)]
    return plots.image_grid(np.concatenate(rows).clip(0.0, 1.0), (28, 28), columns=columns, title="asked for a 0, a 1, …, a 9")


# %%
def main(argv=None):
    arguments = parser("ch28", __doc__, epochs=20, data="auto")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(f"our nearest words and minivae's, and their derivatives, differ by at most {checked(rng):.0e}\n")
    dataset = opt.images("freyfaces", "digits")
    shape = dataset.image_shape
    if args.seeds > 1:
        over_seeds(dataset, opt, args.seeds)
        return

    fig, (idle, busy) = draw_words()
    print(f"12 words, six places: perplexity {idle:.1f} of words drawn at random, {busy:.1f} of words from the data")
    opt.save(fig, "words", alt="Six clouds of points. Left, words drawn at random in the middle: a few were caught by clouds, the "
             "others lie idle in between. Right, words drawn from the data: every cloud has some.")
    opt.save(draw_who_hears_what(), "who_hears_what", alt="Boxes and arrows. From the image two encoders lead down to the top's "
             "vectors and words; these go up, to the bottom's vectors, together with the first encoder's features, and to the "
             "decoder, together with the bottom's words. Dashed, two priors: of the top, from its numbers; of the bottom, from both.")
    fig, (one_misses, two_miss) = draw_blind_spot(rng)
    print(f"of 40 earlier pixels of a 9×9 picture, the middle one never hears {one_misses} with one stack, {two_miss} with two")
    opt.save(fig, "blind_spot", alt="Two pictures of nine by nine pixels, the middle one marked. With one stack a wedge of earlier "
             "pixels at the right is orange: never heard. With two stacks all earlier pixels are coloured, and no later one.")

    two, use, errors = compared(dataset, opt, opt.seed, progress=not opt.quick)
    print(f"\n{dataset}\n{use}")
    less = Estimate.of(1e4 * (errors[1] - errors[0]))
    print(f"10⁴ × squared error: two levels {Estimate.of(1e4 * errors[0])}, one level of {as_many_bits(shape, 8 if opt.quick else WORDS)} "
          f"words and as many bits {Estimate.of(1e4 * errors[1])}: {less} more")
    test = parted(dataset, opt.quick)[1]
    png = Estimate.of(png_bytes(test, shape))
    print(f"bytes for an image: {math.prod(shape)} as it is, {png} as PNG (every grey level), {use.bits.mean / 8:.1f} as numbers under "
          f"their prior")
    n = 16 if opt.quick else 64
    took, anew = drawing_time(two, opt, n)
    print(f"{n} images drawn in {took:.1f} s; with the whole picture anew for every number it would take {anew:.0f} s\n")
    few = two.device.asarray(plots.spread(test, 8), dtype=two.dtype)
    opt.save(plots.numbers(few, two.codes(few), two.decode(two.codes(few)), shape), "codes", alt="Eight images; below each its "
             "two pictures of numbers, as coloured squares, a fine and a coarse one; and what these decode to, which is hard to tell "
             "from the image.")
    opt.save(plots.image_grid(two.sample(60, opt.device.rng(opt.seed)), shape, like=test, title="drawn number by number, and decoded"),
             "samples", alt="Sixty images, drawn number by number from the priors and decoded.")

    model, right, again = told(opt, 1 if opt.quick else 9)
    print(f"digits told the class: {right} of draws are taken for what was asked for (by chance 0.1), {again} of unseen digits told again "
          "for what they are")
    opt.save(draw_classes(model, opt), "classes", alt="Ten rows of digits, drawn number by number: zeros, ones, and so on to nines; "
             "most can be read, some are broken.")

    bottom, top = use.levels
    print(f"\nSeen: {bottom.perplexity:.1f} and {top.perplexity:.1f} of {bottom.words} words are in use (perplexities). A picture "
          f"costs {use.bits_unigram:,.0f} bits\nby the numbers' frequency and {use.bits} under their prior. Two levels leave "
          f"{errors[0].mean() / errors[1].mean():.2f} of the squared error\nthat one level leaves with as many bits.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  `--data digits`: how many words has the top in use now, and why so few?  Then $\beta = 0.05$ in `train`
#    (`VQVAEConfig.build(beta=…)`).  What did the commitment keep the top from?
# 2. *Break this.*  Add $(0, 0)$ to `LEFT` of `minivae/parts/pixel_cnn.py`, and train a prior.  What does its bound become, and what
#    does it draw?  Which test of `tests/parts/test_pixel_cnn.py` says so?
# 3. *Derive this.*  Show that (4) with $\gamma = 0$ never raises $\sum \lVert z - e_{k(z)} \rVert^2$ over the batch, if its vectors stay.  And
#    that the perplexity $e^{H}$ of a codebook of which a share $s$ of all numbers is one word is at most $(1/s)^s \big((K - 1)/(1 - s)\big)^{1-s}$.
#    What is that for the empty half of a digit's picture?
