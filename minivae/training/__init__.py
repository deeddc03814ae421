"""The training loop, and the recipe that makes a run repeatable.

`fit(model, images, epochs=…)` trains any model; a `Recipe` is everything that decides a run, kept as config.json.
"""


from minivae.training.loop import Callback, Interrupted, Record, fit
from minivae.training.recipe import Recipe, free_folder, load_run, read_recipe

__all__ = [
    "Callback", "Interrupted", "Recipe", "Record", "fit", "free_folder", "load_run", "read_recipe",
]
