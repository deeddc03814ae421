"""The classifier that comes with the package: its weights are those we know, it is right, and it learns by the loop."""

import hashlib

import numpy as np
import pytest
import standin

from minivae.backend import device
from minivae.batch import Batch
from minivae.data import DataError, load
from minivae.evaluation import Classifier, classifier, digit_classifier, digit_features, evaluate
from minivae.evaluation.classifier import SHA256, WEIGHTS
from minivae.nn import Adam
from minivae.runs import CheckpointError
from minivae.training import fit
from minivae.training.make_classifier import shifted

SMALL = {"side": 6, "classes": 3, "filters": (2, 3, 4), "features": 5}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def small(**options):
    return Classifier(**{"device": device("cpu")} | SMALL | options)


def test_the_file_is_the_one_we_know_and_small():
    raw = WEIGHTS.read_bytes()
    assert hashlib.sha256(raw).hexdigest() == SHA256
    assert len(raw) < 300_000


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[:1000], None])
def test_another_file_is_refused(spoil, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "WEIGHTS", tmp_path / "w.safetensors")
    if spoil:
        (tmp_path / "w.safetensors").write_bytes(spoil(WEIGHTS.read_bytes()))
    digit_classifier.cache_clear()
    try:
        with pytest.raises(CheckpointError, match=r"has the hash .*, expected .*: install minivae again"):
            digit_classifier()
    finally:
        digit_classifier.cache_clear()


def test_it_knows_digits(digits):
    """It has seen these (they are training images of MNIST): the test on images it has not is below."""
    assert (digit_classifier().predict(digits.test) == digits.test_labels).mean() > 0.99


@pytest.mark.slow
def test_it_is_as_good_as_its_docstring_says():
    try:
        mnist = load("mnist")
    except DataError as error:
        pytest.skip(f"MNIST cannot be had: {error}")
    right = (digit_classifier().predict(mnist.test) == mnist.test_labels).mean()
    assert f"{right:.2%}" in " ".join(classifier.__doc__.split())


def test_features_are_64_numbers_of_each_image_whatever_its_neighbours(digits):
    x = digits.test[:600]
    h = digit_features(x)
    assert (h.shape, h.dtype) == ((600, 64), np.float64)
    np.testing.assert_allclose(digit_features(x[::-1])[::-1], h, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((h * h).mean(axis=1), 1.0)
    assert h.std(axis=0).min() > 0.1, "each of them says something"
    by_hand = digit_classifier().features(x).clip(min=0) @ digit_classifier().head.W.value
    by_hand += digit_classifier().head.b.value
    assert (by_hand.argmax(axis=1) == digit_classifier().predict(x)).all()


@pytest.mark.parametrize(("images", "said"), [
    (np.zeros((3, 100)), r"images: got shape \(3, 100\), expected \(N, 784\) with N at least 1: the classifier knows"),
    (np.zeros((0, 784)), r"images: got shape \(0, 784\)"),
    (np.zeros(784), r"images: got shape \(784,\)"),
    (np.full((2, 784), 255.0), r"images: pixels lie in \[255, 255\], expected \[0, 1\]"),
    (np.full((2, 784), np.nan), r"images: pixels lie in \[nan, nan\]"),
])
def test_other_images_are_refused(images, said):
    with pytest.raises(ValueError, match=said):
        digit_features(images)


def test_it_learns_by_the_loop_of_all_models():
    """Three classes of noisy stripes: from a third right to nearly all, and the record is log p(y|x)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = (0.3 * rng.random((300, 6, 6)) + 0.7 * (np.arange(6) // 2 == y[:, None])[:, None, :]).reshape(300, 36)
    batch = Batch(x=x.astype(np.float32), y=y)
    model = small(optimizer=Adam(1e-2))
    history = fit(model, batch, epochs=4, batch_size=20, valid=batch[:50], progress=False)
    assert (model.predict(batch.x) == y).mean() > 0.95
    assert history[-1]["valid_elbo"] == pytest.approx(evaluate(model, batch[:50]).elbo.mean, rel=1e-5)
    assert history[-1]["valid_kl"] == 0.0
    assert history[0]["train_elbo"] < history[-1]["train_elbo"] < 0


def test_before_it_learns_every_label_is_a_guess():
    """The head's weights small: −log p(y|x) = log 3"""
    model = small(dtype=np.float64)
    model.head.W.value[...] = 0.0
    nll, _ = model.label_nll(x=np.random.default_rng(0).random((5, 36)), labels=np.arange(5) % 3)
    np.testing.assert_allclose(nll, np.log(3))


def test_a_step_on_a_device_waits_for_nothing_and_is_the_cpu_s(cupy_standin):
    there, here = small(device=device("cuda")), small()
    x, y = np.random.default_rng(0).random((8, 36), dtype=np.float32), np.arange(8) % 3
    batch = Batch(x=x, y=y).on(there.device, np.float32)
    with standin.forbid():
        found = there.train_step(batch, there.device.rng(0))["elbo"]
    assert float(found.get()) == pytest.approx(float(here.train_step(Batch(x=x, y=y), None)["elbo"]), rel=1e-5)
    np.testing.assert_allclose(there.arena.value.get(), here.arena.value, atol=1e-5)
    np.testing.assert_allclose(there.features(batch.x).get(), here.features(x), atol=1e-4)


@pytest.mark.parametrize(("batch", "said"), [
    (Batch(x=np.zeros((4, 36), np.float32)), r"Classifier needs y \(labels or conditions\)"),
    (Batch(x=np.zeros((4, 35), np.float32), y=np.zeros(4, int)), r"images: got shape \(4, 35\), expected \(N, 36\)"),
    (Batch(x=np.zeros((4, 36), np.float32), y=np.full(4, 3)), r"y: got int64 \(4,\) from 3 to 3, expected .* in 0 … 2"),
    (Batch(x=np.zeros((4, 36), np.float32), y=np.zeros(4)), "y: got float64"),
])
def test_bad_data_is_explained_before_training(batch, said):
    model = small()
    with pytest.raises(ValueError, match=said):
        fit(model, batch, epochs=1, progress=False)
    assert model.optimizer.steps == 0


def test_shifted_images_are_moved_whole_and_filled_with_zeros():
    x = np.zeros((200, 28, 28), np.float32)
    x[:, 10, 17] = np.arange(1, 201)
    moved = shifted(x.reshape(200, 784), np.random.default_rng(0)).reshape(200, 28, 28)
    image, row, column = np.nonzero(moved)
    assert image.tolist() == list(range(200))
    np.testing.assert_array_equal(moved[image, row, column], np.arange(1, 201))
    assert set(row) == set(range(8, 13))
    assert set(column) == set(range(15, 20))
    corner = np.ones((50, 784), np.float32)
    assert shifted(corner, np.random.default_rng(1)).sum(axis=1).min() >= 26 * 26
    assert moved.dtype == np.float32
