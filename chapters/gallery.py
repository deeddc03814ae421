"""The gallery · every model on the same images.

The question     What do all these models draw, and what do they make of an image, if they see the same digits?
What is new      nothing: every model of the chapters, trained briefly and shown side by side.
What you'll see  a strip for each model, samples to the left, reconstructions to the right; the numbers below.

    python chapters/gallery.py                            4,000 digits, six minutes on one core
    python chapters/gallery.py --only VAE "CVAE-GAN"      some of them
    python chapters/gallery.py --epochs 60 --data mnist   for longer, on more
"""

# %% [markdown]
# # The gallery
#
# Every model of the chapters, on the same images: 28×28, handwritten.  All have about the same networks (400 hidden units, 20
# latents, or the convolutions of their chapter), the same rate, and a time that is about the same: a model whose step costs ten of
# the VAE's gets fewer epochs.  That is little for all of them, and no setting was sought for any; what a model can do its
# chapter shows.
#
# Those of the first group see black and white images, drawn anew from the grey ones for every batch, and their bounds are of
# one kind.  Those of the second see the grey images.  A density of grey numbers and the mass of a grey level are nats of
# other kinds: *less the VAE's* is told, image by image, where the kinds are the same.

# %%
import time
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.chapter import options, parser
from minivae.cli.compare import as_text
from minivae.cli.judged import Judged, judge_model, unpaired
from minivae.data import Dataset
from minivae.evaluation import Estimate, terms_by_image
from minivae.training import Recipe, fit
from minivae.training.batches import question
from minivae.variants import DeepLatentConfig
from minivae.variants.probabilistic_pca import as_vae, probabilistic_pca

COMMON = {"lr": 2e-3, "schedule": "cosine", "batch_size": 100, "latents": 20, "hidden": (400,)}
QUICK = {"conv": {"filters": (4, 6), "dense": 24}, "two_stage": {"second_hidden": (16,)}, "m2": {"labels": 20},
         "m1m2": {"labels": 20}, "vae_gan": {"features": 16}, "cvae_gan": {"features": 16},
         "vq_vae": {"codes": 8, "prior_channels": 8, "prior_blocks": 1}}


@dataclass(frozen=True)
class Entry:
    """A model of the gallery, by its name in the map of the models.

    share      its epochs, as a share of the VAE's
    settings   of its recipe, where they are not those of all
    first      a setting that is a number of epochs, and their share of its own: what is trained first
    """

    name: str
    share: float = 1.0
    settings: dict = field(default_factory=dict)
    first: tuple[str, float] | None = None

    def recipe(self, opt) -> Recipe:
        """What trains it."""
        settings = COMMON | self.settings
        if opt.quick:
            settings |= {"hidden": (24,)} | QUICK.get(settings.get("model", settings.get("network")), {})
        epochs = max(2 if self.first else 1, round(self.share * opt.epochs))
        if self.first:
            settings |= {self.first[0]: max(1, round(self.first[1] * epochs))}
        return Recipe(data=opt.data, epochs=epochs, seed=opt.seed, **settings)


BLACK_AND_WHITE = [
    Entry("VAE"),
    Entry("convolutional VAE", 0.5, {"network": "conv"}),
    Entry("KL warm-up", 1.0, {"warm_up": 5}),
    Entry("free bits", 1.0, {"free_bits": 0.1}),
    Entry("β-VAE", 1.0, {"beta": 4.0}),
    Entry("capacity", 1.0, {"capacity": 25.0}),
    Entry("IWAE", 1.0, {"objective": "iwae", "samples": 5}),
    Entry("DReG", 1.0, {"objective": "dreg", "samples": 5}),
    Entry("full covariance", 1.0, {"posterior": "full"}),
    Entry("rank one", 1.0, {"posterior": "rank_one"}),
    Entry("planar flow", 1.0, {"posterior": "planar"}),
    Entry("coupling flow", 1.0, {"posterior": "coupling"}),
    Entry("deep latent", 1.0),
    Entry("mixture prior", 1.0, {"prior": "mixture", "components": 100}),
    Entry("VampPrior", 1.0, {"prior": "vamp", "components": 100}),
    Entry("GMVAE", 1.0, {"model": "gmvae"}, ("vae_epochs", 0.3)),
    Entry("infinite VAE", 0.5, {"model": "infinite", "concentration": 0.1}, ("first_epochs", 0.2)),
    Entry("M2", 0.6, {"model": "m2", "label_weight": 10.0}),
    Entry("M1+M2", 1.6, {"model": "m1m2"}, ("first_epochs", 0.5)),
    Entry("CVAE", 1.0, {"model": "cvae"}, ("baseline_epochs", 0.2)),
    Entry("VQ-VAE-2", 0.4, {"model": "vq_vae", "prior_channels": 16, "prior_blocks": 2}, ("first_epochs", 0.4)),
]
GREY = [
    Entry("VAE/GAN", 1.0, {"model": "vae_gan", "optimizer": "rmsprop", "lr": 1e-3, "schedule": "constant"}),
    Entry("CVAE-GAN", 1.0, {"model": "cvae_gan", "optimizer": "rmsprop", "lr": 1e-3, "schedule": "constant"}),
    Entry("probabilistic PCA", 1.0, {"likelihood": "gaussian_fixed"}),
    Entry("learned noise", 1.0, {"likelihood": "gaussian_shared"}),
    Entry("two-stage VAE", 2.0, {"model": "two_stage", "likelihood": "gaussian_shared"}, ("first_epochs", 0.5)),
    Entry("structured residuals", 1.0, {"model": "structured", "likelihood": "gaussian_pixel"}, ("first_epochs", 0.5)),
    Entry("grey levels", 1.0, {"likelihood": "logistic_pixel"}),
]
ENTRIES = [*(replace(entry, settings={"binarize": True} | entry.settings) for entry in BLACK_AND_WHITE), *GREY]


# %% [markdown]
# Most are trained as on the command line.  The deep latent Gaussian model has no option there, and probabilistic PCA needs no
# training: it is known in closed form.

# %%
def trained(entry: Entry, recipe: Recipe, dataset: Dataset, opt):
    """The model and its history."""
    if entry.name == "probabilistic PCA":
        return as_vae(*probabilistic_pca(dataset.train.astype(np.float64), recipe.latents)), []
    if entry.name != "deep latent":
        return recipe.train(dataset, opt.device, progress=False)
    train, _ = recipe.split(dataset)
    model = DeepLatentConfig(train.x.shape[1], recipe.hidden, (10, 20)).build(
        seed=recipe.seed, on=opt.device, images=train.x, optimizer=recipe.new_optimizer(recipe.epochs, recipe.steps(train)))
    return model, fit(model, train, epochs=recipe.epochs, batch_size=recipe.batch_size, binarize=recipe.binarize,
                      seed=recipe.seed, progress=False)


def judged(entry: Entry, model, dataset: Dataset, recipe: Recipe, history) -> Judged:
    """What it says and draws; of a CVAE, which is given the lower left quarter of an image, the other three."""
    if recipe.model != "cvae":
        return judge_model(model, dataset, recipe, history=history, name=entry.name, seed=recipe.seed)
    test, whole, rng = recipe.test(dataset), question(recipe, dataset).whole, model.device.rng(recipe.seed)
    more, few = (plots.spread(test, n).on(model.device, model.dtype) for n in plots.STRIP)
    nll, kl = terms_by_image(model, test, seed=recipe.seed)
    pictured = (whole(more.x, model.predict(more.x, rng)), whole(more.x, more.y),
                whole(few.x, model.reconstruct(few, rng)), whole(few.x, few.y))
    return Judged("CVAE, of a quarter", recipe, dataset.image_shape, test, nll=nll, kl=kl, active="", quality=None,
                  weighted_nll=np.empty(0), history=history, pictured=pictured,
                  parameters=sum(network.arena.value.size for network in model.networks.values()))


# %% [markdown]
# ## The numbers
#
# The ELBO and its KL, in nats; how many latents say anything; and of as many samples as there are test images the Fréchet
# distance, precision and recall on features of the library's own classifier of digits, which is not FID.

# %%
def numbers(found: list[tuple[Judged, float]]) -> list[str]:
    """A line for each model."""
    first, rows = found[0][0], []
    for one, seconds in found:
        off = one.elbo - first.elbo if one is not first and not unpaired(first, one) else None
        less = "" if off is None else f"{off.mean():+.2f} ± {Estimate.of(off).standard_error:.2f}"
        quality = [f"{getattr(one.quality, name):.2f}" for name in ("frechet", "precision", "recall")] if one.quality else [""] * 3
        rows.append((one.name, [str(Estimate.of(one.elbo)), less, f"{one.kl.mean():.2f}", one.active, *quality,
                                str(len(one.history)), f"{seconds:.0f}"]))
    return as_text(["ELBO", f"less {first.name}'s", "KL", "active", "Fréchet", "precision", "recall", "epochs", "seconds"], rows)


# %%
def main(argv=None):
    p = parser("gallery", __doc__, epochs=20)
    p.add_argument("--only", nargs="+", default=[], choices=[entry.name for entry in ENTRIES], metavar="MODEL",
                   help="some models, by their names in the picture")
    opt, args = options(p, argv)
    dataset, begun = opt.digits(), time.monotonic()
    if opt.quick:
        dataset = replace(dataset, **{name: plots.spread(getattr(dataset, name), n) for part, n in (("train", 300), ("test", 60))
                                      for name in (part, f"{part}_labels")})
    found = []
    for entry in tqdm([entry for entry in ENTRIES if not args.only or entry.name in args.only], unit="model"):
        recipe, start = entry.recipe(opt), time.monotonic()
        model, history = trained(entry, recipe, dataset, opt)
        seconds = time.monotonic() - start
        found.append((judged(entry, model, dataset, recipe, history), seconds))
    opt.save(plots.side_by_side([one.picture for one, _ in found]), "gallery", alt="A strip for each model: twenty images that it "
             "drew, and eight test images as it tells them again; above each group the images themselves. From above: "
             + ", ".join(one.name for one, _ in found) + ".")
    print("\n".join(["", *numbers(found)]))

    drawn = sorted((one.quality.frechet, one.name) for one, _ in found if one.quality)
    print(f"\nSeen: {len(found)} models of {len(dataset.train):,} images in {time.monotonic() - begun:.0f} s. What they draw is "
          f"between {drawn[0][0]:.2f} ({drawn[0][1]}) and {drawn[-1][0]:.2f} ({drawn[-1][1]})\nin Fréchet distance from what "
          "nobody trained on.")


if __name__ == "__main__":
    main()
