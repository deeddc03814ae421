"""The training loop, and the recipe that makes a run repeatable.

    loop             fit(model, images, epochs=…): trains whatever offers what `runs.Model` lists
    recipe           Recipe: everything that decides a run, kept as its config.json
    settings         which values its settings can have, and which go together
    kept             a run folder's recipe, and its model
    models           the models by the names that a recipe gives them: how each is built, and which batches it asks for
    batches          what these batches are: with labels told, hidden or put as questions
    buckets          minibatches of sequences of about one length
    vocabulary       the words of a run
    model_map        which term of the ELBO each model changes: models.md, for README, the book and `minivae models`
    make_classifier  how evaluation/classifier.safetensors was made
    clusters         where the components of a mixture start

The loop knows nothing of VAEs.  What every run should be able to choose is a field of Recipe, and thereby an option of
`minivae train`; those of some models alone are listed in settings.
"""

from minivae.training.clusters import start_at_clusters
from minivae.training.kept import load_run, read_recipe
from minivae.training.loop import Callback, Interrupted, Record, fit
from minivae.training.recipe import Recipe

__all__ = [
    "Callback", "Interrupted", "Recipe", "Record", "fit", "load_run", "read_recipe",
    "start_at_clusters",
]
