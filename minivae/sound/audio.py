"""A sound in a page: something to press, and the sound itself inside of it, so that no file and no server is needed."""

from __future__ import annotations

import base64
from html import escape

from minivae.backend import Array
from minivae.sound.waves import encode_wave


def player(wave: Array, rate: int, *, alt: str) -> str:
    """A wave in [-1, 1] as an element of a page that plays it        (channels, samples) or (samples,)

    alt   what there is to hear, in words: they stand below it
    Raises ValueError if these are missing, and for a wave that `encode_wave` refuses.
    """
    if not alt.strip():
        raise ValueError("alt: got nothing, expected what there is to hear, in words")
    sound = base64.b64encode(encode_wave(wave, rate)).decode("ascii")
    return (f'<figure class="sound"><audio controls preload="metadata" aria-label="{escape(alt)}" '
            f'src="data:audio/wav;base64,{sound}"></audio><figcaption>{escape(alt)}</figcaption></figure>')
