"""Solutions of chapter 33 · Speech augmentation.

    python -m chapters.solutions.ch33
"""

# %% [markdown]
# # Solutions of chapter 33

# %%
import numpy as np

from chapters import ch33_speech_augmentation as chapter
from minivae.chapter import options, parser
from minivae.evaluation import nuisance_vectors, perturb, principal_directions, replace

opt, _ = options(parser("solutions/ch33", __doc__, epochs=chapter.EPOCHS, data="auto"), None)
rng = np.random.default_rng(opt.seed)
task = chapter.prepared(opt.recordings(), opt, opt.seed)
model, _ = chapter.vae_of(task, opt, opt.seed)
mu = chapter.vectors(model, task)
z, whose = chapter.encode(model, task.clean, chapter.FAR)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `perturbed` draws one $\eta$ for a word.  Draw one for every segment instead.  What becomes of the decoded words, and of the
# > recogniser?
#
# Every fifth of a second another room.  Where one segment ends and the next begins the spectrogram jumps, as no recording does (the overlap of the segments
# softens it).  The jumps are measured below: how much a band changes from one frame to the next.  What the recogniser makes of it is printed too; one seed says
# little.

# %%
directions = principal_directions(mu)
shape = {"one for a word": rng.standard_normal((len(task.clean), len(directions.spread)))[whose],
         "one for a segment": rng.standard_normal((len(z), len(directions.spread)))}
jumps = {}
for name, eta in shape.items():
    copies = chapter.decode(model, perturb(z, directions, eta=eta), whose, task.clean)
    jumps[name] = np.mean([np.abs(np.diff(x, axis=0)).mean() for x in copies])
    right = chapter.noisy(chapter.accuracies(task, [copies], opt, opt.seed))
    print(f"{name:18}: from frame to frame a band changes by {jumps[name]:.3f} nats; noisy digits right {right:.1f}%")
assert jumps["one for a segment"] > jumps["one for a word"]

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  In `vectors` let every *word* be a recording of its own.  What does replacement do to a word then?  Print how often a
# > recogniser of clean speech still hears the digit in its replaced copy, against the chapter's.
#
# The vector of one word is what its few segments have in common, and that is the word, mostly.  Taking it away and putting the other's in its place says the *other* word, with the
# label of the first.  Below each clean word is moved into another *clean* recording, so that a recogniser of clean speech can be asked.

# %%
says = chapter.recogniser(task, [], opt, opt.seed)
other = rng.permutation(len(task.clean))
words = nuisance_vectors(z, whose, recordings=len(task.clean))
moves = {"of ten words": (mu[task.session[whose]], mu[task.session[other[whose]]]), "of one word": (words[whose], words[other[whose]])}
heard = {}
for name, (own, others) in moves.items():
    guessed = says(chapter.images(chapter.decode(model, replace(z, own=own, other=others), whose, task.clean)))
    heard[name] = (guessed == task.digit).mean()
    print(f"vectors {name:12}: {heard[name]:.1%} are still heard as their own digit, {(guessed == task.digit[other]).mean():.1%} as the other's")
assert opt.quick or heard["of ten words"] > heard["of one word"]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Let the codes of recording $r$ be $z_n = \mu_r + w_n$, with words $w_n \sim \mathcal N(0, s^2 I)$ and, of recordings, $\mu_r \sim \mathcal N(0, t^2 I)$.
# > Given $N$ segments, what is the posterior mean of $\mu_r$?  When is it the mean of the codes?
#
# Both are Gaussian, so the posterior is, and its mean is where $\frac1{2 s^2} \sum_n \lVert z_n - \mu \rVert^2 + \frac1{2 t^2} \lVert \mu \rVert^2$ has no slope:
#
# $$ -\frac1{s^2} \sum_n (z_n - \mu) + \frac{\mu}{t^2} = 0 \quad\Longrightarrow\quad \mu = \frac{N t^2}{N t^2 + s^2}\, \bar z . $$
#
# It is the mean of the codes, drawn towards 0, and the mean itself when there are many segments, or when recordings differ much more than words: $N t^2 \gg s^2$.

# %%
s, t, N, draws = 2.0, 0.7, 5, 400_000
true = t * rng.standard_normal(draws)
mean = true + s / np.sqrt(N) * rng.standard_normal(draws)              # of N codes
shrink = N * t**2 / (N * t**2 + s**2)
by_regression = (true * mean).sum() / (mean * mean).sum()               # the slope of the best guess, which is linear
print(f"by the formula {shrink:.3f}, by regression over {draws:,} recordings {by_regression:.3f}")
assert abs(shrink - by_regression) < 0.01
assert ((true - shrink * mean) ** 2).mean() < ((true - mean) ** 2).mean()
