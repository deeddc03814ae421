"""What a built book must not have: links that lead nowhere, addresses outside of it, pictures and sounds without words."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, what it links to, what it loads, and its pictures and sounds without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links, self.loads, self.mute = set[str](), list[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        self.anchors |= {have[name] for name in ("id", "name") if name in have}
        if tag == "a" and "href" in have:
            self.links.append(have["href"])
        if tag in ("script", "img", "iframe", "source", "audio") and "src" in have:
            self.loads.append(have["src"])
        if tag == "link" and "canonical" not in have.get("rel", ""):
            self.loads.append(have.get("href", ""))
        if (tag == "img" and not have.get("alt")) or (have.get("class") == "picture" and not have.get("aria-label")):
            self.mute.append(have.get("src", "a picture"))
        if tag == "audio" and not have.get("aria-label"):
            self.mute.append(have.get("src", "a sound"))


def problems(book: Path) -> list[str]:
    """One line for everything that is wrong."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(book.rglob("*.html"))}
    return [f"{path.relative_to(book)}: {problem}" for path, page in pages.items() for problem in _of(path, page, pages)]


def _of(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for address in [*page.links, *page.loads]:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") or parts.netloc:
            if address in page.loads:
                yield f"loads {address}, from outside"
            continue
        if parts.scheme:                               # data:, mailto:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"links to {address}, which does not exist"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"links to {address}, which has no such place"
    yield from (f"a picture or a sound without words: {src}" for src in page.mute)
