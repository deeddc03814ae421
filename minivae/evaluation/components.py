"""What an infinite VAE has found: how many components, of how many images each, and whether they are the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import to_numpy
from minivae.batch import as_batch
from minivae.evaluation.bounds import over_parts
from minivae.evaluation.clustering import clustering_accuracy, contingency, normalised_mutual_information
from minivae.nn import Data
from minivae.variants.infinite import InfiniteVAE


@dataclass(frozen=True)
class ComponentsFound:
    """Scores and purity are None where there are no labels."""

    sizes: np.ndarray                  # (K,) how many training images each component in use has
    clusters: np.ndarray               # (N,) the likeliest component of every example
    accuracy: float | None             # by the best one-to-one assignment
    purity: float | None               # the share of examples that have the label most usual in their component
    nmi: float | None

    def __str__(self) -> str:
        scores = "" if self.accuracy is None else (
            f"\n{len(self.clusters):,} examples: {100.0 * (self.purity or 0.0):.1f}% are of the class most usual in "
            f"their component, accuracy by the best assignment {100.0 * self.accuracy:.1f}%, mutual information "
            f"{self.nmi:.3f}")
        sizes = ", ".join(f"{n:,}" for n in np.sort(self.sizes)[::-1])
        return f"components: {len(self.sizes)} in use, of {sizes or 'no'} training images{scores}"


def components_found(model: InfiniteVAE, data: Data) -> ComponentsFound:
    """By the responsibilities of every example; y, if the data have it, are the labels."""
    parts = over_parts(model, data, lambda part, rng: to_numpy(model.responsibilities(part).argmax(axis=1)))
    clusters, labels = np.concatenate(parts), as_batch(data).arrays.get("y")
    if labels is None:
        return ComponentsFound(model.sizes[model.sizes > 0], clusters, None, None, None)
    purity = float(contingency(clusters, labels).max(axis=1).sum() / len(labels))
    return ComponentsFound(model.sizes[model.sizes > 0], clusters, clustering_accuracy(clusters, labels), purity,
                           normalised_mutual_information(clusters, labels))
