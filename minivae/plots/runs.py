"""A run at a glance: its learning curves, and all that there is to see of its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minivae.plots.images import image_grid, is_table, reconstructions, seen, spread
from minivae.plots.latents import interpolation, latent_scatter, manifold
from minivae.plots.style import COLOURS, Figure, figure


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


def portrait(model: Any, images: np.ndarray, labels: np.ndarray | None, shape: tuple[int, ...], *,
             seed: int = 0) -> Iterator[tuple[str, Figure]]:
    """(name, figure), one after another: every picture that says something about this model."""
    device, dtype = model.device, model.dtype
    rng, few = device.rng(seed), device.asarray(spread(images, 48), dtype=dtype)
    yield "samples", image_grid(seen(model, model.sample(100, rng)), shape, title="samples from the prior",
                                like=seen(model, few))
    yield "reconstructions", reconstructions(seen(model, few), seen(model, model.reconstruct(few, rng)), shape)
    yield "interpolation", interpolation(model, few[:8], few[-8:], shape)
    if model.latents == 2:
        if not is_table(shape):
            yield "manifold", manifold(model, shape)
        if labels is not None:
            means = model.encode(device.asarray(spread(images, 2000), dtype=dtype))[0]
            yield "latents", latent_scatter(means, spread(labels, 2000), title="where unseen images lie",
                                            prior=model.prior)
