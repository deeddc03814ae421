"""The rows of posteriors that are more than a diagonal Gaussian, their densities, and the models that have them."""

from __future__ import annotations

import numpy as np

from minivae import parts
from minivae.backend import Array, Generator, Pullback
from minivae.distributions import flows
from minivae.distributions import full_gaussian as F
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.nn import Linear, Parameter, mlp
from minivae.parts import POSTERIORS
from minivae.vae import Encoder
from minivae.variants import VAEConfig


def full_gaussian_cases(rng: Generator) -> list[Case]:
    """distributions/full_gaussian.py"""
    n = rng.standard_normal

    def factor(B: int, Z: int) -> Array:
        """A triangle with a positive diagonal; what lies above it must not count."""
        L = n((B, Z, Z))
        return np.tril(L, -1) + np.eye(Z) * (0.5 + np.abs(L))

    return [
        row(F.triangle, n((3, 6)), latents=3),
        row(F.triangle, n((1, 1)), latents=1, note="one latent"),
        row(F.reparameterize_full, n((4, 3)), n((4, 3, 3)), eps=n((4, 3))),
        row(F.reparameterize_full, n((1, 2)), factor(1, 2), eps=n((1, 2)), note="one row"),
        *(row(op, factor(4, 3)) for op in (F.logdet, F.full_gaussian_entropy)),
        *(row(op, factor(1, 1), note="one latent") for op in (F.logdet, F.full_gaussian_entropy)),
        row(F.full_gaussian_log_prob, n((4, 3)), n((4, 3)), factor(4, 3)),
        row(F.full_gaussian_log_prob, 3.0 * n((1, 2)), n((1, 2)), factor(1, 2), note="one row, far"),
        row(F.full_gaussian_kl, n((4, 3)), factor(4, 3)),
        row(F.full_gaussian_kl, 3.0 * n((1, 2)), factor(1, 2), note="one row, large"),
    ]


def flow_cases(rng: Generator) -> list[Case]:
    """distributions/flows.py"""
    n = rng.standard_normal
    return [
        row(flows.affine, *n((3, 4, 3))),
        row(flows.affine, *(2.0 * n((3, 1, 2))), note="one row, large"),
        row(flows.couple, *n((3, 4, 3))),
        row(flows.couple, *(3.0 * n((3, 1, 2))), note="one row, large"),
        row(flows.planar, *n((3, 4, 3)), n((4, 1))),
        row(flows.planar, *(2.0 * n((3, 1, 2))), n((1, 1)), note="one row, large"),
        row(flows.planar, *n((3, 4, 3)), n((4, 1)), offset=flows.STILL, note="still where u is 0"),
        row(flows.chain, *n((5, 4, 3)), n((4, 1)), *n((2, 4, 3)),
            maps=((flows.affine, 2), (flows.planar, 3), (flows.couple, 2))),
        row(flows.chain, *n((3, 1, 2)), maps=((flows.couple, 2),), note="one row, one map"),
    ]


def flow_posterior_cases(rng: Generator) -> list[Case]:
    """parts/flow_posteriors.py"""
    n = rng.standard_normal
    planar = parts.PlanarFlow(3, steps=2)
    coupling = parts.CouplingFlow(3, steps=2, context=2, hidden=4, rng=rng)
    step = parts.Coupling(3, 2, 4, rng=rng)
    return [
        layer_row(rng, planar, n((4, planar.outputs)), eps=n((4, 3))),
        layer_row(rng, step, n((4, 3)), n((4, 2))),
        layer_row(rng, coupling, n((4, coupling.outputs)), eps=n((4, 3))),
    ]


def smallest() -> parts.Posterior:
    """A posterior with nothing of its own but the draw and its determinant: z = w ε, and some logdet of w."""
    class Smallest(parts.Posterior):
        latents = outputs = 3

        def __call__(self, w: Array, *, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
            return (w * eps, w.sum(axis=1)), lambda dz, dlogdet: (dz * eps + dlogdet[:, None],)

    return Smallest()


def posterior_cases(rng: Generator) -> list[Case]:
    """parts/posteriors.py"""
    n = rng.standard_normal
    diagonal = parts.DiagonalGaussian(3)
    rows = [row(diagonal, n((4, 3)), n((4, 3)), eps=n((4, 3))), row(diagonal.kl, n((4, 3)), n((4, 3))),
            row(diagonal.draw, n((4, 3)), n((4, 3)), eps=n((4, 3))),
            row(diagonal.draws, n((2, 3)), n((2, 3)), eps=n((4, 2, 3))),
            row(diagonal.draws, n((1, 3)), n((1, 3)), eps=n((1, 1, 3)), note="one row once")]
    rows.append(row(smallest().draw, n((4, 3)), eps=n((4, 3)), note="inherited"))
    for kind in (parts.FullCovariance,):
        q = kind(3)
        rows += [layer_row(rng, q, n((4, q.outputs)), eps=n((4, 3))), row(q.kl, n((4, q.outputs))),
                 row(q.draw, n((4, q.outputs)), eps=n((4, 3))),
                 row(q.draws, n((2, q.outputs)), eps=n((4, 2, 3)), note="full")]
    for layers in (None, (2, 1, 3)):
        blocks, note = parts.RankOne(6, layers), f"{layers or 'one block'}"
        rows += [layer_row(rng, blocks, n((4, 18)), eps=n((4, 6)), note=note), row(blocks.kl, n((4, 18)), note=note)]
    return rows


def prior_cases(rng: Generator) -> list[Case]:
    """parts/priors.py"""
    n, normal, mixture = rng.standard_normal, parts.StandardNormal(3), parts.GaussianMixture(3, 4, rng=rng)
    vamp, everything = vamp_prior(rng, K=4)
    one, alone = vamp_prior(rng, K=1)
    return [row(normal.log_prob, n((4, 3))),
            row(mixture.log_prob, n((4, 3)), parameters=mixture.parameters()),
            row(mixture.log_prob, 3.0 * n((1, 3)), parameters=mixture.parameters(), note="one row, far"),
            row(vamp.log_prob, n((4, 3)), parameters=everything),
            row(vamp.components, parameters=everything),
            row(one.log_prob, 3.0 * n((1, 3)), parameters=alone, note="one row, far, one pseudo-input"),
            row(one.components, parameters=alone, note="one pseudo-input")]


def vamp_prior(rng: Generator, K: int) -> tuple[parts.VampPrior, dict[str, Parameter]]:
    """A small VampPrior with a pixel that was clipped, and its parameters with those of the encoder."""
    encoder = Encoder(mlp(5, 4, rng=rng, activation="tanh", last=True), Linear(4, 3, rng=rng), Linear(4, 3, rng=rng))
    for p in encoder.parameters().values():
        p.value[...] = rng.standard_normal(p.value.shape)
    raw = rng.uniform(0.1, 0.9, (K, 5))
    raw[0, :2] = -0.2, 1.1
    prior = parts.VampPrior(encoder, 3, raw)
    return prior, prior.parameters("prior.") | encoder.parameters("encoder.")


def mixture_given_cases(rng: Generator) -> list[Case]:
    """parts/mixture_given.py"""
    n = rng.standard_normal
    network = Encoder(mlp(2, 3, rng=rng, activation="tanh", last=True), *(Linear(3, 4, rng=rng) for _ in range(2)))
    components = parts.Components(network, 2, 2)
    prior = parts.MixtureGiven(components, (2, 2))
    return [layer_row(rng, components, n((4, 2))), row(prior.log_prob, n((4, 4)), parameters=prior.parameters())]


def posterior_model_cases(rng: Generator) -> list[Case]:
    """variants/mlp_vae.py: a VAE with each posterior, and with a prior that learns"""
    rows = []
    for q, p in (*((name, "standard") for name in POSTERIORS if name != "diagonal"), ("diagonal", "mixture"),
                 ("full", "mixture"), ("diagonal", "vamp")):
        for B, L in ((3, 1), (2, 3)):
            config = VAEConfig(pixels=4, hidden=(3,), latents=2, activation="tanh", posterior=q, prior=p, components=3)
            rows += bounds_of(rng, config.build(dtype=np.float64), note=f"{q}, {p} prior, L={L}", B=B, L=L,
                              directions=4 if q == "coupling" else None)             # its networks are large
    return rows
