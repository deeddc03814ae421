"""Chapter 33's data, walked: nobody is told what is said in noisy speech, and no test speech is learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, imported

from minivae.backend import device
from minivae.batch import as_batch
from minivae.chapter import Options
from minivae.data import SpokenDigits, made_voices
from minivae.evaluation import Classifier
from minivae.vae import VAE

OPT = Options(device("cpu"), seed=0, epochs=1, data="", out=ROOT, quick=True, show=False)


@pytest.fixture(scope="module")
def chapter():
    with imported(ROOT / "chapters" / "ch33_speech_augmentation.py") as module:
        yield module


@pytest.fixture(scope="module")
def data() -> SpokenDigits:
    """In the quick setting recordings 0 are for testing, 5 are labelled, 6 are not, and 1 … 4 are nobody's."""
    return made_voices(each=7)


def test_labels_of_noisy_speech_are_never_read(chapter, data):
    """With labels that no recogniser could learn, all is the same, bit for bit."""
    unlabelled = data.index == 6
    lies = replace(data, digit=np.where(unlabelled, -999, data.digit))
    (rows, task, _, mu, _), (others, task_, _, mu_, _) = (chapter.all_of_them(those, OPT, 0) for those in (data, lies))
    assert set(rows) == {chapter.CLEAN, chapter.DECODED, chapter.REPLACED, chapter.PERTURBED, chapter.TRUE}
    for name in rows:
        np.testing.assert_array_equal(rows[name], others[name])
    np.testing.assert_array_equal(mu, mu_)
    assert len(task.noisy) == unlabelled.sum() == 60
    assert sorted(task.digit) == sorted(task_.digit) == sorted(data.digit[data.index == 5])


def test_the_labels_of_clean_speech_are(chapter, data):
    """If they were not, the test above would prove nothing."""
    wrong = replace(data, digit=np.where(data.index == 5, -999, data.digit))
    task = chapter.prepared(wrong, OPT, 0)
    with pytest.raises(ValueError, match=r"y: got int64 .* from -999 to -999"):
        chapter.accuracies(task, [], OPT, 0)


def test_no_test_speech_reaches_a_training_step(chapter, data, monkeypatch):
    """What is learned from, with test speech that is something else: the same, row by row."""
    seen = []
    for kind in (Classifier, VAE):
        step = kind.train_step

        def spied(model, batch, rng, step=step):
            seen[-1].append(as_batch(batch).x)
            return step(model, batch, rng)

        monkeypatch.setattr(kind, "train_step", spied)
    rng = np.random.default_rng(0)
    waves = tuple(rng.standard_normal(len(wave)).astype(np.float32) if i < 5 else wave
                  for wave, i in zip(data.waves, data.index))
    for those in (data, replace(data, waves=waves)):
        seen.append([])
        task = chapter.prepared(those, OPT, 0)
        model, _ = chapter.vae_of(task, OPT, 0)
        copies = chapter.replaced(model, task, chapter.vectors(model, task), np.random.default_rng(1))
        chapter.accuracies(task, [copies], OPT, 0)
    assert len(seen[0]) == len(seen[1]) > 10
    for a, b in zip(*seen):
        np.testing.assert_array_equal(a, b)


def test_by_its_own_vector_no_recording_changes(chapter, data):
    task = chapter.prepared(data, OPT, 0)
    model, _ = chapter.vae_of(task, OPT, 0)
    mu = chapter.vectors(model, task)
    z, whose = chapter.encode(model, task.clean, chapter.FAR)
    own = mu[task.session[whose]]
    plain = chapter.decode(model, z, whose, task.clean)
    same = chapter.decode(model, chapter.replace(z, own=own, other=own), whose, task.clean)
    assert all(np.array_equal(a, b) for a, b in zip(plain, same))
    assert [len(x) for x in plain] == [len(x) for x in task.clean]
    moved = chapter.replaced(model, task, mu, np.random.default_rng(0))
    assert not any(np.allclose(a, b) for a, b in zip(plain, moved))
