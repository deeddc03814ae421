"""A trained decoder as one page to drag through: it runs in the browser, from its rounded weights, and asks nobody."""

from minivae.explorer.export import explorer

__all__ = ["explorer"]
