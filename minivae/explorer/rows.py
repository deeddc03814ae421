"""Every layer with weights as rows times a matrix: what quantise.py rounds.

The rows of a convolution are the patches that its outputs see.  Of those there are millions, so some do for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minivae.nn import Conv2d, ConvTranspose2d, Linear

PATCHES = 8192                         # by which a convolution is judged, of all draws and places


def as_rows(layer: Any, x: np.ndarray, true: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A layer's outputs as rows times matrices: rows of x and of true (N, I), and which of W's numbers is where (I, O).

    A transposed convolution of stride s gives every s-th pixel from the same weights: s×s matrices, no two of which
    share a weight.  Pixel s·q + a − p hears the inputs q, q − 1, … through the taps a, a + s, …
    """
    W = layer.W.value
    number = np.arange(W.size).reshape(W.shape)
    if isinstance(layer, Linear):
        yield x, true, number
    elif isinstance(layer, Conv2d):
        k, s, p = len(W), layer.stride, layer.padding
        places = [range(0, side + 2 * p - k + 1, s) for side in x.shape[1:3]]
        rows, true_rows = _patches((x, true), (p, p), (k, k), places)
        yield rows, true_rows, number.reshape(-1, W.shape[-1])
    else:
        assert isinstance(layer, ConvTranspose2d)
        s, p, size = layer.stride, layer.padding, layer(x[:1])[0].shape[1:3]
        for a, b in np.ndindex(min(s, len(W)), min(s, len(W))):
            index = number[a::s, b::s][::-1, ::-1]                           # a patch begins with the farthest behind
            m, n = index.shape[:2]
            phase = [[q for q in range(side + more - 1) if 0 <= s * q + first - p < outside]
                     for side, more, first, outside in zip(x.shape[1:3], (m, n), (a, b), size)]
            if all(phase):                                                   # or the image is smaller than a stride
                rows, true_rows = _patches((x, true), (m - 1, n - 1), (m, n), phase)
                yield rows, true_rows, index.transpose(0, 1, 3, 2).reshape(-1, W.shape[2])


def _patches(images: Sequence[np.ndarray], frame: tuple[int, int], size: tuple[int, int],
             places: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Patches of this size that begin at these rows and columns of framed images, one a row; the same of all images."""
    sizes = (len(images[0]), len(places[0]), len(places[1]))
    few = max(PATCHES, 8 * size[0] * size[1] * images[0].shape[-1])
    some = np.random.default_rng(0).permutation(np.prod(sizes))[:few]
    draw, row, column = np.unravel_index(some, sizes)
    at = draw, np.asarray(places[0])[row], np.asarray(places[1])[column]
    found = []
    for image in images:
        framed = np.pad(image, ((0, 0), (frame[0],) * 2, (frame[1],) * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(framed, size, axis=(1, 2))          # (N, H', W', C, m, n)
        found.append(windows[at].transpose(0, 2, 3, 1).reshape(len(some), -1))
    return found
