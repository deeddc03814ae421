"""Zero-VAE-GAN: features of classes that nobody has seen, made from a list of what such a class looks like.

    a                              attributes of a class: it has a hole, it has a diagonal stroke, …; written by hand
    z ~ N(0, I)                    all else
    x ~ N(Gen(z, a), σ² I)         features of an image
    q(z|x, a)                      N(mean, diag exp(logvar)), the encoder's
    D(x, a) = sigmoid(…)           the discriminator: are these features of a real image that has these attributes?
    C(y|x)                         the categorisation network: which of the seen classes is it?

A classifier wants examples of its classes.  Of the unseen ones there are none, but they have attributes.  So all of
this is trained on seen classes, features are drawn with the attributes of unseen ones, and a softmax classifier learns
from real features of seen classes and made ones of unseen (evaluation/zero_shot.py).

With x̃ = Gen(z, a), z ~ q(z|x, a), and x̃_p = Gen(z_p, a), z_p ~ N(0, I),

    L_VAE = −log p(x|z, a) + KL( q(z|x, a) ‖ N(0, I) )
    L_GAN = log D(x, a) + log(1 − D(x̃, a)) + log(1 − D(x̃_p, a))
    L_CLS = −log C(y|x̃) − log C(y|x̃_p)

and who hears what:

    encoder          L_VAE
    generator        −log p(x|z, a)  −  λ (log D(x̃, a) + log D(x̃_p, a))  +  κ L_CLS
    discriminator    −L_GAN
    categoriser      −log C(y|x) of real features, never of made ones: it would learn to excuse the generator

Everything is one forward pass; real and made features go through D and C apart, and a gradient passes a network that is
not to hear it with need_dp=False.  A step reports −L_VAE as the ELBO: a true bound on log p(x|a), of the a that the
networks were told.

Of so few classes a network can learn the attributes by heart, and then knows nothing of another list.  So in training
they are jittered, a + s ε with ε ~ N(0, I) anew at every step: lists that lie between the classes are asked for, too.
(Of a map that is linear in a, such noise is a ridge.)

Gao et al. 2020, by their abstract (their equations we do not know): a VAE and a GAN that share the generator, told a,
and a categorisation network.  Ours are λ and κ, that the game is VAE/GAN's (Larsen et al. 2016), and the jitter.
What it costs: a step of 64 rows (64 features, 13 attributes, 128 hidden units) holds 1.2 MB beside the parameters.
Shapes: B examples of X features, A attributes, Z latents, C seen classes.  Nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device
from minivae.batch import as_batch, check_labels
from minivae.distributions import categorical_nll, gaussian_kl, reparameterize
from minivae.nn import Data, Layer, Linear, Model, Optimizer, RMSProp, mlp
from minivae.ops import concat, softplus
from minivae.parts import Likelihood, likelihood
from minivae.vae import Encoder

NETWORKS = ("encoder", "generator", "discriminator", "categoriser")


class Told(Layer):
    """y = f([x, a]): a network of x that is told a, a constant        (B, I) and a (B, A) -> as f"""

    def __init__(self, f: Layer) -> None:
        self.f = f

    def __call__(self, x: Array, *, a: Array) -> tuple[Array, Pullback]:
        both, pull_both = concat(x, a)
        y, pull_f = self.f(both)

        def pullback(*dy: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            through = pull_f(*dy, need_dx=need_dx, need_dp=need_dp)
            return pull_both(through)[0] if need_dx else None

        return y, pullback


class ZeroVAEGAN(Model):
    """Reads batch.x (B, X), features; batch.a (B, A), floats; batch.y (B,), seen classes 0 … C − 1.

    encoder         (x, a) -> mean and logvar of q(z|x, a)
    generator       (z, a) -> E[x|z, a]
    discriminator   (x, a) -> logit of D, (B, 1)
    categoriser     x -> logits of C(y|x)
    likelihood      p(x|z, a), whose outputs are its mean; its σ learns with the generator
    game            λ, what the discriminator's word weighs for the generator
    category        κ, what the categorisation network's does
    jitter          s, of the attributes while it trains
    optimizers      of the networks; RMSProp(3e-4) for those that are not named
    """

    needs = ("x", "a", "y")
    pixels_of = ()
    says = ("elbo", "nll", "kl", "game", "fooled", "category", "category_made")

    def __init__(self, encoder: Told, generator: Told, discriminator: Told, categoriser: Layer, likelihood: Likelihood,
                 *, sizes: tuple[int, int, int], latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None, game: float = 1.0, category: float = 1.0,
                 jitter: float = 0.0) -> None:
        for name, number in (("game", game), ("category", category), ("jitter", jitter)):
            if not number >= 0.0:
                raise ValueError(f"{name}: got {number}, expected at least 0")
        self.encoder, self.generator, self.discriminator = encoder, generator, discriminator
        self.categoriser, self.likelihood = categoriser, likelihood
        self.features, self.attributes, self.classes = sizes
        self.latents, self.weights, self.jitter = latents, (game, category), jitter
        parts = {name: getattr(self, name).parameters(f"{name}.") for name in NETWORKS}
        parts["generator"] |= likelihood.parameters("likelihood.")
        given: dict[str, Optimizer] = {name: RMSProp(3e-4) for name in NETWORKS} | dict(optimizers or {})
        self.learns(**parts, optimizers=given, device=device, dtype=dtype, uses=3)

    # ── the four players ──────────────────────────────────────────────────────────────────────────

    def _play(self, *, x: Array, a: Array, labels: Array, eps: Array,
              eps_p: Array) -> tuple[tuple[Array, ...], dict[str, Pullback]]:
        """nll, kl, −L_GAN, −log D of made features, −log C of real and of made ones; who hears what, by network

        x (B, X), a (B, A), labels (B,), eps and eps_p (B, Z) -> 6 × (B,), and for each network a pullback of one
        cotangent (B,)
        """
        B, (game, category) = len(x), self.weights
        twice, labels_twice = np.concatenate([a, a]), np.concatenate([labels, labels])
        q, pull_q = self.encoder(x, a=a)
        z, pull_z = reparameterize(*q, eps=eps)
        kl, pull_kl = gaussian_kl(*q)
        made, pull_generator = self.generator(np.concatenate([z, eps_p]), a=twice)
        nll, pull_nll = self.likelihood(made[:B], x=x)
        real, pull_real = self.discriminator(x, a=a)
        judged, pull_judged = self.discriminator(made, a=twice)
        (right, pull_right), (wrong, pull_wrong), (fooled, pull_fooled) = (
            softplus(logit[:, 0]) for logit in (-real, judged, -judged))
        logits, pull_logits = self.categoriser(x)
        logits_made, pull_logits_made = self.categoriser(made)
        known, pull_known = categorical_nll(logits, labels=labels)
        taken, pull_taken = categorical_nll(logits_made, labels=labels_twice)
        rest = np.zeros_like(x)                         # only what is made of z ~ q is to be like something

        def heard_by_categoriser(d: Array) -> None:              # −log C(y|x)
            pull_logits(pull_known(d), need_dx=False)

        def heard_by_discriminator(d: Array) -> None:            # −log D(x) − log(1 − D(x̃)) − log(1 − D(x̃_p))
            pull_real(-pull_right(d)[:, None], need_dx=False)
            pull_judged(pull_wrong(np.concatenate([d, d]))[:, None], need_dx=False)

        def heard_by_generator(d: Array) -> None:                # past two networks that do not hear it
            both = np.concatenate([d, d])
            dgame = pull_judged(-pull_fooled(game * both)[:, None], need_dp=False)
            dcategory = pull_logits_made(pull_taken(category * both), need_dp=False)
            dnll = np.concatenate([pull_nll(d), rest])
            pull_generator(dnll + dgame + dcategory, need_dx=False)

        def heard_by_encoder(d: Array) -> None:
            dz = pull_generator(np.concatenate([pull_nll(d, need_dp=False), rest]), need_dp=False)[:B]
            pull_q(*(one + other for one, other in zip(pull_z(dz), pull_kl(d))), need_dx=False)

        terms = nll, kl, right + wrong[:B] + wrong[B:], fooled[:B] + fooled[B:], known, taken[:B] + taken[B:]
        return terms, {"encoder": heard_by_encoder, "generator": heard_by_generator,
                       "discriminator": heard_by_discriminator, "categoriser": heard_by_categoriser}

    def loss(self, *, of: str, x: Array, a: Array, labels: Array, eps: Array,
             eps_p: Array) -> tuple[Array, Pullback]:
        """What the network of this name goes down        x (B, X), a (B, A), labels (B,), eps, eps_p (B, Z) -> (B,)"""
        (nll, kl, judge, fooled, known, taken), heard = self._play(x=x, a=a, labels=labels, eps=eps, eps_p=eps_p)
        game, category = self.weights
        losses = {"encoder": nll + kl, "generator": nll + game * fooled + category * taken, "discriminator": judge,
                  "categoriser": known}
        return losses[of], heard[of]

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        batch = as_batch(data)
        for key, size in (("x", self.features), ("a", self.attributes)):
            array = batch.arrays[key]
            if array.ndim != 2 or array.shape[1] != size or array.dtype.kind != "f" or not len(array):
                raise ValueError(f"{name}.{key}: got {array.dtype} {array.shape}, expected floats (N, {size})")
        self.likelihood.check(batch.x, f"{name}.x")
        check_labels(batch.y, self.classes, f"{name}.y", of="seen classes")

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of all players; the batch's mean terms."""
        batch = as_batch(batch)
        B, eps = len(batch), rng.standard_normal((2, len(batch), self.latents), dtype=self.dtype)
        a = batch.a + self.jitter * rng.standard_normal(batch.a.shape, dtype=self.dtype)

        def share(model: ZeroVAEGAN, rows: slice) -> tuple[Array, ...]:
            terms, heard = model._play(x=batch.x[rows], a=a[rows], labels=batch.y[rows], eps=eps[0, rows],
                                       eps_p=eps[1, rows])
            weight = np.full_like(terms[0], 1.0 / B)
            for pullback in heard.values():
                pullback(weight)
            nll, kl, *others = (weight @ term for term in terms)
            return -(nll + kl), nll, kl, *others

        return dict(zip(self.says, self.workers.step(share, B)))

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and kl of the bound on log p(x|a)"""
        batch = as_batch(batch)
        q, _ = self.encoder(batch.x, a=batch.a)
        kl, _ = gaussian_kl(*q)
        drawn = []
        for _ in range(samples):
            z, _ = reparameterize(*q, eps=self._noise(rng, len(batch)))
            drawn.append((self.likelihood(self.generator(z, a=batch.a)[0], x=batch.x)[0], kl))
        return self.mean_of(drawn)

    def generate(self, a: Array, rng: Generator) -> Array:
        """x ~ p(x|z, a), z ~ N(0, I): a draw for every row of attributes        (B, A) -> (B, X)"""
        return self.likelihood.sample(self.generator(self._noise(rng, len(a)), a=a)[0], rng)

    def _noise(self, rng: Generator, rows: int) -> Array:
        return rng.standard_normal((rows, self.latents), dtype=self.dtype)


@dataclass(frozen=True)
class ZeroVAEGANConfig:
    """The size of a fully connected Zero-VAE-GAN: all that is needed to build it again."""

    features: int
    """numbers that stand for an image, X"""
    attributes: int
    """numbers that stand for a class, A"""
    classes: int
    """that are seen, C"""
    hidden: tuple[int, ...] = (128,)
    """hidden units of each network"""
    latents: int = 32
    """latent dimensions, Z"""
    activation: str = "leaky_relu"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""
    likelihood: str = "gaussian_shared"
    """p(x|z, a): gaussian_shared or gaussian_fixed"""

    def __post_init__(self) -> None:
        at_least_one(features=self.features, attributes=self.attributes, classes=self.classes, latents=self.latents)
        if self.likelihood not in ("gaussian_shared", "gaussian_fixed"):
            raise ValueError(f"likelihood: got {self.likelihood!r}, expected gaussian_shared or gaussian_fixed")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, game: float = 1.0,
              category: float = 1.0, jitter: float = 0.0) -> ZeroVAEGAN:
        """The untrained model; the same seed gives the same weights on every device.

        optimizers, game, category, jitter   of ZeroVAEGAN
        """
        rng, (X, A, Z) = np.random.default_rng(seed), (self.features, self.attributes, self.latents)

        def network(inputs: int, outputs: int) -> Layer:
            return mlp(inputs, *self.hidden, outputs, rng=rng, activation=self.activation)

        trunk = mlp(X + A, *self.hidden, rng=rng, activation=self.activation, last=True)
        encoder = Encoder(trunk, *(Linear(self.hidden[-1], Z, rng=rng) for _ in range(2)))
        return ZeroVAEGAN(Told(encoder), Told(network(Z + A, X)), Told(network(X + A, 1)), network(X, self.classes),
                          likelihood(self.likelihood), sizes=(X, A, self.classes), latents=Z,
                          device=on or device("cpu"), dtype=dtype, optimizers=optimizers, game=game, category=category,
                          jitter=jitter)
