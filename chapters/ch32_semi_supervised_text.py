"""Chapter 32 · Few labels, many sentences.

The question     Sentences: two hundred have a label, thousands have none.  Can a model that writes teach one that reads?
What is new      an LSTM, its derivative through time by hand; sentences of different lengths; a label that every word hears.
What you'll see  padding that changes nothing; a writer that is told the label once and one that is told at every word, and how far each
                 listens; why z stays silent, and what dropped words do; a draw instead of a sum; sentences that nobody wrote.

    python chapters/ch32_semi_supervised_text.py                          SST-2, 200 labels: two minutes
    python chapters/ch32_semi_supervised_text.py --data trec --label-weight 30      questions of six kinds
    python chapters/ch32_semi_supervised_text.py --labels 100 200 500 1000       beside rivals, for each number of labels
    python chapters/ch32_semi_supervised_text.py --seeds 5                README.md's table
    minivae train --model m2_text --data sst2 --labels 200 --lr 2e-3      on the command line
    minivae sample runs/sst2 --given 1
"""

# %% [markdown]
# # 32 · Few labels, many sentences
#
# Chapter 22's M2 looked at images.  Here $x$ is a sentence $x_1 \dots x_T$, and the likelihood is a product along it,
#
# $$ \log p(x \mid y, z) = \sum_{t=1}^{T} \log p(x_t \mid x_1 \dots x_{t-1}, y, z), \tag{1} $$
#
# a word (or the end) at a time, each told all words before it.  The bounds stay what they were (Kingma et al. 2014; Xu, Sun, Deng and
# Tan 2017, for text): with $\mathcal L(x, y) = \mathbb E_{q(z \mid x, y)} \log p(x \mid y, z) - \mathrm{KL}(q(z \mid x, y) \,\|\, p(z)) + \log p(y)$,
#
# $$ \log p(x) \ge \mathcal U(x) = \sum_y q(y \mid x)\, \mathcal L(x, y) + \mathcal H(q(y \mid x)). \tag{2} $$
#
# Two networks have to *read* a sentence of any length, $q(y \mid x)$ and $q(z \mid x, y)$, and one has to *write* it.

# %%
import html
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.data import HiddenSentenceLabels
from minivae.data.sentences import sentences
from minivae.evaluation import (
    Estimate,
    LanguageModel,
    SentenceClassifier,
    bag_of_words,
    evaluate,
    logistic_regression,
    naive_bayes,
)
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.ops import lstm
from minivae.parts.sentences import PAD, told_before
from minivae.training import fit
from minivae.variants import TextM2Config
from minivae.variants.text_sizes import shares

WORDS, LENGTH, UNITS, LATENTS, BATCH = 1500, 25, 64, 16, 32
RATE, FORGET, WARM_UP, MAX_NORM = 2e-3, 0.3, 2, 20.0
WEIGHT = 1.0                                           # α/N, of what the labels themselves teach the classifier


# %% [markdown]
# ## An LSTM, line by line
#
# A recurrent network has a state, and at every step a new one from the old one and a word.  Through thirty steps a gradient is multiplied
# by thirty derivatives: it dies, or explodes.  The long short-term memory (Hochreiter and Schmidhuber 1997) has a state $c$ that is kept as it
# is, unless a **gate** $f$ says that it be erased, or a gate $i$ that something be written:
#
# $$ \begin{aligned}
# i, f, o &= \sigma(a_i), \sigma(a_f), \sigma(a_o), & g &= \tanh a_g, & a_k &= x_t W_k + h_{t-1} U_k + b_k, \\
# c_t &= f \odot c_{t-1} + i \odot g, & h_t &= o \odot \tanh c_t .
# \end{aligned} \tag{3} $$
#
# Backwards, from the last step to the first.  Two cotangents come from the step after, $dh$ and $dc$; to $dh$ is added what whoever looked at
# $h_t$ sends back.  Then
#
# $$ \begin{aligned}
# dc &\mathrel{+}= dh \odot o \odot (1 - \tanh^2 c_t) & & h_t \text{ shows } c_t \\
# da_i &= dc \odot g \odot i (1 - i), & da_f &= dc \odot c_{t-1} \odot f (1 - f), \\
# da_o &= dh \odot \tanh c_t \odot o (1 - o), & da_g &= dc \odot i \odot (1 - g^2), \\
# dh &\leftarrow \textstyle\sum_k da_k\, U_k^\top, & dc &\leftarrow dc \odot f .
# \end{aligned} \tag{4} $$
#
# The last line is the point: along $c$ a gradient is multiplied by $f$, and by nothing else.  The weights were used at every step, so
# $dW_k = \sum_t x_t^\top da_{k,t}$, $dU_k = \sum_t h_{t-1}^\top da_{k,t}$, $db_k = \sum_t da_{k,t}$, over all sequences as well; and
# $dx_t = \sum_k da_{k,t} W_k^\top$.  `ops.lstm` makes one product of all steps of each.

# %%
def sigma(a):
    return 1.0 / (1.0 + np.exp(-a))


def by_hand(x, h, c, W, U, b):                          # (T, B, I) (B, H) (B, H) (4, I, H) (4, H, H) (4, H) -> (T, B, H)
    """The states of an LSTM, eq. 3 as it is written"""
    steps = []
    for x_t in x:
        i, f, o, g = x_t @ W + h @ U + b[:, None]       # four products at once
        i, f, o, g = sigma(i), sigma(f), sigma(o), np.tanh(g)
        steps.append((x_t, h, c, i, f, o, g))
        c = f * c + i * g
        h = o * np.tanh(c)
        steps[-1] += (h, np.tanh(c))

    def pullback(dh_all):                               # eq. 4, upwards
        dx, dW, dU, db = np.empty_like(x), 0.0, 0.0, 0.0
        dh, dc = np.zeros_like(h), np.zeros_like(h)
        for t in reversed(range(len(x))):
            x_t, before, c_before, i, f, o, g, _, shown = steps[t]
            dh = dh + dh_all[t]
            dc = dc + dh * o * (1.0 - shown**2)
            da = np.stack([dc * g * i * (1.0 - i), dc * c_before * f * (1.0 - f), dh * shown * o * (1.0 - o),
                           dc * i * (1.0 - g**2)])
            dx[t], dW, dU, db = (da @ W.swapaxes(1, 2)).sum(axis=0), dW + x_t.T @ da, dU + before.T @ da, db + da.sum(axis=1)
            dh, dc = (da @ U.swapaxes(1, 2)).sum(axis=0), dc * f
        return dx, dh, dc, dW, dU, db

    return np.stack([step[7] for step in steps]), pullback


def checked(rng):
    """The largest difference between ours and minivae's, values and gradients"""
    parts = [rng.standard_normal(shape) for shape in ((5, 3, 2), (3, 4), (3, 4), (4, 2, 4), (4, 4, 4), (4, 4))]
    print(gradcheck(by_hand, *parts, name="an LSTM by hand"))
    (ours, pull), ((theirs, _), pull_theirs) = by_hand(*parts), lstm(*parts)
    dh = rng.standard_normal(ours.shape)
    pairs = [(ours, theirs), *zip(pull(dh), pull_theirs(dh, np.zeros((3, 4))))]
    return max(np.abs(a - b).max() for a, b in pairs)


# %% [markdown]
# ## Sentences of different lengths
#
# A batch is a rectangle; what is left of a row after its sentence is padding.  A **mask** says which steps there are.  A step that is none
# copies both states, $c_t = c_{t-1}$, $h_t = h_{t-1}$, and hands the gradient on as it came.  Then padding changes *nothing*, to the last
# digit, and nobody need be careful with it.  It only costs time, so batches hold sentences of about one length.

# %%
def padding_changes(rng):
    """By how much a gradient changes if three steps of noise are added, masked; and if they are not masked"""
    parts = [rng.standard_normal(shape) for shape in ((4, 2, 3), (2, 4), (2, 4), (4, 3, 4), (4, 4, 4), (4, 4))]
    longer = [np.concatenate([parts[0], rng.standard_normal((3, 2, 3))]), *parts[1:]]
    grads = []
    for inputs, mask in ((parts, None), (longer, np.arange(7)[:, None] + np.zeros((1, 2)) < 4), (longer, None)):
        (h, c), pull = lstm(*inputs, mask=mask)
        last = np.zeros_like(h)
        last[-1] = 1.0                                  # somebody looks at the last state
        grads.append(pull(last, np.zeros_like(c))[3])
    return [np.abs(grad - grads[0]).max() for grad in grads[1:]]


# %% [markdown]
# ## Who is told the label, and when
#
# A writer that is told $y$ and $z$ as the state that it begins with has to carry them through the sentence; and it is told all words before, which
# say most of what there is to say.  Xu et al. found that with such a writer the model fails: if it does not listen, $\mathcal L(x, y)$ is the same for
# all $y$.  Look at what the classifier hears of a sentence without a label,
#
# $$ \frac{\partial \mathcal U}{\partial a_y} = q(y \mid x) \bigl( \mathcal L(x, y) - \log q(y \mid x) - \mathcal U(x) \bigr) : \tag{5} $$
#
# if all $\mathcal L(x, y)$ are alike, it is told to be undecided: all that sentences without labels can then do is harm.  Their cure is plain:
# say the label *at every step*, so that it costs nothing to remember.  Our **conditional LSTM** adds $y V$ to the gates; in `ops.lstm` that is a
# $b$ for each sentence, $b + yV$.
#
# How far does a writer listen?  Let it classify: $\arg\max_y \mathcal L(x, y)$.  A writer that does not listen is right as often as a guess.

# %%
@dataclass
class Corpus:
    """Sentences to learn from, all with their labels, and those to be judged on"""
    data: object
    train: Batch
    test: Batch

    @property
    def sizes(self):
        return len(self.data.vocabulary), len(self.data.classes)


def made_up(rng, n):
    """Where there is no data set: a grammar of two classes, in which one word of three tells the class"""
    kinds = {"good": ("fine", "lovely", "clever", "warm"), "bad": ("dull", "stale", "silly", "cold")}
    heads, nouns = ("a", "this", "the", "one more"), ("film", "play", "plot", "cast", "score", "joke")
    def phrase(label):
        told = kinds[label] if rng.random() < 0.8 else kinds["bad" if label == "good" else "good"]
        return f"{rng.choice(heads)} {rng.choice(told)} {rng.choice(nouns)}".split()
    def part(count):
        y = rng.integers(0, 2, count)
        rows = [tuple(phrase(("bad", "good")[label]) + (["and", *phrase(("bad", "good")[label])] if rng.random() < 0.5 else []))
                for label in y]
        return rows, y
    return sentences("made up", {"train": part(n), "test": part(n // 4)}, ("bad", "good"))


def corpus(opt):
    data = opt.sentences("sst2")
    if data is None:
        print("sst2 is not here (`minivae data` says where it is looked for): made-up sentences instead")
        data = made_up(np.random.default_rng(0), 2000)
    data = data.coded(120 if opt.quick else WORDS, 8 if opt.quick else LENGTH)
    train, test = data.part("train"), data.part("test")
    return Corpus(data, train[:160], test[:60]) if opt.quick else Corpus(data, train, test)


def units(opt):
    return 8 if opt.quick else UNITS


def train_m2(corpus, labels, opt, seed, *, conditional=True, watch=True, progress=False, weight=WEIGHT):
    """The semi-supervised model; after each epoch the accuracies of its classifier and of its writer, percent"""
    told = HiddenSentenceLabels(labels, seed).ask(corpus.train)
    prior = tuple(shares(told.labels[:labels], corpus.sizes[1]))          # p(y): how often the labels that are told are y
    model = TextM2Config(*corpus.sizes, units(opt), units(opt), LATENTS, conditional, prior).build(
        seed=seed, on=opt.device, optimizer=Adam(RATE, max_norm=MAX_NORM), sentences=corpus.train.x, forget=FORGET,
        labelled_share=labels / len(corpus.train), label_weight=weight, warm_up=WARM_UP * -(-len(told) // BATCH))
    few, curve = plots.spread(corpus.test, 200), []
    def look(record, model):
        if watch:
            curve.append((right(model, few), writer_right(model, few)))
    fit(model, told, epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=progress, callback=look)
    return model, np.array(curve)


def right(model, test):
    """How often the classifier is right, percent"""
    return 100.0 * np.mean(to_numpy(model.classify(model.device.asarray(test.x))) == test.y)


def each_class(model, x, seed=0):
    """L(x, y) of every class, one draw of z        (B, T) -> (B, C)"""
    found, rng = [], model.device.rng(seed)
    for i in range(0, len(x), 50):
        part = model.device.asarray(x[i:i + 50])
        eps = rng.standard_normal((model.classes, len(part), model.latents), dtype=model.dtype)
        (nll, kl), _ = model.conditional_terms(x=part, y=model.every_class(eps), told=told_before(part), eps=eps.reshape(-1, model.latents))
        found.append(to_numpy(-(nll + kl)).reshape(model.classes, -1).T + model.log_p)
    return np.concatenate(found)


def writer_right(model, test):
    """How often the class under which the writer finds a sentence likeliest is right, percent"""
    return 100.0 * np.mean(each_class(model, test.x).argmax(axis=1) == test.y)


def rivals(corpus, labels, opt, seed):
    """What the labelled sentences alone can do: percent right"""
    few = corpus.train[HiddenSentenceLabels(labels, seed).kept(corpus.train)]
    (V, C), test = corpus.sizes, corpus.test
    x, points = bag_of_words(few.x, V), bag_of_words(test.x, V)
    reader = SentenceClassifier(V, C, device=opt.device, dimensions=units(opt), units=units(opt), seed=seed,
                                optimizer=Adam(RATE, max_norm=MAX_NORM))
    epochs = 2 if opt.quick else max(10, 6000 // labels)                  # some 200 steps of 32: then it knows them by heart
    fit(reader, few, epochs=epochs, batch_size=BATCH, seed=seed, progress=False)
    return {"naive Bayes": 100.0 * np.mean(naive_bayes(x, few.y, classes=C)(points) == test.y),
            "logistic regression": 100.0 * np.mean(logistic_regression(x, few.y, classes=C).predict(points) == test.y),
            "an LSTM of the same size": right(reader, test)}


def accuracies(corpus, labels, opt, seed, weight):
    """Of all, percent right; and the two models with their curves"""
    found, models = rivals(corpus, labels, opt, seed), {}
    for name, conditional in (("vanilla writer", False), ("conditional writer", True)):
        models[name] = train_m2(corpus, labels, opt, seed, conditional=conditional, watch=opt.watch, progress=not opt.quick and opt.watch,
                                weight=weight)
        found[name] = right(models[name][0], corpus.test)
    return found, models


def draw_curves(models, found, labels):
    fig, axes = plots.figure(1, 2, width=9.0, height=3.5)
    for ax, place, title in zip(axes, (0, 1), ("the classifier", "the writer, as a classifier")):
        for (name, (_, curve)), colour in zip(models.items(), plots.COLOURS):
            ax.plot(np.arange(1, len(curve) + 1), curve[:, place], color=colour, marker="o", markersize=3, label=name)
        ax.axhline(found["an LSTM of the same size"], color="black", ls="--", lw=1, label=f"an LSTM, of {labels} labels alone")
        ax.set(xlabel="epoch", title=title)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set(ylabel="unseen sentences right, percent")
    axes[0].legend(fontsize=8)
    return fig


# %% [markdown]
# ## Why z says nothing, and what helps
#
# In these models $z$ is there to say what the class leaves open.  But a writer that is told the words before needs it little, and at first, when
# $z$ is noise, to listen to it only costs: the KL falls to zero, and from then on $z$ says nothing that could be heard (chapter 12; Bowman et al.
# 2016 met it with sentences).  Their two remedies: **warm-up**, in which the KL of z costs nothing at first; and **word dropout**: a part of the
# words that the writer is *told* is replaced by UNKNOWN, so that it needs to hear the rest from z.  Words are replaced, whole; not entries of
# their vectors; not those that it has to *say*; and only in training.
#
# A KL of a thousandth of a nat is no sign of anything but that.  So beside the bounds stands a language model of the same size without a z:
# is a latent worth its price?

# %%
def without_labels(corpus, opt, seed, *, warm_up, forget, epochs, n=3000):
    """A VAE of sentences: one class.  -> the model, and its bound on test sentences"""
    x = corpus.train[:n]
    steps = -(-len(x) // BATCH)
    model = TextM2Config(corpus.sizes[0], 1, units(opt), units(opt), LATENTS).build(
        seed=seed, on=opt.device, optimizer=Adam(RATE, max_norm=MAX_NORM), sentences=x.x, forget=forget, label_weight=0.0,
        warm_up=warm_up * steps)
    none = np.zeros(len(x), int)
    fit(model, Batch(x=x.x, labelled=x.x, labels=none, lengths=x.lengths), epochs=epochs, batch_size=BATCH, seed=seed, progress=False)
    few = plots.spread(corpus.test, 300)
    return model, evaluate(model, Batch(x=few.x, labelled=few.x, labels=np.zeros(len(few), int)), seed=seed)


def table_of_remedies(corpus, opt, epochs):
    few, rows, models = plots.spread(corpus.test, 300), [], {}
    teller = LanguageModel(corpus.sizes[0], device=opt.device, dimensions=units(opt), units=units(opt), seed=opt.seed,
                           optimizer=Adam(RATE, max_norm=MAX_NORM), sentences=corpus.train.x[:3000])
    x = corpus.train[:3000]
    fit(teller, Batch(x=x.x, lengths=x.lengths), epochs=epochs, batch_size=BATCH, seed=opt.seed, progress=False)
    rows.append(("a language model, without z", -evaluate(teller, few.x).elbo.mean, 0.0, 0))
    for warm_up, forget in ((0, 0.0), (-(-epochs // 2), 0.0), (0, 0.6), (-(-epochs // 2), 0.6)):
        model, bound = without_labels(corpus, opt, opt.seed, warm_up=warm_up, forget=forget, epochs=epochs)
        means = to_numpy(model.encode(model.device.asarray(few.x), np.zeros(len(few), int))[0])
        rows.append((f"warm-up {warm_up} epochs, {forget:.0%} of words dropped", -bound.elbo.mean, bound.kl.mean,
                     (means.var(axis=0) > 0.01).sum()))
        models[warm_up > 0, forget > 0] = model
    print(f"\nsentences without labels, {epochs} epochs of {len(x):,}; nats a test sentence")
    print(f"{'':45}{'-ELBO':>9}{'KL':>8}   active units of {LATENTS}")
    for name, nats, kl, active in rows:
        print(f"{name:45}{nats:9.2f}{kl:8.2f}{active:9d}")
    return rows, models


def between(model, corpus, steps=5):
    """Sentences on the line between the codes of two test sentences, word by word the likeliest"""
    ends = plots.spread(corpus.test[corpus.test.lengths < 12], 2) if (corpus.test.lengths < 12).sum() > 1 else corpus.test[:2]
    z = to_numpy(model.encode(model.device.asarray(ends.x), np.zeros(2, int))[0])
    t = np.linspace(0.0, 1.0, steps, dtype=z.dtype)[:, None]
    said = model.decode(model.device.asarray((1 - t) * z[:1] + t * z[1:]), np.zeros(steps, int), steps=corpus.data.length)
    return [corpus.data.text(x) for x in ends.x], [corpus.data.text(x) for x in to_numpy(said)]


# %% [markdown]
# ## A draw instead of a sum
#
# The sum in (2) sends every sentence through encoder and writer $C$ times.  Xu et al. also draw one $y \sim q(y \mid x)$ instead, and give the classifier
# chapter 9's score function with a baseline $\beta$, $(\mathcal L(x, y) - \log q(y \mid x) - \beta)\, \nabla \log q(y \mid x)$.  On average that is eq. 5, whatever $\beta$ is.
# But how noisy?  For few classes the variance is a sum, and no draw is needed to know it.

# %%
def noise_of_a_draw(model, x):
    """Root mean square of the noise over that of the gradient in the logits: β = 0, the mean of U, a line in the length, each U itself"""
    L = each_class(model, x)
    log_q = to_numpy(model.class_log_prob(model.device.asarray(x))).astype(float)
    q, reward = np.exp(log_q), L - log_q
    exact = q * (reward - (q * reward).sum(axis=1, keepdims=True))
    lengths = (x != PAD).sum(axis=1)
    slope, offset = np.polyfit(lengths, (q * reward).sum(axis=1), 1)
    scores = np.eye(q.shape[1])[None] - q[:, None]                        # ∇ log q(y|x) in the logits        (B, C, C)
    found = []
    for baseline in (0.0, (q * reward).sum(axis=1).mean(), (slope * lengths + offset)[:, None], (q * reward).sum(axis=1, keepdims=True)):
        drawn = (reward - baseline)[:, :, None] * scores
        noise = (q[:, :, None] * (drawn - exact[:, None])**2).sum(axis=(1, 2))
        found.append(np.sqrt(noise.mean() / (exact**2).sum(axis=1).mean()))
    return found


# %% [markdown]
# ## Sentences of a class
#
# Draw $z \sim \mathcal N(0, I)$ and every word from $p(x_t \mid \dots)$; or take the likeliest word each time, which gives one bland sentence, the same for
# every $z$ that nobody listens to.

# %%
def by_class(model, corpus, rng, each=3):
    """For each class the greedy sentence of z = 0, and some draws        -> [(class, how, sentence)]"""
    rows = []
    for c, name in enumerate(corpus.data.classes):
        zero = model.device.asarray(np.zeros((1, model.latents), model.dtype))
        said = to_numpy(model.decode(zero, model.device.xp.full(1, c), steps=corpus.data.length))
        rows.append((name, "likeliest", corpus.data.text(said[0])))
        rows += [(name, "drawn", corpus.data.text(x)) for x in to_numpy(model.sample(each, rng, c, steps=corpus.data.length))]
    return rows


def page(rows, title):
    """A table as HTML"""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>'
            f"<table><tr><th>class</th><th>how</th><th>sentence</th></tr>{body}</table></html>")


# %%
def over_seeds(corpus, opt, args):
    for labels in args.labels:
        rows = []
        for seed in tqdm(range(opt.seed, opt.seed + args.seeds), unit="seed"):
            rows.append(accuracies(corpus, labels, opt, seed, args.label_weight)[0])
            print(f"\nseed {seed}: " + ", ".join(f"{name} {value:.1f}" for name, value in rows[-1].items()), flush=True)
        print(f"\n{corpus.data.name}, {labels} labels: percent of {len(corpus.test):,} test sentences right, ± over {args.seeds} seeds")
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        for name, values in columns.items():
            print(f"{name:26} {Estimate.of(values)}     {'  '.join(f'{value:5.1f}' for value in values)}")
        ours = columns["conditional writer"]
        print("seed by seed the conditional writer's has " + ", ".join(
            f"{Estimate.of(ours - columns[name])} more than {name}" for name in columns if name != "conditional writer"))
    lstm, vanilla = columns["an LSTM of the same size"], columns["vanilla writer"]
    opt.record("text", {"conditional writer, % right": ours, "LSTM on labels alone": lstm, "vanilla writer": vanilla,
                        "more than the LSTM": ours - lstm, "more than the vanilla writer": ours - vanilla},
               accepted, data=f"{labels} labels, {corpus.data.name}", seeds=args.seeds)


def accepted(found):
    """What is asked of it."""
    return {f"right more often than {whom}, by two standard errors": found[f"more than {whom}"].mean
            > 2 * found[f"more than {whom}"].standard_error for whom in ("the LSTM", "the vanilla writer")}


def main(argv=None):
    arguments = parser("ch32", __doc__, epochs=3, data="auto")
    arguments.add_argument("--labels", type=int, nargs="+", default=[200], help="sentences with a label; several: a table (default: 200)")
    arguments.add_argument("--label-weight", type=float, default=WEIGHT, help=f"α/N of chapter 22, what labels alone teach the classifier (default: {WEIGHT:g})")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(f"ours and minivae's differ by at most {checked(rng):.0e}")
    masked, unmasked = padding_changes(rng)
    print(f"three steps of padding change a gradient by {masked:.0e}; without the mask, by {unmasked:.1g}\n")
    texts = corpus(opt)
    print(texts.data)
    args.labels = [min(labels, len(texts.train) // 4) for labels in args.labels]
    opt.watch = args.seeds == 1
    if args.seeds > 1:
        over_seeds(texts, opt, args)
        return
    for labels in args.labels:
        found, models = accuracies(texts, labels, opt, opt.seed, args.label_weight)
        print(f"\n{labels} labels: percent of {len(texts.test):,} test sentences right")
        for name, value in found.items():
            print(f"{name:26} {value:5.1f}")
    opt.save(draw_curves(models, found, labels), "curves", alt="Accuracy over epochs, left of the classifier, right of the writer as one: "
             f"at the end {', '.join(f'{name} {curve[-1][0]:.0f} and {curve[-1][1]:.0f}' for name, (_, curve) in models.items())} percent.")
    model = models["conditional writer"][0]
    few = plots.spread(texts.test, 20 if opt.quick else 400)
    apart = {name: np.ptp(each_class(m, few.x), axis=1).mean() for name, (m, _) in models.items()}
    heard = {name: writer_right(m, few) for name, (m, _) in models.items()}
    print("\nbetween the likeliest and the unlikeliest class L(x, y) differs by " + ", ".join(f"{v:.2f} nats ({k})" for k, v in apart.items()))
    noise = noise_of_a_draw(model, few.x)
    print("noise of one drawn y, in lengths of the gradient: {:.0f} without a baseline, {:.0f} with a mean, {:.0f} with one for the "
          "length, {:.1f} with each sentence's own".format(*noise))
    rows, vaes = table_of_remedies(texts, opt, 1 if opt.quick else 4)
    ends, line = between(vaes[True, True], texts)
    print("\nbetween two sentences, word by word the likeliest:\n   " + ends[0] + "\n" + "".join(f"      {s}\n" for s in line) + "   " + ends[1])
    said = by_class(model, texts, opt.device.rng(opt.seed))
    print("\n" + "\n".join(f"{name:12} {how:10} {text}" for name, how, text in said))
    opt.save_page(page(said, f"{texts.data.name}: sentences by class"), "sentences", alt="A table of sentences that the model wrote, by class.")
    told, (_, best, kl, active) = rows[0], min(rows[1:], key=lambda row: row[1])
    print(f"\nSeen: with {labels} labels the classifier that the conditional writer taught is right about {found['conditional writer']:.1f}% of unseen "
          f"sentences, the vanilla\nwriter's about {found['vanilla writer']:.1f}%, an LSTM that heard the labels alone {found['an LSTM of the same size']:.1f}%, naive Bayes "
          f"{found['naive Bayes']:.1f}%.  As classifiers the writers themselves are right\nabout {heard['conditional writer']:.1f}% and {heard['vanilla writer']:.1f}%.  "
          f"A language model needs {told[1]:.2f} nats a sentence, the best of four VAEs {best:.2f}, of which\n{kl:.2f} are the price of z, with {active} of {LATENTS} units in use.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Word dropout at 0, 0.3, 0.6 and 1 (`FORGET`): what does the writer that is told no word at all make of a sentence, and which of
#    the four teaches the classifier best?
# 2. *Break this.*  Let the mask stop the state but not the gradient: in `by_hand` add a mask, copy $h$ and $c$ forwards, and forget the
#    two lines that hand $dh$ and $dc$ on.  Which gradients are wrong, which are right, and does a finite difference see it?
# 3. *Derive this.*  Show that $(\mathcal L(x, y) - \log q(y \mid x) - \beta)\, \nabla \log q(y \mid x)$ with $y \sim q$ has the mean (5) for every $\beta$, and find the
#    $\beta$ of least variance for a sentence.  Why is it not the mean of $\mathcal L - \log q$, and for two classes what is the variance that is left?
