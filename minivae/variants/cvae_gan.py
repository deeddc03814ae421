"""CVAE-GAN: images of a class that is told, made by a generator that follows centres of features.

    z ~ N(0, I),    x̃ = G(z, c)                         the generative story, given the class c
    q(z|x, c) = N(μ(x, c), diag σ²(x, c))               the encoder's, E
    p(c|x) = softmax(head_C(f_C(x)))                    a classifier C; f_C(x) is what its last layer is given
    D(x) = sigmoid(head_D(f_D(x)))                      a discriminator D, and its f_D(x)

Discriminator and classifier learn by cross-entropies.  The generator hears neither: where D is sure of itself, its
verdict says little about *how* an image is wrong.  It hears how far apart the features lie, on average:

    L_C  = −log p(c|x)                                   L_D = −log D(x) − log(1 − D(x_p))
    L_KL = KL(q(z|x, c) ‖ N(0, I))                       x_p = G(z_p, c),  z_p ~ N(0, I)
    L_G  = ½ (‖x − x_f‖² + ‖f_D(x) − f_D(x_f)‖² + ‖f_C(x) − f_C(x_f)‖²),      x_f = G(z, c),  z ~ q(z|x, c)
    L_GD = ½ ‖E f_D(x) − E f_D(x_p)‖²                    L_GC = ½ Σ_c p(c) ‖E_c f_C(x) − E_c f_C(x_p)‖²

    encoder          λ₁ L_KL + λ₂ L_G
    generator        λ₂ L_G + λ₃ L_GD + λ₄ L_GC
    classifier       L_C, of real images alone
    discriminator    L_D

Asymmetric, the paper calls it.  The expectations are moving averages of both kinds of images (`parts.Centres`): a state
that no loss pulls at, saved and resumed.  (Theirs also hear the batch of the step; ours only those before, so that the
noise of the few images of a class is not squared.  Their L_GC counts every class once; with C classes as frequent as
each other its λ₄ is ours divided by C.  Their λ are 3, 1, 10⁻³, 10⁻³, of faces of 128×128.)

All but the game is M2's, of which every label is known: so its bound on log p(x), its error, its classes on the command
line and in the explorer are M2's, too.  A bound that nobody climbs: what a step reports is L(x, c) with the pixels'
likelihood.

Real images, those told again, and those dreamt go through D and C apart: no layer could mix their statistics.
What it costs: with the sizes of chapter 30 (784-400, 20 latents, 512 features, batches of 64) a step holds 5.5 MB
beside the parameters, and takes four of a VAE's.
Bao, Chen, Wen, Li and Hua 2017, sections 3.1 to 3.4.  Shapes: B images of X pixels, C classes, Z latents, F features.
Nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, at_least_one, device
from minivae.batch import as_batch
from minivae.distributions import categorical_nll, gaussian_kl, reparameterize
from minivae.nn import Data, Layer, Linear, MovingAverage, Optimizer, RMSProp, Sequential, mlp
from minivae.ops import concat, one_hot, softplus
from minivae.parts import Centres, Likelihood, likelihood
from minivae.variants.semi_supervised import M2, LabelEncoder
from minivae.variants.semi_supervised_sizes import M2Config
from minivae.variants.vae_gan import Discriminator, Seeing, picture

PLAYERS = "encoder", "generator", "classifier", "discriminator"
WEIGHTS = 3.0, 1.0, 1.0, 1.0                          # λ₁ to λ₄


class CVAEGAN(M2):
    """Trains on x (B, X) and labels (B,) in 0 … C − 1; the networks of PLAYERS, and "centres".

    classifier    x -> logits of p(c|x), and the features f_C
    encoder       (x, c) -> mean and logvar of q(z|x, c)
    decoder       the generator: (z, c) -> parameters of p(x|c, z)
    weights       λ₁ of the KL, λ₂ of likeness in pairs, λ₃ and λ₄ of the centres of f_D and f_C
    decay         γ of the centres
    optimizers    of the networks; RMSProp(3e-4) for those that are not named
    """

    classifier: Seeing
    needs = ("x", "labels")
    pixels_of = ("x",)
    says = ("elbo", "nll", "kl", "cross_entropy", "game", "pairwise", "centres_d", "centres_c")

    def __init__(self, classifier: Seeing, encoder: LabelEncoder, decoder: Layer, likelihood: Likelihood,
                 discriminator: Discriminator, centres: tuple[Centres, Centres], *, pixels: int, classes: int,
                 latents: int, device: Device, dtype: type = np.float32,
                 optimizers: Mapping[str, Optimizer] | None = None,
                 weights: tuple[float, float, float, float] = WEIGHTS, decay: float = 0.9) -> None:
        if len(weights) != 4 or not all(weight >= 0.0 for weight in weights):
            raise ValueError(f"weights: got {weights}, expected four numbers of at least 0")
        self._parts(classifier, encoder, decoder, likelihood, (pixels, classes, latents), None, (1.0, 1.0), device,
                    dtype)
        self.discriminator, (self.centres_d, self.centres_c), self.weights = discriminator, centres, weights
        given: dict[str, Optimizer] = {name: RMSProp(3e-4) for name in PLAYERS} | {"centres": MovingAverage(decay)}
        self.learns(encoder=encoder.parameters("encoder."), generator=decoder.parameters("generator."),
                    classifier=classifier.parameters("classifier."),
                    discriminator=discriminator.parameters("discriminator."),
                    centres=self.centres_d.parameters("d.") | self.centres_c.parameters("c."),
                    optimizers=given | dict(optimizers or {}), device=device, dtype=dtype, uses=3)

    # ── the players ───────────────────────────────────────────────────────────────────────────────

    def _make(self, z: Array, y: Array) -> tuple[tuple[Array, Array], Pullback]:
        """G(z, c): the decoder's outputs, and the image that others see of them        (B, Z) (B, C) -> (B, X) ×2"""
        code, pull_code = concat(z, y)
        outputs, pull_decoder = self.decoder(code)
        image, pull_picture = picture(outputs, likelihood=self.likelihood)

        def pullback(dimage: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dcode = pull_decoder(pull_picture(dimage), need_dx=need_dx, need_dp=need_dp)
            return pull_code(dcode)[0] if need_dx else None

        return (outputs, image), pullback

    def _pairwise(self, image: Array, *, x: Array, f_d: Array, f_c: Array) -> tuple[Array, Pullback]:
        """L_G, of which the image alone hears        (B, X); x (B, X) and its features (B, F) ×2 -> (B,)"""
        (f_d_again, _), pull_d = self.discriminator(image)
        (f_c_again, _), pull_c = self.classifier.seen(image)
        apart = image - x, f_d_again - f_d, f_c_again - f_c

        def pullback(d: Array) -> Array:
            dimage, df_d, df_c = (each * d[:, None] for each in apart)
            return dimage + pull_d(df_d, None, need_dp=False) + pull_c(df_c, None, need_dp=False)

        return 0.5 * sum((each * each).sum(axis=1) for each in apart), pullback

    def _play(self, *, x: Array, labels: Array, eps: Array, eps_p: Array) -> tuple[tuple[Array, ...],
                                                                                   dict[str, Pullback]]:
        """nll, L_KL, L_C, L_D, L_G, and what x_p has in L_GD and L_GC; who hears what

        x (B, X), labels (B,), eps and eps_p (B, Z) -> 7 × (B,), and by who hears it a pullback of one cotangent (B,)
        """
        kl_weight, pair_weight, d_weight, c_weight = self.weights
        y = one_hot(labels, classes=self.classes, dtype=x.dtype)
        everybody = np.ones_like(y[:, :1])
        q, pull_q = self.encoder(x, y=y)
        z, pull_z = reparameterize(*q, eps=eps)
        kl, pull_kl = gaussian_kl(*q)
        (outputs, again), pull_again = self._make(z, y)
        (_, dreamt), pull_dreamt = self._make(eps_p, y)

        (f_d, a), pull_real = self.discriminator(x)
        (f_c, logits), pull_named = self.classifier.seen(x)
        pairwise, pull_pairwise = self._pairwise(again, x=x, f_d=f_d, f_c=f_c)
        (f_d_dreamt, a_dreamt), pull_judged = self.discriminator(dreamt)
        (f_c_dreamt, _), pull_looked = self.classifier.seen(dreamt)
        surprise, pull_surprise = categorical_nll(logits, labels=labels)
        (right, pull_right), (wrong, pull_wrong) = softplus(-a), softplus(a_dreamt)
        far_d, pull_far_d = self.centres_d(f_d_dreamt, y=everybody)
        far_c, pull_far_c = self.centres_c(f_c_dreamt, y=y)

        # both together, for the pairs are pulled back once for both; past C and D, which do not hear them
        def heard_by_makers(d: Array, encoder: bool = True, generator: bool = True) -> None:
            dz = pull_again(pair_weight * pull_pairwise(d), need_dx=encoder, need_dp=generator)
            if encoder:
                pull_q(*(a + b for a, b in zip(pull_z(dz), pull_kl(kl_weight * d))), need_dx=False)
            if generator:
                pull_dreamt(pull_judged(pull_far_d(d_weight * d), None, need_dp=False)
                            + pull_looked(pull_far_c(c_weight * d), None, need_dp=False), need_dx=False)

        def heard_by_classifier(d: Array) -> None:
            pull_named(None, pull_surprise(d), need_dx=False)

        def heard_by_discriminator(d: Array) -> None:
            pull_real(None, -pull_right(d), need_dx=False)
            pull_judged(None, pull_wrong(d), need_dx=False)

        def tell_the_centres(d: Array) -> None:         # no loss: where the features of this batch lie
            self.centres_d.tally(f_d, f_d_dreamt, y=everybody, weight=d)
            self.centres_c.tally(f_c, f_c_dreamt, y=y, weight=d)

        nll, _ = self.likelihood(outputs, x=x)
        return (nll, kl, surprise, right + wrong, pairwise, far_d, far_c), {
            "encoder and generator": heard_by_makers, "classifier": heard_by_classifier,
            "discriminator": heard_by_discriminator, "centres": tell_the_centres}

    def loss(self, *, of: str, x: Array, labels: Array, eps: Array, eps_p: Array) -> tuple[Array, Pullback]:
        """What the player of this name goes down        x (B, X), labels (B,), eps and eps_p (B, Z) -> (B,)"""
        (_, kl, surprise, game, pairwise, far_d, far_c), heard = self._play(x=x, labels=labels, eps=eps, eps_p=eps_p)
        of_kl, of_pairs, of_d, of_c = self.weights
        losses = {"encoder": of_kl * kl + of_pairs * pairwise, "classifier": surprise, "discriminator": game,
                  "generator": of_pairs * pairwise + of_d * far_d + of_c * far_c}
        makers = heard["encoder and generator"]
        alone = {"encoder": partial(makers, generator=False), "generator": partial(makers, encoder=False)}
        return losses[of], (heard | alone)[of]

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step of all players and of the centres; the batch's mean terms."""
        batch = as_batch(batch)
        B, eps = len(batch), self._noise(rng, 2, len(batch))

        def share(model: CVAEGAN, rows: slice) -> tuple[Array, ...]:
            terms, heard = model._play(x=batch.x[rows], labels=batch.labels[rows], eps=eps[0, rows], eps_p=eps[1, rows])
            weight = np.full_like(terms[0], 1.0 / B)
            for pullback in heard.values():
                pullback(weight)
            nll, kl, *others = (weight @ term for term in terms)
            kl = kl - weight @ model.log_prior(weight)[batch.labels[rows]]
            return -(nll + kl), nll, kl, *others

        return dict(zip(self.says, self.workers.step(share, B)))


@dataclass(frozen=True)
class CVAEGANConfig:
    """The size of a fully connected CVAE-GAN: all that is needed to build it again."""

    m2: M2Config
    """of encoder, generator and classifier; its likelihood is bernoulli or gaussian_fixed, its classes all alike"""
    features: int = 512
    """of the discriminator, F; before them is a layer of the encoder's first size.  f_C are the classifier's hidden
    units"""

    def __post_init__(self) -> None:
        at_least_one(features=self.features)
        if self.m2.likelihood not in ("bernoulli", "gaussian_fixed"):
            raise ValueError(f"likelihood: got {self.m2.likelihood!r}, expected bernoulli or gaussian_fixed in a "
                             "CVAE-GAN")
        if self.m2.class_prior is not None:
            raise ValueError(f"class_prior: got {self.m2.class_prior}, expected None in a CVAE-GAN, which is told the "
                             "class")

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, images: np.ndarray | None = None,
              **options: Any) -> CVAEGAN:
        """The untrained model; the same seed gives the same weights on every device, and encoder, generator and
        classifier those of the M2.

        images    the training images (N, X): what is generated starts at their average
        options   weights, decay: of CVAEGAN
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        rng, sizes = np.random.default_rng(seed), self.m2
        classifier, encoder, decoder = sizes.parts(rng, images)
        *trunk, head = classifier.layers
        watch = mlp(sizes.pixels, sizes.hidden[0], self.features, rng=rng, activation="leaky_relu", last=True)
        centres = Centres(1, self.features), Centres(sizes.classes, sizes.hidden[-1])
        return CVAEGAN(Seeing(Sequential(*trunk), head), encoder, decoder, likelihood(sizes.likelihood),
                       Discriminator(watch, Linear(self.features, 1, rng=rng)), centres, pixels=sizes.pixels,
                       classes=sizes.classes, latents=sizes.latents, device=on or device("cpu"), dtype=dtype,
                       optimizers=optimizers, **options)
