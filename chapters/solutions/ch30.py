"""Solutions of chapter 30 · CVAE-GAN.

    python -m chapters.solutions.ch30
"""

# %% [markdown]
# # Solutions of chapter 30

# %%
import numpy as np

from chapters.ch30_cvae_gan import pairwise_distance
from minivae.batch import Batch
from minivae.chapter import options, parser
from minivae.evaluation import digit_classifier, sample_quality
from minivae.nn import RMSProp
from minivae.training import fit
from minivae.variants import CVAEGANConfig, M2Config
from minivae.variants.cvae_gan import PLAYERS
from minivae.variants.vae_gan import Seeing

opt, _ = options(parser("solutions/ch30", __doc__, epochs=20), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()
n = 128 if opt.quick else 1500
data, test, test_labels = Batch(x=digits.train[:n], labels=digits.train_labels[:n]), digits.test[:n // 3], digits.test_labels[:n // 3]


def trained(weights=(3.0, 1.0, 1.0, 1.0), classifier=None):
    model = CVAEGANConfig(M2Config(784, 10, (30,) if opt.quick else (200,), 10), 16 if opt.quick else 128).build(
        seed=opt.seed, images=data.x, weights=weights, optimizers={name: RMSProp(1e-3) for name in PLAYERS})
    if classifier:
        model.classifier.__class__ = classifier
    fit(model, data, epochs=opt.epochs, batch_size=64, seed=opt.seed, progress=False)
    return model


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  $\lambda_3 = \lambda_4 = 10$, then $0.1$ (`train(…, weights=…)`).  What becomes of the judge's answers, of diversity, of recall?  And with
# > the pairs left out, $\lambda_2 = 0$?
#
# Half of the chapter's images and units, one seed; the judge is the classifier that comes with the library.

# %%
recall = {}
for name, weights in (("the chapter's", (3, 1, 1, 1)), ("centres × 10", (3, 1, 10, 10)), ("centres × 0.1", (3, 1, 0.1, 0.1)), ("no pairs", (3, 0, 1, 1))):
    model = trained(tuple(map(float, weights)))
    drawn, labels = model.sample(len(test), np.random.default_rng(opt.seed)), np.arange(len(test)) % 10
    right = np.mean(digit_classifier().predict(drawn) == labels)
    diversity = np.mean([pairwise_distance(drawn[labels == c]) for c in range(10)])
    quality = sample_quality(np.clip(drawn, 0, 1), test)
    print(f"{name:13}: the judge is right for {right:.0%}; diversity {diversity:.2f}, Fréchet distance {quality.frechet:.1f}, precision {quality.precision:.2f}, "
          f"recall {quality.recall:.2f}")
    recall[name] = quality.recall
real = np.mean([pairwise_distance(test[test_labels == c]) for c in range(10)])
print(f"(two real digits of a class are {real:.2f} apart on average)")
assert opt.quick or recall["no pairs"] < recall["the chapter's"]

# %% [markdown]
# In this run the chapter's weights do best by the judge and by recall, and either change of the centres' costs something.  The pairs matter most: they are what ties $z$ to an image.  Without them recall falls, the share of real digits
# that anything drawn comes near to, and so do the judge's answers.  Diversity does *not* fall here: what is drawn for one class still differs from image to image, though not as digits do.  A mean distance of pixels does not
# know the difference, which is why the chapter prints recall beside it.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  In `minivae/variants/cvae_gan.py` let `heard_by_makers` call `pull_looked` without `need_dp=False`.  What does the
# > classifier learn now, and which test says so?
#
# It hears the generator's loss of centres, too, and goes down it in the wrong place: it learns features in which made images lie where real ones do, whatever they look like.  It is no longer taught by real images alone,
# and the generator, who is to be told by these features what a class looks like, is told less.  `test_the_classifier_hears_real_images_alone` says so.
#
# The same without editing the file: of the three times that a step asks the classifier (real images, images told again, dreamt ones) its parameters hear the third.

# %%
class HearsCentres(Seeing):
    asked = 0

    def seen(self, x):
        HearsCentres.asked += 1
        value, pull = super().seen(x)
        dreamt = HearsCentres.asked % 3 == 0

        def pullback(dfeatures, doutputs, need_dx=True, need_dp=True):
            return pull(dfeatures, doutputs, need_dx=need_dx, need_dp=need_dp or dreamt)

        return value, pullback


def of_centres(model):
    """Length of the classifier's gradient after the generator's loss was pulled back"""
    model.networks["classifier"].arena.zero_grad()
    x, eps = data.x[:32], rng.standard_normal((2, 32, model.latents), dtype=np.float32)
    HearsCentres.asked = 0
    _, pull = model.loss(of="generator", x=x, labels=data.labels[:32], eps=eps[0], eps_p=eps[1])
    pull(np.full(32, 1 / 32, np.float32))
    return np.linalg.norm(model.networks["classifier"].arena.grad)


heard = {}
for name, kind in (("as it is", None), ("it hears centres", HearsCentres)):
    HearsCentres.asked = 0
    model = trained(classifier=kind)
    heard[name] = of_centres(model)
    features = np.linalg.norm(model.classifier.seen(data.x[:100])[0][0], axis=1).mean()
    drawn = model.sample(len(test), np.random.default_rng(opt.seed))
    print(f"{name:16}: gradient of the generator's loss in the classifier {heard[name]:.3g}; its error on unseen digits {np.mean(model.classify(test) != test_labels):.1%}; "
          f"features of length {features:.1f}; the judge is right for {np.mean(digit_classifier().predict(drawn) == np.arange(len(drawn)) % 10):.0%} of what is drawn")
assert heard["as it is"] == 0
assert heard["it hears centres"] > 0

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  $\mathcal L_{GD}$ is zero for every generator whose features have the right mean.  Show that for features that are linear in $x$
# > that is the mean image and no more; and that with features $f(x) = (x, x x^\top)$ it is the first two moments.  What does a
# > discriminator add that learns its features while the generator learns to match them?
#
# Let $f(x) = Ax + b$.  Then $\mathbb E f(x) - \mathbb E f(x_p) = A\,(\mathbb E x - \mathbb E x_p)$: it is zero exactly if the means agree, up to what $A$ cannot see ($A$ injective: if and only if).  Whatever else two distributions
# differ in, such features do not say: a generator that always draws the mean image has $\mathcal L_{GD} = 0$.
#
# With $f(x) = (x, x x^\top)$ the two parts are $\mathbb E x$ and $\mathbb E x x^\top = \mathrm{Cov}\, x + \mathbb E x\, \mathbb E x^\top$: zero if and only if mean and covariance agree.  Third moments are free.
#
# A discriminator that learns looks for features in which the two *now* differ.  If its features can be any function of a rich family, then $\mathbb E f(x) = \mathbb E f(x_p)$ for *all* of them only if the distributions are equal (for all bounded
# continuous $f$ that is what it means to be equal).  A fixed $f$ asks one question; a learning one asks the next as soon as the last is answered.

# %%
n = 400_000
normal, wide, coin = rng.standard_normal(n), 2 * rng.standard_normal(n), rng.choice([-1.0, 1.0], n)
questions = {"x": lambda x: x[:, None], "(x, x²)": lambda x: np.stack([x, x**2], axis=1), "(x, x², x⁴)": lambda x: np.stack([x, x**2, x**4], axis=1)}
seen = {}
for name, made in (("N(0, 4)", wide), ("±1", coin)):
    for what, f in questions.items():
        apart = f(normal).mean(axis=0) - f(made).mean(axis=0)
        error = np.sqrt((f(normal).var(axis=0) + f(made).var(axis=0)) / n)
        seen[name, what] = np.abs(apart / error).max()
        print(f"N(0, 1) against {name:7} with features {what:12}: L_GD = {0.5 * (apart**2).sum():.5f}, the largest difference of centres is {seen[name, what]:7.1f} standard errors")
assert seen["N(0, 4)", "x"] < 5 < seen["N(0, 4)", "(x, x²)"]
assert max(seen["±1", "x"], seen["±1", "(x, x²)"]) < 5 < seen["±1", "(x, x², x⁴)"]
