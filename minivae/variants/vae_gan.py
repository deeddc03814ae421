"""VAE/GAN: a VAE whose images are compared by what a discriminator sees in them, and which plays against it.

    z ~ N(0, I),    x̃ = Dec(z)                         the generative story
    q(z|x) = N(μ(x), diag σ²(x))                        the encoder's
    D(x) = sigmoid(head(Dis_l(x)))                      a discriminator; Dis_l(x) are the features of its layer l

Pixel by pixel an edge that lies a little to the left is as wrong as none at all.  So likeness is measured in features,

    L_llike = −log N(Dis_l(x); Dis_l(x̃), I),           x̃ = Dec(z),  z ~ q(z|x)
    L_prior = KL(q(z|x) ‖ N(0, I))
    L_GAN   = log D(x) + log(1 − D(Dec(z))) + log(1 − D(Dec(z_p))),        z_p ~ N(0, I)

and who hears what is the whole point:

    encoder          L_prior + L_llike
    decoder          γ L_llike − log D(Dec(z)) − log D(Dec(z_p))            (the non-saturating form of −L_GAN)
    discriminator    −L_GAN, and never L_llike: else it would learn to see nothing

Everything is one forward pass; pullbacks through a network that is not to hear are called with need_dp=False.  Real and
generated images go through the discriminator apart, so that no layer could mix their statistics.

What a training step reports as the ELBO is the bound of the same encoder and decoder with the pixels' likelihood: a
true bound on log p(x) that nobody climbs.
Larsen et al. 2016 (their γ weighs L_llike against the game).   Shapes: B images of X pixels, Z latents, F
features.  Nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device
from minivae.batch import as_batch
from minivae.distributions import gaussian_kl, reparameterize
from minivae.nn import Data, Layer, Linear, Optimizer, Parameter, RMSProp, mlp
from minivae.ops import leaky_relu, sigmoid, softplus
from minivae.parts import Bernoulli, DiagonalGaussian, Likelihood
from minivae.vae import VAE
from minivae.variants.conv_vae import ROWS_EACH, ConvVAEConfig
from minivae.variants.mlp_vae import VAEConfig

EVEN = 3.0 * math.log(2.0)           # −L_GAN where D = ½ for everything: nobody is ahead


class Seeing(Layer):
    """head(trunk(x)), and what was seen on the way: the features trunk(x)        (B, X) -> (B, outputs)

    trunk, head   the layers up to l, and from there on
    """

    def __init__(self, trunk: Layer, head: Layer) -> None:
        self.trunk, self.head = trunk, head

    def seen(self, x: Array) -> tuple[tuple[Array, Array], Pullback]:
        """features and outputs        (B, X) -> (B, F) (B, outputs)

        Its pullback takes None for what nobody asks.
        """
        features, pull_trunk = self.trunk(x)
        outputs, pull_head = self.head(features)

        def pullback(dfeatures: Array | None, doutputs: Array | None, need_dx: bool = True,
                     need_dp: bool = True) -> Array | None:
            through = dfeatures if doutputs is None else pull_head(doutputs, need_dp=need_dp)
            if dfeatures is not None and doutputs is not None:
                through = through + dfeatures          # features are used twice
            return pull_trunk(through, need_dx=need_dx, need_dp=need_dp)

        return (features, outputs), pullback

    def __call__(self, x: Array) -> tuple[Any, Pullback]:
        (_, outputs), pull_seen = self.seen(x)

        def pullback(doutputs: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            return pull_seen(None, doutputs, need_dx=need_dx, need_dp=need_dp)

        return outputs, pullback


class Discriminator(Seeing):
    """(features, logit of D)        (B, X) -> (B, F) (B,)"""

    def __call__(self, x: Array) -> tuple[tuple[Array, Array], Pullback]:
        (features, logit), pull_seen = self.seen(x)

        def pullback(dfeatures: Array | None, dlogit: Array | None, need_dx: bool = True,
                     need_dp: bool = True) -> Array | None:
            return pull_seen(dfeatures, None if dlogit is None else dlogit[:, None], need_dx=need_dx, need_dp=need_dp)

        return (features, logit[:, 0]), pullback


def picture(outputs: Array, *, likelihood: Likelihood) -> tuple[Array, Pullback]:
    """E[x|z], the image that a discriminator sees of a decoder's outputs        (B, X) -> (B, X)

    likelihood   Bernoulli, whose outputs are logits, or GaussianFixed, whose outputs are the image
    """
    if isinstance(likelihood, Bernoulli):
        return sigmoid(outputs)
    return outputs, lambda dx: dx


class VAEGAN(VAE):
    """A VAE with a discriminator; the networks "encoder", "decoder" and "discriminator".

    gamma        γ, weight of likeness for the decoder
    margin       a network that is ahead by so many nats is paused for a step; None: nobody ever is
    optimizers   of the networks; RMSProp(3e-4) for those that are not named
    The rest as of a VAE.
    """

    says = ("elbo", "nll", "kl", "likeness", "game", "fooled")

    def __init__(self, encoder: Layer, decoder: Layer, likelihood: Likelihood, discriminator: Discriminator, *,
                 pixels: int, latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None, gamma: float = 1.0,
                 margin: float | None = None, rows_each: int | None = None) -> None:
        if not gamma >= 0.0:
            raise ValueError(f"gamma: got {gamma}, expected at least 0")
        if margin is not None and not margin > 0.0:
            raise ValueError(f"margin: got {margin}, expected a number > 0, or None")
        super().__init__(encoder, decoder, likelihood, pixels=pixels, latents=latents, device=device, dtype=dtype)
        self.discriminator, self.gamma, self.margin = discriminator, gamma, margin
        self.game = Parameter(np.full(1, EVEN))         # the discriminator's loss of the step before: a run keeps it
        parts: dict[str, dict[str, Parameter]] = {name: getattr(self, name).parameters(f"{name}.") for name in (
            "encoder", "decoder", "discriminator")}
        parts["discriminator"]["game"] = self.game
        given: dict[str, Optimizer] = {name: RMSProp(3e-4) for name in parts} | dict(optimizers or {})
        self.learns(encoder=parts["encoder"], decoder=parts["decoder"], discriminator=parts["discriminator"],
                    optimizers=given, device=device, dtype=dtype, rows_each=rows_each, uses=4)

    # ── the three players ─────────────────────────────────────────────────────────────────────────

    def _play(self, *, x: Array, eps: Array, eps_p: Array) -> tuple[tuple[Array, ...], dict[str, Pullback]]:
        """nll, kl, likeness, −L_GAN, and −log D of generated images; who hears what, by network

        x (B, X), eps and eps_p (B, Z) -> 5 × (B,), and for each network a pullback of one cotangent (B,)
        """
        q, pull_q = self.q(x=x)
        z, pull_z = reparameterize(*q, eps=eps)
        kl, pull_kl = gaussian_kl(*q)
        (outputs, pull_decoder), (outputs_p, pull_decoder_p) = self.decoder(z), self.decoder(eps_p)
        (made, pull_picture), (made_p, pull_picture_p) = (
            picture(y, likelihood=self.likelihood) for y in (outputs, outputs_p))
        ((f, a), pull_real), ((f_made, a_made), pull_made), ((_, a_p), pull_made_p) = (
            self.discriminator(images) for images in (x, made, made_p))
        apart = f_made - f                             # only reconstructions are to be like something
        right, wrong, wrong_p, fooled, fooled_p = (softplus(logit) for logit in (-a, a_made, a_p, -a_made, -a_p))

        def heard_by_discriminator(d: Array) -> None:            # −log D(x) − log(1 − D(x̃)) − log(1 − D(x̃_p))
            pull_real(None, -right[1](d), need_dx=False)
            pull_made(None, wrong[1](d), need_dx=False)
            pull_made_p(None, wrong_p[1](d), need_dx=False)

        # to the images, past a discriminator that does not hear it: need_dp=False
        def heard_by_decoder(d: Array) -> None:
            dmade = pull_made(apart * (self.gamma * d)[:, None], -fooled[1](d), need_dp=False)
            pull_decoder(pull_picture(dmade), need_dx=False)
            pull_decoder_p(pull_picture_p(pull_made_p(None, -fooled_p[1](d), need_dp=False)), need_dx=False)

        def heard_by_encoder(d: Array) -> None:
            dmade = pull_made(apart * d[:, None], None, need_dp=False)
            dz = pull_decoder(pull_picture(dmade), need_dp=False)
            pull_q(*(a + b for a, b in zip(pull_z(dz), pull_kl(d))))

        nll, _ = self.likelihood(outputs, x=x)
        terms = (nll, kl, 0.5 * (apart * apart).sum(axis=1), right[0] + wrong[0] + wrong_p[0], fooled[0] + fooled_p[0])
        return terms, {"encoder": heard_by_encoder, "decoder": heard_by_decoder,
                       "discriminator": heard_by_discriminator}

    def loss(self, *, of: str, x: Array, eps: Array, eps_p: Array) -> tuple[Array, Pullback]:
        """What the network of this name goes down        x (B, X), eps and eps_p (B, Z) -> (B,)"""
        (_, kl, likeness, game, fooled), heard = self._play(x=x, eps=eps, eps_p=eps_p)
        losses = {"encoder": kl + likeness, "decoder": self.gamma * likeness + fooled, "discriminator": game}
        return losses[of], heard[of]

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of all players who are not paused; the batch's mean terms."""
        x = as_batch(batch).x
        B, eps = len(x), self._noise(rng, 2, len(x))
        self._check(x, eps)

        def share(model: VAEGAN, rows: slice) -> tuple[Array, ...]:
            terms, heard = model._play(x=x[rows], eps=eps[0, rows], eps_p=eps[1, rows])
            weight = np.full_like(terms[0], 1.0 / B)
            for pullback in heard.values():
                pullback(weight)
            nll, kl, *others = (weight @ term for term in terms)
            return -(nll + kl), nll, kl, *others

        found = dict(zip(self.says, self.workers.step(share, B, self._awake())))
        if self.margin is not None:
            game = found["game"].reshape(1).copy()
            self.workers.processes.sum(game)
            self.game.value[...] = game
        return found

    def _awake(self) -> list[str]:
        """Who moves: the discriminator unless it is ahead, the decoder unless it is; the encoder always."""
        if self.margin is None:
            return list(self.networks)
        ahead = EVEN - float(self.game.value[0])       # a look waits for the device: only who asks for a margin pays
        paused = "discriminator" if ahead > self.margin else "decoder" if ahead < -self.margin else ""
        return [name for name in self.networks if name != paused]


@dataclass(frozen=True)
class VAEGANConfig:
    """The size of a VAE/GAN, fully connected or convolutional: all that is needed to build it again."""

    vae: VAEConfig | ConvVAEConfig
    """of encoder and decoder; its likelihood is bernoulli or gaussian_fixed"""
    features: int = 128
    """of the discriminator's layer l, F; before it is one of the encoder's first size, or convolutions like its"""

    def __post_init__(self) -> None:
        at_least_one(features=self.features)
        for name, known in (("posterior", ("diagonal",)), ("prior", ("standard",)), ("scale", ("none",)),
                            ("likelihood", ("bernoulli", "gaussian_fixed"))):
            if getattr(self.vae, name) not in known:
                raise ValueError(f"{name}: got {getattr(self.vae, name)!r}, expected {' or '.join(known)} in a VAE/GAN")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, images: np.ndarray | None = None, gamma: float = 1.0,
              margin: float | None = None) -> VAEGAN:
        """The untrained model; the same seed gives the same weights on every device.

        images   the training images (N, X): what is decoded starts at their average
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        (rng, p_x), sizes = self.vae.begin(seed, images), self.vae
        encoder = sizes.encoder(DiagonalGaussian(sizes.latents), rng)
        decoder = sizes.decoder(p_x, rng, images)
        if isinstance(sizes, ConvVAEConfig):
            trunk, rows_each = sizes.trunk(self.features, rng, leaky_relu), ROWS_EACH
        else:
            trunk, rows_each = mlp(sizes.pixels, sizes.hidden[0], self.features, rng=rng, activation="leaky_relu",
                                   last=True), None
        return VAEGAN(encoder, decoder, p_x, Discriminator(trunk, Linear(self.features, 1, rng=rng)),
                      pixels=sizes.pixels, latents=sizes.latents, device=on or device("cpu"), dtype=dtype,
                      optimizers=optimizers, gamma=gamma, margin=margin, rows_each=rows_each)
