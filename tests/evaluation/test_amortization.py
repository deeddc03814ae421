"""Where the posterior is known, q* is it, and the gaps are what they should be; nothing of the model is touched."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from test_evaluation import linear_gaussian

from minivae import evaluation, nn
from minivae.backend import device
from minivae.distributions import LOG_2PI
from minivae.evaluation import amortization, amortization_gap, fit_posteriors, importance_weighted_bound
from minivae.evaluation.amortization import path_gradient
from minivae.parallel import Team
from minivae.parts import GaussianShared
from minivae.variants import VAEConfig


def spoil(vae, mean=0.3, logvar=1.0):
    """Shift every posterior mean and log-variance of the encoder."""
    vae.encoder.mean.b.value[...] += mean
    vae.encoder.logvar.b.value[...] += logvar


def kl_between(mean_q, logvar_q, mean_p, logvar_p):
    ratio = np.exp(logvar_q - logvar_p)
    return 0.5 * ((mean_q - mean_p) ** 2 / np.exp(logvar_p) + ratio - np.log(ratio) - 1).sum(axis=1)


def small(dtype=np.float64, **how):
    """An untrained VAE whose posteriors are far from its encoder, and images."""
    model = VAEConfig(12, (8,), 3, **how).build(dtype=dtype, seed=1)
    for p in model.decoder.parameters().values():
        p.value *= 2.0
    return model, (np.random.default_rng(2).random((30, 12)) < 0.4).astype(dtype)


# ── the gradient ────────────────────────────────────────────────────────────────────────────────────

def test_the_path_gradient_is_the_slope_of_the_elbo():
    """The exact F of a linear-Gaussian model, differentiated by finite differences, against the mean of many draws."""
    vae, x, _ = linear_gaussian()
    x, rng = x[:2], np.random.default_rng(0)
    W, b, sigma = vae.decoder.W.value, vae.decoder.b.value, vae.likelihood.std
    mean, logvar = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))

    def free_energy(mean, logvar):
        fit = ((x - b - mean @ W) ** 2).sum(axis=1) + (np.exp(logvar) * (W**2).sum(axis=1)).sum(axis=1)
        expected = -0.5 * (fit / sigma**2 + (mean**2 + np.exp(logvar)).sum(axis=1)
                           + x.shape[1] * np.log(2 * np.pi * sigma**2) + 3 * LOG_2PI)
        return expected + 0.5 * (logvar + 1 + LOG_2PI).sum(axis=1)

    draws = [path_gradient(mean, logvar, model=vae, x=x, eps=rng.standard_normal((500, 2, 3))) for _ in range(200)]
    for i, found in enumerate(np.array(draws).swapaxes(0, 1)):                       # (200, 2, 3)
        error = found.std(axis=0) / np.sqrt(len(found))
        for j in range(3):
            step = [np.zeros(3), np.zeros(3)]
            step[i][j] = 1e-5
            right, left = (free_energy(mean + sign * step[0], logvar + sign * step[1]) for sign in (1, -1))
            assert (np.abs(found.mean(axis=0)[:, j] - (right - left) / 2e-5) < 4.5 * error[:, j]).all()
        assert (error < 0.01 * np.abs(found.mean(axis=0)).max()).all(), "too noisy to prove anything"


def test_at_the_posterior_every_draw_says_zero():
    vae, x, _ = linear_gaussian()
    eps = np.random.default_rng(0).standard_normal((1, 40, 3))
    for slope in path_gradient(*vae.encode(x), model=vae, x=x, eps=eps):
        np.testing.assert_allclose(slope, 0.0, atol=1e-10)


def test_samples_are_averaged_and_images_are_not():
    vae, x, _ = linear_gaussian()
    spoil(vae)
    mean, logvar = vae.encode(x)
    eps = np.random.default_rng(0).standard_normal((5, 40, 3))
    together = path_gradient(mean, logvar, model=vae, x=x, eps=eps)
    alone = [path_gradient(mean[7:8], logvar[7:8], model=vae, x=x[7:8], eps=eps[s:s + 1, 7:8]) for s in range(5)]
    for i in range(2):
        np.testing.assert_allclose(together[i][7], np.mean([slope[i][0] for slope in alone], axis=0), rtol=1e-10)


# ── q* ──────────────────────────────────────────────────────────────────────────────────────────────

def test_q_star_is_the_posterior_where_that_is_a_diagonal_gaussian():
    vae, x, log_p = linear_gaussian()
    posterior = vae.encode(x)
    spoil(vae)
    mean, logvar = fit_posteriors(vae, x)
    assert mean.shape == logvar.shape == (40, 3)
    assert kl_between(mean, logvar, *posterior).max() < 1e-6                         # log p(x) − ELBO(q*)
    gap = amortization_gap(vae, x, bound_samples=50)
    assert gap.fitted.mean == pytest.approx(log_p.mean(), abs=1e-4)
    assert gap.bound.mean == pytest.approx(log_p.mean(), abs=1e-4)
    assert gap.approximation.mean == pytest.approx(0.0, abs=1e-4)


def test_one_step_goes_where_adam_goes():
    """Adam's first step is lr along the sign of the slope: any other learning rate or sign would show."""
    model, x = small()
    start = model.encode(x)
    eps = np.random.default_rng([3, 0]).standard_normal((2, 30, 3))
    slopes = path_gradient(*start, model=model, x=x, eps=eps)
    moved = fit_posteriors(model, x, steps=1, samples=2, lr=0.01, seed=3)
    for before, after, slope in zip(start, moved, slopes):
        np.testing.assert_allclose(after - before, 0.01 * np.sign(slope), rtol=1e-3)


def test_a_q_of_its_own_explains_every_image_better():
    model, x = small()
    gap = amortization_gap(model, x, bound_samples=2000)
    assert gap.amortization.mean > 5 * gap.amortization.standard_error > 0
    assert gap.encoder.mean < gap.fitted.mean < gap.bound.mean
    assert gap.bound.mean == pytest.approx(importance_weighted_bound(model, x, samples=20_000).mean, abs=0.05)


# ── the gaps ────────────────────────────────────────────────────────────────────────────────────────

def test_an_exact_encoder_has_no_gap():
    """But for what Adam makes of slopes that are nothing but rounding: it moves by up to its learning rate, and back.

    How far from the posterior q* ends thus depends on the processor, and is measured: a draw of log w has the mean
    log p(x) − KL and, to first order, the variance 2 KL.
    """
    vae, x, log_p = linear_gaussian()
    posterior, lr = vae.encode(x), 0.05
    kl = kl_between(*fit_posteriors(vae, x, lr=lr), *posterior)
    print(f"KL(q* | posterior): mean {kl.mean():.1e}, worst {kl.max():.1e}")
    assert kl.max() < 0.5 * lr**2 * (np.exp(-posterior[1]) + 0.5).sum(axis=1).max()     # of one step in every direction
    gap = amortization_gap(vae, x, bound_samples=50, lr=lr)
    error = np.sqrt(2 * kl.mean() / (50 * len(x)))
    for name in ("amortization", "approximation", "total"):
        assert abs(getattr(gap, name).mean) < kl.mean() + 5 * error + 1e-12 * abs(log_p.mean())
    assert abs(gap.amortization.mean + kl.mean()) < 5 * error + 1e-12 * abs(log_p.mean())
    assert gap.encoder.mean == pytest.approx(log_p.mean(), rel=1e-12)


@pytest.mark.parametrize(("mean", "logvar"), [(0.2, 0.0), (0.0, 0.5), (-0.3, -1.0)])
def test_a_spoiled_encoder_s_gap_is_the_kl(mean, logvar):
    """It is the same for every image, so the printed error is that of the draws alone: 160,000 in all."""
    vae, x, log_p = linear_gaussian()
    posterior = vae.encode(x)
    spoil(vae, mean, logvar)
    gap = amortization_gap(vae, x, bound_samples=4000)
    kl = kl_between(*vae.encode(x), *posterior).mean()
    assert kl > 0.1
    error = gap.amortization.standard_error
    assert error < 0.01 * kl, "too noisy to prove anything"
    assert abs(gap.amortization.mean - kl) < 5 * error
    assert abs(gap.total.mean - kl) < 5 * gap.total.standard_error
    assert abs(gap.encoder.mean - (log_p.mean() - kl)) < 5 * error


def test_a_posterior_that_is_no_diagonal_gaussian_leaves_an_approximation_gap():
    """With rows of W that are not orthogonal the posterior is correlated: the best diagonal q has the means, and the
    diagonal of the precision, and misses log p(x) by ½ (Σ log Pᵢᵢ − log |P|)."""
    vae, x, _ = linear_gaussian()
    vae.decoder.W.value[1] += 0.4 * vae.decoder.W.value[0]
    W, sigma = vae.decoder.W.value, vae.likelihood.std
    P = np.eye(3) + W @ W.T / sigma**2
    known = 0.5 * (np.log(np.diag(P)).sum() - np.linalg.slogdet(P)[1])
    mean, logvar = fit_posteriors(vae, x, steps=1000, samples=64)
    assert known > 0.2
    np.testing.assert_allclose(mean, (x - vae.decoder.b.value) @ W.T / sigma**2 @ np.linalg.inv(P), atol=0.01)
    np.testing.assert_allclose(np.exp(-logvar), np.broadcast_to(np.diag(P), logvar.shape), rtol=0.03)
    gap = amortization_gap(vae, x, bound_samples=4000, steps=1000)
    mean, logvar = fit_posteriors(vae, x, steps=1000)                                # the same q*, of the same draws
    off = mean - (x - vae.decoder.b.value) @ W.T / sigma**2 @ np.linalg.inv(P)
    kl = 0.5 * (np.exp(logvar) @ np.diag(P) + (off @ P * off).sum(axis=1) - 3 - logvar.sum(axis=1)
                - np.linalg.slogdet(P)[1])
    assert known < kl.mean() < 1.05 * known
    assert gap.approximation.standard_error < 0.03 * known, "too noisy to prove anything"
    assert abs(gap.approximation.mean - kl.mean()) < 5 * gap.approximation.standard_error


def test_the_parts_add_up_and_the_errors_are_paired():
    model, x = small()
    gap = amortization_gap(model, x, bound_samples=100, steps=50)
    assert gap.total.mean == pytest.approx(gap.amortization.mean + gap.approximation.mean)
    assert gap.amortization.mean == pytest.approx(gap.fitted.mean - gap.encoder.mean)
    assert gap.approximation.standard_error < 0.5 * np.hypot(gap.bound.standard_error, gap.fitted.standard_error)
    assert (gap.samples, gap.images) == (100, 30)
    text = str(gap)
    for part in (gap.encoder, gap.fitted, gap.bound, gap.amortization, gap.approximation, gap.total):
        assert str(part) in text
    assert re.match(r"30 images, nats\nIW\(100\)", text)


def test_one_draw_makes_the_bound_an_elbo():
    gap = amortization_gap(*small(), bound_samples=1, steps=20)
    assert gap.approximation.mean == pytest.approx(0.0, abs=1e-12)


# ── in parts, by threads, and without a trace ───────────────────────────────────────────────────────

def test_the_number_of_threads_changes_nothing(monkeypatch):
    model, x = small(np.float32)
    monkeypatch.setitem(evaluation.ROWS, "cpu", 16)                                  # parts of 4 images
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(nn.workers, "_everybody", lambda threads=threads: Team(threads))
        found.append((fit_posteriors(model, x, steps=20), amortization_gap(model, x, steps=20, bound_samples=10)))
    (first, gap), (second, other) = found
    np.testing.assert_array_equal(first, second)
    assert gap == other


@pytest.mark.parametrize("rows", [1, 50, 10**6])
def test_chunks_change_nothing(monkeypatch, rows):
    monkeypatch.setitem(evaluation.ROWS, "cpu", rows)
    vae, x, log_p = linear_gaussian()
    posterior = vae.encode(x)
    spoil(vae)
    assert kl_between(*fit_posteriors(vae, x), *posterior).max() < 1e-6
    gap = amortization_gap(vae, x, bound_samples=7)
    assert gap.fitted.mean == pytest.approx(log_p.mean(), abs=1e-4)
    assert gap.bound.mean == pytest.approx(log_p.mean(), abs=1e-4)


def test_draws_come_in_chunks_and_are_all_counted(monkeypatch):
    """Weights that are known, in chunks of 13, 13 and 4."""
    log_w = np.random.default_rng(0).standard_normal((2, 30, 30)) * 5 - 800          # q, q*; exp of them is 0
    sent = {0: 0, 1: 0}

    def weights(model, x, q, eps):
        which, n = q[1], len(eps)
        sent[which] += n
        return log_w[which, sent[which] - n:sent[which]]

    monkeypatch.setattr(amortization, "_log_weights", weights)
    monkeypatch.setitem(evaluation.ROWS, "cpu", 13 * 30)
    model, x = small()
    q, best = (np.zeros((30, 3)), 0), (np.zeros((30, 3)), 1)
    encoder, fitted, bound = amortization._bounds(model, x, np.random.default_rng(0), q, best, 30)
    np.testing.assert_allclose(encoder, log_w[0].mean(axis=0))
    np.testing.assert_allclose(fitted, log_w[1].mean(axis=0))
    np.testing.assert_allclose(bound, np.log(np.exp(log_w[1] + 800).mean(axis=0)) - 800)


def test_the_same_seed_gives_the_same_q():
    model, x = small(np.float32)
    a, b, c = (fit_posteriors(model, x, steps=5, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0
    assert a.dtype == np.float32


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian_shared", "gaussian_pixel"])
def test_the_model_and_its_gradients_are_as_they_were(likelihood):
    model, x = small(likelihood=likelihood)
    assert (likelihood != "gaussian_shared") or isinstance(model.likelihood, GaussianShared)
    model.arena.grad[...] = np.arange(model.arena.grad.size)
    value, grad, images = model.arena.value.copy(), model.arena.grad.copy(), x.copy()
    fit_posteriors(model, x, steps=3)
    amortization_gap(model, x, steps=3, bound_samples=5)
    np.testing.assert_array_equal(model.arena.value, value)
    np.testing.assert_array_equal(model.arena.grad, grad)
    np.testing.assert_array_equal(x, images)
    assert model.optimizer.steps == 0


def test_progress_is_shown_when_asked_for(capsys):
    model, x = small()
    fit_posteriors(model, x, steps=2)
    assert capsys.readouterr().err == ""
    fit_posteriors(model, x, steps=2, progress=True)
    amortization_gap(model, x, steps=2, bound_samples=2, progress=True)
    shown = capsys.readouterr().err
    assert "q* for each image" in shown
    assert "amortization gap" in shown


def test_it_stays_on_the_device(cupy_standin):
    model = VAEConfig(12, (8,), 3).build(on=device("cuda"))
    mean, logvar = fit_posteriors(model, small(np.float32)[1], steps=3)
    assert isinstance(mean, np.ndarray)
    assert isinstance(logvar, np.ndarray)
    gap = amortization_gap(model, small(np.float32)[1], steps=3, bound_samples=5)
    assert np.isfinite(gap.total.mean)


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("what", [fit_posteriors, amortization_gap])
@pytest.mark.parametrize(("bad", "said"), [
    ({"steps": 0}, "steps: got 0, expected at least 1"),
    ({"samples": 0}, "samples: got 0, expected at least 1"),
    ({"seed": -1}, "seed: got -1, expected at least 0"),
    ({"lr": 0.0}, "lr: got 0.0, expected a finite number > 0"),
    ({"lr": np.inf}, "lr: got inf, expected a finite number > 0"),
    ({"lr": "0.1"}, "lr: got '0.1', expected a finite number > 0"),
])
def test_bad_arguments_are_named(what, bad, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        what(*small(), **bad)


def test_bad_images_models_and_bounds_are_named():
    model, x = small()
    with pytest.raises(ValueError, match=r"bound_samples: got 0, expected at least 1"):
        amortization_gap(model, x, bound_samples=0)
    with pytest.raises(ValueError, match=r"x: got shape \(0, 12\)"):
        fit_posteriors(model, x[:0])
    with pytest.raises(ValueError, match=r"x: got shape \(30, 11\)"):
        amortization_gap(model, x[:, 1:])
    with pytest.raises(TypeError, match="x: got int64, expected a float array"):
        fit_posteriors(model, x.astype(np.int64))
    with pytest.raises(TypeError, match="model: got SimpleNamespace, expected a VAE"):
        fit_posteriors(SimpleNamespace(), x)
    full = VAEConfig(12, (8,), 3, posterior="full").build()
    with pytest.raises(ValueError, match="expected a diagonal Gaussian"):
        fit_posteriors(full, x)
