"""One style for every picture; how one is saved, and set into a page."""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivae.runs import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any                       # Matplotlib takes as long to load as all else: who draws nothing does without

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
    "axes.prop_cycle": f"cycler(color={list(COLOURS)})", "axes.formatter.useoffset": False,
}


def figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0,
           **options: Any) -> tuple[Figure, Any]:
    """A figure with rows × columns axes in the project's style; sizes in inches."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height), **options)


def use_style() -> None:
    """Make the project's style matplotlib's own from here on (the chapters do, for their own axes)."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)


def save(fig: Figure, path: Path) -> Path:
    """Write the figure as PNG, whole or not at all, and release it."""
    import matplotlib.pyplot as plt

    png = io.BytesIO()
    try:
        with plt.rc_context(STYLE):
            fig.savefig(png, format="png")
    finally:
        plt.close(fig)
    write_atomically(path, png.getvalue())
    return path


def save_for_slides(fig: Figure, path: Path, *, alt: str) -> None:
    """Write the figure as path.svg and path.pdf, sharp at any size; the same figure gives the same bytes.

    alt   what there is to see, in words: the file's title, for those who cannot see it
    """
    import matplotlib.pyplot as plt

    for ending, dates in ((".svg", {"Date": None}), (".pdf", {"CreationDate": None})):
        content = io.BytesIO()
        with plt.rc_context(STYLE | {"svg.hashsalt": alt}):
            fig.savefig(content, format=ending[1:], metadata={"Title": alt, **dates})
        write_atomically(path.with_name(path.name + ending), content.getvalue())


def svg(fig: Figure, *, alt: str) -> str:
    """The figure as an element of a page, in the page's own colours of ink and paper: for light and dark pages.

    alt   what there is to see, in words
    Raises ValueError if these are missing.
    """
    import matplotlib.pyplot as plt

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
