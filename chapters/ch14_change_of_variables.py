"""Chapter 14 · Full covariance and the change of variables.

The question     The posterior's latents depend on each other.  What does it cost to pretend that they do not?
What is new      a Gaussian by its Cholesky factor; densities under a change of variables; flows.
What you'll see  the price of independence to ten digits; four families of q fitted to one banana; and what each of them
                 gains on real digits, with the same network and the same steps.
"""

# %% [markdown]
# # 14 · Full covariance and the change of variables
#
# If two latents can explain the same stroke, more of one means less of the other: given the image they are correlated.
# A diagonal $q$ cannot say so, and pays for it.
#
# **Full covariance.**  Let $z = \mu + L\,\varepsilon$ with a lower triangular $L$.  Then $\mathrm{Cov}\, z = L L^\top$, which can
# be any covariance, and exactly one such $L$ has a positive diagonal.  With $\mathbb E \Vert z \Vert^2 = \Vert\mu\Vert^2 + \Vert L\Vert^2$
# and $\log |\det L| = \sum_i \log L_{ii}$,
#
# $$ \mathrm{KL}\big(\mathcal N(\mu, L L^\top) \,\Vert\, \mathcal N(0, I)\big)
#    = \tfrac12 \big(\Vert\mu\Vert^2 + \Vert L\Vert^2 - Z\big) - \sum_i \log L_{ii}, \qquad
#    \frac{\partial}{\partial L} = L - \mathrm{diag}(1/L_{ii}) . $$
#
# **Any bend at all.**  Both $\mu + \sigma \varepsilon$ and $\mu + L \varepsilon$ are maps $z = g(\varepsilon)$.  A small cube
# around $\varepsilon$ holds the probability $p(\varepsilon)\, d\varepsilon$; its image holds the same, in a volume $|\det
# \partial z / \partial \varepsilon|$ times as large.  So for *every* smooth invertible $g$
#
# $$ \log q(z) = \log p(\varepsilon) - \log \Big|\det \frac{\partial z}{\partial \varepsilon}\Big| , $$
#
# and the ELBO needs nothing else: $\mathbb E_\varepsilon\big[\log p(x, z) - \log q(z)\big]$ is an average over draws.  Maps one
# after the other multiply their determinants, so log-determinants add: chain as many as you like.
#
# **Which maps have cheap determinants?**  *Planar* ones, $z + \hat u \tanh(w^\top z + b)$: the identity plus one direction, so the
# determinant is $1 + \tanh'(\cdot)\, w^\top \hat u$.  *Couplings*: half of $z$ is handed on as it is, and decides how the other half is
# scaled and shifted; the Jacobian is triangular, its determinant the product of the scales, and the networks that
# decide may be anything, since nobody inverts them.
#
# A flow should begin near the Gaussian that it bends.  So the library's couplings are born with a tenth of the usual
# weights in their last layer, its planar steps use a tenth of the $u$ that the encoder gives, and $\hat u = 0$ where $u = 0$.

# %%
import numpy as np

from minivae import distributions, plots
from minivae.backend import device, to_numpy
from minivae.chapter import options, parser
from minivae.evaluation import Estimate, log_likelihoods
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, Parameter, cosine
from minivae.ops import repeat
from minivae.parts import CouplingFlow, FullCovariance, PlanarFlow
from minivae.training import fit
from minivae.variants import VAEConfig


# %%
def full_kl(mean, L):                                 # (B, Z) (B, Z, Z) -> (B,)
    diagonal = np.einsum("bii->bi", L)

    def pullback(dkl):
        dL = L * dkl[:, None, None]
        np.einsum("bii->bi", dL)[...] -= dkl[:, None] / diagonal                       # a view of the diagonal
        return mean * dkl[:, None], dL

    squares = (mean**2).sum(axis=1) + (L**2).sum(axis=(1, 2)) - mean.shape[1]
    return 0.5 * squares - np.log(diagonal).sum(axis=1), pullback


def couple(z, raw, shift):                            # all (B, Z) -> y (B, Z), logdet (B,)
    """y = z eˢ + shift,   s = 2 tanh(½ raw)"""
    s = 2 * np.tanh(0.5 * raw)

    def pullback(dy, dlogdet):                        # s acts on y, and on the determinant: derivatives add
        ds = dy * z * np.exp(s) + dlogdet[:, None]
        return dy * np.exp(s), ds * (1 - np.tanh(0.5 * raw) ** 2), dy

    return (z * np.exp(s) + shift, s.sum(axis=1)), pullback


def same_as_library(rng):
    """The largest difference between our two pullbacks and minivae's."""
    mean, L, dkl = rng.standard_normal((4, 3)), np.tril(rng.random((4, 3, 3))) + np.eye(3), rng.standard_normal(4)
    pairs = [(f(mean, L)[1](dkl)) for f in (full_kl, distributions.full_gaussian_kl)]
    z, raw, shift, dy = rng.standard_normal((4, 4, 3))
    pairs += [f(z, raw, shift)[1](dy, dkl) for f in (couple, distributions.couple)]
    return max(np.abs(a - b).max() for i in (0, 2) for a, b in zip(pairs[i], pairs[i + 1]))


# %% [markdown]
# ## The price of independence, exactly
#
# $x = W^\top z + \sigma\,\varepsilon$ with rows of $W$ that are not orthogonal: the posterior is $\mathcal N(S W x/\sigma^2,\, S)$ with
# $S^{-1} = I + W W^\top/\sigma^2$, which is not diagonal.  With $L L^\top = S$ the bound is $\log p(x)$.  The best diagonal has
# the variances $1/(S^{-1})_{ii}$ (set the derivative of the KL to zero), and misses it by $\tfrac12(\sum_i \log (S^{-1})_{ii} +
# \log |S|)$ for every $x$.

# %%
def price_of_independence(rng, X=12, Z=4, sigma=0.5):
    """(error of the full bound, gap of the best diagonal, its formula), nats"""
    W, x = rng.standard_normal((Z, X)), rng.standard_normal((50, X))
    precision = np.eye(Z) + W @ W.T / sigma**2
    S = np.linalg.inv(precision)
    mean = x @ W.T @ S / sigma**2
    C = W.T @ W + sigma**2 * np.eye(X)
    log_p = -0.5 * ((x @ np.linalg.inv(C) * x).sum(axis=1) + np.linalg.slogdet(2 * np.pi * C)[1])

    def elbo(factor):                                 # E over q of a quadratic, in closed form
        residual = ((x - mean @ W) ** 2).sum(axis=1) + ((factor.T @ W) ** 2).sum()
        nll = 0.5 * (residual / sigma**2 + X * np.log(2 * np.pi * sigma**2))
        return -nll - full_kl(mean, np.repeat(factor[None], len(x), 0))[0]

    diagonal = np.diag(np.diag(precision) ** -0.5)
    formula = 0.5 * (np.log(np.diag(precision)).sum() + np.linalg.slogdet(S)[1])
    return np.abs(log_p - elbo(np.linalg.cholesky(S))).max(), (log_p - elbo(diagonal)).mean(), formula


# %% [markdown]
# ## A banana
#
# $z \sim \mathcal N(0, I)$ in the plane and $x = z_2 + z_1^2$ seen with noise: all of a parabola explains it.  We fit $q$ by
# climbing its ELBO: `dz` comes from $\log p(x, z)$, `dlogdet` is 1, and the pullback does the rest.

# %%
NOISE = 0.3


def banana(z, x=1.0):
    """log p(x, z) and its gradient in z"""
    r = x - z[:, 1] - z[:, 0] ** 2
    value = -0.5 * (r / NOISE) ** 2 - np.log(NOISE) - 0.5 * (z**2).sum(axis=1) - 1.5 * np.log(2 * np.pi)
    return value, np.stack([2 * z[:, 0], np.ones(len(z))], axis=1) * (r / NOISE**2)[:, None] - z


def evidence(x=1.0):
    line = np.linspace(-6, 6, 1201)
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return np.log(np.exp(banana(z, x)[0]).sum() * (line[1] - line[0]) ** 2)


class Diagonal(FullCovariance):
    """μ and log σ alone: the full covariance with nothing below the diagonal."""

    def __init__(self, latents):
        self.latents, self.outputs = latents, 2 * latents

    def __call__(self, outputs, *, eps):
        (z, logdet), pull = distributions.affine(eps, outputs[:, :2], 2 * outputs[:, 2:])

        def pullback(dz, dlogdet):
            _, dmean, dlogvar = pull(dz, dlogdet)
            return (np.concatenate([dmean, 2 * dlogvar], axis=1),)

        return (z, logdet), pullback


def fit_q(q, steps, rng):
    """The best parameters of this family for the banana: draws of it, its ELBO with standard error, its `probability`."""
    outputs = Parameter(0.1 * rng.standard_normal((1, q.outputs)))
    arena = Arena({"outputs": outputs, **q.parameters()}, device("cpu"), np.float64)
    adam = Adam(cosine(2e-2, steps=steps))

    def draw_from(n):
        eps = rng.standard_normal((n, 2))
        repeated, pull_repeat = repeat(outputs.value, samples=n)
        (z, logdet), pull = q(repeated, eps=eps)
        log_q = -0.5 * (eps**2).sum(axis=1) - np.log(2 * np.pi) - logdet
        return z, log_q, lambda dz, dlogdet: outputs.add(pull_repeat(*pull(dz, dlogdet)))

    for _ in range(steps):
        arena.zero_grad()
        z, _, pull = draw_from(200)
        pull(-banana(z)[1] / len(z), np.full(len(z), -1 / len(z)))                    # loss = −ELBO
        adam.step(arena)
    z, log_q, _ = draw_from(20_000)
    return z, Estimate.of(banana(z)[0] - log_q), probability(lambda eps: q(np.repeat(outputs.value, len(eps), 0), eps=eps)[0])


def probability(g, cells=400, h=1e-5):
    """∫ q(z) dz, of a map g(eps) -> z, logdet: the density in the middle of small cells, times the area that each becomes;
    and how far log|det| is from its finite differences, at most.  Neither the areas nor these know the formula."""
    line = np.linspace(-6, 6, cells + 1)
    corners, middles = (np.stack(np.meshgrid(at, at), axis=-1) for at in (line, (line[1:] + line[:-1]) / 2))
    z = g(corners.reshape(-1, 2))[0].reshape(corners.shape)
    across, back = z[1:, 1:] - z[:-1, :-1], z[1:, :-1] - z[:-1, 1:]                    # the diagonals of each cell's image
    area = 0.5 * np.abs(across[..., 0] * back[..., 1] - across[..., 1] * back[..., 0])
    eps = middles.reshape(-1, 2)
    log_q = -0.5 * (eps**2).sum(axis=1) - np.log(2 * np.pi) - g(eps)[1]
    few = eps[::997]
    J = np.stack([(g(few + step)[0] - g(few - step)[0]) / (2 * h) for step in h * np.eye(2)], axis=-1)
    off = np.abs(np.linalg.slogdet(J)[1] - g(few)[1]).max()
    return (np.exp(log_q) * area.ravel()).sum(), off


def accepted_full(found):
    """What is asked of the full covariance: on a linear model, where everything is known."""
    return {"its bound is log p(x), to 1e-6 nats": found["log p(x) less its bound"].mean < 1e-6,
            "the best diagonal's gap is its closed form, to 1e-6": abs(
                found["the best diagonal's gap"].mean - found["by the formula"].mean) < 1e-6}


def accepted(found):
    """What is asked of a change of variables: of each of the fitted maps."""
    return {"each density integrates to 1 ± 0.001": all(abs(found[name].mean - 1) < 1e-3 for name in found if name.startswith("∫")),
            "log|det| is that of finite differences, to 1e-6": found["log|det| off by"].mean < 1e-6}


def families(rng):
    return {"diagonal": Diagonal(2), "full": FullCovariance(2), "8 planar": PlanarFlow(2, steps=8),
            "6 couplings": CouplingFlow(2, steps=6, context=1, hidden=16, rng=rng)}


# %% [markdown]
# ## On digits
#
# The same decoder to start with, the same hidden layers, the same images in the same order: only the last layer of the
# encoder and what is made of its outputs differ.  (The ± is about the test images.  With 4,000 digits the luck of a run,
# another seed, moves these bounds by half a nat as well; on all of MNIST the full covariance gains clearly: see README.)

# %%
def train(digits, posterior, opt):
    sizes = (784, (40,) if opt.quick else (200,), 10, "tanh")
    config = VAEConfig(*sizes, posterior=posterior)
    vae = config.build(seed=opt.seed, on=opt.device, images=digits,
                       optimizer=Adam(cosine(2e-3, steps=opt.epochs * -(-len(digits) // 100))))
    for name, p in VAEConfig(*sizes).build(seed=opt.seed, images=digits).arena.parameters.items():
        if name.startswith("decoder"):
            vae.arena.parameters[name].value[...] = opt.device.array(p.value)
    fit(vae, digits, epochs=opt.epochs, batch_size=100, binarize=True, seed=opt.seed, progress=not opt.quick)
    return vae


def verdict(gain):
    """What a paired difference says: more than two standard errors, or nothing"""
    errors = gain.mean / gain.standard_error
    if abs(errors) < 2:
        return f"{gain}, undecided"
    return f"{gain}, {'better' if errors > 0 else 'worse'} by {abs(errors):.1f} standard errors"


def draw_banana(fits, log_p):
    fig, axes = plots.figure(2, 2, width=8.0, height=7.0, sharex=True, sharey=True)
    line = np.linspace(-3, 3, 301)
    grid = np.stack(np.meshgrid(line, np.linspace(-3, 2.5, 301)), axis=-1)
    density = np.exp(banana(grid.reshape(-1, 2))[0] - log_p).reshape(301, 301)
    for ax, (name, (z, elbo, _)) in zip(axes.flat, fits.items()):
        ax.scatter(*z[:600].T, s=6, color=plots.COLOURS[0], linewidths=0, alpha=0.7, rasterized=True)
        ax.contour(grid[..., 0], grid[..., 1], density, levels=density.max() * np.array([0.05, 0.35, 0.7]),
                   colors=plots.COLOURS[1], linewidths=1)
        ax.set(xlim=(-3, 3), ylim=(-3, 2.5), title=f"{name}: KL {log_p - elbo.mean:.2f} nats")
    for at, ax in zip(axes[1], axes[:, 0]):
        at.set_xlabel("$z_1$")
        ax.set_ylabel("$z_2$")
    return fig


def draw_gains(gains):
    fig, ax = plots.figure(width=6.4, height=2.6)
    names = list(gains)
    for i, (label, marker) in enumerate((("ELBO", "o"), ("100 draws", "s"))):
        values = [gains[name][i] for name in names]
        ax.errorbar([v.mean for v in values], np.arange(len(names)) + 0.16 * i - 0.08,
                    xerr=[2 * v.standard_error for v in values], fmt=marker, color=plots.COLOURS[i], label=label)
    ax.axvline(0, color="black", ls="--", lw=1)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="nats above the diagonal, image by image (± 2 standard errors)", title="unseen digits",
           ylim=(len(names) - 0.4, -0.6))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


# %%
def main(argv=None):
    opt, _ = options(parser("ch14", __doc__, epochs=50), argv)
    rng = np.random.default_rng(opt.seed)
    print(gradcheck(full_kl, rng.standard_normal((4, 3)), rng.random((4, 3, 3)) + np.eye(3)))
    print(gradcheck(couple, *rng.standard_normal((3, 4, 3))))
    print(f"our pullbacks and minivae's differ by at most {same_as_library(rng):.0e}\n")
    error, gap, formula = price_of_independence(rng)
    print(f"a linear model: ELBO(full) = log p(x) to {error:.0e} nats; the best diagonal is {gap:.10f} below, "
          f"by the formula {formula:.10f}\n")

    log_p = evidence()
    fits = {name: fit_q(q, 200 if opt.quick else 3000, np.random.default_rng(opt.seed))
            for name, q in families(rng).items()}
    for name, (_, elbo, (total, off)) in fits.items():
        print(f"banana, {name:12} ELBO {elbo.mean:.4f} ± {elbo.standard_error:.4f}, KL to the posterior {log_p - elbo.mean:.4f}; "
              f"∫ q = {total:.6f}, log|det| off by {off:.0e}")
    opt.record("full_covariance", {"log p(x) less its bound": float(error), "the best diagonal's gap": float(gap),
                                   "by the formula": float(formula)}, accepted_full, data="a linear model")
    totals, offs = zip(*(found for _, _, found in fits.values()))
    opt.record("change_of_variables", {f"∫ q, {name}": float(total) for name, total in zip(fits, totals)}
               | {"log|det| off by": float(max(offs))}, accepted, data="a banana")

    opt.save(draw_banana(fits, log_p), "banana", alt="Four panels in the plane of z₁ and z₂. Lines of equal density show the "
             "posterior, a banana with both ends down; dots are draws of the q fitted to it. "
             + ", ".join(f"{name} misses {log_p - elbo.mean:.2f} nats" for name, (_, elbo, _) in fits.items())
             + ": the diagonal and the full Gaussian sit on a piece of the banana, the flows bend along it.")

    digits = opt.digits()
    test = plots.spread(digits.test, 40 if opt.quick else 1000)
    test = (np.random.default_rng(0).random(test.shape) < test).astype(np.float32)
    bounds = {}
    for name in ("diagonal", "full", "planar", "coupling"):
        print(f"\n{name}: {opt.epochs} epochs")
        vae = train(digits.train, name, opt)
        elbo = -sum(vae.terms(opt.device.asarray(test), opt.device.rng(opt.seed), 20))           # 20 draws of each image
        bounds[name] = to_numpy(elbo).astype(float), log_likelihoods(vae, test, samples=100, seed=opt.seed)
        print(f"ELBO {Estimate.of(bounds[name][0])}, 100 draws {Estimate.of(bounds[name][1])}")
    gains = {name: tuple(Estimate.of(a - b) for a, b in zip(found, bounds["diagonal"]))
             for name, found in bounds.items() if name != "diagonal"}
    opt.save(draw_gains(gains), "families", alt="Nats by which the bound on unseen digits lies above that of the diagonal "
             "posterior, image by image, with bars of two standard errors, by the ELBO: "
             + "; ".join(f"{name} {verdict(elbo)}" for name, (elbo, _) in gains.items()) + ".")
    told = ";\n".join(f"{name} {verdict(elbo)} (100 draws: {verdict(weighted)})" for name, (elbo, weighted) in gains.items())
    kls = ", ".join(f"{name} {log_p - elbo.mean:.2f}" for name, (_, elbo, _) in fits.items())
    print(f"\nSeen: with correlated latents the best diagonal lies {gap:.4f} nats below log p(x), the full covariance "
          f"{error:.0e}.\nNats that each family misses of a bent posterior: {kls}.\nNats above the diagonal on unseen digits, image by "
          f"image, in this run:\n{told}.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  Train with 2 and with 40 latents.  Where does the full covariance gain most, and why not always?
# 2. *Break this.*  Leave `+ dlogdet[:, None]` out of `couple`.  What does the gradient check say, and what would training
#    do to the scales?
# 3. *Derive this.*  Show that the best diagonal Gaussian under $\mathrm{KL}(q \Vert p)$ for a Gaussian $p$ has the variances
#    $1/(S^{-1})_{ii}$, and that these are smaller than the marginal ones, $S_{ii}$.
