"""SDR, SIR and SAR: against a dense least squares, and where the answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.separation import decompose, project_onto_delays, separation_scores

RNG = np.random.default_rng(0)
SOURCES = RNG.standard_normal((2, 300))


def delayed(sources, taps):
    """Every source in every delay, a column each, written out."""
    J, samples = sources.shape
    columns = np.zeros((samples + taps - 1, J * taps))
    for j in range(J):
        for k in range(taps):
            columns[k:k + samples, j * taps + k] = sources[j]
    return columns


@pytest.mark.parametrize(("taps", "J"), [(1, 2), (7, 1), (7, 2), (20, 3)])
def test_a_projection_is_that_of_dense_least_squares(taps, J):
    rng = np.random.default_rng(taps)
    sources, estimates = rng.standard_normal((J, 90)), rng.standard_normal((2, 90))
    columns = delayed(sources, taps)
    padded = np.pad(estimates, ((0, 0), (0, taps - 1)))
    expected = [columns @ np.linalg.lstsq(columns, wave, rcond=None)[0] for wave in padded]
    np.testing.assert_allclose(project_onto_delays(estimates, sources, taps=taps), expected, atol=1e-9)


@pytest.mark.parametrize("taps", [1, 12])
def test_the_three_ratios_are_those_of_dense_least_squares(taps):
    estimates = np.array([[1.0, 0.3], [-0.2, 0.8]]) @ SOURCES + 0.1 * RNG.standard_normal(SOURCES.shape)
    found, columns = decompose(estimates, SOURCES, taps=taps), delayed(SOURCES, taps)
    for i, wave in enumerate(np.pad(estimates, ((0, 0), (0, taps - 1)))):
        everyone = columns @ np.linalg.lstsq(columns, wave, rcond=None)[0]
        for j in range(2):
            own = columns[:, j * taps:(j + 1) * taps]
            target = own @ np.linalg.lstsq(own, wave, rcond=None)[0]
            ratios = [(target, wave - target), (target, everyone - target), (everyone, wave - everyone)]
            np.testing.assert_allclose(found[i, j], [10.0 * np.log10((a**2).sum() / (b**2).sum()) for a, b in ratios])


def test_by_hand():
    """Three waves without a common sample, of power 100, 4, 1: estimate 1 is their sum, with sources the first two.

    Target 100, interference 4, artefacts 1:  SDR 100/5, SIR 100/4, SAR 104/1.
    """
    waves = np.zeros((3, 30))
    waves[0, 0], waves[1, 10], waves[2, 20] = 10.0, 2.0, 1.0
    estimates = np.stack([waves.sum(axis=0), waves[1]])
    scores = separation_scores(estimates, waves[:2], taps=1)
    assert scores.sdr[0] == pytest.approx(10 * np.log10(100 / 5), abs=1e-6)
    assert scores.sir[0] == pytest.approx(10 * np.log10(100 / 4), abs=1e-6)
    assert scores.sar[0] == pytest.approx(10 * np.log10(104 / 1), abs=1e-6)
    assert scores.sdr[1] > 100.0


def test_order_and_loudness_do_not_count_and_a_filter_of_so_many_taps_is_no_mistake():
    estimates = SOURCES + 0.2 * SOURCES[::-1] + 0.05 * RNG.standard_normal(SOURCES.shape)
    plain = separation_scores(estimates, SOURCES, taps=8)
    turned = separation_scores(np.array([[-3.0], [0.1]]) * estimates[::-1], SOURCES, taps=8)
    np.testing.assert_allclose(plain.sdr, turned.sdr)
    assert plain.order.tolist() == [0, 1]
    assert turned.order.tolist() == [1, 0]
    room, sources = RNG.standard_normal(8), SOURCES.copy()
    sources[:, -7:] = 0.0                              # so that nothing is cut off
    through = np.stack([np.convolve(wave, room)[:300] for wave in sources])
    assert separation_scores(through, sources, taps=8).sdr.min() > 90.0
    assert separation_scores(through, sources, taps=4).sdr.max() < 20.0


def test_the_mixture_itself_has_the_sdr_of_its_two_parts():
    """White, equally loud, independent: the other is as loud as the target, 0 dB, and nothing was made up."""
    sources = np.random.default_rng(1).standard_normal((2, 20_000))
    mixture = sources.sum(axis=0)
    found = decompose(np.stack([mixture, mixture]), sources, taps=1)
    np.testing.assert_allclose(found[:, :, :2], 0.0, atol=0.1)
    assert found[:, :, 2].min() > 90.0


def test_bad_input_is_named():
    for estimates, sources, taps, said in (
            (SOURCES[:1], SOURCES, 4, r"estimates: got shape \(1, 300\), expected \(2, 300\)"),
            (SOURCES, SOURCES, 301, r"taps: got 301, expected 1 … 300"),
            (SOURCES * 0.0, SOURCES, 4, "estimates: one of them is silent, or not finite"),
            (SOURCES, SOURCES * np.nan, 4, "sources: one of them is silent, or not finite")):
        with pytest.raises(ValueError, match=said):
            separation_scores(estimates, sources, taps=taps)
