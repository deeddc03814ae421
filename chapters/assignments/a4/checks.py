"""For each of the eight a check: it takes a module, and raises AssertionError if that module makes the mistake.

A check returns None if the mistake is not there, however the module is written.  Draw whatever you draw from generators
that you seed, and end within 5 seconds.
"""

import numpy as np


def images(count=8, pixels=6, seed=1):
    """Black and white pixels, (count, pixels)"""
    return np.random.default_rng(seed).integers(0, 2, (count, pixels)).astype(float)


def model(vae, pixels=6, hidden=5, latents=2, seed=0):
    """A small VAE of that module"""
    return vae.VAE(pixels, hidden, latents, np.random.default_rng(seed))


def difference(f, array, index, h=1e-5):
    """∂f/∂array[index] by central differences; f is called twice and must draw the same numbers both times."""
    was = array[index]
    array[index] = was + h
    up = f()
    array[index] = was - h
    down = f()
    array[index] = was
    return (up - down) / (2.0 * h)
