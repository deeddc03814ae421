"""M2 for sentences, from its sizes; and its classifier alone, which learns from labels and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Device, Generator, at_least_one, device
from minivae.nn import Activation, Embedding, Linear, Optimizer, glorot
from minivae.ops import tanh
from minivae.parts.sentences import PAD, Reader, Reading, Writer
from minivae.variants.semi_supervised import LabelEncoder
from minivae.variants.semi_supervised_sizes import FAINT
from minivae.variants.semi_supervised_text import TextM2

SMALL = 0.1                # of the vectors of words at first: the larger they are, the more of them is learned by heart


@dataclass(frozen=True)
class TextM2Config:
    """The size of a TextM2: all that is needed to build it again.

    At first the classifier is undecided, and the writer says every word as often as the sentences do.
    """

    words: int
    """codes of the vocabulary, V"""
    classes: int = 2
    """C"""
    dimensions: int = 64
    """numbers that stand for a word, D"""
    units: int = 100
    """of each of the three LSTMs, H"""
    latents: int = 16
    """latent dimensions, Z"""
    conditional: bool = True
    """whether every step of the writer hears y; else y and z are where it begins, and no more"""
    class_prior: tuple[float, ...] | None = None
    """p(y); None: all classes alike"""

    def build(self, *, seed: int = 0, on: Device | None = None, dtype: type = np.float32,
              optimizer: Optimizer | None = None, sentences: np.ndarray | None = None, **weights: Any) -> TextM2:
        """The untrained model; the same seed gives the same weights on every device.

        sentences  codes (N, T) to learn from, whose words the writer says as often at first
        weights    labelled_share, label_weight, warm_up, forget: of TextM2
        Raises ValueError for a size below 1.
        """
        at_least_one(words=self.words - 3, classes=self.classes, dimensions=self.dimensions, units=self.units,
                     latents=self.latents)
        rng, C, Z, H = np.random.default_rng(seed), self.classes, self.latents, self.units
        table = words_of(self.words, self.dimensions, rng)
        heads = (Linear(H, Z, rng=rng) for _ in range(2))
        told = LabelEncoder(Linear(H, H, rng=rng), glorot(C, H, rng), Activation(tanh), *heads)
        encoder = Reading(Reader(table, H, rng=rng), told)
        writer = Writer(table, H, Z + C, rng=rng, condition=C if self.conditional else 0)
        if sentences is not None:
            say_as_often(writer, sentences)
        return TextM2(classifier(table, H, C, rng), encoder, writer, sizes=(self.words, C, Z),
                      class_prior=self.class_prior, device=on or device("cpu"), dtype=dtype, optimizer=optimizer,
                      **weights)


def words_of(words: int, dimensions: int, rng: Generator) -> Embedding:
    """A small vector for each word"""
    table = Embedding(words, dimensions, rng=rng)
    table.table.value *= SMALL
    return table


def shares(codes: np.ndarray, kinds: int) -> np.ndarray:
    """p(k) ∝ 1 + how often k is among the codes        whole numbers in 0 … kinds − 1 -> (kinds,)"""
    counts = np.bincount(codes, minlength=kinds) + 1.0
    return counts / counts.sum()


def say_as_often(writer: Writer, sentences: np.ndarray) -> None:
    """Let an untrained writer say every word as often as these sentences do, and one time more        codes (N, T)"""
    bias = writer.say.b.value
    bias[...] = np.log(shares(sentences[sentences != PAD] - 1, len(bias)))


def classifier(table: Embedding, units: int, classes: int, rng: Generator) -> Reading:
    """An LSTM that reads a sentence, and the logits of q(y|x)        codes (B, T) -> (B, C)"""
    head = Linear(units, classes, rng=rng)
    head.W.value *= FAINT
    return Reading(Reader(table, units, rng=rng), head)
