"""Models of the literature as VAEs that the page can show: what is given is put into biases.

A network that hears [z, y] with y given is a network of z: its first layer's x W + b is z W_z + (y W_y + b).  So a
conditional model becomes a plain one for each condition, and a mixture of VAEs one for each component.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array, Pullback, device, to_numpy
from minivae.data import Dataset
from minivae.explorer.steps import chain_of_layers, with_values
from minivae.nn import Layer, Sequential
from minivae.ops import one_hot, split
from minivae.parts import Bernoulli, GaussianFixed, GaussianMixture, Likelihood, Prior
from minivae.training import Recipe
from minivae.training.batches import question
from minivae.vae import VAE

DRAWS = 200                # Gaussians that stand for the prior of a two-stage VAE
SURE = 8.0                 # the logit of a given black or white pixel


class View(NamedTuple):
    """
    vae     what the page shows
    of      which test images lie on its plane, (N,) bool; None: all
    says    what was given, for the title
    """

    vae: VAE
    of: np.ndarray | None = None
    says: str = ""


class Told(Layer):
    """encoder(x) of an encoder that is told more        (B, X) -> mean and logvar"""

    def __init__(self, encode: Callable[[Array], tuple[Array, Array]]) -> None:
        self.encode = encode

    def __call__(self, x: Array) -> tuple[tuple[Array, Array], Pullback]:
        def pullback(*dq: Array, need_dx: bool = True, need_dp: bool = True) -> Array:
            raise NotImplementedError("a view is looked at: it does not learn")

        return self.encode(x), pullback


def plain(encode: Callable[[Array], tuple[Array, Array]], decoder: Sequential, p_x: Likelihood, *, pixels: int,
          latents: int, prior: Prior | None = None) -> VAE:
    """A VAE of these parts, to look at."""
    return VAE(Told(encode), decoder, p_x, pixels=pixels, latents=latents, device=device("cpu"), prior=prior)


def given_rest(decoder: Layer, latents: int, rest: np.ndarray) -> list[Layer]:
    """The layers of a decoder of [z, rest], the rest as it is: its first layer's bias says it."""
    first, *others = chain_of_layers(decoder)
    W, b = first.W.value, first.b.value                                      # type: ignore[attr-defined]
    return [with_values(first, W=W[:latents], b=(b + rest @ W[latents:]).astype(W.dtype)), *others]


def mixture_of(mean: np.ndarray, logvar: np.ndarray) -> GaussianMixture:
    """K Gaussians, all alike in weight        (K, Z) (K, Z)"""
    prior = GaussianMixture(mean.shape[1], len(mean), rng=np.random.default_rng(0))
    prior.mean.value[...], prior.logvar.value[...] = mean, logvar
    return prior


def chosen(given: int, among: int, what: str) -> int:
    """Raise ValueError unless there is such a class or component."""
    if not 0 <= given < among:
        raise ValueError(f"given: got {given}, expected a {what} from 0 to {among - 1}")
    return given


# ── each model ────────────────────────────────────────────────────────────────────────────────────


def of_a_class(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """M2, M1+M2 and CVAE-GAN: all images of one class, and their style z."""
    label = chosen(given, model.classes, "class")
    y = one_hot(np.array([label]), classes=model.classes, dtype=np.float32)[0]
    layers = given_rest(model.decoder, model.latents, y)
    if recipe.model == "m1m2":                         # z₁ at its mean, and what M1 decodes of it
        last, codes = layers[-1], model.m1_latents
        W, b = last.W.value, last.b.value                                    # type: ignore[attr-defined]
        layers[-1:] = [with_values(last, W=W[:, :codes], b=b[:codes]), *chain_of_layers(model.m1_decoder)]
    vae = plain(lambda x: model.encode(x, np.full(len(x), label)), Sequential(*layers), model.pixel_likelihood,
                pixels=model.seen, latents=model.latents)
    return View(vae, _with_label(dataset, label), f"class {label}")


def of_an_answer(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """A CVAE: all answers to one question, under p(z|x); the question is a label, or quadrants of a test image."""
    asked, (X, Y) = question(recipe, dataset), model.sizes
    if recipe.given == "label":
        x, of = np.eye(X, dtype=np.float32)[[chosen(given, X, "class")]], _with_label(dataset, given)
    else:
        part = dataset.part("test")[chosen(given, len(dataset.test), "test image"):][:1]
        x, of = asked.ask(part).x, np.zeros(len(dataset.test), dtype=bool)
    guess, told = model._guess(x)
    *layers, last = given_rest(model.decoder, model.latents, told[0])
    W, b = last.W.value, last.b.value + guess[0]                             # type: ignore[attr-defined]
    if recipe.given != "label":                        # given pixels stand in their places, whatever z is
        at = asked.whole(np.full((1, X), -1), np.arange(Y)[None])[0]
        known = asked.whole(_outputs_that_say(model.likelihood, x), np.zeros((1, Y), np.float32))[0]
        W, b = np.where(at >= 0, W[:, at], 0.0), np.where(at >= 0, b[at], known)
    mean, logvar = (to_numpy(a) for a in model.prior(told)[0])

    def encode(y: Array) -> tuple[Array, Array]:
        return model.recognition(np.concatenate([np.repeat(told, len(y), axis=0), y], axis=1))[0]

    final = with_values(last, W=W.astype(np.float32), b=b.astype(np.float32))
    vae = plain(encode, Sequential(*layers, final), model.likelihood, pixels=len(b), latents=model.latents,
                prior=mixture_of(mean, logvar))
    return View(vae, of, f"given {'class' if recipe.given == 'label' else 'a part of test image'} {given}")


def _outputs_that_say(p_x: Likelihood, x: np.ndarray) -> np.ndarray:
    """Outputs whose mean is x, nearly"""
    if isinstance(p_x, Bernoulli):
        return (SURE * (2.0 * x - 1.0)).astype(np.float32)
    return x


def of_clusters(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """A GMVAE: z, and its K components where w, that tells how members of a cluster differ, is 0."""
    Z = model.sizes[0]
    (mean, logvar), _ = model.given_w(np.zeros((1, model.sizes[1]), np.float32))

    def encode(x: Array) -> tuple[Array, Array]:
        return tuple(split(part, sizes=model.sizes)[0][0] for part in model.encode(x))       # type: ignore[return-value]

    vae = plain(encode, Sequential(*chain_of_layers(model.decoder.network)), model.likelihood, pixels=model.pixels,
                latents=Z, prior=mixture_of(to_numpy(mean)[0], to_numpy(logvar)[0]))
    return View(vae, says="components at w = 0")


def of_the_first_stage(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """A two-stage VAE: the first one's codes, under the second's p(z); of that p(z|u) for some u ~ N(0, I)."""
    u = np.random.default_rng(0).standard_normal((DRAWS, model.latents), dtype=np.float32)
    outputs, p_z = model.second.decoder(u)[0], model.second.likelihood
    mean, rng = p_z.mean(outputs), np.random.default_rng(1)
    noise = np.stack([p_z.sample(outputs, rng) - mean for _ in range(20)])
    var = np.square(noise).mean(axis=(0, 1))           # γ, in units of z
    prior = mixture_of(to_numpy(mean), np.log(np.tile(var, (DRAWS, 1))))
    vae = plain(model.encode, Sequential(*chain_of_layers(model.first.decoder)), model.likelihood, pixels=model.pixels,
                latents=model.latents, prior=prior)
    return View(vae, says=f"the second VAE's prior as {DRAWS} Gaussians")


def of_a_component(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """An infinite VAE: one of its components, the largest first."""
    vaes, _ = model.mixture()
    c = chosen(given, max(1, len(vaes) - 1), "component")
    likeliest = model.responsibilities(dataset.test.astype(np.float32)).argmax(axis=1) if len(vaes) > 1 else None
    return View(vaes[c], None if likeliest is None else to_numpy(likeliest) == c, f"component {c}")


def of_the_mean(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """Structured residuals: the mean, without them."""
    decoder = Sequential(*chain_of_layers(model.decoder.mean))
    return View(plain(model.encode, decoder, GaussianFixed(), pixels=model.pixels, latents=model.latents))


def _with_label(dataset: Dataset, label: int) -> np.ndarray:
    return np.zeros(len(dataset.test), dtype=bool) if dataset.test_labels is None else dataset.test_labels == label


def of_itself(model: Any, recipe: Recipe, dataset: Dataset, given: int) -> View:
    """A VAE/GAN is a VAE; the discriminator stays at home."""
    return View(plain(model.encode, Sequential(*chain_of_layers(model.decoder)), model.likelihood, pixels=model.pixels,
                      latents=model.latents))


VIEWS: dict[str, Callable[[Any, Recipe, Dataset, int], View]] = {
    "m2": of_a_class, "m1m2": of_a_class, "cvae_gan": of_a_class, "cvae": of_an_answer, "gmvae": of_clusters,
    "two_stage": of_the_first_stage, "infinite": of_a_component, "structured": of_the_mean,
    "vae_gan": of_itself,
}
