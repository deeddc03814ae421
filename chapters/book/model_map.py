"""The map of the models as README's table, as a page of the book and as a picture.

    python chapters/book/model_map.py           writes README's table anew, of minivae/training/models.md, and draws its picture
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import formulas
from matplotlib.figure import Figure

from minivae import plots
from minivae.console import readable
from minivae.runs import write_atomically
from minivae.training.model_map import TERMS, UNCHANGED, Row, rows, table

README = Path(__file__).resolve().parent.parent.parent / "README.md"
PICTURE = Path(__file__).parent / "static" / "model_map.png"
HEADING = "### A map of the models\n"
SAYS = ("The ELBO, and below each of its terms the models that change it: likelihood, weights, posterior, prior, and who "
        "else plays")


def section(readme: str) -> str:
    """What README says under this heading."""
    return re.split(r"^#", readme.partition(HEADING)[2], maxsplit=1, flags=re.MULTILINE)[0].strip()


def written(readme: str) -> str:
    """README with the table as it is now."""
    before, said = readme.split(HEADING, 1)
    return before + HEADING + re.sub(r"(?:^\|.*\n)+", lambda _: table(), said, count=1, flags=re.MULTILINE)


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


def page(readme: str) -> str:
    """The picture and the section, with formulas set as such, and links that lead to pages of the book."""
    _, said = section(readme).split("</p>\n", 1)       # README shows the picture as it is stored, the page as it is drawn
    text = said.partition("\n|")[0]
    linked = re.sub(r"`([^`]+)`", _formula, re.sub(r"\]\((chapters|minivae)/([\w/]+)\.py\)", _link, table().strip()))
    parts = ["# A map of the models", _html(plots.svg(drawn(rows(table())), alt=SAYS)), text.strip(),
             _html('<div class="model-map">'), linked, _html("</div>")]
    return "\n\n".join(parts) + "\n"


def _html(text: str) -> str:
    return f"```{{raw}} html\n{text}\n```"


def _formula(found: re.Match[str]) -> str:
    """Code becomes mathematics, but for options and names of commands."""
    text = found[1].replace("\\|", "|")
    if re.match(r"--|minivae ", text):
        return found[0]
    tex = re.sub(r"(?<=[\w}])\|(?=\w)", r"\\mid ", formulas.tex(text))
    return f"${tex.replace('|', chr(92) + 'vert ')}$"


def _link(found: re.Match[str]) -> str:
    floor, _, file = found[2].partition("/")
    if found[1] == "chapters":
        return f"]({floor}.py)"
    return f"](api/{floor}.md{f'#{file}' if file else ''})"


# ── the picture ───────────────────────────────────────────────────────────────────────────────────

COLUMNS = {                                            # term: where it stands, in inches; its head; its colour
    "likelihood": (3.05, "another likelihood", plots.COLOURS[0]), "weights": (4.6, "other weights", "#B07800"),
    "posterior": (6.25, "another posterior", plots.COLOURS[2]), "prior": (7.75, "another prior", plots.COLOURS[1]),
    "players": (9.45, "who else plays", "#A8487F")}
FORMULA = (                                            # where, on which side of it, what
    (0.0, "left", r"$\log\, p(x)\;\;\geq$"), (2.25, "right", r"$\mathrm{E}_{\,q}\,[$"), (3.83, "left", "$]$"),
    (5.72, "right", r"$\mathrm{KL}\,($"), (7.04, "center", r"$\Vert$"), (8.08, "left", "$)$"))
TERM = {"likelihood": r"$\log\, p(x\,|\,z)$", "weights": "$-$", "posterior": r"$q(z\,|\,x)$", "prior": "$p(z)$"}
WIDTH, LINE, FIRST = 10.4, 0.215, -1.5                 # inches: the page, from name to name, down to the first name
NOTE = "Numbers are\nchapters.\n\nIn grey: models that\nchange several terms."


def drawn(models: list[Row]) -> Figure:
    """The ELBO, and below each term the models that change it: first those that change nothing else."""
    columns = {term: sorted((row for row in models[1:] if getattr(row, term) != UNCHANGED), key=_several) for term in COLUMNS}
    height = LINE * max(map(len, columns.values())) - FIRST
    fig, ax = plots.figure(width=WIDTH, height=height, layout="none")
    ax.set(position=(0.0, 0.0, 1.0, 1.0), xlim=(-0.1, WIDTH - 0.1), ylim=(-height, 0.0))
    ax.set_axis_off()
    for x, side, text in FORMULA:
        ax.text(x, -0.5, text, fontsize=21, ha=side, va="baseline")
    ax.text(0.0, FIRST, NOTE, color="#777777", va="top", linespacing=1.3, fontsize=9)
    for term, (x, head, colour) in COLUMNS.items():
        if term in TERM:
            ax.text(x, -0.5, TERM[term], fontsize=21, color=colour, ha="center", va="baseline")
            ax.plot([x, x], [-0.7, FIRST + 0.42], color=colour, linewidth=1.6)
        ax.text(x, FIRST + 0.2, head, color=colour, ha="center", fontsize=11, fontweight="bold")
        for j, row in enumerate(columns[term]):
            ax.text(x, FIRST - LINE * j, f"{row.called}  {row.chapter}".rstrip(), ha="center", va="top", fontsize=9.5,
                    color="#777777" if _several(row) else "#000000")
    return fig


def _several(row: Row) -> bool:
    return sum(getattr(row, term) != UNCHANGED for term in TERM) > 1


def mark(models: list[Row]) -> str:
    """Of all that the picture shows; it is kept in the picture, which is old when that of the table is another."""
    shown = [(row.called, row.chapter, [getattr(row, term) != UNCHANGED for term in TERMS]) for row in models]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def main() -> None:
    readable()
    write_atomically(README, written(README.read_text(encoding="utf-8")).encode())
    models = rows(table())
    drawn(models).savefig(PICTURE, dpi=140, metadata={"Comment": mark(models)})
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
