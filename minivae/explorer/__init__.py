"""A trained decoder as one page to drag through: it runs in the browser, from its rounded weights, and asks nobody.

    export                      the page is put together: decoder, map of the test images, images to check itself with
    quantise                    weights in four bits each
    page.html, *.js, page.css   what it shows, and how: change that there
    cli                         `minivae explore`
"""

from minivae.explorer.export import explorer

__all__ = ["explorer"]
