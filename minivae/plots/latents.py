"""The latent space: where codes lie, and what a decoder makes of a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from statistics import NormalDist
from typing import Any

import numpy as np

from minivae.backend import device_of, to_numpy
from minivae.parts import MixturePrior
from minivae.plots.images import image_grid, mosaic, seen, show_page
from minivae.plots.style import COLOURS, TEN, Figure, figure

MANY, FINE = 30, 160                   # components of a prior that are drawn one by one; lines of a grid for contours


def manifold(model: Any, shape: tuple[int, ...], *, size: int = 20, title: str = "") -> Figure:
    """What a decoder of two latents says over the whole latent plane.

    The grid is even in probability: coordinate = mean + std Φ⁻¹(u) for u evenly in (0, 1), with mean and std of the
    prior, so that each image stands for the same share of N(0, I)        (Kingma and Welling 2013, figure 4).
    Raises ValueError for a model whose latent space is not a plane.
    """
    page = _plane(model, shape, size)
    mean, std = _center_and_spread(model.prior)
    fig, ax = figure(width=6.4, height=6.4 * page.shape[0] / page.shape[1] + 0.3)
    show_page(ax, page, title or "the decoder over the latent plane, evenly in probability")
    ax.set_axis_on()
    ticks = np.linspace(0.5, size - 0.5, 5)
    places = [NormalDist().inv_cdf(t / size) for t in ticks]
    ax.set_xticks(ticks * shape[1], [f"{mean[0] + std[0] * place:.1f}" for place in places])
    ax.set_yticks((size - ticks) * shape[0], [f"{mean[1] + std[1] * place:.1f}" for place in places])
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    ax.grid(False)
    return fig


def atlas(models: Sequence[Any], shape: tuple[int, ...], *, size: int = 8, titles: Sequence[str] = ()) -> Figure:
    """`manifold` of several models, one map beside the other, four in a row."""
    columns = min(4, len(models))
    rows = -(-len(models) // columns)
    fig, axes = figure(rows, columns, width=2.4 * columns, height=(2.4 * shape[0] / shape[1] + 0.3) * rows)
    for ax, model, title in zip_longest(np.ravel(axes), models, titles):
        if model is None:
            ax.set_axis_off()
        else:
            show_page(ax, _plane(model, shape, size), title or "")
    return fig


def _plane(model: Any, shape: tuple[int, ...], size: int) -> np.ndarray:
    """size × size images, evenly in probability, in one array.  Raises ValueError if there are not two latents."""
    if model.latents != 2:
        raise ValueError(f"manifold: the model has {model.latents} latents, expected 2")
    line = np.array([NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)])
    mean, std = _center_and_spread(model.prior)
    z = mean + std * np.stack([np.tile(line, size), np.repeat(line[::-1], size)], axis=1)        # z₁ right, z₂ up
    return mosaic(seen(model, model.decode(model.device.array(z, dtype=model.dtype))), shape, size, gap=0)


def _center_and_spread(prior: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every latent under p(z), on the host        -> (Z,) (Z,)"""
    mean, variance = prior.moments()
    return to_numpy(mean), np.sqrt(to_numpy(variance))


def latent_scatter(means: Any, labels: Any, *, title: str = "", prior: Any = None) -> Figure:
    """Posterior means (N, 2) coloured by label (N,), with the circle that holds 95% of a 2-D N(0, I).

    prior   if it is a mixture, the ellipse that holds 95% of each component instead, the fainter the rarer; if its
            components are many, contours that hold 50%, 80% and 95% of its draws
    """
    from matplotlib.patches import Circle, Ellipse  # not needed by those who do not draw

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
    if isinstance(prior, MixturePrior) and len(prior.weights()) > MANY:
        _density_contours(ax, prior)
    elif isinstance(prior, MixturePrior):
        for share, at, logvar in zip(*map(to_numpy, (prior.weights(), *prior.mixture()[1:]))):
            width, height = 2 * ring * np.exp(0.5 * logvar)
            ax.add_patch(Ellipse(at, width, height, fill=False, color="grey", ls="--", lw=1,
                                 alpha=float(max(share / prior.weights().max(), 0.2))))
        ax.autoscale_view()
    else:
        ax.add_patch(Circle((0, 0), ring, fill=False, color="grey", lw=1, ls="--"))
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal", title=title)
    return fig


def _density_contours(ax: Any, prior: Any, *, shares: Sequence[float] = (0.5, 0.8, 0.95)) -> None:
    """The lines within which these shares of a 2-D prior's draws lie, where its density is highest."""
    _, mean, logvar = prior.mixture()
    device = device_of(mean)
    dtype, far = mean.dtype, 3.0 * np.exp(0.5 * to_numpy(logvar))
    (left, low), (right, high) = (to_numpy(mean) - far).min(axis=0), (to_numpy(mean) + far).max(axis=0)
    across, up = np.linspace(left, right, FINE), np.linspace(low, high, FINE)
    with prior.still():
        drawn = np.sort(to_numpy(prior.log_prob(prior.sample(4000, device.rng(0), dtype=dtype))[0]))
        rows = [prior.log_prob(device.array(np.stack([across, np.full(FINE, y)], axis=1), dtype=dtype))[0] for y in up]
    levels = np.unique([drawn[round((1.0 - share) * len(drawn))] for share in shares])
    ax.contour(across, up, np.stack([to_numpy(row) for row in rows]), levels=levels, colors="grey", linewidths=1,
               linestyles=("--", "-.", "-")[-len(levels):])


def interpolation(model: Any, x: Any, y: Any, shape: tuple[int, ...], *, steps: int = 12, title: str = "") -> Figure:
    """From each image of x to its partner in y, along a straight line between their posterior means."""
    if steps < 2 or x.shape != y.shape:
        raise ValueError(f"interpolation: got {steps} steps between shapes {x.shape} and {y.shape}, "
                         "expected at least 2 between pairs of images")
    a, b = (model.encode(model.device.asarray(images, dtype=model.dtype))[0] for images in (x, y))
    rows = [model.decode(a + (b - a) * (t / (steps - 1))) for t in range(steps)]            # (steps, N, X)
    images = np.stack([seen(model, r) for r in rows], axis=1).reshape(-1, x.shape[1])
    return image_grid(images, shape, columns=steps, title=title or "between pairs of test images")


def traversals(model: Any, image: Any, kl: np.ndarray, shape: tuple[int, ...], *, rows: int | None = None,
               steps: int = 11, reach: float = 2.0, title: str = "") -> Figure:
    """Row by row one latent moves from −reach to +reach, the others stay where this image (X,) put them.

    kl     of every latent (Z,), in nats (`evaluation.diagnose`): the most talkative comes first
    rows   so many of the latents; all if None
    Raises ValueError if kl has not one number for each latent, or for fewer than two steps.
    """
    if np.shape(kl) != (model.latents,) or steps < 2:
        raise ValueError(f"traversals: got {steps} steps and kl of shape {np.shape(kl)}, expected at least 2 steps and "
                         f"({model.latents},)")
    order = np.argsort(-np.asarray(kl), kind="stable")[:rows]
    start = to_numpy(model.encode(model.device.asarray(image[None], dtype=model.dtype))[0])
    z = np.repeat(start, len(order) * steps, axis=0)
    z[np.arange(len(z)), np.repeat(order, steps)] = np.tile(np.linspace(-reach, reach, steps), len(order))
    fig = image_grid(seen(model, model.decode(model.device.array(z, dtype=model.dtype))), shape, columns=steps,
                     title=title or "one latent at a time, the most talkative first")
    (ax,), height = fig.axes, shape[0] + 2             # of a row, with the gap below it
    ax.set_axis_on()
    ax.set(xticks=[], xlabel=f"the latent moves from −{reach:g} to {reach:g}")
    ax.set_yticks((np.arange(len(order)) + 0.5) * height - 1, [f"$z_{{{j + 1}}}$: {kl[j]:.2f} nats" for j in order])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return fig


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
