"""Which values a recipe's settings can have, and which of them go together."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from minivae.backend import whole_numbers
from minivae.parts import check_pair

Recipe = Any                                           # training.recipe's, which is built upon this file

OF_SOME_MODELS = {                     # the settings that mean something to some of the models alone
    ("vae", "vae_gan"): ("network", "filters", "dense"),
    ("vae",): ("posterior", "prior", "objective", "beta", "free_bits", "capacity", "gamma"),
    ("vae", "m2_text"): ("warm_up",),
    ("m2_text",): ("words", "length", "units", "writer", "forget"),
    ("vae", "gmvae"): ("scale",),
    ("vae", "gmvae", "structured"): ("samples",),
    ("vae", "gmvae", "infinite"): ("components",),
    ("cvae",): ("given", "observed", "baseline_epochs", "alpha"),
    ("two_stage",): ("second_hidden",),
    ("two_stage", "m1m2", "infinite", "structured", "vq_vae"): ("first_epochs",),
    ("vae_gan", "cvae_gan"): ("features",),
    ("vae_gan",): ("likeness", "margin"),
    ("cvae_gan",): ("weights",),
    ("vq_vae",): ("levels", "codes", "prior_channels", "prior_blocks", "by_class"),
    ("structured",): ("fixed_epochs",),
    ("infinite",): ("concentration",),
    ("m2", "m1m2", "m2_text"): ("labels", "label_weight"),
    ("m1m2",): ("m1_latents",),
    ("gmvae",): ("w_latents", "vae_epochs", "information"),
}


def check_settings(recipe: Recipe) -> None:
    """Raise ValueError for a setting that cannot be, or means nothing to the recipe's model."""
    for name in ("epochs", "batch_size", "samples", "latents", "components", "dense", "labels", "m1_latents",
                 "w_latents", "levels", "codes", "prior_channels", "prior_blocks", "features", "size", "words",
                 "length", "units"):
        if getattr(recipe, name) is not None:
            whole_numbers(**{name: getattr(recipe, name)})
    for name in ("seed", "warm_up", "free_bits", "beta", "capacity", "baseline_epochs", "alpha", "first_epochs",
                 "label_weight", "vae_epochs", "information", "fixed_epochs", "likeness", "margin", "forget"):
        if (getattr(recipe, name) or 0) < 0:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, expected at least 0")
    if recipe.model == "structured" and recipe.likelihood != "gaussian_pixel":
        raise ValueError(f"likelihood: got {recipe.likelihood!r}; model structured wants gaussian_pixel, to which it "
                         "adds off-diagonals")
    if not recipe.concentration > 0:
        raise ValueError(f"concentration: got {recipe.concentration}, expected a number > 0")
    for name, hint in get_type_hints(type(recipe)).items():
        if get_origin(hint) is Literal and getattr(recipe, name) not in get_args(hint):
            raise ValueError(f"{name}: got {getattr(recipe, name)!r}, expected one of {', '.join(get_args(hint))}")
    for models, names in OF_SOME_MODELS.items():
        changed = [f.name for f in fields(recipe) if f.name in names and getattr(recipe, f.name) != f.default]
        if changed and recipe.model not in models:
            raise ValueError(f"{changed[0]}: got {getattr(recipe, changed[0])!r}, which means nothing to model "
                             f"{recipe.model}: it is of model {' or '.join(models)}")
    check_objective(recipe)


def check_objective(recipe: Recipe) -> None:
    """Raise ValueError for settings that exclude each other."""
    weighted = recipe.capacity is None and (recipe.warm_up > 0 or recipe.beta != 1.0)
    if weighted + (recipe.free_bits > 0) + (recipe.capacity is not None) + (recipe.objective != "elbo") > 1:
        raise ValueError("objective, beta (with warm_up), capacity, free_bits: each is an objective of its own, "
                         "expected at most one")
    if recipe.capacity is not None and recipe.beta != 1.0:
        raise ValueError(f"beta: got {recipe.beta}; with a capacity the KL's price is gamma")
    if recipe.posterior != "diagonal" and (recipe.free_bits or recipe.objective == "dreg"):
        raise ValueError(f"posterior: got {recipe.posterior!r}; free_bits and dreg are for the diagonal one")
    check_pair(recipe.posterior, recipe.prior)
    if recipe.prior != "standard" and recipe.free_bits:
        raise ValueError(f"prior: got {recipe.prior!r}; free_bits are for the standard one: each latent has a KL")
