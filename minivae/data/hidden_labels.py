"""Most labels put away: what a semi-supervised model is told of images that all have one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.batch import Batch
from minivae.evaluation.rivals import few_labels, some_labels


@dataclass(frozen=True)
class HiddenLabels:
    """Keep the labels of `count` images, as many of each class, drawn with `seed`.

    The batch has a row for each image without a label, and beside it one that has: `x`, and `labelled` with `labels`.
    The few with labels come round again and again, so that every minibatch has as many of them as of the others.  (They
    are copied: the batch takes twice the memory of the images.)
    """

    count: int
    seed: int = 0

    def kept(self, part: Batch) -> np.ndarray:
        """Which images keep their labels        -> (count,)

        Raises ValueError unless every class can give its equal share, and images are left over.
        """
        part.require(("x", "y"), "a semi-supervised model")
        if self.count >= len(part):
            raise ValueError(f"labels: got {self.count} of {len(part)} images, expected some left without a label")
        return few_labels(part.y, self.count, seed=self.seed)

    def ask(self, part: Batch) -> Batch:
        """What is trained on: x (N − count, X), labelled (N − count, X), labels (N − count,)"""
        kept = self.kept(part)
        others = np.setdiff1d(np.arange(len(part)), kept)
        beside = kept[np.arange(len(others)) % self.count]
        return Batch(x=part.x[others], labelled=part.x[beside], labels=part.y[beside])

    @staticmethod
    def judge(part: Batch) -> Batch:
        """What a model is judged on: every image without its label (its bound), and with it (its error)."""
        part.require(("x", "y"), "the judgement of a semi-supervised model")
        return Batch(x=part.x, labelled=part.x, labels=part.y)


class HiddenSentenceLabels(HiddenLabels):
    """The same of sentences, drawn from all alike: classes keep as many labels as they come up, each at least one.

    (A class of questions may have fewer sentences than an equal share would be.)
    """

    def kept(self, part: Batch) -> np.ndarray:
        """Which sentences keep their labels        -> (count,)

        Raises ValueError for fewer labels than classes, or if no sentence is left over.
        """
        part.require(("x", "y", "lengths"), "a semi-supervised model of sentences")
        if self.count >= len(part):
            raise ValueError(f"labels: got {self.count} of {len(part)} sentences, expected some left without a label")
        return some_labels(part.y, self.count, seed=self.seed)

    def ask(self, part: Batch) -> Batch:
        """What is trained on, as HiddenLabels; and lengths, of x (N − count,)"""
        others = np.setdiff1d(np.arange(len(part)), self.kept(part))
        return super().ask(part).but(lengths=part.lengths[others])
