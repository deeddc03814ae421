"""Chapter 3 · Nonlinearities, chains, and Sequential.

The question     How does a gradient travel through many functions, one after another?
What is new      activations; the chain rule as a list read backwards; why the weights' size matters.
What you'll see  how the gradient fades or survives in twenty layers, and a network of two layers
                 that reads digits better than the ten templates of chapter 2.
"""

# %% [markdown]
# # 3 · Chains
#
# Two linear layers in a row are one linear layer: $(x W_1) W_2 = x (W_1 W_2)$.  What lets a network
# bend is a function applied to each number by itself.  Its pullback is one multiplication,
# $dx = \varphi'(x)\, dy$:
#
# | $\varphi$ | $\varphi'(x)$ | written with $y = \varphi(x)$ |
# |---|---|---|
# | $\tanh x$ | $1 - \tanh^2 x$ | $1 - y^2$ |
# | $\sigma(x) = 1/(1+e^{-x})$ | $\sigma(x)\,\sigma(-x)$ | $y (1 - y)$ |
# | $\max(x, 0)$, relu | 1 where $x > 0$, else 0 | 1 where $y > 0$ |
#
# The pullback of the sigmoid, in one line: $\frac{d}{dx}(1+e^{-x})^{-1} = e^{-x} (1+e^{-x})^{-2} = y\,(1-y)$.

# %%
import numpy as np

from minivae import nn, ops, plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck


# %%
def tanh(x):
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y**2)


def sigmoid(x):
    y = 1 / (1 + np.exp(-x))
    return y, lambda dy: dy * y * (1 - y)


def relu(x):
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)                 # dy *times* the mask: dy is not ours to overwrite


# %% [markdown]
# ## The chain rule is the same list, read backwards
#
# For $y = f_n(\dots f_2(f_1(x)))$ the chain rule multiplies Jacobians, and reading from the left
# (from the loss) each product is a vector times a Jacobian: a pullback.  So we keep the pullbacks
# in a list on the way up and call them in reverse on the way down.  Nothing else is going on in
# "backpropagation".

# %%
def sequential(*functions):
    def network(x):
        pullbacks = []
        for f in functions:
            x, pullback = f(x)
            pullbacks.append(pullback)

        def pull(dy):
            for pullback in reversed(pullbacks):
                dy = pullback(dy)
            return dy

        return x, pull

    return network


# %% [markdown]
# ## Layers own their parameters
#
# A pullback of `linear` returns three cotangents, but only $dx$ travels on.  A **layer** keeps the
# other two: it *adds* them to the gradients of its own parameters.  (It adds because a layer may be
# used twice in one step, and derivatives of several uses add: chapter 2.)

# %%
class Linear:
    def __init__(self, inputs, outputs, scale, rng):
        self.W, self.b = scale * rng.standard_normal((inputs, outputs)), np.zeros(outputs)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def __call__(self, x):
        y, pull = ops.linear(x, self.W, self.b)

        def pullback(dy):
            dx, dW, db = pull(dy)
            self.dW += dW
            self.db += db
            return dx

        return y, pullback


# %% [markdown]
# ## Twenty layers: will anything arrive?
#
# If $x$ has entries of variance $v$ and $W$ has $I$ rows of independent entries with variance $s^2$, then
# $y = xW$ has variance $I s^2 v$.  After twenty layers the signal has been multiplied by $(I s^2)^{20}$:
# it explodes or dies, unless $s^2 = 1/I$.  On the way down the same holds with $O$ for $I$.
#
# * Glorot and Bengio's $s^2 = 2/(I + O)$ is the compromise, right for tanh near 0, where it is the identity.
# * He's $s^2 = 2/I$ makes up for relu, which zeroes half of its inputs.
# * The sigmoid's slope is never above ¼: each layer loses at least three quarters of the gradient.

# %%
def gradient_sizes(activation, scale, rng, depth=20, width=200):
    """The size of dx entering each of `depth` layers, for a random input and a random dy."""
    x, pullbacks = rng.standard_normal((100, width)), []
    for _ in range(depth):
        for function in (Linear(width, width, scale, rng), activation):
            x, pullback = function(x)
            pullbacks.append(pullback)
    dy, sizes = rng.standard_normal(x.shape), []
    for i, pullback in enumerate(reversed(pullbacks)):
        dy = pullback(dy)
        if i % 2:
            sizes.append(float(np.sqrt(np.mean(dy**2))))
    return sizes[::-1]


# %%
def learn(network, linears, x, labels, epochs, rng, rate=0.1, batch=100):
    """As in chapter 2: squared error to the one-hot label, plain gradient descent."""
    t, losses = np.eye(10)[labels], []
    for _ in range(epochs):
        total = 0.0
        for some in np.split(rng.permutation(len(x)), len(x) // batch):
            y, pullback = network(x[some])
            total += 0.5 * float(((y - t[some]) ** 2).sum())
            for layer in linears:
                layer.dW[...] = 0
                layer.db[...] = 0
            pullback((y - t[some]) / batch)
            for layer in linears:
                layer.W -= rate * layer.dW
                layer.b -= rate * layer.db
        losses.append(total / len(x))
    return losses


def draw(sizes, curves):
    fig, axes = plots.figure(1, 2, width=10, height=3.4)
    for (name, values), dashes in zip(sizes.items(), ("-", "--", "-.", ":")):
        axes[0].semilogy(np.arange(1, len(values) + 1), values, dashes, label=name)
    axes[0].set(xlabel="layer", ylabel="size of dx (root mean square)", title="the gradient on its way down (20 → 1)")
    axes[0].set_xticks([1, 5, 10, 15, 20])
    axes[0].legend()
    for name, losses in curves.items():
        axes[1].plot(np.arange(1, len(losses) + 1), losses, label=name)
    axes[1].set(xlabel="epoch", ylabel="½ squared error per image", title="reading digits")
    axes[1].locator_params(axis="x", integer=True)
    axes[1].legend()
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch03", __doc__, epochs=20, cpu_because="its layers are plain NumPy, and small"), argv)
    rng = np.random.default_rng(opt.seed)
    for activation in (tanh, sigmoid, relu):
        x, dy = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
        report = gradcheck(activation, x)
        library = getattr(ops, activation.__name__)(x)
        assert np.allclose(library[1](dy), activation(x)[1](dy), rtol=1e-12)
        print(f"{activation.__name__:8} worst error {report.worst:.0e}, and equal to minivae.ops.{activation.__name__}")
    chain = sequential(tanh, sigmoid, relu, tanh)
    print(gradcheck(chain, rng.standard_normal((4, 5)), name="a chain of four"))

    network = nn.Sequential(nn.Linear(5, 7, rng=rng), nn.Activation(ops.tanh),
                            nn.Linear(7, 3, rng=rng))
    print(gradcheck(network, rng.standard_normal((4, 5)), parameters=network.parameters(),
                    name="minivae's Sequential, with its parameters"))

    width = 200
    sizes = {"tanh, 1/I": gradient_sizes(tanh, np.sqrt(1 / width), rng),
             "relu, 2/I (He)": gradient_sizes(relu, np.sqrt(2 / width), rng),
             "relu, 1/I": gradient_sizes(relu, np.sqrt(1 / width), rng),
             "sigmoid, 1/I": gradient_sizes(sigmoid, np.sqrt(1 / width), rng)}

    digits = opt.digits()
    x = digits.train[:len(digits.train) // 100 * 100].astype(np.float64)
    labels, curves, scores = digits.train_labels[:len(x)], {}, {}
    for name, parts in {
        "one linear layer": [Linear(784, 10, 0.0, rng)],
        "784-100-10, relu": [Linear(784, 100, np.sqrt(2 / 784), rng), relu, Linear(100, 10, 0.1, rng)],
    }.items():
        net = sequential(*parts)
        # chapter 2's rate for the single layer: at 0.1 it overshoots
        rate = 0.02 if len(parts) == 1 else 0.1
        curves[name] = learn(net, [p for p in parts if isinstance(p, Linear)], x, labels, opt.epochs, rng, rate)
        guesses = np.argmax(net(digits.test.astype(np.float64))[0], axis=1)
        scores[name] = float(np.mean(guesses == digits.test_labels))
    opt.save(draw(sizes, curves), "chains",
             alt="Left: the size of the gradient in each of twenty layers, on a logarithmic axis; with tanh and with relu in "
                 "He's scale it stays near one, with relu in the smaller scale it shrinks, and with sigmoids it vanishes on its "
                 "way down. Right: half the squared error per image over the epochs; the network with a hidden layer falls "
                 "below the linear one.")
    one, two = scores.values()
    print(f"\nSeen: after {len(sizes['sigmoid, 1/I'])} layers of sigmoid the gradient is "
          f"{sizes['sigmoid, 1/I'][0]:.0e} of what it was; with relu and He's weights it is "
          f"{sizes['relu, 2/I (He)'][0]:.1f}.\nOne linear layer reads {one:.1%} of unseen digits, two with a relu "
          f"between them {two:.1%}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Add `leaky_relu` (slope 0.2) to the left picture.  Which variance keeps it level?
# 2. *Break this.*  Write relu's pullback as `dy[x <= 0] = 0; return dy`.  A bare comparison with central
#    differences passes it.  Use its output twice, $y = \mathrm{relu}(x) + x$, and compare again.  How does
#    `gradcheck` see it the first time?
# 3. *Derive this.*  gelu is $\tfrac12 x (1 + \tanh u)$ with $u = \sqrt{2/\pi}\,(x + 0.044715 x^3)$.  Find
#    its pullback and compare with `minivae.ops.gelu`.
