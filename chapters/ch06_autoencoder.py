"""Chapter 6 · The autoencoder, and the holes in its latent space.

The question     Squeeze an image through two numbers and unfold it again.  Have we learned to draw?
What is new      encoder and decoder; the code; why compressing is not generating.
What you'll see  a map of handwritten digits with deserts in it, and what lives in the deserts.
"""

# %% [markdown]
# # 6 · The autoencoder
#
# Two networks and one loss.  The encoder turns an image $x$ into a short **code** $z$, the decoder turns $z$
# into the logits of an image, and the loss is the surprise of chapter 5 about the image we started from:
#
# $$ L(x) = -\log p\big(x \mid z\big), \qquad z = \mathrm{encoder}(x). $$
#
# If the code is short the two must agree on what matters about a digit.  There is nothing new to derive:
# the pullback is the chain of chapter 3, through the loss, the decoder, the code and the encoder.

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import to_numpy
from minivae.chapter import options, parser
from minivae.distributions import bernoulli_nll
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, Layer, mlp
from minivae.ops import sigmoid


# %%
class Autoencoder(Layer):
    def __init__(self, pixels, hidden, codes, rng, activation="relu"):
        self.encoder = mlp(pixels, hidden, codes, rng=rng, activation=activation)
        self.decoder = mlp(codes, hidden, pixels, rng=rng, activation=activation)

    def surprise(self, *, x):                         # (B, X) -> (B,)
        z, pull_encoder = self.encoder(x)
        logits, pull_decoder = self.decoder(z)
        nll, pull_nll = bernoulli_nll(logits, x=x)

        def pullback(dnll):
            pull_encoder(pull_decoder(pull_nll(dnll)), need_dx=False)

        return nll, pullback

    def draw(self, z):
        return sigmoid(self.decoder(z)[0])[0]


def train(model, x, epochs, rng, device, batch=64):
    arena, adam, losses = Arena(model.parameters(), device), Adam(1e-3), []
    x = device.asarray(x)
    for _ in tqdm(range(epochs), desc="training", unit="epoch"):
        total, order = 0.0, device.asarray(rng.permutation(len(x)))
        for start in range(0, len(x), batch):
            nll, pullback = model.surprise(x=x[order[start:start + batch]])
            arena.zero_grad()
            pullback(np.full_like(nll, 1 / len(nll)))
            adam.step(arena)
            total = total + nll.sum()
        losses.append(float(total) / len(x))
    return losses


# %% [markdown]
# ## Is there a digit everywhere?
#
# The autoencoder was asked to reconstruct, and it does.  To *generate*, we would pick a code and decode it.
# But which?  Nothing in the loss said where codes should lie, nor what the decoder should do between them.
#
# With two numbers we can look.  With twenty we measure.  We fit a Gaussian to the codes of the training
# images, the best simple guess at where codes live, and decode draws from it.  How far is an image from the
# nearest training digit?  A reconstruction of an unseen digit sets the scale.

# %%
def distance_to_nearest(images, train):
    """Euclidean distance of each image to the nearest training image        (N, X), (M, X) -> (N,)"""
    squares = (images**2).sum(1)[:, None] - 2 * images @ train.T + (train**2).sum(1)
    return np.sqrt(np.maximum(squares.min(axis=1), 0))


def gaussian_draws(codes, n, rng):
    mean, spread = codes.mean(axis=0), np.linalg.cholesky(np.cov(codes.T) + 1e-9 * np.eye(codes.shape[1]))
    return (mean + rng.standard_normal((n, len(mean))) @ spread.T).astype(codes.dtype)


def plane(codes, size=20):
    """A grid over the box that holds 98% of the codes, first row on top."""
    (left, bottom), (right, top) = np.quantile(codes, [0.01, 0.99], axis=0)
    z1, z2 = np.meshgrid(np.linspace(left, right, size), np.linspace(top, bottom, size))
    return np.stack([z1.ravel(), z2.ravel()], axis=1).astype(codes.dtype), (left, right, bottom, top)


def draw(on_the_plane, box, codes, labels, samples, pairs):
    fig, axes = plots.figure(2, 2, width=8, height=8)
    axes = axes.ravel()
    for k in range(10):
        axes[0].scatter(*codes[labels == k].T, s=4, color=plots.TEN[k], linewidths=0, rasterized=True)
        axes[0].annotate(str(k), np.median(codes[labels == k], axis=0), fontweight="bold", ha="center",
                         bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": plots.TEN[k], "alpha": 0.85})
    axes[0].set(title="two numbers per digit: unseen digits", xlabel="$z_1$", ylabel="$z_2$",
                xlim=box[:2], ylim=box[2:])
    page = plots.mosaic(on_the_plane, (28, 28), 20, gap=0)
    axes[1].imshow(page, cmap="gray_r", extent=box, aspect="auto")
    axes[1].set(title="the decoder over the same box", xlabel="$z_1$")
    axes[1].grid(False)
    axes[2].imshow(plots.mosaic(pairs, (28, 28), 8), cmap="gray_r")
    axes[2].set_title("twenty numbers: digits, reconstructed")
    axes[3].imshow(plots.mosaic(samples, (28, 28), 8), cmap="gray_r")
    axes[3].set_title("twenty numbers: codes drawn, decoded")
    for ax in axes[2:]:
        ax.set_axis_off()
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch06", __doc__, epochs=40), argv)
    rng = np.random.default_rng(opt.seed)
    tiny = Autoencoder(6, 5, 2, rng, activation="tanh")      # tanh has no kinks to step over
    print(gradcheck(tiny.surprise, parameters=tiny.parameters(), x=rng.random((4, 6)), name="a whole autoencoder"))

    digits = opt.digits()
    train_x, test_x = (opt.device.asarray(x) for x in (digits.train, digits.test))
    models = {codes: Autoencoder(784, 400, codes, rng) for codes in (2, 20)}
    for codes, model in models.items():
        losses = train(model, digits.train, opt.epochs, rng, opt.device)
        print(f"{codes:2} codes: {losses[-1]:.1f} nats per training image, "
              f"{float(model.surprise(x=test_x)[0].mean()):.1f} per unseen one")

    flat, deep = models[2], models[20]
    codes = to_numpy(deep.encoder(train_x)[0])
    z = opt.device.asarray(gaussian_draws(codes, 500, rng))
    samples = to_numpy(deep.draw(z))
    rebuilt = to_numpy(deep.draw(deep.encoder(test_x[:500])[0]))
    far, near = distance_to_nearest(samples, digits.train), distance_to_nearest(rebuilt, digits.train)
    pairs = np.stack([digits.test[:32].reshape(4, 8, -1), rebuilt[:32].reshape(4, 8, -1)], axis=1).reshape(64, -1)
    flat_codes = to_numpy(flat.encoder(test_x)[0])
    grid, box = plane(flat_codes)
    on_the_plane = to_numpy(flat.draw(opt.device.asarray(grid)))
    opt.save(draw(on_the_plane, box, flat_codes, digits.test_labels, samples[:64], pairs), "autoencoder",
             alt="Upper left: unseen digits in a plane of two codes, coloured by digit, in clumps with empty stretches between. "
                 "Upper right: what the decoder makes of the same box, digits near the clumps and blots between. Lower left: "
                 "digits and their reconstructions from twenty codes, hard to tell apart. Lower right: codes drawn at random "
                 "and decoded, hardly a digit among them.")
    lost = np.mean(far > np.quantile(near, 0.95))
    print(f"\nSeen: twenty numbers rebuild an unseen digit to a distance of {near.mean():.1f} from the nearest training "
          f"digit; decoded\ndraws lie at {far.mean():.1f}, and {lost:.0%} of them are further out than 95% of the "
          "reconstructions. The autoencoder\ncompresses; it was never told how to draw. That takes a model of where "
          "codes live: chapter 7.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train the flat autoencoder twice with other seeds.  Do the deserts stay where they were?
# 2. *Try this.*  Interpolate between the codes of a 1 and a 0 in twelve steps, in two dimensions and in twenty.
# 3. *Derive this.*  A linear autoencoder with squared error spans the same plane as principal components.
#    Show it: write the best decoder for a fixed encoder, put it into the loss, and read off the trace.
