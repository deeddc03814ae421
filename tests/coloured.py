"""Generated pictures in colour: discs and squares on plain ground, as arrays or as a folder of files."""

import numpy as np
from PIL import Image

COLOURS = np.array([(230, 40, 40), (40, 170, 70), (50, 80, 220), (240, 200, 40)], np.uint8)


def shapes(n, side=16, *, seed=0):
    """Pictures (n, side, side, 3) uint8 and their colours' numbers (n,); every other one is a square."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] + 0.5
    pictures, colours = [], rng.integers(0, len(COLOURS), n)
    for i, colour in enumerate(colours):
        (a, b), r = rng.uniform(0.35, 0.65, 2) * side, rng.uniform(0.2, 0.33) * side
        inside = np.maximum(abs(y - a), abs(x - b)) < r if i % 2 else np.hypot(y - a, x - b) < r
        ground = np.full((side, side, 3), rng.integers(200, 256, 3), np.uint8)
        pictures.append(np.where(inside[..., None], COLOURS[colour], ground))
    return np.stack(pictures), colours


def folder_of(path, n, side=16, *, seed=0):
    """The same as files, in a folder for each colour."""
    for i, (picture, colour) in enumerate(zip(*shapes(n, side, seed=seed))):
        (path / f"colour{colour}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path / f"colour{colour}" / f"{i:04}.png")
    return path
