"""Zero-shot learning: images of classes of which no image was seen, only attributes.

Whoever classifies gives every class a score, `scores(x)`, (N, X) -> (N, C), and is asked two things: of an unseen
class's image, which of the unseen classes is it; and, of any image, which of all (the generalised task).

    zero_shot            accuracies, each averaged over classes, and the harmonic mean H = 2 S U / (S + U)
    eszsl                the linear rival, in closed form (Romera-Paredes and Torr 2015)
    choose_eszsl         its regularisation, chosen on seen classes
    softmax_classifier   on real features of seen classes, and made ones of unseen
    self_train           unlabelled images of unseen classes join in with the labels that are guessed, the surest first:
                         by_probability or by_neighbours

Labels are places in the list of all C classes.  Shapes: N features of X numbers, A attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minivae.backend import at_least_one
from minivae.evaluation.neighbours import squared_distances
from minivae.evaluation.rivals import logistic_regression

Scores = Callable[[np.ndarray], np.ndarray]
Labelled = tuple[np.ndarray, np.ndarray]               # features (N, X) and their classes (N,)
Guess = Callable[[Scores, Labelled, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
GAMMAS, LAMBDAS = (1.0, 10.0, 100.0, 1e3, 1e4), (0.1, 1.0, 10.0, 100.0)


def class_accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share of right answers in each class, averaged over the classes that occur        (N,) (N,)

    A large class weighs no more than a small one (Xian et al. 2017).
    Raises ValueError for arrays that do not fit, or none.
    """
    if predicted.shape != labels.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"predicted: got shape {predicted.shape}, expected {labels.shape}, a label for each of at "
                         "least 1 example")
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def harmonic_mean(seen: float, unseen: float) -> float:
    """H = 2 S U / (S + U), 0 if one of them is: who knows the seen classes alone has nothing"""
    return 2.0 * seen * unseen / (seen + unseen) if seen + unseen > 0.0 else 0.0


@dataclass(frozen=True)
class ZeroShot:
    """Accuracies, each averaged over classes."""

    alone: float                       # of unseen classes' images, told that they are of one of these
    seen: float                        # S: of seen classes' images, among all classes
    unseen: float                      # U: of unseen classes' images, among all classes

    @property
    def harmonic(self) -> float:
        """H of S and U"""
        return harmonic_mean(self.seen, self.unseen)


def zero_shot_accuracy(scores: Scores, *, seen: Labelled, unseen: Labelled) -> ZeroShot:
    """Both tasks: test images of seen classes, and images of unseen ones."""
    (x_seen, y_seen), (x, y) = seen, unseen
    given, classes = scores(x), np.unique(y)
    return ZeroShot(class_accuracy(classes[given[:, classes].argmax(axis=1)], y),
                    class_accuracy(scores(x_seen).argmax(axis=1), y_seen), class_accuracy(given.argmax(axis=1), y))


# ── the linear rival ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ESZSL:
    """A bilinear score of features and attributes: xᵀ V s."""

    V: np.ndarray                      # (X, A)
    attributes: np.ndarray             # (C, A)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(N, X) -> (N, C)"""
        return x @ self.V @ self.attributes.T


def eszsl(x: np.ndarray, y: np.ndarray, attributes: np.ndarray, *, gamma: float, ridge: float) -> ESZSL:
    """V = (XᵀX + γ I)⁻¹ Xᵀ Y S (SᵀS + λ I)⁻¹,   Y = ±1, S the attributes of the classes in y        (ridge: λ)

    That V minimises ‖X V Sᵀ − Y‖² + γ ‖V Sᵀ‖² + λ ‖X V‖² + γ λ ‖V‖²   (Romera-Paredes and Torr 2015).
    Raises ValueError for weights not above 0.
    """
    if not (gamma > 0.0 and ridge > 0.0):
        raise ValueError(f"gamma, ridge: got {gamma} and {ridge}, expected numbers > 0")
    classes = np.unique(y)
    S, Y = attributes[classes], np.where(y[:, None] == classes, 1.0, -1.0)
    left = np.linalg.solve(x.T @ x + gamma * np.eye(x.shape[1]), x.T @ Y @ S)
    return ESZSL(np.linalg.solve(S.T @ S + ridge * np.eye(S.shape[1]), left.T).T, attributes)


def choose_eszsl(divisions: Sequence[tuple[Labelled, Labelled]], attributes: np.ndarray) -> tuple[float, float]:
    """gamma and ridge, of the grid GAMMAS × LAMBDAS, that do best where some of the seen classes play the unseen

    divisions   pairs of what is learned from, and the images of other (seen!) classes that are to be classified; the
                features of each from a network that did not know these others, as it will not know the unseen
    Raises ValueError for no division, or if the two of one share a class.
    """
    if not divisions:
        raise ValueError("divisions: got none, expected at least one")
    right = dict.fromkeys(((gamma, ridge) for gamma in GAMMAS for ridge in LAMBDAS), 0.0)
    for (x, y), (x_out, y_out) in divisions:
        out = np.unique(y_out)
        if both := set(y.tolist()) & set(out.tolist()):
            raise ValueError(f"divisions: class {min(both)} is learned from, and is to be unseen")
        for gamma, ridge in right:
            scores = eszsl(x, y, attributes, gamma=gamma, ridge=ridge).scores(x_out)
            right[gamma, ridge] += class_accuracy(out[scores[:, out].argmax(axis=1)], y_out)
    return max(right, key=lambda weights: right[weights])


# ── made features ─────────────────────────────────────────────────────────────────────────────────


def softmax_classifier(data: Labelled, *, classes: int, decay: float = 30.0) -> Scores:
    """log p(y|x) of a softmax classifier of these features; decay as of `logistic_regression`"""
    return logistic_regression(*data, classes=classes, decay=decay, steps=10_000).log_prob


def by_probability(scores: Scores, data: Labelled, x: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classifier's guess among the unseen classes, and how probable it finds it        -> (N,) (N,)"""
    given = scores(x)[:, unseen]
    given = given - np.logaddexp.reduce(given, axis=1)[:, None]
    return unseen[given.argmax(axis=1)], given.max(axis=1)


def by_neighbours(scores: Scores, data: Labelled, x: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unseen class whose features (made, and those that have joined) have their centre nearest, and how near"""
    centres = np.stack([data[0][data[1] == c].mean(axis=0) for c in unseen])
    distances = squared_distances(x, centres)
    return unseen[distances.argmin(axis=1)], -distances.min(axis=1)


def self_train(data: Labelled, x: np.ndarray, unseen: Sequence[int], *, classify: Callable[[Labelled], Scores],
               guess: Guess, rounds: int = 5) -> Scores:
    """Classify, let the surest of the images x (M, X) join with their guessed labels, classify again, …

    data     real features of seen classes, and made ones of unseen
    x        images that are of some unseen class, nobody knows of which
    guess    by_probability or by_neighbours
    rounds   in round r of R each class lets the surest r/R of an equal share join; guesses are made anew every time
    """
    at_least_one(rounds=rounds)
    (features, labels), classes = data, np.asarray(unseen)
    joined, scores = data, classify(data)
    for r in range(1, rounds + 1):
        guessed, sure = guess(scores, joined, x, classes)
        share = -(-len(x) * r // (rounds * len(classes)))
        rows = np.concatenate([_surest(np.flatnonzero(guessed == c), sure, share) for c in classes])
        joined = np.concatenate([features, x[rows]]), np.concatenate([labels, guessed[rows]])
        scores = classify(joined)
    return scores


def _surest(rows: np.ndarray, sure: np.ndarray, count: int) -> np.ndarray:
    return rows[np.argsort(-sure[rows], kind="stable")[:count]]
