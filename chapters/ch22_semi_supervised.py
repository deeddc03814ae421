"""Chapter 22 · Few labels, many images: M1 and M2.

The question     A hundred digits have a label, thousands have none.  What are the thousands good for?
What is new      a sum over all classes instead of a draw, and its pullback through the softmax.
What you'll see  how often a classifier errs that saw a hundred labels alone, and how often two models that saw the other
                 images, too; and every test digit's style in all ten classes.

    python chapters/ch22_semi_supervised.py                         4,000 digits, two or three minutes
    python chapters/ch22_semi_supervised.py --seeds 5               five draws of the labels: the table of README.md
    python chapters/ch22_semi_supervised.py --data mnist --epochs 15             60,000 digits: a quarter of an hour
"""

# %% [markdown]
# # 22 · Few labels, many images: M1 and M2
#
# Labels are dear, images are cheap.  Of 4,000 digits let 100 be labelled, ten of each class.  A classifier of the 100 sees
# nothing of the others.  Kingma, Rezende, Mohamed and Welling (2014) let a model of images use them, in two ways.
#
# **M1.**  Train a VAE on all images.  Where it puts them, $z$, is a better place for a classifier than pixels: two hands'
# fours lie nearer each other.  The labels come in afterwards.
#
# **M2.**  Let the class be a part of the model: $y \sim p(y)$, a style $z \sim \mathcal N(0, I)$, and an image
# $x \sim p(x \mid y, z)$.  An image *with* its label has the bound of chapter 21, and $\log p(y)$ besides:
#
# $$ \log p(x, y) \;\ge\; L(x, y) = \mathbb E_{q(z \mid x, y)}\big[\log p(x \mid y, z)\big]
#    - \mathrm{KL}\big(q(z \mid x, y) \,\|\, \mathcal N(0, I)\big) + \log p(y) . $$
#
# *Without* it, $y$ is one more latent.  Its posterior is a classifier, $q(y \mid x)$, and Jensen's inequality gives
#
# $$ \log p(x) \;\ge\; U(x) = \sum_y q(y \mid x)\, \big(L(x, y) - \log q(y \mid x)\big)
#    = \sum_y q(y \mid x)\, L(x, y) + \mathrm H\big(q(y \mid x)\big) . $$
#
# So the classifier is trained by images that nobody labelled: *say the class with which the decoder explains you best*.
#
# ## A sum that is done, not drawn
#
# A Gaussian $z$ can be drawn and the draw differentiated (chapter 9).  A class cannot: there is no small step from a 4 to a
# 9.  But there are only ten.  So do the sum: each image goes through encoder and decoder with every class, $C \cdot B$ rows.
#
# With logits $a$, $q = \mathrm{softmax}(a)$.  First for $q$, as if its entries were free:
#
# $$ \frac{\partial U}{\partial L_y} = q_y, \qquad \frac{\partial U}{\partial q_y} = L_y - \log q_y - 1 . $$
#
# A softmax carries a gradient $g$ back to its logits as $q_y\,(g_y - \sum_k q_k g_k)$.  Here $\sum_k q_k g_k = U - 1$, and
# the two ones cancel:
#
# $$ \frac{\partial U}{\partial a_y} = q_y \,\big( L_y - \log q_y - U \big) . $$
#
# It vanishes where $L_y - \log q_y$ is the same for all $y$, which is where $q_y \propto e^{L_y}$: Bayes' rule, with bounds in
# the place of probabilities.  There $U = \log \sum_y e^{L_y}$, and in general $U$ lies below that by
# $\mathrm{KL}(q \,\|\, \mathrm{softmax}(L))$.

# %%
import tracemalloc

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.data import HiddenLabels
from minivae.evaluation import (
    Estimate,
    classification_error,
    digit_classifier,
    logistic_regression,
    nearest_neighbours,
    support_vectors,
)
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, cosine
from minivae.training import fit
from minivae.variants import M1M2Config, M2Config


# %%
def sum_over_classes(a, L):                           # (B, C) (B, C) -> (B,)
    """U = Σ_y q_y (L_y − log q_y),   q = softmax(a)"""
    log_q = a - a.max(axis=1, keepdims=True)
    log_q = log_q - np.log(np.exp(log_q).sum(axis=1, keepdims=True))
    q = np.exp(log_q)
    U = (q * (L - log_q)).sum(axis=1)

    def pullback(dU):
        dL = q * dU[:, None]
        return dL * (L - log_q - U[:, None]), dL

    return U, pullback


def same_as_library(rng):
    """The largest difference between ours and M2's, of U and of all gradients: class by class, and put together by hand."""
    model = M2Config(6, 3, (5,), 2, "tanh", class_prior=(0.5, 0.3, 0.2)).build(dtype=np.float64)
    x, eps, dU = 1.0 * (rng.random((4, 6)) < 0.5), rng.standard_normal((3, 4, 2)), rng.standard_normal(4)
    (nll, kl), pullback = model.unlabelled_terms(x=x, eps=eps)
    pullback(-dU, -dU)
    theirs = model.arena.grad.copy()

    model.arena.zero_grad()
    logits, pull_classifier = model.classifier(x)
    each = [model.labelled_terms(x=x, labels=np.full(4, y), eps=eps[y]) for y in range(3)]
    U, pull_sum = sum_over_classes(logits, np.stack([-(terms[0] + terms[1]) for terms, _ in each], axis=1))
    dlogits, dL = pull_sum(dU)
    pull_classifier(dlogits)
    for (_, pull_y), dL_y in zip(each, dL.T):
        pull_y(-dL_y, -dL_y)
    return max(np.abs(U + nll + kl).max(), np.abs(model.arena.grad - theirs).max())


# %% [markdown]
# ## Who hears what
#
# Encoder and decoder hear $L$ and $U$.  The classifier hears $U$ alone: in $L(x, y)$ nobody asks for $q(y \mid x)$, so *the
# labels would not teach it*.  Hence a third term, the cross-entropy of the labels (eq. 9):
#
# $$ \sum_{\text{labelled}} L(x, y) + \sum_{\text{others}} U(x)
#    + \frac{\alpha}{N_{\text{labelled}}} \sum_{\text{labelled}} \log q(y \mid x) . $$
#
# The paper's $\alpha$ is $0.1 \cdot N$, for $N$ images: per image a weight of 0.1 on a surprise of $\log 10 = 2.3$ nats,
# beside a $U$ of a hundred.  And what does $U$ say to the classifier?  *The class with which the decoder explains the image
# better*.  Before the decoder has learned what a 4 is, that is an accident, and it grows: classes may become thick and thin,
# upright and slanted, while $z$ says the digit.  The authors begin with all weights near zero and train for 3,000 epochs.  We have two
# minutes, so labels weigh more (10 in pixels, 1 on M1's latents; `--label-weight`), and in the decoder's first weights $y$
# speaks three times as loud as $z$: what $y$ can explain is then not left to $z$.
#
# *How few labels a batch would hold.*  Of 60,000 images with 100 labels, one batch of 100 in six would have a single label,
# with sixty times the weight.  Here every row of a batch is a pair: an image without a label, and one with, the hundred
# coming round again and again.  Each of the three sums is estimated by as many rows; the weights are those of the formula.
#
# ## M1+M2
#
# In pixels M2 has to learn at once what images look like and what classes are.  Stacked on M1 it explains M1's latents:
# $x$ is replaced by fresh draws $z_1 \sim q(z_1 \mid x)$, its likelihood is a Gaussian.  It is small, quick, and better.
#
# How can one see whether $y$ is the class, or only something that goes with it?  By **analogies**: take an image's $z$, and
# decode it with every $y$.  If the row shows ten digits in one hand, $y$ says the digit and $z$ the hand.  If it shows one
# digit ten times, $z$ says the digit, too, and the classifier's help is not needed: nor can it then learn from $U$.

# %%
def train_m1(part, opt, args):
    """M1 on all images: the first stage of M1+M2, which is the same for all draws of the labels."""
    steps = opt.epochs * -(-len(part) // 100)
    model = m1m2_size(part, opt, args).build(seed=opt.seed, on=opt.device, images=part.x, m1_steps=steps,
                                             optimizers={"m1": Adam(cosine(2e-3, steps=steps))})
    fit(model, HiddenLabels.judge(part), epochs=opt.epochs, batch_size=100, binarize=True, seed=opt.seed,
        progress=not opt.quick)
    return model


def m1m2_size(part, opt, args):
    return M1M2Config(part.x.shape[1], 10, (20,) if opt.quick else (args.hidden,), 5 if opt.quick else 10,
                      m1_latents=5 if opt.quick else 20)


def train_both(part, m1, opt, args, *, seed, progress):
    """M2 on pixels, and M2 on M1's latents, with the labels of this draw: the models, and both errors epoch by epoch"""
    hide = HiddenLabels(args.labels, seed)
    told, share = hide.ask(part), args.labels / len(part)
    weight = {"M2": 10.0, "M1+M2": 1.0} if args.label_weight is None else dict.fromkeys(("M2", "M1+M2"), args.label_weight)
    epochs = {"M2": max(1, opt.epochs // 3), "M1+M2": opt.epochs}
    rate = {name: Adam(cosine(lr, steps=n * -(-len(told) // 100))) for (name, n), lr in zip(epochs.items(), (1.5e-3, 3e-3))}
    m2 = M2Config(part.x.shape[1], 10, (20,) if opt.quick else (args.hidden,), 5 if opt.quick else 10).build(
        seed=seed, on=opt.device, images=told.x, optimizer=rate["M2"], labelled_share=share, label_weight=weight["M2"])
    both = m1m2_size(part, opt, args).build(seed=seed, on=opt.device, optimizers={"m2": rate["M1+M2"]},
                                            labelled_share=share, label_weight=weight["M1+M2"])
    both.networks["m1"].arena.load(m1.networks["m1"].arena.arrays())
    curves = {}
    for name, model in (("M2", m2), ("M1+M2", both)):
        curve = curves[name] = []
        fit(model, told, epochs=epochs[name], batch_size=100, binarize=True, seed=seed, progress=progress,
            callback=lambda record, model, curve=curve: curve.append(classification_error(model, args.judged).mean))
    return {"M2": m2, "M1+M2": both}, curves


def rivals(part, test, m1, args, seed):
    """Of what labelled images alone can do, in pixels and on M1's latents: 100 for a wrong answer, 0 for a right one"""
    kept, wrong = HiddenLabels(args.labels, seed).kept(part), {}
    y = part.y[kept]
    for place, x, points in (("pixels", part.x[kept], test.x), ("M1", codes(m1, part.x[kept]), codes(m1, test.x))):
        for name, guess in (("logistic regression", logistic_regression(x, y, classes=10).predict(points)),
                            ("nearest neighbour", nearest_neighbours(x, y, points)),
                            ("SVM", support_vectors(x, y, classes=10).predict(points))):
            wrong[f"{place}: {name}"] = 100.0 * (guess != test.y)
    return wrong


def codes(m1, x):
    """Means of q(z₁|x), on the host"""
    return to_numpy(m1.codes(m1.device.asarray(x, dtype=m1.dtype))[0]).astype(np.float64)


def errors(part, test, m1, opt, args, *, seed, progress):
    """Errors of everybody with the labels of this draw, name -> percent, the models, and their curves"""
    models, curves = train_both(part, m1, opt, args, seed=seed, progress=progress)
    found = {name: Estimate.of(wrong) for name, wrong in rivals(part, test, m1, args, seed).items()}
    return found | {name: classification_error(model, args.judged) for name, model in models.items()}, models, curves


def recognised(model, seed, n=1000):
    """The share of digits, drawn class by class, that a judge (trained on all of MNIST) sees as their class, percent"""
    drawn = to_numpy(model.sample(n, model.device.rng(seed)))
    return 100.0 * np.mean(to_numpy(digit_classifier().predict(drawn)) == np.arange(n) % 10)


def accepted(found):
    """What is asked of M1+M2."""
    return {"at least 5 points below an SVM on pixels": found["SVM less M1+M2"].mean >= 5}


def over_seeds(part, test, m1, opt, args):
    """The errors over several draws of the labels; M1, which sees none, is the same for all."""
    rows = [errors(part, test, m1, opt, args, seed=seed, progress=False)[0]
            for seed in tqdm(range(opt.seed, opt.seed + args.seeds), unit="draw")]
    print(f"\n{args.labels} labels, drawn {args.seeds} times: test error in percent, mean ± standard error; each draw's")
    for name in rows[0]:
        each = np.array([row[name].mean for row in rows])
        print(f"{name:32} {Estimate.of(each)}     {'  '.join(f'{e:5.2f}' for e in each)}")
    svm, best, between = (np.array([row[name].mean for row in rows]) for name in ("pixels: SVM", "M1+M2", "M2"))
    opt.record("m1m2", {"M2, % wrong": between, "M1+M2": best, "SVM on pixels": svm, "SVM less M1+M2": svm - best}, accepted,
               data=f"{args.labels} labels, {len(part):,} {opt.data}", seeds=args.seeds)
    print(f"\nSeen: over {args.seeds} draws of {args.labels} labels M1+M2 errs on {Estimate.of(best)}%, "
          f"{Estimate.of(svm - best)} points less than an SVM on the same\nlabelled pixels; M2 on {Estimate.of(between)}%.")


def memory(model, part, args):
    """MB that a step of 100 images takes beyond the model: all ten classes of each go through the networks at once"""
    batch = HiddenLabels(args.labels, 0).ask(part)[:100].on(model.device, model.dtype)
    rng = model.device.rng(0)
    model.train_step(batch, rng)
    tracemalloc.start()
    model.train_step(batch, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def draw_errors(found, curves):
    fig, ax = plots.figure(width=7.2, height=4.0)
    for (name, curve), colour, marker in zip(curves.items(), plots.COLOURS, "so"):
        ax.plot(np.arange(1, len(curve) + 1) / len(curve), curve, color=colour, marker=marker, markersize=3, lw=1.3,
                label=f"{name}: {found[name].mean:.1f}%")
    for name, colour, dashes in zip(("pixels: SVM", "M1: SVM"), plots.COLOURS[2:], ("--", ":")):
        ax.axhline(found[name].mean, color=colour, ls=dashes, lw=1.3, label=f"{name}: {found[name].mean:.1f}%")
    ax.set(xlabel="share of the training", ylabel="test error, percent", ylim=(0, min(100.0, 2 * found["pixels: SVM"].mean)))
    ax.legend(fontsize=9)
    return fig


# %%
def main(argv=None):
    arguments = parser("ch22", __doc__, epochs=60)
    arguments.add_argument("--labels", type=int, default=100, help="images with a label, ten classes alike (default: 100)")
    arguments.add_argument("--label-weight", type=float, help="α/N; the paper's is 0.1 (default: M2 10, M1+M2 1)")
    arguments.add_argument("--hidden", type=int, default=150, help="units of every hidden layer (default: 150)")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many draws of the labels")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(sum_over_classes, *rng.standard_normal((2, 4, 3)), name="the sum over classes"))
    print(f"ours and minivae's differ by at most {same_as_library(rng):.0e}\n")

    dataset = opt.digits()
    part, test = dataset.part("train"), dataset.part("test")
    if opt.quick:
        part, test = part[:400], test[:100]
    args.judged = HiddenLabels.judge(test)
    print(f"M1: {opt.epochs} epochs on {len(part):,} images")
    m1 = train_m1(part, opt, args)
    if args.seeds > 1:
        over_seeds(part, test, m1, opt, args)
        return
    print(f"\nM2 on pixels: {max(1, opt.epochs // 3)} epochs; on M1's latents: {opt.epochs}; {args.labels} labels")
    found, models, curves = errors(part, test, m1, opt, args, seed=opt.seed, progress=not opt.quick)
    print(f"\n{args.labels} labels: test error in percent")
    for name, error in found.items():
        print(f"{name:32} {error}")

    opt.save(draw_errors(found, curves), "errors", alt="Test error in percent over the training. M2 on pixels ends at "
             f"{found['M2'].mean:.1f}, M1+M2 at {found['M1+M2'].mean:.1f}; two horizontal lines are the support vector "
             f"machines, on pixels at {found['pixels: SVM'].mean:.1f} and on M1's latents at {found['M1: SVM'].mean:.1f}.")
    for name, model in models.items():
        file, few = name.replace("+", "").lower(), plots.spread(test.x, 10)
        opt.save(plots.analogies(model, few, dataset.image_shape, title=f"{name}: left, an image; right, its style in all "
                                 "ten classes"), f"analogies_{file}", alt=f"Ten rows: an unseen digit, and beside it what {name} draws with "
                 "the z of that digit, such as its slant and thickness, and each class from 0 to 9.")
    judged = {name: recognised(model, opt.seed, 100 if opt.quick else 1000) for name, model in models.items()}
    print("\ndrawn class by class, recognised as their class: " + ", ".join(f"{n} {p:.1f}%" for n, p in judged.items()))
    print("a step of 100 images takes " + ", ".join(f"{memory(model, part, args):.1f} MB ({name})" for name, model in models.items()))
    svm, both = found["pixels: SVM"], found["M1+M2"]
    print(f"\nSeen: with {args.labels} labels a support vector machine on pixels errs on {svm.mean:.1f}% of unseen digits, "
          f"one on M1's latents on {found['M1: SVM'].mean:.1f}%,\nM2 on {found['M2'].mean:.1f}%, and M1+M2, which heard "
          f"{len(part) - args.labels:,} images without labels, on {both.mean:.1f}%: {svm.mean - both.mean:.1f} points less. "
          f"Of digits that\nM1+M2 draws class by class {judged['M1+M2']:.1f}% are recognised, of M2's {judged['M2']:.1f}%. "
          "(The paper, with 50,000 images:\nM2 errs on 11.97%, M1+M2 on 3.33%.)")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Give the labels the paper's weight, `--label-weight 0.1`.  Which of the two models minds, and what have
#    its classes become (look at its analogies)?  In pixels, which class has the largest $L(x, y)$, and is it right more
#    often than the classifier?
# 2. *Break this.*  Public repositories leave $\log p(y)$ out, "and it works all the same".  When does it?  Then draw one
#    class from $q(y \mid x)$ instead of summing: what still reaches the classifier, and what would bring the rest back
#    (chapter 9 has the answer, and its price)?
# 3. *Derive this.*  Show that $U(x) = \log \sum_y e^{L(x, y)} - \mathrm{KL}\big(q(y \mid x) \,\|\, \mathrm{softmax}(L)\big)$.
#    So one could do without a classifier, and climb $\log \sum_y e^{L(x, y)}$ itself.  What would be lost?
