"""Consoles that lack a letter: σ is printed as sigma there, and nothing that is printed fails.

A formula in a docstring, a ± in a result: where a console is ASCII, or knows one alphabet only, print would raise
UnicodeEncodeError.  `readable()` gives standard output and error an answer to it: what the encoding lacks is spelled
out in ASCII.  Whoever has a main() calls it first.  Consoles that speak UTF-8 see no difference.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata

SPELLED = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": "x", "·": "*", "⊙": "*", "∗": "*", "•": "*", "∘": "o", "÷": "/",
    "±": "+/-", "≤": "<=", "≥": ">=", "≈": "~=", "≠": "!=", "∝": "~", "→": "->", "←": "<-", "↦": "|->", "⇒": "=>",
    "‖": "||", "∞": "inf", "∈": "in", "√": "sqrt", "Σ": "Sum", "Π": "Prod", "∫": "Int", "∂": "d", "∇": "grad", "ℓ": "l",
    "ε": "eps", "λ": "lambda", "Λ": "Lambda", "ς": "sigma", "µ": "mu", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")",
    "…": "...", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": "<<", "»": ">>", "⟨": "<", "⟩": ">",
    "⁄": "/", "°": " deg", "✓": "ok", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "æ": "ae", "ʌ": "u",
    "\u0302": "_hat", "\u0303": "_tilde", "\u0304": "_bar",            # σ̂, x̃: written over the letter before
    **dict.fromkeys("─━═", "-"), **dict.fromkeys("│┃║", "|"), **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰╔╗╚╝╞╡", "+"),
}
RAISED = {"<super>": "^", "<sub>": "_"}


def readable() -> None:
    """From now on, what standard output and error cannot encode is spelled out.  Call it before anything is printed."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)             # a notebook's streams can show everything
        if reconfigure and not (codecs.lookup(stream.encoding).name == "utf-8" and stream.errors != "strict"):
            reconfigure(errors="minivae.spelled")


def ascii_only(text: str) -> str:
    """½ σ² → 1/2 sigma^2        Words are kept apart: 2σz is 2 sigma z."""
    return text.encode("ascii", "minivae.spelled").decode("ascii")


def spell(letter: str) -> str:
    """One character, in ASCII."""
    if letter.isascii():
        return letter
    if letter in SPELLED:
        return SPELLED[letter]
    kind, *parts = unicodedata.decomposition(letter).split() or [""]
    if kind:                                           # é is e and an accent, … three points, ² a 2 that is raised
        whole = [chr(int(code, 16)) for code in (parts if kind.startswith("<") else [kind, *parts])]
        return RAISED.get(kind, "") + "".join(spell(part) for part in whole if not unicodedata.combining(part))
    name = unicodedata.name(letter, "")
    if name.startswith("GREEK ") and " LETTER " in name:
        greek = name.split(" LETTER ")[1].split()[0].lower()
        return greek.capitalize() if "CAPITAL" in name else greek
    if 0xDC80 <= ord(letter) < 0xDD00:                 # a byte of a file's name that is no text
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return f"({name.lower()})" if name and not letter.isalpha() else "?"


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What an encoder asks for: what stands for the part that it cannot encode, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, out, last = error.object, "", error.object[error.start - 1:error.start]
    for letter in text[error.start:error.end]:
        said = spell(letter)
        if last and said[0] in "^_" and spell(last)[0] == said[0]:
            said = said[1:]                            # 10⁻¹² is 10^-12
        out += " " * _apart(last, letter) + said
        last = letter
    return out + " " * _apart(last, text[error.end:error.end + 1]), error.end


def _apart(left: str, right: str) -> bool:
    """Whether a space must keep two characters apart, since one of them becomes a word: "2σ", "σz", but not "∂μ"."""
    def joins(letter: str, end: int) -> bool:
        return letter != "∂" and spell(letter)[end:][:1].isalnum() and letter.isascii() | _word(letter)

    return bool(left and right) and (_word(left) or _word(right)) and joins(left, -1) and joins(right, 0)


def _word(letter: str) -> bool:
    """σ is a word and Σ is one; ß is "ss", and no word."""
    return len(spell(letter)) > 1 and spell(letter).isalpha() and "LATIN" not in unicodedata.name(letter, "")


codecs.register_error("minivae.spelled", _spelled)
