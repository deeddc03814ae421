"""What subcommands have in common: exit codes, and the pictures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from matplotlib.figure import Figure

from minivae import data, plots
from minivae.batch import Batch
from minivae.evaluation import cluster_map
from minivae.training import Recipe, Record
from minivae.training.models import question
from minivae.vae import VAE
from minivae.variants import CVAE, GMVAE, M2, InfiniteVAE, TwoStage

DeviceName = Literal["auto", "cpu", "cuda"]
Run = Annotated[Path, tyro.conf.Positional]

# exit codes that scripts can use
OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130


def draw(model: Any, dataset: data.Dataset, recipe: Recipe, history: list[Record], folder: Path) -> None:
    """Every picture of a run, into a folder."""
    for name, fig in _portrait(model, dataset, recipe):
        print(f"picture: {plots.save(fig, folder / f'{name}.png')}")
    if history:                                           # a run stopped in its first epoch has none
        print(f"picture: {plots.save(plots.learning_curves(history), folder / 'curves.png')}")


def _portrait(model: Any, dataset: data.Dataset, recipe: Recipe) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of what there is to see of such a model."""
    test, shape, seed = recipe.test(dataset), dataset.image_shape, recipe.seed
    if isinstance(model, CVAE):
        whole = question(recipe, dataset).whole
        yield "completions", plots.completions(model, plots.spread(test, 10), whole, shape, seed=seed)
    elif isinstance(model, M2):
        rng, few = model.device.rng(seed), model.device.asarray(plots.spread(test.x, 48), dtype=model.dtype)
        yield "samples", plots.image_grid(model.sample(10 * model.classes, rng), shape, columns=model.classes,
                                          title="draws of z and, in columns, every class")
        yield "analogies", plots.analogies(model, plots.spread(test.x, 10), shape)
        yield "reconstructions", plots.reconstructions(few, model.reconstruct(Batch(x=few), rng), shape)
    elif isinstance(model, GMVAE | InfiniteVAE):
        drawn = model.sample_clusters(10, model.device.rng(seed))
        yield "clusters", plots.image_grid(drawn, shape, title="a row of every cluster")
        if isinstance(model, InfiniteVAE):
            rng, few = model.device.rng(seed), model.device.asarray(plots.spread(test.x, 48), dtype=model.dtype)
            yield "reconstructions", plots.reconstructions(few, model.reconstruct(few, rng), shape)
            if model.latents == 2:
                yield "atlas", plots.atlas(model.mixture()[0][:8], shape)
        elif model.sizes[0] == 2 and dataset.test_labels is not None:
            yield "latents", cluster_map(model, plots.spread(test.x, 2000), plots.spread(dataset.test_labels, 2000))
    else:
        yield from plots.portrait(model, test.x, dataset.test_labels, shape, seed=seed)
    if isinstance(model, TwoStage):
        alone = model.first.sample(100, model.device.rng(seed))
        yield "samples_of_the_first_stage", plots.image_grid(alone, shape, title="samples of the first stage alone")


def only_a_vae(model: Any, why: str) -> None:
    """Raise ValueError for another model."""
    if not isinstance(model, VAE):
        raise ValueError(f"{why}: got a run of a {type(model).__name__}, expected one of a VAE")
