"""Chapter 31's data, walked: no image of an unseen class reaches a training step, and labels of theirs reach nothing.

The unseen images are made of NaN here, so that a single touch would be NaN everywhere, or stop a training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, imported

from minivae.backend import device
from minivae.batch import as_batch
from minivae.chapter import Options
from minivae.data.alphadigits import CHARACTERS, unseen
from minivae.evaluation import Classifier, by_neighbours, by_probability, choose_eszsl, self_train
from minivae.runs import NotFiniteError
from minivae.variants import ZeroVAEGAN

EACH, HELD, SIDE = 6, 2, 8
OUT, ALL = unseen(3), np.arange(36)
OPT = Options(device("cpu"), seed=0, epochs=1, data="", out=ROOT, quick=True, show=False)


@pytest.fixture(scope="module")
def chapter():
    with imported(ROOT / "chapters" / "ch31_zero_vae_gan.py") as module:
        yield module


def parts(poison):
    """Square images of 36 classes, to learn from and to test on; those of unseen classes are NaN, or noise"""
    rng, found = np.random.default_rng(0), []
    means = rng.random((36, SIDE * SIDE)) < 0.4
    for each in (EACH, HELD):
        labels = np.repeat(ALL, each)
        images = (means[labels] ^ (rng.random((len(labels), SIDE * SIDE)) < 0.05)).astype(np.float32)
        if poison:
            images[np.isin(labels, OUT)] = np.nan
        found.append((images, labels))
    return found


@pytest.fixture
def seen_by(monkeypatch):
    """Every batch that any training step is given."""
    batches = []
    for kind in (Classifier, ZeroVAEGAN):
        step = kind.train_step

        def spied(model, batch, rng, step=step):
            batches.append(as_batch(batch))
            return step(model, batch, rng)

        monkeypatch.setattr(kind, "train_step", spied)
    return batches


def test_no_image_of_an_unseen_class_reaches_a_training_step(chapter, seen_by):
    found, made, chosen = {}, {}, {}
    for poison in (False, True):
        data = parts(poison)
        found[poison] = task = chapter.task(data, OUT, ALL, OPT, 0)
        made[poison] = chapter.with_made(task, chapter.generator(task, OPT, 0), 0)
        chosen[poison] = choose_eszsl(list(chapter.divisions(data, task.seen, OPT, 0)), chapter.attributes())
    assert len(seen_by) > 10
    assert all(np.isfinite(array).all() for batch in seen_by for array in batch.arrays.values())
    for clean, poisoned in zip(made[False], made[True]):
        np.testing.assert_array_equal(clean, poisoned)
    assert chosen[False] == chosen[True]
    assert not np.isfinite(found[True].images[0]).any(), "they are there, to be classified"
    assert set(found[True].train[1]) | set(found[True].test[1]) == set(ALL) - set(OUT)
    assert set(np.unique(made[True][1])) == set(ALL)


def test_features_of_a_classifier_that_saw_the_unseen_would_be_noticed(chapter):
    """The famous leak: a network trained on everything.  With these images it cannot even be trained."""
    (images, labels), _ = parts(poison=True)
    with pytest.raises(NotFiniteError):
        chapter.features_of(images, labels, OPT, 0)


@pytest.mark.parametrize("guess", [by_probability, by_neighbours])
def test_self_training_is_given_images_and_no_label(chapter, guess):
    """Other labels of the unseen images are another score, and the same classifier."""
    task = chapter.task(parts(poison=False), OUT, ALL, OPT, 0)
    data = chapter.with_made(task, chapter.generator(task, OPT, 0), 0, each=20)
    images, labels = task.images
    scores = self_train(data, images, OUT, classify=chapter.classify, guess=guess, rounds=2)
    again = replace(task, images=(images, np.roll(labels, 7)))
    others = self_train(data, again.images[0], OUT, classify=chapter.classify, guess=guess, rounds=2)
    np.testing.assert_array_equal(scores(images), others(images))
    assert chapter.judged(task, scores) != chapter.judged(again, scores)


def test_no_split_has_one_of_0_and_o_unseen_and_every_class_is_somewhere(chapter):
    data = parts(poison=False)
    for split in range(5):
        out = chapter.left_out(data, split)
        np.testing.assert_array_equal(out, unseen(split))
        assert not {CHARACTERS[c] for c in out} & {"0", "O"}
