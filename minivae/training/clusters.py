"""Where the components of a mixture start: at the clusters that k-means finds in a trained VAE's codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivae.backend import to_numpy
from minivae.evaluation import over_parts
from minivae.evaluation.clustering import k_means
from minivae.plots import spread
from minivae.variants import GMVAE


def start_at_clusters(images: np.ndarray, *, seed: int = 0, most: int = 5000) -> Callable[[GMVAE], None]:
    """`GMVAEConfig.build(start=...)`: once it has been a VAE for a while, put each component on a cluster of its codes.

    images   some training images (N, X); of more than `most`, so many of them, evenly spread
    seed     of k-means
    """
    chosen = spread(images, most)

    def start(model: GMVAE) -> None:
        codes = np.concatenate(over_parts(model, chosen, lambda part, rng: to_numpy(model.codes(part))))
        model.place(model.device.asarray(chosen, dtype=model.dtype),
                    k_means(codes, min(model.components, len(codes)), seed=seed).numbers)

    return start
