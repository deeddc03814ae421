"""Chapter 18 · Where the time goes.

The question     The formulas are right.  Why is one program ten times faster than another that computes the same?
What is new      precision, passes over the memory, one exponential for two uses, cores; and the roofline.
What you'll see  one training step from the textbook made fast, one measured idea at a time, and how far it still
                 is from what the machine could do.
"""

# %% [markdown]
# # 18 · Where the time goes
#
# A training step of chapter 10's kind (784-400-20, a batch of 128 images) is about $0.4$ billion multiplications and
# additions in its matrix products, and some ten million operations everywhere else.  Yet in a textbook program the
# products are the smaller part of the time.  The rest goes where no formula shows it:
#
# - **bytes.**  A number in float64 is twice as long as one in float32: half as many fit into a register, a cache and
#   a second.  One stray float64 (noise drawn without `dtype=`, a mask made of Python's numbers) and NumPy lifts all
#   that it touches.
# - **passes.**  `a = b * c + d` reads b and c, writes a temporary, reads it and d, writes a.  An element costs less to
#   compute than to fetch, so what counts is how often the memory is walked through.
# - **functions.**  A multiplication takes a fifth of a nanosecond; `log1p`, depending on the processor, twice to thirty
#   times that; and `np.where` on a random mask twenty times, because half of its guesses which way to go are wrong.
# - **cores** that sleep while one works.
#
# We take the library's model, put the textbook's pieces back in, and then repair one thing after another.  All
# versions compute the same gradient; that is checked first.

# %%
import statistics
from functools import partial
from time import perf_counter

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.chapter import options, parser
from minivae.distributions import bernoulli_nll
from minivae.nn import Adam, Linear, Sequential
from minivae.parallel import Team
from minivae.parts import Bernoulli
from minivae.variants import VAEConfig

# %% [markdown]
# ## The textbook's pieces
#
# They are the formulas of chapters 2, 4 and 5 as one writes them down.


# %%
class TextbookLinear(Linear):
    """Chapter 2: makes every gradient anew, the one of the data too, and adds it to what is there."""

    def __call__(self, x):
        def pullback(dy, need_dx=True, need_dp=True):
            self.W.grad += x.T @ dy
            self.b.grad += dy.sum(axis=0)
            return dy @ self.W.value.T

        return x @ self.W.value + self.b.value, pullback


class TextbookBernoulli(Bernoulli):
    """Chapter 5: softplus(a) − x a, and sigmoid(a) − x, each by its own formula."""

    def __call__(self, logits, *, x):
        def pullback(dnll):
            e = np.exp(-np.abs(logits))
            sigmoid = np.where(logits >= 0, 1.0, e).astype(logits.dtype) / (1.0 + e)
            return (sigmoid - x) * dnll[:, None]

        softplus = np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits)))
        return (softplus - x * logits).sum(axis=-1), pullback


class TextbookAdam(Adam):
    """Chapter 4, line by line: fourteen passes over vectors as long as the model, most into new memory."""

    def step(self, arena, team=None):
        if not self.state:
            self.state = {name: np.zeros_like(arena.value) for name in self.moments}
        self.steps += 1
        g, m, s = arena.grad, self.state["gradients"], self.state["squares"]
        m[...] = self.beta1 * m + (1.0 - self.beta1) * g
        s[...] = self.beta2 * s + (1.0 - self.beta2) * g**2
        m_hat, s_hat = m / (1.0 - self.beta1**self.steps), s / (1.0 - self.beta2**self.steps)
        arena.value[...] = arena.value - self.lr * m_hat / (np.sqrt(s_hat) + self.eps)


# %% [markdown]
# ## One idea at a time
#
# 1. **float32 everywhere.**  Gradients are noisy in the first digit; their eighth is nobody's business.
# 2. **One exponential.**  With $e = e^{-|a|}$, which loss and gradient share,
#
#    $$ \mathrm{softplus}(a) = \log(1 + e) + \tfrac12 (|a| + a) , \qquad
#       \mathrm{sigmoid}(a) = \frac{1}{1 + e} , \text{ or 1 less that for } a < 0 . $$
#
#    And since $1 \le 1 + e \le 2$, a product of a hundred such factors cannot overflow:
#    $\sum \log (1 + e_i) = \log \prod (1 + e_i)$ takes one multiplication per pixel and a logarithm for 16 of them.
#    (One for 64 would be no quicker: two more rounds of multiplications, of few numbers, are calls to NumPy all the same.)
# 3. **Adam in place.**  Keep $m/(1-\beta_1)$ and $s/(1-\beta_2)$ instead of $m$ and $s$; then all constants meet in two
#    numbers, and ten passes are left.  Make them over tiles that fit a core's cache, not over the whole.
# 4. **Gradients where they belong.**  The product $x^\top dy$ is written straight into the arena; nothing is set to
#    zero, nothing added.  And nobody asks for the gradient of the loss with respect to the data: in the first layer
#    that was one of the five large products.
# 5. **All cores.**  A step in two halves.  First each core takes its own *rows* through the network, forwards and
#    backwards; a pullback hands back $dx$ and only notes $x$ and $dy$ down: the parameter *owes* their product.  Then each
#    core takes its share of the *weights*: tile after tile it makes what is owed, of all rows, and Adam moves it while
#    it is near.  (Whoever made the gradient of his own rows would have to add it to the others': as many numbers as the
#    model has, read and written once more.)  Each matrix product uses one thread.  BLAS could share out the products
#    alone; but its threads spin while they wait for each other, and two programs that do so take many times as long.
#    Threads that share Python lose about a millisecond a step to each other, however large the batch: a small one stays
#    with one core.  Where that ends is measured on your machine (`minivae/nn/rehearsal.py`).
#
# With Numba (`pip install "minivae[fast]"`) idea 3 goes further: Adam's ten passes become one compiled loop, and so do
# relu, the KL and the loss, both ways.  Numbers and formulas stay the same.

# %%
IDEAS = ("textbook, float64", "float32", "one exponential", "Adam in place", "gradients where they belong", "all cores")


def version(ideas, hidden):
    """The model with the first `ideas` ideas, and the textbook's pieces for the others."""
    model = VAEConfig(784, (hidden,), 20).build(dtype=np.float64 if ideas < 1 else np.float32)
    if ideas < 2:
        model.likelihood = TextbookBernoulli()
    if ideas < 3:
        model.network.optimizer = TextbookAdam(1e-3)
    if ideas < 4:
        for layer in linears(model):
            layer.__class__ = TextbookLinear                     # the same parameters, another way to use them
    if ideas < 5:
        model.workers.hire(threads=1)
    return model


def linears(model):
    parts = [model.encoder.trunk, model.encoder.mean, model.encoder.logvar, model.decoder]
    layers = [layer for part in parts for layer in (part.layers if isinstance(part, Sequential) else [part])]
    return [layer for layer in layers if isinstance(layer, Linear)]


def gradient(model, x, eps):
    dtype = model.arena.value.dtype
    (nll, _), pullback = model.elbo_terms(x=x.astype(dtype), eps=eps.astype(dtype))
    model.arena.zero_grad()
    pullback(np.full_like(nll, 1 / len(x)), np.full_like(nll, 1 / len(x)))
    return model.arena.grad


def largest_difference(models, x):
    """Between the gradients of all versions, relative to the largest entry of the first."""
    eps = np.random.default_rng(0).standard_normal((1, len(x), 20))
    first, *others = (gradient(model, x, eps) for model in models)
    return max(np.abs(other - first).max() for other in others) / np.abs(first).max()


def race(models, images, batch, steps, bursts):
    """Milliseconds per step of each version: medians over bursts, in which they take turns."""
    rng, batches = np.random.default_rng(1), np.resize(images, (20 * batch, 784)).reshape(20, batch, 784)
    data = [batches.astype(model.arena.value.dtype) for model in models]
    times = [[] for _ in models]
    with tqdm(total=(bursts + 1) * len(models), unit="burst", desc="taking turns") as bar:
        for burst in range(bursts + 1):                          # the first one warms
            for i, model in enumerate(models):
                start = perf_counter()
                for k in range(steps):
                    model.train_step(data[i][k % 20], rng)
                if burst:
                    times[i].append(1e3 * (perf_counter() - start) / steps)
                bar.update()
    return [statistics.median(t) for t in times]


# %% [markdown]
# ## What threads that share Python owe each other
#
# Two cores do not halve the step.  Only one thread at a time may run Python: whoever does holds its **lock**.  NumPy gives
# the lock away while it works on more than 500 numbers, and must have it back before the next line.  If another thread
# holds it then, ours sleeps until it is woken, and that takes longer than the other's line did.  By then the lock may be gone
# again; so after five milliseconds, a whole step, Python tells the other to wait.  `Team` makes that a tenth of a millisecond.
#
# So what counts is not only how much a call computes, but how often one is made: few and large calls.  (A compiled loop is
# one, however long: with Numba the steps of an LSTM are, both ways, with NumPy's own loops for tanh and products in their
# midst, and two threads that take half of the sentences each never meet.)  Here each of two
# threads multiplies arrays of its own, which share nothing but that lock, beside one thread alone.  (From Python 3.13 on
# there is one without it, "free-threaded": there the two lines should meet.)


# %%
def seconds(work, repeats, turns=7):
    """The quickest of some turns: what the machine can do, not what its neighbours let it."""
    found = []
    for _ in range(turns):
        start = perf_counter()
        for _ in range(repeats):
            work()
        found.append((perf_counter() - start) / repeats)
    return min(found)


def multiply(numbers, repeats):
    """Multiply two arrays of so many numbers, over and over."""
    a = np.ones(numbers, np.float32)
    b, c = np.full_like(a, 0.5), np.empty_like(a)
    for _ in range(repeats):
        np.multiply(a, b, out=c)


def handovers(lengths, quick):
    """numbers -> µs of a call by one thread, and by each of two at the same time: medians of seven turns"""
    team, found = Team(2), {}
    for numbers in tqdm(lengths, unit="length", desc="two threads"):
        repeats = 20 if quick else max(100, 2**21 // numbers)
        work = partial(multiply, numbers, repeats)
        turns = [(seconds(work, 1, turns=1), seconds(lambda work=work: team.run(lambda _: work()), 1, turns=1)) for _ in range(7)]
        found[numbers] = tuple(1e6 * statistics.median(times) / repeats for times in zip(*turns))
    return found


# %% [markdown]
# ## The roofline
#
# How fast could it be?  An operation that makes $F$ floating-point operations on $N$ bytes that come from memory takes
# at least $F / \text{peak}$ and at least $N / \text{bandwidth}$ seconds.  So its rate is at most
#
# $$ \frac{F}{t} \le \min\Big( \text{peak}, \; \frac{F}{N} \cdot \text{bandwidth} \Big) , $$
#
# and what matters is its **intensity** $F/N$, operations per byte: under the sloping roof, memory decides; under the flat
# one, arithmetic.  A product of $(B, I)$ and $(I, O)$ makes $2BIO$ operations on $4(BI + IO + BO)$ bytes, so it gains from
# every row more in the batch.  An activation makes one operation on eight bytes, and no cleverness lifts it; only
# fewer passes do, or data that still lie in a cache (whose roof is higher: a point above the line was in the cache).


# %%
def machine(quick):
    """Peak (operations a second, by a large product) and bandwidth (bytes a second, by a copy out of any cache)."""
    n, m = (256, 2**20) if quick else (1500, 2**24)
    rng = np.random.default_rng(0)
    a, b, out = (rng.random((n, n), dtype=np.float32) for _ in range(3))
    x, y = np.ones(m, np.float32), np.empty(m, np.float32)
    return (2 * n**3 / seconds(lambda: np.matmul(a, b, out=out), 2), 8 * m / seconds(lambda: np.copyto(y, x), 2))


def operations(batch, hidden):
    """name -> (floating-point operations, bytes that must move, work) for the pieces of a step."""
    rng = np.random.default_rng(0)

    def new(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    x, h, a, W, V, z = new(batch, 784), new(batch, hidden), new(batch, 784), new(784, hidden), new(hidden, 20), new(batch, 20)
    y, dW, ink, dnll = np.empty_like(h), np.empty_like(W), (x > 0).astype(np.float32), np.ones(batch, np.float32)
    model, pull = VAEConfig(784, (hidden,), 20).build(), bernoulli_nll(a, x=ink)[1]
    model.optimizer.step(model.arena)
    size, elements = model.arena.value.size, batch * 784
    return {
        "x W": (2 * x.size * hidden, 4 * (x.size + W.size + h.size), lambda: np.matmul(x, W, out=y)),
        "xᵀ dy": (2 * x.size * hidden, 4 * (x.size + W.size + h.size), lambda: np.matmul(x.T, h, out=dW)),
        "20 latents": (2 * h.size * 20, 4 * (h.size + V.size + z.size), lambda: np.matmul(h, V, out=z)),
        "relu": (h.size, 8 * h.size, lambda: np.maximum(h, 0.0, out=y)),
        "NLL": (8 * elements, 8 * elements, lambda: bernoulli_nll(a, x=ink)),
        "its gradient": (6 * elements, 12 * elements, lambda: pull(dnll)),
        "Adam": (11 * size, 28 * size, lambda: model.optimizer.step(model.arena)),
    }


# %%
def staircase(names, times):
    fig, ax = plots.figure(width=8.0, height=3.2)
    bars = ax.barh(names, times, color=[plots.COLOURS[0]] * (len(times) - 1) + [plots.COLOURS[1]])
    ax.bar_label(bars, [f"{t:.2f}" for t in times], padding=3)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="milliseconds per training step", title="one idea after another, each on top of those before",
           xlim=(0, 1.12 * max(times)))
    return fig


def waiting(times):
    fig, ax = plots.figure(width=8.0, height=3.6)
    for k, (label, marker) in enumerate((("one thread alone", "o"), ("each of two at once", "s"))):
        ax.plot(list(times), [pair[k] for pair in times.values()], marker + "-", color=plots.COLOURS[k], label=label)
    ax.axvline(500, color="grey", linewidth=0.8, linestyle=":")
    ax.annotate("from here on NumPy\ngives the lock away", (500, ax.get_ylim()[1]), (6, -6), textcoords="offset points", va="top")
    ax.set(xscale="log", yscale="log", xlabel="numbers in an array", ylabel="µs a call",
           title="a multiplication, and what it takes to be let back into Python")
    ax.legend(loc="lower right")
    return fig


def roofline(peak, bandwidth, points):
    fig, ax = plots.figure(width=8.0, height=4.6)
    span = np.geomspace(0.05, 500, 100)
    ax.plot(span, np.minimum(peak, span * bandwidth) / 1e9, color="black", label="the roof, memory's part and arithmetic's")
    for name, (intensity, rate) in points.items():
        ax.plot(intensity, rate / 1e9, "o", color=plots.COLOURS[1], markersize=8, markeredgecolor="white")
        aside = {"relu": (-8, 4, "right"), "Adam": (-4, 8, "right"), "its gradient": (3, -16, "left"),
                 "NLL": (9, -2, "left"), "xᵀ dy": (-9, -12, "right")}.get(name, (9, -10, "left"))
        ax.annotate(name, (intensity, rate / 1e9), aside[:2], textcoords="offset points", ha=aside[2])
    ax.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="billion operations per second",
           title=f"what the machine could do: {peak / 1e9:.0f} billion operations, {bandwidth / 1e9:.1f} GB a second")
    ax.legend(loc="lower right")
    return fig


def main(argv=None):
    p = parser("ch18", __doc__, cpu_because="it times this machine's cores and memory")
    p.add_argument("--batch", type=int, default=128, help="images a step sees (default: 128)")
    p.add_argument("--hidden", type=int, default=400, help="hidden units (default: 400)")
    opt, args = options(p, argv)
    batch, hidden = (32, 64) if opt.quick else (args.batch, args.hidden)
    images = opt.digits().train
    models = [version(ideas, hidden) for ideas in range(len(IDEAS))]
    print(f"all versions compute the same gradient: they differ by {largest_difference(models, images[:20]):.0e} of it\n")

    times = race(models, images, batch, *((2, 2) if opt.quick else (25, 11)))
    for name, t, before in zip(IDEAS, times, [times[0], *times]):
        print(f"{name:30} {t:8.2f} ms   {before / t:5.2f} times faster than the line before")
    opt.save(staircase(IDEAS, times), "staircase", alt="Bars: milliseconds per training step, one idea after another. "
             + ", ".join(f"{name} {t:.2f}" for name, t in zip(IDEAS, times)) + ".")

    waits = handovers([2**k for k in range(8, 19, 2)], opt.quick)
    print(f"\n{'numbers':>9} {'one thread':>14} {'each of two':>14}")
    for numbers, (alone, beside) in waits.items():
        print(f"{numbers:9,} {alone:11.2f} µs {beside:11.2f} µs   {beside / alone:5.1f} times as long")
    opt.save(waiting(waits), "handovers", alt="Microseconds of a multiplication against the numbers in an array, both axes "
             "logarithmic, by one thread and by each of two: " + "; ".join(
                 f"{numbers} numbers {alone:.1f} and {beside:.1f}" for numbers, (alone, beside) in waits.items()) + ".")

    peak, bandwidth = machine(opt.quick)
    work = {name: (flops, size, seconds(run, 2 if opt.quick else 20))
            for name, (flops, size, run) in operations(batch, hidden).items()}
    print(f"\n{'':14} {'µs':>8}  operations per byte   of the roof")
    for name, (flops, size, t) in work.items():
        roof = min(peak, flops / size * bandwidth)
        print(f"{name:14} {1e6 * t:8.1f}  {flops / size:19.2f}   {flops / t / roof:8.0%}")
    opt.save(roofline(peak, bandwidth, {name: (f / n, f / t) for name, (f, n, t) in work.items()}), "roofline",
             alt="A roofline: billion operations per second against operations per byte, both axes logarithmic. The roof rises "
             "with the memory's bandwidth and then is flat at the peak; each piece of a training step is a point, in the "
             "order of operations per byte: " + ", ".join(sorted(work, key=lambda name: work[name][0] / work[name][1])) + ".")

    flops, _, t = work["x W"]
    print(f"\nSeen: the same step takes {times[0]:.1f} ms as the textbook writes it and {times[-1]:.1f} ms in the library, "
          f"{times[0] / times[-1]:.1f} times less.\nThe first layer's product runs at {flops / t / peak:.0%} of the machine's "
          f"peak; Adam, which makes {work['Adam'][0] / flops:.0%} of its operations, takes {work['Adam'][2] / t:.1f} times "
          f"as long.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Run with `--batch 16` and `--batch 1024`.  Which idea is worth more for small batches, which for large
#    ones, and why?  (Adam's cost does not know how many images there were.)
# 2. *Break this.*  Draw the noise of a float32 model without `dtype=` in a plain NumPy step of your own.  Which arrays
#    become float64, and what does that cost?  Then see what minivae says when you hand it such noise.
# 3. *Derive this.*  A product of $(B, I)$ and $(I, O)$ has intensity $F/N$ as above.  For which $B$ does it leave the
#    sloping part of your machine's roof, at $I = 784$, $O = 400$?  Test your prediction with the chapter's `seconds`.
