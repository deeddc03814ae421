"""Several data sets as one."""

import numpy as np
import pytest

from minivae.data import DataError, Dataset, load
from minivae.data.mixed import mix


def made(name, train, test, labels, shape=(2, 2), value=0.5):
    rng = np.random.default_rng(len(name))
    part = [np.full((n, 4), value, np.float32) for n in (train, test)]
    y = [rng.integers(labels, size=n) if labels else None for n in (train, test)]
    if labels:
        y[0][:labels] = np.arange(labels)
    return Dataset(name, *part, *y, None, shape, "unit")


def test_as_many_of_each_as_the_smallest_has_and_labels_one_after_the_other():
    found = mix([made("a", 9, 4, 3, value=0.1), made("bb", 6, 5, 0, value=0.2), made("ccc", 7, 4, 2, value=0.3)])
    assert (found.name, found.image_shape, found.valid, found.kind) == ("a+bb+ccc", (2, 2), None, "unit")
    for x, y, each in ((found.train, found.train_labels, 6), (found.test, found.test_labels, 4)):
        np.testing.assert_allclose(x[:, 0], np.repeat([0.1, 0.2, 0.3], each))
        assert [set(part) <= kinds for part, kinds in zip(np.split(y, 3), ({0, 1, 2}, {3}, {4, 5}))] == [True] * 3


def test_named_ones_are_mixed_by_a_plus_the_same_images_every_time():
    one, two = load("digits+sprites"), load("digits+sprites")
    assert one.train.shape == (8000, 784)
    assert np.array_equal(one.train, two.train)
    assert np.array_equal(one.train_labels, two.train_labels)
    assert sorted(np.unique(one.train_labels)) == list(range(13))
    assert np.array_equal(np.unique(one.train[:4000], axis=0), np.unique(load("digits").train, axis=0))


def test_other_shapes_and_names_are_refused():
    with pytest.raises(DataError, match="b has images of 4×1, a of 2×2: only images of one shape can be mixed"):
        mix([made("a", 3, 3, 0), made("b", 3, 3, 0, shape=(4, 1))])
    with pytest.raises(ValueError, match="unknown data set 'nist'"):
        load("digits+nist")
