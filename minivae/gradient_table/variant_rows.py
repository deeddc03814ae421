"""The rows of the models of the literature that are no VAE with other parts."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Generator, device
from minivae.evaluation import LanguageModel, SentenceClassifier
from minivae.gradient_table.case import Case, layer_row, row
from minivae.gradient_table.model_rows import bounds_of
from minivae.nn import Activation, Embedding, Linear, Parameter, mlp
from minivae.ops import one_hot, tanh
from minivae.parts import Bernoulli, GaussianFixed, Reader, Reading, Writer
from minivae.parts.sentences import told_before
from minivae.variants import (
    M2,
    ConvVAEConfig,
    CVAEConfig,
    CVAEGANConfig,
    GMVAEConfig,
    InfiniteVAEConfig,
    LabelEncoder,
    M1M2Config,
    M2Config,
    SourceVAEConfig,
    StructuredVAEConfig,
    TextM2Config,
    TwoStageConfig,
    VAEConfig,
    VAEGANConfig,
    VQVAEConfig,
    ZeroVAEGANConfig,
)
from minivae.variants.cvae_gan import PLAYERS
from minivae.variants.gmvae import OfZ
from minivae.variants.structured_residuals import SideBySide
from minivae.variants.two_stage import Skip
from minivae.variants.vae_gan import Discriminator, Seeing, picture
from minivae.variants.zero_vae_gan import Told


def cvae_cases(rng: Generator) -> list[Case]:
    """variants/cvae.py: each bound, and all parameters that it may move (the guess is a constant to the CVAE's)"""
    n, rows = rng.standard_normal, []
    for likelihood, y in (("bernoulli", 1.0 * (n((3, 2)) > 0)), ("gaussian_shared", n((3, 2)))):
        config = CVAEConfig(4, 2, hidden=(3,), latents=2, activation="tanh", likelihood=likelihood)
        model, x, eps = config.build(dtype=float), n((3, 4)), n((3, 2))
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        everything = model.networks["cvae"].arena.parameters
        without_y = {name: p for name, p in everything.items() if not name.startswith("recognition")}
        rows += [
            row(model.baseline_nll, note=likelihood, parameters=model.networks["baseline"].arena.parameters, x=x, y=y),
            row(model.elbo_terms, note=likelihood, parameters=everything, x=x, y=y, eps=eps),
            row(model.prior_nll, note=likelihood, parameters=without_y, x=x, y=y, eps=eps),
        ]
    return rows


def m2_cases(rng: Generator) -> list[Case]:
    """variants/semi_supervised.py: the encoder, and each term of the objective with all parameters that hear it"""
    n = rng.standard_normal
    model = M2Config(3, 3, (2,), 2, "tanh", class_prior=(0.2, 0.5, 0.3)).build(dtype=float)
    learned = M2Config(2, 2, (2,), 1, "tanh", "gaussian_shared").build(dtype=float)
    for each in (model, learned):
        each.arena.value[...] += 0.3 * n(each.arena.value.shape)
    noise = row(learned.unlabelled_terms, note="its σ learns", parameters=learned.arena.parameters, x=n((2, 2)),
                eps=n((2, 2, 1)))
    every = one_hot(np.array([0, 1, 1, 0]), classes=2, dtype=float)
    two = M2Config(3, 2, (3, 2), 2, "tanh").build(dtype=float).encoder
    return [*m2_terms(rng, model, 1.0 * (n((2, 3)) > 0)), noise,
            layer_row(rng, two, n((2, 3)), y=every, note="two labels each, two layers"),
            layer_row(rng, two, n((2, 3)), y=every[1:3], note="a label each")]


def m2_terms(rng: Generator, model: M2, x: Array) -> list[Case]:
    """A row for each bound of an M2 whose x is this."""
    B, C, Z = len(x), model.classes, model.latents
    labels, eps = np.arange(1, B + 1) % C, rng.standard_normal((C, B, Z))
    everything = model.arena.parameters
    classifier = {name: p for name, p in everything.items() if name.startswith("classifier")}
    given = {name: p for name, p in everything.items() if name not in classifier}
    every = one_hot(np.arange(C * B) // B, classes=C, dtype=float)
    return [
        row(model.conditional_terms, parameters=given, x=x, y=every, eps=eps.reshape(C * B, Z)),
        row(model.labelled_terms, parameters=given, x=x, labels=labels, eps=eps[0]),
        row(model.unlabelled_terms, parameters=everything, x=x, eps=eps),
        row(model.class_nll, parameters=classifier, x=x, labels=labels),
    ]


def text_cases(rng: Generator) -> list[Case]:
    """parts/sentences.py, variants/semi_supervised_text.py, evaluation/sentence_rivals.py"""
    n, x = rng.standard_normal, np.array([[3, 5, 1, 0], [4, 2, 5, 3]])
    told, every = told_before(x), one_hot(np.array([0, 0, 1, 1, 2, 2]), classes=3, dtype=float)
    words = Embedding(6, 2, rng=rng)
    heads = (Linear(2, 1, rng=rng) for _ in range(2))
    hears_y = LabelEncoder(Linear(2, 2, rng=rng), n((3, 2)), Activation(tanh), *heads)
    rows = [layer_row(rng, Reader(words, 2, rng=rng), x=x),
            layer_row(rng, Reader(words, 2, rng=rng), x=x[1:], note="no padding"),
            layer_row(rng, Reading(Reader(words, 2, rng=rng), Linear(2, 3, rng=rng)), x=x),
            layer_row(rng, Reading(Reader(words, 2, rng=rng), hears_y), x=x, y=every, note="that hears a label"),
            layer_row(rng, Writer(words, 2, 2, rng=rng), n((2, 2)), x=x, told=told),
            layer_row(rng, Writer(words, 1, 2, rng=rng, condition=3), n((6, 2)), x=x, told=told, y=every,
                      note="that hears a condition, three codes each")]
    for conditional, C in ((True, 3), (False, 2)):
        model = TextM2Config(6, C, 2, 2, 2, conditional).build(dtype=float)
        model.arena.value[...] += 0.5 * n(model.arena.value.shape)
        p, note = model.arena.parameters, "conditional" if conditional else "vanilla"
        own = {name: value for name, value in p.items() if name.startswith("classifier")}
        given = {name: value for name, value in p.items() if name not in own or name.endswith("table")}
        y = one_hot(np.arange(2 * C) // 2, classes=C, dtype=float)
        rows += [row(model.conditional_terms, note=note, parameters=given, x=x, y=y, told=told, eps=n((2 * C, 2))),
                 row(model.labelled_terms, note=note, parameters=given, x=x, labels=np.array([1, 0]), told=told,
                     eps=n((2, 2))),
                 row(model.unlabelled_terms, note=note, parameters=p, x=x, told=told, eps=n((C, 2, 2))),
                 row(model.class_nll, note=note, parameters=own, x=x, labels=np.array([1, 0]))]
    alone = SentenceClassifier(6, 2, device=device("cpu"), dimensions=2, units=2, dtype=float)
    teller = LanguageModel(6, device=device("cpu"), dimensions=2, units=2, dtype=float)
    for arena in (alone.arena, teller.arena):
        arena.value[...] += 0.5 * n(arena.value.shape)
    silent = {name: p for name, p in teller.arena.parameters.items() if name != "writer.begin.W"}      # its code is 0
    return [*rows, row(alone.class_nll, parameters=alone.arena.parameters, x=x, labels=np.array([1, 0]), note="alone"),
            row(teller.sentence_nll, parameters=silent, x=x)]


def m1m2_cases(rng: Generator) -> list[Case]:
    """variants/stacked_semi_supervised.py: M1, which learns first and alone (M2's part has rows of its own)"""
    n = rng.standard_normal
    model = M1M2Config(4, 2, (3,), 2, m1_latents=2, activation="tanh").build(dtype=float)
    m1 = model.networks["m1"].arena
    m1.value[...] += 0.3 * n(m1.value.shape)
    return [row(model.m1_terms, parameters=m1.parameters, x=1.0 * (n((3, 4)) > 0), eps=n((3, 2)))]


def two_stage_cases(rng: Generator) -> list[Case]:
    """variants/two_stage.py: its layer, and the second VAE, which is one of codes (the first is a VAE of images)"""
    config = TwoStageConfig(VAEConfig(4, (3,), 2, "tanh", "gaussian_shared"), (3,))
    second = config.build(dtype=float).second
    return [layer_row(rng, Skip(mlp(3, 2, rng=rng)), rng.standard_normal((4, 3))),
            *bounds_of(rng, second, note="second stage", B=3, L=2)]


def infinite_cases(rng: Generator) -> list[Case]:
    """variants/infinite.py: the mixture's bound, two components and the base (each bound is a VAE's)"""
    n, config = rng.standard_normal, InfiniteVAEConfig(VAEConfig(3, (2,), 2, "tanh"), 3, concentration=0.7)
    model = config.build(examples=5, dtype=float)
    model.seats.value[...] = 0, 2, 2, 0, 0                             # the one in between is free, and hears nothing
    heard: dict[str, Parameter] = {}
    for name in ("0", "2", "base"):
        arena = model.networks[name].arena
        arena.value[...] += 0.5 * n(arena.value.shape)
        heard |= {f"{name}.{key}": p for key, p in arena.parameters.items()}
    return [row(model.mixture_bound, parameters=heard, x=1.0 * (n((3, 3)) > 0), eps=n((2, 3, 2)))]


def structured_residual_cases(rng: Generator) -> list[Case]:
    """variants/structured_residuals.py: its layer, and the bound, all parameters of three networks"""
    n, rows = rng.standard_normal, []
    beside = SideBySide(a=mlp(3, 2, rng=rng), b=mlp(3, 4, 1, rng=rng, activation="tanh"))
    for B, L in ((2, 1), (1, 3)):
        model = StructuredVAEConfig(2, 2, (2,), 2, "tanh").build(dtype=float)
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        rows.append(row(model.elbo_terms, note=f"structured residuals, L={L}", parameters=model.parameters(),
                        x=n((B, 4)), eps=n((L, B, 2))))
    return [layer_row(rng, beside, n((4, 3)), note="two networks"), *rows]


def vae_gan_cases(rng: Generator) -> list[Case]:
    """variants/vae_gan.py: the discriminator, and what each of three networks goes down"""
    n, rows = rng.standard_normal, []
    seer = Discriminator(mlp(4, 3, rng=rng, activation="tanh", last=True), Linear(3, 1, rng=rng))
    namer = Seeing(mlp(4, 2, rng=rng, activation="tanh", last=True), Linear(2, 3, rng=rng))
    for sizes, B in ((VAEConfig(4, (3,), 2, "tanh"), 3), (VAEConfig(4, (3,), 2, "tanh", "gaussian_fixed"), 1),
                     (ConvVAEConfig(2, 2, filters=(2,), dense=3, latents=2), 2)):
        said = sizes.likelihood if isinstance(sizes, VAEConfig) else "convolutional"
        model = VAEGANConfig(sizes, features=2).build(dtype=float, gamma=0.7)
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        x, eps = 1.0 * (n((B, 4)) > 0), n((2, B, 2))
        rows += [row(model.loss, note=f"{of}, {said}", of=of, x=x, eps=eps[0], eps_p=eps[1], parameters={
            name: p for name, p in network.arena.parameters.items() if name != "game"})
            for of, network in model.networks.items()]
    seen = [layer_row(rng, seer, n((4, 4))), layer_row(rng, namer, n((3, 4))),
            row(namer.seen, n((3, 4)), parameters=namer.parameters())]
    return [*seen, *(row(picture, n((2, 3)), likelihood=p_x, note=type(p_x).__name__)
                     for p_x in (Bernoulli(), GaussianFixed())), *rows]


def cvae_gan_cases(rng: Generator) -> list[Case]:
    """variants/cvae_gan.py: what each of four players goes down, the centres as they are"""
    n, rows = rng.standard_normal, []
    for likelihood, labels in (("bernoulli", np.array([0, 2, 1, 1])), ("gaussian_fixed", np.array([2]))):
        sizes = CVAEGANConfig(M2Config(4, 3, (3,), 2, "tanh", likelihood), features=2)
        model = sizes.build(dtype=float, weights=(0.7, 1.3, 0.5, 0.9))
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        for centres in (model.centres_d, model.centres_c):
            centres.share.value[...] = 0.2 + rng.random(centres.share.value.shape)
        x, eps = 1.0 * (n((len(labels), 4)) > 0), n((2, len(labels), 2))
        rows += [row(model.loss, note=f"{of}, {likelihood}", parameters=model.networks[of].arena.parameters, of=of, x=x,
                     labels=labels, eps=eps[0], eps_p=eps[1]) for of in PLAYERS]
    return rows


def zero_vae_gan_cases(rng: Generator) -> list[Case]:
    """variants/zero_vae_gan.py: a network that is told something, and what each of four networks goes down"""
    n, rows = rng.standard_normal, []
    for likelihood, B in (("gaussian_shared", 3), ("gaussian_fixed", 1)):
        model = ZeroVAEGANConfig(3, 2, 3, (3,), 2, "tanh", likelihood).build(dtype=float, game=0.7, category=0.4)
        for network in model.networks.values():
            network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        x, a, labels, eps = n((B, 3)), n((B, 2)), np.arange(B) % 3, n((2, B, 2))
        rows += [row(model.loss, note=f"{of}, {likelihood}", of=of, x=x, a=a, labels=labels, eps=eps[0], eps_p=eps[1],
                     parameters=network.arena.parameters) for of, network in model.networks.items()]
    return [layer_row(rng, Told(mlp(5, 3, 2, rng=rng, activation="tanh")), n((4, 3)), a=n((4, 2))), *rows]


def mvae_cases(rng: Generator) -> list[Case]:
    """variants/mvae.py: the bound, and the log-variances by themselves, z and who speaks differentiated"""
    n, model = rng.standard_normal, SourceVAEConfig(3, 2, (3,), 2, "tanh").build(dtype=float)
    model.arena.value[...] += 0.3 * n(model.arena.value.shape)
    everything = model.arena.parameters
    decoder = {name: p for name, p in everything.items() if name.startswith("decoder")}
    c = one_hot(np.array([1, 0, 0, 1]), classes=2, dtype=float)
    return [row(model.elbo_terms, parameters=everything, power=n((4, 3)) ** 2, c=c, eps=n((4, 2))),
            row(model.q, parameters={name: p for name, p in everything.items() if name not in decoder},
                power=n((3, 3)) ** 2, c=c[:3]),
            row(model.logvar, n((3, 2)), rng.dirichlet((1.0, 1.0), 3), parameters=decoder)]


def vq_vae_cases(rng: Generator) -> list[Case]:
    """variants/vq_vae.py: the autoencoder, with the words that were chosen held, and the priors

    Three levels, whose images must be four times as large, by directions; of their priors the one in the middle, which
    two levels do not have.
    """
    n, rows = rng.standard_normal, []
    for side, levels, likelihood, classes, directions in (
            (4, 2, "gaussian_shared", 3, None), (4, 1, "bernoulli", 0, None), (8, 3, "gaussian_fixed", 0, 3)):
        model = VQVAEConfig(side, side, 1, levels, codes=3, dimensions=2, filters=1, prior_channels=1, prior_blocks=1,
                            likelihood=likelihood, classes=classes).build(dtype=float)
        for name, network in model.networks.items():
            if name != "codebooks":
                network.arena.value[...] += 0.3 * n(network.arena.value.shape)
        x, note, vae = 1.0 * (n((2, side**2)) > 0), f"{levels} levels", model.networks["vae"].arena.parameters
        z, books = model.levels.encode(x.reshape(2, side, side, 1)), [level.codebook for level in model.levels.layers]
        words = [book.look_up(book.nearest(vectors)) for book, vectors in zip(books, z)]
        held = [(e, e - vectors) for e, vectors in zip(words, z)]
        names = model.prior_names[1:2] if levels == 3 else model.prior_names
        priors = {key: p for name in names for key, p in model.networks[name].arena.parameters.items()}
        rows += [row(model.levels, x.reshape(2, side, side, 1), note=note, held=held, directions=directions,
                     parameters={name: p for name, p in vae.items() if "levels" in name}),
                 row(model.autoencoder_terms, note=note, parameters=vae, directions=directions, x=x, held=held),
                 row(model.prior_nll, note=note, parameters=priors, directions=directions, codes=model.codes(x),
                     labels=np.array([2, 0]) if classes else None)]
    return rows


def gmvae_cases(rng: Generator) -> list[Case]:
    """variants/gmvae.py: its layers, and every bound, all parameters of it"""
    n = rng.standard_normal
    rows = [layer_row(rng, OfZ(mlp(2, 3, 2, rng=rng, activation="tanh"), 2), n((4, 3)))]
    for K, likelihood, B, L, directions in ((3, "gaussian_shared", 2, 3, 4), (2, "bernoulli", 3, 1, None)):
        config = GMVAEConfig(pixels=3, hidden=(2,), latents=2, activation="tanh", likelihood=likelihood, components=K,
                             w_latents=1)
        model, note = config.build(dtype=np.float64), f"K={K}, {likelihood}, L={L}"
        rows += bounds_of(rng, model, note=note, B=B, L=L, directions=directions)
        x, eps, everything = 1.0 * (n((B, 3)) > 0), n((L, B, 3)), dict(model.arena.parameters)
        without_c = {name: p for name, p in everything.items() if not name.startswith("prior")}
        biases = {name: p for name, p in everything.items() if name.endswith(".b")}
        rows += [row(model.four_terms, parameters=biases, x=x, eps=eps, note=f"{note}, biases alone"),
                 row(model.four_terms, note=note, parameters=everything, directions=directions, x=x, eps=eps),
                 row(model.start_terms, note=note, parameters=without_c, directions=directions, x=x, eps=eps)]
    return rows
