"""A trained decoder as one page to drag through: it runs in the browser, from its rounded weights, and asks nobody.

    export                      a decoder in a few bits a weight, put into the page
    views                       other models as VAEs that the page can show
    steps, ink, prior           what the page must know of the layers, of p(x|z) and of p(z)
    quantise, rows              rounding; a convolution as rows times a matrix
    page.html, *.js, page.css   the page: change what it shows there
    cli                         `minivae explore`
"""

from minivae.explorer.export import explorer

__all__ = ["explorer"]
