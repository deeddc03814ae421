"""Moving latents: by nothing it changes nothing, and where the truth is known it is found."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.evaluation import nuisance_vectors, perturb, principal_directions, replace
from minivae.variants import VAEConfig


def test_nuisance_vectors_are_means_of_their_own_segments():
    z = np.arange(12.0).reshape(6, 2)
    found = nuisance_vectors(z, np.array([1, 0, 1, 0, 0, 1]), recordings=2)
    assert found.tolist() == [z[[1, 3, 4]].mean(axis=0).tolist(), z[[0, 2, 5]].mean(axis=0).tolist()]
    assert nuisance_vectors(z.astype(np.float32), np.zeros(6, int), recordings=1).dtype == np.float32
    with pytest.raises(ValueError, match=r"recording: expected every one of 0 … 2, got 2"):
        nuisance_vectors(z, np.array([0, 0, 2, 2, 0, 0]), recordings=3)
    with pytest.raises(ValueError, match=r"recording: expected every one of 0 … 0, got 2"):
        nuisance_vectors(z, np.array([0, 0, 1, 1, 0, 0]), recordings=1)
    with pytest.raises(ValueError, match=r"recording: got shape \(5,\), expected \(6,\)"):
        nuisance_vectors(z, np.zeros(5, int), recordings=1)


def test_by_one_s_own_vector_nothing_changes():
    """Not in the latents, and so not in what is decoded: bit for bit."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 12)).astype(np.float32)
    model = VAEConfig(12, (8,), 3, likelihood="gaussian_shared").build(seed=1, images=x)
    z = model.encode(x)[0]
    own = nuisance_vectors(z, np.repeat([0, 1, 2], 10), recordings=3)
    same = replace(z, own=own[1], other=own[1])
    assert np.array_equal(same, z)
    assert np.array_equal(model.decode(same), model.decode(z))
    moved = replace(z, own=own[1], other=own[2])
    assert not np.allclose(model.decode(moved), model.decode(z))
    there = replace(z[10:20], own=own[1], other=own[2])
    assert there.mean(axis=0) == pytest.approx(own[2], abs=1e-6), "the recording now has the other's vector"
    assert replace(there, own=own[2], other=own[1]) == pytest.approx(z[10:20], abs=1e-6)


def test_where_words_and_recordings_add_up_replacement_is_exact():
    """z = word + recording, each recording with all words: who is replaced says the same words elsewhere."""
    rng = np.random.default_rng(1)
    words, places = rng.standard_normal((5, 4)), rng.standard_normal((3, 4))
    z = (words[None] + places[:, None]).reshape(15, 4)
    mu = nuisance_vectors(z, np.repeat(np.arange(3), 5), recordings=3)
    assert replace(z[:5], own=mu[0], other=mu[2]) == pytest.approx(z[10:])


def test_directions_are_those_in_which_recordings_differ():
    rng = np.random.default_rng(2)
    e = np.linalg.qr(rng.standard_normal((6, 6)))[0][:2]
    vectors = rng.standard_normal((4000, 2)) * [3.0, 0.5] @ e + 10.0
    found = principal_directions(vectors)
    assert found.spread[:2] == pytest.approx([3.0, 0.5], rel=0.05)
    assert found.spread[2:] == pytest.approx(np.zeros(4), abs=1e-10)
    assert abs(found.e[0] @ e[0]) == pytest.approx(1, abs=1e-3)
    assert found.e @ found.e.T == pytest.approx(np.eye(6), abs=1e-10)
    with pytest.raises(ValueError, match=r"vectors: got shape \(1, 6\)"):
        principal_directions(vectors[:1])


def test_perturbations_have_the_recordings_covariance():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5))
    directions = principal_directions(vectors)
    z = np.zeros((200_000, 5))
    drawn = perturb(z, directions, eta=rng.standard_normal((len(z), 5)), gamma=2.0)
    assert np.cov(drawn.T) == pytest.approx(4 * np.cov(vectors.T), rel=0.05, abs=0.05 * 4 * np.cov(vectors.T).max())
    z = rng.standard_normal((7, 5))
    assert np.array_equal(perturb(z, directions, eta=rng.standard_normal(5), gamma=0.0), z)
    moved = perturb(z, directions, eta=np.eye(5)[0]) - z
    assert moved == pytest.approx(np.tile(directions.spread[0] * directions.e[0], (7, 1))), "one η, one way for all"
