"""The diagnosis says what is true of encoders whose information is known."""

import numpy as np
import pytest
from conftest import traced_memory

from minivae import evaluation, plots
from minivae.backend import device
from minivae.distributions import gaussian_log_prob
from minivae.evaluation import diagnose, diagnosis, evaluate, information
from minivae.parts import DiagonalGaussian, GaussianMixture, Prior, StandardNormal
from minivae.runs import NotFiniteError
from minivae.variants import VAEConfig


class Encoder:
    """A model that is only its encoder: mean = x A, one variance for each latent."""

    def __init__(self, A, variance):
        self.A, self.variance = np.asarray(A, float), np.asarray(variance, float)
        self.device, self.dtype = device("cpu"), np.dtype(np.float64)
        self.posterior, self.prior = DiagonalGaussian(len(self.variance)), StandardNormal(len(self.variance))

    def check(self, x, name="x"):
        pass

    def encode(self, batch):
        x = batch.x
        return x @ self.A, np.broadcast_to(np.log(self.variance), (len(x), len(self.variance))).copy()


rng = np.random.default_rng(12345)     # not 0: the noise of part 0 is default_rng([0, 0]), and that is the same stream
X = rng.standard_normal((2000, 3))


def test_information_of_a_linear_gaussian_encoder():
    """z = a x + noise of variance v, x ~ N(0, 1): I = ½ log(1 + a²/v) for each latent, within 5 standard errors."""
    A, variance = np.diag([1.0, 0.5, 0.0]), [0.3, 0.5, 1.0]
    found = diagnose(Encoder(A, variance), X)
    truth = 0.5 * np.log(1.0 + np.diag(A) ** 2 / variance).sum()
    assert abs(found.information.mean - truth) < 5 * found.information.standard_error + 0.02     # N is finite
    # q(z) is Gaussian too, with variance a² + v: the rest of the KL is that of N(0, a² + v)
    total = np.diag(A) ** 2 + variance
    assert found.marginal_kl == pytest.approx(0.5 * (total - np.log(total) - 1.0).sum(), abs=0.1)
    assert found.total_kl == pytest.approx(found.information.mean + found.marginal_kl)
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


def test_a_latent_that_ignores_x_adds_no_information():
    """Its KL is not zero if it is not the prior: it costs and says nothing.  The noise is the same in both."""
    both = np.column_stack([X @ np.eye(3), np.full(len(X), 2.0)])
    eps, logvar = rng.standard_normal(both.shape), np.full(both.shape, np.log(0.5))
    z = both + np.exp(0.5 * logvar) * eps
    with_it, without = (information(z[:, :k], both[:, :k], logvar[:, :k]) for k in (4, 3))
    np.testing.assert_allclose(with_it, without, rtol=1e-9, atol=1e-9)
    found = diagnose(Encoder(np.zeros((3, 1)), [0.5]), X)
    assert found.information.mean == pytest.approx(0.0, abs=1e-12)
    assert found.marginal_kl == pytest.approx(0.5 * (0.5 - np.log(0.5) - 1.0))
    assert not found.collapsed.any()
    assert not found.active.any()


def test_silence_is_counted_image_by_image():
    """A latent that speaks for every tenth image: KL = μ²/2 is 0.02 there and 0 elsewhere."""
    x = np.zeros((100, 1))
    x[::10] = 0.2
    found = diagnose(Encoder(np.eye(1), [1.0]), x)
    assert found.silent[0] == pytest.approx(0.9)
    assert found.kl[0] == pytest.approx(0.002)
    assert found.collapsed[0]


def test_codes_far_apart_tell_the_image_and_are_capped():
    found = diagnose(Encoder(1e4 * np.eye(3), [1.0] * 3), X[:100])
    assert found.information.mean == pytest.approx(np.log(100.0), abs=1e-9)
    assert found.capped
    assert "near its cap log N = 4.61" in str(found)
    assert "KL(q(z) ‖ p(z))" not in str(found), "the difference to a cap is not a KL"


def test_information_is_its_definition(monkeypatch):
    """Against densities pair by pair, and whatever the size of the parts."""
    mean, logvar, z = rng.standard_normal((3, 20, 4))
    log_q = np.stack([gaussian_log_prob(np.tile(one, (20, 1)), mean, logvar)[0] for one in z])
    expected = np.diag(log_q) - np.log(np.exp(log_q).mean(axis=1))
    np.testing.assert_allclose(information(z, mean, logvar), expected, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(diagnosis, "ROWS", 7)
    np.testing.assert_allclose(information(z, mean, logvar), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_of_the_library(dtype):
    """Its KL is the one that the model reports, in either dtype; the images come in parts of 400."""
    model = VAEConfig(3, (4,), 2, "tanh").build(dtype=dtype)
    model.arena.value[...] *= 3.0
    x = np.clip(np.abs(X), 0, 1).astype(dtype)
    found = diagnose(model, x)
    assert found.total_kl == pytest.approx(evaluate(model, x).kl.mean, rel=1e-5)
    assert found.total_kl > 0.1
    assert found.kl.shape == (2,)
    assert found.kl.dtype == np.float64
    assert found.information.mean <= found.total_kl + 0.05      # I = KL − KL(q(z) ‖ p)
    assert str(found) == str(diagnose(model, x))
    assert found.information != diagnose(model, x, seed=1).information


def test_parts_of_the_images_change_nothing_but_the_noise(monkeypatch):
    whole = diagnose(Encoder(np.eye(3), [0.3] * 3), X[:300])
    monkeypatch.setitem(evaluation.ROWS, "cpu", 37)
    parts = diagnose(Encoder(np.eye(3), [0.3] * 3), X[:300])
    np.testing.assert_allclose(parts.kl, whole.kl, rtol=1e-12)
    np.testing.assert_allclose(parts.silent, whole.silent)
    assert parts.information.mean == pytest.approx(whole.information.mean, abs=0.3)


def test_memory_does_not_grow_with_the_square_of_the_images():
    codes = rng.standard_normal((3, 5000, 5))
    with traced_memory() as peak:
        information(*codes)
        most = peak()
    assert most < 60e6, "5,000 × 5,000 numbers would be 200 MB"


def mixture():
    """Two components in the plane, far from a product of their marginals."""
    prior = GaussianMixture(2, 2, rng=np.random.default_rng(0))
    prior.logits.value[...], prior.mean.value[...] = [0.4, -0.3], [[-1.5, -1.0], [1.0, 1.5]]
    prior.logvar.value[...] = [[-0.5, 0.3], [0.2, -0.8]]
    return prior


def test_the_density_of_one_latent_is_that_of_all_with_the_others_integrated_out():
    prior, line = mixture(), np.linspace(-12.0, 12.0, 601)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    p = np.exp(prior.log_prob(grid.reshape(-1, 2))[0]).reshape(601, 601)
    found = np.exp(prior.log_prob_by_latent(np.stack([line, line], axis=1)))
    np.testing.assert_allclose(found, np.stack([p.sum(axis=1), p.sum(axis=0)], axis=1) * (line[1] - line[0]), atol=1e-9)


def test_kl_from_a_prior_without_a_closed_form():
    """Against integrals over the plane, of every latent by itself and of both together."""
    model, few = Encoder([[1.0, 0.3], [0.0, 0.4], [0.2, 0.0]], [0.3, 0.6]), X[:300]
    model.prior = mixture()
    found = diagnose(model, few)
    line = np.linspace(-9.0, 9.0, 181)
    grid, cell = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2), line[1] - line[0]
    log_p, by_latent = model.prior.log_prob(grid)[0], model.prior.log_prob_by_latent(np.stack([line, line], axis=1))
    logvar, alone, both = np.log(model.variance), 0.0, 0.0
    for mean in few @ model.A:
        log_q = gaussian_log_prob(grid, np.tile(mean, (len(grid), 1)), np.tile(logvar, (len(grid), 1)))[0]
        both += (np.exp(log_q) * (log_q - log_p)).sum() * cell**2 / len(few)
        log_q = -0.5 * ((line[:, None] - mean) ** 2 / model.variance + logvar + np.log(2.0 * np.pi))
        alone += (np.exp(log_q) * (log_q - by_latent)).sum(axis=0) * cell / len(few)
    np.testing.assert_allclose(found.kl, alone, atol=0.03)                     # 300 · 64 draws of about 1 nat each
    assert found.total_kl == pytest.approx(both, abs=0.03)
    assert abs(found.total_kl - found.kl.sum()) > 0.1                          # this p(z) is no product


def test_a_prior_that_cannot_tell_latent_by_latent_is_refused():
    class Joint(Prior):
        latents = 3

    model = Encoder(np.eye(3), [1.0] * 3)
    model.prior = Joint()
    with pytest.raises(ValueError, match=r"its prior, a Joint, does not say p\(z\) latent by latent"):
        diagnose(model, X)


def test_one_image_is_refused():
    with pytest.raises(ValueError, match="x: got 1 images, expected at least 2"):
        diagnose(Encoder(np.eye(3), [1.0] * 3), X[:1])


@pytest.mark.parametrize("posterior", ["full", "rank_one"])
def test_a_posterior_whose_latents_depend_on_each_other_is_refused(posterior):
    """encode gives its marginals, and their KL is less than the true one."""
    model = VAEConfig(3, (4,), 2, posterior=posterior).build(dtype=np.float64)
    with pytest.raises(ValueError, match=r"latents depend on each other .*expected a diagonal Gaussian"):
        diagnose(model, np.clip(np.abs(X), 0, 1))


def test_bad_images_and_bad_encoders_are_refused():
    model = VAEConfig(3, (4,), 2).build()
    with pytest.raises(TypeError, match="x: got int64, expected a float array"):
        diagnose(model, np.ones((5, 3), dtype=np.int64))
    with pytest.raises(ValueError, match=r"x: got shape \(5, 4\), expected \(N, 3\)"):
        diagnose(model, np.ones((5, 4), dtype=np.float32))
    model.arena.parameters["encoder.mean.b"].value[...] = np.nan
    with pytest.raises(NotFiniteError, match="encoder gives means or log-variances that are not finite"):
        diagnose(model, np.ones((5, 3), dtype=np.float32))


def test_the_picture_shows_each_latent_s_kl_sorted():
    fig = plots.kl_by_latent({"one": np.array([0.1, 3.0, 0.0]), "two": np.array([1.0, 0.5, 2.0])}, title="two runs")
    (ax,) = fig.axes
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert heights == [[3.0, 0.1, 0.0], [2.0, 1.0, 0.5]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    left = [[bar.get_x() for bar in bars] for bars in ax.containers]
    assert all(a < b < a + 1 for a, b in zip(*left)), "side by side, within the latent's place"
    for bad in ({}, {"one": np.ones((2, 2))}, {"one": np.ones(2), "two": np.ones(3)}):
        with pytest.raises(ValueError, match="kls: got"):
            plots.kl_by_latent(bad)
