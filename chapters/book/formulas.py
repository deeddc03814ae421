"""The formulas of docstrings, written in Unicode as in `y = x Wᵀ + b`, as TeX; and docstrings as pages."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

SIGNS = {
    "−": "-", "·": r"\cdot ", "×": r"\times ", "½": r"\tfrac12 ", "¼": r"\tfrac14 ", "Σ": r"\textstyle\sum ", "Π": r"\textstyle\prod ",
    "∫": r"\textstyle\int ", "∂": r"\partial ", "‖": r"\Vert ", "→": r"\to ", "⇒": r"\;\Rightarrow\; ", "↦": r"\mapsto ", "~": r"\sim ",
    "≤": r"\le ", "≥": r"\ge ", "≈": r"\approx ", "∝": r"\propto ", "∞": r"\infty ", "∈": r"\in ", "⊙": r"\odot ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "…": r"\dots ", "ℓ": r"\ell ", "±": r"\pm ", "≠": r"\ne ", "∇": r"\nabla ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "{": r"\{", "}": r"\}", "%": r"\%", "#": r"\#",
    "&": r"\&", "$": r"\$", "ε": r"\varepsilon ", "φ": r"\varphi ", "*": r"\cdot ", "'": "'", "’": "'", "∘": r"\circ ", "∗": r"\ast ",
}
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ᵀˣⁿⁱᵏᵗᵃᵇᶜᵈʰʲˡᵐᵖʳˢᵘᵛʷʸᶻ⁼", "0123456789+-()Txniktabcdhjlmprsuvwyz="))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓₐₑₕ₌", "0123456789+-()ijklmnoprstuvxaeh="))
FUNCTIONS = {"log", "exp", "max", "min", "tanh", "sinh", "cosh", "det", "tr", "diag", "sigmoid", "softplus", "softmax", "sign", "erf",
             "KL", "ELBO", "Var", "Cov", "sin", "cos", "mean", "std", "var", "argmax", "arg"}
WORDS = {"where", "else", "if", "for", "and", "or", "of", "all", "over", "with", "at", "is", "so", "that", "on", "in", "the",
         "by", "to"}
HATS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar"}
TOKEN = re.compile(
    r"(?P<code>`[^`]+`)|(?P<space> {2,})|(?P<words>[A-Za-z]{2,}[0-9A-Za-z]*(?:[ -](?:a |[A-Za-z]{2,}))*)|(?P<named>[α-ω][a-z])"
    r"|(?P<up>[" + "".join(RAISED) + r"]+)|(?P<down>[" + "".join(LOWERED) + r"]+)"
    r"|(?P<below>_(?:[A-Za-z0-9]+|\{[^}]*\}))|(?P<power>\^(?:\{[^}]*\}|\([^)]*\)|[^\s,)]+))|(?P<root>√(?:\([^()]*\)|[^\s,)]+))"
    r"|(?P<any>.)", re.DOTALL)


def tex(formula: str) -> str:
    """The formula as TeX: words become upright text, everything else mathematics."""
    return "".join(_one(match) for match in TOKEN.finditer(unicodedata.normalize("NFC", formula))).strip()


def displayed(formula: str, width: int = 70) -> str:
    """The same for a line of its own; one longer than `width` is broken at its wide spaces into lines below each other."""
    parts = re.split(r"(?<=,) {2,}", formula) if len(formula) > width else [formula]
    if len(parts[0]) > width:                          # still too long: the right side goes below the left one
        left, equals, right = parts[0].partition(" = ")
        parts[:1] = [left, f"   = {right}"] if equals else [left]
    return tex(formula) if len(parts) == 1 else \
        r"\begin{aligned}" + r" \\ ".join("& " + tex(part.rstrip(",")) for part in parts) + r"\end{aligned}"


def _one(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match[0]
    match kind:
        case "code":
            return rf"\texttt{{{_plain(text[1:-1])}}}"
        case "space":
            return r"\quad "
        case "words":
            return _words(text)
        case "named":
            return f"{_character(text[0]).strip()}_{text[1]}"
        case "up":
            return "^{" + "".join(RAISED[c] for c in text) + "}"
        case "down":
            return "_{" + "".join(LOWERED[c] for c in text) + "}"
        case "below":
            inner = text[1:].strip("{}")
            return rf"_{{\mathrm{{{inner}}}}}" if len(inner) > 2 else f"_{{{inner}}}"
        case "power":
            return "^{" + tex(_unwrapped(text[1:])) + "}"
        case "root":
            return r"\sqrt{" + tex(_unwrapped(text[1:])) + "}"
    return _character(text)


def _unwrapped(text: str) -> str:
    return text[1:-1] if text[0] + text[-1] in ("()", "{}") else text


def _words(text: str) -> str:
    """`log` is a function, `slope` a name, `where x` words."""
    words = text.strip().split(" ")
    if len(words) == 1 and text not in FUNCTIONS | WORDS:
        return rf"\mathrm{{{text}}}"
    out = ""
    for is_function, run in groupby(words, FUNCTIONS.__contains__):
        together = list(run)
        out += "".join(rf"\operatorname{{{word}}} " for word in together) if is_function else \
            rf"\text{{ {' '.join(together)} }}"
    return out


def _character(text: str) -> str:
    if text in SIGNS:
        return SIGNS[text]
    base, *marks = unicodedata.normalize("NFD", text)
    if marks and marks[0] in HATS:
        return rf"{HATS[marks[0]]}{{{base}}}"
    name = unicodedata.name(text, "")
    if name.startswith(("GREEK SMALL LETTER", "GREEK CAPITAL LETTER")):
        letter = name.split()[-1].lower().replace("lamda", "lambda")
        return "\\" + (letter.capitalize() if "CAPITAL" in name else letter) + " "
    return text


def _plain(text: str) -> str:
    return re.sub(r"([_{}%#&$])", r"\\\1", text)


# ── docstrings ────────────────────────────────────────────────────────────────────────────────────

RELATION = re.compile(r"(?:^|\s)(?:=|≤|≥|≈|∝|~|⇒)(?:\s|$)")
WORD = re.compile(r"[A-Za-z]{3,}")
WIDE = re.compile(r" {4,}")


def is_formula(line: str) -> bool:
    """Whether a line is mathematics with perhaps a few words, and not a sentence with perhaps a few signs."""
    bare, sentence = re.sub(r"`[^`]*`", "", line), re.match(r"([A-Za-z]{2,}) [A-Za-z]{2,}", line)
    if sentence and sentence[1] not in FUNCTIONS:
        return False
    words = [word for word in WORD.findall(bare) if word not in FUNCTIONS | WORDS]
    return bool(RELATION.search(bare)) and len(line) <= 110 and sum(map(len, words)) <= 0.3 * len(bare.replace(" ", ""))


def split(line: str) -> tuple[str, str]:
    """A first line as (formula or sentence, what stands far to the right of it: shapes, or a source)."""
    left, *right = WIDE.split(line.strip())
    return left, "   ".join(right)


def pieces(line: str) -> list[tuple[bool, str]]:
    """A line as (is it a formula, text): whole, or what stands before or after a colon or a full stop."""
    for cut in (*(m.end() for m in re.finditer(r"[:.](?= )", line)), len(line)):
        before, after = line[:cut].strip(), line[cut:].strip()
        if is_formula(before.rstrip(".:")):
            return [(True, before.rstrip(".:")), *([(False, after)] if after else [])]
    return [(False, line)]


def inline(text: str) -> str:
    """A sentence for reStructuredText: `code` becomes ``code``, signs that would mean something are escaped."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"``{part[1:-1]}``" if part.startswith("`") and len(part) > 2 else re.sub(r"([\\*_|`])", r"\\\1", part)
                   for part in parts)


def paragraphs(docstring: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in docstring.splitlines():
        if line.strip():
            found[-1].append(line.rstrip())
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def as_rst(docstring: str) -> list[str]:
    """A docstring of the library as reStructuredText: formulas set as such, arguments as a list, code as code."""
    out: list[str] = []
    for lines in paragraphs(docstring):
        out += [*_paragraph(lines), ""]
    return out


def _paragraph(lines: list[str]) -> list[str]:
    left, right = split(lines[0])
    if all(line.startswith("    ") for line in lines):
        if all(is_formula(line) for line in lines):
            return [row for line in lines for row in _math(line.strip(), "")]
        return [".. code-block:: text", "", *lines]
    if re.match(r"^[\w*][\w, .*=()]*? {3,}\S", lines[0]) and not is_formula(left):
        return _arguments(lines)
    if lines[0].startswith("- "):
        return [re.sub(r"^(- |  )?(.*)$", lambda m: (m[1] or "") + inline(m[2]), line) for line in lines]
    (formula, first), *rest = pieces(left)
    if formula:
        words = [*(text for _, text in rest), *(line.strip() for line in lines[1:])]
        return [*_math(first, right), *map(inline, words)]
    shapes = ["", f"``{right}``"] if "->" in right else [inline(right)] if right else []
    return [inline(line.strip()) for line in [left, *lines[1:]]] + shapes


def _math(formula: str, note: str) -> list[str]:
    shapes = "->" in note or "all (" in note
    return [".. math::", "", f"   {displayed(formula)}", "", *([f"``{note}``" if shapes else inline(note), ""] if note else [])]


def _arguments(lines: list[str]) -> list[str]:
    """`name   what it is`, with lines that go on further in, as a list of definitions."""
    out: list[str] = []
    for line in lines:
        found = re.match(r"^([\w*][\w, .*=()]*?) {3,}(\S.*)$", line)
        out += [f"``{found[1]}``", f"   {inline(found[2])}"] if found else [f"   {inline(line.strip())}"]
    return out
