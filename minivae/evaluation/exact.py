"""A model without latents, such as a rival: its log p is known, and no bound.  It writes `nll`, and is trained here."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Generator, Pullback
from minivae.batch import Batch, as_batch
from minivae.nn import Data, Model


class ExactModel(Model):
    """−log p of a batch, and a step down its mean."""

    def nll(self, batch: Batch) -> tuple[Array, Pullback]:
        """−log p of every example, (B,), such as −log p(y|x); the pullback adds to the parameters' gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define nll")

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """One step up the mean of log p, which is called the ELBO: without latents the bound is exact."""
        batch = as_batch(batch)
        weight = 1.0 / len(batch)

        def share(model: ExactModel, rows: slice) -> tuple[Array, ...]:
            nll, pullback = model.nll(batch[rows])
            pullback(np.full_like(nll, weight))
            return (-weight * nll.sum(),)

        return dict(zip(("elbo",), self.workers.step(share, len(batch))))

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """−log p, and 0 for the KL of no latents, (B,) (B,)"""
        nll, _ = self.nll(as_batch(batch))
        return nll, np.zeros_like(nll)
