"""A batch: rows that belong together stay together."""

import copy

import numpy as np
import pytest

from minivae.backend import device
from minivae.batch import Batch, as_batch
from minivae.data import load

B = Batch(x=np.arange(12.0).reshape(6, 2), y=np.arange(6))


def test_rows_go_together():
    some = B[np.array([4, 1])]
    assert (some.x[:, 0].tolist(), some.y.tolist()) == ([8.0, 2.0], [4, 1])
    assert (len(B), len(B[2:5]), B.names) == (6, 3, ("x", "y"))
    assert B[1:3].x.base is not None, "a slice copies nothing"


def test_floats_change_their_dtype_and_whole_numbers_stay():
    moved = B.but(mask=B.y > 2).on(device("cpu"), np.float32)
    assert [moved.arrays[name].dtype for name in ("x", "y", "mask")] == [np.float32, B.y.dtype, bool]
    assert B.on(device("cpu"), np.float64).x is B.x, "nothing is copied that is right already"


def test_an_array_alone_is_x():
    x = np.zeros((2, 3))
    assert as_batch(x).x is x
    assert as_batch({"x": x, "y": x}).names == ("x", "y")
    assert as_batch(B) is B


def test_it_can_be_copied_and_shown():
    assert copy.deepcopy(B).y.tolist() == B.y.tolist()
    assert repr(B).startswith("Batch(x: float64 (6, 2), y: int")


def test_what_it_lacks_is_said():
    with pytest.raises(AttributeError, match="the batch has no mask, only x, y"):
        _ = B.mask
    with pytest.raises(ValueError, match=r"M needs mask \(which entries count\) and lengths \(of the sequences\), "
                                         "and the data have only x, y: choose"):
        B.require(("x", "mask", "lengths"), "M")
    with pytest.raises(ValueError, match="y: got 2 rows, expected 3, as many as x has"):
        Batch(x=np.zeros(3), y=np.zeros(2))
    with pytest.raises(ValueError, match="got no arrays"):
        Batch()


def test_a_data_set_says_what_it_has():
    digits = load("digits")
    assert digits.has == ("x", "y")
    part = digits.part("test")
    assert (part.x is digits.test, part.y is digits.test_labels) == (True, True)
    with pytest.raises(ValueError, match="digits has no part 'valid'"):
        digits.part("valid")
