"""A chapter's script as a notebook: the page of the book, and the file that readers download."""

from __future__ import annotations

import ast
from pathlib import Path

import jupytext
import nbformat

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
HEADS = ("The question", "What is new", "What you'll see", "What it needs")


def read(text: str) -> nbformat.NotebookNode:
    """The script's cells; its docstring becomes a box below the title."""
    notebook = jupytext.reads(text, fmt="py:percent")
    first = notebook.cells[1]
    title, _, rest = first.source.partition("\n")
    first.source = f"{title}\n\n{box(text)}\n{rest}"
    del notebook.cells[0]
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    return notebook


def heads(script: str) -> dict[str, str]:
    """{"The question": what it is, …}, from the script's docstring"""
    found: dict[str, str] = {}
    for line in (ast.get_docstring(ast.parse(script)) or "").splitlines()[1:]:
        head = next((head for head in HEADS if line.startswith(head)), None)
        if head:
            found[head] = line[len(head):].strip()
        elif line.startswith("        ") and found:
            found[list(found)[-1]] += f" {line.strip()}"
        elif line.strip():
            break
    return found


def box(script: str) -> str:
    """The question, what is new, and what there is to see: a list with one bold term each."""
    return "\n".join(f"- **{head}.** {text[0].upper()}{text[1:]}" for head, text in heads(script).items()
                     if head != "What it needs") + "\n"


def needs(script: str) -> str:
    """What a chapter needs beside the library, in words."""
    return heads(script).get("What it needs", "nothing but minivae: the digits come with it")


def write(script: Path, folder: Path) -> Path:
    """The notebook of a script, in this folder."""
    notebook = read(script.read_text(encoding="utf-8"))
    notebook.nbformat_minor = 5
    path = folder / f"{script.stem}.ipynb"
    nbformat.write(notebook, path)
    return path
