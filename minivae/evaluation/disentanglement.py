"""Does each latent stand for one factor?  Scores of a code against the factors that made the images.

    higgins_score    can a linear classifier tell which factor two images share?       Higgins et al. 2017
    mig              how much more does the best latent know of a factor than the next?       Chen et al. 2018
    sap              how much better does the best latent predict a factor than the next?     Kumar et al. 2018

All three lie in [0, 1], compare encoders only on the same images and factors, and are means over a few random draws, ±
their standard error.  A permutation, a sign or a scale of the latents changes none of them, nor does the order of the
images.  They measure different things: say which, name the factors that are counted, and put an untrained encoder and
pure noise beside: the first score is famous for being high for either reason.

Shapes: a code (N, Z), of posterior means mostly (`posterior_means`); factors (N, F), whole numbers, row by row.
Column f has the values 0 … sizes[f] − 1, all equally often, and independent of the other columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minivae.backend import Generator, at_least_one
from minivae.evaluation.bounds import Estimate
from minivae.evaluation.linear_classifier import LinearClassifier, standard

UNEVEN = 0.9                           # share of log size that the entropy of a factor has at least, if it is uniform


def higgins_score(code: np.ndarray, factors: np.ndarray, *, sizes: Sequence[int], pairs: int = 64, trials: int = 500,
                  repeats: int = 5, seed: int = 0) -> Estimate:
    """The accuracy of a linear classifier that guesses which factor the pairs of a trial share; by chance 1/F.

    A trial draws a factor f, then pairs of images that have the same f and differ freely else, and keeps the average of
    |code₁ − code₂| over its pairs, (Z,): small where a latent knows nothing but f.  The classifier learns from `trials`
    of them and is judged on as many others; all is drawn `repeats` times.

    Its known weakness (Kim and Mnih 2018): a mixture of factors is no mixture to a classifier that sees all latents.
    Raises ValueError if code and factors do not fit, or a factor is not uniform.
    """
    code, factors = _checked(code, factors, sizes, pairs=pairs, trials=trials, repeats=repeats)
    rng, found = np.random.default_rng(seed), []
    for _ in range(repeats):
        x, shared = _trials(code, factors, pairs, 2 * trials, rng)
        judge = LinearClassifier(x[:trials], shared[:trials], classes=factors.shape[1])
        found.append(judge.accuracy(x[trials:], shared[trials:]))
    return Estimate.of(np.array(found))


def _trials(code: np.ndarray, factors: np.ndarray, pairs: int, trials: int,
            rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Average differences and the factor that was shared        -> (trials, Z), (trials,)"""
    shared = rng.integers(factors.shape[1], size=trials)
    x = np.empty((trials, code.shape[1]))
    for f in np.unique(shared):
        values = factors[:, f]
        by_value, counts = np.argsort(values, kind="stable"), np.bincount(values)
        one = rng.integers(len(code), size=((shared == f).sum(), pairs))
        first = (counts.cumsum() - counts)[values[one]]            # where the images with the same value begin
        two = by_value[first + rng.integers(counts[values[one]])]
        x[shared == f] = np.abs(code[one] - code[two]).mean(axis=1)
    return x, shared


def mig(code: np.ndarray, factors: np.ndarray, *, sizes: Sequence[int], bins: int = 20, images: int = 10_000,
        repeats: int = 5, seed: int = 0) -> Estimate:
    """The mutual information gap: the average over factors of (I(zⱼ; f) − I(zₖ; f)) / H(f).   Chen et al. 2018.

    Latents j and k know most of f; H(f) = log sizes[f], and not the logarithm of the number of bins.  Every repeat
    draws so many of the images (as many as there are, if fewer).  Raises ValueError as `higgins_score`.
    """
    code, factors = _checked(code, factors, sizes, bins=bins, images=images, repeats=repeats)
    return _over_draws(lambda c, f: gaps(mutual_information(c, f, bins=bins) / np.log(sizes)).mean(), code, factors,
                       images, repeats, seed)


def mutual_information(code: np.ndarray, factors: np.ndarray, *, bins: int = 20) -> np.ndarray:
    """I(zⱼ; f) in nats of every latent and factor, from histograms        (N, Z) (N, F) -> (Z, F)

    I = Σ p(z, f) log p(z, f) / (p(z) p(f)), where z falls into one of `bins` equal parts of its range.  From N images
    it is too large by about (bins − 1)(sizes[f] − 1) / 2N; in the gap this mostly cancels.  Bins of means, as in
    Locatello et al. 2019, stretch what a silent latent's mean still moves; Chen et al. 2018 take draws, which drown it.
    """
    low, high = code.min(axis=0), code.max(axis=0)
    width = np.where(high > low, high - low, 1.0)                  # a constant falls into the first bin
    binned = np.minimum((bins * ((code - low) / width)).astype(np.int64), bins - 1)
    return np.array([[_information(z, f) for f in factors.T] for z in binned.T])


def _information(z: np.ndarray, f: np.ndarray) -> float:
    columns = f.max() + 1
    joint = np.bincount(z * columns + f, minlength=(z.max() + 1) * columns).reshape(-1, columns) / len(z)
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / alone[seen])).sum())


def sap(code: np.ndarray, factors: np.ndarray, *, sizes: Sequence[int], unordered: Sequence[int] = (),
        images: int = 10_000, repeats: int = 5, seed: int = 0) -> Estimate:
    """Separated attribute predictability: the average over factors of Sⱼ − Sₖ, the two best's.   Kumar et al. 2018.

    S is the squared correlation of latent and factor; for the columns in `unordered`, which are names and no amounts,
    the accuracy of a linear classifier that sees this latent alone.  A perfect code has Sⱼ = 1, and Sₖ = 0 or, of an
    unordered factor, what guessing gives: so the best score is below 1 if there are such.
    Raises ValueError as `higgins_score`.
    """
    code, factors = _checked(code, factors, sizes, images=images, repeats=repeats)
    return _over_draws(lambda c, f: gaps(predictability(c, f, unordered)).mean(), code, factors, images, repeats, seed)


def predictability(code: np.ndarray, factors: np.ndarray, unordered: Sequence[int] = ()) -> np.ndarray:
    """S of every latent and factor        (N, Z) (N, F) -> (Z, F)"""
    z, f = standard(code)(code), standard(factors)(factors)
    found = (z.T @ f / len(z)) ** 2                                # a constant column is zero, and predicts nothing
    for k in unordered:
        for j, column in enumerate(code.T[:, :, None]):
            judge = LinearClassifier(column, factors[:, k], classes=int(factors[:, k].max()) + 1)
            found[j, k] = judge.accuracy(column, factors[:, k])
    return found


def gaps(table: np.ndarray) -> np.ndarray:
    """The best latent's minus the second best's, factor by factor        (Z, F) -> (F,)"""
    if len(table) < 2:
        raise ValueError(f"code: got {len(table)} latent, expected at least 2: there is no second best")
    second, best = np.sort(table, axis=0)[-2:]
    return best - second


def _over_draws(score: Callable[[np.ndarray, np.ndarray], float], code: np.ndarray, factors: np.ndarray, images: int,
                repeats: int, seed: int) -> Estimate:
    """The score of so many of the images, drawn with replacement: the mean over `repeats` draws."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(code), size=min(images, len(code))) for _ in range(repeats))
    return Estimate.of(np.array([score(code[rows], factors[rows]) for rows in draws]))


def _checked(code: np.ndarray, factors: np.ndarray, sizes: Sequence[int],
             **counts: int) -> tuple[np.ndarray, np.ndarray]:
    at_least_one(**counts)
    code, factors = np.asarray(code, dtype=np.float64), np.asarray(factors)
    if code.ndim != 2 or factors.shape != (len(code), len(sizes)) or factors.dtype.kind not in "iu":
        raise ValueError(f"factors: got {factors.dtype} of shape {factors.shape}, expected whole numbers of shape "
                         f"({len(code)}, {len(sizes)}), a row for each of the code, {code.shape}")
    if not np.isfinite(code).all():
        raise ValueError("code: got numbers that are not finite")
    for f, (column, size) in enumerate(zip(factors.T, sizes)):
        if column.min() < 0 or column.max() >= size or size < 2:
            raise ValueError(f"factors: column {f} has values {column.min()} … {column.max()}, expected "
                             f"0 … {size - 1}, and at least two of them")
        p = np.bincount(column) / len(column)
        entropy = (p[p > 0] * np.log(1.0 / p[p > 0])).sum()
        if entropy < UNEVEN * np.log(size):
            raise ValueError(f"factors: column {f} is not uniform: its entropy is {entropy:.2f} nats, expected about "
                             f"log {size} = {np.log(size):.2f}; draw the images anew, or leave this factor out")
    return code, factors
