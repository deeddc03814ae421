"""Chapter 2 · The linear layer, and why the bias gradient sums over the batch.

The question     y = x W + b has three inputs.  What is the pullback to each?
What is new      gradients of matrices; broadcasting forward is summing backward.
What you'll see  three one-line derivatives that pass the check, two popular mistakes that do
                 not, and ten templates that a linear layer learns from handwritten digits.
"""

# %% [markdown]
# # 2 · The linear layer
#
# Nearly all the arithmetic of a neural network is this line.  $B$ examples with $I$ numbers each go
# in, $B$ examples with $O$ numbers come out:
#
# $$ y = x W + b, \qquad y_{no} = \sum_i x_{ni} W_{io} + b_o. $$
#
# The pullback is handed $dy$, the derivative of the loss with respect to every entry of $y$.
# Indices do the rest.  Ask of each input: *in which outputs does this number appear, and with
# which factor?*
#
# * $x_{ni}$ appears in $y_{no}$ for every $o$, with factor $W_{io}$:
#   $\;dx_{ni} = \sum_o dy_{no} W_{io}$, that is $\;dx = dy\, W^\top$.
# * $W_{io}$ appears in $y_{no}$ for every $n$, with factor $x_{ni}$:
#   $\;dW_{io} = \sum_n x_{ni}\, dy_{no}$, that is $\;dW = x^\top dy$.
# * $b_o$ appears in $y_{no}$ for every $n$, with factor 1: $\;db_o = \sum_n dy_{no}$.
#
# The last line is the one people get wrong.  In the forward pass $b$ is *broadcast*: one row is added
# to all $B$ examples.  Each of those uses contributes its own derivative, and derivatives of several
# uses **add**.  Broadcasting forward is summing backward, always.

# %%
import numpy as np

from minivae import ops, plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck


# %%
def linear(x, W, b):                                  # (B, I) (I, O) (O,) -> (B, O)
    """y = x W + b"""
    def pullback(dy):
        return dy @ W.T, x.T @ dy, dy.sum(axis=0)     # the bias was broadcast over B: sum over B

    return x @ W + b, pullback


# %% [markdown]
# A mnemonic that never fails: the shapes leave no choice.  $dW$ must be $(I, O)$; from $x$ of shape
# $(B, I)$ and $dy$ of shape $(B, O)$ only $x^\top dy$ has it.  But shapes cannot tell a sum from a
# mean, and that is exactly the popular mistake:

# %%
def linear_with_averaged_bias(x, W, b):
    y, pullback = linear(x, W, b)

    def wrong(dy):
        dx, dW, _ = pullback(dy)
        return dx, dW, dy.mean(axis=0)                # B times too small: it trains, only worse

    return y, wrong


def linear_with_unsummed_bias(x, W, b):
    y, pullback = linear(x, W, b)
    return y, lambda dy: (*pullback(dy)[:2], dy)      # has the shape of y, not of b


# %% [markdown]
# ## Ten templates
#
# A linear layer by itself can already read.  Let the ten outputs be scores for the ten digits, and
# ask that they be near 1 for the right digit and 0 for the others: the loss is the squared error
#
# $$ L = \frac1B \sum_n \tfrac12 \lVert y_n - t_n \rVert^2, \qquad dy = \frac{1}{B} (y - t). $$
#
# The mean over the batch is taken **once, here at the top**.  Every pullback below sums.

# %%
def learn(linear, x, labels, epochs, rng, rate=0.02, batch=100):
    """Gradient descent in shuffled minibatches; returns W, b and the loss of every epoch."""
    t = np.eye(10)[labels]
    W, b, losses = np.zeros((x.shape[1], 10)), np.zeros(10), []
    for _ in range(epochs):
        total = 0.0
        for some in np.split(rng.permutation(len(x)), len(x) // batch):
            y, pullback = linear(x[some], W, b)
            total += 0.5 * float(((y - t[some]) ** 2).sum())
            _, dW, db = pullback((y - t[some]) / batch)
            W -= rate * dW
            b -= rate * db
        losses.append(total / len(x))
    return W, b, losses


def accuracy(x, labels, W, b):
    return float(np.mean(np.argmax(x @ W + b, axis=1) == labels))


def draw(W, curves):
    fig, axes = plots.figure(1, 2, width=10, height=3.2, width_ratios=(1.6, 1))
    scale = np.abs(W).max()
    templates = plots.mosaic(0.5 + 0.5 * W.T / scale, (28, 28), 5, paper=0.5)
    axes[0].imshow(templates, cmap="RdBu_r", vmin=0, vmax=1)
    axes[0].set_title("the columns of $W$: ink on red speaks for 0 … 9, ink on blue against")
    axes[0].set_axis_off()
    for (name, losses), dashes in zip(curves.items(), ("-", "--")):
        axes[1].plot(np.arange(1, len(losses) + 1), losses, dashes, label=name)
    axes[1].set(xlabel="epoch", ylabel="½ squared error per image", title="a sum is not a mean")
    axes[1].legend()
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch02", __doc__, epochs=30, cpu_because="its layer is plain NumPy, and small"), argv)
    rng = np.random.default_rng(opt.seed)
    x, W, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
    print(gradcheck(linear, x, W, b))
    for wrong in (linear_with_averaged_bias, linear_with_unsummed_bias):
        try:
            gradcheck(wrong, x, W, b)
        except (AssertionError, ValueError) as error:
            print(f"\n{error}")

    ours, library = linear(x, W, b), ops.linear(x, W, b)
    dy = rng.standard_normal(ours[0].shape)
    same = all(np.array_equal(mine, theirs) for mine, theirs in
               zip((ours[0], *ours[1](dy)), (library[0], *library[1](dy))))
    print(f"\nour linear and minivae.ops.linear: value and three gradients {'equal' if same else 'DIFFERENT'}")

    digits = opt.digits()
    train = digits.train[:len(digits.train) // 100 * 100].astype(np.float64)
    labels = digits.train_labels[:len(train)]
    curves = {}
    for name, function in (("db = Σ dy", linear), ("db = mean of dy", linear_with_averaged_bias)):
        W, b, curves[name] = learn(function, train, labels, opt.epochs, np.random.default_rng(opt.seed))
        if function is linear:
            right = W, b
    opt.save(draw(right[0], curves), "templates",
             alt="Left: the ten columns of W as images, red where ink speaks for a digit and blue where it speaks against. "
                 "Right: half the squared error per image over the epochs, with the bias gradient as a sum and as a mean; "
                 "the sum is lower throughout.")
    test = accuracy(digits.test, digits.test_labels, *right)
    first, second = (losses[-1] for losses in curves.values())
    print(f"\nSeen: ten linear templates read {test:.1%} of {len(digits.test):,} unseen digits. Averaging the bias "
          f"gradient instead of\nsumming it still trains, to {second:.4f} instead of {first:.4f}: only the check, "
          "not the curve, shouts.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Set `rate` to 0.06.  What happens, and which eigenvalue of $x^\top x / B$ decides it?
# 2. *Find this.*  For $y = x W + b$ with $x$ of shape $(K, B, I)$, what is $dW$?  Which sums appear?
# 3. *Derive this.*  Let $y = x W W^\top$ ("tied weights").  $W$ is used twice: find $dW$ and check it.
