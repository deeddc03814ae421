"""Steps of systems of several networks: rows h, i and j, as their users take them; and of an LSTM, row k.

A VAE/GAN; the autoencoder of a VQ-VAE-2, its words and what restarts them; its priors.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from minivae.backend import Array, device
from minivae.batch import Batch
from minivae.bench.rows import GivenNoise, Row, Work, batches
from minivae.evaluation import SentenceClassifier
from minivae.variants import VAEConfig, VAEGANConfig, VQVAEConfig

KINDS = ("vae_gan", "vq_vae", "pixel_cnn", "lstm")
WORDS, STEPS, CLASSES = 3000, 30, 2    # of the sentences of row k


def build_system(row: Row) -> Any:
    """The model of a row, the same for all; a VQ-VAE's after its first step, which takes its words from the data."""
    if row.kind == "lstm":
        return SentenceClassifier(WORDS, CLASSES, device=device("cpu"), dimensions=row.latents, units=row.hidden[0])
    if row.kind == "vae_gan":
        return VAEGANConfig(VAEConfig(784, row.hidden, row.latents)).build()
    model = VQVAEConfig().build(first_steps=2**62)
    model.train_step(batches(row)[0], np.random.default_rng(0))
    if row.kind == "pixel_cnn":
        model.first_steps = 0
    return model


def seen(row: Row) -> list[Any]:
    """The batches of a row: images; or sentences, whose words are as frequent as those of a language."""
    if row.kind != "lstm":
        return batches(row)
    rng, often = np.random.default_rng(0), 1.0 / np.arange(1, WORDS - 2)
    x = 3 + rng.choice(WORDS - 3, (20, row.batch, STEPS), p=often / often.sum())
    return [Batch(x=part, y=part.sum(axis=1) % CLASSES) for part in x]


def minivae(row: Row, threads: int) -> Work:
    """The library's work for such a row."""
    model, rng, order = build_system(row), np.random.default_rng(0), cycle(seen(row))
    model.workers.hire(threads)

    def gradients(x: Array, eps: Array) -> dict[str, Array]:
        fresh = build_system(row)
        fresh.workers.hire(threads)
        fresh.train_step(seen(row)[0] if row.kind == "lstm" else x, GivenNoise(eps))
        return {name: np.array(p.grad) for name, p in moving(fresh, row).items()}

    return Work(lambda: model.train_step(next(order), rng), gradients)


def moving(model: Any, row: Row) -> dict[str, Any]:
    """The parameters that a step of this row moves, by name; the game of a VAE/GAN is a note, not a weight."""
    names = {"vae_gan": ("encoder", "decoder", "discriminator"), "vq_vae": ("vae", "codebooks"),
             "pixel_cnn": ("prior_0", "prior_1"), "lstm": ("classifier",)}[row.kind]
    return {key: p for name in names for key, p in model.networks[name].arena.parameters.items() if key != "game"}
