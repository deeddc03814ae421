"""The rows of the models of the literature that are no VAE with other parts."""

from __future__ import annotations

import numpy as np

from minivae.backend import Generator
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.nn import Linear, mlp
from minivae.vae import Encoder
from minivae.variants import CVAEConfig, GMVAEConfig
from minivae.variants.gmvae import Components, MixturePrior, OfZ


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
    network = Encoder(mlp(2, 3, rng=rng, activation="tanh", last=True), *(Linear(3, 4, rng=rng) for _ in range(2)))
    given_w = Components(network, 2, 2)
    prior = MixturePrior(given_w, (2, 2))
    rows = [layer_row(rng, given_w, n((4, 2))),
            row(prior.log_prob, n((4, 4)), parameters=prior.parameters()),
            layer_row(rng, OfZ(mlp(2, 3, 2, rng=rng, activation="tanh"), 2), n((4, 3)))]
    for K, likelihood, B, L, directions in ((3, "gaussian_shared", 2, 3, 4), (2, "bernoulli", 3, 1, None)):
        config = GMVAEConfig(pixels=3, hidden=(2,), latents=2, activation="tanh", likelihood=likelihood, components=K,
                             w_latents=1)
        model, note = config.build(dtype=np.float64), f"K={K}, {likelihood}, L={L}"
        rows += bounds_of(rng, model, note=note, B=B, L=L, directions=directions)
        x, eps, how = 1.0 * (n((B, 3)) > 0), n((L, B, 3)), {"note": note, "directions": directions}
        everything = dict(model.arena.parameters)
        biases = {name: p for name, p in everything.items() if name.endswith(".b")}
        rows += [row(model.four_terms, parameters=biases, x=x, eps=eps, note=f"{note}, biases alone"),
                 row(model.four_terms, parameters=everything, x=x, eps=eps, **how),
                 row(model.start_terms, x=x, eps=eps, **how, parameters={
                     name: p for name, p in everything.items() if not name.startswith("prior")})]
    return rows
