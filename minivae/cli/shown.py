"""What each kind of model has to say and to show: a row of SHOWN, by the model's name in a recipe.

Whoever adds a model to `training.models` adds its row here; nothing else on the command line knows about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minivae import plots
from minivae.backend import Generator, to_numpy
from minivae.batch import Batch
from minivae.data import Dataset
from minivae.data.spectra import HOP
from minivae.data.spoken_digits import RATE
from minivae.evaluation import (
    active_units,
    annealed_importance_sampling,
    classification_error,
    cluster_map,
    code_use,
    components_found,
    conditional_log_likelihood,
    diagnose,
    evaluate,
    evaluate_mixture,
    importance_weighted_bound,
    over_parts,
)
from minivae.plots.style import Figure
from minivae.training import Recipe
from minivae.training.batches import question

Pictures = Iterator[tuple[str, Figure]]                # (name of the file, picture)


class Asked(NamedTuple):
    """What `minivae evaluate` was asked for, beside the bound: its options of these names."""

    samples: int
    ais: int
    chains: int
    latents: bool
    seed: int


class Shown(NamedTuple):
    """
    pictures   pictures(model, dataset, recipe): all there is to see
    says       says(model, test batch, asked): what is printed, one by one, as it is known
    drawn      drawn(model, dataset, recipe, n, rng): n images or a few more, on the device
    columns    columns(model, n): how many of them stand in a row
    judge      judge(model, batch, seed=…): the bound and its terms
    whole      whether it explains whole images, so that its runs can be compared with others
    units      whether its latents are the same whatever the label is, so that active ones can be counted
    by_class   whether it draws images of a class that is told: sample(n, rng, label)
    sentences  whether what it draws is sentences, as codes
    """

    pictures: Callable[[Any, Dataset, Recipe], Pictures]
    says: Callable[[Any, Batch, Asked], Iterator[object]]
    drawn: Callable[[Any, Dataset, Recipe, int, Generator], Any]
    columns: Callable[[Any, int], int] = lambda model, n: 10
    judge: Callable[..., object] = evaluate
    whole: bool = True
    units: bool = True
    by_class: bool = False
    sentences: bool = False


# ── the VAE, and what can be asked the same ───────────────────────────────────────────────────


def portrait(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Samples, reconstructions, walks, and what two latents allow."""
    yield from plots.portrait(model, recipe.test(dataset).x, dataset.test_labels, dataset.image_shape,
                              seed=recipe.seed)


def all_of_a_vae(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound; what the latents are worth; better bounds."""
    yield evaluate(model, x, seed=asked.seed)
    yield from its_latents(model, x, asked)


def its_latents(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """Which are used, and the better bounds on log p(x)."""
    yield (diagnose(model, x, seed=asked.seed, progress=True) if asked.latents else
           f"active units: {active_units(model, x).sum()} of {model.latents}")
    yield from weighted(model, x, asked)
    if asked.ais:
        found = annealed_importance_sampling(model, x, chains=asked.chains, temperatures=asked.ais, seed=asked.seed,
                                             progress=True)
        yield f"annealed importance sampling, {asked.ais:,} temperatures, {asked.chains} chains: {found}"


def weighted(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The importance-weighted bound, if it was asked for."""
    if asked.samples:
        bound = importance_weighted_bound(model, x, samples=asked.samples, seed=asked.seed, progress=True)
        yield (f"NLL {-bound.mean:.2f} ± {bound.standard_error:.2f} nats: importance-weighted bound, "
               f"{asked.samples:,} samples, {len(x):,} images")


def samples(model: Any, dataset: Dataset, recipe: Recipe, n: int, rng: Generator) -> Any:
    """As they come."""
    return model.sample(n, rng)


def reconstructions(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Test images, and below each what is told of it again."""
    few = model.device.asarray(plots.spread(recipe.test(dataset).x, 48), dtype=model.dtype)
    again = model.reconstruct(Batch(x=few), model.device.rng(recipe.seed))
    yield "reconstructions", plots.reconstructions(few, again, dataset.image_shape)


def residuals(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """A portrait; and what the mean leaves unexplained, beside draws with and without neighbours."""
    yield from portrait(model, dataset, recipe)
    rng, x = model.device.rng(recipe.seed), model.device.asarray(plots.spread(recipe.test(dataset).x, 8),
                                                                 dtype=model.dtype)
    outputs, p_x = model.decoder(model.encode(x)[0])[0], model.likelihood
    drawn = {"drawn": p_x.sample(outputs, rng), "drawn, every pixel by itself": p_x.sample_alone(outputs, rng)}
    yield "residuals", plots.residuals(x, p_x.mean(outputs), drawn, dataset.image_shape)


# ── the others ────────────────────────────────────────────────────────────────────────────────


def two_stages(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """A portrait, and beside the samples those of the first stage alone."""
    yield from portrait(model, dataset, recipe)
    alone = model.first.sample(100, model.device.rng(recipe.seed))
    yield "samples_of_the_first_stage", plots.image_grid(
        alone, dataset.image_shape, like=plots.spread(dataset.test, 100), title="samples of the first stage alone")


def completions(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """What is given of some test images, and what the rest may be."""
    yield "completions", plots.completions(model, plots.spread(recipe.test(dataset), 10),
                                           question(recipe, dataset).whole, dataset.image_shape, seed=recipe.seed)


def conditional(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound on log p(y|x), and its estimates by draws."""
    yield evaluate(model, x, seed=asked.seed)
    yield conditional_log_likelihood(model, x, samples=asked.samples or 100, seed=asked.seed, progress=True)


def completed(model: Any, dataset: Dataset, recipe: Recipe, n: int, rng: Generator) -> Any:
    """Each with what is given of a test image."""
    test = recipe.test(dataset)
    x = test.x[np.arange(n) % len(test)]
    y = model.predict(model.device.asarray(x, dtype=model.dtype), rng)
    return question(recipe, dataset).whole(x, to_numpy(y))


def classes(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Samples by class, analogies, reconstructions."""
    shape, rng = dataset.image_shape, model.device.rng(recipe.seed)
    yield "samples", plots.image_grid(model.sample(10 * model.classes, rng), shape, columns=model.classes,
                                      title="draws of z and, in columns, every class")
    yield "analogies", plots.analogies(model, plots.spread(recipe.test(dataset).x, 10), shape)
    yield from reconstructions(model, dataset, recipe)


def semi_supervised(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound, and how often the class is wrong."""
    yield evaluate(model, x, seed=asked.seed)
    yield f"error: {classification_error(model, x)}% of {len(x):,} images"
    yield from weighted(model, x, asked)


def no_pictures(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Sentences are read."""
    yield from ()


def judged_sentences(model: Any, x: Batch, seed: int = 0) -> str:
    """The bound, and how often the class is wrong."""
    bound = evaluate(model, x, seed=seed)
    return (f"ELBO {bound.elbo} nats = −(nll {bound.nll} + kl {bound.kl}), error {classification_error(model, x)}%, "
            f"{len(x):,} sentences")


def semi_supervised_sentences(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The same; nats for each word; latents in use."""
    yield judged_sentences(model, x, asked.seed)
    codes, nll = np.count_nonzero(x.x), evaluate(model, x, seed=asked.seed).elbo
    yield f"perplexity {np.exp(-nll.mean * len(x) / codes):.1f} at most: {codes:,} words and ends"
    means = np.concatenate(over_parts(model, x, lambda part, rng: to_numpy(model.encode(part.x,
                                                                                        model.classify(part.x))[0])))
    yield f"active units: {(means.var(axis=0) > 0.01).sum()} of {model.latents}"
    if asked.samples:
        bound = importance_weighted_bound(model, x, samples=asked.samples, seed=asked.seed, progress=True)
        yield f"NLL {-bound.mean:.2f} ± {bound.standard_error:.2f} nats: {asked.samples:,} samples"


def clusters(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Draws of every cluster."""
    drawn = model.sample_clusters(10, model.device.rng(recipe.seed))
    yield "clusters", plots.image_grid(drawn, dataset.image_shape, title="a row of every cluster")


def clusters_on_a_map(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Draws of every cluster, and where they lie in two latents."""
    yield from clusters(model, dataset, recipe)
    if model.sizes[0] == 2 and dataset.test_labels is not None:
        yield "latents", cluster_map(model, plots.spread(recipe.test(dataset).x, 2000),
                                     plots.spread(dataset.test_labels, 2000))


def mixture(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The four terms, and the clusters."""
    if asked.latents:
        raise ValueError("latents: got a run of a GMVAE, whose latents are not independent under p(z, w)")
    yield evaluate_mixture(model, x, seed=asked.seed)
    yield from its_latents(model, x, asked)


def atlas(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Draws of every component, reconstructions, and of two latents a map of each."""
    yield from clusters(model, dataset, recipe)
    yield from reconstructions(model, dataset, recipe)
    if model.latents == 2:
        yield "atlas", plots.atlas(model.mixture()[0][:8], dataset.image_shape)


def components(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound, and how many components there are."""
    yield evaluate(model, x, seed=asked.seed)
    yield components_found(model, x)
    yield from its_latents(model, x, asked)


def of_numbers(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Samples, reconstructions, and the pictures of numbers that stand for some test images."""
    rng, shape = model.device.rng(recipe.seed), dataset.image_shape
    yield "samples", plots.image_grid(model.sample(100, rng), shape, title="samples")
    yield from reconstructions(model, dataset, recipe)
    few = model.device.asarray(plots.spread(recipe.test(dataset).x, 8), dtype=model.dtype)
    codes = model.codes(few)
    yield "codes", plots.numbers(few, codes, model.decode(codes), shape)


def words(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound, the words in use, bits."""
    yield evaluate(model, x, seed=asked.seed)
    yield code_use(model, x)


def each(model: Any, n: int) -> int:
    """How many of each cluster make n, or a few more."""
    return -(-n // max(model.components, 1))


def by_cluster(model: Any, dataset: Dataset, recipe: Recipe, n: int, rng: Generator) -> Any:
    """As many of each cluster."""
    return model.sample_clusters(each(model, n), rng)


def of_voices(model: Any, dataset: Dataset, recipe: Recipe) -> Pictures:
    """Some test frames, one after another; what is told of them again; and draws of every speaker."""
    some = recipe.test(dataset)[:240]
    again = model.reconstruct(some.on(model.device, model.dtype), model.device.rng(recipe.seed))
    drawn = model.sample(len(some), model.device.rng(recipe.seed))
    panels = {"recordings": some.x, "σ², told again": again, "σ², drawn, a frame of every speaker in turn": drawn}
    yield "voices", plots.spectrograms({name: to_numpy(x).T for name, x in panels.items()}, rate=RATE, hop=HOP)


def frames(model: Any, x: Batch, asked: Asked) -> Iterator[object]:
    """The bound, by frame."""
    yield evaluate(model, x, seed=asked.seed)
    yield from weighted(model, x, asked)


SHOWN: dict[str, Shown] = {
    "vae": Shown(portrait, all_of_a_vae, samples),
    "two_stage": Shown(two_stages, all_of_a_vae, samples),
    "cvae": Shown(completions, conditional, completed, whole=False),
    "m2": Shown(classes, semi_supervised, samples, units=False, by_class=True),
    "m1m2": Shown(classes, semi_supervised, samples, units=False, by_class=True),
    "gmvae": Shown(clusters_on_a_map, mixture, by_cluster, each, evaluate_mixture),
    "infinite": Shown(atlas, components, by_cluster, each),
    "structured": Shown(residuals, all_of_a_vae, samples),
    "vae_gan": Shown(portrait, all_of_a_vae, samples),
    "cvae_gan": Shown(classes, semi_supervised, samples, units=False, by_class=True),
    "mvae": Shown(of_voices, frames, samples, whole=False, units=False, by_class=True),
    "vq_vae": Shown(of_numbers, words, samples, units=False, by_class=True),
    "m2_text": Shown(no_pictures, semi_supervised_sentences, samples, judge=judged_sentences, whole=False, units=False,
                     by_class=True, sentences=True),
}
