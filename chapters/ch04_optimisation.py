"""Chapter 4 · Optimisation: from gradient descent to Adam.

The question     We know which way is down.  How far should each parameter go?
What is new      momentum, AdaGrad, Adam, and what each of them repairs.
What you'll see  four paths down the same ravine, and the same four on real digits.
"""

# %% [markdown]
# # 4 · Optimisation
#
# All parameters of a model lie in one flat vector $\theta$, all gradients in another, $g$.  An optimizer
# is a rule of a few lines over those two vectors.
#
# **Gradient descent**, $\theta \leftarrow \theta - \eta\, g$, has one rate $\eta$ for all directions.  In a
# ravine $L = \tfrac12 (\theta_1^2 + 50\,\theta_2^2)$ each step multiplies $\theta_1$ by $1 - \eta$ and
# $\theta_2$ by $1 - 50\,\eta$.  More than $\eta = 2/50$ and $\theta_2$ explodes; but then $\theta_1$ needs
# dozens of steps.  The ratio of the curvatures, the *condition number*, sets the price.
#
# **Momentum** lets the parameters roll: $v \leftarrow \beta v + g$, $\theta \leftarrow \theta - \eta v$.
# Across the ravine the gradients alternate and cancel; along it they add, up to $1/(1-\beta)$ times.
#
# **AdaGrad** gives each parameter its own rate: $s \leftarrow s + g^2$,
# $\theta \leftarrow \theta - \eta\, g/\sqrt{s}$.  Steep directions are slowed, flat and rare ones are not.
# But $s$ only grows: the steps shrink like $1/\sqrt{t}$ for ever.
#
# **Adam** lets both memories fade, $m \leftarrow \beta_1 m + (1-\beta_1) g$ and
# $s \leftarrow \beta_2 s + (1-\beta_2) g^2$.  They start at 0 and are too small at first:
# if $g$ were constant, then after $t$ steps $m = (1-\beta_1^t)\, g$.  So divide by that:
#
# $$ \theta \leftarrow \theta - \eta\, \frac{\hat m}{\sqrt{\hat s} + \epsilon}, \qquad
#    \hat m = \frac{m}{1-\beta_1^t}, \quad \hat s = \frac{s}{1-\beta_2^t}. $$
#
# Near constant gradients the step is about $\eta$ per parameter, whatever the scale of the loss.

# %%
import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import device
from minivae.chapter import options, parser
from minivae.distributions import categorical_nll
from minivae.nn import SGD, AdaGrad, Adam, Arena, Momentum, Parameter, mlp


# %%
def sgd(theta, g, memory, t, rate):
    theta -= rate * g


def momentum(theta, g, memory, t, rate, beta=0.9):
    v = memory.setdefault("v", np.zeros_like(theta))
    v[:] = beta * v + g
    theta -= rate * v


def adagrad(theta, g, memory, t, rate, eps=1e-8):
    s = memory.setdefault("s", np.zeros_like(theta))
    s += g**2
    theta -= rate * g / (np.sqrt(s) + eps)


def adam(theta, g, memory, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = (memory.setdefault(name, np.zeros_like(theta)) for name in "ms")
    m[:] = beta1 * m + (1 - beta1) * g
    s[:] = beta2 * s + (1 - beta2) * g**2
    m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
    theta -= rate * m_hat / (np.sqrt(s_hat) + eps)


RULES = {"SGD": (sgd, SGD), "momentum": (momentum, Momentum),
         "AdaGrad": (adagrad, AdaGrad), "Adam": (adam, Adam)}


# %% [markdown]
# ## The ravine

# %%
CURVATURE = np.array([1.0, 50.0])
RATES = {"SGD": 0.035, "momentum": 0.012, "AdaGrad": 1.0, "Adam": 0.3}


def path(rule, rate, steps=60):
    """Every point on the way down from (-4, 1.2)."""
    theta, memory, points = np.array([-4.0, 1.2]), {}, []
    for t in range(1, steps + 1):
        points.append(theta.copy())
        rule(theta, CURVATURE * theta, memory, t, rate)
    return np.array([*points, theta])


def same_as_library(rule, library, rng, steps=100):
    """The largest difference between our rule and minivae.nn over some steps with random gradients."""
    start = rng.standard_normal(50)
    parameter = Parameter(start)
    arena, optimizer = Arena({"theta": parameter}, device("cpu"), np.float64), library(0.01)
    theta, memory = start.copy(), {}
    for t in range(1, steps + 1):
        g = rng.standard_normal(50)
        arena.grad[...] = g
        optimizer.step(arena)
        rule(theta, g, memory, t, 0.01)
    return float(np.abs(theta - arena.value).max())


# %% [markdown]
# ## Real digits
#
# A network 784-100-10 with relu, the negative log-likelihood of the right label (chapter 5 derives it),
# batches of 100.  Each rule gets the best of four rates, for its loss after the last epoch: comparing
# optimizers at somebody's favourite rate compares the rates.

# %%
def learn(optimizer, x, labels, epochs, seed, on, batch=100):
    """The loss of every epoch, in nats per image, computed `on` a device."""
    rng = np.random.default_rng(seed)
    network = mlp(x.shape[1], 100, 10, rng=rng)
    arena, losses = Arena(network.parameters(), on), []
    for _ in range(epochs):
        total, order = 0.0, on.asarray(rng.permutation(len(x)))
        for start in range(0, len(x), batch):
            some = order[start:start + batch]
            logits, pull_network = network(x[some])
            nll, pull_nll = categorical_nll(logits, labels=labels[some])
            arena.zero_grad()
            pull_network(pull_nll(np.full_like(nll, 1 / len(some))), need_dx=False)
            with np.errstate(over="ignore", invalid="ignore"):      # a rate that is too high may explode
                optimizer.step(arena)
            total += float(nll.sum())
        losses.append(total / len(x))
    return losses


GRID = {"SGD": (0.1, 0.3, 1.0, 3.0), "momentum": (0.03, 0.1, 0.3, 1.0),
        "AdaGrad": (0.01, 0.03, 0.1, 0.3), "Adam": (0.001, 0.003, 0.01, 0.03)}


def best_of(name, rates, x, labels, epochs, seed, on):
    curves = {rate: learn(RULES[name][1](rate), x, labels, epochs, seed, on)
              for rate in tqdm(rates, desc=name, unit="rate")}
    rate = min(curves, key=lambda r: np.nan_to_num(curves[r][-1], nan=np.inf))
    return rate, curves[rate]


def draw(paths, curves):
    fig, axes = plots.figure(1, 2, width=10, height=4.2, width_ratios=(1.25, 1))
    u, v = np.meshgrid(np.linspace(-4.5, 1.5, 200), np.linspace(-1.6, 1.6, 200))
    axes[0].contour(u, v, 0.5 * (u**2 + 50 * v**2), levels=np.logspace(-1, 2, 10), colors="#8c8c8c", linewidths=0.5)
    for name, points in paths.items():
        axes[0].plot(*points.T, marker="o", ms=2.5, lw=1.2, label=f"{name}, rate {RATES[name]}")
    axes[0].plot(0, 0, "k*", ms=10)
    axes[0].set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", title="sixty steps down a ravine", ylim=(-1.6, 2.6))
    axes[0].legend(loc="upper center", fontsize=8, ncols=2)
    axes[0].grid(False)
    for (name, (rate, losses)), dashes in zip(curves.items(), ("-", "--", "-.", ":")):
        axes[1].semilogy(np.arange(1, len(losses) + 1), losses, dashes, label=f"{name}, rate {rate:g}")
    axes[1].set(xlabel="epoch", ylabel="training nats per image", title="real digits, the best rate of four")
    axes[1].legend(fontsize=8)
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch04", __doc__, epochs=15), argv)
    rng = np.random.default_rng(opt.seed)
    for name, (rule, library) in RULES.items():
        print(f"{name:9} 100 steps differ from minivae.nn by {same_as_library(rule, library, rng):.0e}")
    paths = {name: path(rule, RATES[name]) for name, (rule, _) in RULES.items()}
    digits = opt.digits()
    rates = {name: grid[1:3] if opt.quick else grid for name, grid in GRID.items()}
    x, labels = (opt.device.asarray(a) for a in (digits.train, digits.train_labels))
    curves = {name: best_of(name, rates[name], x, labels, opt.epochs, opt.seed, opt.device) for name in RULES}
    opt.save(draw(paths, curves), "optimisation",
             alt="Left: sixty steps of four optimizers on the contours of a long narrow valley; SGD zigzags across it, momentum "
                 "swings far along it, AdaGrad creeps down its floor, Adam curves round the minimum. Right: training nats per "
                 "image over the epochs on real digits, on a logarithmic axis, each at its best rate; Adam ends lowest.")
    left = {name: float(0.5 * (CURVATURE * points[-1] ** 2).sum()) for name, points in paths.items()}
    print("\nSeen: in the ravine sixty steps leave a loss of "
          + ", ".join(f"{loss:.0e} ({name})" for name, loss in left.items())
          + f".\nOn digits, after {opt.epochs} epochs at the best of their rates: "
          + ", ".join(f"{losses[-1]:.4f} nats ({name}, {rate:g})" for name, (rate, losses) in curves.items()) + ".")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Multiply the loss by 1000.  Which of the four rules notice?  Which need a new rate?
# 2. *Measure this.*  Leave out Adam's division by $1 - \beta^t$.  Plot the first twenty steps.
# 3. *Derive this.*  For momentum on $L = \tfrac12 \lambda\, \theta^2$, write one step as a $2 \times 2$ matrix on
#    $(\theta, v)$.  For which $\eta$ are both eigenvalues inside the unit circle?
