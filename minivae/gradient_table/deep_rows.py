"""The rows of rank-one covariances and of deep latent Gaussian models."""

from __future__ import annotations

import numpy as np

from minivae import nn
from minivae.backend import Generator
from minivae.distributions import rank_one as R
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.variants import DeepDecoder, DeepLatentConfig, Noise


def rank_one_cases(rng: Generator) -> list[Case]:
    """distributions/rank_one.py"""
    n = rng.standard_normal
    return [
        row(R.reparameterize_rank_one, n((4, 3)), n((4, 3)), n((4, 3)), eps=n((4, 3))),
        row(R.reparameterize_rank_one, n((1, 2)), n((1, 2)), 3.0 * n((1, 2)), eps=n((1, 2)), note="one row, large u"),
        row(R.reparameterize_rank_one, n((3, 1)), n((3, 1)), n((3, 1)), eps=n((3, 1)), note="one latent"),
        row(R.rank_one_logdet, n((4, 3)), n((4, 3))),
        row(R.rank_one_logdet, n((1, 1)), n((1, 1)), note="one latent"),
        row(R.rank_one_kl, n((4, 3)), n((4, 3)), n((4, 3))),
        row(R.rank_one_kl, n((1, 1)), n((1, 1)), n((1, 1)), note="one latent"),
        row(R.rank_one_kl, 3.0 * n((1, 2)), n((1, 2)), 3.0 * n((1, 2)), note="one row, large"),
    ]


def deep_latent_cases(rng: Generator) -> list[Case]:
    """variants/deep_latent.py"""
    n = rng.standard_normal

    def network(inputs: int, outputs: int) -> nn.Layer:
        return nn.mlp(inputs, 3, outputs, rng=rng, activation="tanh")

    rows = [
        layer_row(rng, Noise(3, rng=rng), n((4, 3))),
        layer_row(rng, DeepDecoder([], network(2, 4), sizes=(2,), rng=rng), n((3, 2)), note="one layer"),
        layer_row(rng, DeepDecoder([network(2, 2), network(2, 3)], network(3, 4), sizes=(2, 2, 3), rng=rng), n((3, 7)),
                  note="three layers"),
    ]
    for name in ("diagonal", "rank_one"):
        for B, L in ((3, 1), (2, 3)):
            config = DeepLatentConfig(pixels=4, hidden=(3,), stochastic=(1, 2), posterior=name)
            rows += bounds_of(rng, config.build(dtype=np.float64), note=f"deep, {name}, L={L}", B=B, L=L)
    return rows
