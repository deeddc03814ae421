"""Sentences as rows of numbers: who reads one, and who says one, word after word.

A sentence of n words is n codes of a vocabulary and END; what is left of its row is PAD, which counts for nothing, not
in a value and not in a gradient.  A sentence longer than the row is cut off, and has no END: it goes on.

Shapes: B sentences of at most T codes, V codes in the vocabulary, D numbers for each, H units.  Nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback, array_module, at_least_one
from minivae.distributions import categorical_nll
from minivae.nn import LSTM, Embedding, Layer, Linear
from minivae.ops import tanh

PAD, END, UNKNOWN = 0, 1, 2            # the first codes of every vocabulary


def shortened(x: Array) -> Array:
    """Without the columns in which no sentence has a word: steps that nobody takes        (B, T) -> (B, T')

    On a GPU all of x: to look how long the longest is, it would have to be waited for.
    """
    return x[:, :max(1, np.count_nonzero((x != PAD).any(axis=0)))] if array_module(x) is np else x


def in_parts(x: Array, rows: int) -> list[Array]:
    """At most so many sentences at a time, each part without the columns that it does not use        (N, T)"""
    return [shortened(x[i:i + rows]) for i in range(0, len(x), rows)]


def told_before(x: Array, *, forget: Array | None = None) -> Array:
    """What a writer is told at each step: the code before; END, before the first        (B, T) -> (B, T)

    forget   (B, T) bool: these codes it is told as UNKNOWN instead.  So words are dropped (Bowman et al. 2016, section
             3): the words, not entries of their vectors; and x itself, which it has to say, stays
    """
    told = np.full_like(x, END)
    told[:, 1:] = x[:, :-1]
    if forget is not None:
        told[:, 1:] = np.where(forget[:, 1:] & (told[:, 1:] > UNKNOWN), UNKNOWN, told[:, 1:])
    return told


class Reader(Layer):
    """The states of an LSTM that reads a sentence, averaged over its words        codes (B, T) -> (B, H)"""

    def __init__(self, words: Embedding, units: int, *, rng: Generator) -> None:
        self.words, self.lstm = words, LSTM(words.table.value.shape[1], units, rng=rng)

    def __call__(self, *, x: Array) -> tuple[Array, Pullback]:
        vectors, pull_words = self.words(codes=x.T)
        mask = x.T != PAD
        full = array_module(x) is np and mask.all()    # a mask that hides nothing costs a tenth of the time
        states, pull_lstm = self.lstm(vectors, *self.lstm.start(vectors), mask=None if full else mask)
        share = mask.astype(vectors.dtype, order="C")     # as the states lie
        share /= np.maximum(share.sum(axis=0), 1.0)
        share, nothing = share[:, :, None], np.zeros_like(states[1])                # nobody asks for the last cell

        def pullback(dy: Array, need_dx: bool = True, need_dp: bool = True) -> None:
            dvectors, _, _ = pull_lstm(share * dy, dc_last=nothing, need_dp=need_dp)
            pull_words(dvectors, need_dp=need_dp)

        return (states[0] * share).sum(axis=0), pullback


class Reading(Layer):
    """A network of what a reader says of a sentence: then(reader(x)), or then(reader(x), y=y)    codes x (B, T) -> …"""

    def __init__(self, reader: Reader, then: Layer) -> None:
        self.reader, self.then = reader, then

    def __call__(self, *, x: Array, y: Array | None = None) -> tuple[Any, Pullback]:
        h, pull_reader = self.reader(x=x)
        out, pull_then = self.then(h) if y is None else self.then(h, y=y)

        def pullback(*dout: Array, need_dx: bool = True, need_dp: bool = True) -> None:
            pull_reader(pull_then(*dout, need_dp=need_dp), need_dp=need_dp)

        return out, pullback


class Writer(Layer):
    """−log p(x|code) = −Σ_t log p(x_t | x_1 … x_t−1, code)        code (K·B, Z) and codes x (B, T) -> (K·B,)

        c_0 = code A + a,   h_0 = tanh c_0,        p(x_t | …) = softmax( h_t S + s )

    told   (B, T): what it is told of the word before, `told_before(x)`
    y      (K·B, C): what every step hears beside it, if it has a condition
    The code is the batch K times over.  PAD is never said: probabilities are those of all other codes.
    """

    def __init__(self, words: Embedding, units: int, code: int, *, rng: Generator, condition: int = 0) -> None:
        V, D = words.table.value.shape
        self.words, self.begin = words, Linear(code, units, rng=rng)
        self.lstm, self.say = LSTM(D, units, rng=rng, condition=condition), Linear(units, V - 1, rng=rng)

    def __call__(self, code: Array, *, x: Array, told: Array, y: Array | None = None) -> tuple[Array, Pullback]:
        (B, T), K, (D, H) = x.shape, len(code) // len(x), (self.lstm.inputs, self.lstm.units)
        mask = np.tile(x.T != PAD, (1, K))            # (T, K·B): time first, and the batch K times over
        vectors, pull_words = self.words(codes=told.T)
        cell, pull_begin = self.begin(code)
        shown, pull_tanh = tanh(cell)
        states, pull_lstm = self.lstm(np.tile(vectors, (1, K, 1)), shown, cell, mask=mask, y=y)
        logits, pull_say = self.say(states[0].reshape(T * K * B, H))
        nothing = np.zeros_like(cell)                  # nobody asks for the last cell
        labels = np.tile(np.maximum(x.T - 1, 0), (1, K)).ravel()
        nll, pull_nll = categorical_nll(logits, labels=labels)

        def pullback(dnll: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            dlogits = pull_nll((mask * dnll).ravel())
            dh = pull_say(dlogits, need_dp=need_dp).reshape(T, K * B, H)
            dvectors, dshown, dcell = pull_lstm(dh, dc_last=nothing, need_dp=need_dp)
            pull_words(dvectors.reshape(T, K, B, D).sum(axis=1), need_dp=need_dp)          # used K times: they add
            return pull_begin(dcell + pull_tanh(dshown), need_dx=need_dx, need_dp=need_dp)

        return (nll.reshape(T, K * B) * mask).sum(axis=0), pullback

    def speak(self, code: Array, *, steps: int, rng: Generator | None, y: Array | None = None) -> Array:
        """Sentences of at most so many codes        code (B, Z) -> (B, steps)

        rng   draws every word from p(x_t | …); None: takes the likeliest, which need not give the likeliest sentence
        UNKNOWN is not said: there would be nothing to print.  Raises ValueError for steps below 1.
        """
        at_least_one(steps=steps)
        c = self.begin(code)[0]
        h, said = np.tanh(c), np.full_like(code, PAD, shape=(len(code), steps), dtype=np.int64)
        now, ended = np.full_like(said[:, 0], END), np.zeros_like(said[:, 0], dtype=bool)
        for t in range(steps):
            (states, c), _ = self.lstm(self.words(codes=now[None])[0], h, c, y=y)
            h, logits = states[0], self.say(states[0])[0]
            logits[:, UNKNOWN - 1] = -np.inf
            if rng is not None:                       # the largest of logits with Gumbel's noise is a draw of softmax
                logits -= np.log(-np.log(rng.random(logits.shape, dtype=logits.dtype).clip(1e-7, 1.0 - 1e-7)))
            now = logits.argmax(axis=1) + 1
            said[:, t] = np.where(ended, PAD, now)
            ended = ended | (now == END)
        return said


def codes_in(data: Any, name: str, words: int) -> None:
    """Raise ValueError unless data are rows of codes, whole numbers below `words`, none without a first."""
    if data.ndim != 2 or not len(data) or data.dtype.kind not in "iu" or data.min() < 0 or data.max() >= words or (
            data[:, 0] == PAD).any():
        raise ValueError(f"{name}: got {data.dtype} {data.shape}, expected codes (N, T), whole numbers below {words}, "
                         "and no row that begins with PAD (0)")
