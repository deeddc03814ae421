"""Chapter 1 · A gradient by hand, and how to check it.

The question     How do you know that a derivative you worked out on paper is right?
What is new      value and pullback; central differences; where the check lies to you.
What you'll see  a V-shaped curve that says which step h to trust, and one neuron that
                 learns to tell zeros from ones with a gradient checked to eight digits.
"""

# %% [markdown]
# # 1 · A gradient by hand
#
# Everything in this book is trained by following derivatives downhill, and every one of them is
# worked out on paper.  Paper is patient: a lost minus sign does not complain.  So before the first
# network we build the instrument that complains.
#
# Our first model is one neuron.  It looks at an image $x$ (784 pixels), weighs the pixels, and says
# how probable it is that the digit is a one:
#
# $$ a = x \cdot w, \qquad p = \sigma(a) = \frac{1}{1 + e^{-a}}. $$
#
# If the digit is a one ($t = 1$) its surprise is $-\log p$, else ($t = 0$) it is $-\log(1 - p)$.
# Both are the same formula, $\ell(a) = \log(1 + e^{a}) - t\,a$.  We want $\partial \ell / \partial w$.
#
# **The chain rule, read backwards.**
# $\partial \ell / \partial a = \sigma(a) - t$ and $\partial a / \partial w = x$, so
#
# $$ \frac{\partial \ell}{\partial w} = (\sigma(a) - t)\, x. $$

# %%
import numpy as np

from minivae import plots
from minivae.chapter import options, parser
from minivae.gradcheck import GradientError, gradcheck

# %% [markdown]
# ## Value and pullback
#
# In this book a piece of maths is **one function that returns its value and its pullback**.  The
# pullback is handed `dloss`, the derivative of whatever we finally care about with respect to this
# value, and carries it back to the inputs.  (Elsewhere it is called the vector-Jacobian product, or
# the "backward" of an operation.)  Forward and backward stand side by side, as on a blackboard:

# %%
def surprise(w, *, x, t):
    """ℓ = Σ log(1 + eᵃ) − t a,   a = x·w        w (784,), images x (N, 784), targets t (N,) -> ()"""
    a = x @ w

    def pullback(dloss):
        p = 1 / (1 + np.exp(-a))                     # ∂ℓ/∂a = σ(a) − t
        return dloss * ((p - t) @ x)                 # ∂a/∂w = x, and w was used for every image: sum

    return np.asarray((np.logaddexp(0, a) - t * a).sum()), pullback


# %% [markdown]
# ## The instrument
#
# The derivative is a limit, $\lim_{h \to 0} (\ell(w + h) - \ell(w)) / h$.  A computer cannot take the
# limit, but it can stop early.  Taylor's formula says how wrong that is:
#
# $$ \frac{\ell(w + h) - \ell(w)}{h} = \ell' + \tfrac12 h\, \ell'' + \dots, \qquad
#    \frac{\ell(w + h) - \ell(w - h)}{2h} = \ell' + \tfrac16 h^2\, \ell''' + \dots $$
#
# The **central** difference errs by $h^2$ instead of $h$, for one more evaluation.  Then why not take
# $h = 10^{-15}$?  Because $\ell$ is only stored to 16 digits: each value is off by about
# $10^{-16}\,|\ell|$, and dividing by $h$ blows that up to $10^{-16}/h$.  The two errors meet near
# $h \approx (10^{-16})^{1/3} \approx 10^{-5}$ for central differences.
#
# That is for a function and a weight of size 1.  For $e^{10^6 w}$ at $w = 10^{-9}$, or for a bias of 1
# beside products of $10^{12}$, the valley lies elsewhere, and a checker with one fixed step calls right
# gradients wrong.  The library's begins at $2^{-17}$ of the size of the weight; where the pullback does
# not agree, it tries other steps, and weighs what each of them can know.

# %%
def central_difference(f, w, i, h):
    """∂f/∂wᵢ by two evaluations"""
    up, down = w.copy(), w.copy()
    up[i] += h
    down[i] -= h
    return (f(up) - f(down)) / (2 * h)


def forward_difference(f, w, i, h):
    up = w.copy()
    up[i] += h
    return (f(up) - f(w)) / h


def error_curves(x, t, seed):
    """The relative error of ∂ℓ/∂wᵢ for steps h from 1 down to 1e-14, in three ways."""
    w = 0.1 * np.random.default_rng(seed).standard_normal(x.shape[1])
    i = int(np.argmax(x.mean(axis=0)))               # a pixel with ink
    exact = surprise(w, x=x, t=t)[1](1.0)[i]
    single = (x.astype(np.float32), t.astype(np.float32))
    ways = {
        "central, float64": (central_difference, lambda v: float(surprise(v, x=x, t=t)[0]), w),
        "one-sided, float64": (forward_difference, lambda v: float(surprise(v, x=x, t=t)[0]), w),
        "central, float32": (central_difference,
                             lambda v: surprise(v, x=single[0], t=single[1])[0], w.astype(np.float32)),
    }
    steps = np.logspace(0, -14, 57)
    curves = {}
    for name, (difference, f, v) in ways.items():
        numeric = np.array([difference(f, v, i, v.dtype.type(h)) for h in steps], dtype=np.float64)
        curves[name] = np.maximum(np.abs(numeric - exact) / abs(exact), 1e-16)
    return steps, curves


# %% [markdown]
# ## Where the check lies to you
#
# 1. **In float32.**  Seven digits are not enough: the valley of the V is shallow, and a correct
#    gradient looks wrong by a part in a thousand.  Always check in float64.
# 2. **On a kink.**  $\max(x, 0)$ has no derivative at 0; the central quotient says ½.  The library
#    sees that the left and the right quotient disagree, however small the step, and asks of the
#    pullback only that it lie between them.
# 3. **Where everything is flat.**  At $a = 40$ both sides say 0, whatever the formula.  Check at
#    several points.
# 4. **When the formula itself is wrong.**  A check compares a pullback with *its own* forward.  If
#    the forward computes something that you did not mean, both are wrong together and agree.  We will
#    meet a famous case in chapter 9.

# %%
def surprise_with_a_slip(w, *, x, t):
    """The same, but somebody wrote t − σ(a) on the blackboard."""
    value, pullback = surprise(w, x=x, t=t)
    return value, lambda dloss: -pullback(dloss)


def relu_by_hand(x):
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


# %% [markdown]
# ## One neuron learns
#
# With a gradient that we trust, learning is one line: $w \leftarrow w - \eta\, \partial\ell/\partial w$.

# %%
def zeros_and_ones(images, labels):
    chosen = labels <= 1
    return images[chosen].astype(np.float64), labels[chosen].astype(np.float64)


def learn(x, t, steps, rate=0.1):
    """Gradient descent on the mean surprise."""
    w, losses = np.zeros(x.shape[1]), []
    for _ in range(steps):
        loss, pullback = surprise(w, x=x, t=t)
        w -= rate * pullback(1 / len(x))
        losses.append(float(loss) / len(x))
    return w, losses


# %%
def draw(steps, curves, w, losses):
    fig, axes = plots.figure(1, 3, width=10, height=3.2, width_ratios=(1.5, 1.2, 1))
    for name, error in curves.items():
        axes[0].loglog(steps, error, label=name)
    axes[0].set(xlabel="step $h$", ylabel="relative error", title="how wrong is a difference quotient?")
    axes[0].invert_xaxis()
    axes[0].legend(loc="lower left", fontsize=8)
    axes[0].set_ylim(1e-13, 10)
    axes[1].plot(np.arange(1, len(losses) + 1), losses)
    axes[1].set(xlabel="gradient step", ylabel="nats per image", title="the neuron learns")
    limit = np.abs(w).max()
    axes[2].imshow(w.reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[2].set_title("its weights: red ink says 1")
    axes[2].set_axis_off()
    return fig


def main(argv=None):
    opt, _ = options(parser("ch01", __doc__, epochs=200, cpu_because="it measures float64's rounding, and is small"), argv)
    digits = opt.digits()
    x, t = zeros_and_ones(digits.train, digits.train_labels)
    few = slice(0, 40)

    print("The pullback against central differences, over every weight:\n")
    rng = np.random.default_rng(opt.seed)
    w = 0.1 * rng.standard_normal(x.shape[1])
    report = gradcheck(surprise, w, x=x[few], t=t[few], name="surprise")
    print(report)

    print("\nAnd with a slip in the sign:\n")
    try:
        gradcheck(surprise_with_a_slip, w, x=x[few], t=t[few], name="surprise_with_a_slip")
    except GradientError as error:
        print(error)

    print("\nAt a kink, the pullback lies between the left and the right derivative:\n")
    print(gradcheck(relu_by_hand, np.array([-1.0, 0.0, 2.0])))

    steps, curves = error_curves(x[few], t[few], opt.seed)
    w, losses = learn(x, t, 20 if opt.quick else opt.epochs)
    test, labels = zeros_and_ones(digits.test, digits.test_labels)
    accuracy = np.mean((test @ w > 0) == labels)
    opt.save(draw(steps, curves, w, losses), "gradient",
             alt="Left: the relative error of three difference quotients against the step h, V-shaped curves on logarithmic "
                 "axes; the central difference in float64 has the deepest valley. Middle: the loss of the neuron in nats per "
                 "image, falling with every gradient step. Right: its weights as an image, red along the stroke of a one, "
                 "blue where a zero has its ring.")
    best = {name: (steps[np.argmin(error)], error.min()) for name, error in curves.items()}
    for name, (h, error) in best.items():
        print(f"{name:20} is best at h = {h:.0e}, where its relative error is {error:.0e}")
    print(f"\nSeen: the hand-made gradient agrees with finite differences to {report.worst:.0e} on {w.size} weights; "
          f"after {len(losses)} steps\nthe neuron names {accuracy:.1%} of {len(test)} unseen zeros and ones "
          f"correctly, at {losses[-1]:.3f} nats per training image.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Replace `0.1 * rng` by `10 * rng` where `w` is drawn.  Which weights does the check
#    now say nothing about, and why?
# 2. *Measure this.*  Write the five-point difference
#    $(-f(w{+}2h) + 8f(w{+}h) - 8f(w{-}h) + f(w{-}2h)) / 12h$ and add its curve.  Where is its valley?
# 3. *Derive this.*  Show that the central difference is best near $h = (3\,\epsilon\,|\ell| / |\ell'''|)^{1/3}$,
#    with $\epsilon$ the rounding error, and check the prediction against the curve.
