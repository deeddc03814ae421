"""The rows of the models of the literature that are no VAE with other parts."""

from __future__ import annotations

import numpy as np

from minivae.backend import Generator
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.nn import mlp
from minivae.variants import CVAEConfig, GMVAEConfig
from minivae.variants.gmvae import OfZ


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


def gmvae_cases(rng: Generator) -> list[Case]:
    """variants/gmvae.py: its layers, and every bound, all parameters of it"""
    n = rng.standard_normal
    rows = [layer_row(rng, OfZ(mlp(2, 3, 2, rng=rng, activation="tanh"), 2), n((4, 3)))]
    for K, likelihood, B, L, directions in ((3, "gaussian_shared", 2, 3, 4), (2, "bernoulli", 3, 1, None)):
        config = GMVAEConfig(pixels=3, hidden=(2,), latents=2, activation="tanh", likelihood=likelihood, components=K,
                             w_latents=1)
        model, note = config.build(dtype=np.float64), f"K={K}, {likelihood}, L={L}"
        rows += bounds_of(rng, model, note=note, B=B, L=L, directions=directions)
        x, eps, everything = 1.0 * (n((B, 3)) > 0), n((L, B, 3)), dict(model.arena.parameters)
        without_c = {name: p for name, p in everything.items() if not name.startswith("prior")}
        biases = {name: p for name, p in everything.items() if name.endswith(".b")}
        rows += [row(model.four_terms, parameters=biases, x=x, eps=eps, note=f"{note}, biases alone"),
                 row(model.four_terms, note=note, parameters=everything, directions=directions, x=x, eps=eps),
                 row(model.start_terms, note=note, parameters=without_c, directions=directions, x=x, eps=eps)]
    return rows
