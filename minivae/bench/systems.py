"""Steps of systems of several networks: rows h, i and j, as their users take them.

A VAE/GAN; the autoencoder of a VQ-VAE-2, its words and what restarts them; its priors.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.bench.rows import GivenNoise, Row, Work, batches
from minivae.variants import VAEConfig, VAEGANConfig, VQVAEConfig

KINDS = ("vae_gan", "vq_vae", "pixel_cnn")


def build_system(row: Row) -> Any:
    """The model of a row, the same for all; a VQ-VAE's after its first step, which takes its words from the data."""
    if row.kind == "vae_gan":
        return VAEGANConfig(VAEConfig(784, row.hidden, row.latents)).build()
    model = VQVAEConfig().build(first_steps=2**62)
    model.train_step(batches(row)[0], np.random.default_rng(0))
    if row.kind == "pixel_cnn":
        model.first_steps = 0
    return model


def minivae(row: Row, threads: int) -> Work:
    """The library's work for such a row."""
    model, rng, order = build_system(row), np.random.default_rng(0), cycle(batches(row))
    model.workers.hire(threads)

    def gradients(x: Array, eps: Array) -> dict[str, Array]:
        fresh = build_system(row)
        fresh.workers.hire(threads)
        fresh.train_step(x, GivenNoise(eps))
        return {name: np.array(p.grad) for name, p in moving(fresh, row).items()}

    return Work(lambda: model.train_step(next(order), rng), gradients)


def moving(model: Any, row: Row) -> dict[str, Any]:
    """The parameters that a step of this row moves, by name; the game of a VAE/GAN is a note, not a weight."""
    names = {"vae_gan": ("encoder", "decoder", "discriminator"), "vq_vae": ("vae", "codebooks"),
             "pixel_cnn": ("prior_0", "prior_1")}[row.kind]
    return {key: p for name in names for key, p in model.networks[name].arena.parameters.items() if key != "game"}
