"""A sound in a page: the bytes in it are the sound, and words stand below."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from minivae.sound import decode_wave, player


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.attributes = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.attributes |= dict(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_plays_the_wave_itself():
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 300))
    page = player(wave, 8000, alt="a <hiss>")
    tags = Tags(page)
    assert tags.open == []
    assert tags.attributes["aria-label"] == "a <hiss>"
    assert "<hiss>" not in page
    kind, _, data = tags.attributes["src"].partition(",")
    assert kind == "data:audio/wav;base64"
    found, rate = decode_wave(base64.b64decode(data), name="in the page")
    assert rate == 8000
    assert np.abs(found - wave).max() <= 1 / 32768
    assert re.findall("https?:", page) == []


def test_words_are_asked_for():
    with pytest.raises(ValueError, match="alt: got nothing, expected what there is to hear"):
        player(np.zeros(5), 8000, alt=" ")
    with pytest.raises(ValueError, match="largest sample is 2"):
        player(np.full(5, 2.0), 8000, alt="loud")
