"""Chapter 30 · CVAE-GAN.

The question     Images of a class that is told: sharp, of that class, and not all alike.  What should a generator hear of a
                 discriminator and of a classifier, if not what they say?
What is new      four players; a generator that follows centres of features, class by class, kept as moving averages.
What you'll see  who hears which loss, measured; a verdict that dies where the discriminator is good; a discriminator whose
                 batches are mixed; a class-conditional VAE and a CVAE-GAN of its size and steps; one z in all classes.

    python chapters/ch30_cvae_gan.py                      3,000 digits, two to three minutes
    python chapters/ch30_cvae_gan.py --seeds 5            five of each: README.md's table
    minivae train --model cvae_gan --optimizer rmsprop --epochs 40       on the command line
    minivae sample runs/digits --given 4
"""

# %% [markdown]
# # 30 · CVAE-GAN
#
# Chapter 29 let somebody look.  Now tell encoder $E$ and generator $G$ the class $c$ as well, so that one can ask for a 4.  Nothing yet
# makes what comes a 4: a discriminator $D$ asks whether it is real, not what it is.  So there is a fourth player, a **classifier**
# $C$, which learns from real images and their labels (Bao et al. 2017).
#
# $$ \begin{aligned}
# \mathcal L_C &= -\log p(c \mid x) & \mathcal L_D &= -\log D(x) - \log(1 - D(x_p)), \quad x_p = G(z_p, c),\ z_p \sim \mathcal N(0, I)
# \end{aligned} \tag{1} $$
#
# The obvious next step is that $G$ hears both with the sign turned, as in chapter 29.  The paper does something else, which it calls
# *asymmetric*: let $f_D$ and $f_C$ be what their last layers are given.  $G$ brings the **centres** of these features together,
#
# $$ \begin{aligned}
# \mathcal L_{GD} &= \tfrac12 \lVert \mathbb E f_D(x) - \mathbb E f_D(x_p) \rVert^2 &
# \mathcal L_{GC} &= \tfrac12 \sum_c p(c) \lVert \mathbb E_c f_C(x) - \mathbb E_c f_C(x_p) \rVert^2
# \end{aligned} \tag{2} $$
#
# and, for images told again, $x_f = G(z, c)$ with $z \sim q(z \mid x, c)$, it compares in pairs,
#
# $$ \mathcal L_G = \tfrac12 \left( \lVert x - x_f \rVert^2 + \lVert f_D(x) - f_D(x_f) \rVert^2 + \lVert f_C(x) - f_C(x_f) \rVert^2 \right). \tag{3} $$
#
# A centre says what is typical.  Alone it could be met by one image for each class; the pairs are what keeps the images apart.

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import device, to_numpy
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.evaluation import Classifier, Estimate, sample_quality
from minivae.gradcheck import gradcheck
from minivae.nn import Activation, Adam, Apart, Arena, BatchNorm, Linear, Mixed, MovingAverage, RMSProp, Sequential, mlp
from minivae.ops import concat, leaky_relu, one_hot, softplus
from minivae.parts import Centres, likelihood
from minivae.training import fit
from minivae.variants import M2, CVAEGANConfig, M2Config
from minivae.variants.cvae_gan import PLAYERS
from minivae.variants.vae_gan import Discriminator

BATCH, LATENTS, FEATURES = 64, 20, 512
SHORT = 3                                               # a third of the epochs, for what is only to be seen beside something


# %% [markdown]
# ## By hand
#
# Of $B$ made images with features $f_i$ the centre of class $c$ is $\tilde m_c = \frac{1}{B\, p(c)} \sum_{i: c_i = c} f_i$.  Then
#
# $$ \frac{\partial}{\partial f_i}\, \tfrac12 \sum_c p(c) \lVert \tilde m_c - m_c \rVert^2 = p(c_i)\, (\tilde m_{c_i} - m_{c_i}) \cdot \frac{1}{B\, p(c_i)}
#    = \frac{\tilde m_{c_i} - m_{c_i}}{B} : \tag{4} $$
#
# every image of a class hears the same, namely where its class's centre should go.

# %%
def centres_apart(f, *, y, real):                       # (B, F), y (B, C) one-hot, real (C, F) -> a number
    """½ Σ_c p(c) ‖m̃_c − m_c‖², with the centres m̃ of made features f"""
    B, share = len(f), y.mean(axis=0)
    apart = y.T @ f / (B * share)[:, None] - real

    def pullback(d):
        return d * (y @ apart) / B                      # eq. 4

    return 0.5 * share @ (apart**2).sum(axis=1), pullback


def checked(rng):
    """The largest difference between ours and minivae's, whose centres have seen this batch and no other"""
    y = one_hot(np.array([0, 1, 1, 0, 1]), classes=2, dtype=float)
    f, real = rng.standard_normal((2, 5, 3))
    theirs, weight = Centres(2, 3), np.full(5, 0.2)
    arena = Arena(theirs.parameters(), device("cpu"), float)
    theirs.tally(real, f, y=y, weight=weight)
    MovingAverage(0.0).step(arena)
    m = theirs.centres()[0]
    print(gradcheck(centres_apart, f, y=y, real=m, name="centres apart"))
    (value, pull), (of_each, pull_each) = centres_apart(f, y=y, real=m), theirs(f, y=y)
    return max(abs(value - of_each @ weight), np.abs(pull(1.0) - pull_each(weight)).max())


# %% [markdown]
# ### Why moving averages
#
# In a batch of 64 a class has about six images.  The mean of six features is off by their spread: even if made and real features
# have the very same distribution, $\mathbb E \lVert \tilde m - m \rVert^2 = \frac1n (\sigma^2_\text{made} + \sigma^2_\text{real})$.  A generator can lower this, and
# there is one way: make $\sigma_\text{made}$ small.  All images of a class alike!
#
# So the centres are **moving averages** over batches, of real and of made images, as the paper says.  Ours leave out the batch of the
# step itself: then what they are off by has nothing to do with the images that hear it, and nothing is squared.  Below: what the
# spread σ of made features hears, $\sum_i f_i\, \partial/\partial f_i$, where all is as it should be.

# %%
def spread_hears(rng, rounds=4000, n=6):
    """∂/∂σ of σ f, where made and real f are N(0, 1): by the centres of one batch, and of those before   -> (2, rounds)"""
    kept, y, weight = Centres(1, 1), np.ones((n, 1)), np.full(n, 1 / n)
    arena, optimizer, found = Arena(kept.parameters(), device("cpu"), float), MovingAverage(0.9), []
    for _ in range(rounds):
        real, made = rng.standard_normal((2, n, 1))
        found.append([(pull(d) * made).sum() for pull, d in (
            (centres_apart(made, y=y, real=real.mean(axis=0)[None])[1], 1.0), (kept(made, y=y)[1], weight))])
        arena.zero_grad()
        kept.tally(real, made, y=y, weight=weight)
        optimizer.step(arena)
    return np.array(found).T


# %% [markdown]
# ## Who hears what
#
# | | hears | does not hear |
# |---|---|---|
# | encoder | $\lambda_1 \mathrm{KL} + \lambda_2 \mathcal L_G$ | the centres |
# | generator | $\lambda_2 \mathcal L_G + \lambda_3 \mathcal L_{GD} + \lambda_4 \mathcal L_{GC}$ | any verdict of $D$ or $C$ |
# | classifier | $\mathcal L_C$ | made images |
# | discriminator | $\mathcal L_D$ | what others compare in its features |
#
# The figure measures it: the length of each player's gradient after one term was pulled back.  A 0 is exactly zero, and
# `tests/variants/test_cvae_gan.py` asks for each of them.

# %%
TERMS = ("KL", "$L_G$, pairs", "$L_{GD}$, centres", "$L_{GC}$, of classes", "$L_C$", "$L_D$")


def hearing(rng):
    """The length of the gradient of each term in each player        -> (terms, players)"""
    x, labels, eps = 1.0 * (rng.random((6, 9)) < 0.5), np.arange(6) % 3, rng.standard_normal((2, 6, 2))
    asked = [(np.eye(4)[i], ("encoder", "generator")) for i in range(4)] + [(np.ones(4), (of,)) for of in PLAYERS[2:]]
    rows = []
    for weights, players in asked:
        model = CVAEGANConfig(M2Config(9, 3, (5,), 2), features=4).build(dtype=float, seed=1, weights=tuple(weights))
        model.train_step(Batch(x=x, labels=labels), np.random.default_rng(0))                     # now there are centres
        pulls = [model.loss(of=of, x=x, labels=labels, eps=eps[0], eps_p=eps[1])[1] for of in players]
        for network in model.networks.values():
            network.arena.zero_grad()
        for pull in pulls:
            pull(np.full(6, 1 / 6))
        rows.append([np.linalg.norm(model.networks[name].arena.grad) for name in PLAYERS])
    return np.array(rows)


def draw_hearing(lengths):
    fig, ax = plots.figure(width=6.4, height=3.6)
    ax.imshow(lengths > 0, cmap="Blues", vmin=0, vmax=2, aspect="auto")
    for (i, j), length in np.ndenumerate(lengths):
        ax.text(j, i, f"{length:.2g}" if length else "0", ha="center", va="center", color="black" if length else "0.6")
    ax.set_xticks(range(4), PLAYERS)
    ax.set_yticks(range(6), TERMS)
    ax.set_title("the length of the gradient: who hears which loss")
    ax.grid(False)
    return fig


# %% [markdown]
# ## A discriminator that is too good
#
# Take a generator at the start of its training, leave it as it is, and let a discriminator learn to tell its images from real ones.
# It gets better and better.  What would the generator hear?  Going down $\log(1 - D)$: nothing, soon.  Going down $-\log D$: $-\partial a / \partial x$,
# the slope of a logit that need not end anywhere.  The centres: as long as features lie apart, they say so and in which direction; where
# they meet, it is zero, however sure of itself $D$ is.  (What they say is not short, either: features of a network that is sure are
# long.  $\lambda_3$ and RMSProp have to see to that; the table below has a row with a discriminator six times as fast, which is worse, not lost.)

# %%
def both_kinds(model, images, rng, step):
    """64 real images and 64 made ones, on the host"""
    return images[rng.integers(len(images), size=64)], to_numpy(model.sample(64, model.device.rng([step, 31])))


def verdicts(model, images, rng, steps, every=10):
    """While D learns: steps, its loss, and lengths of what 64 made images hear by three losses        -> (·,) (·,) (·, 3)"""
    judge = Discriminator(mlp(784, 200, 200, rng=rng, activation="leaky_relu", last=True), Linear(200, 1, rng=rng))
    arena, optimizer, each = Arena(judge.parameters(), device("cpu"), np.float32), RMSProp(1e-3), np.full(64, 1 / 64, np.float32)
    at, losses, lengths = [], [], []
    for step in range(steps + 1):
        real, made = both_kinds(model, images, rng, step)
        (f, a), pull_real = judge(real)
        (f_made, a_made), pull_made = judge(made)
        (right, pull_right), (wrong, pull_wrong) = softplus(-a), softplus(a_made)
        if step % every == 0:
            sure = 1.0 / (1.0 + np.exp(-a_made))
            apart = np.tile(f_made.mean(axis=0) - f.mean(axis=0), (64, 1))
            heard = (pull_made(None, -sure, need_dp=False), pull_made(None, sure - 1.0, need_dp=False),
                     pull_made(apart, None, need_dp=False))
            at.append(step)
            losses.append(right.mean() + wrong.mean())
            lengths.append([np.linalg.norm(d, axis=1).mean() for d in heard])
        arena.zero_grad()
        pull_real(None, -pull_right(each), need_dx=False)
        pull_made(None, pull_wrong(each), need_dx=False)
        optimizer.step(arena)
    return np.array(at), np.array(losses), np.array(lengths)


def draw_verdicts(at, losses, lengths):
    fig, (left, right) = plots.figure(1, 2, width=9.0, height=3.4)
    left.semilogy(at, losses, color="black")
    left.axhline(2.0 * np.log(2.0), color="black", ls="--", lw=1)
    left.set(xlabel="steps of the discriminator", ylabel="nats", title="its loss (dashed: that of a coin)")
    for column, name, colour in zip(lengths.T, ("log(1 − D): dies", "−log D", "centres of features"), plots.COLOURS):
        right.semilogy(at, column, color=colour, label=name)
    right.set(xlabel="steps of the discriminator", title="the length of what a made image hears")
    right.legend(fontsize=8)
    return fig


# %% [markdown]
# ## Batches that are mixed
#
# Batch normalisation takes the mean and the spread of every unit out of a batch.  Then what a network says of an image depends on who
# stands beside it.  If real and made images stand in *one* batch, a discriminator learns to tell the two halves from each other; but
# the generator asks it with a batch of made images alone, and of those it has learned nothing.  The curve that tells: its loss on
# mixed batches, and the loss of the same discriminator asked about each kind by itself.  (Beside it: trained apart, which is the
# rule among those who build such networks.  It gives up all that a mean and a spread could say.)
#
# So whoever calls a network says which: `judge.learning()` is the judge as it learns, by the moments of a batch, and `judge` itself goes
# by their running averages; `Apart(f)(real, made)` are two batches, `Mixed(f)(real, made)` is one.
#
# In `minivae/variants/cvae_gan.py` real images, those told again and those dreamt pass $D$ and $C$ in three calls, so that no layer could
# mix them; and our small networks have no batch normalisation at all.

# %%
def normed(model, images, rng, mixed, steps):
    """Losses of a discriminator with batch normalisation: as it learns, and asked the other way        -> (steps, 2)"""
    judge = Sequential(Linear(784, 100, rng=rng), BatchNorm(100), Activation(leaky_relu), Linear(100, 1, rng=rng))
    arena, optimizer, each = Arena(judge.parameters(), device("cpu"), np.float32), RMSProp(1e-3), np.full(64, 1 / 64, np.float32)
    learned, other = (Mixed, Apart) if mixed else (Apart, Mixed)
    rows = []
    for step in range(steps):
        kinds, row = both_kinds(model, images, rng, step), []
        for how in (learned, other):
            (a, b), pull = how(judge.learning())(*kinds)
            (right, pull_right), (wrong, pull_wrong) = softplus(-a[:, 0]), softplus(b[:, 0])
            row.append(right.mean() + wrong.mean())
            if how is learned:
                arena.zero_grad()
                pull(-pull_right(each)[:, None], pull_wrong(each)[:, None], need_dx=False)
        optimizer.step(arena)
        rows.append(row)
    return np.array(rows)


def draw_normed(mixed, apart):
    fig, (left, right) = plots.figure(1, 2, width=9.0, height=3.4)
    for ax, found, (learned, other) in ((left, mixed, ("mixed", "each kind by itself")), (right, apart, ("apart", "mixed"))):
        ax.plot(found[:, 0], color=plots.COLOURS[0], label=f"{learned}, as it learns")
        ax.plot(found[:, 1], color=plots.COLOURS[1], label=f"asked {other}")
        ax.axhline(2.0 * np.log(2.0), color="black", ls="--", lw=1, label="a coin")
        ax.set(xlabel="step", title=f"batches {learned}", ylim=(0.0, 3.0))
        ax.legend(fontsize=8)
    left.set(ylabel="the discriminator's loss, nats")
    return fig


# %% [markdown]
# ## The same without a game, and with it
#
# The rival is the VAE of $p(x \mid c, z)$: an M2 (chapter 22) that is told all labels, with the same encoder and decoder, and as many steps.
# Since $\lambda_1 = 3$, there is a second rival, whose KL weighs 3 as well: with fewer nats in $z$, draws of the prior lie nearer to the codes
# of images, and chapter 20 has seen what that does.
#
# The judge is a convolutional classifier of another seed that has learned from other images than they.  We ask it how often it takes
# what was drawn as a 4 for a 4.  But a generator that draws ten images, one of each class, could please any classifier.  So beside it
# stands how far two images of a class lie apart on average, and chapter 25's Fréchet distance, precision and recall.

# %%
def parts(dataset, quick):
    """Images and labels to learn from, three of four; and for the judge the others, and the test images"""
    n = 300 if quick else 3 * len(dataset.train) // 4
    cut = slice(n, n + 200 if quick else None)
    x = np.concatenate([dataset.train[cut], dataset.test])
    labels = np.concatenate([dataset.train_labels[cut], dataset.test_labels])
    return Batch(x=dataset.train[:n], labels=dataset.train_labels[:n]), Batch(x=x, y=labels)


def train_judge(data, opt):
    judge = Classifier(device=opt.device, seed=1030, optimizer=Adam(2e-3))
    fit(judge, data, epochs=2 if opt.quick else 15, batch_size=BATCH, seed=1030, progress=False)
    return judge


def sizes(opt):
    return M2Config(784, 10, (40,) if opt.quick else (400,), LATENTS)


class Heavier(M2):
    """An M2 whose KL weighs 3 in what a step goes down, as λ₁ does"""

    def labelled_terms(self, **given):
        terms, pull = super().labelled_terms(**given)
        return terms, lambda dnll, dkl: pull(dnll, 3.0 * dkl)


def train_cvae(data, opt, seed, kind=M2, progress=True):
    """p(x|c, z): an M2, every image of which has its label"""
    model = kind(*sizes(opt).parts(np.random.default_rng(seed), data.x), likelihood("bernoulli"), pixels=784, classes=10,
                 latents=LATENTS, device=opt.device, optimizer=Adam(1e-3), labelled_share=1.0)
    fit(model, data.but(labelled=data.x), epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=progress)
    return model


def train(data, opt, seed, *, weights=(3.0, 1.0, 1.0, 1.0), discriminator=1e-3, epochs=None, progress=True):
    rates = {name: RMSProp(discriminator if name == "discriminator" else 1e-3) for name in PLAYERS}
    model = CVAEGANConfig(sizes(opt), 16 if opt.quick else FEATURES).build(
        seed=seed, on=opt.device, images=data.x, optimizers=rates, weights=weights)
    fit(model, data, epochs=epochs or opt.epochs, batch_size=BATCH, seed=seed, progress=progress)
    return model


def pairwise_distance(images):
    """The mean distance of two different images        (N, X)"""
    squares = (images**2).sum(axis=1)
    squared = squares[:, None] + squares - 2.0 * images @ images.T
    return float(np.sqrt(squared.clip(min=0.0))[np.triu_indices(len(images), 1)].mean())


NAMES = ("judge right", "diversity", "FD", "precision", "recall")


def quality(model, judge, test, seed):
    """What NAMES say, of as many samples as test images, a tenth of every class"""
    drawn = to_numpy(model.sample(len(test), model.device.rng([seed, 30])))
    labels = np.arange(len(drawn)) % 10
    right = to_numpy(judge.predict(judge.device.asarray(drawn, dtype=judge.dtype))) == labels
    q = sample_quality(drawn.clip(0.0, 1.0), test)
    return right.mean(), np.mean([pairwise_distance(drawn[labels == c]) for c in range(10)]), q.frechet, q.precision, q.recall


def over_seeds(data, judge, test, opt, seeds):
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        models = (train_cvae(data, opt, seed, progress=False), train_cvae(data, opt, seed, Heavier, progress=False),
                  train(data, opt, seed, progress=False))
        rows.append([quality(model, judge, test, seed) for model in models])
        print(f"\nseed {seed}: " + ", ".join(f"{name} {' '.join(f'{value:.3f}' for value in values)}"
                                            for name, values in zip(NAMES, np.transpose(rows[-1]))), flush=True)
    for name, values in zip(NAMES, np.array(rows).T):   # (3, seeds)
        one, heavier, game = values
        print(f"{name:12} CVAE {told(one)}, its KL × 3 {told(heavier)}, CVAE-GAN {told(game)}; seed by seed {told(game - one)} and "
              f"{told(game - heavier)}")
    one, heavier, game = np.array(rows)[:, :, 0].T
    opt.record("cvae_gan", {"judge right, CVAE-GAN": game, "CVAE": one, "CVAE, its KL × 3": heavier, "CVAE-GAN less CVAE": game - one},
               accepted, data=opt.data, seeds=seeds)


def accepted(found):
    """What is asked of it."""
    more = found["CVAE-GAN less CVAE"]
    return {"draws named as told more often than a CVAE's, by more than two standard errors": more.mean > 2 * more.standard_error}


def told(values):
    """Mean ± standard error, to three digits"""
    found = Estimate.of(values)
    return f"{found.mean:.3f} ± {found.standard_error:.3f}"


def draw_samples(models, data, opt):
    fig, axes = plots.figure(1, len(models) + 1, width=14.0, height=3.9)
    real = np.stack([data.x[data.labels == c][:10] for c in range(10)], axis=1).reshape(100, -1)
    pages = {"real": real} | {name: to_numpy(model.sample(100, opt.device.rng(opt.seed))) for name, model in models.items()}
    for ax, (name, images) in zip(axes, pages.items()):
        plots.show_page(ax, plots.mosaic(images, (28, 28), 10), name, like=data.x[:100])
    return fig


# %% [markdown]
# ## One z, all classes
#
# $z$ is what the class leaves open.  Take that of one image, and tell the generator another class: the same hand writes another digit.
# And nobody says that a class must be a corner: between $c = 4$ and $c = 9$ lies a line, on which no image was ever shown.

# %%
def draw_walks(model, data, walks=((4, 9), (3, 8), (1, 7), (5, 6), (0, 2)), steps=11):
    rows = []
    for start, end in walks:
        x = model.device.asarray(data.x[data.labels == start][:1], dtype=model.dtype)
        z, _ = model.encode(x, model.device.asarray(np.array([start])))
        t = model.device.asarray(np.linspace(0.0, 1.0, steps)[:, None], dtype=model.dtype)
        ends = model.device.asarray(np.eye(10)[[start, end]], dtype=model.dtype)
        code, _ = concat(np.repeat(z, steps, axis=0), (1.0 - t) * ends[0] + t * ends[1])
        rows += [to_numpy(x), to_numpy(model.likelihood.mean(model.decoder(code)[0]))]
    return plots.image_grid(np.concatenate(rows), (28, 28), columns=steps + 1, like=data.x[:100],
                            title="left, a digit; then its z, told its class, and on the way to another")


# %%
def main(argv=None):
    arguments = parser("ch30", __doc__, epochs=40)
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(f"ours and minivae's differ by at most {checked(rng):.0e}")
    one_batch, before = spread_hears(rng, 200 if opt.quick else 4000)
    print(f"what the spread hears where nothing is wrong: by centres of one batch {told(one_batch)} (get smaller), "
          f"by moving averages {told(before)}\n")
    dataset = opt.digits()
    (data, others), test = parts(dataset, opt.quick), plots.spread(dataset.test, 100 if opt.quick else 1000)
    judge = train_judge(others, opt)
    wrong = to_numpy(judge.predict(judge.device.asarray(data.x, dtype=judge.dtype))) != data.labels
    print(f"the judge learned from {len(others):,} images; of {len(data):,} others, which the models learn from, it names "
          f"{1 - wrong.mean():.3f} rightly")
    if args.seeds > 1:
        over_seeds(data, judge, test, opt, args.seeds)
        return

    lengths = hearing(rng)
    opt.save(draw_hearing(lengths), "hearing", alt="A table of six losses and four players. The KL is heard by the encoder, pairs by encoder "
             "and generator, both kinds of centres by the generator, the last two losses by classifier and discriminator; all else is 0.")
    cvae, heavier = (train_cvae(data, opt, opt.seed, kind, not opt.quick) for kind in (M2, Heavier))
    model = train(data, opt, opt.seed, progress=not opt.quick)
    short = {"epochs": max(1, opt.epochs // SHORT), "progress": False}
    models = {"CVAE": cvae, "CVAE, its KL × 3": heavier, "CVAE-GAN": model,
              f"CVAE-GAN, {short['epochs']} epochs": train(data, opt, opt.seed, **short),
              "  without centres": train(data, opt, opt.seed, weights=(3.0, 1.0, 0.0, 0.0), **short),
              "  discriminator × 6": train(data, opt, opt.seed, discriminator=6e-3, **short)}
    found = {name: quality(each, judge, test, opt.seed) for name, each in models.items()}
    real = np.mean([pairwise_distance(test[plots.spread(dataset.test_labels, len(test)) == c]) for c in range(10)])
    print(f"{'':22}" + "".join(f"{name:>13}" for name in NAMES) + f"        (diversity of test images: {real:.2f})")
    for name, row in found.items():
        print(f"{name:22}" + "".join(f"{value:13.3f}" for value in row))
    pages = {"CVAE": cvae, "CVAE, its KL × 3": heavier, "CVAE-GAN": model}
    opt.save(draw_samples(pages, data, opt), "samples", alt="Four pages of ten columns, a class each: real digits; those of the CVAE, "
             "soft and some of them no digits; those with the KL × 3, soft and much alike; those of the CVAE-GAN, with harder strokes.")

    early, images = train(data, opt, opt.seed, epochs=1, progress=False), data.x.astype(np.float32)
    at, losses, heard = verdicts(early, images, rng, 10 if opt.quick else 400)
    opt.save(draw_verdicts(at, losses, heard), "too_good", alt="Left, the discriminator's loss falls by orders of magnitude. Right, three "
             "lengths on a logarithmic scale: that of log(1 − D) falls with it, the others do not.")
    steps = 5 if opt.quick else 200
    mixed, apart = (normed(cvae, images, rng, how, steps) for how in (True, False))
    opt.save(draw_normed(mixed, apart), "mixed", alt="Two plots of losses. Left, on mixed batches the loss falls, and asked about each "
             "kind by itself the same network gets worse than a coin. Right, learned apart, both fall slowly and together.")
    few = np.stack([data.x[data.labels == c][1] for c in (0, 3, 4, 5, 7, 8)])
    opt.save(plots.analogies(model, few, (28, 28)), "classes", alt="Six digits, and beside each ten images: its z in every class, in the same hand.")
    opt.save(draw_walks(model, data), "walks", alt="Five rows; on the left a digit, then eleven images that turn from its class into another.")

    (ours, far, *_), (theirs, *_), (heavy, alike, *_) = (found[name] for name in ("CVAE-GAN", "CVAE", "CVAE, its KL × 3"))
    as_it_learns, alone = mixed[-20:].mean(axis=0)
    dies, _, grows = np.median(heard[-10:], axis=0) / heard[0]            # of single batches: one may be an exception
    print(f"\nSeen: of what the CVAE draws the judge names {theirs:.1%} as told, of the CVAE-GAN's {ours:.1%}.  With its KL × 3 the CVAE has "
          f"{heavy:.1%}, and\ndraws of a class that lie {alike:.2f} apart, where the CVAE-GAN's lie {far:.2f} and real ones {real:.2f}.  While the "
          f"discriminator's\nloss falls to {np.median(losses[-10:]):.4f}, what log(1 − D) says becomes {dies:.2g} of what it was, what centres say {grows:.0f} "
          f"times as much.\nA discriminator that learned from mixed batches has a loss of {as_it_learns:.2f} on them, and of {alone:.2f} asked about "
          f"each kind\nalone; a coin, {2 * np.log(2):.2f}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  $\lambda_3 = \lambda_4 = 10$, then $0.1$ (`train(…, weights=…)`).  What becomes of the judge's answers, of diversity, of recall?  And with
#    the pairs left out, $\lambda_2 = 0$?
# 2. *Break this.*  In `minivae/variants/cvae_gan.py` let `heard_by_makers` call `pull_looked` without `need_dp=False`.  What does the
#    classifier learn now, and which test says so?
# 3. *Derive this.*  $\mathcal L_{GD}$ is zero for every generator whose features have the right mean.  Show that for features that are linear in $x$
#    that is the mean image and no more; and that with features $f(x) = (x, x x^\top)$ it is the first two moments.  What does a
#    discriminator add that learns its features while the generator learns to match them?
