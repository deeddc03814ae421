"""Chapter 17 · From EM to amortized inference.

The question     Training a VAE moves two networks at once.  What would the classic, EM, have done, and what does the
                 encoder save?
What is new      the free energy and its two coordinates; exact EM for probabilistic PCA; a posterior for each image
                 by gradient; the amortization gap.
What you'll see  EM climbing a staircase to the eigenvectors of real digits; EM and an encoder racing on the same
                 decoder; how many nats an encoder loses on images it has seen, and on others.
"""

# %% [markdown]
# # 17 · From EM to amortized inference
#
# Take the ELBO of chapter 7 for one image, and write it for *any* density $q(z)$ and any parameters $\theta$:
#
# $$ F(q, \theta) = \mathbb E_q[\log p_\theta(x, z)] + H(q) = \log p_\theta(x) - \mathrm{KL}\big(q \,\Vert\, p_\theta(z \mid x)\big) , $$
#
# where $H(q) = -\mathbb E_q[\log q]$.  Physicists call $-F$ the free energy.  It has two coordinates, and the **EM
# algorithm** (Dempster, Laird and Rubin 1977) climbs them in turn (Neal and Hinton 1998):
#
# - **E step**: the best $q$ for this $\theta$.  By the right-hand side it is the posterior, and then $F = \log p_\theta(x)$.
# - **M step**: the best $\theta$ for this $q$.  By the middle it is $\arg\max_\theta \mathbb E_q[\log p_\theta(x, z)]$: as if $z$ had been seen.
#
# Neither step can lower $F$.  After an E step $F$ touches $\log p$, so $\log p$ can never fall either.  A VAE climbs the
# same $F$: what is different is that one network gives the $q$ of all images, and that both coordinates move at once.

# %%
import time

import numpy as np
from tqdm import trange

from minivae import plots
from minivae.backend import device
from minivae.chapter import options, parser
from minivae.distributions import LOG_2PI, bernoulli_nll, bernoulli_sample, standard_normal_log_prob
from minivae.evaluation import amortization_gap, fit_posteriors
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, cosine, mlp
from minivae.ops import repeat
from minivae.parts import DiagonalGaussian
from minivae.variants import VAEConfig
from minivae.variants.probabilistic_pca import log_p, probabilistic_pca

# %% [markdown]
# ## Exact EM: probabilistic PCA
#
# In chapter 7 the model $x = \mu + z W + \sigma \varepsilon$ was solved by eigenvectors.  EM needs no eigenvectors (Tipping and
# Bishop 1999).  Let $y = x - \mu$, with $\mu$ the average image, which is already the best.
#
# **E step.**  $\log p(x, z)$ is quadratic in $z$: $-\tfrac12 z (I + W W^\top / \sigma^2) z^\top + z\, W y^\top / \sigma^2 + \ldots$  So the posterior is
# Gaussian, with
#
# $$ S = (I + W W^\top / \sigma^2)^{-1}, \qquad m_n = y_n W^\top S / \sigma^2 . $$
#
# **M step.**  Averaged over $q$, the error of the fit is $\mathbb E \lVert y_n - z W \rVert^2 = \lVert y_n \rVert^2 - 2\, m_n W y_n^\top + \mathrm{tr}(\mathbb E[z^\top z]\, W W^\top)$
# with $\mathbb E[z^\top z] = m_n^\top m_n + S$.  Set its derivative in $W$ to zero, summed over images, then that of $F$ in $\sigma^2$:
#
# $$ W = \Big(\sum_n \mathbb E[z^\top z]\Big)^{-1} \sum_n m_n^\top y_n , \qquad
#    \sigma^2 = \frac{1}{N X} \sum_n \mathbb E \lVert y_n - z W \rVert^2 = \frac{1}{N X} \sum_n \big(\lVert y_n \rVert^2 - m_n W y_n^\top\big) . $$
#
# It is least squares, with codes that are known only roughly.
#
# **How fast?**  Near the top, EM finds the plane of the eigenvectors quickly; the *lengths* of $W$'s rows come last.  An
# E step that believes $W$ returns codes of just the size that makes $W$ look right.  Per iteration the error of a length
# shrinks by $r = 1 - 2\sigma^2 (\lambda - \sigma^2)/\lambda^2$ (exercise 3), and what is missing of $\log p$ by $r^2$: the less noise, the
# slower.

# %%
def e_step(y, W, sigma):
    """q(z|x) = N(m, S), the posterior        y (N, X), W (Z, X) -> m (N, Z), S (Z, Z)"""
    S = np.linalg.inv(np.eye(len(W)) + W @ W.T / sigma**2)
    return y @ W.T @ S / sigma**2, S


def m_step(y, m, S):
    """The best W (Z, X) and sigma for this q"""
    products = m.T @ y                                           # Σ mᵀy
    W = np.linalg.solve(m.T @ m + len(y) * S, products)
    return W, np.sqrt((np.vdot(y, y) - np.vdot(products, W)) / y.size)


def free_energy_pca(y, m, S, W, sigma):
    """F in nats per image, for any Gaussian q and any parameters"""
    (N, X), second = y.shape, m.T @ m / len(y) + S               # E[zᵀz], averaged over images
    fit = (np.vdot(y, y) - 2 * np.vdot(m.T @ y, W)) / N + np.vdot(second, W @ W.T)
    log_joint = -0.5 * (fit / sigma**2 + X * np.log(2 * np.pi * sigma**2) + np.trace(second) + len(W) * LOG_2PI)
    return log_joint + 0.5 * (np.linalg.slogdet(S)[1] + len(W) * (1 + LOG_2PI))


def exact_em(x, latents, iterations, rng):
    """W, sigma, and (F after the E step, log p, F after the M step) of every iteration"""
    mean, history = x.mean(axis=0), []
    y = x - mean
    W, sigma = 0.1 * rng.standard_normal((latents, x.shape[1])), y.std()
    for _ in range(iterations):
        q = e_step(y, W, sigma)
        touches = free_energy_pca(y, *q, W, sigma), log_p(x, mean, W, sigma).mean()
        W, sigma = m_step(y, *q)
        history.append((*touches, free_energy_pca(y, *q, W, sigma)))
    return W, sigma, np.array(history)


def steepest(y, m, S, W, sigma, rng):
    """The largest slope of F in (W, sigma) that finite differences find in five random directions"""
    slopes, h = [], 1e-6
    for _ in range(5):
        dW, ds = rng.standard_normal(W.shape) / np.sqrt(W.size), rng.standard_normal()
        up, down = (free_energy_pca(y, m, S, W + sign * h * dW, sigma + sign * h * ds) for sign in (1, -1))
        slopes.append(abs(up - down) / (2 * h))
    return max(slopes)


def angle(W, V):
    """sin of the largest angle between the planes that the rows of W and of V span: 0 if they are the same"""
    P, Q = np.linalg.qr(W.T)[0], np.linalg.qr(V.T)[0]
    return np.linalg.norm(P - Q @ (Q.T @ P), 2)


# %% [markdown]
# ## A decoder with a bend: no formula, but a slope
#
# With a nonlinear decoder neither step can be written down.  But $F$ can be *climbed*.  Give every image its own
# $q_n = \mathcal N(\mu_n, \mathrm{diag}\, e^{\ell_n})$, a row of numbers in a table, draw $z = \mu + \sigma \varepsilon$ (chapter 9), and differentiate
#
# $$ F = \frac1S \sum_s \log p_\theta(x, z_s) + H(q), \qquad H(q) = \tfrac12 \sum_j (\ell_j + 1 + \log 2\pi), \qquad \frac{\partial H}{\partial \ell} = \tfrac12 . $$
#
# The pullback below ends in two places.  Ask for $\partial F/\partial(\mu, \ell)$ and it is a gradient **E step**; ask for $\partial F/\partial\theta$ and it
# is a gradient **M step**.

# %%
def free_energy(mean, logvar, *, decoder, x, eps):    # (B, Z) (B, Z), x (B, X), eps (S, B, Z) -> (B,), nats
    S, B, Z = eps.shape
    z, pull_z = DiagonalGaussian(mean.shape[1]).draws(mean, logvar, eps=eps)
    logits, pull_decoder = decoder(z)
    nll, pull_nll = bernoulli_nll(logits, x=repeat(x, samples=S)[0])
    log_prior, pull_prior = standard_normal_log_prob(z)
    entropy = 0.5 * (logvar.sum(axis=1) + Z * (1 + LOG_2PI))

    def pullback(df, need_dq=True, need_dp=True):
        df_each = repeat(df / S, samples=S)[0]
        dz = pull_decoder(-pull_nll(df_each), need_dx=need_dq, need_dp=need_dp)
        if not need_dq:
            return None
        dmean, dlogvar = pull_z(dz + pull_prior(df_each))
        return dmean, dlogvar + 0.5 * df[:, None]

    return (log_prior - nll).reshape(S, B).mean(axis=0) + entropy, pullback


# %% [markdown]
# **A quieter slope.**  $\partial \log q / \partial \mu = \varepsilon / \sigma$ and $\partial \log q / \partial \ell = \tfrac12(\varepsilon^2 - 1)$ average to zero under $q$, so they may be
# added for nothing.  They are just what the noise of a single draw lacks: where $q$ is the posterior, $\log p(x, z)$
# falls away from $\mu$ as $\log q$ does, and the sum is zero for *every* draw.  (Roeder, Wu and Duvenaud 2017; the library's
# `fit_posteriors` follows this slope.)
#
# Then Adam (chapter 4), with a memory for every image.

# %%
def slope(mean, logvar, *, decoder, x, eps):
    """∂F/∂mean and ∂F/∂logvar, from fewer draws"""
    f, pullback = free_energy(mean, logvar, decoder=decoder, x=x, eps=eps)
    dmean, dlogvar = pullback(np.ones_like(f), need_dp=False)
    return dmean + (eps * np.exp(-0.5 * logvar)).mean(axis=0), dlogvar + 0.5 * (eps * eps - 1).mean(axis=0)


class Table:
    """(mean, logvar) for each of N images, all N(0, I) at first, with Adam's two moments and its count of steps."""

    def __init__(self, n, latents, dtype=np.float32):
        self.q, self.m, self.s = np.zeros((3, 2, n, latents), dtype)
        self.t = np.zeros(n, int)

    def climb(self, rows, noise, rates, *, decoder, x):
        """An E step of so many inner steps for some of the images; x (B, X) are these images"""
        q, m, s, t = self.q[:, rows], self.m[:, rows], self.s[:, rows], self.t[rows]
        for eps, rate in zip(noise, rates):
            g, t = np.stack(slope(*q, decoder=decoder, x=x, eps=eps)), t + 1
            m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
            c1, c2 = (1 - np.array([[0.9], [0.999]]) ** t).astype(q.dtype)[:, :, None]
            q = q + rate * (m / c1) / (np.sqrt(s / c2) + 1e-8)
        self.q[:, rows], self.m[:, rows], self.s[:, rows], self.t[rows] = q, m, s, t


def fit_alone(decoder, x, start, rng, *, steps=300, samples=4, lr=0.05):
    """q* for every image, as minivae.evaluation.fit_posteriors finds it        -> (2, N, Z)"""
    table, schedule = Table(len(x), start.shape[2], x.dtype), cosine(lr, steps=steps)
    table.q[...] = start
    noise = (rng.standard_normal((samples, *start.shape[1:]), dtype=x.dtype) for _ in range(steps))
    table.climb(slice(None), noise, map(schedule, range(steps)), decoder=decoder, x=x)
    return table.q


# %% [markdown]
# ## The race
#
# Both start from the same decoder, see the same batches in the same order, and update the decoder equally often, with
# the same Adam.  **Variational EM** takes 1, 5 or 20 inner steps on the rows of the batch, then one step on the
# decoder.  **Amortized inference** takes one step on encoder and decoder together.  After each epoch $F$ is measured on all
# training images, with each one's own $q$; the clock stands still meanwhile.

# %%
class VariationalEM:
    def __init__(self, config, x, seed, inner, lr):
        self.decoder, self.inner, self.lr, self.x = config.build(seed=seed, images=x).decoder, inner, lr, x
        self.arena, self.adam = Arena(self.decoder.parameters(), device("cpu")), Adam(2e-3)
        self.table = Table(len(x), config.latents)

    def update(self, rows, rng):
        x, shape = self.x[rows], (1, len(rows), self.table.q.shape[2])
        noise = (rng.standard_normal(shape, dtype=np.float32) for _ in range(self.inner))
        self.table.climb(rows, noise, [self.lr] * self.inner, decoder=self.decoder, x=x)             # E
        self.arena.zero_grad()
        eps = rng.standard_normal(shape, dtype=np.float32)
        f, pullback = free_energy(*self.table.q[:, rows], decoder=self.decoder, x=x, eps=eps)
        pullback(np.full_like(f, -1 / len(f)), need_dq=False)                                        # M
        self.adam.step(self.arena)

    def q(self):
        return self.table.q


class Amortized:
    def __init__(self, config, x, seed):
        self.vae, self.x = config.build(seed=seed, images=x, optimizer=Adam(2e-3)), x
        self.decoder = self.vae.decoder

    def update(self, rows, rng):
        self.vae.train_step(self.x[rows], rng)

    def q(self):
        return np.stack(self.vae.encode(self.x))


def bound(decoder, x, q, samples=2):
    """F of every image with its q, in nats        -> (N,)"""
    eps = np.random.default_rng(99).standard_normal((samples, *q.shape[1:]), dtype=x.dtype)
    return free_energy(*q, decoder=decoder, x=x, eps=eps)[0]


def race(learner, name, *, epochs, batch, seed, quiet):
    """(updates, seconds, mean F of the training images) before the first epoch and after each"""
    order, rng, seconds, x = np.random.default_rng(seed), np.random.default_rng(seed + 1), 0.0, learner.x
    history, updates = [(0, 0.0, bound(learner.decoder, x, learner.q()).mean())], 0
    for _ in trange(epochs, desc=name, unit="epoch", disable=quiet):
        start = time.perf_counter()
        for rows in np.split(order.permutation(len(x)), range(batch, len(x), batch)):
            learner.update(rows, rng)
            updates += 1
        seconds += time.perf_counter() - start
        history.append((updates, seconds, bound(learner.decoder, x, learner.q()).mean()))
    return np.array(history)


# %% [markdown]
# ## A new image, and what an encoder costs
#
# For an image that was not in the table, variational EM must start inference again: hundreds of inner steps.  The
# encoder answers in one pass, but it answers for *all* images with one network, so for this one image its $q$ is not the
# best.  The loss has two parts (Cremer, Li and Duvenaud 2018):
#
# $$ \log p(x) - F(q) = \underbrace{\log p(x) - F(q^*)}_{\text{approximation gap: the price of diagonal Gaussians}}
#    + \underbrace{F(q^*) - F(q)}_{\text{amortization gap: the price of the encoder}} . $$
#
# $q^*$ comes from `fit_alone`, started at the encoder's $q$; $\log p(x)$ is bounded by importance weighting with draws of
# $q^*$ (a tighter bound than from the encoder's draws, where $q$ is bad).  The library calls all this `amortization_gap`.

# %%
def per_image(work, n, times=1):
    """work()'s value, and its seconds per image of n, averaged over so many times"""
    start = time.perf_counter()
    for _ in range(times):
        value = work()
    return value, (time.perf_counter() - start) / (n * times)


def quieter(decoder, x, q, rng, n=300):
    """How much more the plain slope varies than the quiet one, single draws at q: a ratio of variances"""
    plain, quiet = [], []
    for eps in rng.standard_normal((n, 1, *q.shape[1:]), dtype=x.dtype):
        f, pullback = free_energy(*q, decoder=decoder, x=x, eps=eps)
        plain.append(pullback(np.ones_like(f), need_dp=False))
        quiet.append(slope(*q, decoder=decoder, x=x, eps=eps))
    return np.var(plain, axis=0).sum() / np.var(quiet, axis=0).sum()


def checks(config, x, seed):
    """Our pullback against finite differences, and our q* against the library's, from the same noise"""
    rng = np.random.default_rng(seed)
    tiny = mlp(2, 5, 6, rng=rng, activation="tanh")
    print(gradcheck(free_energy, rng.standard_normal((4, 2)), rng.standard_normal((4, 2)), decoder=tiny,
                    parameters=tiny.parameters(), x=np.round(rng.random((4, 6))), eps=rng.standard_normal((3, 4, 2))))
    vae, x = config.build(seed=seed, images=x, dtype=np.float64), x[:20].astype(np.float64)
    ours = fit_alone(vae.decoder, x, np.stack(vae.encode(x)), np.random.default_rng([seed, 0]), steps=50)
    theirs = np.stack(fit_posteriors(vae, x, steps=50, seed=seed))
    print(f"our q* and minivae.evaluation.fit_posteriors' differ by at most {np.abs(ours - theirs).max():.0e}\n")


# %%
# inner steps and their learning rate: of 0.02, 0.05, 0.1, 0.2 (and 0.3 for 1 and 5) the one that ends highest, or within
# 0.1 nats of that, on the default run.  The encoder's 0.002 was not searched for
INNER = {1: 0.3, 5: 0.1, 20: 0.1}


def linear_part(opt, x):
    """Exact EM against the eigenvectors"""
    rng, iterations, Z = np.random.default_rng(opt.seed), 60 if opt.quick else 600, 6
    W, sigma, history = exact_em(x, Z, iterations, rng)
    mean, V, best_sigma = probabilistic_pca(x, Z)
    best, y = log_p(x, mean, V, best_sigma).mean(), x - mean
    start = 0.5 * V, 1.1 * best_sigma
    q = e_step(y, *start)
    left = best - history[:, 2]
    values = (V**2).sum(axis=1) + best_sigma**2
    theory = (1 - 2 * best_sigma**2 * (values - best_sigma**2) / values**2).max() ** 2
    found = {"touch": np.abs(history[:, 0] - history[:, 1]).max(), "rise": np.diff(history[:, [0, 2]].ravel()).min(),
             "left": left[-1], "rate": (left[-1] / left[-11]) ** 0.1, "theory": theory,
             "best": best}
    print(f"slope of F in W and σ: {steepest(y, *q, *start, rng):.0f} nats before an M step, "
          f"{steepest(y, *q, *m_step(y, *q), rng):.0e} after it")
    print(f"after {iterations} iterations: sin(angle to the eigenvectors) = {angle(W, V):.0e}, σ off by "
          f"{abs(sigma - best_sigma):.0e};\nlog p = {history[-1, 1]:.6f}, by eigenvectors {best:.6f}; what is missing "
          f"shrinks by {found['rate']:.4f} per iteration (theory: {theory:.4f})\n")
    return found, history


def race_part(opt, config, x):
    """Variational EM with 1, 5, 20 inner steps, and amortized inference"""
    how = {"epochs": opt.epochs, "batch": 50, "seed": opt.seed, "quiet": opt.quick}
    amortized, curves = Amortized(config, x, opt.seed), {}
    curves["an encoder"] = race(amortized, "an encoder", **how)
    for inner, lr in INNER.items():
        learner, name = VariationalEM(config, x, opt.seed, inner, lr), f"EM, {inner} inner step{'s' * (inner > 1)}"
        curves[name] = race(learner, name, **how)
    for name, (updates, seconds, f) in ((name, curve[-1]) for name, curve in curves.items()):
        print(f"{name:20} {updates:.0f} updates, {seconds:5.1f} s: F = {f:.2f} nats on the training images")
    return amortized, learner, curves


def new_images(opt, amortized, em, test):
    """What each says of images that it has not seen, and how long it thinks about each"""
    rng, n, steps = np.random.default_rng(opt.seed), len(test), 20 if opt.quick else 300
    start = np.zeros((2, n, em.table.q.shape[2]), np.float32)
    q_em, slow = per_image(lambda: fit_alone(em.decoder, test, start, rng, steps=steps), n)
    q_vae, fast = per_image(lambda: np.stack(amortized.vae.encode(test)), n, times=100)
    f_em, f_vae = bound(em.decoder, test, q_em, 64).mean(), bound(amortized.decoder, test, q_vae, 64).mean()
    q_star = fit_alone(amortized.decoder, test, q_vae, rng, steps=steps)
    ratio = quieter(amortized.decoder, test[:50], q_star[:, :50], rng)
    print(f"\na new image: EM's decoder, {steps} inner steps from N(0, I): F = {f_em:.1f} nats, {1e3 * slow:.1f} ms;  "
          f"encoder: {f_vae:.1f} nats, {1e6 * fast:.1f} µs\nat q*, one draw of the plain slope has {ratio:.1f} times the "
          "variance of the quiet one\n")
    return {"em": f_em, "slow": slow, "fast": fast, "ratio": ratio}


def gaps(opt, amortized, train, test):
    """{when: {which images: AmortizationGap}}, after the race and after twice as many epochs again; their curve"""
    how = {"bound_samples": 50 if opt.quick else 1000, "steps": 20 if opt.quick else 300, "progress": not opt.quick}
    found = {}
    for epochs in (opt.epochs, 3 * opt.epochs):
        if epochs > opt.epochs:
            more = race(amortized, "more epochs", epochs=2 * opt.epochs, batch=50, seed=opt.seed + 10, quiet=opt.quick)
        found[epochs] = {which: amortization_gap(amortized.vae, x, seed=opt.seed, **how)
                         for which, x in (("seen", train[:len(test)]), ("new", test))}
        for which, gap in found[epochs].items():
            print(f"{epochs} epochs, {which} images: {gap}\n")
    return found, more


# %%
def draw_staircase(found, history):
    fig, (steps, rate) = plots.figure(1, 2, width=8.0, height=3.6)
    first, last = 4, 9
    for t in range(first, last):
        (e, _, m), following = history[t], history[t + 1, 1]     # what the M step gains for log p, F gets at the next E
        before, names = history[t - 1, 2], ("E step", "M step", "log p(x)") if t == first else (None,) * 3
        steps.plot([t, t], [before, e], color=plots.COLOURS[0], lw=4, label=names[0])
        steps.plot([t + 0.5, t + 0.5], [e, m], color=plots.COLOURS[1], lw=4, label=names[1])
        steps.plot([t - 0.5, t + 0.5, t + 0.5], [e, e, following], "--", color="black", lw=1, label=names[2])
        for left, right, height in ((t - 0.5, t, before), (t, t + 0.5, e)):
            steps.plot([left, right], [height, height], color=plots.TEN[7], lw=1.2)
    steps.set(xlabel="iteration", ylabel="F, nats per digit", title="EM's staircase: E up to log p, M lifts both")
    steps.legend(loc="lower right")
    left = found["best"] - history[:, 2]
    t = np.arange(len(left))
    half = len(left) // 2
    rate.semilogy(t, left, label="log p by eigenvectors − F")
    rate.semilogy(t, 2.5 * left[half] * found["theory"] ** (t - half), "--", color="black", lw=1,
                  label=f"slope of $r^2$ = {found['theory']:.4f} per iteration")
    rate.set(xlabel="iteration", ylabel="nats per digit", title="the last nats take long", ylim=(left[-1] / 3, 1e3 * left[0]))
    rate.legend(fontsize=9, loc="upper right")
    return fig


def draw_race(curves, more):
    fig, axes = plots.figure(1, 2, width=8.0, height=3.8, sharey=True)
    styles = zip(("black", *plots.COLOURS), ("-", (0, (1, 1)), "-.", (0, (5, 1))))
    for (name, (updates, seconds, f)), (colour, dashes) in zip(((n, c.T) for n, c in curves.items()), styles):
        axes[0].plot(updates, f, color=colour, ls=dashes, label=name)
        axes[1].plot(seconds[1:], f[1:], color=colour, ls=dashes)
    best = max(more[-1, 2], *(curve[-1, 2] for curve in curves.values()))
    axes[1].plot(more[:, 1] + curves["an encoder"][-1, 1], more[:, 2], color="black", lw=0.8, label="an encoder,\nmore updates")
    axes[1].legend(loc="upper left")
    axes[0].set(xlabel="updates of the decoder", ylabel="F, nats per training image", ylim=(best - 90, best + 5),
                title="per update: better inference learns faster")
    axes[1].set(xlabel="seconds of training", xscale="log", title="per second: the encoder is cheap")
    axes[0].legend(loc="lower right")
    return fig


def draw_gaps(found):
    fig, ax = plots.figure(width=8.0, height=4.0)
    names, parts = [], []
    for epochs, both in found.items():
        for which, gap in both.items():
            names.append(f"{which} images,\n{epochs} epochs")
            parts.append((gap.approximation, gap.amortization))
    y = np.arange(len(names))[::-1]
    approximation, amortization = (np.array([[e.mean, e.standard_error] for e in part]).T for part in zip(*parts))
    ax.barh(y, approximation[0], color=plots.COLOURS[5], label="approximation gap: diagonal Gaussians")
    ax.barh(y, amortization[0], left=approximation[0], xerr=2 * amortization[1], color=plots.COLOURS[1],
            label="amortization gap: one encoder for all (± 2 s.e.)", error_kw={"lw": 1, "capsize": 3})
    for at, total, error in zip(y, approximation[0] + amortization[0], amortization[1]):
        ax.annotate(f"{total:.1f}", (total + 2 * error, at), xytext=(6, 0), textcoords="offset points", va="center")
    ax.set_yticks(y, names)
    ax.set(xlabel="nats below log p(x) (importance-weighted)", title="what inference loses", ylim=(-0.6, len(names) + 0.6),
           xlim=(0, 1.15 * (approximation[0] + amortization[0] + 2 * amortization[1]).max()))
    ax.legend(loc="upper right", fontsize=9)
    ax.grid(axis="y", visible=False)
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch17", __doc__, epochs=75, cpu_because="its EM is plain NumPy, and races by one clock"), argv)
    images = opt.images()
    n, few, rng = (200, 20, np.random.default_rng(opt.seed)) if opt.quick else (1000, 300, np.random.default_rng(opt.seed))
    found, history = linear_part(opt, images.train[:n].astype(np.float64))
    opt.save(draw_staircase(found, history), "staircase", alt="Left: F in nats per digit over some early iterations of EM. An E "
             "step lifts F up to the dashed line, log p(x); the M step lifts F and that line further: a staircase. Right: "
             "what is missing of the eigenvectors' log p, in nats per digit on a logarithmic axis. It falls fast at first, "
             f"then along a straight line, by a factor of {found['theory']:.4f} per iteration, as predicted.")

    train, test = (bernoulli_sample(part, rng=rng) for part in (images.train[:n], plots.spread(images.test, few)))
    config = VAEConfig(train.shape[1], hidden=(16,) if opt.quick else (100,), latents=10)
    checks(config, train, opt.seed)
    amortized, em, curves = race_part(opt, config, train)
    new = new_images(opt, amortized, em, test)
    gap, more = gaps(opt, amortized, train, test)
    opt.save(draw_race(curves, more), "race", alt="F in nats per training image for an encoder and for variational EM with 1, "
             "5 and 20 inner steps. Left, over the updates of the decoder: the more inner steps, the steeper the curve. "
             "Right, over the seconds of training, on a logarithmic axis: the encoder's curve lies furthest to the left.")
    opt.save(draw_gaps(gap), "gaps", alt="Bars in nats below log p(x), each the approximation gap of diagonal Gaussians and, "
             "added to it, the amortization gap of the encoder. The latter: "
             + "; ".join(f"{which} images, {epochs} epochs: {part.amortization}" for epochs, both in gap.items()
                         for which, part in both.items()) + ".")

    first, last = gap.values()
    slow, quick, long = curves["EM, 20 inner steps"][-1], curves["an encoder"][-1], more[-1]
    print(f"\nSeen: after every E step F equals log p to {found['touch']:.0e} nats, the least any step adds is {found['rise']:.0e}, and EM ends "
          f"{found['left']:.0e} nats below the\neigenvectors' log p. With a nonlinear decoder, {slow[0]:.0f} updates with 20 "
          f"inner steps each reach F = {slow[2]:.1f} in {slow[1]:.1f} s,\nwith an encoder {quick[2]:.1f} in {quick[1]:.1f} s, "
          f"and three times as many {long[2]:.1f} in {quick[1] + long[1]:.1f} s; a new image costs\n{1e3 * new['slow']:.1f} "
          f"ms of inner steps, or {1e6 * new['fast']:.1f} µs of encoder. The encoder loses {first['seen'].amortization} nats "
          f"on images it has seen,\n{first['new'].amortization} on new ones, and {last['new'].amortization} after three times "
          f"as long: its ELBO there goes from {first['new'].encoder.mean:.1f} to {last['new'].encoder.mean:.1f},\nthat of q* "
          f"from {first['new'].fitted.mean:.1f} to {last['new'].fitted.mean:.1f}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Start `fit_alone` at $\mathcal N(0, I)$ instead of the encoder's $q$.  Is $q^*$ as good?  Then refine the
#    encoder's $q$ by 1, 5 and 20 steps: how much of the gap on new images is left?
# 2. *Measure this.*  Binarize the training images anew for every batch (chapter 10).  What happens to the gap on new
#    images, and to the approximation gap?
# 3. *Derive this.*  One latent, one eigenvalue $\lambda$, $\sigma$ known: show that EM maps the length $w$ of $W$ to
#    $\lambda w (w^2 + \sigma^2) / (\lambda w^2 + \sigma^2 (w^2 + \sigma^2))$, that $w^2 = \lambda - \sigma^2$ stays where it is, and that near it the
#    error shrinks by $r = 1 - 2\sigma^2(\lambda - \sigma^2)/\lambda^2$.
