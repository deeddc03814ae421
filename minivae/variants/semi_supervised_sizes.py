"""M2 and M1+M2, fully connected, from their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Device, Generator, at_least_one, device
from minivae.nn import Activation, Layer, Linear, Optimizer, Sequential, glorot, he, mlp
from minivae.parts import DiagonalGaussian, likelihood
from minivae.variants.mlp_vae import VAEConfig, start_at
from minivae.variants.semi_supervised import M2, LabelEncoder
from minivae.variants.stacked_semi_supervised import M1M2

FAINT, LOUD = 1e-2, 3.0    # of first weights, beside others: those of the logits of q(y|x), those of y in the decoder


@dataclass(frozen=True)
class M2Config:
    """The size of a fully connected M2: all that is needed to build it again.

    At first the classifier is undecided: else U would teach the decoder its accidents.  And y speaks louder than z:
    else z, which can say anything, takes over what y could explain, and U has little left to tell the classifier.
    """

    pixels: int
    """pixels per image, X"""
    classes: int = 10
    """C"""
    hidden: tuple[int, ...] = (500,)
    """hidden units of classifier and encoder; the decoder mirrors them"""
    latents: int = 50
    """latent dimensions, Z"""
    activation: str = "relu"
    """between layers: relu, leaky_relu, elu, gelu, tanh, sigmoid or softplus"""
    likelihood: str = "bernoulli"
    """p(x|y, z): as of VAEConfig, without gaussian_optimal, which takes all rows for equally likely"""
    class_prior: tuple[float, ...] | None = None
    """p(y); None: all classes alike"""

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, images: np.ndarray | None = None, **weights: Any) -> M2:
        """The untrained model; the same seed gives the same weights on every device.

        images    training images (N, X): at first every z decodes to nearly their average, as VAEConfig.build
        weights   labelled_share, label_weight: of M2
        Raises ValueError for a size below 1, an unknown name, or images of the wrong shape.
        """
        rng = np.random.default_rng(seed)
        parts = self.parts(rng, images)
        return M2(*parts, likelihood(self.likelihood), pixels=self.pixels, classes=self.classes, latents=self.latents,
                  device=on or device("cpu"), dtype=dtype, optimizer=optimizer, class_prior=self.class_prior, **weights)

    def parts(self, rng: Generator, images: np.ndarray | None = None) -> tuple[Sequential, LabelEncoder, Sequential]:
        """Classifier, encoder, decoder."""
        at_least_one(pixels=self.pixels, classes=self.classes, latents=self.latents)
        if self.likelihood == "gaussian_optimal":
            raise ValueError("likelihood: got 'gaussian_optimal', whose σ² takes all classes of an image for equally "
                             "likely; expected another, such as gaussian_shared")
        p_x = likelihood(self.likelihood)
        classifier = mlp(self.pixels, *self.hidden, self.classes, rng=rng, activation=self.activation)
        decoder = mlp(self.latents + self.classes, *self.hidden[::-1], self.pixels * p_x.outputs_per_pixel, rng=rng,
                      activation=self.activation)
        _weights(classifier.layers[-1])[...] *= FAINT
        _weights(decoder.layers[0])[self.latents:] *= LOUD
        if images is not None:
            outputs, spread = start_at(images, p_x, self.pixels)
            last = decoder.layers[-1].parameters()
            last["W"].value *= spread
            last["b"].value[...] = outputs
        return classifier, self._encoder(rng), decoder

    def _encoder(self, rng: Generator) -> LabelEncoder:
        init = glorot if self.activation in ("tanh", "sigmoid") else he
        sizes, heads = self.hidden, (Linear(self.hidden[-1], self.latents, rng=rng) for _ in range(2))
        more = mlp(*sizes, rng=rng, activation=self.activation, last=True).layers if len(sizes) > 1 else ()
        trunk = Sequential(Activation(getattr(ops, self.activation)), *more)
        image, V = Linear(self.pixels, sizes[0], rng=rng, init=init), FAINT * init(self.classes, sizes[0], rng)
        return LabelEncoder(image, V, trunk, *heads)


@dataclass(frozen=True)
class M1M2Config:
    """The size of a fully connected M1+M2: `hidden` is that of all networks, M1's and M2's."""

    pixels: int
    """pixels per image, X"""
    classes: int = 10
    """C"""
    hidden: tuple[int, ...] = (500,)
    """hidden units of M1's and M2's encoders and of the classifier; the decoders mirror them"""
    latents: int = 50
    """latent dimensions of M2, Z"""
    m1_latents: int = 50
    """latent dimensions of M1, Z₁: what M2 explains"""
    activation: str = "relu"
    """between layers: as of M2Config"""
    likelihood: str = "bernoulli"
    """p(x|z₁): as of VAEConfig"""
    class_prior: tuple[float, ...] | None = None
    """p(y); None: all classes alike"""

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizers: Mapping[str, Optimizer] | None = None, images: np.ndarray | None = None,
              m1_steps: int = 0, **weights: Any) -> M1M2:
        """The untrained model, as M2Config.build; m1_steps and optimizers ("m1", "m2") as of M1M2."""
        rng, p_x = np.random.default_rng(seed), likelihood(self.likelihood)
        m1 = VAEConfig(self.pixels, self.hidden, self.m1_latents, self.activation, self.likelihood)
        m1_encoder, m1_decoder = m1.encoder(DiagonalGaussian(self.m1_latents), rng), m1.decoder(p_x, rng, images)
        m2 = M2Config(self.m1_latents, self.classes, self.hidden, self.latents, self.activation, "gaussian_pixel")
        classifier, encoder, decoder = m2.parts(rng)
        _weights(decoder.layers[-1])[...] *= FAINT     # p(z₁|y, z) begins near N(0, I), the prior that M1 learned with
        return M1M2(m1_encoder, m1_decoder, p_x, classifier, encoder, decoder, likelihood(m2.likelihood),
                    pixels=self.pixels, m1_latents=self.m1_latents, classes=self.classes, latents=self.latents,
                    device=on or device("cpu"), dtype=dtype, optimizers=optimizers, class_prior=self.class_prior,
                    m1_steps=m1_steps, **weights)


def _weights(layer: Layer) -> np.ndarray:
    return layer.parameters()["W"].value
