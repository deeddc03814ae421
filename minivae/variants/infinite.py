"""The infinite VAE: a mixture of VAEs, as many as the data ask for.

    π ~ a Dirichlet process            weights of infinitely many components; α says how many are worth having
    c ~ π                              whose image it is
    z ~ N(0, I),    x ~ p_c(x|z)       each component is a VAE with an encoder and a decoder of its own

The weights are integrated out, and what is left of them is the Chinese restaurant process (`variants.restaurant`): an
image goes where many are and where it is explained well,

    P(cᵢ = c | the others, xᵢ)  ∝  n_c exp(bound_c(xᵢ)),      P(cᵢ is new | …)  ∝  α exp(bound₀(xᵢ))

The bounds on log p_c(x) are importance-weighted ones of a few draws, the same ε for all, so that noise opens nothing.
What is new is a copy of the base: a VAE that saw all images for a while, and none since.  A step is a block of a Gibbs
sweep and then, in each component, a step up its own ELBO on its own images.  One that loses its last image is free.

The whole is a model of x, and has a bound:

    log p(x)  ≥  log [ Σ_c n_c exp(bound_c(x)) + α exp(bound₀(x)) ]  −  log(N + α)

whose derivative with respect to bound_c is the responsibility of c: what the draw of cᵢ is 1 on average.  So the step
climbs this bound, one component per image, and never two.  Each component hears its own images' ELBO, nobody else.

Abbasnejad, Dick and van den Hengel 2017.   Shapes: B of N images of X pixels, Z latents, T components at most.  Nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, to_numpy
from minivae.batch import as_batch
from minivae.nn import SGD, Crew, Data, Model, Moment, Network, Optimizer, Parameter
from minivae.ops import log_mean_exp, log_softmax, logsumexp
from minivae.vae import VAE
from minivae.variants.mlp_vae import VAEConfig
from minivae.variants.restaurant import check_concentration, crp_sweep


class InfiniteVAE(Model):
    """Reads batch.x (B, X); to learn also batch.index (B,), which of the N images each is.

    base          the VAE that every component starts as: the network "base"
    vaes          of the same sizes, room for T components: the networks "0", "1", …
    images        N, how many are trained on
    concentration   α: a new component is as likely as one of α images
    draws         of the bounds that an image chooses by
    first_steps   so many steps train the base alone
    The network "seats" holds each image's component, −1 before it has one: no optimizer moves it, every checkpoint
    keeps it.  Raises ValueError for sizes that differ, or a concentration that is not above 0.
    """

    def __init__(self, base: VAE, vaes: Sequence[VAE], *, images: int, concentration: float = 1.0, draws: int = 3,
                 first_steps: int = 0) -> None:
        at_least_one(vaes=len(vaes), images=images, draws=draws)
        check_concentration(concentration)
        for i, vae in enumerate(vaes):
            if vae.arena.value.shape != base.arena.value.shape:
                raise ValueError(f"vaes: number {i} has {vae.arena.value.size} parameters, expected "
                                 f"{base.arena.value.size}, as many as the base")
        self.base, self.vaes, self.concentration = base, list(vaes), concentration
        self.draws, self.first_steps = draws, first_steps
        self.seats = Parameter(np.full(images, -1.0))
        self.networks = {"base": base.network} | {str(i): vae.network for i, vae in enumerate(vaes)}
        self.networks["seats"] = Network({"seats": self.seats}, SGD(), device=base.device, dtype=base.dtype)
        self.workers: Any = Crew(base.workers, *(vae.workers for vae in vaes))
        self.latents, self.pixels, self.likelihood, self.prior = base.latents, base.pixels, base.likelihood, base.prior

    # ── whose image is whose ──────────────────────────────────────────────────────────────────────

    @property
    def sizes(self) -> np.ndarray:
        """n_c of every place for a component, 0 where it is free        (T,), on the host"""
        seats = to_numpy(self.seats.value).astype(np.int64)
        return np.bincount(seats[seats >= 0], minlength=len(self.vaes))

    @property
    def components(self) -> int:
        """How many are in use."""
        return int(np.count_nonzero(self.sizes))

    def mixture(self) -> tuple[list[VAE], np.ndarray]:
        """The components in use, the largest first, and last the base; log πs: n_c / (N + α) and α / (N + α)"""
        sizes = self.sizes
        in_use = [c for c in np.argsort(-sizes, kind="stable") if sizes[c] > 0]
        weights = np.append(sizes[in_use], self.concentration)
        return [self.vaes[c] for c in in_use] + [self.base], np.log(weights / weights.sum())

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def mixture_bound(self, *, x: Array, eps: Array) -> tuple[Array, Pullback]:
        """log Σ_c π_c exp(ELBO_c(x)), a lower bound on log p(x)        x (B, X), eps (L, B, Z) -> (B,)

        ∂/∂ELBO_c = r_c = π_c exp(ELBO_c) / Σⱼ πⱼ exp(ELBOⱼ), the responsibility of c.
        """
        vaes, log_pi = self.mixture()
        each = [vae.elbo_terms(x=x, eps=eps) for vae in vaes]
        bound, pull_bound = logsumexp(_joint(log_pi, [terms for terms, _ in each]))

        def pullback(dbound: Array) -> None:
            for dterm, (_, pull_terms) in zip(-pull_bound(dbound).T, each):
                pull_terms(dterm, dterm)

        return bound, pullback

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of the base; after its steps, a block of a sweep and a step of every component with images in it.

        elbo is the mean over images of ELBO_c(x) + log π_c at the c drawn, a lower bound on log p(x); kl has −log π_c.
        Which image goes where is decided on the host: the bounds are brought there, once a step.
        """
        batch = as_batch(batch)
        batch.require(("x", "index"), "to learn, an InfiniteVAE")
        if self.base.optimizer.steps < self.first_steps:
            terms = self.base.train_step(batch.x, rng)
            return terms | {"components": 0.0 * terms["elbo"]}
        B, x, guests = len(batch), batch.x, to_numpy(batch.index)
        eps = rng.standard_normal((self.draws + 1, B, self.latents), dtype=self.dtype)
        gumbel = -np.log(to_numpy(rng.standard_exponential((B, len(self.vaes) + 1))))
        seats, opened = crp_sweep(self._bounds(x, eps[1:]), to_numpy(self.seats.value).astype(np.int64), guests=guests,
                                  concentration=self.concentration, gumbel=gumbel)
        for c in opened:
            self.vaes[c].network.go_back(Moment(self.base.arena.value, {}, 0))
        self.seats.value[...] = self.device.asarray(seats, dtype=self.dtype)
        return self._climb(x, eps[:1], seats[guests])

    def _bounds(self, x: Array, eps: Array) -> np.ndarray:
        """log p_c(x) by importance weights, on the host; −∞ where there is no component        -> (B, T + 1)"""
        at = [*np.flatnonzero(self.sizes), len(self.vaes)]
        vaes, found = [*self.vaes, self.base], np.zeros((len(x), len(self.vaes) + 1))
        processes, team = self.workers.processes, self.workers.team
        mine = at[processes.rank::processes.size]                    # others look at other components

        def bound(c: int) -> Array:
            nll, kl = vaes[c].monte_carlo_terms(x=x, eps=eps)[0]
            return log_mean_exp(-(nll + kl).reshape(len(eps), len(x)).T)[0]

        parts = team.run(lambda i: [bound(c) for c in mine[i::team.threads]])
        for i, part in enumerate(parts):
            for c, column in zip(mine[i::team.threads], part):
                found[:, c] = to_numpy(column)
        processes.sum(found)
        found[:, [c for c in range(len(self.vaes)) if c not in at]] = -np.inf
        return found

    def _climb(self, x: Array, eps: Array, seats: np.ndarray) -> dict[str, Array]:
        """Each component's step on its own images of the batch        x (B, X), eps (1, B, Z), seats (B,)"""
        sizes, processes, B = self.sizes, self.workers.processes, len(x)
        total: Any = 0.0

        def share(vae: VAE, rows: slice, *, x: Array, eps: Array) -> tuple[Array, ...]:
            return vae.objective(vae, x=x[rows], eps=eps[:, rows], weight=1.0 / B, step=vae.optimizer.steps)

        for c in np.unique(seats):
            own = self.device.asarray(np.flatnonzero(seats == c))
            elbo, nll, kl, *_ = self.vaes[c].workers.step(partial(share, x=x[own], eps=eps[:, own]), len(own))
            mine = processes.rows(len(own))                          # the others add theirs
            log_pi = (mine.stop - mine.start) / B * float(np.log(sizes[c] / (sizes.sum() + self.concentration)))
            total = total + np.stack([elbo + log_pi, nll, kl - log_pi])
        elbo, nll, kl = total
        return {"elbo": elbo, "nll": nll, "kl": kl,
                "components": np.full_like(elbo, np.count_nonzero(sizes) / processes.size)}

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and kl of every image: −(nll + kl) is `mixture_bound`, kl has what the choice of a component costs."""
        x = as_batch(batch).x
        eps = rng.standard_normal((samples, len(x), self.latents), dtype=self.dtype)
        vaes, log_pi = self.mixture()
        each = [vae.elbo_terms(x=x, eps=eps)[0] for vae in vaes]
        joint = _joint(log_pi, each)
        bound = logsumexp(joint)[0]
        nll = (np.exp(joint - bound[:, None]) * np.stack([nll for nll, _ in each], axis=1)).sum(axis=1)
        return nll, -bound - nll

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log Σ_c π_c p_c(x, z_c) / q_c(z_c|x) for K draws of all z_c: exp has the mean p(x)        -> (K, B)"""
        x = as_batch(batch).x
        eps = rng.standard_normal((samples, len(x), self.latents), dtype=self.dtype)
        vaes, log_pi = self.mixture()
        each = [vae.monte_carlo_values(x=x, eps=eps) for vae in vaes]
        return logsumexp(_joint(log_pi, each))[0].reshape(samples, len(x))

    def check(self, data: Data, name: str = "x") -> None:
        self.base.check(data, name)
        batch, N = as_batch(data), len(self.seats.value)
        if "index" in batch.names and name == "images" and not 0 <= batch.index.min() <= batch.index.max() < N:
            raise ValueError(f"{name}: got an index of {batch.index.min()} … {batch.index.max()}, expected 0 … {N - 1}")

    # ── what is to be seen ────────────────────────────────────────────────────────────────────────

    def responsibilities(self, data: Data) -> Array:
        """P(c|x) of the components in use, by their ELBOs with z at q's mean        (B, X) -> (B, K)"""
        x = as_batch(data).x
        vaes, log_pi = self.mixture()
        if len(vaes) == 1:
            return np.ones_like(x[:, :1])                              # the base alone
        at_mean = np.zeros_like(x, shape=(1, len(x), self.latents))
        each = [vae.elbo_terms(x=x, eps=at_mean)[0] for vae in vaes[:-1]]
        return np.exp(log_softmax(_joint(log_pi[:-1], each))[0])

    def features(self, data: Data) -> Array:
        """r_c and r_c E[z|x, c] of every component in use: what a linear classifier reads        -> (B, K (1 + Z))

        A linear function of these is one linear function of the codes for each component, mixed by who is responsible.
        """
        r, vaes = self.responsibilities(data), self._in_use()
        codes = [r[:, [c]] * vae.encode(data)[0] for c, vae in enumerate(vaes)]
        return np.concatenate([r, *codes], axis=1)

    def encode(self, batch: Data) -> tuple[Array, Array]:
        """mean and logvar of each latent under q_c(z|x) of the likeliest component, both (B, Z)"""
        mean, logvar = (np.empty_like(as_batch(batch).x, shape=(len(as_batch(batch)), self.latents)) for _ in range(2))
        for vae, own in self._likeliest(batch):
            mean[own], logvar[own] = vae.encode(as_batch(batch).x[own])
        return mean, logvar

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x|z] for one draw z ~ q_c(z|x) of the likeliest component        (B, X)"""
        x = as_batch(batch).x
        again = np.empty_like(x)
        for vae, own in self._likeliest(batch):
            again[own] = vae.reconstruct(x[own], rng)
        return again

    def sample(self, n: int, rng: Generator) -> Array:
        """E[x|z] for n draws c ~ π, z ~ p(z)        (n, X)"""
        at_least_one(n=n)
        vaes, log_pi = self.mixture()
        drawn = np.searchsorted(np.exp(log_pi).cumsum()[:-1], to_numpy(rng.random(n)), side="right")
        parts = {c: vaes[c].sample(int((drawn == c).sum()), rng) for c in np.unique(drawn).tolist()}
        images = np.concatenate(list(parts.values()))
        return images[self.device.asarray(np.argsort(np.argsort(drawn, kind="stable")))]

    def sample_clusters(self, each: int, rng: Generator) -> Array:
        """E[x|z] for `each` draws of every component in use, the first one's first        (K · each, X)"""
        at_least_one(each=each)
        return np.concatenate([vae.sample(each, rng) for vae in self._in_use()])

    def _in_use(self) -> list[VAE]:
        """The components, or the base, before there are any."""
        vaes, _ = self.mixture()
        return vaes[:-1] or vaes

    def _likeliest(self, batch: Data) -> list[tuple[VAE, Array]]:
        """(component, the rows that it explains best)"""
        best = to_numpy(self.responsibilities(batch)).argmax(axis=1)
        return [(vae, self.device.asarray(np.flatnonzero(best == c))) for c, vae in enumerate(self._in_use())]


def _joint(log_pi: np.ndarray, each: Sequence[tuple[Array, Array]]) -> Array:
    """log π_c − nll_c − kl_c of all components, side by side        (K,) and K times (B,) (B,) -> (B, K)"""
    return np.stack([p - nll - kl for p, (nll, kl) in zip(log_pi.tolist(), each, strict=True)], axis=1)


@dataclass(frozen=True)
class InfiniteVAEConfig:
    """The size of an infinite VAE: all that is needed to build it again."""

    vae: VAEConfig
    """each component, and the base"""
    components: int = 20
    """there is room for so many, T"""
    concentration: float = 1.0
    """of the Dirichlet process: a new component is as likely as one of α images"""
    draws: int = 3
    """of the bounds that an image chooses by"""

    def build(self, *, examples: int, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Callable[[], Optimizer] | None = None, images: np.ndarray | None = None,
              first_steps: int = 0) -> InfiniteVAE:
        """The untrained model; the same seed gives the same weights on every device.

        examples    N, how many images are trained on
        optimizer   makes one for every component; Adam(1e-3) if None
        images      as VAEConfig.build
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        base, *vaes = (self.vae.build(seed=seed, on=on, dtype=dtype, optimizer=optimizer() if optimizer else None,
                                      images=images) for _ in range(1 + self.components))
        return InfiniteVAE(base, vaes, images=examples, concentration=self.concentration, draws=self.draws,
                           first_steps=first_steps)
