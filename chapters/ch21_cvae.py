"""Chapter 21 · The conditional VAE.

The question     One quarter of a digit is given.  What is the rest?  More than one answer is right.
What is new      a prior that looks at what is given, and learns: the KL of two Gaussians, differentiated four times.
What you'll see  a network that answers with the average of all answers, a CVAE that answers with one after the other, and
                 in nats what that is worth.

    python chapters/ch21_cvae.py                                    4,000 digits, two minutes
    python chapters/ch21_cvae.py --seeds 5                          one quadrant, five times: the table of README.md
    minivae train --model cvae --data binarized_mnist --observed 1 --hidden 500 500 --latents 200 --epochs 100
                                                                    the paper's size: an hour or two
"""

# %% [markdown]
# # 21 · The conditional VAE
#
# A network that predicts $y$ from $x$ answers with one guess.  Where several answers are right it cannot choose: trained
# by the likelihood of independent pixels it answers with their average, a grey cloud that no one ever wrote.  So let a
# latent $z$ choose (Sohn, Lee and Yan 2015):
#
# $$ z \sim p(z \mid x), \qquad y \sim p(y \mid x, z), \qquad p(y \mid x) = \int p(y \mid x, z)\, p(z \mid x)\, dz . $$
#
# That is a VAE of $y$, all of whose parts are told $x$.  Jensen's inequality is as before, and gives the bound
#
# $$ \log p(y \mid x) \;\ge\; \mathbb E_{q}\big[\log p(y \mid x, z)\big]
#    - \mathrm{KL}\big( q(z \mid x, y) \,\|\, p(z \mid x) \big) . $$
#
# The prior is a network now: *which* answers are likely depends on what is seen.  An encoder that knows $y$, the
# **recognition network**, says which answer it was.
#
# ## The KL of two Gaussians
#
# For one latent, with $q = \mathcal N(\mu_q, \sigma_q^2)$ and $p = \mathcal N(\mu_p, \sigma_p^2)$, take the expectation of
# $\log q - \log p$ under $q$.  $\mathbb E (z - \mu_q)^2 = \sigma_q^2$, and
# $\mathbb E (z - \mu_p)^2 = \sigma_q^2 + (\mu_q - \mu_p)^2$, so
#
# $$ \mathrm{KL} = \tfrac12 \Big( \log \sigma_p^2 - \log \sigma_q^2 + \frac{\sigma_q^2 + (\mu_q - \mu_p)^2}{\sigma_p^2}
#    - 1 \Big) . $$
#
# With $r = \sigma_q^2 / \sigma_p^2$ and $d = (\mu_q - \mu_p) / \sigma_p^2$ its four derivatives are short:
#
# $$ \frac{\partial}{\partial \mu_q} = d, \qquad \frac{\partial}{\partial \mu_p} = -d, \qquad
#    \frac{\partial}{\partial \log \sigma_q^2} = \tfrac12 (r - 1), \qquad
#    \frac{\partial}{\partial \log \sigma_p^2} = \tfrac12 \big(1 - r - d\,(\mu_q - \mu_p)\big) . $$
#
# What one mean is pulled to, the other is pushed to: the two meet.  For $\mu_p = 0$, $\sigma_p = 1$ this is chapter 8.

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.data import Quadrants
from minivae.distributions import gaussian_kl_between
from minivae.evaluation import Estimate, conditional_log_likelihood
from minivae.evaluation.neighbours import squared_distances
from minivae.gradcheck import gradcheck
from minivae.nn import Adam
from minivae.training import fit
from minivae.variants import CVAEConfig


# %%
def kl_of_two(mean_q, logvar_q, mean_p, logvar_p):    # all (B, Z) -> (B,)
    """KL( N(μ_q, σ_q²) ‖ N(μ_p, σ_p²) )"""
    r = np.exp(logvar_q - logvar_p)
    apart = mean_q - mean_p
    d = apart * np.exp(-logvar_p)

    def pullback(dkl):
        dkl = dkl[:, None]
        return d * dkl, 0.5 * (r - 1.0) * dkl, -d * dkl, 0.5 * (1.0 - r - d * apart) * dkl

    return 0.5 * (logvar_p - logvar_q + r + d * apart - 1.0).sum(axis=1), pullback


def same_as_library(rng):
    """The largest difference between ours and minivae's, of the value and the four gradients."""
    inputs, dkl = rng.standard_normal((4, 5, 3)), rng.standard_normal(5)
    (ours, pull_ours), (theirs, pull_theirs) = kl_of_two(*inputs), gaussian_kl_between(*inputs)
    return max(np.abs(a - b).max() for a, b in zip((ours, *pull_ours(dkl)), (theirs, *pull_theirs(dkl))))


# %% [markdown]
# ## A baseline first
#
# As in the paper a **baseline** network first learns to guess $\hat y_0$ from $x$ alone, by $\log p(y \mid x)$ of
# independent pixels.  Then it is left as it is: $\hat y_0$ is told to all three networks, and the decoder only adds to the
# baseline's logits.  A decoder that says nothing *is* the baseline; whatever the CVAE gains, $z$ has gained.
#
# In a training step who hears what?  The bound is heard by the recognition network (through the draw, and through the KL),
# by the decoder (through the draw), and by the prior network: through the KL alone.  That is a difference between training
# and use: in use $z$ comes from $p(z \mid x)$, whose draws the decoder has never seen.  The paper's remedy is to mix in a
# second loss, with $z$ drawn from $p(z \mid x)$:
#
# $$ \alpha \cdot \text{CVAE} + (1 - \alpha) \cdot \big(-\log p(y \mid x, z)\big), \qquad z \sim p(z \mid x) . $$
#
# ## How good is an answer?
#
# $p(y \mid x)$ is an average over $z$, and can be estimated by one: of $p(y \mid x, z)$ over draws of the prior, or of
# $p(y, z \mid x)/q(z \mid x, y)$ over draws of $q$.  Both averages are unbiased, so both logarithms are in expectation lower
# bounds, and grow with the number of draws $S$; $q$ knows where to look and comes nearer.

# %%
def ask(dataset, observed, opt):
    """Training and test images (black and white) as x, what is given, and y, the rest."""
    asked = Quadrants(dataset.image_shape, observed)
    train, test = (Batch(x=(np.random.default_rng(seed).random(images.shape) < images).astype(np.float32))
                   for seed, images in ((1, dataset.train), (0, plots.spread(dataset.test, 100 if opt.quick else 1000))))
    return asked, asked.ask(train), asked.ask(test)


def train(asked, part, opt, *, seed, alpha=1.0, progress=True):
    size = CVAEConfig(*asked.sizes, hidden=(30,) if opt.quick else (400,), latents=5 if opt.quick else 30, alpha=alpha)
    first = 1 if opt.quick else max(1, opt.epochs // 4)
    steps = first * -(-len(part) // 100)
    model = size.build(seed=seed, on=opt.device, targets=part.y, baseline_steps=steps,
                       optimizers={"baseline": Adam(1e-3), "cvae": Adam(1e-3)})
    fit(model, part, epochs=first + opt.epochs, batch_size=100, seed=seed, progress=progress)
    return model


def neighbours(part, test, k=20):
    """log p(y|x) of a rival without a network: the average answer of the k nearest x, and a little doubt        -> (N,)"""
    near = np.argpartition(squared_distances(test.x, part.x), k, axis=1)[:, :k]
    p = (part.y[near].sum(axis=1) + 0.5) / (k + 1.0)
    return (test.y * np.log(p) + (1.0 - test.y) * np.log1p(-p)).sum(axis=1)


def over_seeds(dataset, opt, seeds):
    """Baseline, CVAE by p and by q, gain: a row for each seed, of one quadrant."""
    asked, part, test = ask(dataset, 1, opt)
    rows = []
    for seed in tqdm(range(opt.seed, opt.seed + seeds), unit="seed"):
        found = conditional_log_likelihood(train(asked, part, opt, seed=seed, progress=False), test, samples=100, seed=seed)
        rows.append([found.baseline.mean, found.by_p.mean, found.by_q.mean, found.gain.mean])
    print(f"one quadrant, {seeds} seeds, log p(y|x) in nats")
    table = dict(zip(("baseline", "CVAE, 100 draws of p(z|x)", "CVAE, 100 draws of q(z|x, y)", "gain"), zip(*rows)))
    for name, column in table.items():
        print(f"{name:30} {Estimate.of(np.array(column))}")
    opt.record("cvae", table, accepted, data=f"a quadrant of {dataset.name}", seeds=seeds)


def accepted(found):
    """What is asked of it."""
    return {"more than 20 nats above the baseline": found["gain"].mean > 20}


# %%
def main(argv=None):
    arguments = parser("ch21", __doc__, epochs=25)
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table of one quadrant over so many")
    opt, args = options(arguments, argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(kl_of_two, *rng.standard_normal((4, 5, 3)), name="the KL of two Gaussians"))
    print(f"ours and minivae's differ by at most {same_as_library(rng):.0e}\n")
    dataset = opt.images()
    if args.seeds > 1:
        over_seeds(dataset, opt, args.seeds)
        return

    table, first = {}, None
    for observed in (1, 2, 3):
        asked, part, test = ask(dataset, observed, opt)
        model = train(asked, part, opt, seed=opt.seed, progress=not opt.quick)
        found = conditional_log_likelihood(model, test, samples=20 if opt.quick else 100, seed=opt.seed)
        table[observed] = found
        near = Estimate.of(neighbours(part, test))
        print(f"{observed} of 4 quadrants given, log p(y|x): 20 nearest neighbours {near}\n{found}\n")
        if first is None:
            first = found
            opt.save(plots.completions(model, plots.spread(test, 8), asked.whole, dataset.image_shape, draws=8,
                                       seed=opt.seed), "completions", alt="Eight rows of unseen digits. On the left the "
                     "lower left quarter that is given, then the baseline's guess, grey where it is not sure; then eight "
                     "digits that the CVAE drew for the same quarter, each a clear one; on the right the digit it was.")
    hybrid_of, part, test = ask(dataset, 1, opt)
    hybrid = conditional_log_likelihood(train(hybrid_of, part, opt, seed=opt.seed, alpha=0.5, progress=not opt.quick), test,
                                        samples=20 if opt.quick else 100, seed=opt.seed)
    print(f"1 of 4 quadrants given, half of the loss with z ~ p(z|x):\n{hybrid}\n")

    print(f"Seen: given one quarter of a digit, the rest has {first.baseline} nats under the baseline and {first.by_q} under "
          f"the CVAE:\nexample by example {first.gain} more. Given three quarters there is little left to choose, and the gain "
          f"is {table[3].gain}.\nDraws of the prior alone give {first.by_p}; trained half with such draws, {hybrid.by_p}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Give the label instead: `minivae train --model cvae --given label`, and draw ten of each digit with
#    `minivae sample`.  What does $z$ still have to say, once the digit is known?
# 2. *Break this.*  Use $\mathrm{KL}(q \,\|\, \mathcal N(0, I))$ instead of the KL to the prior network, as many public
#    repositories do, and draw $z$ from $\mathcal N(0, I)$.  Is it still a bound on $\log p(y \mid x)$?  Of which model?  Is
#    there anything that model cannot say?
# 3. *Derive this.*  Show that the prior network that maximises the bound, all else fixed, is the average of the recognition
#    network: for every $x$, $p(z \mid x)$ is the Gaussian with the mean and variance of
#    $\mathbb E_{y \mid x}\big[q(z \mid x, y)\big]$.  (Which direction of the KL is it that matches moments?)
