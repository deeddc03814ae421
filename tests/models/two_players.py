"""Two players, written from scratch against the protocol: a VAE, and a critic that tells images from reconstructions.

    VAE      nll + kl + λ · softplus(−critic(x̂)),     x̂ = sigmoid(logits): its pictures should pass for images
    critic   softplus(−critic(x)) + softplus(critic(x̂)),    and x̂ is a constant to it: it never moves the VAE

One forward pass, two networks, each with an optimizer of its own.
"""

from __future__ import annotations

import numpy as np

from minivae.batch import as_batch
from minivae.distributions import bernoulli_nll, gaussian_kl, reparameterize
from minivae.nn import Adam, Linear, Model, mlp
from minivae.ops import sigmoid, softplus
from minivae.vae import Encoder


class TwoPlayers(Model):
    """Reads batch.x (B, X) in [0, 1]."""

    def __init__(self, pixels, hidden, latents, *, device, dtype=np.float32, optimizers=None, weight=0.5, seed=0):
        rng = np.random.default_rng(seed)
        self.latents, self.weight = latents, weight
        self.encoder = Encoder(mlp(pixels, hidden, rng=rng, activation="tanh", last=True),
                               Linear(hidden, latents, rng=rng), Linear(hidden, latents, rng=rng))
        self.decoder = mlp(latents, hidden, pixels, rng=rng, activation="tanh")
        self.critic = mlp(pixels, hidden, 1, rng=rng, activation="tanh")
        self.learns(vae=self.encoder.parameters("encoder.") | self.decoder.parameters("decoder."),
                    critic=self.critic.parameters("critic."), device=device, dtype=dtype,
                    optimizers=optimizers or {"vae": Adam(1e-3), "critic": Adam(3e-4)})

    def losses(self, *, x, eps):
        """nll, kl, the VAE's fooling loss and the critic's loss, (B,) each; dfool moves the VAE, dcritic the critic"""
        (mean, logvar), pull_encoder = self.encoder(x)
        z, pull_z = reparameterize(mean, logvar, eps=eps)
        logits, pull_decoder = self.decoder(z)
        nll, pull_nll = bernoulli_nll(logits, x=x)
        kl, pull_kl = gaussian_kl(mean, logvar)
        picture, pull_picture = sigmoid(logits)
        fake, pull_fake = self.critic(picture)
        real, pull_real = self.critic(x)
        fool, pull_fool = softplus(-fake)
        (taken, pull_taken), (missed, pull_missed) = softplus(fake), softplus(-real)

        def pullback(dnll, dkl, dfool, dcritic):
            pull_fake(pull_taken(dcritic[:, None]), need_dx=False)                   # the picture is a constant here
            pull_real(-pull_missed(dcritic[:, None]), need_dx=False)
            dpicture = pull_fake(-pull_fool(dfool[:, None]), need_dp=False)          # through the critic, not into it
            dz = pull_decoder(pull_nll(dnll) + pull_picture(dpicture))
            (dmean, dlogvar), (dmean_kl, dlogvar_kl) = pull_z(dz), pull_kl(dkl)
            pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl, need_dx=False)

        return (nll, kl, fool[:, 0], (taken + missed)[:, 0]), pullback

    def train_step(self, batch, rng):
        eps, weight = self.noise(rng, len(batch)), 1.0 / len(batch)

        def share(model, rows):
            (nll, kl, fool, critic), pullback = model.losses(x=batch.x[rows], eps=eps[rows])
            each = np.full_like(nll, weight)
            pullback(each, each, self.weight * each, each)
            return -weight * (nll + kl).sum(), *(weight * loss.sum() for loss in (nll, kl, fool, critic))

        return dict(zip(("elbo", "nll", "kl", "fool", "critic"), self.workers.step(share, len(batch))))

    def terms(self, batch, rng, samples=1):
        x = as_batch(batch).x
        drawn = [self.losses(x=x, eps=self.noise(rng, len(x)))[0][:2] for _ in range(samples)]
        return tuple(np.mean(term, axis=0) for term in zip(*drawn))

    def noise(self, rng, n):
        return rng.standard_normal((n, self.latents), dtype=self.dtype)
