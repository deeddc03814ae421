"""The Gaussian mixture VAE: clusters that nobody named.

    w ~ N(0, I)                      how this one differs from others of its cluster
    c ~ Cat(1/K)                     its cluster
    z ~ N(μ_c(w), σ²_c(w))           a network computes the K components from w: no cluster needs to be round
    x ~ p(x|z)                       the likelihood, whose parameters the decoder computes

    q(z, w, c|x)  =  q(z|x) q(w|x) p(c|z, w),      p(c|z, w) = N(z; μ_c(w), σ²_c(w)) / Σⱼ N(z; μⱼ(w), σ²ⱼ(w))

The last by Bayes' rule, so that no network has to learn it.  The bound has four terms:

    log p(x)  ≥  E log p(x|z)  −  E Σ_c p(c|z, w) KL(q(z|x) ‖ p(z|w, c))  −  KL(q(w|x) ‖ p(w))  −  E KL(p(c|z, w) ‖ 1/K)

with one draw of z and w for all of them.  Everybody hears every term that depends on it; p(c|z, w) is differentiated,
too: by z, by w, and by the components.

The second is read in three ways.  Ours is the paper's and its authors': the KL in closed form, over a z of
its own, weighed by p(c|z, w) at the z that was drawn.  Others take the drawn z in both places, log q(z|x) −
log p(z|w, c): then c is summed out, and second and fourth term together are log q(z|x) − log p(z|w).  That is
`monte_carlo_terms`, and what importance weights are made of; it is the higher bound, by E KL(p(c|z, w) ‖ p(c|z', w)) of
two draws z, z' of q(z|x).  Others again average p(c|z, w) over draws of z and call that q(c|x), as VaDE does: a bound
between the two.  We climb the first: its KL has the least noise, and by what it is lower it puts a price on codes whose
cluster is not sure.

Dilokthanakul et al. 2016, section 3, who write y, x, z for x, z, c.
Shapes: B examples, X pixels, Z latents, W of w, K components; a row of latents is z and then w.  Nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device, to_numpy
from minivae.batch import as_batch
from minivae.distributions import components_log_prob, free_bits, gaussian_kl, mixture_kls, reparameterize
from minivae.nn import Data, Layer, Linear, Optimizer, mlp
from minivae.ops import log_softmax, repeat, repeat_each, split
from minivae.parts import Components, DiagonalGaussian, Likelihood, MixtureGiven, Objective
from minivae.parts.objectives import Terms, terms
from minivae.vae import VAE, Encoder
from minivae.variants.mlp_vae import VAEConfig


class OfZ(Layer):
    """A network that is told z alone, of (z, w)        (B, Z + W) -> (B, outputs)"""

    def __init__(self, network: Layer, latents: int) -> None:
        self.network, self.latents = network, latents

    def __call__(self, z: Array) -> tuple[Array, Pullback]:
        rest = np.zeros_like(z[:, self.latents:])
        y, pull_network = self.network(z[:, :self.latents])

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dz = pull_network(dy, need_dx=need_dx, need_dp=need_dp)
            return np.concatenate([dz, rest], axis=1) if need_dx else None       # w is not heard of

        return y, pullback


class GMVAE(VAE):
    """A VAE whose latents are z and w: with c summed out, all that a VAE can be asked can be asked of it, too.

    encoder      x -> mean and logvar of q(z|x) and q(w|x), side by side
    decoder      z -> outputs of the likelihood
    components   w -> the K components
    sizes        (Z, W)
    start        start(model) is called when the first steps (`MixtureBound.start_steps`) are over; see `place`
    The rest as of a VAE.
    """

    objective: MixtureBound

    def __init__(self, encoder: Layer, decoder: Layer, likelihood: Likelihood, components: Components, *, pixels: int,
                 sizes: tuple[int, int], device: Device, dtype: type = np.float32, optimizer: Optimizer | None = None,
                 samples: int = 1, objective: MixtureBound | None = None,
                 start: Callable[[GMVAE], None] | None = None) -> None:
        self.sizes, self.start = sizes, start
        super().__init__(encoder, OfZ(decoder, sizes[0]), likelihood, pixels=pixels, latents=sum(sizes), device=device,
                         prior=MixtureGiven(components, sizes), dtype=dtype, optimizer=optimizer, samples=samples,
                         objective=objective or MixtureBound())

    @property
    def given_w(self) -> Components:
        """p(z|w, c), of all c"""
        return self.prior.given_w                                            # type: ignore[attr-defined]

    @property
    def components(self) -> int:
        """K"""
        return self.given_w.shape[1]

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def four_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array, Array, Array], Pullback]:
        """nll and three KLs, of z, of w and of c: −ELBO is their sum        x (B, X), eps (L, B, Z + W) -> (B,) ×4

        kl_z = Σ_c p(c|z, w) KL(q(z|x) ‖ p(z|w, c)),   kl_w = KL(q(w|x) ‖ N(0, I)),   kl_c = KL(p(c|z, w) ‖ 1/K),
        each averaged over the L draws.   kl_z is the conditional prior term of Dilokthanakul et al. 2016.
        """
        self._check(x, eps)
        L, B = len(eps), len(x)
        q, pull_q = self.q(x=x)
        (mean, logvar), pull_each = repeat_each(*q, samples=L)
        drawn, pull_drawn = reparameterize(mean, logvar, eps=eps.reshape(mean.shape))
        (z, w), pull_zw = split(drawn, sizes=self.sizes)
        (mean_z, mean_w), pull_means = split(mean, sizes=self.sizes)
        (logvar_z, logvar_w), pull_logvars = split(logvar, sizes=self.sizes)

        outputs, pull_decoder = self.decoder(drawn)                              # p(x|z)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=L)[0])
        components, pull_components = self.given_w(w)                            # p(z|w, c), of all c
        (kl_z, kl_c), pull_kls = mixture_kls(z, mean_z, logvar_z, *components)
        kl_w, pull_kl_w = gaussian_kl(mean_w, logvar_w)

        def pullback(dnll: Array, dkl_z: Array, dkl_w: Array, dkl_c: Array) -> None:
            dnll, dkl_z, dkl_w, dkl_c = (repeat(d / L, samples=L)[0] for d in (dnll, dkl_z, dkl_w, dkl_c))
            dz, dmean_z, dlogvar_z, *dcomponents = pull_kls(dkl_z, dkl_c)
            dmean_w, dlogvar_w = pull_kl_w(dkl_w)
            ddrawn = pull_decoder(pull_nll(dnll)) + pull_zw(dz, pull_components(*dcomponents))
            dmean, dlogvar = pull_drawn(ddrawn)
            pull_q(*pull_each(dmean + pull_means(dmean_z, dmean_w), dlogvar + pull_logvars(dlogvar_z, dlogvar_w)))

        nll, kl_z, kl_w, kl_c = (term.reshape(L, B).mean(axis=0) for term in (nll, kl_z, kl_w, kl_c))
        return (nll, kl_z, kl_w, kl_c), pullback

    def elbo_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll, and the three KLs in one        x (B, X), eps (L, B, Z + W) -> (B,) (B,)"""
        (nll, kl_z, kl_w, kl_c), pull_terms = self.four_terms(x=x, eps=eps)

        def pullback(dnll: Array, dkl: Array) -> None:
            pull_terms(dnll, dkl, dkl, dkl)

        return (nll, kl_z + kl_w + kl_c), pullback

    def start_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll and kl of the VAE that it is before it has clusters: z, w ~ N(0, I), and w unused   -> (B,) (B,)"""
        return self._terms(gaussian_kl, x, eps)

    # ── clusters ──────────────────────────────────────────────────────────────────────────────────

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        if self.start and self.optimizer.steps == self.objective.start_steps > 0:
            self.start(self)
        return super().train_step(batch, rng)

    def place(self, data: Data, clusters: np.ndarray) -> None:
        """Put each component where the codes of a cluster lie: their mean, and their variance in every latent.

        clusters   of each example, a number from 0 to K − 1: (N,), on the host.  A component without examples stays.
        Raises ValueError for other numbers, or not one for each example.
        """
        if clusters.shape != (len(as_batch(data)),) or not 0 <= clusters.min() <= clusters.max() < self.components:
            raise ValueError(f"clusters: got {clusters.shape} numbers, expected one of 0 … {self.components - 1} for "
                             f"each of the {len(as_batch(data))} examples")
        mean, logvar = (to_numpy(a)[:, :self.sizes[0]] for a in self.encode(data))
        at, spread = (to_numpy(p.value).reshape(self.components, -1).copy() for p in self._biases())
        for k in np.unique(clusters):
            own = clusters == k
            at[k] = mean[own].mean(axis=0)
            spread[k] = np.log(mean[own].var(axis=0) + np.exp(logvar[own]).mean(axis=0))
        for p, value in zip(self._biases(), (at, spread)):
            p.value[...] = self.device.asarray(value.ravel(), dtype=self.dtype)

    def _biases(self) -> tuple[Any, Any]:
        """What the components are before w has said anything."""
        return self.given_w.network.mean.b, self.given_w.network.logvar.b         # type: ignore[attr-defined]

    def codes(self, data: Data) -> Array:
        """E[z|x]        (B, X) -> (B, Z)"""
        return self.encode(data)[0][:, :self.sizes[0]]

    def responsibilities(self, data: Data) -> Array:
        """p(c|z, w) at the means of q(z|x) and q(w|x): which cluster        (B, X) -> (B, K)"""
        z, w = split(self.encode(as_batch(data))[0], sizes=self.sizes)[0]
        return np.exp(log_softmax(components_log_prob(z, *self.given_w(w)[0])[0])[0])

    def sample_clusters(self, each: int, rng: Generator) -> Array:
        """E[x|z] for `each` draws of every cluster, the first cluster's first        (K · each, X)"""
        at_least_one(each=each)
        clusters = self.device.asarray(np.repeat(np.arange(self.components), each))
        return self.decode(self.prior.sample_of(clusters, rng, dtype=self.dtype))  # type: ignore[attr-defined]


class MixtureBound(Objective):
    """What a step of the GMVAE climbs.

    information   λ: loss = nll + kl_z + kl_w + max(λ, mean over the batch of kl_c).  The last term draws the components
                  together, when they have hardly begun to differ; so the first λ nats are free, of the log K there are
                  (the minimum information constraint).  With λ > 0 one thread computes the step.
    start_steps   so many steps train a VAE, without clusters
    """

    names = ("elbo", "nll", "kl", "kl_z", "kl_w", "kl_c")

    def __init__(self, information: float = 0.0, start_steps: int = 0) -> None:
        for name, number in (("information", information), ("start_steps", start_steps)):
            if not number >= 0:
                raise ValueError(f"{name}: got {number}, expected at least 0")
        self.information, self.start_steps, self.whole_batch = information, start_steps, information > 0

    def __call__(self, model: Any, *, x: Array, eps: Array, weight: float, step: int) -> Terms:
        if step < self.start_steps:
            (nll, kl), pullback = model.start_terms(x=x, eps=eps)
            dterm = np.full_like(nll, weight)
            pullback(dterm, dterm)
            return (*terms(nll, kl, weight), weight * kl.sum(), 0.0 * kl.sum(), 0.0 * kl.sum())
        (nll, *kls), pullback = model.four_terms(x=x, eps=eps)
        dterm = np.full_like(nll, weight)
        pullback(dterm, dterm, dterm, self._charged(kls[2], weight))
        return (*terms(nll, kls[0] + kls[1] + kls[2], weight), *(weight * kl.sum() for kl in kls))

    def _charged(self, kl_c: Array, weight: float) -> Array:
        """What kl_c hears        (B,) -> (B,)"""
        if self.information == 0.0:
            return np.full_like(kl_c, weight)
        charged, pull = free_bits(kl_c[:, None], least=self.information)
        return pull(np.full_like(charged, weight * len(kl_c)))[:, 0]


@dataclass(frozen=True)
class GMVAEConfig(VAEConfig):
    """The size of a fully connected GMVAE: all that is needed to build it again.  `latents` are those of z."""

    w_latents: int = 10
    """dimensions of w, W"""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(w_latents=self.w_latents)
        for name, only in (("posterior", "diagonal"), ("prior", "standard")):
            if getattr(self, name) != only:
                raise ValueError(f"{name}: got {getattr(self, name)!r}; a GMVAE has its own, leave it {only!r}")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, samples: int = 1, images: np.ndarray | None = None,
              objective: Any = None, start: Callable[[GMVAE], None] | None = None) -> GMVAE:
        """The untrained GMVAE, its components drawn about 0 as those of a mixture prior; w says little at first.

        objective   MixtureBound(): with how much free information, after how many steps of a VAE
        start       what is done after these, such as training.start_at_clusters(images)
        images      as VAEConfig.build
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        rng, p_x = self.begin(seed, images)
        encoder = self.encoder(DiagonalGaussian(self.latents + self.w_latents), rng)
        decoder = self.decoder(p_x, rng, images)
        trunk = mlp(self.w_latents, self.hidden[-1], rng=rng, activation="tanh", last=True)
        size = self.components * self.latents
        heads = [Linear(self.hidden[-1], size, rng=rng) for _ in range(2)]
        for head, start_at in zip(heads, (np.sqrt(0.5) * rng.standard_normal(size), np.log(0.5))):
            head.W.value *= 0.1
            head.b.value[...] = start_at
        return GMVAE(encoder, decoder, p_x, Components(Encoder(trunk, *heads), self.components, self.latents),
                     pixels=self.pixels, sizes=(self.latents, self.w_latents), device=on or device("cpu"), dtype=dtype,
                     optimizer=optimizer, samples=samples, objective=objective, start=start)
