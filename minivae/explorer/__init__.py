"""A trained decoder as one page to drag through: it runs in the browser, from its rounded weights, and asks nobody.

    export, quantise            a decoder in a few bits a weight, put into the page
    page.html, *.js, page.css   the page: change what it shows there
    cli                         `minivae explore`
"""

from minivae.explorer.export import explorer

__all__ = ["explorer"]
