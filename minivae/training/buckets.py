"""An order of sequences in which those of about one length are neighbours: batches with little padding.

Which sequences meet in a batch changes; what is computed of each does not, for padding counts for nothing.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Generator, at_least_one

POOL = 20                  # batches that are sorted together: of more, batches would be less mixed


def in_buckets(rows: np.ndarray, lengths: np.ndarray, batch_size: int, rng: Generator) -> np.ndarray:
    """The same rows, for batches of so many: each has neighbours in length, and batches come in any order  (N,) -> (N,)

    rows      in random order; what is left over from whole batches stays as it is, and last
    lengths   of all sequences
    """
    at_least_one(batch_size=batch_size)
    whole = len(rows) // batch_size
    batches = [rows[:0].reshape(0, batch_size)]
    for start in range(0, whole, POOL):
        pool = rows[start * batch_size:min(start + POOL, whole) * batch_size]
        batches.append(pool[lengths[pool].argsort(kind="stable")].reshape(-1, batch_size))
    shuffled = np.concatenate(batches)[rng.permutation(whole)]
    return np.concatenate([shuffled.ravel(), rows[whole * batch_size:]])
