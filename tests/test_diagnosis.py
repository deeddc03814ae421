"""The diagnosis says what is true of encoders whose information is known."""

import tracemalloc

import numpy as np
import pytest

from minivae import diagnosis
from minivae.diagnosis import diagnose, information
from minivae.distributions import gaussian_log_prob
from minivae.mlp_vae import VAEConfig


class Encoder:
    """A model that is only its encoder: mean = x A, one variance for each latent."""

    def __init__(self, A, variance):
        self.A, self.variance, self.model = np.asarray(A, float), np.asarray(variance, float), None
        self.arena = VAEConfig(len(A), (2,), 1).build(dtype=np.float64).arena

    def check_images(self, x, name="x"):
        pass

    def encode(self, x):
        return x @ self.A, np.broadcast_to(np.log(self.variance), (len(x), len(self.variance))).copy()


rng = np.random.default_rng(12345)     # not 0: the noise of part 0 is default_rng([0, 0]), and that is the same stream
X = rng.standard_normal((2000, 3))


def test_information_of_a_linear_gaussian_encoder():
    """z = a x + noise of variance v, x ~ N(0, 1): I = ½ log(1 + a²/v) for each latent, within 5 standard errors."""
    A, variance = np.diag([1.0, 0.5, 0.0]), [0.3, 0.5, 1.0]
    found = diagnose(Encoder(A, variance), X)
    truth = 0.5 * np.log(1.0 + np.diag(A) ** 2 / variance).sum()
    assert abs(found.information.mean - truth) < 5 * found.information.standard_error + 0.02     # N is finite
    assert 0.0 < found.information.standard_error < 0.05
    assert not found.capped


def test_kl_active_units_and_collapse():
    A, variance = np.diag([1.0, 0.5, 0.0]), [0.3, 0.5, 1.0]
    found = diagnose(Encoder(A, variance), X)
    mean = X @ A
    expected = 0.5 * ((mean**2).mean(axis=0) + variance - np.log(variance) - 1.0)
    np.testing.assert_allclose(found.kl, expected, rtol=1e-12, atol=1e-12)
    assert found.total_kl == pytest.approx(expected.sum())
    assert found.active.tolist() == [True, True, False]
    assert found.collapsed.tolist() == [False, False, True]
    np.testing.assert_allclose(found.variance, mean.var(axis=0), rtol=1e-12)
    report = str(found)
    assert "2 of 3 latents active, 1 collapsed" in report
    assert report.splitlines()[-1].split()[0] == "2", "the most silent comes last"


def test_a_posterior_that_is_the_prior_says_nothing():
    found = diagnose(Encoder(np.zeros((3, 2)), [1.0, 1.0]), X)
    assert found.information.mean == pytest.approx(0.0, abs=1e-12)
    assert found.total_kl == 0.0
    assert found.collapsed.all()
    assert (found.silent == 1.0).all()


def test_codes_far_apart_tell_the_image_and_are_capped():
    found = diagnose(Encoder(1e4 * np.eye(3), [1.0] * 3), X[:100])
    assert found.information.mean == pytest.approx(np.log(100.0), abs=1e-9)
    assert found.capped
    assert "near its cap log N = 4.61" in str(found)


def test_information_is_its_definition(monkeypatch):
    """Against densities pair by pair, and whatever the size of the parts."""
    mean, logvar, z = rng.standard_normal((3, 20, 4))
    log_q = np.stack([gaussian_log_prob(np.tile(one, (20, 1)), mean, logvar)[0] for one in z])
    expected = np.diag(log_q) - np.log(np.exp(log_q).mean(axis=1))
    np.testing.assert_allclose(information(z, mean, logvar), expected, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(diagnosis, "ROWS", 7)
    np.testing.assert_allclose(information(z, mean, logvar), expected, rtol=1e-10, atol=1e-12)


def test_a_model_of_the_library_in_float32():
    model = VAEConfig(3, (4,), 2).build()
    found = diagnose(model, np.clip(np.abs(X), 0, 1).astype(np.float32))
    assert found.kl.shape == (2,)
    assert found.kl.dtype == np.float64
    assert found.information.mean <= found.total_kl + 0.05      # I = KL − KL(q(z) ‖ p)


def test_memory_does_not_grow_with_the_square_of_the_images():
    codes = rng.standard_normal((3, 5000, 5))
    tracemalloc.start()
    information(*codes)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60e6, "5,000 × 5,000 numbers would be 200 MB"


def test_one_image_is_refused():
    with pytest.raises(ValueError, match="x: got 1 images, expected at least 2"):
        diagnose(Encoder(np.eye(3), [1.0] * 3), X[:1])
