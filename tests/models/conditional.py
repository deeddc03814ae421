"""A conditional VAE, written from scratch against the protocol: encoder and decoder are told the labels.

    x ~ p(x|y, z),   z ~ N(0, I):   log p(x|y) ≥ E_q log p(x|y, z) − KL( q(z|x, y) ‖ N(0, I) )
"""

from __future__ import annotations

import numpy as np

from minivae import distributions as D
from minivae.nn import Linear, Model, mlp
from minivae.ops import concat, one_hot, repeat, sigmoid
from minivae.vae import Encoder


class ConditionalVAE(Model):
    """Reads batch.x (B, X) and batch.y (B,), whole numbers below `classes`."""
    needs = ("x", "y")

    def __init__(self, pixels, hidden, latents, classes, *, device, dtype=np.float32, optimizers=None, seed=0):
        rng = np.random.default_rng(seed)
        self.latents, self.classes = latents, classes
        self.encoder = Encoder(mlp(pixels + classes, hidden, rng=rng, activation="tanh", last=True),
                               Linear(hidden, latents, rng=rng), Linear(hidden, latents, rng=rng))
        self.decoder = mlp(latents + classes, hidden, pixels, rng=rng, activation="tanh")
        self.learns(cvae=self.parameters(), device=device, dtype=dtype, optimizers=optimizers)

    def check(self, data, name="x"):
        super().check(data, name)
        if data.y.dtype.kind not in "iu" or not 0 <= data.y.min() <= data.y.max() < self.classes:
            raise ValueError(f"y: got {data.y.dtype} up to {data.y.max()}, expected whole numbers below {self.classes}")

    def bound(self, *, x, y, eps):
        """nll and kl, (B,) each"""
        told = one_hot(y, classes=self.classes, dtype=x.dtype)
        (mean, logvar), pull_encoder = self.encoder(concat(x, told)[0])
        z, pull_z = D.reparameterize(mean, logvar, eps=eps)
        code, pull_code = concat(z, told)
        logits, pull_decoder = self.decoder(code)
        nll, pull_nll = D.bernoulli_nll(logits, x=x)
        kl, pull_kl = D.gaussian_kl(mean, logvar)

        def pullback(dnll, dkl):
            dz, _ = pull_code(pull_decoder(pull_nll(dnll)))
            (dmean, dlogvar), (dmean_kl, dlogvar_kl) = pull_z(dz), pull_kl(dkl)
            pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl, need_dx=False)

        return (nll, kl), pullback

    def train_step(self, batch, rng):
        eps, weight = self.noise(rng, len(batch)), 1.0 / len(batch)

        def share(model, rows):
            (nll, kl), pullback = model.bound(x=batch.x[rows], y=batch.y[rows], eps=eps[rows])
            pullback(np.full_like(nll, weight), np.full_like(kl, weight))
            return -weight * (nll + kl).sum(), weight * nll.sum(), weight * kl.sum()

        return dict(zip(("elbo", "nll", "kl"), self.workers.step(share, len(batch))))

    def terms(self, batch, rng, samples=1):
        drawn = [self.bound(x=batch.x, y=batch.y, eps=self.noise(rng, len(batch)))[0] for _ in range(samples)]
        return tuple(np.mean(term, axis=0) for term in zip(*drawn))

    def log_weights(self, batch, rng, samples=1):
        x, y = (repeat(a, samples=samples)[0] for a in (batch.x, batch.y))
        told, eps = one_hot(y, classes=self.classes, dtype=x.dtype), self.noise(rng, len(x))
        (mean, logvar), _ = self.encoder(concat(x, told)[0])
        z = D.reparameterize(mean, logvar, eps=eps)[0]
        nll = D.bernoulli_nll(self.decoder(concat(z, told)[0])[0], x=x)[0]
        kl = D.gaussian_log_prob(z, mean, logvar)[0] - D.standard_normal_log_prob(z)[0]
        return -(nll + kl).reshape(samples, -1)

    def sample(self, y, rng):
        """E[x|y, z] for one z ~ p(z) for each label        (n,) -> (n, X)"""
        code = concat(self.noise(rng, len(y)), one_hot(y, classes=self.classes, dtype=self.dtype))[0]
        return sigmoid(self.decoder(code)[0])[0]

    def noise(self, rng, n):
        return rng.standard_normal((n, self.latents), dtype=self.dtype)
