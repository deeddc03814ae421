"""A source whose variances a VAE's decoder says: v(f, n) = g σ²(f; z_n, c).  With such sources, demixing is the MVAE.

z_n, a code for every frame, c, who speaks, and g, how loud, are free numbers.  `learn` climbs −Σ (log v + |y|²/v) in
all three, and never falls:

    z_n   a step up the gradient, which is pulled back through the decoder (need_dp=False: it does not learn).  Frames
          do not hear of each other's z, so each has a stride of its own: where the objective rose the step is kept and
          the next is longer, where it fell the frame stays where it is and the next is shorter
    c     softmax(a), the same for all frames, or given; a climbs in the same way
    g     the mean of |y|² / σ², in closed form: where ∂/∂g Σ (log g + |y|²/(g σ²)) = 0

Whoever climbs stays on the hill where it began: a decoder that has to can say two voices at once, badly.  So there are
several beginnings, W = I and some ILRMAs', and the one whose objective ends highest is kept: objectives of one model
can be compared.  Which voice is whose is decided as each begins, by who explains it best.

Kameoka et al. 2019: the alternation, ILRMA as a beginning, z and c by back-propagation.  Ours are the strides and the
several beginnings.
Shapes: F frequencies, N frames, C speakers, Z latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from operator import getitem
from typing import Any

import numpy as np

from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.distributions import complex_gaussian_nll
from minivae.ops import log_softmax
from minivae.separation.demixing import demix, project_back
from minivae.separation.separator import Separation, check_mixture, ilrma, separate

GROW, SHRINK, STRIDE = 1.5, 0.5, 1e-3  # of a step that climbed, of one that fell, and the first
SWEEPS, TRIES = 40, 4                  # of climbing; ILRMAs that are tried


class Voice:
    """One source of a mixture, as a SourceVAE tells it.

    model      variants.SourceVAE, on the host; its parameters are read, and nothing else
    power      |y|² as it is known at first (F, N): z begins where the encoder hears it
    speaker    who speaks, if that is known; None: c is free, and begins without a preference
    steps      up the gradient, at each `learn`
    """

    def __init__(self, model: Any, power: Array, *, speaker: int | None = None, steps: int = 1) -> None:
        if speaker is not None and not 0 <= speaker < model.speakers:
            raise ValueError(f"speaker: got {speaker}, expected 0 … {model.speakers - 1}")
        others = np.arange(model.speakers) != speaker
        self.model, self.steps, self.free = model, steps, speaker is None
        self.a = np.where(others & (not self.free), -np.inf, 0.0)
        self.stride, self.stride_c = np.full((power.shape[1], 1), STRIDE, model.dtype), STRIDE
        self.gain = power.mean()
        loudness = (power.T / self.gain).astype(model.dtype)
        self.z = model.q(power=loudness, c=self._told(self.a, len(loudness)))[0][0]
        self.pull_logvar: Pullback | None              # of self.logvar; None: frames of two decodings
        self.logvar, self.pull_logvar = self._decoded(self.z, self.a)
        self._set_gain(power)

    @property
    def variance(self) -> Array:
        """v = g σ², (F, N)"""
        return self.gain * np.exp(self.logvar).T

    @property
    def speaker(self) -> Array:
        """c: how much of each speaker there is in this voice        (C,)"""
        return np.exp(log_softmax(self.a)[0])

    def learn(self, power: Array) -> None:
        """A few steps of z, and of c if it is free; the best gain after each        (F, N)"""
        for _ in range(self.steps):
            self._climb(power.T / self.gain)
            self._set_gain(power)

    def _set_gain(self, power: Array) -> None:
        self.gain = (power.T / np.exp(self.logvar)).mean()

    def _climb(self, power: Array) -> None:
        """One step of z, frame by frame, then one of a        (N, F)"""
        nll, pull_nll = complex_gaussian_nll(self.logvar, power=power)
        pull_logvar = self.pull_logvar or self._decoded(self.z, self.a)[1]
        dz, da = pull_logvar(pull_nll(-np.ones_like(nll)))
        z = self.z + self.stride * dz
        (logvar, pull_logvar), moved = self._surprise(z, self.a, power)
        rose = (moved < nll)[:, None]
        self.pull_logvar = pull_logvar if rose.all() else None       # else some frames stay where another one was
        self.z, self.logvar = np.where(rose, z, self.z), np.where(rose, logvar, self.logvar)
        self.stride *= np.where(rose, GROW, SHRINK).astype(self.stride.dtype)
        if self.free:
            self._climb_c(power, da, np.where(rose[:, 0], moved, nll).sum())

    def _climb_c(self, power: Array, da: Array, before: float) -> None:
        a = self.a + self.stride_c * da
        decoded, moved = self._surprise(self.z, a, power)
        rose = moved.sum() < before
        if rose:
            self.a, (self.logvar, self.pull_logvar) = a, decoded
        self.stride_c *= GROW if rose else SHRINK

    def _surprise(self, z: Array, a: Array, power: Array) -> tuple[tuple[Array, Pullback], Array]:
        """Decoded there, and −log p of every frame (N,): not finite, so no rise, if the step was far too long"""
        with np.errstate(over="ignore", invalid="ignore"):
            decoded = self._decoded(z, a)
            return decoded, complex_gaussian_nll(decoded[0], power=power)[0]

    def _told(self, a: Array, frames: int) -> Array:
        c = np.exp(log_softmax(a)[0]).astype(self.model.dtype)
        return np.broadcast_to(c, (frames, len(c)))

    def _decoded(self, z: Array, a: Array) -> tuple[Array, Pullback]:
        """log σ² (N, F), and its pullback to z (N, Z) and a (C,): the decoder hears nothing"""
        c = self._told(a, len(z))
        logvar, pull_logvar = self.model.logvar(z, c)

        def pullback(dlogvar: Array) -> tuple[Array, Array]:
            dz, dc = pull_logvar(dlogvar.astype(logvar.dtype), need_dp=False)
            return dz, log_softmax(a)[1]((dc * c).sum(axis=0).astype(float))       # c = exp(log softmax(a))

        return logvar.astype(float), pullback


def beginnings(x: Array, *, rng: Generator, tries: int = TRIES) -> list[Array]:
    """W = I, and those of so many ILRMAs, with other patterns each        x (J, F, N)"""
    at_least_one(tries=tries)
    return [check_mixture(x, len(x)), *(project_back(ilrma(x, rng=rng).W) for _ in range(tries))]


def voices_of(y: Array, model: Any, speakers: Sequence[int] | None) -> list[Voice]:
    """A voice for each y, (J, F, N): whose is whose so that together they explain it best"""
    powers = np.abs(y) ** 2
    if speakers is None:
        return [Voice(model, power) for power in powers]
    every = [[Voice(model, power, speaker=who) for who in speakers] for power in powers]
    surprise = [[(np.log(voice.variance) + power / voice.variance).sum() for voice in some]
                for some, power in zip(every, powers)]
    order = min(permutations(range(len(y))), key=lambda order: sum(map(getitem, surprise, order)))
    return list(map(getitem, every, order))


def mvae(x: Array, model: Any, *, starts: Sequence[Array], speakers: Sequence[int] | None = None,
         sweeps: int = SWEEPS) -> tuple[Separation, list[Voice]]:
    """The multichannel VAE: of all beginnings, the separation whose objective is highest, and its voices

    x          (J, F, N)
    starts     W, (F, J, J) each: `beginnings`
    speakers   who speaks, J of them in any order, if that is known
    Raises ValueError for arrays that do not fit, or another number of speakers than of channels.
    """
    check_mixture(x, len(x))
    if speakers is not None and len(speakers) != len(x):
        raise ValueError(f"speakers: got {len(speakers)}, expected {len(x)}, as many as channels")
    found = []
    for W in starts:
        voices = voices_of(demix(W, x), model, speakers)
        found.append((separate(x, voices, sweeps=sweeps, W=W), voices))
    return max(found, key=lambda each: each[0].objective[-1])
