"""The same steps on one thread and on two."""

import numpy as np


def train_alike(build, batch):
    """Raise AssertionError unless two models end alike that take twenty steps, one on each number of threads."""
    models = [build() for _ in range(2)]
    for model, threads in zip(models, (1, 2)):
        model.workers.rows_each = 16
        model.workers.hire(threads)
        rng = np.random.default_rng(0)
        for _ in range(20):
            model.train_step(batch, rng)
    for name in models[0].networks:
        np.testing.assert_allclose(*(model.networks[name].arena.value for model in models), rtol=1e-8, atol=1e-12)
