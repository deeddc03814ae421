"""Solutions of chapter 28 · VQ-VAE-2: images as pictures of numbers.

    python -m chapters.solutions.ch28
"""

# %% [markdown]
# # Solutions of chapter 28

# %%
import numpy as np

from minivae.backend import device
from minivae.chapter import options, parser
from minivae.evaluation import code_use
from minivae.nn import Adam, Arena
from minivae.parts import PixelCNN, perplexity, pixel_cnn
from minivae.training import fit
from minivae.variants import VQVAEConfig

opt, _ = options(parser("solutions/ch28", __doc__, epochs=10), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `--data digits`: how many words has the top in use now, and why so few?  Then $\beta = 0.05$ in `train`
# > (`VQVAEConfig.build(beta=…)`).  What did the commitment keep the top from?
#
# 500 digits, narrow convolutions, few epochs.

# %%
digits = opt.digits()
images, test = digits.train[:64 if opt.quick else 500], digits.test[:32 if opt.quick else 200]
words = 8 if opt.quick else 64
for beta in (0.25, 0.05):
    steps = opt.epochs * -(-len(images) // 64)
    model = VQVAEConfig(28, 28, 1, 2, words, likelihood="gaussian_optimal", filters=8 if opt.quick else 16, prior_channels=4, prior_blocks=1).build(
        seed=opt.seed, images=images, first_steps=steps, beta=beta, optimizers={"vae": Adam(2e-3), **{f"prior_{i}": Adam(2e-3) for i in range(2)}})
    fit(model, images, epochs=opt.epochs, batch_size=64, seed=opt.seed, progress=False)
    use = code_use(model, test)
    error = np.square(model.reconstruct(test, None) - test).mean()
    print(f"β = {beta}: squared error {error:.4f};  " + ";  ".join(
        f"{name} perplexity {level.perplexity:.1f} of {level.words}, {np.count_nonzero(level.counts)} words used, the commonest {level.counts.max() / level.counts.sum():.0%}"
        for name, level in zip(("bottom", "top"), use.levels)))
    assert all(1 <= level.perplexity <= level.words for level in use.levels)

# %% [markdown]
# By perplexity a third of the words are in use, or less.  Most of a digit's picture is blank paper, and one word is enough for that (exercise 3); and a digit is a line that the bottom's words, each for a few pixels and told by
# convolutions what is next to it, can nearly say alone: the top has little to add.  The commitment is a price on the distance of $z_e$ to its word, and the cheapest way to pay nothing is to stay at one word.  A smaller
# $\beta$ lets vectors move apart, and a word or two more is chosen, at about the same error: in so short a run the difference is small.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Add $(0, 0)$ to `LEFT` of `minivae/parts/pixel_cnn.py`, and train a prior.  What does its bound become, and what
# > does it draw?  Which test of `tests/parts/test_pixel_cnn.py` says so?
#
# Every pixel now sees itself, and the network learns to copy: $-\log p(c)$ falls towards 0, although the codes below are pure chance, which nobody can say in less than $\log K$ nats a pixel.  It is no
# probability: summed over all pictures it exceeds 1.  When it draws, the pixel that it looks at is not there yet (a 0 stands in its place), and what it has learned is to repeat that.
#
# `test_no_pixel_hears_itself_or_a_later_one_and_each_hears_all_earlier_ones` says it at once, and `test_the_probabilities_of_all_pictures_sum_to_one`.

# %%
K, shape = 4, (4, 4)
chance = np.random.default_rng([opt.seed, 28])


def trained():
    """A prior of pictures of random numbers, new ones in every step, and what it says of others."""
    prior = PixelCNN(K, channels=8, blocks=2, rng=np.random.default_rng(opt.seed))
    arena, adam = Arena(prior.parameters(), device("cpu")), Adam(5e-3)
    for _ in range(60 if opt.quick else 300):
        pictures = chance.integers(0, K, (64, *shape))
        nll, pullback = prior(codes=pictures, above=np.zeros_like(pictures))
        arena.zero_grad()
        pullback(np.full_like(nll, 1 / len(nll)))
        adam.step(arena)
    fresh = chance.integers(0, K, (256, *shape))
    return prior, float(prior(codes=fresh, above=np.zeros_like(fresh))[0].mean())


right = pixel_cnn.LEFT
for name, left in (("right", right), ("with (0, 0)", (*right, (0, 0)))):
    pixel_cnn.LEFT = left
    prior, nll = trained()
    pixel_cnn.LEFT = right
    drawn = prior.sample(np.zeros((200, *shape), int), np.random.default_rng(opt.seed), shape=shape)
    print(f"{name:11}: {nll:6.2f} nats for new pictures of 16 random numbers (16 log 4 = {16 * np.log(4):.2f}); of what it draws {np.mean(drawn == 0):.0%} are 0, of chance {1 / K:.0%}")
    assert (nll < 0.95 * 16 * np.log(4)) == (name != "right")

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Show that (4) with $\gamma = 0$ never raises $\sum \lVert z - e_{k(z)} \rVert^2$ over the batch, if its vectors stay.  And
# > that the perplexity $e^{H}$ of a codebook of which a share $s$ of all numbers is one word is at most $(1/s)^s \big((K - 1)/(1 - s)\big)^{1-s}$.
# > What is that for the empty half of a digit's picture?
#
# **k-means.**  With $\gamma = 0$, $e_k$ becomes the mean of the vectors that chose $k$, and of all points the mean has the least sum of squared distances to them (the sum is convex in $e$, with derivative
# $2 \sum (e - z)$): no word's part of the sum rises.  (A word that nobody chose has no part.)  Then every vector chooses anew, the *nearest*: no term of the sum rises.
#
# **Perplexity.**  Let the other $K - 1$ words have the shares $(1 - s)\, t_j$ with $\sum t_j = 1$.  Then
#
# $$ H = -s \log s - \sum_j (1 - s)\, t_j \log \big((1 - s)\, t_j\big) = -s \log s - (1 - s) \log (1 - s) + (1 - s)\, H(t), \qquad H(t) \le \log (K - 1), $$
#
# and $e^H \le s^{-s} (1 - s)^{-(1 - s)} (K - 1)^{1 - s}$, the claim, with equality if all others are alike.  For $s = \tfrac12$ it is $2 \sqrt{K - 1}$: 15.9 for 64 words, a quarter of them.

# %%
z = rng.standard_normal((300, 2)) + 3 * rng.integers(0, 3, (300, 1))
words, sums = 3 * rng.standard_normal((8, 2)), []
for _ in range(15):
    chosen = ((z[:, None] - words) ** 2).sum(axis=2).argmin(axis=1)
    sums.append(((z - words[chosen]) ** 2).sum())
    words = np.array([z[chosen == k].mean(axis=0) if np.any(chosen == k) else words[k] for k in range(8)])
print("the sum of squared distances, step by step:", *(f"{value:.1f}" for value in sums))
assert np.all(np.diff(sums) <= 1e-9)

K, s = 64, 0.5


def most(s):
    return (1 / s) ** s * ((K - 1) / (1 - s)) ** (1 - s)


for _ in range(1000):
    share = rng.uniform(0.05, 0.95)
    counts = np.concatenate([[share], (1 - share) * rng.dirichlet(np.full(K - 1, rng.uniform(0.05, 5)))])
    assert perplexity(counts) <= most(share) + 1e-9
even = np.concatenate([[s], np.full(K - 1, (1 - s) / (K - 1))])
print(f"half of a picture is one word: perplexity at most {most(s):.3f} of {K}; with all others alike {perplexity(even):.3f}")
assert np.isclose(perplexity(even), most(s))
assert np.isclose(most(0.5), 2 * np.sqrt(K - 1))
