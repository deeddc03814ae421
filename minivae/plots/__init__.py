"""Every picture: each function returns a matplotlib figure, in one style.

    style            colours, sizes; how a figure is saved, and set into a page
    images           pages of images: samples, reconstructions, residuals, completions, pictures of numbers
    latents          the latent space: maps, walks through it, the KL of every latent
    sounds           spectrograms
    runs             learning curves; all there is to see of a model

Images are (N, X) arrays with pixels in [0, 1], drawn as ink on paper, photographs and whatever has colours as light.
The shape of an image is (height, width), or (height, width, 3) in colour.
"""

from minivae.plots.images import (
    STRIP,
    analogies,
    completions,
    image_grid,
    mosaic,
    numbers,
    reconstructions,
    residuals,
    show_page,
    side_by_side,
    spread,
)
from minivae.plots.latents import atlas, interpolation, kl_by_latent, latent_scatter, manifold, traversals
from minivae.plots.runs import learning_curves, portrait
from minivae.plots.sounds import spectrograms
from minivae.plots.style import COLOURS, STYLE, TEN, figure, save, save_for_slides, svg, use_style

__all__ = [
    "COLOURS", "STRIP", "STYLE", "TEN", "analogies", "atlas", "completions", "figure", "image_grid",
    "interpolation", "kl_by_latent", "latent_scatter", "learning_curves", "manifold", "mosaic", "numbers",
    "portrait", "reconstructions", "residuals", "save", "save_for_slides", "show_page", "side_by_side", "spectrograms",
    "spread", "svg", "traversals", "use_style",
]
