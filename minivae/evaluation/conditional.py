"""How probable is y, given x?  log p(y|x) of a conditional VAE, by two estimators, beside its baseline's.

    by q        log (1/S) Σ p(y, zₛ|x) / q(zₛ|x, y),   zₛ ~ q(z|x, y)
    by p        log (1/S) Σ p(y|x, zₛ),                zₛ ~ p(z|x)

The average of weights is unbiased for p(y|x), both ways; so its logarithm is, in expectation, a lower bound on
log p(y|x), that grows with S.  q has seen y and looks where it matters: of the two the larger is the nearer.
Sohn, Lee and Yan 2015, section 4.1.  Nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.evaluation.bounds import Estimate, log_mean_weights, over_parts
from minivae.variants.cvae import CVAE


@dataclass(frozen=True)
class ConditionalLikelihood:
    """log p(y|x), on average over examples."""

    by_q: Estimate
    by_p: Estimate
    baseline: Estimate
    gain: Estimate                     # by_q − baseline, example by example
    samples: int
    examples: int

    def __str__(self) -> str:
        return (f"log p(y|x) of {self.examples:,} examples, nats: baseline {self.baseline}; "
                f"{self.samples} draws of p(z|x) {self.by_p}, of q(z|x, y) {self.by_q}; "
                f"q's above the baseline by {self.gain}")


def conditional_log_likelihood(model: CVAE, data: Batch, *, samples: int = 100, seed: int = 0,
                               progress: bool = False) -> ConditionalLikelihood:
    """The table's row of a model, on examples with x and y.  Raises ValueError if there are none, or samples < 1."""
    by_q, by_p = (log_mean_weights(weights, model, data, samples=samples, seed=seed, progress=progress)
                  for weights in (model.log_weights, model.prior_log_weights))
    parts = over_parts(model, data, lambda part, rng: -model.baseline_nll(x=part.x, y=part.y)[0])
    baseline = np.concatenate([to_numpy(part) for part in parts])
    return ConditionalLikelihood(Estimate.of(by_q), Estimate.of(by_p), Estimate.of(baseline),
                                 Estimate.of(by_q - baseline), samples, len(data))
