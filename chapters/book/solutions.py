"""A chapter with its exercises solved: each solution is folded away below its exercise, and runs after the chapter.

    chapters/solutions/ch01.py is to chapters/ch01_gradient.py what the back of a textbook is to a chapter: cells, too, of
    which those that begin with `## Exercise 1` quote the exercise and open its solution.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "solutions"
TEXT = "# %% [markdown]\n"
FIRST = re.compile(r"# %% \[markdown\]\n# ## Exercise (\d)\n#\n((?:# >.*\n)+)(?:#\n)?")


def of(chapter: Path) -> str:
    """The script that solves a chapter's exercises; "" if there is none yet."""
    path = FOLDER / f"{chapter.name[:4]}.py"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def cells(script: str) -> list[str]:
    """The script's cells, each with its first line `# %%`; what stands before them is no cell."""
    return re.split(r"(?=^# %%)", script, flags=re.MULTILINE)[1:]


def exercises(chapter: str) -> dict[str, str]:
    """{"1": "*Change this.*  Replace …\\n…", …}: the words of the exercises at the end of a chapter's script."""
    words = re.sub(r"^# ?", "", cells(chapter)[-1], flags=re.MULTILINE)
    found = re.split(r"^(\d)\. ", words, flags=re.MULTILINE)[1:]
    return {number: said.strip() for number, said in zip(found[::2], found[1::2])}


def solutions(script: str) -> dict[str, tuple[str, str]]:
    """{"1": (the exercise as it is quoted, the cells of its solution), …}; the first has what stands before it, but for the
    title: the imports."""
    found, numbers, before = dict[str, tuple[str, str]](), list[str](), ""
    for cell in cells(script)[1:]:
        if first := FIRST.match(cell):
            if first[1] in found:
                raise ValueError(f"exercise {first[1]} is solved twice")
            numbers.append(first[1])
            quoted = re.sub(r"^# > ?", "", first[2], flags=re.MULTILINE).strip()
            rest = cell[first.end():]
            found[first[1]] = quoted, before + (TEXT + rest if rest.strip() else "")
            before = ""
        elif numbers:
            quoted, before_this = found[numbers[-1]]
            found[numbers[-1]] = quoted, before_this + cell
        else:
            before += cell
    return found


def solved(chapter: str, script: str) -> str:
    """The chapter's script with the solutions between its exercises, in what a browser folds away."""
    if not script:
        return chapter
    last, answers = cells(chapter)[-1], solutions(script)
    head, *parts = re.split(r"(?=^# \d\. )", last, flags=re.MULTILINE)
    out = [chapter.removesuffix(last), head]
    for part in parts:
        _, answer = answers.get(part[2], ("", ""))
        out.append(part if part is parts[0] else TEXT + part)
        if answer:
            out += [f'\n{TEXT}# <details class="solution"><summary>Solution of exercise {part[2]}</summary>\n\n', answer,
                    f"\n{TEXT}# </details>\n\n"]
    return "".join(out)
