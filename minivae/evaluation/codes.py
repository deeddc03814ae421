"""What a VQ-VAE makes of its codebooks: words in use, and what a picture of numbers costs, in bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minivae.backend import Generator, to_numpy
from minivae.batch import Batch, as_batch
from minivae.evaluation.bounds import Estimate, over_parts
from minivae.nn import Data
from minivae.parts import perplexity
from minivae.variants import VQVAE


@dataclass(frozen=True)
class LevelUse:
    """One level's words, over all numbers of all examples."""

    shape: tuple[int, int]             # of its pictures
    words: int                         # K
    counts: np.ndarray                 # (K,) how often each was chosen

    @property
    def perplexity(self) -> float:
        """As many words would be in use if all were chosen alike: at most K, and at most how often one was chosen"""
        return float(perplexity(self.counts))

    @property
    def used(self) -> int:
        """How many words were chosen at all"""
        return int((self.counts > 0).sum())

    @property
    def bits_uniform(self) -> float:
        """A picture of them, each number by itself and all alike"""
        return self.shape[0] * self.shape[1] * math.log2(self.words)

    @property
    def bits_unigram(self) -> float:
        """A picture of them, each number by itself and as frequent as it is here (a code made for these examples)"""
        return self.shape[0] * self.shape[1] * math.log2(self.perplexity)

    def __str__(self) -> str:
        return (f"{self.shape[0]}×{self.shape[1]} numbers: {self.used} of {self.words} words in use, perplexity "
                f"{self.perplexity:.1f}; {self.bits_uniform:,.0f} bits, {self.bits_unigram:,.0f} by their frequency")


@dataclass(frozen=True)
class CodeUse:
    """All levels, the finest first, and what the priors make of their numbers."""

    levels: tuple[LevelUse, ...]
    bits: Estimate                     # −log₂ p(c), of an example; with classes −log₂ p(c, y)
    examples: int

    @property
    def bits_unigram(self) -> float:
        return sum(level.bits_unigram for level in self.levels)

    def __str__(self) -> str:
        lines = "\n".join(map(str, self.levels))
        return (f"{lines}\n{self.examples:,} examples: {self.bits} bits under the prior, {self.bits_unigram:,.0f} by "
                "their frequency")


def code_use(model: VQVAE, data: Data) -> CodeUse:
    """Over all examples: of a small batch a perplexity says little."""
    def work(part: Batch, rng: Generator) -> tuple[list[np.ndarray], np.ndarray]:
        codes, labels = model.codes(part.x), part.labels if model.classes else None
        return [to_numpy(numbers) for numbers in codes], to_numpy(model.cost(codes, labels))

    parts = over_parts(model, data, work)
    pictures = [np.concatenate(level) for level in zip(*(codes for codes, _ in parts))]
    bits = np.concatenate([cost for _, cost in parts]) / math.log(2.0)
    words = [len(level.codebook.counts.value) for level in model.levels.layers]
    levels = tuple(LevelUse(numbers.shape[1:], K, np.bincount(numbers.ravel(), minlength=K))
                   for numbers, K in zip(pictures, words))
    return CodeUse(levels, Estimate.of(bits), len(as_batch(data)))
