"""Solutions of chapter 24 · The VampPrior.

    python -m chapters.solutions.ch24
"""

# %% [markdown]
# # Solutions of chapter 24

# %%
import numpy as np

from minivae.chapter import options, parser
from minivae.evaluation import Estimate, log_likelihoods
from minivae.nn import Adam, Linear, cosine, mlp
from minivae.parts import VampPrior, WeightedKL, warm_up
from minivae.training import fit
from minivae.vae import Encoder
from minivae.variants import VAEConfig

opt, _ = options(parser("solutions/ch24", __doc__, epochs=15), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `--components 10`, 50, 500: where does the gap to $\mathcal N(0, I)$ stop growing, and which of the two
# > mixtures needs fewer components?  Then `--warm-up 0`: how much of the gap is left, and why does a prior that can go to
# > wherever the codes are need warm-up more?
#
# A small network, 1,000 digits and few epochs, one seed: the ± is over images, and another seed moves a gap by as much as it.

# %%
digits = opt.digits()
train = digits.train[:100 if opt.quick else 1000]
test = (rng.random(digits.test.shape) < digits.test).astype(np.float32)[:40 if opt.quick else 200]


def bound(prior, components, rising=1 / 3):
    steps = opt.epochs * -(-len(train) // 100)
    vae = VAEConfig(784, (20,) if opt.quick else (100,), 20, "tanh", prior=prior, components=components).build(
        seed=opt.seed, images=train, optimizer=Adam(cosine(2e-3, steps=steps)),
        objective=WeightedKL(warm_up(max(1, round(rising * steps)))) if rising else None)
    fit(vae, train, epochs=opt.epochs, batch_size=100, binarize=True, seed=opt.seed, progress=False)
    return log_likelihoods(vae, test, samples=10 if opt.quick else 100, seed=opt.seed)


gaps = {}
for rising in (1 / 3, 0.0):
    standard = bound("standard", 1, rising)
    for prior in ("mixture", "vamp"):
        for K in ((3,) if opt.quick else (10, 50, 500) if rising else (50,)):
            gap = gaps[prior, K, rising] = Estimate.of(bound(prior, K, rising) - standard)
            print(f"warm-up over {rising:.0%} of the steps, {prior:8} with {K:3} components: {gap} nats better than N(0, I)")
assert opt.quick or gaps["vamp", 500, 1 / 3].mean > gaps["vamp", 50, 1 / 3].mean > gaps["vamp", 50, 0.0].mean
assert opt.quick or all(gaps["vamp", K, 1 / 3].mean > gaps["mixture", K, 1 / 3].mean for K in (10, 50, 500))

# %% [markdown]
# In so short a run the VampPrior's gap still grows at 500 components, and it needs far fewer than the mixture of free Gaussians, which is not even as good as $\mathcal N(0, I)$ yet.  Free Gaussians have to *find* where the codes are;
# pseudo-inputs start at training images, and are where codes are from the first step, wherever the encoder moves.
#
# Without warm-up most of the gap is gone.  A prior that learns can meet the encoder half way: the cheapest KL of all is when both agree on one place for everything, before the decoder has a use for differences.
# $\mathcal N(0, I)$ cannot come.  Warm-up lets the codes spread first.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Start the pseudo-inputs just outside, `VampPrior(encoder, Z, raw)` with `raw` drawn from
# > $\mathcal N(-0.05, 0.01^2)$.  What is the gradient of `raw`, how many different components has $p(z)$, and what is it
# > that still learns?
#
# All $u = \min(\max(a, 0), 1)$ are exactly 0: the gradient of `raw` is zero, for ever, and all $K$ components are the same, $q(z \mid u = 0)$.  The prior is one Gaussian, where the encoder puts a
# blank image.  It still learns: the encoder's weights hear it.  So training moves the encoder's answer to a blank image to where the codes of digits are, and what is meant to be
# a mixture is a standard VAE whose Gaussian has a mean and variances.

# %%
Z, K, X = 3, 8, 20
encoder = Encoder(mlp(X, 16, rng=rng, activation="tanh", last=True), Linear(16, Z, rng=rng), Linear(16, Z, rng=rng))
for p in encoder.parameters().values():
    p.value[...] += 0.1 * rng.standard_normal(p.value.shape)       # biases too, so that a blank image has an answer of its own
z = rng.standard_normal((50, Z))
for name, raw in (("outside", rng.normal(-0.05, 0.01, (K, X))), ("inside", rng.uniform(0.1, 0.9, (K, X)))):
    prior = VampPrior(encoder, Z, raw)
    for p in (prior.raw, *encoder.parameters().values()):
        p.grad[...] = 0
    _, pullback = prior.log_prob(z)
    pullback(np.ones(len(z)))
    different = len(np.unique(prior.mixture()[1].round(12), axis=0))
    of_encoder = np.sqrt(sum(np.square(p.grad).sum() for p in encoder.parameters().values()))
    print(f"{name:7}: |gradient of raw| {np.abs(prior.raw.grad).max():.2g}, {different} different components of {K}, the encoder's gradient has length {of_encoder:.1f}")
    assert (different == 1) == (name == "outside")
    assert (np.abs(prior.raw.grad).max() == 0) == (name == "outside")
    assert of_encoder > 0

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Prove (3), and that the average over the training images of $\mathrm{KL}(q(z \mid x_n) \,\|\, \bar q)$ is the
# > information $I(n; z)$ that a code has about its image's place in the list.  When is it $\log N$?  Conclude that with
# > $p = \bar q$ an encoder and a decoder with enough weights reach an average ELBO of $-\log N$ nats on $N$ different black
# > and white images.  What is $\log p(x)$ of an unseen one then?
#
# **(3).**  All terms of $\bar q = \frac1N \sum_m q_m$ are positive, so $\bar q \ge \frac1N q_n$, $\log (q_n/\bar q) \le \log N$ everywhere, and so is its average under $q_n$.
#
# **Information.**  Draw $n$ uniformly and then $z \sim q_n$.  The joint is $\frac1N q_n(z)$, the marginals are $\frac1N$ and $\bar q$, so
#
# $$ I(n; z) = \frac1N \sum_n \int q_n \log \frac{q_n/N}{\bar q/N}\, dz = \frac1N \sum_n \mathrm{KL}(q_n \,\|\, \bar q) = H(n) - H(n \mid z) = \log N - H(n \mid z) . $$
#
# It is $\log N$ if and only if $n$ can be read off $z$: if the $q_n$ do not overlap.
#
# **Conclusion.**  Let the encoder put the images at $N$ places far apart, each with a tiny variance, and the decoder say, near place $n$, "image $n$" with certainty: black and white pixels can have
# probability 1, so the first term of the ELBO tends to 0, and the KL is $\log N$: an ELBO of $-\log N$.  No model does better on average, since $\sum_n p(x_n) \le 1$ and so by Jensen's
# inequality $\frac1N \sum_n \log p(x_n) \le \log \frac1N$.  All the probability is spent on the list: an unseen image has $p(x) \to 0$, $\log p(x) \to -\infty$.  It is the best training score, and memory.

# %%
N, n = 8, 20_000
for apart in (0.0, 1.0, 3.0, 10.0):
    centres = apart * np.arange(N)
    z = centres[:, None] + rng.standard_normal((N, n))             # q_n = N(apart · n, 1)
    log_q = -0.5 * (z[..., None] - centres) ** 2                   # of every draw, under every q_m
    log_bar = np.logaddexp.reduce(log_q, axis=2) - np.log(N)
    own = np.take_along_axis(log_q, np.arange(N)[:, None, None], axis=2)[..., 0]
    kl, posterior = (own - log_bar).mean(), np.exp(log_q - np.logaddexp.reduce(log_q, axis=2)[..., None])
    doubt = -(posterior * np.log(posterior + 1e-300)).sum(axis=2).mean()
    print(f"codes {apart:4} standard deviations apart: average KL {kl:.4f}, log N − H(n|z) = {np.log(N) - doubt:.4f}, at most log N = {np.log(N):.4f}")
    assert (own - log_bar).max() <= np.log(N) + 1e-12
    assert abs(kl - (np.log(N) - doubt)) < 0.02
assert np.isclose(kl, np.log(N), atol=1e-4)
