"""What is handed in as text of Python: other encodings, other ends of lines, notebooks."""

from __future__ import annotations

import ast
import codecs
import json
import warnings
from collections.abc import Iterator

from minivae.coursework.entries import SubmissionError

LARGEST = 1 << 20                      # bytes of a file that is handed in
MAGIC = ("%", "!", "get_ipython()")    # what a notebook understands and Python does not


def source(content: bytes, name: str) -> tuple[bytes, str]:
    """The content as Python's own UTF-8 with plain ends of lines, and what was changed, to be said.

    Raises SubmissionError if it can be no source file.
    """
    if len(content) > LARGEST:
        raise SubmissionError(f"is longer than {LARGEST:,} bytes")
    says = []
    try:
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise SubmissionError("is no text in UTF-8") from None
    if "\0" in text:
        raise SubmissionError("is no text: it has NUL bytes in it")
    says += [", which is UTF-16: save it as UTF-8"] if wide else []
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if name.lower().endswith(".ipynb") or text.lstrip().startswith("{"):
        text = "\n\n".join(_cells(text))
        says.append(", which is a notebook: its code, cell after cell")
    without = "".join(map(_without_magic, text.splitlines(keepends=True)))
    if without != text and (not _is_python(text) or "get_ipython()" in text) and _is_python(without):
        text = without
        says.append("; lines that only a notebook understands (%, !, get_ipython) are left out")
    return text.encode(), "".join(says)


def _is_python(text: str) -> bool:
    return not complaint(text.encode(), "")


def complaint(source: bytes, name: str) -> str:
    """Why this is no Python, with the line; empty if it is.

    It is parsed and no more: compiling what somebody has thought up can end the process that does it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source, name).body
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}: {(error.text or '').strip():.100}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"it cannot be read by Python ({type(error).__name__})"
    first = True                                       # up to here, only a docstring and imports from the future
    for node in body:
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if future and not first:
            return f"line {node.lineno}: from __future__ imports must stand at the beginning of the file"
        first = first and (future or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)))
    return ""


def _cells(text: str) -> Iterator[str]:
    """The code of a notebook.  Raises SubmissionError."""
    try:
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                yield cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SubmissionError("is neither Python nor a notebook that can be read") from None


def _without_magic(line: str) -> str:
    """A line that Python can read in its place, so that the lines keep their numbers."""
    text = line.lstrip()
    if not text.startswith(MAGIC):
        return line
    return f"{line[:len(line) - len(text)]}pass\n" if text != line else f"# {line}"      # a block must not be empty
