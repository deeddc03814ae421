"""Speech as it would have sounded elsewhere: latents moved by what is constant in a recording.

What is said changes from segment to segment of a recording; who speaks, into what, and what rustles behind do not.
So the mean of the latents of all segments of a recording, its *nuisance vector*, has little to do with the words: they
average out, if there are enough (after Hsu, Zhang and Glass 2017).  Nobody has to say who spoke, or where.

    replace   the vector of one recording by that of another
    perturb   in the directions in which recordings differ

All of it on latents alone: encoder and decoder are those of any VAE of segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import Array


def nuisance_vectors(z: Array, recording: Array, *, recordings: int) -> Array:
    """μ_r = the mean of the latents of recording r's segments        z (N, Z), recording (N,) -> (recordings, Z)

    Raises ValueError if a recording has no segment, or if there are not as many labels as segments.
    """
    if z.ndim != 2 or recording.shape != (len(z),):
        raise ValueError(f"recording: got shape {recording.shape}, expected ({len(z)},), one for each segment")
    count = np.bincount(recording, minlength=recordings)
    if len(count) > recordings or not count.all():
        raise ValueError(f"recording: expected every one of 0 … {recordings - 1}, got {len(np.unique(recording))}, the "
                         f"last {recording.max()}")
    total = np.zeros((recordings, z.shape[1]), z.dtype)
    np.add.at(total, recording, z)
    return total / count[:, None].astype(z.dtype)


def replace(z: Array, *, own: Array, other: Array) -> Array:
    """z' = z − μ_own + μ_other: the same words in another recording        (N, Z), own and other (Z,) or (N, Z)"""
    return z + (other - own)


@dataclass(frozen=True)
class Directions:
    """In which directions nuisance vectors differ, the largest first, and by how much.

    e       (D, Z), orthonormal
    spread  (D,), the standard deviation along each
    """

    e: Array
    spread: Array


def principal_directions(vectors: Array) -> Directions:
    """The eigenvectors of the vectors' covariance, and the roots of its eigenvalues        (R, Z), R at least 2

    Raises ValueError for fewer vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (R, Z) with R at least 2")
    _, singular, e = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return Directions(e, singular / np.sqrt(len(vectors) - 1.0))


def perturb(z: Array, directions: Directions, *, eta: Array, gamma: float = 1.0) -> Array:
    """z' = z + γ Σ_d η_d σ_d e_d,   η ~ N(0, I): one η for a whole recording        (N, Z), eta (D,) or (N, D)"""
    return z + (gamma * eta * directions.spread) @ directions.e
