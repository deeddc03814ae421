"""The rows of the models of the literature that are no VAE with other parts."""

from __future__ import annotations

from minivae.backend import Generator
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.nn import mlp
from minivae.variants import CVAEConfig, TwoStageConfig, VAEConfig
from minivae.variants.two_stage import Skip


def cvae_cases(rng: Generator) -> list[Case]:
    """variants/cvae.py: each bound, and all parameters that it may move (the guess is a constant to the CVAE's)"""
    n, rows = rng.standard_normal, []
    for likelihood, y in (("bernoulli", 1.0 * (n((3, 2)) > 0)), ("gaussian_shared", n((3, 2)))):
        config = CVAEConfig(4, 2, hidden=(3,), latents=2, activation="tanh", likelihood=likelihood)
        model, x, eps = config.build(dtype=float), n((3, 4)), n((3, 2))
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        everything = model.networks["cvae"].arena.parameters
        without_y = {name: p for name, p in everything.items() if not name.startswith("recognition")}
        rows += [
            row(model.baseline_nll, note=likelihood, parameters=model.networks["baseline"].arena.parameters, x=x, y=y),
            row(model.elbo_terms, note=likelihood, parameters=everything, x=x, y=y, eps=eps),
            row(model.prior_nll, note=likelihood, parameters=without_y, x=x, y=y, eps=eps),
        ]
    return rows


def two_stage_cases(rng: Generator) -> list[Case]:
    """variants/two_stage.py: its layer, and the second VAE, which is one of codes (the first is a VAE of images)"""
    config = TwoStageConfig(VAEConfig(4, (3,), 2, "tanh", "gaussian_shared"), (3,))
    second = config.build(dtype=float).second
    return [layer_row(rng, Skip(mlp(3, 2, rng=rng)), rng.standard_normal((4, 3))),
            *bounds_of(rng, second, note="second stage", B=3, L=2)]
