"""The conditional VAE: predict y from x, where more than one y is right.

    z ~ p(z|x)                   a Gaussian, which the prior network computes
    y ~ p(y|x, z)                the likelihood, whose parameters the decoder computes

    log p(y|x)  ≥  E_q[ log p(y|x, z) ]  −  KL( q(z|x, y) ‖ p(z|x) ),        q from the recognition network

All three networks hear this bound, the prior network too: it learns where the z of such an x lie.  First, for some
steps, a baseline network learns to guess y from x alone.  Then it is left as it is, and its guess ŷ₀ is told to all
three; the decoder adds to its outputs.  So a decoder that says nothing is the baseline, and what z is worth can be read
off: log p(y|x) of both.

Training draws z from q, which knows y; a prediction has to draw it from p(z|x).  The Gaussian stochastic network draws
from p(z|x) in training, too; α weighs one against the other:

    loss  =  α (nll + kl)  +  (1 − α) nll_p,        nll_p = −log p(y|x, z) with z ~ p(z|x)

Sohn, Lee and Yan 2015, section 4 (there the guess is an input; that the decoder starts from it is ours).
Shapes: B examples, X numbers of x, Y of y, Z latents.  Nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device
from minivae.batch import as_batch
from minivae.distributions import gaussian_kl_between, gaussian_log_prob, reparameterize
from minivae.nn import Data, Layer, Linear, Model, Optimizer, Sequential, by_rows, mlp
from minivae.ops import concat, repeat_each
from minivae.parts import Likelihood, likelihood, terms
from minivae.vae import Encoder
from minivae.variants.mlp_vae import start_at


class CVAE(Model):
    """Reads batch.x (B, X) and batch.y (B, Y), floats.

    baseline         x -> outputs of the likelihood: the network "baseline"
    prior            (x, ŷ₀) -> mean and logvar of p(z|x); with the next two the network "cvae"
    recognition      (x, ŷ₀, y) -> mean and logvar of q(z|x, y)
    decoder          (z, x, ŷ₀) -> what is added to the baseline's outputs
    alpha            α in [0, 1]: 1 is the CVAE, 0 the Gaussian stochastic network
    baseline_steps   so many steps train the baseline, and those after them the CVAE
    """

    needs = ("x", "y")
    pixels_of = ("x", "y")                             # a one-hot x stays as it is when it is drawn

    def __init__(self, baseline: Layer, prior: Layer, recognition: Layer, decoder: Layer, likelihood: Likelihood, *,
                 sizes: tuple[int, int], latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None, alpha: float = 1.0,
                 baseline_steps: int = 0) -> None:
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"alpha: got {alpha}, expected a number in [0, 1]")
        self.baseline, self.prior, self.recognition, self.decoder = baseline, prior, recognition, decoder
        self.likelihood, self.sizes, self.latents = likelihood, sizes, latents
        self.alpha, self.baseline_steps = alpha, baseline_steps
        parameters = self.parameters()
        first = baseline.parameters("baseline.")
        self.learns(baseline=first, cvae={name: p for name, p in parameters.items() if name not in first},
                    device=device, dtype=dtype, optimizers=optimizers)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def baseline_nll(self, *, x: Array, y: Array) -> tuple[Array, Pullback]:
        """−log p₀(y|x), of the baseline alone        (B, X) (B, Y) -> (B,)"""
        outputs, pull_baseline = self.baseline(x)
        nll, pull_nll = self.likelihood(outputs, x=y)

        def pullback(dnll: Array) -> None:
            pull_baseline(pull_nll(dnll, need_dp=False), need_dx=False)

        return nll, pullback

    def elbo_terms(self, *, x: Array, y: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """The two terms of the bound, nll and kl, with z ~ q(z|x, y)        (B, X) (B, Y) (B, Z) -> (B,) (B,)"""
        guess, told = self._guess(x)
        (mean_p, logvar_p), pull_prior = self.prior(told)                            # p(z|x)
        (mean, logvar), pull_q = self.recognition(concat(told, y)[0])                # q(z|x, y)
        z, pull_z = reparameterize(mean, logvar, eps=eps)
        nll, pull_nll = self._nll(z, guess, told, y)                                 # p(y|x, z)
        kl, pull_kl = gaussian_kl_between(mean, logvar, mean_p, logvar_p)

        def pullback(dnll: Array, dkl: Array) -> None:
            (dmean, dlogvar), (dmean_kl, dlogvar_kl, *dprior) = pull_z(pull_nll(dnll)), pull_kl(dkl)
            pull_q(dmean + dmean_kl, dlogvar + dlogvar_kl, need_dx=False)
            pull_prior(*dprior, need_dx=False)

        return (nll, kl), pullback

    def prior_nll(self, *, x: Array, y: Array, eps: Array) -> tuple[Array, Pullback]:
        """−log p(y|x, z) with z ~ p(z|x)        (B, X) (B, Y) (B, Z) -> (B,)"""
        guess, told = self._guess(x)
        prior, pull_prior = self.prior(told)
        z, pull_z = reparameterize(*prior, eps=eps)
        nll, pull_nll = self._nll(z, guess, told, y)

        def pullback(dnll: Array) -> None:
            pull_prior(*pull_z(pull_nll(dnll)), need_dx=False)

        return nll, pullback

    def _guess(self, x: Array) -> tuple[Array, Array]:
        """The baseline's outputs, and what all networks are told: x and ŷ₀.  Constants: nothing is pulled back."""
        outputs, _ = self.baseline(x)
        return outputs, concat(x, self.likelihood.mean(outputs))[0]

    def _nll(self, z: Array, guess: Array, told: Array, y: Array) -> tuple[Array, Pullback]:
        """−log p(y|x, z), differentiated with respect to z        (B, Z) -> (B,)"""
        code, pull_code = concat(z, told)
        more, pull_decoder = self.decoder(code)
        nll, pull_nll = self.likelihood(guess + more, x=y)

        def pullback(dnll: Array) -> Array:
            return pull_code(pull_decoder(pull_nll(dnll)))[0]

        return nll, pullback

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        batch = as_batch(data)
        for key, size in zip(self.needs, self.sizes):
            array = getattr(batch, key)
            if array.ndim != 2 or array.shape[1] != size or array.dtype.kind != "f":
                raise ValueError(f"{name}.{key}: got {array.dtype} {array.shape}, expected floats (N, {size})")
        self.likelihood.check(batch.y, f"{name}.y")

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of the baseline, or of the CVAE; the batch's mean terms, those of the network that moved."""
        batch = as_batch(batch)
        first = self.networks["baseline"].optimizer.steps < self.baseline_steps
        eps, weight = rng.standard_normal((2, len(batch), self.latents), dtype=self.dtype), 1.0 / len(batch)

        def share(model: CVAE, rows: slice) -> tuple[Array, ...]:
            step = model._baseline_step if first else model._step
            nll, kl = step(batch.x[rows], batch.y[rows], eps[:, rows], weight)
            return terms(nll, kl, weight)

        moved = self.workers.step(share, len(batch), ["baseline" if first else "cvae"])
        return dict(zip(("elbo", "nll", "kl"), moved))

    def _baseline_step(self, x: Array, y: Array, eps: Array, weight: float) -> tuple[Array, Array]:
        nll, pullback = self.baseline_nll(x=x, y=y)
        pullback(np.full_like(nll, weight))
        return nll, np.zeros_like(nll)

    def _step(self, x: Array, y: Array, eps: Array, weight: float) -> tuple[Array, Array]:
        """Add the gradient of weight · (α (nll + kl) + (1 − α) nll_p); return nll and kl"""
        (nll, kl), pullback = self.elbo_terms(x=x, y=y, eps=eps[0])
        dterm = np.full_like(nll, self.alpha * weight)
        pullback(dterm, dterm)
        if self.alpha < 1.0:
            nll_p, pull_p = self.prior_nll(x=x, y=y, eps=eps[1])
            pull_p(np.full_like(nll_p, (1.0 - self.alpha) * weight))
        return nll, kl

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        batch = as_batch(batch)
        drawn = [self.elbo_terms(x=batch.x, y=batch.y, eps=self._noise(rng, len(batch)))[0] for _ in range(samples)]
        return self.mean_of(drawn)

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(y, z|x) − log q(z|x, y) for K draws of q        -> (K, B)"""
        batch = as_batch(batch)
        guess, told = self._guess(batch.x)
        moments = (*self.recognition(concat(told, batch.y)[0])[0], *self.prior(told)[0])
        (mean, logvar, mean_p, logvar_p), _ = repeat_each(*moments, samples=samples)
        z, _ = reparameterize(mean, logvar, eps=self._noise(rng, len(mean)))
        log_ratio = gaussian_log_prob(z, mean_p, logvar_p)[0] - gaussian_log_prob(z, mean, logvar)[0]
        return log_ratio.reshape(samples, -1) - self._nll_of_draws(z, guess, told, batch.y)

    def prior_log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(y|x, z) for K draws of p(z|x), which do not know y        -> (K, B)"""
        batch = as_batch(batch)
        guess, told = self._guess(batch.x)
        (mean, logvar), _ = repeat_each(*self.prior(told)[0], samples=samples)
        z, _ = reparameterize(mean, logvar, eps=self._noise(rng, len(mean)))
        return -self._nll_of_draws(z, guess, told, batch.y)

    def _nll_of_draws(self, z: Array, *given: Array) -> Array:
        """−log p(y|x, z) of K draws of z for each example, some at a time        (K·B, Z) (B, …) ×3 -> (K, B)"""
        B = len(given[0])

        def nll(z: Array) -> Array:
            return self._nll(z, *repeat_each(*given, samples=len(z) // B)[0])[0]

        return by_rows(nll, z, multiple=B).reshape(-1, B)

    # ── predictions ───────────────────────────────────────────────────────────────────────────────

    def guess(self, x: Array) -> Array:
        """ŷ₀ = E₀[y|x], the baseline's        (B, X) -> (B, Y)"""
        return self.likelihood.mean(self.baseline(x)[0])

    def predict(self, x: Array, rng: Generator) -> Array:
        """E[y|x, z] for one draw z ~ p(z|x) per row        (B, X) -> (B, Y)"""
        guess, told = self._guess(x)
        z, _ = reparameterize(*self.prior(told)[0], eps=self._noise(rng, len(x)))
        return self.likelihood.mean(guess + self.decoder(concat(z, told)[0])[0])

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[y|x, z] for one draw z ~ q(z|x, y) per row        -> (B, Y)"""
        batch = as_batch(batch)
        guess, told = self._guess(batch.x)
        q, _ = self.recognition(concat(told, batch.y)[0])
        z, _ = reparameterize(*q, eps=self._noise(rng, len(batch)))
        return self.likelihood.mean(guess + self.decoder(concat(z, told)[0])[0])

    def _noise(self, rng: Generator, rows: int) -> Array:
        return rng.standard_normal((rows, self.latents), dtype=self.dtype)


@dataclass(frozen=True)
class CVAEConfig:
    """The size of a fully connected CVAE: all that is needed to build it again."""

    inputs: int
    """numbers that are given, X"""
    outputs: int
    """numbers to predict, Y"""
    hidden: tuple[int, ...] = (400,)
    """hidden units of each of the four networks"""
    latents: int = 20
    """latent dimensions, Z"""
    activation: str = "relu"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""
    likelihood: str = "bernoulli"
    """p(y|x, z): as of VAEConfig"""
    alpha: float = 1.0
    """weight of the bound; the rest is the Gaussian stochastic network's"""

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, targets: np.ndarray | None = None,
              baseline_steps: int = 0) -> CVAE:
        """The untrained model; the same seed gives the same weights on every device.

        targets   y of the training examples (N, Y): at first the baseline guesses their average, as VAEConfig.build
        Raises ValueError for a size below 1, an unknown name, or targets of the wrong shape.
        """
        at_least_one(inputs=self.inputs, outputs=self.outputs, latents=self.latents)
        rng, p_y = np.random.default_rng(seed), likelihood(self.likelihood)
        told, out = self.inputs + self.outputs, self.outputs * p_y.outputs_per_pixel

        def network(inputs: int, outputs: int) -> Sequential:
            return mlp(inputs, *self.hidden, outputs, rng=rng, activation=self.activation)

        def gaussian(inputs: int) -> Encoder:
            trunk = mlp(inputs, *self.hidden, rng=rng, activation=self.activation, last=True)
            return Encoder(trunk, *(Linear(self.hidden[-1], self.latents, rng=rng) for _ in range(2)))

        baseline = network(self.inputs, out)
        if targets is not None:
            last, (start, spread) = baseline.layers[-1].parameters(), start_at(targets, p_y, self.outputs)
            last["W"].value *= spread
            last["b"].value[...] = start
        return CVAE(baseline, gaussian(told), gaussian(told + self.outputs), network(self.latents + told, out), p_y,
                    sizes=(self.inputs, self.outputs), latents=self.latents, device=on or device("cpu"), dtype=dtype,
                    optimizers=optimizers, alpha=self.alpha, baseline_steps=baseline_steps)
