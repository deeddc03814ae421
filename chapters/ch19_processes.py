"""Chapter 19 · Many processes, many machines.

The question     A second computer stands idle.  Can it take half of every step, and what does it cost to agree?
What is new      the all-reduce: a sum over processes that all of them get, and the ring that does it
What you'll see  the same bound from one, two and four processes; what a step costs them, beside what two measured
                 numbers predicted; how far a faster wire would carry it.
What it needs    an MPI to measure anything: python -m pip install -e ".[mpi]" mpich

    python chapters/ch19_processes.py                   starts mpiexec itself (python -m pip install mpi4py mpich)
    mpiexec -n 2 python -m minivae train                the same for any recipe
    mpiexec -hosts here,there -n 8 python -m minivae train --threads 4          on two machines
"""

# %% [markdown]
# # 19 · Many processes, many machines
#
# The loss of a batch is a mean over its examples, and so its gradient is a sum that can be cut anywhere.  Let rank $r$
# of $N$ processes hold the rows $S_r$ of the batch:
#
# $$ \nabla_\theta \, \frac 1B \sum_{b=1}^{B} \ell_b(\theta) \;=\; \sum_{r=0}^{N-1} g_r , \qquad
#    g_r = \frac 1B \sum_{b \in S_r} \nabla_\theta \, \ell_b(\theta) . $$
#
# Every rank has all parameters, takes its rows through them, and gets its $g_r$.  If then all of them learn the **sum**,
# all take the same step of Adam, and so all hold the same parameters for ever.  Nothing else is ever sent.
# Mind the $\frac 1B$: it is the whole batch's.  Means over shares, averaged, are another number when shares are uneven.
#
# The noise must be the same too: every rank draws $\varepsilon$ for the whole batch and uses its rows.

# %%
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from minivae import plots
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck
from minivae.parallel import processes, shares
from minivae.training import Recipe, fit
from minivae.variants import VAEConfig


def gradient_of_rows(model, rows, *, x, eps):
    """g_r: these rows' share of the gradient of the batch's mean."""
    model.arena.zero_grad()
    (nll, _), pullback = model.elbo_terms(x=x[rows], eps=eps[:, rows])
    dloss = np.full_like(nll, 1 / len(x))
    pullback(dloss, dloss)
    return model.arena.grad.copy()


# %% [markdown]
# ## The ring
#
# How do $N$ ranks add up vectors of $n$ numbers?  All could send theirs to rank 0, which adds and answers.  Then
# $2 (N - 1)\, n$ numbers pass through one wire, and with every rank that joins it gets slower.
#
# Patarasuk and Yuan (2009) put the ranks in a **ring**: each sends only to the next, all at once, and no wire carries more
# than another.  Cut the vector into $N$ parts.
#
# 1. *Reduce and scatter.*  In step $s$ rank $r$ sends part $r - s$ to the next, which adds it to its own.  After $N - 1$
#    steps every part has been once around, and rank $r$ holds the whole sum of part $r + 1$.
# 2. *Gather.*  The finished parts go around once more, copied now instead of added: another $N - 1$ steps.
#
# Each rank has sent $2 (N - 1)$ parts of $n / N$ numbers.  With $\beta$ bytes a second and $\alpha$ seconds before
# anything arrives,
#
# $$ T_{\text{sum}} \;=\; 2\, \frac{N - 1}{N} \cdot \frac{\text{bytes}}{\beta} \;+\; 2\, (N - 1)\, \alpha . $$
#
# However many ranks there are, each sends less than twice its vector.
#
# It is a function of vectors, so what is its pullback?  Every rank's output is $y_r = \sum_s x_s$, hence
# $\bar x_s = \sum_r \bar y_r$: another all-reduce.

# %%
def ring(vectors):
    """The sum of N vectors (n,), as N ranks in a ring find it: one copy for each; and how many numbers each sent."""
    N, held = len(vectors), [v.copy() for v in vectors]
    parts, sent = shares(len(vectors[0]), N), 0
    for s in range(N - 1):                                        # reduce and scatter
        mail = [held[r][parts[(r - s) % N]].copy() for r in range(N)]      # all send before anyone adds
        for r in range(N):
            held[(r + 1) % N][parts[(r - s) % N]] += mail[r]
        sent += len(mail[0])
    for s in range(N - 1):                                        # gather
        mail = [held[r][parts[(r + 1 - s) % N]].copy() for r in range(N)]
        for r in range(N):
            held[(r + 1) % N][parts[(r + 1 - s) % N]] = mail[r]
        sent += len(mail[0])
    return held, sent


def all_reduce(*vectors):                                         # N of (n,) -> N of (n,)
    """yᵣ = Σₛ xₛ"""
    def pullback(*dvectors):
        return tuple(ring(dvectors)[0])                           # ∂yᵣ/∂xₛ = 1, for every r and s
    return tuple(ring(vectors)[0]), pullback


def one_model(images, N, steps, seed):
    """The parameters after some steps of N simulated ranks."""
    model = VAEConfig(images.shape[1], (32,), 8).build(seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = images[rng.integers(len(images), size=50)].astype(np.float64)
        eps = rng.standard_normal((1, 50, 8))
        parts = [gradient_of_rows(model, rows, x=x, eps=eps) for rows in shares(50, N)]
        model.arena.grad[...] = ring(parts)[0][0]
        model.optimizer.step(model.arena)
    return model.arena.value


# %% [markdown]
# ## What a step should cost
#
# Of the arithmetic, rank $r$ does its share.  Every weight costs each example a multiplication and an addition on the way
# up, and twice that on the way down ($\partial W$ and $\partial x$; of the first layer only $\partial W$):
#
# $$ T_{\text{step}} \;=\; \frac{2 B\, (3 W - W_1)}{N \cdot \text{rate}} \;+\; T_{\text{sum}} . $$
#
# Two numbers decide, and both can be measured in a moment: the *rate* of a matrix product, and the *bandwidth* between
# two processes.  The batch is in the first term only, the model in both.  So what is sent weighs less the larger the
# batch: that is why data-parallel training and large batches go together.
#
# What the formula leaves out is what the ranks do not share.  Each takes the whole step of Adam, draws all the noise, and
# pays for its own Python; and the slowest one is waited for.

# %%
def step_of(model, batch):
    """What a step of the whole batch computes, and what each rank has to send."""
    weights = [p.value.size for p in model.arena.parameters.values() if p.value.ndim == 2]
    return {"flops": 2 * batch * (3 * sum(weights) - weights[0]), "bytes": model.arena.value.nbytes}


def predicted(N, step, machine):
    """Seconds of arithmetic and of the sum in a step of N ranks."""
    arithmetic = step["flops"] / (min(N, machine["cores"]) * machine["rate"])
    return arithmetic, 2 * (N - 1) / N * step["bytes"] / machine["bandwidth"] + 2 * (N - 1) * machine["latency"]


def median_seconds(act, times=30):
    seconds = []
    for _ in range(times + 3):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]))


def rate(batch, pixels, hidden):
    """Floating-point operations a second in the product of the first layer."""
    x, W = np.ones((batch, pixels), np.float32), np.ones((pixels, hidden), np.float32)
    return 2 * batch * pixels * hidden / median_seconds(lambda: x @ W)


def wire(exchange):
    """Seconds before anything arrives, and bytes a second, from exchanging few numbers and many."""
    few, many = np.zeros((2, 1), np.float32), np.zeros((2, 1_000_000), np.float32)
    latency = median_seconds(lambda: exchange(*few))
    return latency, many[0].nbytes / (median_seconds(lambda: exchange(*many)) - latency)


# %% [markdown]
# ## What it does cost
#
# `minivae train` does exactly this.  Started by `mpiexec`, it finds out its rank and how many there are; `fit` then sums
# the flat gradient once a step.  Here every rank clocks its steps, and the sums in them (which contain the waiting for
# the slowest).
#
# "The same result" means: to rounding, for $(a + b) + c$ is not quite $a + (b + c)$.  With tanh that stays as small as it
# sounds.  With relu an input within rounding of 0 may fall on the other side of the kink, and Adam takes the first
# gradient of a rarely inked pixel at full length: two runs part there, in a direction that nobody would call wrong.
#
# And the rest of a run?  Rank 0 alone reads and writes the folder, shows the progress and computes the validation bound;
# the others wait, asleep.  Every second or so all ranks add up their metrics, whether Ctrl-C reached them, and a digest of
# their parameters, so that all stop at the same step, and none goes its own way unnoticed.  A rank that dies takes the
# others with it, for they would wait for its sum for ever; the last checkpoint is whole, and any number of processes may
# go on from it.
#
# On one machine threads do as well: a team of two takes a step of batch 128 in 4.2 ms here, two processes in 4.0.  What
# only processes can do is live on another machine.

# %%
def rank_s_work(opt, batch):
    """What each of the processes does that `measure` starts: train, with a clock; rank 0 reports."""
    group, digits = processes(), opt.images()
    recipe = Recipe(hidden=(64,) if opt.quick else (400,), batch_size=batch, epochs=opt.epochs, seed=opt.seed,
                    activation="tanh")
    model = recipe.build(digits, opt.device)
    images, valid = recipe.split(digits)
    steps, sums, take_step, add = [], [], model.train_step, group.sum

    def clocked(act, seconds, argument, *more):
        start = time.perf_counter()
        answer = act(argument, *more)
        seconds.append(time.perf_counter() - start)
        return answer

    model.train_step = lambda x, rng: clocked(take_step, steps, x, rng)
    group.sum = lambda a: clocked(add, sums, a) if a.size == model.arena.value.size else add(a)
    history = fit(model, images, valid=valid, epochs=opt.epochs, batch_size=batch, seed=opt.seed, progress=False, threads=1)
    report = {"step": float(np.median(steps[2:])), "sum": float(np.median(sums[2:] or 0.0)),
              "bound": history[-1]["valid_elbo"], "rate": rate(batch, digits.train.shape[1], recipe.hidden[0])}
    report |= step_of(model, batch)
    if group.size == 2:
        report["latency"], report["bandwidth"] = wire(
            lambda here, there: group.comm.Sendrecv(here, 1 - group.rank, recvbuf=there, source=1 - group.rank))
    if group.rank == 0:
        print(json.dumps(report))


def measure(N, batch, opt):
    """The report of N processes that train together.  Raises OSError if they cannot."""
    script = Path(globals().get("__file__", "ch19_processes.py"))  # a notebook has no __file__
    if not script.exists():
        raise OSError(f"in a notebook this needs the script beside it, and there is no {script} in this folder")
    beside = Path(sys.executable).with_name("mpiexec")            # where pip puts it
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise OSError("there is no mpiexec here: python -m pip install mpi4py mpich")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    command = [mpiexec, "-n", N, sys.executable, script, "--rank-of-batch", batch, "--data", opt.data,
               "--seed", opt.seed, "--epochs", opt.epochs, "--device", "cpu", *["--quick"] * opt.quick]
    result = subprocess.run(list(map(str, command)), capture_output=True, env=environment, check=False,
                            encoding="utf-8", errors="replace")
    if result.returncode:
        raise OSError(f"mpiexec -n {N}: {result.stderr.strip()[-400:]}")
    return json.loads(result.stdout.splitlines()[-1])


def measured(opt, counts, batches):
    """{batch: {N: report}}, and this machine's numbers: without times, and guessed, if the processes cannot be started."""
    machine = {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
    try:
        reports = {batch: {N: measure(N, batch, opt) for N in counts} for batch in batches}
    except OSError as error:
        print(f"nothing is timed: {error}")
        a, b = np.zeros((2, 1_000_000), np.float32)
        speed, copies = rate(128, 784, 400), median_seconds(lambda: np.copyto(a, b))
        print("so a copy within one process stands for a message, and 1 µs is a guess")
        work = {batch: step_of(VAEConfig(784, (400,), 20).build(), batch) for batch in batches}
        return {batch: dict.fromkeys(counts, work[batch]) for batch in batches}, machine | {"rate": speed, "bandwidth": a.nbytes / copies, "latency": 1e-6}
    last = reports[batches[-1]]
    return reports, machine | {"rate": last[1]["rate"]} | {name: last[2][name] for name in ("bandwidth", "latency")}


# %% [markdown]
# ## Other wires
#
# With the rate of this machine, and other people's networks, the same formula says how far it goes.  However many ranks
# join, what each sends does not shrink; so even without any latency the gain stays below
#
# $$ \frac{2 B\, (3 W - W_1) / \text{rate}}{2\, \text{bytes} / \beta} \;\approx\; \frac 34 \, B \,
#    \frac{\beta}{\text{rate}} \qquad \text{(four bytes a weight, } W_1 \ll W \text{)} . $$
#
# The size of the model has cancelled: only the batch can pay for a slower wire.

# %%
WIRES = {"1 Gbit/s": (1.25e8, 5e-5), "10 Gbit/s": (1.25e9, 2e-5), "100 Gbit/s": (1.25e10, 2e-6)}      # bytes/s, seconds


def draw(reports, machine, large, batch):
    fig, axes = plots.figure(1, 2, width=10.0, height=4.2, width_ratios=(1.25, 1))
    place, labels = 0, []
    for size, by_count in reports.items():
        for N, report in by_count.items():
            bars = {"predicted": (place - 0.2, False, *predicted(N, report, machine))}
            if "step" in report:
                bars["measured"] = (place + 0.2, True, report["step"] - report["sum"], report["sum"])
            for kind, (x, full, *parts) in bars.items():
                floor = 0.0
                for part, colour, name in zip(parts, plots.COLOURS, ("its own work", "the sum")):
                    if part > 0:                                 # a single process has nothing to add up
                        axes[0].bar(x, 1e6 * part / size, 0.34, bottom=floor, fill=full, color=colour, edgecolor=colour,
                                    lw=not full, label=f"{kind}: {name}" if place == 1 else None)
                    floor += 1e6 * part / size
            labels.append((place, f"{N}\nbatch {size}" if N == 2 else str(N)))
            place += 1
        place += 0.5
    axes[0].set_xticks(*zip(*labels))
    axes[0].set_ylim(0, 1.3 * axes[0].get_ylim()[1])
    axes[0].grid(False, axis="x")
    axes[0].legend(ncols=2, loc="upper right")
    axes[0].set(xlabel="processes", ylabel="µs per image", title=f"on this machine's {machine['cores']} cores")
    counts = 2.0 ** np.arange(0, 11)
    for (name, (bandwidth, latency)), marker in zip(WIRES.items(), "os^"):
        there = {"cores": np.inf, "rate": machine["rate"], "bandwidth": bandwidth, "latency": latency}
        gain = [sum(predicted(1, large, there)) / sum(predicted(N, large, there)) for N in counts]
        axes[1].loglog(counts, gain, marker=marker, ms=4, lw=1.2, base=2, label=name)
    axes[1].loglog(counts, counts, color="black", lw=1, ls="--", base=2, label="N times as fast")
    axes[1].set(xlabel="machines with one core", ylabel="times as fast as one",
                title=f"predicted for other wires, batch {batch}")
    axes[1].legend()
    return fig


# %%
def arguments():
    p = parser("ch19", __doc__, epochs=6, cpu_because="it times processes on this machine's cores")
    p.add_argument("--rank-of-batch", type=int, help=argparse.SUPPRESS)           # how `measure` starts this file
    return p


def main(argv=None):
    opt, args = options(arguments(), argv)
    if args.rank_of_batch:
        rank_s_work(opt, args.rank_of_batch)
        return
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(all_reduce, *rng.standard_normal((3, 7)), name="all-reduce"))
    vectors = rng.standard_normal((4, 1000))
    held, sent = ring(vectors)
    print(f"ring of 4: the sums differ from NumPy's by at most {np.abs(np.array(held) - vectors.sum(axis=0)).max():.0e}, "
          f"each rank sent {sent} numbers for a vector of {vectors.shape[1]}")
    digits = opt.images()
    whole, cut = (one_model(digits.train, N, 20, opt.seed) for N in (1, 4))
    apart = np.abs(whole - cut).max() / np.abs(whole).max()
    print(f"20 steps of a VAE on 1 and on 4 simulated ranks: the parameters differ by {apart:.0e} of the largest\n")

    counts, batches = ((1, 2), (128,)) if opt.quick else ((1, 2, 4), (128, 1024))
    reports, machine = measured(opt, counts, batches)
    print(f"one core multiplies at {machine['rate'] / 1e9:.0f} GFLOP/s; between processes {machine['bandwidth'] / 1e9:.1f} "
          f"GB/s, {1e6 * machine['latency']:.1f} µs\n\n{'':32}predicted           measured")
    for batch, by_count in reports.items():
        for N, r in by_count.items():
            own, total = predicted(N, r, machine)
            print(f"batch {batch:5}, {N} process{'es' * (N > 1) or '  '}  {1e3 * (own + total):6.2f} ms, sum {1e3 * total:.2f}"
                  + (f"   {1e3 * r['step']:6.2f} ms, sum {1e3 * r['sum']:.2f}   bound {r['bound']:.3f} nats"
                     if "step" in r else ""))
    model = VAEConfig(digits.train.shape[1], (400,), 20).build()
    opt.save(draw(reports, machine, step_of(model, 4096), 4096), "processes", alt="Left: bars of µs per image for "
             f"{', '.join(map(str, counts))} processes and batches of {' and '.join(map(str, batches))}, each the rank's own work "
             "and, on top, the sum over processes: as the formula predicts and, where it was timed, as measured. The sum "
             "weighs less in the larger batch. Right, both axes logarithmic: how many times as fast the formula says so many "
             "machines are as one, for three wires. The faster the wire, the longer its curve keeps to the dashed line of N "
             "times as fast.")

    first = reports[batches[0]][2]
    if "step" not in first:
        print(f"\nSeen: four simulated ranks take the steps of one, to {apart:.0e}. Nothing was timed here; the "
              f"formula gives two\nprocesses {1e3 * sum(predicted(2, first, machine)):.2f} ms for a step of batch "
              f"{batches[0]}.")
        return
    bounds = [r["bound"] for by_count in reports.values() for r in by_count.values()][:len(counts)]
    gains = [f"{by_count[1]['step'] / by_count[2]['step']:.2f} times as fast at batch {batch}"
             for batch, by_count in reports.items()]
    print(f"\nSeen: {', '.join(map(str, counts[:-1]))} and {counts[-1]} processes end at the same bound, to "
          f"{max(bounds) - min(bounds):.0e} of {bounds[0]:.1f} nats.\nTwo are {' and '.join(gains)}.\nOf a step at batch "
          f"{batches[0]} the sum takes them {1e3 * first['sum']:.2f} ms of {1e3 * first['step']:.2f}; the formula said "
          f"{1e3 * predicted(2, first, machine)[1]:.2f}, and waits for nobody.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  `mpiexec -n 2 python -m minivae train` with `--hidden 1000` and `--hidden 100`, `--batch-size 32` and
#    `2048`: where does the second process pay?  Does the formula say so?
# 2. *Break this.*  Let every rank divide by its own number of rows, and average the gradients.  On 4,000 images in batches
#    of 128, which steps of the epoch go wrong with 2, 3 and 64 ranks, and by how much?
# 3. *Derive this.*  Adam is taken $N$ times over, by every rank.  Put it between the two halves of the ring, where rank $r$
#    holds the finished sum of one part only.  What is gathered now?  How many bytes are sent, and how much memory do the
#    moments take on each rank?  (Rajbhandari et al. 2020 call it ZeRO.)
