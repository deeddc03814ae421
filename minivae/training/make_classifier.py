"""Make evaluation/classifier.safetensors: train the classifier on MNIST, and say how good it is.

    python -m minivae.training.make_classifier

An image is moved by up to two pixels each way, anew every time it is seen, so that features know shapes, not places.
7,035 steps, of which a core that has nothing else to do takes about 20 in a second.  Another machine's arithmetic may
end at other weights: the package keeps one file, and its hash is in evaluation/classifier.py.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from minivae.backend import Array, Generator, array_module, device
from minivae.batch import as_batch
from minivae.data import load
from minivae.evaluation.classifier import WEIGHTS, Classifier
from minivae.nn import Adam, Data, cosine
from minivae.runs import save_parameters
from minivae.training.loop import fit

EPOCHS, BATCH, LR, SEED, REACH = 15, 128, 2e-3, 0, 2


class Shifting(Classifier):
    """It sees every image a little moved while it learns."""

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        """A step on the batch, moved."""
        batch = as_batch(batch)
        return super().train_step(batch.but(x=shifted(batch.x, rng)), rng)


def shifted(x: Array, rng: Generator) -> Array:
    """Each square image moved by −2 … 2 pixels down and right, zeros following        (B, X) -> (B, X)"""
    side, arange = math.isqrt(x.shape[1]), array_module(x).arange
    wide = np.pad(x.reshape(-1, side, side), ((0, 0), (REACH, REACH), (REACH, REACH)))
    down, right = rng.integers(0, 2 * REACH + 1, (2, len(x), 1)) + arange(side)
    return wide[arange(len(x))[:, None, None], down[:, :, None], right[:, None, :]].reshape(len(x), -1)


def make() -> Classifier:
    """Train on MNIST's 60,000 training images, write the weights, and return the classifier."""
    train = load("mnist").part("train")
    rate = cosine(LR, steps=EPOCHS * -(-len(train) // BATCH))
    model = Shifting(device=device("cpu"), seed=SEED, optimizer=Adam(rate))
    fit(model, train, epochs=EPOCHS, batch_size=BATCH, seed=SEED)
    save_parameters(WEIGHTS, model, {"made_by": "python -m minivae.training.make_classifier"})
    return model


if __name__ == "__main__":
    classifier, test = make(), load("mnist").part("test")
    wrong = (classifier.predict(test.x) != test.y).sum()
    raw = WEIGHTS.read_bytes()
    print(f"MNIST's test images: {wrong} of {len(test):,} wrong, {1 - wrong / len(test):.2%} right")
    print(f"{WEIGHTS}: {len(raw):,} bytes, sha256 {hashlib.sha256(raw).hexdigest()}")
