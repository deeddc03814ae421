"""Words in use and bits, on codes whose figures are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.evaluation import code_use
from minivae.evaluation.codes import LevelUse
from minivae.variants import VQVAEConfig


def test_a_level_by_hand():
    level = LevelUse((2, 3), 8, np.array([4, 4, 4, 4, 0, 0, 0, 0]))
    assert level.used == 4
    assert level.perplexity == pytest.approx(4.0)
    assert level.bits_uniform == pytest.approx(18.0)
    assert level.bits_unigram == pytest.approx(12.0)


def test_all_levels_of_all_examples():
    model = VQVAEConfig(8, 8, codes=4, dimensions=2, filters=3, prior_channels=2, prior_blocks=1).build(first_steps=1)
    x = np.random.default_rng(0).random((30, 64)).astype(np.float32)
    found = code_use(model, x)
    assert [level.shape for level in found.levels] == [(4, 4), (2, 2)]
    for level, codes in zip(found.levels, model.codes(x)):
        np.testing.assert_array_equal(level.counts, np.bincount(codes.ravel(), minlength=4))
    assert found.bits.mean == pytest.approx((16 + 4) * 2.0), "of a uniform prior, while the autoencoder learns"
    assert found.bits_unigram <= found.bits.mean
    assert "4×4 numbers: " in str(found)
    assert "30 examples: 40.00 ± 0.00 bits under the prior" in str(found)
