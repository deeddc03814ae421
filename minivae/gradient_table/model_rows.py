"""The rows of whole models: every bound of every kind of VAE, all parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minivae import nn, parts, vae
from minivae.backend import Generator, device
from minivae.evaluation import Classifier
from minivae.gradcheck import Function
from minivae.gradient_table.case import Case, layer_row, row
from minivae.nn import Parameter
from minivae.parts import DiagonalGaussian, StandardNormal
from minivae.variants import ConvVAEConfig, VAEConfig


def model_cases(rng: Generator) -> list[Case]:
    """vae.py: the draw, the encoder, and whole models, every parameter of them"""
    n = rng.standard_normal
    encoder = vae.Encoder(nn.mlp(3, 4, rng=rng, activation="tanh", last=True),
                          nn.Linear(4, 2, rng=rng), nn.Linear(4, 2, rng=rng))
    rows = [
        layer_row(rng, encoder, n((4, 3))),
    ]
    for name, own in zip(parts.LIKELIHOODS, rng.spawn(len(parts.LIKELIHOODS))):   # one more moves no row
        small = VAEConfig(pixels=4, hidden=(3,), latents=2, activation="tanh", likelihood=name)
        for B, L in ((3, 1), (2, 3)):
            rows += bounds_of(own, small.build(dtype=np.float64), note=f"{name}, L={L}", B=B, L=L)
    learned = VAEConfig(pixels=4, hidden=(3,), latents=2, activation="tanh", prior="mixture", components=2)
    for B, L in ((3, 1), (2, 3)):
        rows += bounds_of(rng, learned.build(dtype=np.float64), note=f"its prior learns, L={L}", B=B, L=L)
    images = ConvVAEConfig(height=4, width=8, channels=2, filters=(2, 3), dense=4, latents=2)
    rows += bounds_of(rng, images.build(dtype=np.float64), note="convolutional", B=2, L=2)
    vamp = ConvVAEConfig(height=4, width=8, filters=(2, 3), dense=4, latents=2, prior="vamp", components=3)
    rows += bounds_of(rng, vamp.build(dtype=np.float64), note="convolutional, VampPrior", B=2, L=1,
                      directions=4)
    colour = ConvVAEConfig(4, 2, 3, filters=(2,), dense=4, latents=2, likelihood="logistic_pixel")
    rows += bounds_of(rng.spawn(1)[0], colour.build(dtype=np.float64), note="in colour, with scales", B=2, L=2)
    large = VAEConfig(pixels=64, hidden=(32, 16), latents=4)
    return rows + bounds_of(rng, large.build(dtype=np.float64), note="64-32-16-4 relu, by directions", B=8, L=2,
                            directions=4)


def bounds_of(rng: Generator, model: vae.VAE, *, note: str, B: int, L: int,
              directions: int | None = None) -> list[Case]:
    """A row for each bound of this model, its parameters moved away from where they are born."""
    model.arena.value[...] += 0.3 * rng.standard_normal(model.arena.value.shape)
    if isinstance(model.prior, parts.VampPrior):                     # most pixels are not clipped, and none on a kink
        model.prior.raw.value[...] = rng.uniform(-0.1, 0.9, model.prior.raw.value.shape)
    grey = rng.standard_normal((B, model.pixels))
    x = 1.0 * (grey > 0) if isinstance(model.likelihood, parts.Bernoulli) else grey
    eps = rng.standard_normal((L, B, model.latents))
    everything = {name: p for name, p in model.arena.parameters.items()
                  if not name.endswith(("running_mean", "running_var", "likelihood.shift", "likelihood.scale"))}
    encoder = {name: p for name, p in everything.items() if name.startswith(("encoder", "posterior"))}

    def bound(method: Function, parameters: Mapping[str, Parameter]) -> Case:
        return row(method, note=note, parameters=parameters, directions=directions, x=x, eps=eps)

    to_q = {name: p for name, p in encoder.items() if name.startswith("encoder")}
    rows = [row(model.q, note=note, parameters=to_q, directions=directions, x=x),
            bound(model.elbo_terms, everything), bound(model.monte_carlo_terms, everything),
            bound(model.posterior_samples, encoder),
            row(model.log_joint, eps[0], note=note, directions=directions, x=x)]
    if isinstance(model.posterior, DiagonalGaussian) and isinstance(model.prior, StandardNormal):     # a KL each
        rows.append(bound(model.elbo_terms_by_latent, everything))
    return rows


def classifier_cases(rng: Generator) -> list[Case]:
    """evaluation/classifier.py, on images of odd sides, as 7×7 are on the way down"""
    model = Classifier(device=device("cpu"), side=7, classes=3, filters=(2, 3, 2), features=4, dtype=np.float64)
    model.arena.value[...] += 0.3 * rng.standard_normal(model.arena.value.shape)
    return [row(model.label_nll, parameters=model.arena.parameters, x=rng.random((4, 49)),
                labels=np.array([0, 2, 1, 2]))]
