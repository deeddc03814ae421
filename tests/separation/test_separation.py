"""Demixing: a likelihood that is a density, steps that never fall, and mixtures whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.separation import Patterns, demix, ilrma, log_likelihood, project, project_back, separate

J, F, N = 2, 3, 40


def noise(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2.0)


def matrices(rng, sources=J, frequencies=F):
    return noise(rng, frequencies, sources, sources) + 1.5 * np.eye(sources)


class Known:
    """A source whose variance somebody told."""

    def __init__(self, variance):
        self.variance = variance

    def learn(self, power):
        pass


def uncorrelated(rng, sources=J):
    """Sources of two kinds of frames, loud and soft, that have no correlation in either: exactly, not on average."""
    waves, loudness = np.empty((sources, F, N), complex), np.array([[4.0, 0.5], [0.3, 2.0], [1.0, 1.0]])[:sources]
    for half, frames in enumerate((slice(0, N // 2), slice(N // 2, N))):
        for f in range(F):
            q, _ = np.linalg.qr(noise(rng, N // 2, sources))               # orthonormal columns
            waves[:, f, frames] = (q * np.sqrt(loudness[:, half] * N / 2)).T
    variances = np.repeat(loudness[:, None], N // 2, axis=2).repeat(F, axis=1)
    return waves, variances.reshape(sources, F, N)


# ── the likelihood ────────────────────────────────────────────────────────────────────────────────


def test_the_likelihood_is_that_of_the_mixture_s_covariance():
    """x = A y is Gaussian with covariance A diag(v) Aᴴ: written so, without W."""
    rng = np.random.default_rng(0)
    A, x, v = matrices(rng), noise(rng, J, F, N), rng.uniform(0.5, 2.0, (J, F, N))
    expected = 0.0
    for f in range(F):
        for n in range(N):
            covariance = A[f] @ np.diag(v[:, f, n]) @ A[f].conj().T
            expected -= (np.log(np.pi**J * np.linalg.det(covariance).real)
                         + (x[:, f, n].conj() @ np.linalg.solve(covariance, x[:, f, n])).real)
    assert log_likelihood(np.linalg.inv(A), x, v) == pytest.approx(expected, rel=1e-12)


def test_the_density_integrates_to_one():
    """One frequency, one frame, two microphones, of real numbers along two lines: over a grid of four dimensions."""
    rng = np.random.default_rng(1)
    W, v = matrices(rng, frequencies=1), rng.uniform(0.5, 1.0, (J, 1, 1))
    line = np.linspace(-3.2, 3.2, 33)
    a, b, c, d = np.meshgrid(*(line,) * 4, indexing="ij")
    y = np.stack([(a + 1j * b).ravel(), (c + 1j * d).ravel()])
    x = np.linalg.inv(W[0]) @ y                        # a grid of y is one of x, stretched by |det W|⁻²
    logs = np.array([log_likelihood(W, np.zeros((J, 1, 1), complex), v)]) - (np.abs(W[0] @ x) ** 2 / v[:, :, 0]).sum(0)
    cell = (line[1] - line[0]) ** 4 / np.abs(np.linalg.det(W[0])) ** 2
    assert np.exp(logs).sum() * cell == pytest.approx(1.0, abs=1e-3)


def test_a_ridge_is_noise_that_every_microphone_has():
    """… of that power: as if as many frames again, without a source, were added in proportion."""
    rng = np.random.default_rng(2)
    W, x, v = matrices(rng), noise(rng, J, F, N), rng.uniform(0.5, 2.0, (J, F, N))
    less = log_likelihood(W, x, v) - log_likelihood(W, x, v, ridge=0.3)
    assert less == pytest.approx(N * 0.3 * (np.abs(W) ** 2).sum(), rel=1e-9)


# ── iterative projection ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("sources", [2, 3])
def test_a_projection_is_the_maximum_over_its_row(sources, ridge):
    """No step away from it, in any direction, is better; wᴴ V w = 1; other rows are as they were."""
    rng = np.random.default_rng(3)
    W, x = matrices(rng, sources), noise(rng, sources, F, N)
    v = rng.uniform(0.2, 3.0, (sources, F, N))
    for row in range(sources):
        before = log_likelihood(W, x, v, ridge=ridge)
        moved = project(W, x, v[row], row=row, ridge=ridge)
        best = log_likelihood(moved, x, v, ridge=ridge)
        assert best > before
        np.testing.assert_array_equal(np.delete(moved, row, axis=1), np.delete(W, row, axis=1))
        for _ in range(20):
            other = moved.copy()
            other[:, row] += 1e-3 * noise(rng, F, sources)
            assert log_likelihood(other, x, v, ridge=ridge) < best
        y = demix(moved, x)[row]
        size = (np.abs(y) ** 2 / v[row]).mean(axis=1) + ridge * (np.abs(moved[:, row]) ** 2).sum(axis=1)
        np.testing.assert_allclose(size, 1.0, rtol=1e-10)
        W = moved


def test_by_hand():
    """One frequency, W = I, two frames: x = (1, 0), (1, 1), v = 1. V = ½ [[2, 1], [1, 1]], V⁻¹ e₁ = (2, −2)ᵀ, and
    (2, −2) V (2, −2)ᵀ = ½ · 4 (2 − 2 + 1) = 2: w = (√2, −√2)."""
    x = np.array([[[1.0, 1.0]], [[0.0, 1.0]]], complex)
    W = project(np.eye(2, dtype=complex)[None], x, np.ones((1, 2)), row=0)
    np.testing.assert_allclose(W[0], [[np.sqrt(2.0), -np.sqrt(2.0)], [0.0, 1.0]], atol=1e-12)


@pytest.mark.parametrize("sources", [2, 3])
def test_sources_that_are_told_apart_by_loudness_alone_come_out_exactly(sources):
    """Two sources: the rows of W A are those of the identity, but for a factor; three with two kinds of frames too."""
    rng = np.random.default_rng(4)
    s, v = uncorrelated(rng, sources)
    A = matrices(rng, sources)
    found = separate(demix(A, s), [Known(each) for each in v], sweeps=60, ridge=0.0)
    WA = project_back(found.W) @ A
    off = WA * (1.0 - np.eye(sources))
    assert np.abs(off).max() < 1e-8
    np.testing.assert_allclose(found.sources, A[:, 0, :].T[:, :, None] * s, atol=1e-7)    # as microphone 1 hears them


def test_other_sources_in_other_order_are_other_rows():
    rng = np.random.default_rng(5)
    s, v = uncorrelated(rng)
    x = demix(matrices(rng), s)
    one, other = (separate(x, [Known(each) for each in order], sweeps=60, ridge=0.0) for order in (v, v[::-1]))
    np.testing.assert_allclose(project_back(one.W), project_back(other.W)[:, ::-1], atol=1e-8)
    np.testing.assert_allclose(one.sources, other.sources[::-1], atol=1e-7)


def test_what_is_not_mixed_stays():
    s, v = uncorrelated(np.random.default_rng(6))
    found = separate(s, [Known(each) for each in v], sweeps=3, ridge=0.0)
    np.testing.assert_allclose(project_back(found.W)[:, 0, 0], 1.0, atol=1e-12)
    np.testing.assert_allclose(found.W * (1.0 - np.eye(J)), 0.0, atol=1e-12)


@pytest.mark.parametrize("microphone", [0, 1, 2])
def test_projected_back_the_sources_add_up_to_the_microphone(microphone):
    rng = np.random.default_rng(7)
    W, x = matrices(rng, 3), noise(rng, 3, F, N)
    scaled = project_back(rng.uniform(0.1, 9.0, (F, 3, 1)) * W, microphone=microphone)
    np.testing.assert_allclose(demix(scaled, x).sum(axis=0), x[microphone], atol=1e-12)
    np.testing.assert_allclose(scaled, project_back(W, microphone=microphone), atol=1e-12)


# ── ILRMA ─────────────────────────────────────────────────────────────────────────────────────────


def spectrograms(rng, sources, frequencies=12, frames=60):
    """Sources that are patterns indeed."""
    v = rng.gamma(0.3, 1.0, (sources, frequencies, 2)) @ rng.gamma(0.3, 1.0, (sources, 2, frames)) + 1e-4
    return np.sqrt(v) * noise(rng, sources, frequencies, frames)


@pytest.mark.parametrize("sources", [2, 3])
def test_no_step_of_ilrma_ever_falls(sources):
    rng, told = np.random.default_rng(8), []
    s = spectrograms(rng, sources)
    x = demix(matrices(rng, sources, s.shape[1]), s)
    found = ilrma(x, rng=rng, sweeps=15, watch=lambda step, objective: told.append((step, objective)))
    assert [step for step, _ in told] == ["learn", "project"] * (15 * sources)
    values = np.array([value for _, value in told])
    assert (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()
    assert found.objective == [pytest.approx(value) for value in values[2 * sources - 1::2 * sources]]


def test_ilrma_separates_what_it_is_made_for():
    rng = np.random.default_rng(9)
    s = spectrograms(rng, 2, frames=200)
    A = matrices(rng, 2, s.shape[1])
    found = max((ilrma(demix(A, s), rng=np.random.default_rng(seed), sweeps=60) for seed in range(3)),
                key=lambda separation: separation.objective[-1])
    images, power = A[:, 0, :].T[:, :, None] * s, np.abs(found.sources) ** 2
    errors = [(np.abs(found.sources[list(order)] - images) ** 2).sum() / power.sum() for order in ((0, 1), (1, 0))]
    assert min(errors) < 1e-2


def test_patterns_find_what_is_of_few_patterns():
    """A power spectrogram of rank 2: where v = P everywhere the surprise is Σ log P + 1, and nothing is better."""
    rng = np.random.default_rng(10)
    P = rng.gamma(1.0, 1.0, (8, 2)) @ rng.gamma(1.0, 1.0, (2, 30)) + 0.1
    source, told = Patterns(8, 30, patterns=2, rng=rng, least=0.1), []
    for _ in range(3000):
        source.learn(P)
        told.append((np.log(source.variance) + P / source.variance).sum())
    assert (np.diff(told) <= 1e-9).all()
    assert told[-1] == pytest.approx((np.log(P) + 1.0).sum(), abs=0.05)


def test_a_silent_frequency_needs_the_ridge():
    rng = np.random.default_rng(11)
    x = demix(matrices(rng), noise(rng, J, F, N))
    x[:, 0] = 0.0
    with pytest.raises(np.linalg.LinAlgError):
        project(np.eye(J, dtype=complex)[None].repeat(F, axis=0), x, np.ones((F, N)), row=0)
    found = ilrma(x, rng=rng, sweeps=5)
    assert np.isfinite(found.sources).all()
    np.testing.assert_allclose(found.sources.sum(axis=0), x[0], atol=1e-6)


def test_bad_input_is_named():
    rng = np.random.default_rng(12)
    x, models = noise(rng, J, F, N), [Known(np.ones((F, N)))] * J
    for wrong, said in ((x.real, r"x: got float64 \(2, 3, 40\), expected complex \(2, frequencies, frames\)"),
                        (x[:1], r"x: got complex128 \(1, 3, 40\), expected complex \(2,"),
                        (x * np.array([1.0, 0.0])[:, None, None], "x: one of its channels is silent")):
        with pytest.raises(ValueError, match=said):
            separate(wrong, models, sweeps=1)
    with pytest.raises(ValueError, match="sweeps: got 0, expected at least 1"):
        separate(x, models, sweeps=0)
    with pytest.raises(ValueError, match="patterns: got 0, expected at least 1"):
        ilrma(x, rng=rng, patterns=0)
