"""Links that nobody has to write: from a name in the text to its reference, from "chapter 7" to the chapter, from a paper
that is named to its entry in the bibliography."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

CHAPTER = re.compile(r"\b[Cc]hapter (\d+)\b")
ENTRY = re.compile(r"^\*\*(.+?) (\d{4})\*\*", re.MULTILINE)


def spellings(authors: str, year: str) -> list[str]:
    """As a paper is named: all its authors, or the first "et al."; with the year behind them, or in brackets."""
    first = re.split(r",| and ", authors)[0].strip()
    names = dict.fromkeys([authors, f"{first} et al."])
    return [f"{name} {before}{year}" for name in names for before in ("", "(")]


def anchor(authors: str, year: str) -> str:
    return re.sub(r"\W+", "-", f"{authors}-{year}".lower()).strip("-")


def papers(bibliography: str) -> dict[str, str]:
    """{a paper as it is named: the label of its entry}"""
    return {name: anchor(*entry) for entry in ENTRY.findall(bibliography) for name in spellings(*entry)}


def with_labels(bibliography: str) -> str:
    """The bibliography with a label before every entry, and the addresses of preprints."""
    linked = re.sub(r"arXiv:([\w./-]+\d)", r"[arXiv:\1](https://arxiv.org/abs/\1)", bibliography)
    return ENTRY.sub(lambda found: f"({anchor(*found.groups())})=\n{found[0]}", linked)


class Link(SphinxTransform):
    """In the text of every page but the bibliography."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        if self.env.docname == "bibliography":
            return
        config = self.app.config
        named = re.compile("|".join(map(re.escape, sorted(config.book_papers, key=len, reverse=True))) or r"(?!)")
        for text in list(self.document.findall(nodes.Text)):
            inside = {type(node) for node in _around(text)}
            if inside & {nodes.reference, nodes.title, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw,
                         addnodes.pending_xref, addnodes.desc_signature, nodes.comment, nodes.target}:
                continue
            if nodes.literal in inside:
                _link_code(text, config.book_names, self.env.docname)
            else:
                _link_text(text, named, config)


def _around(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _link_code(text: nodes.Text, names: dict[str, str], here: str) -> None:
    """A name in the text, `gaussian_kl`, leads to its page in the reference."""
    target, literal = names.get(str(text).removesuffix("()")), text.parent
    if target and isinstance(literal, nodes.literal):
        xref = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=target, refdoc=here, refexplicit=True,
                                     refwarn=True)
        literal.parent.replace(literal, xref)
        xref += literal


def _link_text(text: nodes.Text, named: re.Pattern[str], config: Any) -> None:
    rest, out = str(text), []
    pattern = re.compile(f"(?:{named.pattern})|{CHAPTER.pattern}")
    while found := pattern.search(rest):
        out.append(nodes.Text(rest[:found.start()]))
        out.append(_reference(found[0], config))
        rest = rest[found.end():]
    if out:
        text.parent.replace(text, [part for part in [*out, nodes.Text(rest)] if part.astext()])


def _reference(said: str, config: Any) -> nodes.Node:
    chapter = CHAPTER.fullmatch(said)
    if chapter:
        if chapter[1].zfill(2) not in config.book_chapters:
            return nodes.Text(said)
        doc = config.book_chapters[chapter[1].zfill(2)]
        return _xref("doc", f"/{doc}", said, domain="std")
    return _xref("ref", config.book_papers[said], said, domain="std")


def _xref(kind: str, target: str, said: str, *, domain: str) -> nodes.Node:
    xref = addnodes.pending_xref("", refdomain=domain, reftype=kind, reftarget=target, refexplicit=True, refwarn=True)
    xref += nodes.inline(said, said)
    return xref


def collect(app: Any, config: Any) -> None:
    """What can be linked: read from the sources before the pages are."""
    import pages

    source = Path(app.srcdir)
    config.book_chapters = {path.name[2:4]: path.stem for path in source.glob("ch*.py")}
    config.book_papers = papers((source / "bibliography.md").read_text(encoding="utf-8"))
    config.book_names, config.book_places = pages.public_names(), pages.places()


def _of_the_library(name: str, places: dict[str, str]) -> tuple[str, str]:
    """A thing and what comes behind it: minivae.nn.Adam and .step, or nothing; ("", "") if it is none of ours."""
    return next(((whole, name[len(whole):]) for whole in (name, name.rpartition(".")[0]) if whole in places), ("", ""))


def note_aliases(app: Any, env: Any) -> None:
    """The reference has a thing once, by the name that readers import; code that names the file it is written in, or what
    Python says an object's class is, is led there too."""
    objects = env.domains["py"].objects
    for name, entry in list(objects.items()):
        whole, rest = _of_the_library(name, app.config.book_places)
        if whole:
            objects.setdefault(app.config.book_places[whole] + rest, entry._replace(aliased=True))


def add_anchors(app: Any, doctree: nodes.document) -> None:
    """Source pages link back by file or by folder, whichever they met first: both are places on the page."""
    places = app.config.book_places
    for signature in doctree.findall(addnodes.desc_signature):
        for name in signature["ids"][:1]:
            whole, rest = _of_the_library(name, places)
            folder = ".".join([*whole.split(".")[:2], *whole.split(".")[-1:]])         # as if the folder offered it
            also = {places[whole], *({folder} - places.keys())} - {whole} if whole else set()
            signature["ids"] += sorted(other + rest for other in also)


def setup(app: Any) -> None:
    for name in ("book_papers", "book_names", "book_places", "book_chapters"):
        app.add_config_value(name, {}, "env")
    app.connect("config-inited", collect, priority=900)
    app.connect("env-updated", note_aliases)
    app.connect("doctree-read", add_anchors)
    app.add_transform(Link)
