"""What is timed: the rows of the table, their data and their weights, the same for every contender.

A row is a training step (noise, forward, ELBO, backward, Adam), the decoding of many latents, or an
importance-weighted NLL.  Everything is in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from minivae import data
from minivae.backend import Array
from minivae.vae import VAE
from minivae.variants import ConvVAEConfig, VAEConfig

LEARNING_RATE = 1e-3
STEP = ("minivae", "minivae_fast", "torch", "torch_fused", "torch_compile", "jax", "products")
CURVE = ("minivae", "minivae_fast", "torch", "jax", "products")
SYSTEM = ("minivae", "minivae_fast", "torch")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    contenders: tuple[str, ...] = STEP
    kind: str = "step"
    """step, decode or nll; of the systems of several networks (systems.py): vae_gan, vq_vae, pixel_cnn, lstm"""
    hidden: tuple[int, ...] = (400,)
    """hidden units of a fully connected VAE; () is the convolutional one"""
    latents: int = 20
    activation: str = "relu"
    binarize: bool = False
    """draw x ~ Bernoulli(grey) inside the step"""
    batch: int = 128
    """images a step sees; latents to decode; images whose NLL is wanted"""
    samples: int = 1
    """K of the importance-weighted NLL"""
    steps: int = 60
    """steps in a burst"""
    bursts: int = 15
    """turns of each contender, if nobody says how many"""
    threads: int | None = None
    """instead of the contest's, where the row is about something else"""

    tolerance: float = 1e-5
    """of ‖difference‖ / ‖reference‖ of each proved array: float32's rounding, added up, gives 4e-7"""

    @property
    def warmup(self) -> int:
        """Unmeasured steps before the first burst."""
        return 1 if self.kind in ("decode", "nll") else 3 * self.steps

    def quick(self) -> Row:
        """The same row with tiny counts: proves that it runs, times nothing."""
        hidden = tuple(min(size, 400) for size in self.hidden)
        small = {"decode": 100, "nll": 3}.get(self.kind, min(self.batch, 128))
        return replace(self, batch=small, hidden=hidden, samples=min(self.samples, 7), steps=1, bursts=2)


def _scaling() -> Iterator[Row]:
    for batch in (32, 64, 128, 256, 512, 1024, 2048, 4096):
        yield Row(f"f batch {batch}", f"784-400-20, batch {batch}", CURVE, batch=batch,
                  steps=max(4, 6000 // (batch + 32)), bursts=9)
    for hidden in (128, 256, 512, 1024, 2048):
        yield Row(f"f hidden {hidden}", f"784-{hidden}-20, batch 128", CURVE, hidden=(hidden,),
                  steps=max(8, 16000 // (hidden + 100)), bursts=9)


ROWS = (
    Row("a", "step, 784-400-20 relu, batch 128"),
    Row("b", "step, 784-500-500-50 tanh, batch 128, binarized in the step", hidden=(500, 500), latents=50,
        activation="tanh", binarize=True, steps=30),
    Row("c", "step, conv 32-64-256-20, batch 64", (*STEP[:3], "torch_channels_last", *STEP[3:]), hidden=(), batch=64,
        steps=20),
    Row("d", "decode 10,000 latents, 20-400-784", ("minivae", "torch", "torch_compile", "jax"), "decode", batch=10_000,
        steps=4),
    Row("e", "NLL, K = 1,000, 1,000 images, 784-400-20", ("minivae", "torch", "jax"), "nll", batch=1000, samples=1000,
        steps=1, bursts=9),
    Row("g", "NLL as in papers, K = 5,000, 1,000 images, 784-200-200-50 tanh", ("minivae", "torch", "jax"), "nll",
        hidden=(200, 200), latents=50, activation="tanh", batch=1000, samples=5000, steps=1, bursts=3),
    Row("h", "step of a VAE/GAN, 784-400-20, 128 features, batch 128", SYSTEM, "vae_gan", steps=20),
    Row("i", "step of a VQ-VAE-2, two levels, batch 64", SYSTEM, "vq_vae", hidden=(), batch=64, steps=10,
        tolerance=1e-4),                               # gradients of biases: sums of 12,544 numbers that nearly cancel
    Row("j", "step of its priors, two gated PixelCNNs, batch 64", SYSTEM, "pixel_cnn", hidden=(), batch=64, steps=5),
    Row("k", "step of an LSTM of 128 units that classifies 32 sentences of 30 words", SYSTEM, "lstm", hidden=(128,),
        latents=64, batch=32, steps=20),               # latents: numbers that stand for a word
    *_scaling(),
    Row("overhead", "value and pullback against inline NumPy, as (a), one thread", ("minivae", "inline"), threads=1,
        steps=15, bursts=60),                          # many short turns: a hundredth is less than a machine's moods
)


def chosen(names: tuple[str, ...]) -> list[Row]:
    """The rows of these names; "f" is all of the scaling curves; no names, all rows.  Raises ValueError."""
    found = [row for row in ROWS if not names or row.name in names or row.name.split()[0] in names]
    unknown = set(names) - {row.name for row in found} - {row.name.split()[0] for row in found}
    if unknown:
        raise ValueError(f"rows: got {', '.join(sorted(unknown))}, "
                         "expected some of a, b, c, d, e, f, g, h, i, j, k, overhead")
    return found


def build(row: Row, dtype: type = np.float32) -> VAE:
    """The untrained VAE of a row: where everybody starts."""
    if not row.hidden:
        return ConvVAEConfig(latents=row.latents).build(dtype=dtype)
    return VAEConfig(784, row.hidden, row.latents, row.activation).build(dtype=dtype)


def images() -> np.ndarray:
    """The 4,000 digits of the package, grey, in a fixed random order        (4000, 784)"""
    x = data.load("digits").train
    return np.ascontiguousarray(x[np.random.default_rng(0).permutation(len(x))], dtype=np.float32)


def batches(row: Row) -> list[np.ndarray]:
    """The batches of a training step, in the order in which every contender sees them."""
    x = np.resize(images(), (max(4000 // row.batch, 1) * row.batch, 784))
    return [np.ascontiguousarray(part) for part in np.split(x, len(x) // row.batch)]


def proof_inputs(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """What all contenders are compared on before anything is timed: images, and noise or latents."""
    rng = np.random.default_rng(1)
    if row.kind == "decode":
        return images()[:1], rng.standard_normal((row.batch, row.latents), dtype=np.float32)
    B, L = row.batch, 2 if row.kind == "vae_gan" else 1
    if row.kind == "nll":
        B, L = min(row.batch, 20), min(row.samples, 5)
    x = np.resize(images(), (B, 784))
    if row.binarize:
        x = (rng.random(x.shape) < x).astype(np.float32)
    return x, rng.standard_normal((L, B, row.latents), dtype=np.float32)


class GivenNoise:
    """Stands in for a generator where the noise is given: `train_step` then proves what it computes."""

    def __init__(self, eps: Array) -> None:
        self.eps = eps

    def standard_normal(self, size: Any, dtype: Any = None) -> Array:
        """The given noise, once in this shape."""
        return self.eps.reshape(size).astype(dtype)


@dataclass
class Work:
    """What a contender offers its process.

    step     one unit of work: a training step on the next batch, a decoding, an NLL
    prove    (x, noise) -> named arrays in minivae's names and shapes: gradients, probabilities or log weights
    wait     until what was asked for is done (JAX answers before it is)
    """

    step: Callable[[], Any]
    prove: Callable[[Array, Array], dict[str, np.ndarray]]
    wait: Callable[[], None] = lambda: None
    about: dict[str, Any] = field(default_factory=dict)


def to_dict(row: Row) -> dict[str, Any]:
    """For JSON."""
    return asdict(row)


def from_dict(fields: dict[str, Any]) -> Row:
    """Back from JSON, whose lists were tuples."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Row(**values)
