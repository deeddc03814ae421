"""A small classifier of 28×28 images, whose features say how near generated images are to real ones.

Its weights come with the package (classifier.safetensors, whose hash is checked), so that it works offline.  They were
trained on MNIST's 60,000 training images by

    python -m minivae.training.make_classifier

which then says how it does on MNIST's 10,000 test images, of which it saw none: 77 wrong, 99.23% right.  (The images of
the data set `digits`, test part included, are training images of MNIST: it saw them all.)

Of other images than digits its features say less: a Fréchet distance on fashion_mnist ranks models by what matters in
digits.  What is measured with it is not FID, which is another network's.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import Array, Device, Pullback, device, to_numpy
from minivae.batch import Batch, as_batch, check_labels
from minivae.distributions import categorical_nll
from minivae.evaluation.exact import ExactModel
from minivae.nn import Activation, Conv2d, Data, Linear, Optimizer, Reshape, Sequential, by_rows, he
from minivae.ops import relu
from minivae.runs import CheckpointError, load_parameters

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
SHA256 = "70cd0a1264559cdf5a8385241aa4ee7a6f4a5f3d579bdcb6cb70697bf943784b"
HALVES: dict[str, Any] = {"kernel": 3, "stride": 2, "padding": 1}      # a side of n becomes one of ⌈n/2⌉


class Classifier(ExactModel):
    """p(y|x): three convolutions that halve the image, a layer of features, and a softmax.

    side       of the square images, in pixels
    classes    labels are whole numbers below it
    filters    of the convolutions
    features   how many numbers the last hidden layer makes of an image
    """

    needs = ("x", "y")

    def __init__(self, *, device: Device, side: int = 28, classes: int = 10,
                 filters: tuple[int, int, int] = (16, 32, 48), features: int = 64, seed: int = 0,
                 dtype: type = np.float32, optimizer: Optimizer | None = None) -> None:
        rng, (one, two, three) = np.random.default_rng(seed), filters
        small = -(-side // 8)
        self.pixels, self.classes, self.width = side * side, classes, features
        self.trunk = Sequential(
            Reshape(side, side, 1),
            Conv2d(1, one, **HALVES, rng=rng, init=he), Activation(relu),
            Conv2d(one, two, **HALVES, rng=rng, init=he), Activation(relu),
            Conv2d(two, three, **HALVES, rng=rng, init=he), Activation(relu),
            Reshape(small * small * three), Linear(small * small * three, features, rng=rng, init=he))
        self.head = Linear(features, classes, rng=rng)
        self.learns(classifier=self.parameters(), device=device, dtype=dtype, rows_each=16,
                    optimizers={"classifier": optimizer} if optimizer else None)

    def check(self, data: Data, name: str = "x") -> None:
        """Raise ValueError unless there are images (N, pixels) and labels below `classes`."""
        super().check(data, name)
        x, y = as_batch(data).x, as_batch(data).y
        if x.ndim != 2 or len(x) == 0 or x.shape[1] != self.pixels:
            raise ValueError(f"{name}: got shape {x.shape}, expected (N, {self.pixels}) with N at least 1")
        check_labels(y, self.classes, "y")

    def label_nll(self, *, x: Array, labels: Array) -> tuple[Array, Pullback]:
        """−log p(y|x)        x (B, X), labels (B,) -> (B,)"""
        h, pull_trunk = self.trunk(x)
        active, pull_relu = relu(h)
        logits, pull_head = self.head(active)
        nll, pull_nll = categorical_nll(logits, labels=labels)

        def pullback(dnll: Array) -> None:
            pull_trunk(pull_relu(pull_head(pull_nll(dnll))), need_dx=False)

        return nll, pullback

    def nll(self, batch: Batch) -> tuple[Array, Pullback]:
        return self.label_nll(x=batch.x, labels=batch.y)

    def features(self, x: Array) -> Array:
        """The last hidden layer, before its relu        (N, X) -> (N, features)"""
        return by_rows(lambda part: self.trunk(part)[0], x, shape=(self.width,), team=self.workers.team)

    def predict(self, x: Array) -> Array:
        """The likeliest label of each image        (N, X) -> (N,)"""
        return self.head(relu(self.features(x))[0])[0].argmax(axis=1)


@cache
def digit_classifier() -> Classifier:
    """The classifier of the package, on the CPU.

    Raises CheckpointError if its file is not the one that this version of minivae came with.
    """
    found = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() if WEIGHTS.is_file() else "none"
    if found != SHA256:
        raise CheckpointError(f"{WEIGHTS} has the hash {found}, expected {SHA256}, of the file that this version "
                              "came with: install minivae again")
    model = Classifier(device=device("cpu"))
    load_parameters(WEIGHTS, model)
    return model


def digit_features(images: Any, name: str = "images") -> np.ndarray:
    """64 features of 28×28 images in [0, 1], scaled to a mean square of 1, on the host        (N, 784) -> (N, 64)

    They are taken before the relu, and their scale is taken out.  For what is no digit excites little, and would lie
    near 0, among the few digits that do so too: of 500 digits with shuffled pixels, 98% lie among real ones after the
    relu (generators.precision_recall), and 1% do here.
    Raises ValueError for images of another size or range, or none.
    """
    x = to_numpy(images)
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != 784:
        raise ValueError(f"{name}: got shape {x.shape}, expected (N, 784) with N at least 1: the classifier knows "
                         "images of 28×28")
    if not (x.min() >= 0.0 and x.max() <= 1.0):
        raise ValueError(f"{name}: pixels lie in [{x.min():g}, {x.max():g}], expected [0, 1]")
    h = digit_classifier().features(x.astype(np.float32)).astype(np.float64)
    return h / np.sqrt((h * h).mean(axis=1, keepdims=True))
