"""How well was a mixture taken apart?  SDR, SIR and SAR, as BSS-eval defines them (Vincent et al. 2006).

An estimate ŝ_j is cut into three parts,

    ŝ_j = s_target + e_interference + e_artefacts

s_target is its projection onto the true source s_j in all delays of less than `taps` samples: a filter is no mistake,
for nobody knows how the room sounds.  s_target + e_interference is its projection onto all sources, so delayed; what is
left was in none.  In decibels,

    SDR = 10 log₁₀ ‖s_target‖² / ‖e_interference + e_artefacts‖²         distortion, all that is wrong
    SIR = 10 log₁₀ ‖s_target‖² / ‖e_interference‖²                       the other sources that are left in it
    SAR = 10 log₁₀ ‖s_target + e_interference‖² / ‖e_artefacts‖²         what the method made up

Delayed sources are zero where they have not begun, and the estimate is followed by zeros to the last delay's end.
Their inner products are correlations, so one fast Fourier transform gives them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import Array

TAPS = 512                             # of BSS-eval


@dataclass(frozen=True)
class Scores:
    """Of each true source, in decibels, (J,); `order[j]` is the estimate that was taken for source j."""

    sdr: Array
    sir: Array
    sar: Array
    order: Array


def separation_scores(estimates: Array, sources: Array, *, taps: int = TAPS) -> Scores:
    """SDR, SIR and SAR of the estimates, each matched with the true source for which the mean SIR is largest

    estimates and sources (J, samples), the true ones as they are heard, or dry.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import: for those who need it

    every = decompose(estimates, sources, taps=taps)
    rows, columns = linear_sum_assignment(every[:, :, 1].T, maximize=True)                # each source's estimate
    sdr, sir, sar = every[columns, rows].T
    return Scores(sdr, sir, sar, order=columns)


def decompose(estimates: Array, sources: Array, *, taps: int = TAPS) -> Array:
    """SDR, SIR, SAR of each estimate, taken for each of the sources        (J, samples) (J, samples) -> (J, J, 3)

    Raises ValueError for arrays that do not fit, or one that is silent.
    """
    _check(estimates, sources, taps)
    everyone, one_by_one = np.arange(len(sources)), []
    padded = np.pad(estimates, ((0, 0), (0, taps - 1)))
    together = project_onto_delays(estimates, sources, taps=taps)
    for j in everyone:
        targets = project_onto_delays(estimates, sources[j:j + 1], taps=taps)
        one_by_one.append(np.stack([_ratio(targets, padded - targets), _ratio(targets, together - targets),
                                    _ratio(together, padded - together)], axis=-1))
    return np.stack(one_by_one, axis=1)


def project_onto_delays(estimates: Array, sources: Array, *, taps: int = TAPS) -> Array:
    """The nearest waves to these that filters of so many taps make of the sources

    estimates (I, samples), sources (J, samples) -> (I, samples + taps − 1)
    """
    J, samples = sources.shape
    size = 1 << (samples + 2 * taps).bit_length()      # room for every lag: a circle would add its ends
    S, E = np.fft.rfft(sources, size), np.fft.rfft(estimates, size)
    between = np.fft.irfft(S[:, None] * S[None].conj(), size)                 # Σ_t s_i(t + lag) s_j(t)
    lag = np.arange(taps) - np.arange(taps)[:, None]
    gram = between[:, :, lag].transpose(0, 2, 1, 3).reshape(J * taps, J * taps)
    gram[np.diag_indices_from(gram)] *= 1.0 + 1e-12    # sources may be alike, or lack high frequencies
    right = np.fft.irfft(E[:, None] * S[None].conj(), size)[:, :, :taps].reshape(len(E), -1)
    filters = np.linalg.solve(gram, right.T).T.reshape(len(E), J, taps)
    made = np.fft.irfft((np.fft.rfft(filters, size) * S).sum(axis=1), size)
    nearest: Array = made[:, :samples + taps - 1]
    return nearest


def _ratio(signal: Array, error: Array) -> Array:
    """In decibels, row by row; thousands of them, but finite, where one is zero        (J, samples) ×2 -> (J,)"""
    powers = (np.log10((wave**2).sum(axis=1) + np.finfo(float).tiny) for wave in (signal, error))
    return 10.0 * (next(powers) - next(powers))


def _check(estimates: Array, sources: Array, taps: int) -> None:
    if sources.ndim != 2 or estimates.shape != sources.shape:
        raise ValueError(f"estimates: got shape {estimates.shape}, expected {sources.shape}, (sources, samples)")
    if not 1 <= taps <= sources.shape[1]:
        raise ValueError(f"taps: got {taps}, expected 1 … {sources.shape[1]}, the samples there are")
    for name, waves in (("estimates", estimates), ("sources", sources)):
        if not (np.isfinite(waves).all() and (np.abs(waves).max(axis=1) > 0.0).all()):
            raise ValueError(f"{name}: one of them is silent, or not finite")
