"""Spectrograms: how loud every frequency is at every moment, in decibels below the loudest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minivae.backend import Array
from minivae.plots.style import Figure, figure

DEEPEST = -60.0                        # decibels, that are drawn as blank paper


def spectrograms(powers: Mapping[str, Array], *, rate: int, hop: int, columns: int = 1,
                 deepest: float = DEEPEST) -> Figure:
    """A panel for each power spectrogram (F, N), under its name; each against its own loudest entry

    rate, hop   samples a second, and from frame to frame: what the axes need
    """
    rows = -(-len(powers) // columns)
    fig, axes = figure(rows, columns, width=4.8 * columns + 0.6, height=1.75 * rows + 0.5, sharex=True, sharey=True,
                       squeeze=False)
    for ax in axes.flat[len(powers):]:
        ax.set_visible(False)
    for ax, (name, power) in zip(axes.flat, powers.items()):
        loudness = 10.0 * np.log10(np.maximum(power / power.max(), 10.0 ** (0.1 * deepest)))
        ax.imshow(loudness, origin="lower", aspect="auto", cmap="Greys", vmin=deepest, vmax=0.0,
                  interpolation="nearest", extent=(0.0, power.shape[1] * hop / rate, 0.0, 5e-4 * rate))
        ax.set_title(name)
        ax.grid(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("kHz")
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    return fig
