"""A VAE over sequences of different lengths, written from scratch against the protocol: what is padded does not count.

    h_b = Σ_t mask_bt tanh(x_bt W + b)  →  q(z|x);      x_bt ~ N(decoder(z, t), 1) for every t that mask_bt counts
"""

from __future__ import annotations

import numpy as np

from minivae.distributions import LOG_2PI, gaussian_kl, reparameterize
from minivae.nn import Linear, Model, mlp
from minivae.ops import tanh
from minivae.vae import Encoder


class SequenceVAE(Model):
    """Reads batch.x (B, T, D) and batch.mask (B, T), True where there is something."""

    needs = ("x", "mask")

    def __init__(self, steps, size, hidden, latents, *, device, dtype=np.float32, optimizers=None, seed=0):
        rng = np.random.default_rng(seed)
        self.steps, self.size, self.latents = steps, size, latents
        self.word = Linear(size, hidden, rng=rng)
        self.encoder = Encoder(mlp(hidden, hidden, rng=rng, activation="tanh", last=True),
                               Linear(hidden, latents, rng=rng), Linear(hidden, latents, rng=rng))
        self.decoder = mlp(latents, hidden, steps * size, rng=rng, activation="tanh")
        self.learns(vae=self.parameters(), device=device, dtype=dtype, optimizers=optimizers)

    def check(self, data, name="x"):
        super().check(data, name)
        x, mask = data.x, data.mask
        if x.shape[1:] != (self.steps, self.size) or mask.shape != x.shape[:2] or mask.dtype != bool:
            raise ValueError(f"{name}: got x {x.shape} and mask {mask.dtype} {mask.shape}, expected "
                             f"(N, {self.steps}, {self.size}) and bool (N, {self.steps})")

    def bound(self, *, x, mask, eps):
        """nll and kl, (B,) each"""
        B, T, D = x.shape
        counts = mask.astype(x.dtype)
        words, pull_words = self.word(np.where(mask[:, :, None], x, 0.0).reshape(B * T, D))
        active, pull_active = tanh(words)
        h = (active.reshape(B, T, -1) * counts[:, :, None]).sum(axis=1)
        (mean, logvar), pull_encoder = self.encoder(h)
        z, pull_z = reparameterize(mean, logvar, eps=eps)
        out, pull_decoder = self.decoder(z)
        offset = (out.reshape(B, T, D) - np.where(mask[:, :, None], x, 0.0)) * counts[:, :, None]
        nll = 0.5 * (offset * offset).sum(axis=(1, 2)) + 0.5 * LOG_2PI * D * counts.sum(axis=1)
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dnll, dkl):
            dz = pull_decoder((offset * dnll[:, None, None]).reshape(B, T * D))
            (dmean, dlogvar), (dmean_kl, dlogvar_kl) = pull_z(dz), pull_kl(dkl)
            dh = pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl)                # every step of the sum hears it
            pull_words(pull_active((dh[:, None] * counts[:, :, None]).reshape(B * T, -1)), need_dx=False)

        return (nll, kl), pullback

    def train_step(self, batch, rng):
        eps, weight = self.noise(rng, len(batch)), 1.0 / len(batch)

        def share(model, rows):
            (nll, kl), pullback = model.bound(x=batch.x[rows], mask=batch.mask[rows], eps=eps[rows])
            pullback(np.full_like(nll, weight), np.full_like(kl, weight))
            return -weight * (nll + kl).sum(), weight * nll.sum(), weight * kl.sum()

        return dict(zip(("elbo", "nll", "kl"), self.workers.step(share, len(batch))))

    def terms(self, batch, rng, samples=1):
        drawn = [self.bound(x=batch.x, mask=batch.mask, eps=self.noise(rng, len(batch)))[0] for _ in range(samples)]
        return tuple(np.mean(term, axis=0) for term in zip(*drawn))

    def noise(self, rng, n):
        return rng.standard_normal((n, self.latents), dtype=self.dtype)
