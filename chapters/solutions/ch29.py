"""Solutions of chapter 29 · VAE/GAN.

    python -m chapters.solutions.ch29
"""

# %% [markdown]
# # Solutions of chapter 29

# %%
import numpy as np

from minivae.chapter import options, parser
from minivae.evaluation import sample_quality
from minivae.nn import RMSProp
from minivae.training import fit
from minivae.variants import VAEConfig, VAEGANConfig
from minivae.variants.vae_gan import Discriminator

opt, _ = options(parser("solutions/ch29", __doc__, epochs=20), None)
rng = np.random.default_rng(opt.seed)
digits = opt.digits()
train, test = digits.train[:128 if opt.quick else 1500], digits.test[:100 if opt.quick else 500]


def trained(gamma=1.0, deaf=True, epochs=None):
    """A small VAE/GAN and the record of its epochs."""
    model = VAEGANConfig(VAEConfig(784, (30,) if opt.quick else (200,), 10), 16 if opt.quick else 128).build(
        seed=opt.seed, images=train, gamma=gamma, optimizers={name: RMSProp(1e-3) for name in ("encoder", "decoder", "discriminator")})
    if not deaf:
        model.discriminator.__class__ = HearsLikeness
    return model, fit(model, train, epochs=epochs or opt.epochs, batch_size=64, seed=opt.seed, progress=False)


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  $\gamma = 0.01$, then 100 (`VAEGANConfig.build(gamma=…)`).  Which player does the decoder listen to, and how do
# > precision and recall tell it?
#
# 1,500 digits, a small network, one seed.

# %%
def decoder_hears(model):
    """Length of the decoder's gradient that comes from likeness, γ included, and from the game"""
    x, eps = train[:64], np.random.default_rng(opt.seed).standard_normal((2, 64, model.latents), dtype=np.float32)
    arena, gamma, found = model.networks["decoder"].arena, model.gamma, []
    for model.gamma in (0.0, gamma):
        arena.zero_grad()
        _, pull = model.loss(of="decoder", x=x, eps=eps[0], eps_p=eps[1])
        pull(np.full(64, 1 / 64, np.float32))
        found.append(arena.grad.copy())
    return np.linalg.norm(found[1] - found[0]), np.linalg.norm(found[0])


share = {}
for gamma in (0.01, 1.0, 100.0):
    model, history = trained(gamma)
    drawn = np.clip(model.sample(len(test), np.random.default_rng(opt.seed)), 0, 1)
    again = np.clip(model.reconstruct(test, np.random.default_rng(opt.seed)), 0, 1)
    quality, (likeness, game) = sample_quality(drawn, test), decoder_hears(model)
    share[gamma] = likeness / (likeness + game)
    print(f"γ = {gamma:6}: of what the decoder hears {share[gamma]:.1%} is likeness;  samples: Fréchet distance {quality.frechet:.1f}, precision {quality.precision:.2f}, "
          f"recall {quality.recall:.2f};  reconstructions: squared error {np.square(again - test).mean():.4f};  −log D of two images {history[-1]['train_fooled']:.1f} nats")
assert share[0.01] < share[1.0] < share[100.0]

# %% [markdown]
# At $\gamma = 0.01$ the decoder listens to the game: what counts is to be taken for real, and a few convincing digits do well in it, whatever was asked for; one looks for that in recall.  At 100 it listens to likeness, and is a VAE with
# another error, which pays for every image that it has no place for; one looks for that in precision.  A run of this size does not show it: the discriminator is ahead in all three ($-\log D$ of two images is $2 \log 2 = 1.4$ nats when it
# guesses), its features are what likeness is measured in, and precision and recall differ by no more than another seed would change.  What the gradients say is certain; what the pictures make of it takes the chapter's size and several seeds.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  In `minivae/variants/vae_gan.py` let `heard_by_encoder` call `pull_made` without `need_dp=False`.  What becomes of the
# > features, and of $\mathcal L_\text{like}$?  Which test says so?
#
# Then the discriminator hears likeness, too, and goes down it: the easiest way to make all images alike in features is to have *no* features.  They shrink towards constants, $\mathcal L_\text{like}$ towards 0, and encoder and decoder, who are judged by them,
# learn nothing of images any more.  `test_the_discriminator_never_hears_likeness` says so.
#
# The same without editing the file: a discriminator that keeps its parameters' gradients whenever a cotangent of its features arrives alone.

# %%
class HearsLikeness(Discriminator):
    def __call__(self, x):
        value, pull = super().__call__(x)

        def pullback(dfeatures, dlogit, need_dx=True, need_dp=True):
            return pull(dfeatures, dlogit, need_dx=need_dx, need_dp=need_dp or dlogit is None)

        return value, pullback


seen = {}
for name, deaf in (("as it is", True), ("it hears likeness", False)):
    model, history = trained(deaf=deaf, epochs=max(2, opt.epochs // 2))
    features = model.discriminator(test)[0][0]
    again = np.square(model.reconstruct(test, np.random.default_rng(opt.seed)) - test).mean()
    seen[name] = history[-1]["train_likeness"]
    print(f"{name:17}: L_like {history[0]['train_likeness']:7.2f} → {history[-1]['train_likeness']:7.2f} nats, a feature varies over images by {features.std(axis=0).mean():.3f}; "
          f"squared error {again:.4f}")
assert opt.quick or seen["it hears likeness"] < 0.75 * seen["as it is"]

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Put (3) into the average of (1) with one made image, and show that what the decoder goes down is
# > $2\, \mathrm{JS}(p, q) - \log 4$, with the Jensen–Shannon divergence $\mathrm{JS} = \frac12 \mathrm{KL}(p \,\|\, m) + \frac12 \mathrm{KL}(q \,\|\, m)$,
# > $m = \frac12 (p + q)$.  What is it, and what is its gradient, if $p$ and $q$ nowhere overlap?
#
# $D^* = p/(p + q) = p/(2m)$ and $1 - D^* = q/(2m)$, so
#
# $$ \mathbb E_p \log D^* + \mathbb E_q \log (1 - D^*) = \mathbb E_p \log \frac{p}{m} - \log 2 + \mathbb E_q \log \frac{q}{m} - \log 2 = 2\, \mathrm{JS}(p, q) - \log 4 . $$
#
# It is least, $-\log 4$, where $p = q$.  If they nowhere overlap, $m = p/2$ wherever $p > 0$, and $q/2$ wherever $q > 0$: both KLs are $\log 2$, $\mathrm{JS} = \log 2$, its largest value, and the whole is 0.  Move $q$ a little, so that
# they still do not overlap: it is 0 again.  The gradient is zero, whatever the distance: a perfect discriminator has nothing to teach.  That is why the chapter's decoder goes down $-\log D$ instead, and why discriminators are held back.

# %%
grid = np.linspace(-30, 30, 60_001)
dx = grid[1] - grid[0]


def average_of_the_game(apart):
    """E_p log D* + E_q log(1 − D*), and 2 JS − log 4, of N(0, 1) and N(apart, 1)"""
    log_p, log_q = (-0.5 * (grid - c) ** 2 - 0.5 * np.log(2 * np.pi) for c in (0.0, apart))
    p, q, log_sum = np.exp(log_p), np.exp(log_q), np.logaddexp(log_p, log_q)
    game = (p * (log_p - log_sum) + q * (log_q - log_sum)).sum() * dx
    log_m = log_sum - np.log(2)
    return game, ((p * (log_p - log_m)).sum() + (q * (log_q - log_m)).sum()) * dx - np.log(4)


for apart in (0.0, 1.0, 4.0, 10.0, 15.0):
    game, js = average_of_the_game(apart)
    slope = (average_of_the_game(apart + 1e-3)[0] - average_of_the_game(apart - 1e-3)[0]) / 2e-3
    print(f"{apart:4} apart: the game's average {game:.6f}, 2 JS − log 4 = {js:.6f}; slope {slope:.1e}")
    assert np.isclose(game, js)
assert abs(average_of_the_game(0.0)[0] + np.log(4)) < 1e-9
assert abs(game) < 1e-9
assert abs(slope) < 1e-9
x = np.concatenate([rng.standard_normal(200_000), 1 + rng.standard_normal(200_000)])       # and by drawing, 1 apart
D = 1 / (1 + np.exp(-0.5 * ((x - 1) ** 2 - x**2)))
drawn = np.log(D[:200_000]) + np.log1p(-D[200_000:])
error = drawn.std() / np.sqrt(len(drawn))
print(f"by drawing, 1.0 apart: {drawn.mean():.4f} ± {error:.4f}")
assert abs(drawn.mean() - average_of_the_game(1.0)[0]) < 5 * error
