"""Pages of images: samples, reconstructions, what a model makes of something that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from minivae.backend import to_numpy
from minivae.batch import Batch
from minivae.plots.style import figure

Rows = TypeVar("Rows", np.ndarray, Batch)


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
    table = is_table(shape)
    page = to_numpy(images) if table else mosaic(images, shape, columns)
    height = 4.0 if table else 6.0 * page.shape[0] / page.shape[1]
    fig, ax = figure(width=6.0, height=height + (0.35 if title else 0.0))
    show_page(ax, page, title)
    if table:
        ax.set_aspect("auto")
    return fig


def reconstructions(x: Any, x_hat: Any, shape: tuple[int, int], *, title: str = "") -> Figure:
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


def analogies(model: Any, images: Any, shape: tuple[int, int], *, title: str = "") -> Figure:
    """Each image (N, X), and beside it every class with that image's z (Kingma et al. 2014, figure 1)."""
    x = model.device.asarray(images, dtype=model.dtype)
    image = to_numpy(x)[:, None]
    rows = np.concatenate([image, np.zeros_like(image), to_numpy(model.analogies(x))], axis=1)
    return image_grid(rows.reshape(-1, x.shape[1]), shape, columns=rows.shape[1],
                      title=title or "left: an image; right: its style, in every class")


def side_by_side(rows: Sequence[tuple[str, tuple[int, int], Any, Any, Any]]) -> Figure:
    """A line for each model: its samples, and beside them test images above their reconstructions.

    rows   of (name, shape of its images, samples, test images, reconstructions): as many images in each of the last two
    """
    if not rows:
        raise ValueError("rows: got none, expected one for each model")
    pages = []
    for name, shape, samples, x, x_hat in rows:
        columns = 1 if is_table(shape) else len(x)
        pairs = np.concatenate([to_numpy(x), to_numpy(x_hat)])
        pages.append((name, mosaic(samples, shape, columns), mosaic(pairs, shape, columns)))
    height = sum(4.6 * page.shape[0] / page.shape[1] + 0.4 for _, page, _ in pages)
    fig, axes = figure(len(rows), 2, width=9.6, height=height, squeeze=False)
    fig.get_layout_engine().set(wspace=0.05)           # type: ignore[union-attr, call-arg]
    for (left, right), (name, samples, pairs) in zip(axes, pages):
        show_page(left, samples, f"{name}: samples")
        show_page(right, pairs, f"{name}: test images, and below their reconstructions")
    return fig


def is_table(shape: tuple[int, int]) -> bool:
    """Whether an "image" is the row of a table."""
    return shape[1] > 4 * shape[0]


def seen(model: Any, images: Any) -> np.ndarray:
    """Images as the model's networks see them, on the host: of data in units of their own, numbers near 1."""
    return to_numpy(model.likelihood.scaled(images))


def show_page(ax: Any, page: np.ndarray, title: str) -> None:
    """Draw the array on these axes: mostly empty pages as ink on paper, others as light."""
    unit = page.min() >= -1.0 and page.max() <= 2.0
    low, high = (0.0, 1.0) if unit else np.percentile(page, (0.5, 99.5))
    photo = np.median(page) > low + 0.25 * (high - low)          # mostly empty: ink on paper; else light on film
    height, width = page.shape
    ax.imshow(page, cmap="gray" if photo else "gray_r", vmin=low, vmax=high, extent=(0, width, height, 0))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=11)
