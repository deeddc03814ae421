"""Binary Alphadigits: the characters, their attributes, and which of them a split leaves out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from minivae.data import DataError, load
from minivae.data.alphadigits import (
    ATTRIBUTES,
    CHARACTERS,
    SPLITS,
    attributes,
    load_alphadigits,
    unseen,
)

PACKED = "binary_alphadigits/binary_alphadigits.npz"
HERE = (Path(os.environ.get("MINIVAE_DATA") or "nowhere") / PACKED).is_file()
here = pytest.mark.skipif(not HERE, reason=f"MINIVAE_DATA does not hold {PACKED}")


def test_attributes_are_those_that_a_hand_wrote_down():
    table = dict(zip(CHARACTERS, attributes()))
    assert attributes().shape == (36, 13)
    assert {name for name, yes in zip(ATTRIBUTES, table["B"]) if yes} == {
        "two holes", "vertical stroke", "curve", "top mirrors bottom", "junction"}
    assert table["C"].sum() == 3
    rows = "\n".join(",".join([c, *map(str, row.astype(int))]) for c, row in table.items())
    assert hashlib.sha256(rows.encode()).hexdigest() == DIGEST


DIGEST = "82bc16fb83a26cac99b8300b6d7e242df99abcb4b67b51a38d26262770d72896"


def test_only_0_and_o_have_the_same_attributes():
    rows = {}
    for character, row in zip(CHARACTERS, attributes()):
        rows.setdefault(row.tobytes(), []).append(character)
    assert [those for those in rows.values() if len(those) > 1] == [["0", "O"]]


def test_splits_are_fixed_and_leave_neither_0_nor_o_out():
    said = ["".join(CHARACTERS[c] for c in unseen(split)) for split in range(SPLITS)]
    assert said == ["34CEGLMY", "3AHJKTUX", "478CKUVW", "1258ALUX", "468GJPUV"]            # for ever
    for split in range(40):
        assert len(set(unseen(split))) == 8
        assert not {CHARACTERS[c] for c in unseen(split)} & {"0", "O"}
    assert set(unseen(1, range(10), 2)) <= set(range(1, 10))
    with pytest.raises(ValueError, match="count: got 9, expected 1 … 8"):
        unseen(0, range(10), 9)
    with pytest.raises(ValueError, match="split: got -1, expected at least 0"):
        unseen(-1)


def test_the_cells_of_a_matlab_file_are_read_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 2, (36, 39, 20, 16), dtype=np.uint8)
    cells = np.empty((36, 39), dtype=object)
    for place in np.ndindex(36, 39):
        cells[place] = pictures[place]
    savemat(tmp_path / "a.mat", {"dat": cells, "numclass": 36})
    np.savez(tmp_path / "a.npz", x=np.packbits(pictures.reshape(-1, 320), axis=1))
    both = [load_alphadigits("alphadigits", [tmp_path / name]) for name in ("a.mat", "a.npz")]
    for data in both:
        for images, labels, each in ((data.train, data.train_labels, 30), (data.test, data.test_labels, 9)):
            assert images.dtype == np.float32
            assert np.bincount(labels).tolist() == [each] * 36
            drawn = {image.tobytes() for image in pictures[7].reshape(39, -1).astype(np.float32)}
            assert {image.tobytes() for image in images[labels == 7]} <= drawn
    assert np.array_equal(both[0].train, both[1].train)
    assert np.array_equal(both[0].test, both[1].test)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 40), np.uint8))
    with pytest.raises(DataError, match=r"is not Binary Alphadigits: expected \(1404, 40\) uint8, got \(5, 40\) uint8"):
        load_alphadigits("alphadigits", [tmp_path / "a.npz"])


@here
def test_the_real_ones():
    data = load("Binary-Alphadigits")
    assert (data.name, data.image_shape, data.kind) == ("alphadigits", (20, 16), "binary")
    assert (data.train.shape, data.test.shape) == ((1080, 320), (324, 320))
    both, labels = (np.concatenate(parts) for parts in ((data.train, data.test), (data.train_labels, data.test_labels)))
    zeros, others = ({row.tobytes() for row in both[labels == CHARACTERS.index(character)]} for character in "0O")
    assert zeros == others
    assert len({row.tobytes() for row in both}) == 36 * 39 - 39 - 2, "and one 0 and one 7 are there twice"
    means = np.stack([data.train[data.train_labels == c].mean(axis=0) for c in range(36)])
    nearest = (data.test @ means.T - 0.5 * (means**2).sum(axis=1)).argmax(axis=1)
    assert (nearest == data.test_labels).mean() > 0.5, "labels belong to the images"
