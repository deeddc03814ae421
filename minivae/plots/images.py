"""Pages of images: samples, reconstructions, what a model makes of something that is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Any, TypeVar

import numpy as np

from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.plots.style import Figure, figure

Rows = TypeVar("Rows", np.ndarray, Batch)
STRIP = (20, 8)                        # of models side by side: images in a line of samples, and of reconstructions


def mosaic(images: Any, shape: tuple[int, ...], columns: int, *, gap: int = 2, paper: float = 0.0) -> np.ndarray:
    """Images side by side in one array, `columns` per row, on `paper`        (N, X) -> (rows·h, columns·w)

    shape   (h, w), or (h, w, 3) for colour, which the page then has too
    """
    images = to_numpy(images)
    h, w, *channels = shape
    if len(images) == 0 or images[0].size != math.prod(shape):
        raise ValueError(f"images: got shape {images.shape}, expected (N, {math.prod(shape)}) with N at least 1, "
                         f"for pictures of {'×'.join(map(str, shape))}")
    rows = -(-len(images) // columns)
    page = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, *channels), paper)
    for i, image in enumerate(images):
        y, x = (i // columns) * (h + gap), (i % columns) * (w + gap)
        page[y:y + h, x:x + w] = image.reshape(shape)
    return page


def spread(images: Rows, n: int | None) -> Rows:
    """`n` of the images, or rows of a batch (None: all), evenly spread: a test set may be sorted by class."""
    return images if n is None or n >= len(images) else images[np.linspace(0, len(images) - 1, n).astype(int)]


def image_grid(images: Any, shape: tuple[int, ...], *, columns: int = 10, title: str = "", like: Any = None) -> Figure:
    """Images (N, X) in a grid: samples, for instance.  Rows of a table lie below each other.

    like   images of the data, if they are samples: how these are drawn, and so are those that stray from their range
    """
    table = is_table(shape)
    page = to_numpy(images) if table else mosaic(images, shape, columns)
    height = 4.0 if table else 6.0 * page.shape[0] / page.shape[1]
    fig, ax = figure(width=6.0, height=height + (0.35 if title else 0.0))
    show_page(ax, page, title, like=None if like is None else to_numpy(like))
    if table:
        ax.set_aspect("auto")
    return fig


def reconstructions(x: Any, x_hat: Any, shape: tuple[int, ...], *, title: str = "") -> Figure:
    """Each image above its reconstruction, twelve pairs a row."""
    x, x_hat = to_numpy(x), to_numpy(x_hat)
    columns = 1 if is_table(shape) else min(12, len(x))
    rows: list[np.ndarray] = []
    for start in range(0, len(x), columns):
        blank = np.zeros((columns - len(x[start:start + columns]), x.shape[1]))
        for images in (x, x_hat):
            rows += [images[start:start + columns], blank]
    fig = image_grid(np.concatenate(rows), shape, columns=columns)
    fig.axes[0].set_title(title or "above: the image; below: its reconstruction", fontsize=11)
    return fig


def completions(model: Any, part: Any, whole: Callable[[np.ndarray, np.ndarray], np.ndarray], shape: tuple[int, ...], *,
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


def analogies(model: Any, images: Any, shape: tuple[int, ...], *, title: str = "") -> Figure:
    """Each image (N, X), and beside it every class with that image's z (Kingma et al. 2014, figure 1)."""
    x = model.device.asarray(images, dtype=model.dtype)
    image = to_numpy(x)[:, None]
    rows = np.concatenate([image, np.zeros_like(image), to_numpy(model.analogies(x))], axis=1)
    return image_grid(rows.reshape(-1, x.shape[1]), shape, columns=rows.shape[1],
                      title=title or "left: an image; right: its style, in every class")


def residuals(images: Any, means: Any, drawn: Mapping[str, Any], shape: tuple[int, ...]) -> Figure:
    """What a mean leaves unexplained, beside what a model draws in its place        all (N, X)

    drawn   by what is written above it: draws of p(x|z), with the same means
    """
    images, means = to_numpy(images), to_numpy(means)
    left = {"what is left": images - means} | {name: to_numpy(x) - means for name, x in drawn.items()}
    rows, size = {"images": images, "their means": means} | left, float(np.abs(images - means).max())
    height = 8.0 * shape[0] / (shape[1] * len(images)) + 0.25
    fig, axes = figure(len(rows), 1, width=8.0, height=len(rows) * height)
    for ax, (name, row) in zip(axes, rows.items()):
        page = mosaic(row, shape, len(images))
        if name in left:
            ax.imshow(page, cmap="RdBu", vmin=-size, vmax=size)
            ax.set_axis_off()
            ax.set_title(name, fontsize=11)
        else:
            show_page(ax, page, name, like=images)
    return fig


def numbers(images: Any, codes: Sequence[Any], decoded: Any, shape: tuple[int, ...]) -> Figure:
    """Images, the pictures of numbers that stand for them, and what these decode to        (N, X) [(N, h, w), …] (N, X)

    A number has a colour, which says nothing but that it is another number.
    """
    images, decoded, n = to_numpy(images), to_numpy(decoded), len(images)
    height = 8.0 * shape[0] / (shape[1] * n) + 0.25
    fig, axes = figure(len(codes) + 2, 1, width=8.0, height=(len(codes) + 2) * height)
    show_page(axes[0], mosaic(images, shape, n), "images", like=images)
    for ax, level in zip(axes[1:], map(to_numpy, codes)):
        side, most = level.shape[1:], max(1, int(level.max()))
        colours = level.reshape(n, -1) * 7 % (most + 1) * 1.0                # neighbours in number, far in colour
        ax.imshow(mosaic(colours, side, n, gap=1, paper=np.nan), cmap="nipy_spectral", vmin=0, vmax=most)
        ax.set_axis_off()
        ax.set_title(f"{side[0]}×{side[1]} numbers", fontsize=11)
    show_page(axes[-1], mosaic(decoded, shape, n), "decoded", like=images)
    return fig


def side_by_side(rows: Sequence[tuple[str, tuple[int, ...], Any, Any, Any, Any]]) -> Figure:
    """A strip for each model, its name, samples and reconstructions; above them what these should look like.

    rows   of (name, shape of its images, samples, as many images of the data, reconstructions, their originals).  The
           data are shown once for models of the same data that stand below each other.
    """
    if not rows:
        raise ValueError("rows: got none, expected one for each model")
    strips, shown = [], np.empty(0)
    for name, shape, samples, data, x_hat, x in rows:
        if not np.array_equal(shown, to_numpy(x)):
            shown = to_numpy(x)
            strips.append(("the data", shape, shown, data, x))
        strips.append((_folded(name), shape, shown, samples, x_hat))
    heights = [_height(name, shape, len(samples)) for name, shape, _, samples, _ in strips]
    fig, axes = figure(len(strips), 2, width=10.2, height=sum(heights) + 0.3, squeeze=False, width_ratios=STRIP,
                       height_ratios=heights)
    fig.get_layout_engine().set(w_pad=0.04, h_pad=0.02, wspace=0.06, hspace=0.0)       # type: ignore[union-attr, call-arg]
    for pair, (name, shape, shown, *both) in zip(axes, strips):
        for ax, images, columns in zip(pair, both, STRIP):
            show_page(ax, mosaic(images, shape, 1 if is_table(shape) else columns), "", like=shown)
            ax.set_aspect("auto" if is_table(shape) else "equal")
        pair[0].text(-0.01, 0.5, name, transform=pair[0].transAxes, ha="right", va="center", fontsize=10)
    for ax, title in zip(axes[0], ("samples", "reconstructions")):
        ax.set_title(title, fontsize=11)
    return fig


def _height(name: str, shape: tuple[int, ...], samples: int) -> float:
    """Inches of a strip: those of its images, or of its name, if that has more lines."""
    lines, inch = -(-samples // STRIP[0]), 8.6 / sum(STRIP)
    return max(1.2 if is_table(shape) else lines * inch * shape[0] / shape[1] + 0.07, 0.18 * (1 + name.count("\n")))


def _folded(name: str, width: int = 18) -> str:
    """A name in lines of about so many letters; a path is broken between its folders."""
    return "\n".join(wrap(name.replace("/", "/ "), width)).replace("/ ", "/")


def is_table(shape: tuple[int, ...]) -> bool:
    """Whether an "image" is the row of a table."""
    return shape[1] > 4 * shape[0]


def seen(model: Any, images: Any) -> np.ndarray:
    """Images as the model's networks see them, on the host: of data in units of their own, numbers near 1."""
    return to_numpy(model.likelihood.scaled(images))


def show_page(ax: Any, page: np.ndarray, title: str, *, like: np.ndarray | None = None) -> None:
    """Draw the array on these axes: mostly empty pages as ink on paper, others, and all (h, w, 3) in colour, as light.

    like   numbers that decide which, and what is black and white; the page's own if None
    """
    like = page if like is None else like
    unit = like.min() >= -1.0 and like.max() <= 2.0
    low, high = (0.0, 1.0) if unit else np.percentile(like, (0.5, 99.5))
    photo = np.median(like) > low + 0.25 * (high - low)          # mostly empty: ink on paper; else light on film
    height, width, *channels = page.shape
    if channels:
        page = ((page - low) / (high - low or 1.0)).clip(0.0, 1.0)
    ax.imshow(page, cmap="gray" if photo else "gray_r", vmin=low, vmax=high, extent=(0, width, height, 0))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=11)
