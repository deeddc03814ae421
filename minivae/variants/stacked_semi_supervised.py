"""M1+M2: a VAE finds the latents of an image, and M2 explains them, with a label or without.

    y ~ p(y),   z ~ N(0, I)      as in M2
    z₁ ~ p(z₁|y, z)              a Gaussian, whose mean and variance M2's decoder computes
    x ~ p(x|z₁)                  M1's likelihood

First, for some steps, M1 alone: the VAE with z₁ ~ N(0, I), on images without labels (that the few with labels are left
out hardly matters to it).  Then M1 is left as it is, and M2 learns (`semi_supervised`), with fresh draws z₁ ~ q(z₁|x)
at every step in the place of x.  U(z₁) of M2 is a bound on log p(z₁).  So for the two together

    log p(x)  ≥  E_q(z₁|x)[ log p(x|z₁)  −  log q(z₁|x)  +  U(z₁) ]

Kingma, Rezende, Mohamed and Welling 2014, section 2 (M1, and the two stacked; they are trained one after the other
there, too).   Shapes: B images of X pixels, Z₁ latents of M1, C classes, Z latents of M2.  Nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one
from minivae.batch import Batch, as_batch
from minivae.distributions import gaussian_kl, gaussian_log_prob, reparameterize
from minivae.nn import Data, Layer, Optimizer, by_rows
from minivae.ops import concat, one_hot, repeat
from minivae.parts import Likelihood
from minivae.variants.semi_supervised import M2, LabelEncoder


class M1M2(M2):
    """Batches are M2's; M2's parts see the M1 latents of an image where M2 alone sees the image.

    m1_encoder       x -> mean and logvar of q(z₁|x); with the next two the network "m1", the rest is "m2"
    m1_decoder       z₁ -> parameters of p(x|z₁)
    m1_latents       Z₁
    m1_steps         so many steps train M1, and those after them M2
    """

    def __init__(self, m1_encoder: Layer, m1_decoder: Layer, m1_likelihood: Likelihood, classifier: Layer,
                 encoder: LabelEncoder, decoder: Layer, likelihood: Likelihood, *, pixels: int, m1_latents: int,
                 classes: int, latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None, class_prior: Sequence[float] | None = None,
                 labelled_share: float = 0.0, label_weight: float = 0.1, m1_steps: int = 0) -> None:
        self._parts(classifier, encoder, decoder, likelihood, (m1_latents, classes, latents), class_prior,
                    (labelled_share, label_weight), device, dtype)
        at_least_one(pixels=pixels)
        self.m1_encoder, self.m1_decoder, self.m1_likelihood = m1_encoder, m1_decoder, m1_likelihood
        self.image_pixels, self.m1_latents, self.m1_steps = pixels, m1_latents, m1_steps
        own = {name: p for name, p in self.parameters().items() if name.startswith("m1_")}
        rest = {name: p for name, p in self.parameters().items() if name not in own}
        self.learns(m1=own, m2=rest, device=device, dtype=dtype, optimizers=optimizers)

    # ── the bound ─────────────────────────────────────────────────────────────────────────────────

    def m1_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll and kl of M1 alone, whose prior is N(0, I)        x (B, X), eps (B, Z₁) -> (B,) (B,)"""
        q, pull_q = self.m1_encoder(self.m1_likelihood.scaled(x))
        z, pull_z = reparameterize(*q, eps=eps)
        outputs, pull_decoder = self.m1_decoder(z)
        nll, pull_nll = self.m1_likelihood(outputs, x=x)
        kl, pull_kl = gaussian_kl(*q)

        def pullback(dnll: Array, dkl: Array) -> None:
            dq_draw = pull_z(pull_decoder(pull_nll(dnll)))
            dq_kl = pull_kl(dkl)
            pull_q(*(a + b for a, b in zip(dq_draw, dq_kl)), need_dx=False)

        return (nll, kl), pullback

    def draw(self, x: Array, eps: Array) -> tuple[Array, Array]:
        """z₁ ~ q(z₁|x), and log q(z₁|x), constants to M2        (B, X) (B, Z₁) -> (B, Z₁) (B,)"""
        mean, logvar = self.codes(x)
        z, _ = reparameterize(mean, logvar, eps=eps)
        return z, gaussian_log_prob(z, mean, logvar)[0]

    def codes(self, x: Array) -> tuple[Array, Array]:
        """mean and logvar of q(z₁|x)        (B, X) -> (B, Z₁) (B, Z₁)"""
        return self.m1_encoder(self.m1_likelihood.scaled(x))[0]

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    @property
    def seen(self) -> int:
        return self.image_pixels

    @property
    def pixel_likelihood(self) -> Likelihood:
        return self.m1_likelihood

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of M1, or of M2.  "elbo" is M1's, or that of the two together; nll is −log p(x|z₁) in both."""
        batch, first = as_batch(batch), self.networks["m1"].optimizer.steps < self.m1_steps
        B, weight = len(batch), 1.0 / len(batch)
        eps1 = rng.standard_normal((2, B, self.m1_latents), dtype=self.dtype)
        eps = self._noise(rng, self.classes + 1, B)

        def share(model: M1M2, rows: slice) -> tuple[Array, ...]:
            if first:
                terms = model._m1_step(batch.x[rows], eps1[0, rows], weight)
            else:
                terms = model._m2_step(batch[rows], eps1[:, rows], eps[:, rows], weight)
            return -(terms[0] + terms[1]), *terms

        return dict(zip(self.says, self.workers.step(share, B, ["m1" if first else "m2"])))

    def _m1_step(self, x: Array, eps: Array, weight: float) -> tuple[Array, Array, Array]:
        (nll, kl), pullback = self.m1_terms(x=x, eps=eps)
        pullback(np.full_like(nll, weight), np.full_like(kl, weight))
        return weight * nll.sum(), weight * kl.sum(), 0.0 * nll.sum()

    def _m2_step(self, part: Batch, eps1: Array, eps: Array, weight: float) -> tuple[Array, Array, Array]:
        (z, log_q), (labelled, _) = self.draw(part.x, eps1[0]), self.draw(part.labelled, eps1[1])
        nll, kl, surprise = self._step(Batch(x=z, labelled=labelled, labels=part.labels), eps, weight)
        pixels, _ = self.m1_likelihood(self.m1_decoder(z)[0], x=part.x)
        return weight * pixels.sum(), weight * log_q.sum() + nll + kl, surprise

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """−log p(x|z₁), and log q(z₁|x) − U(z₁)"""
        x, drawn = as_batch(batch).x, []
        for _ in range(samples):
            z, log_q = self.draw(x, self._m1_noise(rng, len(x)))
            nll, kl = self.unlabelled_terms(x=z, eps=self._noise(rng, self.classes, len(x)))[0]
            drawn.append((self.m1_likelihood(self.m1_decoder(z)[0], x=x)[0], log_q + nll + kl))
        return self.mean_of(drawn)

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log p(x|z₁) + log Σ_y p(z₁, y, z_y) / q(z_y|z₁, y) − log q(z₁|x) for K draws of them all        -> (K, B)"""
        of_latents = super().log_weights

        def weights(x: Array) -> Array:
            z, log_q = self.draw(x, self._m1_noise(rng, len(x)))
            return of_latents(z, rng)[0] - self.m1_likelihood(self.m1_decoder(z)[0], x=x)[0] - log_q

        return by_rows(weights, repeat(as_batch(batch).x, samples=samples)[0]).reshape(samples, -1)

    # ── predictions ───────────────────────────────────────────────────────────────────────────────

    def class_log_prob(self, x: Array) -> Array:
        """log q(y|z₁) at the mean of q(z₁|x)        (B, X) -> (B, C)"""
        return super().class_log_prob(self.codes(x)[0])

    def encode(self, x: Array, labels: Array) -> tuple[Array, Array]:
        """mean and logvar of q(z|z₁, y), at the mean of q(z₁|x)        (B, X) (B,) -> (B, Z) (B, Z)"""
        return super().encode(self.codes(x)[0], labels)

    def decode(self, z: Array, labels: Array) -> Array:
        """E[x|z₁] at the mean of p(z₁|y, z)        (B, Z) (B,) -> (B, X)"""
        return self.m1_likelihood.mean(self.m1_decoder(super().decode(z, labels))[0])

    def sample(self, n: int, rng: Generator, label: int | None = None) -> Array:
        """E[x|z₁] for n draws z, then z₁ ~ p(z₁|y, z): of this class; None: in turn, 0, 1, …        -> (n, X)"""
        at_least_one(n=n)
        y = one_hot(self._labels(n, label), classes=self.classes, dtype=self.dtype)
        outputs, _ = self.decoder(concat(self._noise(rng, n), y)[0])
        return self.m1_likelihood.mean(self.m1_decoder(self.likelihood.sample(outputs, rng))[0])

    def _m1_noise(self, rng: Generator, rows: int) -> Array:
        return rng.standard_normal((rows, self.m1_latents), dtype=self.dtype)
