"""A recipe: everything that decides a training run, so that one file can repeat it.

The command line and chapter 10 both cook from it.  It is kept as config.json in the run folder.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from minivae import nn
from minivae.backend import Device
from minivae.batch import Batch
from minivae.data import Dataset, hold_out, load, load_sentences
from minivae.data.spectra import load_frames
from minivae.distributions import bernoulli_sample
from minivae.parts import IWAE, Capacity, DReG, FreeBits, Objective, WeightedKL, check_scale, warm_up
from minivae.training.batches import check_kind
from minivae.training.loop import Callback, Record, fit
from minivae.training.models import MODELS
from minivae.training.settings import check_settings
from minivae.training.vocabulary import keep_vocabulary, kept_vocabulary
from minivae.vae import VAE
from minivae.variants import ConvVAEConfig, VAEConfig

OPTIMIZERS = {"adam": nn.Adam, "adagrad": nn.AdaGrad, "rmsprop": nn.RMSProp, "momentum": nn.Momentum, "sgd": nn.SGD}
OBJECTIVES = {"elbo": Objective, "iwae": IWAE, "dreg": DReG}
LINES = [f"{name}: {kind.says}" for name, kind in MODELS.items()]


@dataclass(frozen=True)
class Recipe:
    """Data, model, and how to train it."""

    data: str = "digits"
    """digits, mnist, binarized_mnist, fashion_mnist, freyfaces, alphadigits, sprites, sprites64; several as one,
    digits+sprites; or a path: to your .npz or .npy, or to your folder of .png and .jpg files; of sentences
    sst2, trec, or your .tsv of lines, label<TAB>text"""
    size: int | None = None
    """of a folder of pictures: each is cut to a square about its middle and resampled to so many pixels a side"""
    model: Annotated[Literal["vae", "cvae", "two_stage", "m2", "m1m2", "gmvae", "infinite", "structured", "vq_vae",
                             "vae_gan", "cvae_gan", "m2_text", "mvae"], tyro.conf.arg(help="\n".join(
        ["which model; `minivae models` says more:", *LINES]))] = "vae"
    """which, as `training.models.MODELS` has them"""
    network: Literal["mlp", "conv"] = "mlp"
    """fully connected, or convolutional: for images whose sides can be halved once for each of `filters`"""
    hidden: tuple[int, ...] = (400,)
    """hidden units of the encoder, from image to latents; the decoder mirrors them (network mlp)"""
    filters: tuple[int, ...] = (32, 64)
    """of the encoder's convolutions; the decoder mirrors them (network conv)"""
    dense: int = 256
    """hidden units between convolutions and latents (network conv)"""
    latents: int = 20
    """latent dimensions; 2 can be drawn as a map"""
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus"] = "relu"
    """between layers (network mlp; a conv has relu)"""
    likelihood: Literal["bernoulli", "gaussian_fixed", "gaussian_shared", "gaussian_optimal", "gaussian_pixel",
                        "logistic_shared", "logistic_pixel"] = "bernoulli"
    """p(x|z): for black and white images; for real-valued ones with a fixed, shared (learned, or in closed form) or
    per-pixel variance; for 8-bit grey levels"""
    posterior: Literal["diagonal", "full", "rank_one", "planar", "coupling"] = "diagonal"
    """q(z|x): a Gaussian with diagonal, full, or rank-one-plus-diagonal covariance, or a flow"""
    prior: Literal["standard", "mixture", "vamp"] = "standard"
    """p(z): N(0, I); a mixture of Gaussians that learns; or the VampPrior, a mixture of what the encoder says of images
    that learn (pixels in [0, 1]; give it --components 500 and --warm-up)"""
    components: int = 10
    """of a mixture, pseudo-inputs of a VampPrior (papers: 500), clusters of a gmvae, or the most that an infinite one
    can have"""
    scale: Literal["none", "unit", "standard"] = "none"
    """units of the data, kept in the run: unit fits all into [0, 1] (pictures of 0 … 255), standard gives every column
    mean 0 and spread 1 (tables); samples, reconstructions and bounds stay in the data's own units"""
    given: Literal["quadrants", "label"] = "quadrants"
    """what is known of an image: some of its quadrants, or its label (model cvae)"""
    observed: Literal[1, 2, 3] = 1
    """quadrants that are given: the lower left, the left half, all but the lower right (model cvae)"""
    baseline_epochs: int = 10
    """the first so many epochs train the baseline, which guesses without a latent (model cvae)"""
    alpha: float = 1.0
    """weight of the bound; the rest trains on draws of p(z|x), as predictions are made (model cvae)"""
    first_epochs: int = 15
    """the first so many epochs train the VAE of images, the others what comes after it (models two_stage, m1m2,
    infinite, structured, vq_vae)"""
    fixed_epochs: int = 5
    """so many epochs after these train the precision of the residuals, the mean left as it is (model structured)"""
    levels: int = 2
    """pictures of numbers for an image, each half as high and wide as the one before (model vq_vae)"""
    codes: int = 64
    """words of each codebook (model vq_vae)"""
    prior_channels: int = 32
    """of the PixelCNNs' convolutions (model vq_vae)"""
    prior_blocks: int = 4
    """gated blocks of a PixelCNN (model vq_vae)"""
    by_class: bool = False
    """tell the PixelCNNs the label of every image, so that samples can be of a class (model vq_vae)"""
    features: int = 512
    """of the discriminator, in which images are compared (models vae_gan, cvae_gan)"""
    likeness: float = 1.0
    """γ, its weight for the decoder, against the game (model vae_gan)"""
    margin: float | None = None
    """pause a network that is ahead by so many nats (model vae_gan)"""
    weights: tuple[float, float, float, float] = (3.0, 1.0, 1.0, 1.0)
    """λ₁ to λ₄, of the KL, pairs, and centres of the discriminator's features and the classifier's (model cvae_gan)"""
    second_hidden: tuple[int, ...] = (256, 256)
    """hidden units of the VAE of codes (model two_stage)"""
    concentration: float = 1.0
    """α of the Dirichlet process: a new component is as likely as one of α images (model infinite)"""
    labels: int = 100
    """images whose label is known, as many of each class (models m2, m1m2), or sentences (m2_text)"""
    label_weight: float = 1.0
    """of the cross-entropy of the labels, α/N of Kingma et al. 2014, eq. 9; theirs is 0.1, which takes thousands of
    epochs, and m2 wants 10 (models m2, m1m2, m2_text)"""
    words: int = 2000
    """that are known, the most frequent ones (model m2_text)"""
    length: int = 25
    """words of a sentence at most: the rest is cut off (model m2_text)"""
    units: int = 64
    """of each LSTM, and numbers that stand for a word (model m2_text)"""
    writer: Literal["conditional", "vanilla"] = "conditional"
    """whether every step of the writer hears the label, or only where it begins (model m2_text)"""
    forget: float = 0.3
    """share of words that the writer is told as unknown ones, in training (model m2_text)"""
    m1_latents: int = 50
    """latent dimensions of the VAE of images (model m1m2; `latents` are those above it)"""
    w_latents: int = 10
    """dimensions of w, that tells how an image differs from others of its cluster (model gmvae)"""
    vae_epochs: int = 10
    """the first so many epochs train a VAE; then its codes are clustered, and each component starts on a cluster
    (model gmvae)"""
    information: float = 0.0
    """nats that the choice of a cluster has free, of the log K there are: with some, components draw together less
    (model gmvae)"""
    objective: Literal["elbo", "iwae", "dreg"] = "elbo"
    """what a step climbs: the ELBO, or the importance-weighted bound of `samples` draws (dreg: by another gradient)"""
    samples: int = 1
    """draws of z per image in a training step (L in Kingma and Welling; k of the IWAE)"""
    beta: float = 1.0
    """weight of the KL in what a step climbs: above 1 is the β-VAE; the reported ELBO stays the true bound"""
    warm_up: int = 0
    """epochs in which the weight of the KL rises from 0 to beta, or the capacity to its maximum"""
    free_bits: float = 0.0
    """nats of KL that each latent has free"""
    capacity: float | None = None
    """nats that the KL is led to, rising from 0 (over `warm_up` epochs, or all)"""
    gamma: float = 100.0
    """price of each nat that the KL is off the capacity"""
    binarize: bool = False
    """draw black and white images from the grey ones anew for every batch"""
    epochs: int = 30
    """passes over the training images"""
    batch_size: int = 128
    """images per step"""
    optimizer: Literal["adam", "adagrad", "rmsprop", "momentum", "sgd"] = "adam"
    """how parameters move"""
    lr: float = 1e-3
    """learning rate (at the start, if a schedule lowers it)"""
    schedule: Literal["constant", "cosine", "iwae"] = "constant"
    """of the learning rate; iwae: lr · 10^(−i/7) for 3ⁱ epochs, i = 0, 1, … (Burda et al. 2015)"""
    max_norm: float | None = None
    """clip the gradient to this length"""
    valid: float = 0.1
    """share of the training images held out for validation, where the data set has no such part of its own"""
    seed: int = 0
    """of the weights, the order of the images and the noise"""

    def __post_init__(self) -> None:
        check_settings(self)

    def config(self) -> dict[str, Any]:
        return asdict(self)

    def build(self, dataset: Dataset, on: Device) -> Any:
        """The untrained model for these data."""
        return MODELS[self.model].build(self, dataset, self.split(dataset)[0], on)

    def load(self, folder: Path | None = None, *, run: Path | None = None) -> Any:
        """The data set, its named files looked for in `folder` first; sentences with the vocabulary kept in `run`."""
        if self.model == "mvae":
            return load_frames(self.data, folder=folder)
        if sentences := load_sentences(self.data, folder=folder):
            return sentences.coded(self.words, self.length, kept_vocabulary(run))
        return load(self.data, folder=folder, size=self.size)

    def vae(self, image_shape: tuple[int, ...]) -> VAEConfig | ConvVAEConfig:
        """The VAE's sizes for images of this shape."""
        parts: dict[str, Any] = {name: getattr(self, name) for name in (
            "latents", "likelihood", "posterior", "prior", "components", "scale")}
        if self.network == "conv":
            height, width, channels = (*image_shape, 1)[:3]
            return ConvVAEConfig(height, width, channels, tuple(self.filters), self.dense, **parts)
        return VAEConfig(math.prod(image_shape), tuple(self.hidden), activation=self.activation, **parts)

    def steps(self, train: Batch) -> int:
        """of an epoch"""
        return math.ceil(len(train) / self.batch_size)

    def new_optimizer(self, epochs: int, steps: int) -> nn.Optimizer:
        """An optimizer for so many epochs of so many steps."""
        return OPTIMIZERS[self.optimizer](self._rate(epochs, steps), max_norm=self.max_norm)

    def new_objective(self, steps: int) -> Objective:
        """What a step of the VAE climbs."""
        if self.capacity is not None:
            return Capacity(warm_up((self.warm_up or self.epochs) * steps, to=self.capacity), self.gamma)
        if self.warm_up or self.beta != 1.0:
            return WeightedKL(warm_up(self.warm_up * steps, to=self.beta) if self.warm_up else self.beta)
        return FreeBits(self.free_bits) if self.free_bits else OBJECTIVES[self.objective]()

    def split(self, dataset: Dataset) -> tuple[Batch, Batch | None]:
        """What is trained on and what is held out: the data set's own validation part, or some of its training part."""
        if not 0.0 <= self.valid < 1.0:
            raise ValueError(f"valid: got {self.valid}, expected a share in [0, 1)")
        check_kind(self, dataset)
        train, valid = dataset.part("train"), None
        held = round(self.valid * len(train))
        if dataset.valid is not None:
            valid = self._judged(dataset, dataset.part("valid"))
        elif held > 0:
            kept, out = hold_out(len(train), held)                           # the same for every seed
            train, valid = train[kept], self._judged(dataset, train[out])
        return MODELS[self.model].ask(self, dataset, train), valid

    def test(self, dataset: Dataset) -> Batch:
        """The test part, as this recipe is judged on it."""
        return self._judged(dataset, dataset.part("test"))

    def _judged(self, dataset: Dataset, part: Batch) -> Batch:
        """What the model needs of these images.

        If training draws black and white images, judge on black and white ones, drawn once and for all.
        """
        if self.binarize:
            part = part.but(x=bernoulli_sample(part.x, rng=np.random.default_rng(0)))
        kind = MODELS[self.model]
        return (kind.judge or kind.ask)(self, dataset, part)

    def train(self, dataset: Dataset, on: Device, *, run: Path | None = None, resume: bool = False,
              progress: bool = True, callback: Callback | None = None,
              threads: int | None = None) -> tuple[Any, list[Record]]:
        """Build, train (or go on from `run`), and return the model and its history."""
        model = self.build(dataset, on)
        part, valid = self.split(dataset)
        keep_vocabulary(dataset, run)
        if isinstance(model, VAE):
            check_scale(part.x, model.likelihood)
        history = fit(model, part, epochs=self.epochs, batch_size=self.batch_size, valid=valid,
                      binarize=self.binarize, seed=self.seed, run=run, resume=resume, config=self.config(),
                      progress=progress, callback=callback, threads=threads)
        return model, history

    def _rate(self, epochs: int, steps: int) -> float | nn.Schedule:
        if self.schedule == "cosine":
            return nn.cosine(self.lr, steps=max(epochs, 1) * steps)
        if self.schedule == "iwae":
            # epochs 0; 1-3; 4-12; …: stage i ends after (3^(i+1) − 1) / 2 epochs
            return lambda step: self.lr * 10.0 ** (-_stage(step // steps) / 7.0)
        return self.lr


def _stage(epoch: int) -> int:
    return next(stage for stage in count() if epoch < (3 ** (stage + 1) - 1) // 2)
