"""Every picture: each function returns a matplotlib figure, in one style.

Images are (N, X) arrays with pixels in [0, 1], drawn as ink on paper, photographs as light.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.parts import GaussianMixture
from minivae.runs import write_atomically

Rows = TypeVar("Rows", np.ndarray, Batch)
# Okabe and Ito's colours: told apart by everybody, in print as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
# ten for ten classes
TEN = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F", "#6A3D9A", "#000000")
STYLE: dict[Any, Any] = {
    "figure.dpi": 110, "savefig.dpi": 160, "savefig.bbox": "tight", "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.09, "figure.constrained_layout.w_pad": 0.06,          # between panels, inches
    "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "grid.linewidth": 0.6, "lines.linewidth": 1.8, "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=COLOURS), "axes.formatter.useoffset": False,
}


def figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0,
           **options: Any) -> tuple[Figure, Any]:
    """A figure with rows × columns axes in the project's style; sizes in inches."""
    with plt.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height), **options)


def use_style() -> None:
    """Make the project's style matplotlib's own from here on (the chapters do, for their own axes)."""
    plt.rcParams.update(STYLE)


def save(fig: Figure, path: Path) -> Path:
    """Write the figure as PNG, whole or not at all, and release it."""
    png = io.BytesIO()
    try:
        with plt.rc_context(STYLE):
            fig.savefig(png, format="png")
    finally:
        plt.close(fig)
    write_atomically(path, png.getvalue())
    return path


def svg(fig: Figure, *, alt: str) -> str:
    """The figure as an element of a page, in the page's own colours of ink and paper: for light and dark pages.

    alt   what there is to see, in words
    Raises ValueError if these are missing.
    """
    if not alt.strip():
        raise ValueError("alt: got nothing, expected what the picture shows, in words")
    for image in (image for ax in fig.axes for image in ax.images):
        image.set_interpolation("none")                # its own pixels go into the page, and the page scales them
    text = io.StringIO()
    with plt.rc_context(STYLE | {"svg.hashsalt": alt}):                      # the same picture, the same text
        fig.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = text.getvalue()[text.getvalue().index("<svg"):]
    body = re.sub(r' width="([\d.]+)pt" height="[\d.]+pt"', r' style="width: \1pt" fill="currentColor"', body, count=1)
    for theirs, ours in (("#000000", "currentColor"), ("#ffffff", "var(--paper, #ffffff)"), ("*{", ".picture svg *{"),
                         (COLOURS[0].lower(), f"var(--blue, {COLOURS[0]})")):                  # dim on a dark page
        body = body.replace(theirs, ours)
    return f'<figure class="picture" role="img" aria-label="{escape(alt)}">{body}</figure>'


def mosaic(images: Any, shape: tuple[int, int], columns: int, *, gap: int = 2, paper: float = 0.0) -> np.ndarray:
    """Images side by side in one array, `columns` per row, on `paper`        (N, X) -> (rows·h, columns·w)"""
    images = to_numpy(images)
    h, w = shape
    if len(images) == 0 or images[0].size != h * w:
        raise ValueError(f"images: got shape {images.shape}, expected (N, {h * w}) with N at least 1, "
                         f"for pictures of {h}×{w}")
    rows = -(-len(images) // columns)
    page = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), paper)
    for i, image in enumerate(images):
        y, x = (i // columns) * (h + gap), (i % columns) * (w + gap)
        page[y:y + h, x:x + w] = image.reshape(h, w)
    return page


def spread(images: Rows, n: int | None) -> Rows:
    """`n` of the images, or rows of a batch (None: all), evenly spread: a test set may be sorted by class."""
    return images if n is None or n >= len(images) else images[np.linspace(0, len(images) - 1, n).astype(int)]


def image_grid(images: Any, shape: tuple[int, int], *, columns: int = 10, title: str = "") -> Figure:
    """Images (N, X) in a grid: samples, for instance.  Rows of a table lie below each other."""
    table = _is_table(shape)
    page = to_numpy(images) if table else mosaic(images, shape, columns)
    height = 4.0 if table else 6.0 * page.shape[0] / page.shape[1]
    fig, ax = figure(width=6.0, height=height + (0.35 if title else 0.0))
    _show(ax, page, title)
    if table:
        ax.set_aspect("auto")
    return fig


def _is_table(shape: tuple[int, int]) -> bool:
    """Whether an "image" is the row of a table."""
    return shape[1] > 4 * shape[0]


def _seen(model: Any, images: Any) -> np.ndarray:
    """Images as the model's networks see them, on the host: of data in units of their own, numbers near 1."""
    return to_numpy(model.likelihood.scaled(images))


def reconstructions(x: Any, x_hat: Any, shape: tuple[int, int], *, title: str = "") -> Figure:
    """Each image above its reconstruction, twelve pairs a row."""
    x, x_hat = to_numpy(x), to_numpy(x_hat)
    columns = 1 if _is_table(shape) else min(12, len(x))
    rows: list[np.ndarray] = []
    for start in range(0, len(x), columns):
        blank = np.zeros((columns - len(x[start:start + columns]), x.shape[1]))
        for images in (x, x_hat):
            rows += [images[start:start + columns], blank]
    fig = image_grid(np.concatenate(rows), shape, columns=columns)
    fig.axes[0].set_title(title or "above: the image; below: its reconstruction", fontsize=11)
    return fig


def completions(model: Any, part: Any, whole: Callable[[np.ndarray, np.ndarray], np.ndarray], shape: tuple[int, int], *,
                draws: int = 8, seed: int = 0, title: str = "") -> Figure:
    """A row for each example of `part`: what is given, the baseline's guess, draws of a CVAE, the truth.

    whole   whole(x, y): what is given and what is predicted, in one image (N, X + Y)
    """
    on = part.on(model.device, model.dtype)
    x, rng = to_numpy(on.x), model.device.rng(seed)
    columns = [whole(x, np.full(part.y.shape, 0.5)), whole(x, to_numpy(model.guess(on.x))),
               *(whole(x, to_numpy(model.predict(on.x, rng))) for _ in range(draws)), whole(x, part.y)]
    rows = np.stack(columns, axis=1)                                                      # (N, columns, pixels)
    return image_grid(rows.reshape(-1, rows.shape[-1]), shape, columns=len(columns),
                      title=title or f"given · the baseline's guess · {draws} draws · the truth")


def side_by_side(rows: Sequence[tuple[str, tuple[int, int], Any, Any, Any]]) -> Figure:
    """A line for each model: its samples, and beside them test images above their reconstructions.

    rows   of (name, shape of its images, samples, test images, reconstructions): as many images in each of the last two
    """
    if not rows:
        raise ValueError("rows: got none, expected one for each model")
    pages = []
    for name, shape, samples, x, x_hat in rows:
        columns = 1 if _is_table(shape) else len(x)
        pairs = np.concatenate([to_numpy(x), to_numpy(x_hat)])
        pages.append((name, mosaic(samples, shape, columns), mosaic(pairs, shape, columns)))
    height = sum(4.6 * page.shape[0] / page.shape[1] + 0.4 for _, page, _ in pages)
    fig, axes = figure(len(rows), 2, width=9.6, height=height, squeeze=False)
    fig.get_layout_engine().set(wspace=0.05)           # type: ignore[union-attr, call-arg]
    for (left, right), (name, samples, pairs) in zip(axes, pages):
        _show(left, samples, f"{name}: samples")
        _show(right, pairs, f"{name}: test images, and below their reconstructions")
    return fig


def manifold(model: Any, shape: tuple[int, int], *, size: int = 20, title: str = "") -> Figure:
    """What a decoder of two latents says over the whole latent plane.

    The grid is even in probability: coordinate = mean + std Φ⁻¹(u) for u evenly in (0, 1), with mean and std of the
    prior, so that each image stands for the same share of N(0, I)        (Kingma and Welling 2013, figure 4).
    Raises ValueError for a model whose latent space is not a plane.
    """
    if model.latents != 2:
        raise ValueError(f"manifold: the model has {model.latents} latents, expected 2")
    line = np.array([NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)])
    mean, std = _center_and_spread(model.prior)
    z = mean + std * np.stack([np.tile(line, size), np.repeat(line[::-1], size)], axis=1)        # z₁ right, z₂ up
    page = mosaic(_seen(model, model.decode(model.device.array(z, dtype=model.dtype))), shape, size, gap=0)
    fig, ax = figure(width=6.4, height=6.4 * page.shape[0] / page.shape[1] + 0.3)
    _show(ax, page, title or "the decoder over the latent plane, evenly in probability")
    ax.set_axis_on()
    ticks = np.linspace(0.5, size - 0.5, 5)
    places = [NormalDist().inv_cdf(t / size) for t in ticks]
    ax.set_xticks(ticks * shape[1], [f"{mean[0] + std[0] * place:.1f}" for place in places])
    ax.set_yticks((size - ticks) * shape[0], [f"{mean[1] + std[1] * place:.1f}" for place in places])
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    ax.grid(False)
    return fig


def _center_and_spread(prior: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every latent under p(z), on the host        -> (Z,) (Z,)"""
    mean, variance = prior.moments()
    return to_numpy(mean), np.sqrt(to_numpy(variance))


def latent_scatter(means: Any, labels: Any, *, title: str = "", prior: Any = None) -> Figure:
    """Posterior means (N, 2) coloured by label (N,), with the circle that holds 95% of a 2-D N(0, I).

    prior   if it is a mixture, the ellipse that holds 95% of each component instead, the fainter the rarer
    """
    means, labels = to_numpy(means), to_numpy(labels)
    if means.shape != (len(labels), 2):
        raise ValueError(f"means: got shape {means.shape}, expected ({len(labels)}, 2), one point for each label")
    fig, ax = figure(width=6.0, height=5.4)
    for k, label in enumerate(np.unique(labels)):
        points = means[labels == label]
        ax.scatter(*points.T, s=7, color=TEN[k % 10], alpha=0.7, linewidths=0, label=str(label), rasterized=True)
        ax.annotate(str(label), np.median(points, axis=0), fontsize=13, fontweight="bold", ha="center",
                    bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": TEN[k % 10], "alpha": 0.85})
    ring = np.sqrt(-2 * np.log(0.05))                  # P(‖z‖ < r) = 1 − exp(−r²/2)
    if isinstance(prior, GaussianMixture):
        for share, at, logvar in zip(*map(to_numpy, (prior.weights(), prior.mean.value, prior.logvar.value))):
            width, height = 2 * ring * np.exp(0.5 * logvar)
            ax.add_patch(Ellipse(at, width, height, fill=False, color="grey", ls="--", lw=1,
                                 alpha=float(max(share / prior.weights().max(), 0.2))))
        ax.autoscale_view()
    else:
        ax.add_patch(plt.Circle((0, 0), ring, fill=False, color="grey", lw=1, ls="--"))
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal", title=title)
    return fig


def interpolation(model: Any, x: Any, y: Any, shape: tuple[int, int], *, steps: int = 12, title: str = "") -> Figure:
    """From each image of x to its partner in y, along a straight line between their posterior means."""
    if steps < 2 or x.shape != y.shape:
        raise ValueError(f"interpolation: got {steps} steps between shapes {x.shape} and {y.shape}, "
                         "expected at least 2 between pairs of images")
    a, b = (model.encode(model.device.asarray(images, dtype=model.dtype))[0] for images in (x, y))
    rows = [model.decode(a + (b - a) * (t / (steps - 1))) for t in range(steps)]            # (steps, N, X)
    images = np.stack([_seen(model, r) for r in rows], axis=1).reshape(-1, x.shape[1])
    return image_grid(images, shape, columns=steps, title=title or "between pairs of test images")


def learning_curves(history: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """The bound and its two terms after every epoch, in nats per image."""
    if not history:
        raise ValueError("history: got no records, expected those of at least one epoch")
    fig, axes = figure(1, 3, width=10.0, height=3.0)
    epochs = [record["epoch"] for record in history]
    for ax, term, name in zip(axes, ("elbo", "nll", "kl"), ("ELBO", "−log p(x|z)", "KL(q(z|x) ‖ p(z))")):
        for kind, colour in (("train", COLOURS[0]), ("valid", COLOURS[1])):
            if f"{kind}_{term}" in history[0]:
                ax.plot(epochs, [r[f"{kind}_{term}"] for r in history], color=colour, label=kind,
                        marker="o" if len(epochs) < 3 else None)
        ax.set(xlabel="epoch", ylabel="nats per image", title=name)
    axes[0].legend()
    if title:
        fig.suptitle(title)
    return fig


def analogies(model: Any, images: Any, shape: tuple[int, int], *, title: str = "") -> Figure:
    """Each image (N, X), and beside it every class with that image's z (Kingma et al. 2014, figure 1)."""
    x = model.device.asarray(images, dtype=model.dtype)
    image = to_numpy(x)[:, None]
    rows = np.concatenate([image, np.zeros_like(image), to_numpy(model.analogies(x))], axis=1)
    return image_grid(rows.reshape(-1, x.shape[1]), shape, columns=rows.shape[1],
                      title=title or "left: an image; right: its style, in every class")


def kl_by_latent(kls: Mapping[str, np.ndarray], *, title: str = "") -> Figure:
    """For each name the KL of every latent (Z,), the most talkative first, as bars side by side."""
    shapes = [np.shape(kl) for kl in kls.values()]
    if not shapes or len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(f"kls: got shapes {shapes}, expected one (Z,) for each name, all alike")
    fig, ax = figure(width=8.0, height=3.6)
    width, place = 0.84 / len(kls), np.arange(1, shapes[0][0] + 1)
    for i, (name, kl) in enumerate(kls.items()):
        ax.bar(place + (i - (len(kls) - 1) / 2) * width, np.sort(kl)[::-1], width, color=COLOURS[i % len(COLOURS)],
               label=name)
    ax.set(xlabel="latent, the most talkative first", ylabel="KL, nats", title=title, xlim=(0.4, len(place) + 0.6))
    ax.grid(False, axis="x")
    ax.legend(fontsize=8)
    return fig


def portrait(model: Any, images: np.ndarray, labels: np.ndarray | None, shape: tuple[int, int], *,
             seed: int = 0) -> Iterator[tuple[str, Figure]]:
    """(name, figure), one after another: every picture that says something about this model."""
    device, dtype = model.device, model.dtype
    rng, few = device.rng(seed), device.asarray(spread(images, 48), dtype=dtype)
    yield "samples", image_grid(_seen(model, model.sample(100, rng)), shape, title="samples from the prior")
    yield "reconstructions", reconstructions(_seen(model, few), _seen(model, model.reconstruct(few, rng)), shape)
    yield "interpolation", interpolation(model, few[:8], few[-8:], shape)
    if model.latents == 2:
        if not _is_table(shape):
            yield "manifold", manifold(model, shape)
        if labels is not None:
            means = model.encode(device.asarray(spread(images, 2000), dtype=dtype))[0]
            yield "latents", latent_scatter(means, spread(labels, 2000), title="where unseen images lie",
                                            prior=model.prior)


def _show(ax: Any, page: np.ndarray, title: str) -> None:
    unit = page.min() >= -1.0 and page.max() <= 2.0
    low, high = (0.0, 1.0) if unit else np.percentile(page, (0.5, 99.5))
    photo = np.median(page) > low + 0.25 * (high - low)          # mostly empty: ink on paper; else light on film
    height, width = page.shape
    ax.imshow(page, cmap="gray" if photo else "gray_r", vmin=low, vmax=high, extent=(0, width, height, 0))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=11)
