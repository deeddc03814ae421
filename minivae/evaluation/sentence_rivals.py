"""Rivals of a semi-supervised model of sentences: what labels alone can do, and what text alone.

    SentenceClassifier       an LSTM of the same size, of labelled sentences
    naive_bayes              how often each class uses each word
    bag_of_words             which words a sentence has, for `logistic_regression`
    LanguageModel            p(x) word after word, of the size of the writer, without a latent
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, to_numpy
from minivae.batch import Batch, as_batch, check_labels
from minivae.distributions import categorical_nll
from minivae.evaluation.exact import ExactModel
from minivae.nn import Data, Optimizer
from minivae.parts.sentences import PAD, Writer, codes_in, in_parts, shortened, told_before
from minivae.variants.text_sizes import classifier, say_as_often, words_of

AT_ONCE = 100              # sentences, where all are only looked at


class SentenceClassifier(ExactModel):
    """p(y|x): the vectors of words, an LSTM that reads, a softmax.  Trains on x (B, T), codes, and y (B,)."""

    needs = ("x", "y")
    pixels_of = ()

    def __init__(self, words: int, classes: int, *, device: Device, dimensions: int = 64, units: int = 100,
                 seed: int = 0, dtype: type = np.float32, optimizer: Optimizer | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.words, self.classes = words, classes
        self.network_of = classifier(words_of(words, dimensions, rng), units, classes, rng)
        self.learns(classifier=self.parameters(), optimizers={"classifier": optimizer} if optimizer else None,
                    device=device, dtype=dtype)

    def check(self, data: Data, name: str = "x") -> None:
        """Raise ValueError unless there are codes (N, T) and labels below `classes`."""
        super().check(data, name)
        batch = as_batch(data)
        codes_in(batch.x, name, self.words)
        check_labels(batch.y, self.classes, f"{name}.y")

    def class_nll(self, *, x: Array, labels: Array) -> tuple[Array, Pullback]:
        """−log p(y|x)        (B, T) (B,) -> (B,)"""
        logits, pull_network = self.network_of(x=x)
        nll, pull_nll = categorical_nll(logits, labels=labels)

        def pullback(dnll: Array) -> None:
            pull_network(pull_nll(dnll))

        return nll, pullback

    def nll(self, batch: Batch) -> tuple[Array, Pullback]:
        return self.class_nll(x=shortened(batch.x), labels=batch.y)

    def classify(self, x: Array) -> Array:
        """The likeliest class        (B, T) -> (B,)"""
        return np.concatenate([self.network_of(x=part)[0].argmax(axis=1) for part in in_parts(x, AT_ONCE)])


class LanguageModel(ExactModel):
    """p(x) = Π_t p(x_t | x_1 … x_t−1), by the writer of a TextM2 whose code is 0.  Trains on x (B, T).

    sentences   codes (N, T) whose words it says as often at first; None: all words alike
    """

    needs = ("x",)
    pixels_of = ()

    def __init__(self, words: int, *, device: Device, dimensions: int = 64, units: int = 100, seed: int = 0,
                 dtype: type = np.float32, optimizer: Optimizer | None = None,
                 sentences: np.ndarray | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.words = words
        self.writer = Writer(words_of(words, dimensions, rng), units, 1, rng=rng)
        if sentences is not None:
            say_as_often(self.writer, sentences)
        self.learns(writer=self.parameters(), optimizers={"writer": optimizer} if optimizer else None, device=device,
                    dtype=dtype, uses=8)

    def check(self, data: Data, name: str = "x") -> None:
        """Raise ValueError unless there are codes (N, T)."""
        super().check(data, name)
        codes_in(as_batch(data).x, name, self.words)

    def sentence_nll(self, *, x: Array) -> tuple[Array, Pullback]:
        """−log p(x)        (B, T) -> (B,)"""
        code = np.zeros_like(self.writer.begin.b.value, shape=(len(x), 1))
        nll, pull = self.writer(code, x=x, told=told_before(x))

        def pullback(dnll: Array) -> None:
            pull(dnll, need_dx=False)

        return nll, pullback

    def nll(self, batch: Batch) -> tuple[Array, Pullback]:
        return self.sentence_nll(x=shortened(batch.x))

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        nll = np.concatenate([self.sentence_nll(x=part)[0] for part in in_parts(as_batch(batch).x, AT_ONCE)])
        return nll, np.zeros_like(nll)


def bag_of_words(x: np.ndarray, words: int) -> np.ndarray:
    """How often a sentence has each word; the order is lost        codes (N, T) -> (N, words)"""
    x = to_numpy(x)
    at = (np.arange(len(x))[:, None] * words + x)[x != PAD]
    return np.bincount(at, minlength=len(x) * words).reshape(len(x), words).astype(float)


def naive_bayes(counts: np.ndarray, y: np.ndarray, *, classes: int,
                add: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """argmax_y p(y) Π_w p(w|y)^count(w),  p(w|y) ∝ add + how often class y has w        (N, V) (N,) -> predict (M, V)

    p(y) ∝ add + how often y is.  Raises ValueError unless add > 0.
    """
    if not add > 0.0:
        raise ValueError(f"add: got {add}, expected a number > 0")
    member = (y[:, None] == np.arange(classes)).astype(float)
    used = member.T @ counts + add
    log_word = np.log(used / used.sum(axis=1, keepdims=True))
    log_class = np.log((member.sum(axis=0) + add) / (len(y) + classes * add))
    return lambda x: (x @ log_word.T + log_class).argmax(axis=1)
