"""Annealed importance sampling: log p(x) without trusting q(z|x).

A chain starts at the prior and is led to the posterior in many small steps, through the densities

    f_t(z) = p(z) p(x|z)^β_t,        0 = β_0 < β_1 < … < β_T = 1 .

Before each step it is weighed; then it is moved by a transition that leaves the new density as it is, here Hamiltonian
Monte Carlo.  The product of the weights, w = Π_t p(x|z_{t−1})^(β_t − β_{t−1}), has the mean p(x) exactly, however few
the steps and however badly the moves mix (Neal 2001): few steps cost variance, not truth.  The logarithm of the mean
over chains is then a stochastic lower bound on log p(x).   Wu, Burda, Salakhutdinov and Grosse 2017.

Shapes: C chains for each of B images, R = C·B rows, Z latents, T temperatures.  Nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from minivae.backend import Array, Generator, to_numpy, whole_numbers
from minivae.batch import Batch, as_batch
from minivae.evaluation.bounds import ROWS, Estimate, over_parts
from minivae.nn import Data
from minivae.ops import log_mean_exp, repeat
from minivae.parts import Prior
from minivae.plots import spread

TARGET = 0.65                          # the acceptance at which HMC moves furthest for its cost (Neal 2011)
PILOT = 20                             # images on which the step sizes are found
LogLikelihood = Callable[[Array], tuple[Array, Array]]     # z -> log p(x|z) (R,) and its gradient (R, Z)


@dataclass(frozen=True)
class AIS:
    """Estimates of log p(x), and how the chains fared."""

    log_p: np.ndarray                  # (N,) one for each image
    effective: np.ndarray              # (N,) the effective number of chains, (Σ w)² / Σ w²
    acceptance: np.ndarray             # (T,) the share of moves that were accepted at each temperature
    steps: np.ndarray                  # (T,) the step sizes

    @property
    def estimate(self) -> Estimate:
        """log p(x), averaged over images."""
        return Estimate.of(self.log_p)

    def __str__(self) -> str:
        return (f"log p(x) {self.estimate} nats, {len(self.log_p):,} images; {self.effective.mean():.1f} chains "
                f"effective, acceptance {self.acceptance.mean():.0%} (least {self.acceptance.min():.0%})")


@dataclass(frozen=True)
class Chains:
    """Where R chains are: z, log p(x|z) with its gradient there, and the prior they came from."""

    z: Array
    log_lik: Array
    slope: Array
    prior: Prior

    @classmethod
    def at(cls, z: Array, likelihood: LogLikelihood, prior: Prior) -> Chains:
        return cls(z, *likelihood(z), prior)

    def log_density(self, beta: float) -> Array:
        """log f(z) = log p(z) + β log p(x|z)        -> (R,)"""
        return beta * self.log_lik + self.prior.log_prob(self.z)[0]

    def gradient(self, beta: float) -> Array:
        """∂ log f/∂z = ∂ log p(z)/∂z + β ∂ log p(x|z)/∂z        -> (R, Z)"""
        log_p, pull_prior = self.prior.log_prob(self.z)
        return beta * self.slope + pull_prior(np.ones_like(log_p), need_dp=False)


def hmc(chains: Chains, likelihood: LogLikelihood, *, beta: float, step: float, leapfrog: int,
        rng: Generator) -> tuple[Chains, Array]:
    """One Hamiltonian move that leaves f(z) = p(z) p(x|z)^β as it is; and which chains accepted it, (R,) of 0 and 1.

    Energy H(z, p) = −log f(z) + ½ ‖p‖²; the momentum p ~ N(0, I) is drawn anew.  The leapfrog is reversible and keeps
    volume, so accepting with probability min(1, exp(−ΔH)) is all that is left to do.
    Neal 2011, section 5.3 (section 3 on arXiv).
    """
    momentum = rng.standard_normal(chains.z.shape, dtype=chains.z.dtype)
    before = chains.log_density(beta) - 0.5 * (momentum * momentum).sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):         # a chain that runs away ends in −∞ or NaN: not accepted
        moved, momentum = integrate(chains, momentum, likelihood, beta=beta, step=step, leapfrog=leapfrog)
        after = moved.log_density(beta) - 0.5 * (momentum * momentum).sum(axis=1)
    uniform = rng.random(before.shape, dtype=before.dtype)
    accepted = np.log1p(-uniform) < after - before             # 1 − u is never 0
    yes = accepted[:, None]
    return Chains(np.where(yes, moved.z, chains.z), np.where(accepted, moved.log_lik, chains.log_lik),
                  np.where(yes, moved.slope, chains.slope), chains.prior), accepted


def integrate(chains: Chains, momentum: Array, likelihood: LogLikelihood, *, beta: float, step: float,
              leapfrog: int) -> tuple[Chains, Array]:
    """Leapfrog steps of dz/dt = p, dp/dt = ∂ log f/∂z: half a kick, drift and kick in turn, half a kick."""
    momentum = momentum + 0.5 * step * chains.gradient(beta)
    for i in range(leapfrog):
        chains = Chains.at(chains.z + step * momentum, likelihood, chains.prior)
        momentum = momentum + (step if i < leapfrog - 1 else 0.5 * step) * chains.gradient(beta)
    return chains, momentum


def schedule(temperatures: int) -> np.ndarray:
    """β_0 … β_T: a sigmoid of evenly spaced points from −4 to 4, stretched to reach 0 and 1 (Wu et al. 2017)."""
    s = 1.0 / (1.0 + np.exp(-np.linspace(-4.0, 4.0, temperatures + 1)))
    return (s - s[0]) / (s[-1] - s[0])


def annealed_importance_sampling(model: Any, x: Data, *, chains: int = 16, temperatures: int = 500,
                                 leapfrog: int = 10, seed: int = 0, progress: bool = False) -> AIS:
    """log (1/C) Σ w of every image (N, X): a stochastic lower bound on log p(x), which rises with T and C.

    The step sizes come from a pilot run on a few images with noise of its own, which keeps acceptance near 65%; then
    they are fixed, because chains that adapt while they are weighed have no exact mean.
    Raises ValueError for chains, temperatures or leapfrog below 1, and for images that the model cannot explain.
    """
    whole_numbers(chains=chains, temperatures=temperatures, leapfrog=leapfrog)
    model.check(x)
    betas = schedule(temperatures)
    with model.still():
        steps = _pilot(model, spread(as_batch(x).x, PILOT), betas, leapfrog, seed)

    def work(part: Batch, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        likelihood = _likelihood(model, repeat(part.x, samples=chains)[0])
        z = model.prior.sample(chains * len(part), rng, dtype=model.dtype)
        log_w, accepted = anneal(Chains.at(z, likelihood, model.prior), likelihood, betas, steps, leapfrog, rng)
        return to_numpy(log_w).reshape(chains, -1).astype(np.float64), accepted

    weights, accepted = zip(*over_parts(model, x, work, samples=chains, seed=seed, label="AIS" if progress else ""))
    log_w = np.concatenate(weights, axis=1)                                            # (C, N)
    shares = np.exp(log_w - log_w.max(axis=0))
    return AIS(log_mean_exp(log_w.T)[0], shares.sum(axis=0) ** 2 / (shares**2).sum(axis=0),
               np.sum(accepted, axis=0) / log_w.size, steps)


def anneal(chains: Chains, likelihood: LogLikelihood, betas: np.ndarray, steps: np.ndarray, leapfrog: int,
           rng: Generator) -> tuple[Array, np.ndarray]:
    """Lead the chains from β_0 to β_T: their log weights (R,), and how many accepted each move (T,)."""
    log_w, accepted = np.zeros_like(chains.log_lik), np.zeros(len(steps))
    for t, step in enumerate(steps):
        log_w += (betas[t + 1] - betas[t]) * chains.log_lik          # weighed where it stands, at the new temperature
        chains, yes = hmc(chains, likelihood, beta=float(betas[t + 1]), step=float(step), leapfrog=leapfrog, rng=rng)
        accepted[t] = to_numpy(yes).sum()
    return log_w, accepted


def bidirectional(model: Any, *, images: int = 100, chains: int = 16, temperatures: int = 500, leapfrog: int = 10,
                  seed: int = 0, progress: bool = False) -> tuple[Estimate, Estimate, Estimate]:
    """On images drawn from the model: a lower bound on log p(x), an upper bound, and the gap between them.

    z* ~ p(z), x ~ p(x|z*): then z* is a draw of the exact posterior.  A chain that starts there and is led back to the
    prior has weights whose reciprocals have the mean 1/p(x), so −log (1/C) Σ 1/w is a stochastic upper bound.  If the
    two nearly meet, AIS is to be trusted on this model.   Grosse, Ghahramani and Adams 2015.
    """
    whole_numbers(images=images, chains=chains, temperatures=temperatures, leapfrog=leapfrog)
    with model.still():
        return _both_ways(model, images, chains, temperatures, leapfrog, seed, progress)


def _both_ways(model: Any, images: int, chains: int, temperatures: int, leapfrog: int, seed: int,
               progress: bool) -> tuple[Estimate, Estimate, Estimate]:
    rng, device = model.device.rng([seed, 1]), model.device
    z_star = model.prior.sample(images, rng, dtype=model.dtype)
    x = to_numpy(model.likelihood.sample(model.decoder(z_star)[0], rng))
    lower = annealed_importance_sampling(model, x, chains=chains, temperatures=temperatures, leapfrog=leapfrog,
                                         seed=seed, progress=progress)
    betas, places, uppers = schedule(temperatures), to_numpy(z_star), []
    size = max(1, ROWS[device.name] // chains)
    for start in tqdm(range(0, images, size), unit="part", desc="back", disable=not progress):
        part, here = (device.asarray(a[start:start + size], dtype=model.dtype) for a in (x, places))
        likelihood = _likelihood(model, repeat(part, samples=chains)[0])
        starts = Chains.at(repeat(here, samples=chains)[0], likelihood, model.prior)
        log_w = anneal_back(starts, likelihood, betas, lower.steps, leapfrog, rng)
        uppers.append(-log_mean_exp(-to_numpy(log_w).reshape(chains, -1).astype(np.float64).T)[0])
    upper = np.concatenate(uppers)
    return lower.estimate, Estimate.of(upper), Estimate.of(upper - lower.log_p)


def anneal_back(chains: Chains, likelihood: LogLikelihood, betas: np.ndarray, steps: np.ndarray, leapfrog: int,
                rng: Generator) -> Array:
    """The same path from the posterior to the prior, each move and each weight in the reverse order        -> (R,)"""
    log_w = np.zeros_like(chains.log_lik)
    for t in reversed(range(len(steps))):
        chains, _ = hmc(chains, likelihood, beta=float(betas[t + 1]), step=float(steps[t]), leapfrog=leapfrog, rng=rng)
        log_w += (betas[t + 1] - betas[t]) * chains.log_lik
    return log_w


def _pilot(model: Any, x: np.ndarray, betas: np.ndarray, leapfrog: int, seed: int) -> np.ndarray:
    """The step size at every temperature that keeps acceptance near TARGET        -> (T,)"""
    rng = model.device.rng([seed, 2])
    x = model.device.asarray(np.repeat(x, max(1, 100 // len(x)), axis=0), dtype=model.dtype)
    likelihood = _likelihood(model, x)
    chains = Chains.at(model.prior.sample(len(x), rng, dtype=model.dtype), likelihood, model.prior)
    steps, step = np.empty(len(betas) - 1), 0.5
    for t in range(-50, len(steps)):                   # the first fifty only find a step for the start
        beta = float(betas[max(t, 0) + 1])
        chains, accepted = hmc(chains, likelihood, beta=beta, step=step, leapfrog=leapfrog, rng=rng)
        step *= float(np.exp(0.2 * (to_numpy(accepted).mean() - TARGET)))
        if t >= 0:
            steps[t] = step
    return steps


def _likelihood(model: Any, x: Array) -> LogLikelihood:
    """z -> log p(x|z) and its gradient in z, for these images; the parameters' gradients are left alone."""
    def likelihood(z: Array) -> tuple[Array, Array]:
        outputs, pull_decoder = model.decoder(z)
        nll, pull_nll = model.likelihood(outputs, x=x)
        doutputs = pull_nll(np.full_like(nll, -1.0), need_dp=False)
        return -nll, pull_decoder(doutputs, need_dp=False)

    return likelihood
