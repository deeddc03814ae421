"""How often does a model that classifies name the wrong class?"""

from __future__ import annotations

import numpy as np

from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.evaluation.bounds import Estimate, over_parts
from minivae.variants.semi_supervised import M2
from minivae.variants.semi_supervised_text import TextM2


def classification_error(model: M2 | TextM2, data: Batch) -> Estimate:
    """Wrong answers of a semi-supervised model in percent, on `labelled` and `labels`: the likeliest class of q(y|x).

    The standard error is that over examples; other labelled images or another seed may move it further.
    Raises ValueError if there are no examples.
    """
    wrong = over_parts(model, data, lambda part, rng: to_numpy(model.classify(part.labelled) != part.labels))
    return Estimate.of(100.0 * np.concatenate(wrong))
